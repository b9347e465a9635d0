//! Test Inits that the programs answer: octet by octet as the controller does, or not at all.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use anycast_common::abi::event::kind;
use anycast_ctl::{
    core::{
        Action, Actions, MapAction, Received, controller::Input, correspondent, fleet,
        rr::Generator,
    },
    shell::{clock, dataplane::Limits},
};
use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use xtask::{kernel_tests::Suite, net::netlink};

use crate::{
    harness::{Hook, TWO, Verdict},
    packets::{MOBILITY, Packet, address},
    pair::{CLIENTS, ETHERNET, Pair, keys_of_its_own, with_pair},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:20::53";
const HOME_TEST_INIT: u8 = 1;
const CARE_OF_TEST_INIT: u8 = 2;
/// Test Inits of each kind of keys.
const INITS: usize = 1500;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test("answers: as the controller gives them", || {
            same(keys_of_its_own())
        })
        .test("answers: of a fleet, with one secret and with two", fleets)
        .test("answers: with a checksum of zero", zero)
        .test("answers: what is unusual is the controller's", unusual)
        .test("answers: no key, an old one, no way", without)
        .test("answers: limits come first", limits)
}

/// A Test Init of any member to any client.
fn any_init(rng: &mut Generator) -> Packet {
    let mut within = |prefix: &str| {
        let prefix: ipnet::Ipv6Net = prefix.parse().expect("a prefix");
        let host = rng.random::<u128>() & prefix.hostmask().to_bits();
        Ipv6Addr::from_bits(prefix.network().to_bits() | host).to_string()
    };
    // The route to the servers is one of a /64.
    let (source, client) = (within("2001:db8:20::/64"), within(CLIENTS));
    let mut packet = init(&source, &client, rng.random_range(1..=2));
    rng.fill_bytes(&mut packet.payload[8..]);
    // What is reserved is read by nobody.
    packet.payload[3] = rng.random();
    rng.fill_bytes(&mut packet.payload[6..8]);
    packet.hop_limit = rng.random_range(1..=255);
    packet
}

fn init(source: &str, client: &str, mh_type: u8) -> Packet {
    Packet::mobility(source, client, mh_type)
}

fn same(settings: correspondent::Settings) -> Result<()> {
    with_pair(settings, Limits::NONE, |pair| {
        let mut rng = Generator::seed_from_u64(11);
        let mut damaged_and_answered = 0;
        for number in 0..INITS {
            // Now and then the nonce is renewed, which is a long time later for the controller alone: the programs
            // have the new one before the old one has run out.
            if number % 100 == 99 {
                pair.ahead += Duration::from_secs(31);
            }
            let packet = any_init(&mut rng);
            let mut frame = packet.frame();
            ensure!(pair.ask(&frame)?, "{packet:02x?} is not answered");
            // The same with a bit that is wrong, which makes it anything: mostly a wrong checksum.
            let bit = rng.random_range(ETHERNET * 8..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            damaged_and_answered += u32::from(pair.ask(&frame).with_context(|| {
                let number = bit - ETHERNET * 8;
                format!("bit {number} of {packet:02x?}")
            })?);
        }
        // Those of the traffic class, the flow label and the hop limit.
        ensure!(damaged_and_answered > 0, "no bit of a header may be any");
        let inits = u64::try_from(INITS)?;
        let counts = pair.counters(&["home_test_answered", "care_of_test_answered"])?;
        let sum: u64 = counts.iter().sum();
        ensure!(
            sum == inits + u64::from(damaged_and_answered) && counts.iter().all(|count| *count > 0),
            "{counts:?}"
        );
        Ok(())
    })
}

fn fleets() -> Result<()> {
    let secret = |octet: u8| {
        let octets: Vec<u8> = (0..32).map(|index| octet ^ index).collect();
        fleet::Secret::new(&octets).context("a secret")
    };
    for previous in [None, Some(secret(2)?)] {
        let fleet = fleet::Settings {
            secret: secret(1)?,
            previous,
            name: None,
        };
        same(correspondent::Settings {
            fleet: Some(fleet),
            ..keys_of_its_own()
        })?;
    }
    Ok(())
}

/// An answer whose checksum is zero, which stands for itself here.
fn zero() -> Result<()> {
    with_pair(keys_of_its_own(), Limits::NONE, |pair| {
        for mh_type in [HOME_TEST_INIT, CARE_OF_TEST_INIT] {
            let packet = init(B, A, mh_type);
            let [answer] = &pair.controller(&packet.bytes())?[..] else {
                anyhow::bail!("no answer");
            };
            // The token does not depend on the cookie, and so the checksum can be taken into that.
            let checksum = u32::from(u16::from_be_bytes([answer[44], answer[45]]));
            let packet = packet.with(|packet| {
                let word = u16::from_be_bytes([packet.payload[8], packet.payload[9]]);
                let sum = u32::from(word) + checksum;
                let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
                packet.payload[8..10].copy_from_slice(&folded.to_be_bytes());
            });
            let [answer] = &pair.controller(&packet.bytes())?[..] else {
                anyhow::bail!("no answer");
            };
            ensure!(answer[44..46] == [0, 0], "{answer:02x?}");
            ensure!(pair.ask(&packet.frame())?, "it is not answered");
        }
        Ok(())
    })
}

fn unusual() -> Result<()> {
    with_pair(keys_of_its_own(), Limits::NONE, |pair| {
        let plain = init(B, A, HOME_TEST_INIT);
        ensure!(pair.ask(&plain.frame())?, "it is usual");
        let options = |packet: &mut Packet, kind| {
            packet.extensions.push((kind, vec![0, 0, 1, 4, 0, 0, 0, 0]));
        };
        let mut longer = plain.frame();
        longer.extend([0; 2]);
        let mut damaged = plain.frame();
        damaged[ETHERNET + 40 + 4] ^= 1;
        let padded = plain.clone().with(|packet| {
            // Eight octets of padding as an option (RFC 6275 section 6.2.3), with a Header Len that includes them.
            packet.payload[1] = 2;
            packet.payload.extend([1, 6, 0, 0, 0, 0, 0, 0]);
        });
        let trailing = plain.clone().with(|packet| packet.payload.extend([0; 8]));
        let proto = plain.clone().with(|packet| packet.payload[0] = 58);
        let short = plain.clone().with(|packet| {
            packet.payload[1] = 0;
            packet.payload.truncate(8);
        });
        let tagged = plain.clone().with(|packet| packet.vlans = vec![9]);
        let hop_by_hop = plain.clone().with(|packet| options(packet, 0));
        let destination = plain.clone().with(|packet| options(packet, 60));
        let alone = plain.clone().fragment(0, false);
        let first = plain.clone().fragment(0, true);
        let compatible = init("::192.0.2.1", A, CARE_OF_TEST_INIT);
        let mapped = init("::ffff:192.0.2.1", A, CARE_OF_TEST_INIT);
        let frames = [
            ("two octets behind the packet", longer),
            ("a wrong checksum", damaged),
            ("an option", padded.frame()),
            ("octets behind the message", trailing.frame()),
            ("another Payload Proto", proto.frame()),
            ("no cookie", short.frame()),
            ("a VLAN tag", tagged.frame()),
            ("Hop-by-Hop Options", hop_by_hop.frame()),
            ("Destination Options", destination.frame()),
            ("a fragment that is alone", alone.frame()),
            ("a first fragment", first.frame()),
            ("an IPv4-compatible source", compatible.frame()),
            ("an IPv4-mapped source", mapped.frame()),
        ];
        let names = ["test_init_unusual", "mobility_punted", "home_test_answered"];
        for (name, frame) in frames {
            let before = pair.counters(&names)?;
            let (verdict, became) = pair.bench.run(&frame)?;
            let kinds: Vec<u8> = pair
                .bench
                .events()?
                .iter()
                .map(|event| event.0.kind)
                .collect();
            ensure!(
                (verdict, &became, &kinds[..]) == (Verdict::Drop, &frame, &[kind::MOBILITY]),
                "{name}: {verdict:?} {kinds:?}"
            );
            let after = pair.counters(&names)?;
            let grown: Vec<u64> = after.iter().zip(&before).map(|(b, a)| b - a).collect();
            ensure!(grown == [1, 1, 0], "{name}: {grown:?}");
        }
        // Only the types of Test Inits are.
        let update = Packet::new(B, A, MOBILITY, plain.payload.clone());
        let update = update.with(|packet| packet.payload[2] = 5);
        ensure!(!pair.ask(&update.frame())?, "a Binding Update is none");
        Ok(())
    })
}

fn without() -> Result<()> {
    with_pair(keys_of_its_own(), Limits::NONE, |pair| {
        let frame = init(B, A, HOME_TEST_INIT).frame();
        let names = ["test_init_no_key", "test_init_no_way", "mobility_punted"];
        let left_alone = |pair: &mut Pair<'_>, expected: [u64; 3]| -> Result<()> {
            let (verdict, became) = pair.bench.run(&frame)?;
            ensure!((verdict, &became) == (Verdict::Drop, &frame), "{verdict:?}");
            let counts = pair.counters(&names)?;
            ensure!(counts == expected, "{counts:?}, expected {expected:?}");
            Ok(())
        };
        left_alone(pair, [1, 0, 1])?;
        // A key that has just run out, as one does that a controller has left behind which is gone.
        let init = &frame[ETHERNET..];
        let now = clock::now();
        let mut actions = Actions::new();
        let received = Received {
            ifindex: 1,
            mac: [0; 6],
            packet: init,
        };
        let long_ago = now.before(Duration::from_secs(30));
        let input = Input::Packet {
            kind: kind::MOBILITY,
            received,
        };
        pair.controller.handle(long_ago, input, &mut actions);
        let key = actions.iter().find_map(|action| match action {
            Action::Map(MapAction::SetNodeKey(key)) => Some(key),
            _ => None,
        });
        let mut key = key.context("no key")?.clone();
        ensure!(key.until <= now, "{key:?}");
        let maps = pair.bench.dataplane.maps();
        maps.apply(&MapAction::SetNodeKey(key.clone()))?;
        left_alone(pair, [2, 0, 2])?;
        key.until = now + Duration::from_secs(3600);
        let maps = pair.bench.dataplane.maps();
        maps.apply(&MapAction::SetNodeKey(key.clone()))?;
        ensure!(pair.bench.run(&frame)?.0 == Verdict::Redirect, "no answer");
        let maps = pair.bench.dataplane.maps();
        maps.apply(&MapAction::RemoveNodeKey)?;
        left_alone(pair, [3, 0, 3])?;
        pair.bench
            .dataplane
            .maps()
            .apply(&MapAction::SetNodeKey(key))?;
        // The route is gone, and comes back.
        let (servers, router) = (address("2001:db8:20::"), address("2001:db8:ff::1"));
        let namespace = &pair.gateway.namespace;
        netlink::remove_route(namespace, (servers, 64), 0)?;
        left_alone(pair, [3, 1, 4])?;
        netlink::route(namespace, servers, 64, router, "up0")?;
        ensure!(pair.bench.run(&frame)?.0 == Verdict::Redirect, "no answer");
        // By the same interface.
        if pair.bench.hook == Hook::Xdp {
            pair.bench.ingress = netlink::index(&pair.gateway.namespace, "clients0")?;
            let near = Packet::mobility("2001:db8:1::100", "2001:db8:1::200", CARE_OF_TEST_INIT);
            ensure!(
                pair.bench.run(&near.frame())?.0 == Verdict::Tx,
                "another way"
            );
            let maps = pair.bench.dataplane.maps();
            maps.set_redirect_targets(&BTreeSet::new(), &BTreeSet::new())?;
            left_alone(pair, [3, 2, 5])?;
        }
        Ok(())
    })
}

/// Two Test Inits to a client are answered, by whomever.
fn limits() -> Result<()> {
    let limits = Limits {
        to_client: TWO,
        ..Limits::NONE
    };
    with_pair(keys_of_its_own(), limits, |pair| {
        let plain = init(B, A, HOME_TEST_INIT).frame();
        ensure!(pair.ask(&plain)? && pair.ask(&plain)?, "two are");
        let (verdict, _) = pair.bench.run(&plain)?;
        ensure!(verdict == Verdict::Drop, "{verdict:?}");
        let names = [
            "home_test_answered",
            "test_init_client_limited",
            "mobility_punted",
        ];
        ensure!(pair.counters(&names)? == [2, 1, 0]);
        // Another client of the same gateway, and an address that is none of those that may be bound.
        let other = init(B, "2001:db8:1::101", HOME_TEST_INIT).frame();
        ensure!(pair.ask(&other)?, "another client is answered");
        let stranger = init("2001:db8:bad::1", A, HOME_TEST_INIT).frame();
        ensure!(pair.bench.run(&stranger)?.0 == Verdict::Drop);
        let names = ["home_test_answered", "mobility_source_not_allowed"];
        ensure!(pair.counters(&names)? == [3, 1]);
        Ok(())
    })
}
