//! What all parts have in common.

use anycast_common::abi::maps::{Flow, FlowKey, state};
use anycast_ctl::core::{
    Actions, Time,
    controller::{Controller, Input},
    fleet,
};
use zerocopy::FromZeros as _;

use super::{
    ends::{B, C, client},
    machines::{member, packets, step},
};

/// Triples: those of a usual fleet, and those of a large one.
pub const COUNTS: [usize; 2] = [100_000, 1_000_000];
pub const SECRET: &[u8; 32] = b"a secret of a fleet that is none";

pub fn settings(name: &str) -> fleet::Settings {
    fleet::Settings {
        secret: fleet::Secret::new(SECRET).unwrap(),
        previous: None,
        name: Some(name.to_owned()),
    }
}

/// A bound flow of a client of its own.
pub fn flow(now: Time, number: usize) -> (FlowKey, Flow) {
    let key = FlowKey {
        client: client(number).octets(),
        anycast: B.octets(),
        client_port: [200, 1],
        service_port: [0, 80],
        protocol: 6,
        reserved: [0; 3],
    };
    let flow = Flow {
        care_of: C.octets(),
        pinned_at: now.as_nanos(),
        last_out: now.as_nanos(),
        last_in: now.as_nanos(),
        state: state::BOUND_FIRST,
        tried: 1,
        answered: 1,
        ..Flow::new_zeroed()
    };
    (key, flow)
}

/// What a member sends for so many clients after both tests at a gateway.
pub fn updates_of(gateway: &mut Controller, now: Time, count: usize) -> Vec<Vec<u8>> {
    let mut member = member(count);
    let mut inits = Actions::new();
    for number in 0..count {
        let (client, anycast) = (client(number), B);
        member.handle(now, Input::NewClient { client, anycast }, &mut inits);
    }
    let (tests, _) = step(gateway, now, &packets(inits));
    let (updates, _) = step(&mut member, now, &packets(tests));
    packets(updates)
}
