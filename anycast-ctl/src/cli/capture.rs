//! The command `capture`.

mod output;
mod watch;

use std::{
    io::{self, BufWriter},
    net::Ipv6Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use humantime_serde::re::humantime;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};

use self::{
    output::{Output, is_standard},
    watch::watch,
};
use super::ask::Query;
use crate::shell::{
    api::view,
    capture::{Capture, Filter, OBJECT, Verdict, Writer},
    privilege,
};

/// What is captured, and where to.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// File to write, in the format pcapng; - is standard output
    file: PathBuf,
    /// Only packets that mention this address: of a client, or of a member that sends Reports
    #[arg(long, value_name = "ADDRESS")]
    client: Option<Ipv6Addr>,
    /// Only packets that mention this address before or after a program has changed them
    #[arg(long, value_name = "ADDRESS")]
    anycast: Option<Ipv6Addr>,
    /// Only packets of this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Only packets with this verdict; may be given several times
    #[arg(long, value_enum, value_name = "VERDICT")]
    verdict: Vec<Verdict>,
    /// Octets of each packet
    #[arg(long, value_name = "OCTETS", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(64..=2047))]
    length: u32,
    /// Packets a second on each processor; 0 for all, which may slow forwarding down
    #[arg(long, value_name = "PACKETS", default_value_t = 1000)]
    rate: u64,
    /// End after so many packets
    #[arg(long, value_name = "PACKETS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, such as 30s
    #[arg(long, value_name = "TIME")]
    duration: Option<humantime::Duration>,
    #[command(flatten)]
    query: Query,
}

pub(super) fn run(options: &Options) -> Result<()> {
    privilege::check()?;
    // They wait in a descriptor, so that the end of the file is written.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block()?;
    let ends = SignalFd::new(&ends)?;
    let (mut capture, found) = Capture::start(
        OBJECT,
        &Filter {
            client: options.client,
            anycast: options.anycast,
            interface: options.interface.clone(),
            verdicts: options.verdict.clone(),
            length: options.length,
            rate: options.rate,
        },
    )?;
    // What the clock does not reach does not end it.
    let end = options.duration.map(Duration::from);
    let end = end.and_then(|time| Instant::now().checked_add(time));
    let output = Output::open(&options.file, &ends, end)
        .with_context(|| format!("cannot write {}", options.file.display()))?;
    let mut file = Writer::new(BufWriter::new(output))?;
    watch::tell(&found);
    let result = watch(&mut capture, &mut file, &ends, end, options.count);
    let ended = match result.and_then(|()| file.flush()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            eprintln!("warning: {error}");
            Ok(())
        }
        other => other,
    };
    ended.with_context(|| format!("cannot write {}", options.file.display()))?;
    let totals = capture.totals()?;
    let written = file.written();
    let done = view::Captured {
        packets: written.packets,
        changed: written.changed,
        limited: totals.limited,
        lost: totals.lost,
    };
    if options.query.json && !is_standard(&options.file) {
        return super::ask::print(&format!("{:#}\n", serde_json::to_value(done)?));
    }
    eprintln!(
        "{} packets, of which programs changed {}; {} beyond --rate, {} lost",
        done.packets, done.changed, done.limited, done.lost
    );
    Ok(())
}
