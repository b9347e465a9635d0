//! The other members of a group, and the 16 bits by which a Home Test finds the one that asked for it.
//!
//! Home Tests go from A to B, so a router that hashes takes all of them to one member, whichever member sent the Test
//! Init. A home init cookie therefore begins with the name of its sender: the last 16 bits of C, each XORed with what a
//! hash of the other 112 gives. Within a /112 no two addresses share a name, and from the name and the /112 the address
//! follows. So a prefix stands for its addresses without a list of them, and no member has to be heard from first. A
//! prefix must not be wider than that, because 16 bits cannot tell more addresses apart.
//!
//! The hash has no key. A key would hide nothing, since C is the source of the Care-of Test Init that is sent together
//! with the cookie.

use std::{collections::BTreeMap, net::Ipv6Addr};

use anycast_common::wire::ipv6;
use ipnet::Ipv6Net;
use sha1::{Digest as _, Sha1};

use crate::core::rr::Cookie;

/// Number of bits of a name.
const NAME: u8 = 16;
/// The widest prefix whose addresses have different names.
const WIDEST: u8 = 128 - NAME;

/// Why addresses cannot be the peers of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// The prefix has more addresses than there are names.
    #[error(
        "{0} is too wide: the 16 bits that a cookie has for a name tell the addresses of a /{WIDEST} apart, and no more"
    )]
    TooWide(Ipv6Net),
    /// The address cannot be that of a member.
    #[error("{0} holds no unicast address by which a member can be reached")]
    NotUnicast(Ipv6Net),
    /// An address is given twice.
    #[error("{0} and {1} overlap")]
    Overlap(Ipv6Net, Ipv6Net),
    /// Two addresses have the same name.
    #[error(
        "{0} and {1} hold addresses with the same 16 bits in a cookie: list fewer addresses, \
         or give one of the members another care_of"
    )]
    SameName(Ipv6Net, Ipv6Net),
}

impl PeersError {
    /// The prefix that is wrong; of two, the later one.
    #[must_use]
    pub const fn about(&self) -> Ipv6Net {
        match self {
            Self::TooWide(net) | Self::NotUnicast(net) => *net,
            Self::Overlap(_, net) | Self::SameName(_, net) => *net,
        }
    }
}

/// The member that a cookie names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// This member.
    Us,
    /// The member with this care-of address.
    Peer(Ipv6Addr),
    /// A member that is not configured.
    Nobody,
}

/// The care-of addresses of a group: that of this member, and those of the others.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Name of this member. `None` when there are no other members.
    own: Option<u16>,
    /// The prefixes by the first name in each.
    blocks: BTreeMap<u16, Block>,
}

/// A prefix of peers. Its names are a block like its addresses: they differ in the same bits.
#[derive(Clone, Copy, Debug)]
struct Block {
    net: Ipv6Net,
    last: u16,
}

impl Peers {
    /// The peers of the member with `care_of`. Its own address may be among `others`, so that all members can have the
    /// same list.
    pub fn new(
        care_of: Ipv6Addr,
        others: impl IntoIterator<Item = Ipv6Net>,
    ) -> Result<Self, PeersError> {
        let own = Ipv6Net::from(care_of);
        let mut blocks: BTreeMap<u16, Block> = BTreeMap::new();
        for net in others {
            if net.prefix_len() < WIDEST {
                return Err(PeersError::TooWide(net));
            }
            if !ipv6::is_routable_unicast(net.network()) {
                return Err(PeersError::NotUnicast(net));
            }
            if net == own {
                continue;
            }
            let (first, block) = Block::new(net);
            if block.holds(first, name(care_of)) && !net.contains(&care_of) {
                return Err(PeersError::SameName(own, net));
            }
            // Like prefixes, two blocks of names overlap only when one contains the other.
            let before = blocks.range(..=block.last).next_back();
            if let Some((_, other)) = before.filter(|(_, other)| other.last >= first) {
                let overlap = other.net.contains(&net) || net.contains(&other.net);
                return Err(match overlap {
                    true => PeersError::Overlap(other.net, net),
                    false => PeersError::SameName(other.net, net),
                });
            }
            blocks.insert(first, block);
        }
        Ok(Self {
            own: (!blocks.is_empty()).then(|| name(care_of)),
            blocks,
        })
    }

    /// The name with which home init cookies of this member begin. `None` when the cookies are random as a whole.
    pub(super) const fn own(&self) -> Option<u16> {
        self.own
    }

    /// Whether there are no other members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The member that made a home init cookie.
    pub(super) fn named(&self, cookie: Cookie) -> Named {
        let [high, low, ..] = cookie;
        let name = u16::from_be_bytes([high, low]);
        if self.own.is_none_or(|own| own == name) {
            return Named::Us;
        }
        let before = self.blocks.range(..=name).next_back();
        match before.filter(|(first, block)| block.holds(**first, name)) {
            Some((_, block)) => Named::Peer(block.address(name)),
            None => Named::Nobody,
        }
    }

    /// Whether `care_of` is the address of another member.
    pub(super) fn contains(&self, care_of: Ipv6Addr) -> bool {
        let mut named = [0; 8];
        named[..2].copy_from_slice(&name(care_of).to_be_bytes());
        self.named(named) == Named::Peer(care_of)
    }
}

impl Block {
    /// The block of a prefix that is not too wide, and the first name in it.
    fn new(net: Ipv6Net) -> (u16, Self) {
        let [first, last] = [net.network(), net.broadcast()].map(name);
        // The exclusive or keeps a block together, but not the order of the names in it.
        let differing = first ^ last;
        let (first, last) = (first & !differing, first | differing);
        (first, Self { net, last })
    }

    const fn holds(self, first: u16, name: u16) -> bool {
        first <= name && name <= self.last
    }

    /// The address of the prefix that has this name.
    fn address(self, name: u16) -> Ipv6Addr {
        let network = self.net.network();
        let low = name ^ scattered(network);
        let high = network.to_bits() >> NAME << NAME;
        Ipv6Addr::from_bits(high | u128::from(low))
    }
}

/// The 16 bits that stand for a care-of address in a cookie.
fn name(care_of: Ipv6Addr) -> u16 {
    let [.., low] = care_of.segments();
    low ^ scattered(care_of)
}

/// Hash of the first 112 bits of an address, because of which members have different names although their addresses end
/// in the same bits.
fn scattered(address: Ipv6Addr) -> u16 {
    let [high @ .., _, _] = address.octets();
    let [first, second, ..]: [u8; 20] = Sha1::digest(high).into();
    u16::from_be_bytes([first, second])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may abort")]

    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn cookie(name: u16) -> Cookie {
        let [high, low] = name.to_be_bytes();
        [high, low, 3, 4, 5, 6, 7, 8]
    }

    #[test]
    fn without_peers_every_cookie_is_ours_and_random() {
        let alone = Peers::new(address("2001:db8:20::c1"), []).unwrap();
        let listed = Peers::new(address("2001:db8:20::c1"), [net("2001:db8:20::c1/128")]).unwrap();
        for peers in [Peers::default(), alone, listed] {
            assert_eq!(peers.own(), None);
            assert!(peers.is_empty());
            assert_eq!(peers.named(cookie(7)), Named::Us);
        }
    }

    #[test]
    fn members_with_one_list_find_each_other() {
        let site = |site| Ipv6Addr::new(0x2001, 0xdb8, site, 0, 0, 0, 0, 0xc1);
        let all: Vec<Ipv6Addr> = (1..=4).map(site).collect();
        let list = || all.iter().map(|care_of| Ipv6Net::from(*care_of));
        for us in &all {
            let peers = Peers::new(*us, list()).unwrap();
            for other in &all {
                let expected = match us == other {
                    true => Named::Us,
                    false => Named::Peer(*other),
                };
                assert_eq!(peers.named(cookie(name(*other))), expected);
                assert_eq!(peers.contains(*other), us != other);
            }
            assert!(!peers.contains(address("2001:db8:1::c2")));
        }
    }

    #[test]
    fn a_name_is_what_the_documents_say() {
        // SHA-1 of fourteen octets, by another program: 2001:db8:20::.
        assert_eq!(scattered(address("2001:db8:20::c1")), 0x6a57);
        assert_eq!(name(address("2001:db8:20::c1")), 0x6a57 ^ 0xc1);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let us = address("2001:db8:20::c1");
        let refused =
            |nets: &[&str]| Peers::new(us, nets.iter().map(|text| net(text))).unwrap_err();
        let [wide, local] = ["2001:db8:20::/111", "fe80::/112"];
        assert_eq!(refused(&[wide]), PeersError::TooWide(net(wide)));
        assert_eq!(refused(&[local]), PeersError::NotUnicast(net(local)));
        for (first, second) in [
            ("2001:db8:20::c0/124", "2001:db8:20::c2/128"),
            ("2001:db8:20::c2/128", "2001:db8:20::c0/124"),
            ("2001:db8:20::c2/128", "2001:db8:20::c2/128"),
        ] {
            let expected = PeersError::Overlap(net(first), net(second));
            assert_eq!(refused(&[first, second]), expected);
        }
        // A whole /112 takes every name there is.
        let [whole, other] = ["2001:db8:20::/112", "2001:db8:21::c1/128"];
        assert_eq!(
            refused(&[whole, other]),
            PeersError::SameName(net(whole), net(other))
        );
        let elsewhere = PeersError::SameName(us.into(), net("2001:db8:21::/112"));
        assert_eq!(refused(&["2001:db8:21::/112"]), elsewhere);
    }

    /// An address of one of a few /112s.
    fn care_of() -> impl Strategy<Value = Ipv6Addr> {
        let address = |(site, low)| Ipv6Addr::new(0x2001, 0xdb8, site, 0, 0, 0, 0, low);
        (0..4u16, any::<u16>()).prop_map(address)
    }

    proptest! {
        #[test]
        fn a_cookie_names_exactly_the_address_that_it_was_made_from(
            us in care_of(),
            others in prop::collection::vec((care_of(), 112..=128u8), 1..6),
            asked in care_of(),
        ) {
            let nets: Vec<Ipv6Net> = others
                .iter()
                .map(|(address, length)| Ipv6Net::new(*address, *length).unwrap().trunc())
                .collect();
            if let Ok(peers) = Peers::new(us, nets.clone()) {
                let listed = nets.iter().any(|net| net.contains(&asked));
                prop_assert_eq!(peers.contains(asked), listed && asked != us);
                match peers.named(cookie(name(asked))) {
                    Named::Us => prop_assert!(peers.is_empty() || name(asked) == name(us)),
                    Named::Peer(peer) => {
                        prop_assert_eq!(name(peer), name(asked));
                        prop_assert!(nets.iter().any(|net| net.contains(&peer)));
                        prop_assert!(!listed || peer == asked);
                    }
                    Named::Nobody => prop_assert!(!listed),
                }
            }
        }
    }
}
