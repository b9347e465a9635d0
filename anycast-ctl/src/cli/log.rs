//! Log lines: for people, for programs, and for the journal of systemd.

use std::{fmt, io::IsTerminal as _, os::unix::fs::MetadataExt as _};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people. Where standard error is the journal, lines have a priority and no time.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging to standard error. `verbose`: lines of level DEBUG as well, unless ANYCAST_LOG says otherwise.
pub(super) fn start(format: LogFormat, verbose: bool) -> Result<()> {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    let filter = EnvFilter::builder()
        .with_env_var("ANYCAST_LOG")
        .with_default_directive(level.into())
        .from_env()
        .context("ANYCAST_LOG is not a filter such as info or anycast=debug")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text if is_journal() => log.with_ansi(false).event_format(Journal).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Whether standard error is the stream to the journal that systemd has opened. A program which has redirected it, as a
/// shell does, inherits the variable and not the stream (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    // The link leads to the open file, whatever it is.
    let Ok(own) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", own.dev(), own.ino())
}

/// Lines with the prefix by which the journal knows their priority (sd-daemon(3)). It has the time itself.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let priority = priority(*metadata.level());
        write!(line, "<{priority}>{}: ", metadata.target())?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

/// The priority of syslog(3). What is normal is worth less than what is seldom.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
