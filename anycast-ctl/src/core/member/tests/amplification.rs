//! What a forged packet makes a member send: the numbers of docs/protocol.md.

use super::{answers::UNRECOGNIZED, *};
use crate::core::rr::MAX_RO_FAILURE;

/// The least that a client can send to B: an IPv6 header.
const TRIGGER: usize = ipv6::HEADER_LEN;
/// Octets of a Home or Care-of Test Init with its IPv6 header.
const TEST_INIT: usize = 56;
/// Both Test Inits, and three repetitions of both.
const HANDSHAKE: usize = 2 * (1 + MAX_RO_FAILURE as usize) * TEST_INIT;

/// Packets and octets that the member sent to `to`.
fn sent(output: &Output, to: Ipv6Addr) -> (usize, usize) {
    let sent = output.mobility();
    assert!(sent.iter().all(|sent| sent.destination == to));
    let octets = sent.iter().map(|sent| sent.octets.len()).sum();
    (sent.len(), octets)
}

/// Lets all timers run out until `end`; gives packets and octets sent meanwhile.
fn run_until(bench: &mut Bench, end: Time) -> (usize, usize) {
    let mut total = (0, 0);
    while let Some(now) = bench.0.deadline().filter(|now| *now <= end) {
        let (packets, octets) = sent(&bench.poll(now), CLIENT);
        total = (total.0 + packets, total.1 + octets);
    }
    total
}

#[test]
fn one_forged_packet_makes_eight_of_11_2_times_its_octets() {
    let mut bench = Bench::joined();
    let (packets, octets) = sent(&bench.packet_of(at(0), CLIENT), CLIENT);
    let (more, repeated) = run_until(&mut bench, at(3_600_000));
    assert_eq!((packets + more, octets + repeated), (8, HANDSHAKE));
    assert_eq!(HANDSHAKE, 448);
    assert_eq!(HANDSHAKE * 10 / TRIGGER, 112);
}

#[test]
fn who_floods_for_an_hour_gets_a_handshake_a_minute_sent() {
    let mut bench = Bench::joined();
    let (mut octets_in, mut octets_out) = (0, 0);
    for second in 0..3600 {
        let now = at(second * 1000);
        octets_out += run_until(&mut bench, now).1;
        octets_out += sent(&bench.packet_of(now, CLIENT), CLIENT).1;
        octets_in += TRIGGER;
    }
    assert_eq!(octets_out, 61 * HANDSHAKE);
    assert!(octets_out * 5 < octets_in, "{octets_out} for {octets_in}");
}

#[test]
fn who_forges_messages_of_the_client_as_well_gets_four_times_as_many() {
    // Each ends the time in which the client is left alone.
    let mut bench = Bench::joined();
    let (mut octets_in, mut octets_out) = (0, 0);
    let request = rr::build(&Message::BindingRefreshRequest, CLIENT, ANYCAST).unwrap();
    for second in 0..3600 {
        let now = at(second * 1000);
        octets_out += run_until(&mut bench, now).1;
        octets_out += sent(&bench.octets(now, &request), CLIENT).1;
        octets_out += sent(&bench.packet_of(now, CLIENT), CLIENT).1;
        octets_in += request.len() + TRIGGER;
    }
    assert_eq!(octets_out, 240 * HANDSHAKE);
    assert!(octets_out * 2 < octets_in, "{octets_out} for {octets_in}");
}

#[test]
fn a_victim_that_refuses_gets_two_packets() {
    let mut bench = Bench::joined();
    let output = bench.packet_of(at(0), CLIENT);
    assert_eq!(sent(&output, CLIENT), (2, 2 * TEST_INIT));
    let init = &output.mobility()[0].octets;
    bench.icmp(at(1), UNRECOGNIZED, ANYCAST, init);
    assert_eq!(bench.state(), Some(HandshakeState::BackOff));
    assert_eq!(run_until(&mut bench, at(3_600_000)), (0, 0));
}

#[test]
fn a_prefix_gets_no_more_than_its_rate() {
    // Every packet from another address of one /64.
    let mut bench = Bench::joined();
    let mut octets = 0;
    for packet in 0..60_000u32 {
        let now = at(u64::from(packet));
        while let Some(due) = bench.0.deadline().filter(|due| *due <= now) {
            octets += bench.poll(due).mobility().len() * TEST_INIT;
        }
        let [high, low] = [packet >> 16, packet & 0xffff].map(|half| u16::try_from(half).unwrap());
        let victim = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, high, low);
        octets += bench.packet_of(now, victim).mobility().len() * TEST_INIT;
    }
    // 200 at once, and 100 handshakes a second.
    assert!(octets <= (200 + 100 * 60) * HANDSHAKE, "{octets}");
    assert!(octets > 100 * 45 * HANDSHAKE, "{octets}");
}
