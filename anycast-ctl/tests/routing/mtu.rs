//! Path-MTU discovery of clients without a gateway, by the hash of the router in front of the members.
//!
//! ```text
//!   clients --- narrow --- r1 --- lan --- m1, m2
//!        1400 octets towards the clients
//! ```

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use xtask::net::{
    Namespace,
    netlink::{self, End},
    prepare, sysctl, wait,
};

use super::bed::{B, SOON, in_bed, ip, link_local, routed, router};

const PORT: u16 = 7000;
const OCTETS: usize = 100_000;
const CLIENTS: u16 = 20;
/// A transfer of which nothing comes for so long hangs.
const HANGS: Duration = Duration::from_secs(8);

fn link(left: (&Namespace, &str, u16), right: (&Namespace, &str, u16)) -> Result<()> {
    let end = |(namespace, name, _)| End {
        namespace,
        name,
        mac: None,
    };
    netlink::veth(end(left), end(right))?;
    netlink::connect(end(left), end(right))?;
    for (namespace, name, host) in [left, right] {
        netlink::address(namespace, name, link_local(host), 64)?;
    }
    Ok(())
}

/// A service that sends to everybody who comes.
fn serve(member: &Namespace) -> Result<()> {
    let listener = member.run(|| Ok(TcpListener::bind(("::", PORT))?))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // One whose client has given up is over.
            thread::spawn(move || stream.write_all(&[7; OCTETS]).is_ok());
        }
    });
    Ok(())
}

/// How many clients get all that they ask for, and how long the slowest of these takes. `round` makes their addresses
/// new ones, of whose paths nobody knows anything.
fn fetch(clients: &Namespace, round: u16) -> Result<(usize, Duration)> {
    let one = |number: u16| -> Result<thread::JoinHandle<Option<Duration>>> {
        let own = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, round, number);
        let socket = clients.run(|| {
            let (domain, kind) = (socket2::Domain::IPV6, socket2::Type::STREAM);
            let socket = socket2::Socket::new(domain, kind, None)?;
            socket.bind(&SocketAddr::from((own, 0)).into())?;
            Ok(socket)
        })?;
        Ok(thread::spawn(move || {
            let began = Instant::now();
            let hangs = wait::patience(HANGS);
            socket.set_read_timeout(Some(hangs)).ok()?;
            socket
                .connect_timeout(&SocketAddr::from((B, PORT)).into(), hangs)
                .ok()?;
            let mut all = Vec::new();
            std::net::TcpStream::from(socket)
                .read_to_end(&mut all)
                .ok()?;
            (all.len() == OCTETS).then(|| began.elapsed())
        }))
    };
    let threads = (1..=CLIENTS).map(one).collect::<Result<Vec<_>>>()?;
    let times = threads.into_iter().filter_map(|thread| thread.join().ok()?);
    let times: Vec<_> = times.collect();
    Ok((times.len(), times.iter().max().copied().unwrap_or_default()))
}

pub fn discovery() -> Result<()> {
    in_bed(|bed| {
        bed.add_router("r1", 1)?;
        bed.add_members(&[("m1", 0x11), ("m2", 0x12)])?;
        let (clients, narrow) = (
            bed.site.namespace("clients")?,
            bed.site.namespace("narrow")?,
        );
        for namespace in [&clients, &narrow] {
            prepare(namespace)?;
        }
        sysctl::set(&narrow, &[("ipv6/conf/all/forwarding", "1")])?;
        sysctl::set(&clients, &[("ipv6/ip_nonlocal_bind", "1")])?;
        let r1 = &bed.node("r1")?.namespace;
        link((&clients, "eth0", 0x21), (&narrow, "down0", 0x22))?;
        link((&narrow, "up0", 0x23), (r1, "up0", 0x24))?;
        // Errors need a source that the members can answer to.
        netlink::address(&narrow, "up0", "2001:db8:3::2".parse()?, 64)?;
        for (namespace, line) in [
            (&narrow, "link set down0 mtu 1400"),
            (&clients, "-6 route add local 2001:db8:1::/64 dev lo"),
            (&clients, "-6 route add default via fe80::22 dev eth0"),
            (
                &narrow,
                "-6 route add 2001:db8:1::/64 via fe80::21 dev down0",
            ),
            (&narrow, "-6 route add 2001:db8:a::/48 via fe80::24 dev up0"),
            (r1, "-6 route add default via fe80::23 dev up0"),
        ] {
            ip(namespace, line)?;
        }
        bed.start("r1", &router("next_hops = \"all\""))?;
        bed.start_members(&["m1", "m2"])?;
        routed(&bed.monitor("r1")?, SOON, &[0x11, 0x12])?;
        for member in ["m1", "m2"] {
            bed.ip(member, "-6 route add default via fe80::1 dev eth0")?;
            serve(&bed.node(member)?.namespace)?;
        }
        let hash = |policy| {
            let r1 = &bed.node("r1")?.namespace;
            sysctl::set(r1, &[("ipv6/fib_multipath_hash_policy", policy)])
        };
        let told = |what: &str, (whole, slowest): (usize, Duration)| {
            println!("{what}: {whole} of {CLIENTS}, the slowest took {slowest:?}");
            whole
        };
        let all = usize::from(CLIENTS);

        // The control, and what the documents warn of: by addresses alone, errors go to one of the two.
        let addresses = told("addresses", fetch(&clients, 1)?);
        ensure!(
            addresses < all,
            "errors found their way by chance: {addresses}"
        );
        hash("0")?;
        let default = told("the default of Linux", fetch(&clients, 2)?);
        // A retransmission has another flow label, and so another chance: after five of them one in 32 is left.
        ensure!(default >= all * 3 / 4, "{default}");
        hash("3")?;
        let members = ["m1", "m2"];
        for member in members {
            let namespace = &bed.node(member)?.namespace;
            sysctl::set(namespace, &[("ipv4/tcp_mtu_probing", "1")])?;
        }
        let probing = told("addresses, probing", fetch(&clients, 3)?);
        ensure!(probing == all, "{probing}");
        for member in members {
            let namespace = &bed.node(member)?.namespace;
            sysctl::set(namespace, &[("ipv4/tcp_mtu_probing", "0")])?;
            bed.ip(
                member,
                "-6 route change default via fe80::1 dev eth0 mtu lock 1400",
            )?;
        }
        let fitting = told("addresses, packets that fit", fetch(&clients, 4)?);
        ensure!(fitting == all, "{fitting}");
        Ok(())
    })
}
