//! Messages about next-hop objects (`RTM_NEWNEXTHOP` and related ones), which netlink-packet-route does not support.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_F_NESTED, NetlinkSerializable, NlaBuffer, NlasIterator,
};
use netlink_packet_route::AddressFamily;

use crate::{
    core::NextHop,
    model::nexthop::{Kind, Object, Resilient},
};

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;

// Length of `struct nhmsg`: family, scope, protocol, reserved, flags.
const HEADER: usize = 8;
const PROTOCOL: usize = 2;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NHA_RES_GROUP_UNBALANCED_TIMER: u16 = 3;
/// The group type NEXTHOP_GRP_TYPE_RES.
const RESILIENT: u16 = 1;
/// Length of `struct nexthop_grp`: id, weight - 1, two reserved octets.
const ENTRY: usize = 8;
/// Timers count in `clock_t` of user space (USER_HZ).
const TICKS_PER_SECOND: u128 = 100;

/// A request about next-hop objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    kind: u16,
    family: AddressFamily,
    protocol: u8,
    attributes: Vec<DefaultNla>,
}

impl Message {
    /// A request to make an object of one next hop.
    pub fn hop(protocol: u8, id: u32, hop: NextHop) -> Self {
        let mut attributes = vec![number(NHA_ID, id), number(NHA_OIF, hop.ifindex)];
        if let Some(via) = hop.via {
            attributes.push(DefaultNla::new(NHA_GATEWAY, via.octets().to_vec()));
        }
        Self {
            kind: RTM_NEWNEXTHOP,
            family: AddressFamily::Inet6,
            protocol,
            attributes,
        }
    }

    /// A request to make a resilient group, or to change its members.
    pub fn group(protocol: u8, id: u32, members: &BTreeSet<u32>, settings: Resilient) -> Self {
        let entry = |member: &u32| {
            let [a, b, c, d] = member.to_ne_bytes();
            [a, b, c, d, 0, 0, 0, 0]
        };
        let timers = [
            (NHA_RES_GROUP_IDLE_TIMER, settings.idle_timer),
            (NHA_RES_GROUP_UNBALANCED_TIMER, settings.unbalanced_timer),
        ];
        let mut resilient = vec![DefaultNla::new(
            NHA_RES_GROUP_BUCKETS,
            settings.buckets.to_ne_bytes().to_vec(),
        )];
        resilient.extend(timers.map(|(kind, timer)| number(kind, ticks(timer))));
        let mut nested = vec![0; resilient.as_slice().buffer_len()];
        resilient.as_slice().emit(&mut nested);
        Self {
            kind: RTM_NEWNEXTHOP,
            family: AddressFamily::Unspec,
            protocol,
            attributes: vec![
                number(NHA_ID, id),
                DefaultNla::new(NHA_GROUP, members.iter().flat_map(entry).collect()),
                DefaultNla::new(NHA_GROUP_TYPE, RESILIENT.to_ne_bytes().to_vec()),
                DefaultNla::new(NHA_RES_GROUP | NLA_F_NESTED, nested),
            ],
        }
    }

    /// A request to remove an object.
    pub fn removal(id: u32) -> Self {
        Self {
            kind: RTM_DELNEXTHOP,
            family: AddressFamily::Unspec,
            protocol: 0,
            attributes: vec![number(NHA_ID, id)],
        }
    }

    /// A request for all objects.
    pub fn query() -> Self {
        Self {
            kind: RTM_GETNEXTHOP,
            family: AddressFamily::Unspec,
            protocol: 0,
            attributes: Vec::new(),
        }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..HEADER].fill(0);
        buffer[0] = u8::from(self.family);
        buffer[PROTOCOL] = self.protocol;
        self.attributes.as_slice().emit(&mut buffer[HEADER..]);
    }
}

/// Whether a message of this type tells that an object was deleted. `None` where it tells of no object.
pub(super) fn is_news(kind: u16) -> Option<bool> {
    match kind {
        RTM_NEWNEXTHOP => Some(false),
        RTM_DELNEXTHOP => Some(true),
        _ => None,
    }
}

/// Reads an object from a message of the kernel. `None` where the message is about something else.
pub fn read(payload: &[u8]) -> Option<Object> {
    let protocol = *payload.get(PROTOCOL)?;
    let attributes = payload.get(HEADER..)?;
    let (mut id, mut ifindex, mut via) = (None, None, None);
    let (mut members, mut settings) = (None, None);
    let mut ours = true;
    for attribute in NlasIterator::new(attributes) {
        let attribute: NlaBuffer<&[u8]> = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_ID => id = u32_of(value),
            NHA_OIF => ifindex = u32_of(value),
            NHA_GATEWAY => {
                let octets: Option<&[u8; 16]> = value.try_into().ok();
                via = octets.map(|octets| Ipv6Addr::from(*octets));
                ours &= via.is_some();
            }
            NHA_GROUP => members = group(value),
            NHA_RES_GROUP => settings = resilient(value),
            NHA_BLACKHOLE | NHA_ENCAP_TYPE | NHA_ENCAP | NHA_FDB => ours = false,
            // Newer kernels add further attributes to any group.
            _ => {}
        }
    }
    let kind = match (ours, members, settings, ifindex) {
        (true, Some(members), Some(settings), None) => Kind::Group { members, settings },
        (true, None, None, Some(ifindex)) => Kind::Hop(NextHop { via, ifindex }),
        _ => Kind::Other,
    };
    Some(Object {
        id: id?,
        protocol,
        kind,
    })
}

/// The members of a group. `None` where they have different weights.
fn group(value: &[u8]) -> Option<BTreeSet<u32>> {
    let entries = value.chunks_exact(ENTRY);
    entries
        .map(|entry| u32_of(&entry[..4]).filter(|_| entry[4] == 0))
        .collect()
}

fn resilient(value: &[u8]) -> Option<Resilient> {
    let mut settings = Resilient {
        buckets: 0,
        idle_timer: Duration::ZERO,
        unbalanced_timer: Duration::ZERO,
    };
    for attribute in NlasIterator::new(value) {
        let attribute: NlaBuffer<&[u8]> = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_RES_GROUP_BUCKETS => {
                settings.buckets = u16::from_ne_bytes(*value.first_chunk()?);
            }
            NHA_RES_GROUP_IDLE_TIMER => settings.idle_timer = duration(u32_of(value)?),
            NHA_RES_GROUP_UNBALANCED_TIMER => {
                settings.unbalanced_timer = duration(u32_of(value)?);
            }
            _ => {}
        }
    }
    Some(settings)
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value
        .first_chunk()
        .map(|octets| u32::from_ne_bytes(*octets))
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis() * TICKS_PER_SECOND / 1000).unwrap_or(u32::MAX)
}

fn duration(ticks: u32) -> Duration {
    Duration::from_millis(u64::from(ticks) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Resilient = Resilient {
        buckets: 128,
        idle_timer: Duration::from_secs(120),
        unbalanced_timer: Duration::ZERO,
    };

    fn octets(message: &Message) -> Vec<u8> {
        let mut octets = vec![0xff; message.buffer_len()];
        message.serialize(&mut octets);
        octets
    }

    /// The expected octets were written by hand, from `linux/nexthop.h`.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_group_on_the_wire() {
        let message = Message::group(172, 10, &BTreeSet::from([1, 2]), SETTINGS);
        #[rustfmt::skip]
        assert_eq!(octets(&message), [
            0, 0, 172, 0, 0, 0, 0, 0,
            8, 0, 1, 0, 10, 0, 0, 0,
            20, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
            6, 0, 3, 0, 1, 0, 0, 0,
            28, 0, 12, 0x80,
                6, 0, 1, 0, 128, 0, 0, 0,
                8, 0, 2, 0, 0xe0, 0x2e, 0, 0,
                8, 0, 3, 0, 0, 0, 0, 0,
        ]);
    }

    #[test]
    fn what_we_make_is_what_we_read() {
        let via = Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        for hop in [
            NextHop { via, ifindex: 3 },
            NextHop {
                via: None,
                ifindex: 4,
            },
        ] {
            let read = read(&octets(&Message::hop(172, 7, hop)));
            let kind = Kind::Hop(hop);
            assert_eq!(
                read,
                Some(Object {
                    id: 7,
                    protocol: 172,
                    kind
                })
            );
        }
        let members = BTreeSet::from([1, 2]);
        let made = Message::group(172, 10, &members, SETTINGS);
        let kind = Kind::Group {
            members,
            settings: SETTINGS,
        };
        assert_eq!(read(&octets(&made)).map(|object| object.kind), Some(kind));
    }

    #[test]
    fn weights_and_strange_attributes_are_not_ours() {
        let mut weighted = octets(&Message::group(172, 10, &BTreeSet::from([1, 2]), SETTINGS));
        weighted[HEADER + 8 + 4 + 4] = 1;
        let kind = |octets: &[u8]| read(octets).map(|object| object.kind);
        assert_eq!(kind(&weighted), Some(Kind::Other));
        let mut blackhole = octets(&Message::removal(3));
        blackhole.extend([4, 0, 4, 0]);
        assert_eq!(kind(&blackhole), Some(Kind::Other));
        assert_eq!(read(&[0; 7]), None);
        assert_eq!(read(&[0; 8]), None, "no number");
    }
}
