//! A member that is the router of another: what it does not serve itself goes to the other.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    kernel_tests::Suite,
    lab::node::Daemon,
    net::{Namespace, netlink, sysctl, wait},
};

use super::site::{ASK_AGAIN, B, GONE, Lan, ROUTER, group, has, router_text, until};

const PORT: u16 = 7777;

pub fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "a router that is a member sends on what it does not serve",
            follows_health,
        )
        .test(
            "a router that is a member serves on while a new run has not checked its service",
            unchecked,
        )
        .test("a router that is a member drains", drains)
        .test("a router sends on a group that a reload takes out", removed)
        .test(
            "an address that somebody else assigned is not sent on",
            by_hand,
        )
}

/// A service that says who it is, at one address.
struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(host: &Namespace, address: Ipv6Addr, name: &'static str) -> Result<Self> {
        let listener = host.run(|| Ok(TcpListener::bind((address, PORT))?));
        let listener = listener.with_context(|| format!("{name} cannot listen"))?;
        // After which it looks whether it is to stop.
        socket2::SockRef::from(&listener).set_read_timeout(Some(ASK_AGAIN))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((mut client, _)) = listener.accept() {
                    // Whoever checks its health may be gone already.
                    drop(client.write_all(name.as_bytes()));
                }
            }
        });
        let thread = Some(thread);
        Ok(Self { stop, thread })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take();
        thread.map(JoinHandle::join);
    }
}

/// Who answers a client on the link.
fn who(lan: &Lan) -> Result<String> {
    let answer = lan.members[1].run(|| {
        let to = SocketAddr::from((B, PORT));
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut name = String::new();
        stream.read_to_string(&mut name)?;
        Ok(name)
    });
    Ok(answer.unwrap_or_else(|error| format!("nobody: {error}")))
}

fn answers(lan: &Lan, name: &str) -> Result<()> {
    until(&format!("{name} answers"), || Ok(who(lan)? == name))
        .with_context(|| format!("{:?} answers", who(lan)))
}

/// A router that is a member too, and follows the health of its service at B.
fn both(lan: &Lan, assign: bool) -> Result<Daemon> {
    both_every(lan, assign, "100ms")
}

/// The same with so much time between its checks.
fn both_every(lan: &Lan, assign: bool, interval: &str) -> Result<Daemon> {
    let group = format!(
        "[[member.group]]\nanycast = \"{B}\"\nassign = {assign}\njoin = \"health\"\n\
         health = {{ type = \"tcp\", port = {PORT}, interval = \"{interval}\", timeout = \"100ms\", rise = 2, \
         fall = 2 }}\n"
    );
    lan.node("router", &lan.router, &both_text(&group))
}

fn both_text(group: &str) -> String {
    format!(
        "{}[member]\ninterfaces = [\"eth0\"]\n{group}",
        router_text("best")
    )
}

/// The router that is a member, another member, and its service.
fn lan(assign: bool, by_hand: bool) -> Result<(Lan, Daemon, Daemon, Service)> {
    let lan = Lan::up()?;
    if by_hand {
        netlink::address(&lan.router, "lo", B, 128)?;
    }
    sysctl::set(&lan.router, &[("ipv6/conf/all/forwarding", "1")])?;
    // The client goes on by the router, though the member is on its link.
    let redirects = [("ipv6/conf/eth0/accept_redirects", "0")];
    sysctl::set(&lan.members[1], &redirects)?;
    netlink::route(&lan.members[1], B, 128, ROUTER, "eth0")?;
    let router = both(&lan, assign)?;
    let member = lan.member(0, "assign = true")?;
    let other = Service::start(&lan.members[0], Ipv6Addr::UNSPECIFIED, "the other")?;
    Ok((lan, router, member, other))
}

fn follows_health() -> Result<()> {
    let (lan, mut router, _member, _other) = lan(true, false)?;
    // The check asks the service of this machine: the other is well all the time.
    answers(&lan, "the other")?;
    for round in 0..2 {
        let service = Service::start(&lan.router, B, "the router")?;
        answers(&lan, "the router").with_context(|| format!("round {round}"))?;
        drop(service);
        answers(&lan, "the other").with_context(|| format!("round {round}"))?;
    }
    // A crash leaves it so, and the next run takes it up.
    router.kill()?;
    ensure!(who(&lan)? == "the other", "{}", who(&lan)?);
    let mut router = both(&lan, true)?;
    let _service = Service::start(&lan.router, B, "the router")?;
    answers(&lan, "the router")?;
    ensure!(router.end()?.success(), "{:?}", router.tail(5));
    no_rules(&lan)
}

/// A connection of a client that nobody binds goes on over a crash, and while the next run does not know yet how the
/// service is.
fn unchecked() -> Result<()> {
    let (lan, mut router, _member, _other) = lan(true, false)?;
    let _service = Service::start(&lan.router, B, "the router")?;
    answers(&lan, "the router")?;
    let listener = lan.router.run(|| Ok(TcpListener::bind((B, PORT + 1))?))?;
    let mut client = lan.members[1].run(|| {
        let to = SocketAddr::from((B, PORT + 1));
        Ok(TcpStream::connect_timeout(&to, Duration::from_secs(5))?)
    })?;
    let (mut server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let mut exchange = || -> Result<()> {
        let mut octet = [0];
        client.write_all(b"?")?;
        server.read_exact(&mut octet)?;
        server.write_all(b"!")?;
        Ok(client.read_exact(&mut octet)?)
    };
    exchange()?;
    router.kill()?;
    exchange().context("no daemon runs")?;
    let router = both_every(&lan, true, "3s")?;
    let began = group(&router)?;
    ensure!(began["joined"] == false, "it has been checked: {began}");
    wait::poll(GONE, ASK_AGAIN, "it is a member again", || {
        exchange().context("not checked yet")?;
        Ok((group(&router)?["joined"] == true).then_some(()))
    })?;
    exchange()
}

/// Nothing is left of what sent the address on.
fn no_rules(lan: &Lan) -> Result<()> {
    for (what, usual) in [(&["rule"][..], 2), (&["route", "show", "table", "172"], 0)] {
        let shown = lan.router.command("ip").arg("-6").args(what).output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(shown.lines().count() == usual, "{what:?}: {shown}");
    }
    Ok(())
}

fn removed() -> Result<()> {
    let (lan, router, _member, _other) = lan(true, false)?;
    answers(&lan, "the other")?;
    let file = lan.site.directory().join("router.toml");
    let another = "[[member.group]]\nanycast = \"2001:db8:a::54\"\n";
    fs::write(&file, both_text(another))?;
    router.tell(&["reload"])?;
    let gone = || anyhow::Ok(!has(&lan.router, "lo", B)?);
    ensure!(!gone()?, "clients that the route still brings find nobody");
    // The service was ill and is not asked again: nobody but the other answers, whatever the daemon does meanwhile.
    wait::poll(GONE, ASK_AGAIN, "B goes", || {
        let said = who(&lan)?;
        ensure!(said == "the other", "{said} answers");
        Ok(gone()?.then_some(()))
    })?;
    no_rules(&lan)
}

fn drains() -> Result<()> {
    let (lan, router, _member, _other) = lan(true, false)?;
    let _service = Service::start(&lan.router, B, "the router")?;
    answers(&lan, "the router")?;
    for _ in 0..2 {
        router.tell(&["drain", &B.to_string()])?;
        answers(&lan, "the other")?;
        router.tell(&["undrain", &B.to_string()])?;
        answers(&lan, "the router")?;
    }
    Ok(())
}

/// An address that somebody else assigned stays where it is, and so does what is sent there.
fn by_hand() -> Result<()> {
    for assign in [false, true] {
        let (lan, router, _member, _other) = lan(assign, true)?;
        until("the other is a member", || {
            Ok(!router.list("members")?.is_empty())
        })?;
        let said = who(&lan)?;
        ensure!(said.starts_with("nobody"), "{said} answers");
    }
    Ok(())
}
