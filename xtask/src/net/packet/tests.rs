//! Tests with frames that were made with scapy 2.8.0.

use super::*;

const ETHERNET: &str = "33330000000202000000201186dd";
const A: &str = "20010db8000100000000000000000100";
const B: &str = "20010db8000a00000000000000000053";

fn read(parts: &[&str]) -> Option<Packet> {
    let hex = format!("{ETHERNET}{}", parts.concat());
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16);
    let octets: Result<Vec<_>, _> = (0..hex.len()).step_by(2).map(octet).collect();
    Packet::read(&octets.expect("hexadecimal"))
}

#[test]
fn a_report_behind_a_router_alert() {
    let header = "6000000000200001fe800000000000000000000000000011ff020000000000000000000000000002";
    let alert = "3a00050200000100";
    let report = "830051000000000020010db8000a00000000000000000053";
    let packet = read(&[header, alert, report]).expect("an IPv6 packet");
    assert_eq!(packet.hop_limit, 1);
    assert_eq!(packet.intact, Some(true));
    assert_eq!(
        packet.source,
        "fe80::11".parse::<Ipv6Addr>().expect("an address")
    );
    assert_eq!(packet.upper.to_string(), "Report 2001:db8:a::53");
}

#[test]
fn a_binding_update_with_its_options() {
    let update = "3b060500462f1234840000010100031020010db80020000000000000000000c1041000030004\
                  010200000510aabbccddeeff001122334455"
        .replace(' ', "");
    let packet = read(&["6000000000388740", B, A, &update]).expect("an IPv6 packet");
    assert_eq!(
        packet.upper.to_string(),
        "BU   sequence 4660 lifetime 1 flags AE, care-of 2001:db8:20::c1"
    );
}

#[test]
fn a_binding_acknowledgement() {
    let ack = "3b03060048bb0080123400010104000000000510000000000000000000000001";
    let packet = read(&["6000000000208740", A, B, ack]).expect("an IPv6 packet");
    assert_eq!(
        packet.upper.to_string(),
        "BA   sequence 4660 lifetime 1 status 0"
    );
}

#[test]
fn a_reset() {
    let segment = "9c401e61000000000000000050142000785f0000";
    let packet = read(&["6000000000140640", A, B, segment]).expect("an IPv6 packet");
    let (ports, flags) = ((40000, 7777), tcp::RST | 0x10);
    assert_eq!(packet.upper, Upper::Tcp { ports, flags });
}

#[test]
fn no_cut_of_a_packet_is_read_as_another() {
    let segment = "9c401e61000000000000000050142000785f0000";
    let whole = ["6000000000140640", A, B, segment].concat();
    for cut in 0..whole.len() - 6 * 2 {
        assert_eq!(read(&[&whole[..cut & !1]]), None, "cut to {cut}");
    }
}

#[test]
fn what_is_forged_reads_as_it_was_meant() {
    let (source, group) = (
        "fe80::12".parse().expect("an address"),
        "2001:db8:a::53".parse().expect("an address"),
    );
    let frame = forge::mld(mld::DONE, source, [2, 0, 0, 0, 0, 1], group);
    let packet = Packet::read(&frame).expect("an IPv6 packet");
    assert_eq!(packet.upper, Upper::Mld(mld::DONE, group));
    assert_eq!((packet.source, packet.hop_limit), (source, 1));
    assert_eq!(packet.intact, Some(true));
}
