//! Metrics of packets and octets by addresses.

use std::net::Ipv6Addr;

use anycast_common::abi::roles::{CORRESPONDENT, MEMBER};

use crate::shell::{
    dataplane::{TrafficRow, TrafficSum},
    metrics::Families,
};

/// Packets and octets by addresses and direction. A router meets none.
pub(super) fn show(families: &mut Families, roles: u8, rows: &[TrafficRow]) {
    if roles & (CORRESPONDENT | MEMBER) == 0 {
        return;
    }
    let each = |value: fn(&TrafficSum) -> u64| {
        let rows = rows.iter().flat_map(|row| {
            let named = |address: Ipv6Addr| match address.is_unspecified() {
                true => String::new(),
                false => address.to_string(),
            };
            let directions = [("to_member", row.to_member), ("to_client", row.to_client)];
            directions.map(|(direction, counted)| {
                let labels = vec![
                    ("anycast", named(row.anycast)),
                    ("care_of", named(row.care_of)),
                    ("direction", direction.to_owned()),
                ];
                (labels, value(&counted))
            })
        });
        rows.collect::<Vec<_>>()
    };
    let (packets, octets) = (each(|it| it.packets), each(|it| it.octets));
    families.counters(
        "traffic_packets",
        "Packets that go by a care-of address; without one, by plain anycast at a member. Merged segments are one.",
        packets,
    );
    families.counters(
        "traffic_octets",
        "Octets of these packets, from the IPv6 header on.",
        octets,
    );
}
