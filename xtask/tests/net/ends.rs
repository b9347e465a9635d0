use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::topology::{B, Network, S1},
    net::{
        Namespace, Process, Site, namespace, netlink,
        routes::Monitor,
        wait::{Missed, Watched},
    },
};

const SOON: Duration = Duration::from_secs(5);

fn exists(name: &str) -> bool {
    Path::new(namespace::DIRECTORY).join(name).exists()
}

pub(super) fn namespace() -> Result<()> {
    let site = Site::claim("acltest")?;
    let here = fs::read_link("/proc/thread-self/ns/net")?;
    let namespace = site.namespace("one")?;
    let name = namespace.name().to_owned();
    ensure!(exists(&name), "no {name}");
    let there = namespace.run(|| Ok(fs::read_link("/proc/thread-self/ns/net")?))?;
    ensure!(there != here, "the same namespace");
    ensure!(
        fs::read_link("/proc/thread-self/ns/net")? == here,
        "this thread has moved"
    );
    let child = namespace
        .command("readlink")
        .arg("/proc/self/ns/net")
        .output()?;
    let child = String::from_utf8(child.stdout)?;
    ensure!(Path::new(child.trim()) == there, "the child is in {child}");
    ensure!(
        Namespace::create(&name).is_err(),
        "one name for two namespaces"
    );
    ensure!(exists(&name), "the failure has removed the other's name");
    drop(namespace);
    ensure!(!exists(&name), "{name} is still there");
    Ok(())
}

pub(super) fn site() -> Result<()> {
    let living = Site::claim("acltest")?;
    let kept = living.namespace("kept")?;
    let dead = Site::claim("acltest")?;
    let (prefix, directory) = (dead.prefix().to_owned(), dead.directory().to_owned());
    let left = dead.namespace("left")?.name().to_owned();
    // What a killed process leaves: files and mounts, but no lock.
    drop(dead);
    fs::create_dir(&directory)?;
    std::mem::forget(Namespace::create(&left)?);
    let next = Site::claim("acltest")?;
    ensure!(!exists(&left), "{left} is still there");
    ensure!(exists(kept.name()), "{} is gone", kept.name());
    ensure!(
        living.directory().exists(),
        "the living run's directory is gone"
    );
    ensure!(
        next.prefix() == prefix,
        "{} instead of {prefix}",
        next.prefix()
    );
    Ok(())
}

pub(super) fn process() -> Result<()> {
    let site = Site::claim("acltest")?;
    let namespace = site.namespace("one")?;
    let log = site.directory().join("log");
    let mut command = namespace.command("sh");
    command.args([
        "-c",
        "echo first; read word; echo heard $word; exec sleep 1000",
    ]);
    let mut process = Process::start("sh", command, &log)?;
    let (_, next) =
        process.wait_line(SOON, "its word", 0, |line| (line == "first").then_some(()))?;
    process.say("this")?;
    process.wait_line(SOON, "an echo", next, |line| {
        (line == "heard this").then_some(())
    })?;
    let id = process.id();
    let started = Instant::now();
    drop(process);
    ensure!(started.elapsed() < SOON, "it had to be killed");
    ensure!(!Path::new(&format!("/proc/{id}")).exists(), "it still runs");
    ensure!(
        fs::read_to_string(&log)? == "first\nheard this\n",
        "its log is not what it said"
    );
    // One that ends too early says so at once, with its last words.
    let mut command = namespace.command("sh");
    command.args(["-c", "echo sorry >&2"]);
    let process = Process::start("sh", command, &log)?;
    let error = process.wait_line(SOON, "a word", 0, |line| (line == "word").then_some(()));
    let error = error.err().context("a word that was not said")?.to_string();
    ensure!(error.contains("sorry"), "{error}");
    Ok(())
}

pub(super) fn wait() -> Result<()> {
    let value = Watched::new(0);
    let short = Duration::from_millis(30);
    let missed = value.wait(short, "a two", |value| (*value == 2).then_some(()));
    ensure!(matches!(missed, Err(Missed::Deadline { .. })), "{missed:?}");
    thread::scope(|scope| {
        scope.spawn(|| (1..=2).for_each(|step| value.update(|value| *value = step)));
        let started = Instant::now();
        value.wait(SOON, "a two", |value| (*value == 2).then_some(()))?;
        ensure!(started.elapsed() < SOON, "it waited for its deadline");
        Ok(())
    })
}

pub(super) fn routes() -> Result<()> {
    let network = Network::up()?;
    let monitor = Monitor::start(&network.router)?;
    ensure!(monitor.to(B, 128).is_empty(), "a route before it is made");
    netlink::route(&network.router, B, 128, S1.link_local(), "lan0")?;
    let route = monitor.wait(SOON, "the route", (B, 128), |routes| {
        routes.first().cloned()
    })?;
    let hops: Vec<_> = route.next_hops.iter().map(|(via, _)| *via).collect();
    ensure!(
        hops == [Some(S1.link_local())] && route.table == 254,
        "{route}"
    );
    // A route goes with its interface.
    netlink::delete(&network.lan, "router")?;
    monitor.wait(SOON, "no route", (B, 128), |routes| {
        routes.is_empty().then_some(())
    })?;
    Ok(())
}
