//! What a capture tells of a packet: the programs of `anycast-ctl capture` through the real verifier, at programs of
//! the data plane that get one packet each.

use std::net::Ipv6Addr;

use anycast_common::abi::{
    programs,
    roles::{CORRESPONDENT, ROUTER},
};
use anycast_ctl::shell::{
    capture::{Capture, Filter, OBJECT, Verdict as Wanted},
    dataplane::Mode,
};
use anyhow::{Result, ensure};
use nix::sched::{CloneFlags, unshare};
use xtask::kernel_tests::Suite;

use crate::{
    correspondent::{self, A, B, C, LATER, PORTS, bind},
    harness::{Bench, Hook},
    packets::{Packet, SYN, address},
    router::{self as rules, GROUP},
    tracing,
};

/// Index of the loopback interface, over which no packet goes here.
const LOOPBACK: u32 = 1;

type Test = fn() -> Result<()>;

pub fn tests(suite: Suite) -> Suite {
    let tests: [(&str, Test, bool); 3] = [
        ("a capture tells what a router drops", router, false),
        ("a capture tells where XDP steers a packet", by_xdp, true),
        ("a capture tells where TCX steers a packet", by_tcx, true),
    ];
    tests.into_iter().fold(
        suite,
        |suite, (name, body, by_tcx)| match tracing::obstacle() {
            Some(reason) => suite.ignored(name, reason),
            None if by_tcx && !has_tcx() => suite.ignored(
                name,
                "this kernel has no TCX, without which there is no gateway",
            ),
            None => suite.test(name, body),
        },
    )
}

/// Linux 6.6 is the first.
fn has_tcx() -> bool {
    let release = nix::sys::utsname::uname().map(|it| it.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    let mut numbers = release.split('.').map(|it| it.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

/// What a capture tells of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    program: String,
    returned: i32,
    before: Vec<u8>,
    after: Vec<u8>,
}

fn filter() -> Filter {
    Filter {
        client: None,
        anycast: None,
        interface: None,
        verdicts: Vec::new(),
        length: 256,
        rate: 0,
    }
}

/// The programs of a role at the loopback interface of a network namespace of their own.
fn attached(bench: Result<Bench>, roles: u8, mode: Mode) -> Result<Bench> {
    let mut bench = bench?;
    bench.dataplane.attach(LOOPBACK, roles, mode)?;
    Ok(bench)
}

/// What captures with these filters tell of this packet.
fn told<const N: usize>(
    bench: &mut Bench,
    filters: [Filter; N],
    frame: &[u8],
) -> Result<[Vec<Told>; N]> {
    let mut captures = Vec::new();
    for filter in &filters {
        let (capture, found) = Capture::start(OBJECT, filter)?;
        ensure!(found.refused.is_empty(), "{:?}", found.refused);
        captures.push(capture);
    }
    bench.run(frame)?;
    let mut all = [const { Vec::new() }; N];
    for (capture, all) in captures.iter_mut().zip(&mut all) {
        capture.drain(|seen| {
            ensure!(seen.known && seen.head.before_whole as usize == frame.len());
            all.push(Told {
                program: seen.program.to_owned(),
                returned: seen.head.verdict,
                before: seen.before.to_vec(),
                after: seen.after.to_vec(),
            });
            Ok(true)
        })?;
    }
    Ok(all)
}

fn mentions(client: &str, anycast: &str) -> Filter {
    Filter {
        client: Some(address(client)),
        anycast: Some(address(anycast)),
        ..filter()
    }
}

fn router() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let mut bench = attached(rules::bench(), ROUTER, Mode::Generic)?;
    let frame = Packet::report("fe80::66", GROUP).frame();
    let dropped = |verdicts: Wanted| Filter {
        verdicts: vec![verdicts],
        ..filter()
    };
    let filters = [filter(), dropped(Wanted::Drop), dropped(Wanted::Pass)];
    let refused = || Told {
        program: programs::XDP[usize::from(ROUTER)].to_owned(),
        returned: 1,
        before: frame.clone(),
        after: frame.clone(),
    };
    let all = told(&mut bench, filters, &frame)?;
    ensure!(
        all == [vec![refused()], vec![refused()], vec![]],
        "{all:#?}"
    );
    Ok(())
}

fn by_xdp() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let bench = attached(correspondent::bench(), CORRESPONDENT, Mode::Generic)?;
    steered(bench, programs::XDP[usize::from(CORRESPONDENT)], 2)
}

fn by_tcx() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let mut bench = attached(correspondent::bench(), CORRESPONDENT, Mode::Tcx)?;
    bench.hook = Hook::TcxOut;
    steered(bench, programs::CORRESPONDENT_EGRESS, -1)
}

/// The first packet of a connection to B, which goes to C.
fn steered(mut bench: Bench, program: &str, returned: i32) -> Result<()> {
    bind(&mut bench, C, LATER)?;
    let opens = Packet::tcp(A, B, PORTS, SYN);
    let goes = opens.clone().with(|packet| packet.destination = address(C));
    let steered = || Told {
        program: program.to_owned(),
        returned,
        before: opens.frame(),
        after: goes.frame(),
    };
    let nobody: Ipv6Addr = "2001:db8:77::1".parse()?;
    let short = Filter {
        length: 64,
        ..mentions(A, B)
    };
    let filters = [
        mentions(A, B),
        // What it became counts as well.
        mentions(A, C),
        Filter {
            client: Some(nobody),
            ..filter()
        },
        mentions(A, "2001:db8:77::1"),
        short,
    ];
    let all = told(&mut bench, filters, &opens.frame())?;
    let cut = |mut whole: Told| {
        whole.before.truncate(64);
        whole.after.truncate(64);
        whole
    };
    let expected = [
        vec![steered()],
        vec![steered()],
        vec![],
        vec![],
        vec![cut(steered())],
    ];
    ensure!(all == expected, "{all:#?}");
    Ok(())
}
