//! Packets.

use std::net::{SocketAddr, UdpSocket};

use anycast_common::wire::{checksum, ipv6};

use super::*;

#[test]
fn packets_leave_as_the_core_made_them() {
    in_namespace(async || {
        let a0 = pair();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x1234, 0x5678);
        let b0 = nix::net::if_::if_nametoindex("b0").expect("b0");
        let receiver = UdpSocket::bind("[::]:4242").expect("bound");
        receiver.join_multicast_v6(&group, b0).expect("joined");
        receiver
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");

        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);
        let mut packet = vec![0; 40 + 8 + 4];
        ipv6::header(&mut packet, source, group, 17, 1, 12).expect("a header");
        packet[40..48].copy_from_slice(&[0x10, 0x92, 0x10, 0x92, 0, 12, 0, 0]);
        packet[48..].copy_from_slice(b"core");
        let sum = checksum::transport(&source.octets(), &group.octets(), 17, &packet[40..]);
        packet[46..48].copy_from_slice(&sum.to_ne_bytes());

        let mut second = packet.clone();
        second[48..].copy_from_slice(b"reco"); // The same sum.
        let outgoing = [
            (Some(a0), packet.clone()),
            (Some(a0), packet[..30].to_vec()),
            (Some(9999), packet),
            (Some(a0), second),
        ];
        let mut failed = Vec::new();
        let mut sender = Sender::new().expect("a sender");
        sender.send_all(&outgoing, |(ifindex, packet), error| {
            failed.push((*ifindex, packet.len(), error.raw_os_error().is_some()));
        });
        assert_eq!(
            failed,
            [(Some(a0), 30, true), (Some(9999), 52, true)],
            "those without a destination and without an interface"
        );
        for expected in [b"core", b"reco"] {
            let mut octets = [0; 16];
            let (length, from) = receiver.recv_from(&mut octets).expect("received");
            assert_eq!(&octets[..length], expected);
            assert_eq!(from.ip(), SocketAddr::from((source, 0)).ip());
        }
    });
}

/// Of two packets that differ in their sources, which are no addresses of this host. Control: without the rule.
#[test]
fn rules_by_source_decide_where_packets_go() {
    in_namespace(async || {
        pair();
        ip("-6 route add 2001:db8:99::/64 dev a0");
        ip("-6 neighbor add 2001:db8:99::1 lladdr 02:00:00:00:00:01 dev a0");
        ip("-6 route add unreachable default table 100");
        let from = |last: u16| {
            let mut packet = vec![0; 40 + 8];
            let source = Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, last);
            let destination = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 1);
            ipv6::header(&mut packet, source, destination, 135, 64, 8).expect("a header");
            (None, packet)
        };
        let packets = [from(1), from(2), from(1)];
        let mut sender = Sender::new().expect("a sender");
        let mut sources = || {
            let mut failed = Vec::new();
            sender.send_all(&packets, |(_, packet), error| {
                failed.push((packet[23], error.kind()));
            });
            failed
        };
        assert_eq!(sources(), []);
        ip("-6 rule add from 2001:db8:20::2 lookup 100");
        let unreachable = std::io::ErrorKind::HostUnreachable;
        assert_eq!(sources(), [(2, unreachable)]);
    });
}
