//! Neighbor Solicitations for an anycast address (RFC 4861 sections 7.1.1 and 7.2.7).

use anycast_common::wire::{checksum, neighbor};

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0x20, 0x11];
const IFINDEX: u32 = 2;

/// A Neighbor Solicitation, by hand: type 135, target, Source Link-Layer Address option.
fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !source.is_unspecified() {
        message.extend([1, 1, 2, 0, 0, 0, 0x20, 1]);
    }
    sealed(source, destination, message)
}

fn sealed(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = checksum::transport(&source.octets(), &destination.octets(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
    let mut packet = vec![0; ipv6::HEADER_LEN];
    ipv6::header(&mut packet, source, destination, 58, 255, message.len()).unwrap();
    packet.extend(message);
    packet
}

impl Bench {
    fn serving() -> Self {
        let mut bench = Self::joined();
        bench.run(|member, actions| member.link(at(0), &link(IFINDEX, "eth0"), actions));
        bench
    }

    fn solicited(&mut self, now: Time, octets: &[u8]) -> Output {
        let packet = ipv6::Packet::parse(octets).unwrap();
        self.run(|member, actions| member.solicited(now, IFINDEX, MAC, &packet, actions))
    }
}

impl Output {
    /// ICMPv6 packets: destination, hop limit, message.
    fn advertisements(&self) -> Vec<(Ipv6Addr, u8, Vec<u8>)> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Send {
                    ifindex: Some(IFINDEX),
                    packet,
                } if packet[40] == neighbor::ADVERTISEMENT => {
                    let packet = ipv6::Packet::parse(packet).unwrap();
                    let (source, to) = (packet.source.octets(), packet.destination.octets());
                    assert!(checksum::verify(&source, &to, 58, packet.payload));
                    assert_eq!(packet.source, LINK_LOCAL);
                    Some((
                        packet.destination,
                        packet.hop_limit,
                        packet.payload.to_vec(),
                    ))
                }
                _ => None,
            })
            .collect()
    }
}

/// What a right answer holds behind its checksum: S set, R and O clear, target, our address.
fn right_answer() -> Vec<u8> {
    let mut rest = vec![0x40, 0, 0, 0];
    rest.extend(ANYCAST.octets());
    rest.extend([2, 1]);
    rest.extend(MAC);
    rest
}

#[test]
fn a_neighbor_that_knows_nobody_is_answered_within_a_second_without_override() {
    let mut bench = Bench::serving();
    let asked = solicitation(ROUTER, ipv6::solicited_node(ANYCAST), ANYCAST);
    assert!(
        bench
            .solicited(at(1000), &asked)
            .advertisements()
            .is_empty()
    );
    // Asked twice, answered once.
    bench.solicited(at(1001), &asked);
    let answers = bench.poll(at(2000)).advertisements();
    let [(to, hop_limit, message)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert_eq!((*to, *hop_limit, message[0]), (ROUTER, 255, 136));
    assert_eq!(message[4..], right_answer());
    assert_eq!(bench.count(Counter::AdvertisementSent), 1);
}

#[test]
fn a_probe_of_a_neighbor_that_knows_us_is_answered_at_once() {
    let mut bench = Bench::serving();
    let output = bench.solicited(at(1000), &solicitation(ROUTER, ANYCAST, ANYCAST));
    let answers = output.advertisements();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].2[4..], right_answer());
}

#[test]
fn an_answer_that_is_owed_goes_with_the_membership() {
    let mut bench = Bench::serving();
    let group = ipv6::solicited_node(ANYCAST);
    bench.solicited(at(1000), &solicitation(ROUTER, group, ANYCAST));
    bench.run(|member, actions| {
        member.leave(at(1000), ANYCAST, actions).unwrap();
    });
    assert!(bench.poll(at(2000)).advertisements().is_empty());
    let output = bench.solicited(at(2000), &solicitation(ROUTER, ANYCAST, ANYCAST));
    assert!(output.advertisements().is_empty());
}

#[test]
fn others_are_not_answered_for() {
    let mut bench = Bench::serving();
    // Not joined, never ours, and the care-of address, which is the kernel's.
    for target in [PLAIN, CLIENT, CARE_OF] {
        bench.solicited(at(1000), &solicitation(ROUTER, target, target));
    }
    // Duplicate address detection.
    let nobody = Ipv6Addr::UNSPECIFIED;
    bench.solicited(
        at(1000),
        &solicitation(nobody, ipv6::solicited_node(ANYCAST), ANYCAST),
    );
    assert!(bench.poll(at(3000)).advertisements().is_empty());
    assert_eq!(bench.count(Counter::SolicitationIgnored), 1);
    assert_eq!(bench.count(Counter::SolicitationInvalid), 0);
}

#[test]
fn what_may_have_been_forwarded_or_is_malformed_is_refused() {
    let good = solicitation(ROUTER, ANYCAST, ANYCAST);
    let body = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good[40..].to_vec();
        change(&mut message);
        sealed(ROUTER, ANYCAST, message)
    };
    let mut forwarded = good.clone();
    forwarded[7] = 254;
    let mut corrupt = good.clone();
    corrupt[63] ^= 1;
    let nobody = Ipv6Addr::UNSPECIFIED;
    let mut named = solicitation(nobody, ipv6::solicited_node(ANYCAST), ANYCAST)[40..].to_vec();
    named.extend([1, 1, 2, 0, 0, 0, 0x20, 1]);
    let rows = [
        ("forwarded", forwarded),
        ("checksum", corrupt),
        ("code", body(&|message| message[1] = 1)),
        ("short", body(&|message| message.truncate(23))),
        ("option of length 0", body(&|message| message[25] = 0)),
        ("option too long", body(&|message| message[25] = 2)),
        ("half an option", body(&|message| message.truncate(25))),
        ("multicast target", body(&|message| message[8] = 0xff)),
        (
            "detection by unicast",
            solicitation(nobody, ANYCAST, ANYCAST),
        ),
        (
            "detection with an address",
            sealed(nobody, ipv6::solicited_node(ANYCAST), named),
        ),
    ];
    for (name, packet) in rows {
        let mut bench = Bench::serving();
        let output = bench.solicited(at(1000), &packet);
        assert!(output.advertisements().is_empty(), "{name}");
        assert_eq!(bench.count(Counter::SolicitationInvalid), 1, "{name}");
        assert!(bench.poll(at(3000)).advertisements().is_empty(), "{name}");
    }
}

#[test]
fn a_flood_of_askers_is_bounded() {
    let mut bench = Bench::serving();
    let group = ipv6::solicited_node(ANYCAST);
    for host in 0..300_u16 {
        let asker = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, host);
        bench.solicited(at(1000), &solicitation(asker, group, ANYCAST));
    }
    assert_eq!(bench.count(Counter::SolicitationIgnored), 300 - 256);
    assert_eq!(bench.poll(at(2000)).advertisements().len(), 256);
}
