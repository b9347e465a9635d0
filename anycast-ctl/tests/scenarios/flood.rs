//! A flood of forged messages, and clients that open connections meanwhile.

use std::{
    collections::{HashSet, VecDeque},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anycast_common::wire::mobility::{BindingUpdate, Flags, Message};
use anycast_ctl::core::rr;
use anyhow::{Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use xtask::{
    lab::{
        scenario,
        stage::Lab,
        topology::{B, CLIENT, SERVICE},
    },
    net::{Pace, Sender, netlink, wait},
};

use super::stage::in_lab;

/// A connection of a new client every so often, within what members begin for one /64.
struct Crowd {
    clients: u16,
    pace: Duration,
    /// Per cent of them that have to be bound.
    least: f64,
}

/// That of every run.
const SHORT: Crowd = Crowd {
    clients: 400,
    pace: Duration::from_millis(20),
    least: 99.0,
};
/// That with `ANYCAST_LONG`. It lasts for longer than a nonce is handed out.
const LONG: Crowd = Crowd {
    clients: 3000,
    pace: Duration::from_millis(12),
    least: 99.9,
};
/// Connections that stay open.
const OPEN: usize = 500;
/// Retransmissions of a handshake come after 1, 3 and 7 seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// Frames made before the flood begins, and those sent at a time.
const FRAMES: u32 = 32_768;
const BATCH: usize = 64;
/// Kinds of lines that a gateway writes about what it refuses, and some about its start.
const LINES: usize = 30;
/// What the programs answer themselves.
const ANSWERS: [&str; 2] = ["home_test_answered", "care_of_test_answered"];
const REFUSALS: [&str; 9] = [
    "test_init_client_limited",
    "test_init_prefix_limited",
    "test_init_rate_limited",
    "test_init_unsolicited_limited",
    "test_init_ring_busy",
    "binding_update_client_limited",
    "binding_update_prefix_limited",
    "binding_update_rate_limited",
    "binding_update_unsolicited_limited",
];

/// Frames by the uplink: from anybody to anybody, from anybody to one client, from the anycast address
/// to anybody, and Binding Updates.
pub(super) fn handshakes() -> Result<()> {
    let long = std::env::var_os("ANYCAST_LONG").is_some();
    let crowd = if long { LONG } else { SHORT };
    let clients = crowd.clients;
    in_lab(None, |lab, report| {
        report.step("join", "", |evidence| scenario::join(lab, evidence))?;
        for number in 0..clients {
            netlink::address(&lab.network.client, "eth0", client(number), 128)?;
        }
        let uplink = Sender::open(&lab.network.router, "gw0")?;
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(forged).collect::<Result<_>>()?;
        let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let (bound, took) = thread::scope(|scope| {
            let flood = scope.spawn(|| -> Result<()> {
                for batch in frames.chunks(BATCH).cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let taken = uplink.send_all(batch)?;
                    sent.fetch_add(u64::try_from(taken)?, Ordering::Relaxed);
                }
                Ok(())
            });
            let start = Instant::now();
            let bound = connect(lab, &crowd);
            let took = start.elapsed();
            over.store(true, Ordering::Relaxed);
            let flooded = flood
                .join()
                .unwrap_or_else(|_| anyhow::bail!("the flood panicked"));
            flooded.and(bound).map(|bound| (bound, took))
        })?;
        let sent = sent.load(Ordering::Relaxed);
        let gateway = lab.daemon("gateway")?;
        // Each kind of line once in ten seconds, whatever arrives.
        let lines = gateway.tail(usize::MAX).len();
        let most = LINES * (2 + usize::try_from(took.as_secs())? / 10);
        println!("flood: {lines} lines in the gateway's log");
        ensure!(lines <= most, "{lines} lines: {:?}", gateway.tail(20));
        let count = |name: &str| gateway.counter("data_plane", name);
        println!(
            "flood: {sent} messages in {took:.1?}, {:.0} a second, {} to the controller",
            sent as f64 / took.as_secs_f64(),
            count("mobility_punted")?
        );
        // Of what was sent a busy machine loses a part on the way to the programs, which is not what this is about.
        let mut seen = count("mobility_punted")?;
        for name in ANSWERS.into_iter().chain(REFUSALS) {
            println!("flood: {name} {}", count(name)?);
            seen += count(name)?;
        }
        ensure!(seen > u64::from(FRAMES), "{seen} messages are no flood");
        let rate = 100.0 * bound as f64 / f64::from(clients);
        println!("flood: {bound} of {clients} clients bound, {rate:.2} %");
        ensure!(
            rate >= crowd.least,
            "{bound} of {clients} handshakes succeeded"
        );
        ensure!(count("punt_ring_full")? == 0, "messages were lost");
        for name in ["test_init_unsolicited_limited", "test_init_client_limited"] {
            ensure!(
                count(name)? > seen / 8,
                "{name}: {} of {seen}",
                count(name)?
            );
        }
        Ok(())
    })
}

fn client(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, number)
}

/// Every client opens a connection; gives how many of them were bound.
fn connect(lab: &Lab, crowd: &Crowd) -> Result<usize> {
    let mut bound: HashSet<Ipv6Addr> = HashSet::new();
    let mut look = || -> Result<usize> {
        for binding in lab.daemon("gateway")?.list("bindings")? {
            let client = binding["client"]
                .as_str()
                .and_then(|text| text.parse().ok());
            bound.extend(client.filter(|client: &Ipv6Addr| *client != CLIENT));
        }
        Ok(bound.len())
    };
    // The one that is flooded: what it has coming is refused by its own limit.
    let _flooded = lab.network.client.run(|| open(CLIENT))?;
    let mut connections = VecDeque::new();
    let pace = Pace::every(crowd.pace)?;
    for number in 0..crowd.clients {
        let connection = lab.network.client.run(|| open(client(number)))?;
        connections.push_back(connection);
        if connections.len() > OPEN {
            connections.pop_front();
        }
        if number % 50 == 0 {
            look()?;
        }
        pace.beat()?;
    }
    let all = wait::poll(HANDSHAKE, AGAIN, "all are bound", || {
        Ok((look()? >= usize::from(crowd.clients)).then_some(()))
    });
    // Those that are not are counted, too.
    drop(all);
    look()
}

/// Begins a connection from this address; nobody waits for it.
fn open(from: Ipv6Addr) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SocketAddrV6::new(B, SERVICE, 0, 0).into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error.into()),
        _ => Ok(socket),
    }
}

/// A frame of the flood.
fn forged(number: u32) -> Result<Vec<u8>> {
    let mixed = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let anybody = Ipv6Addr::from_bits(0x2001_0f00 << 96 | u128::from(mixed) << 32 | 1);
    let any_client = Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(mixed) | 1 << 63);
    let (source, destination) = match number % 4 {
        0 => (anybody, any_client),
        1 => (anybody, CLIENT),
        2 => (B, any_client),
        _ => (Ipv6Addr::from_bits(anybody.to_bits() | 2), any_client),
    };
    let cookie = mixed.to_be_bytes();
    let message = match number % 8 {
        3 => Message::HomeTestInit { cookie },
        7 => Message::BindingUpdate(BindingUpdate {
            sequence: 1,
            flags: Flags::ACKNOWLEDGE | Flags::EQUIVALENT,
            lifetime: 1,
            alternate_care_of: Some(anybody),
            nonce_indices: Some((1, 2)),
            authenticator: Some([0; 12]),
        }),
        n if n % 2 == 0 => Message::HomeTestInit { cookie },
        _ => Message::CareOfTestInit { cookie },
    };
    let packet = rr::build(&message, source, destination)?;
    // To any station, since XDP looks at no Ethernet address.
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0x66, 0x86, 0xdd]);
    frame.extend(packet);
    Ok(frame)
}
