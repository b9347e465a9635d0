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
        LogFormat::Text if is_journal(STDERR) => log.with_ansi(false).event_format(Journal).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Descriptors of standard output and standard error.
pub(super) const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// Whether a descriptor is the stream to the journal that systemd has opened. A program which has redirected it, as a
/// shell does, inherits the variable and not the stream (systemd.exec(5), `JOURNAL_STREAM`).
pub(super) fn is_journal(descriptor: u8) -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    // The link leads to the open file, whatever it is.
    let Ok(own) = std::fs::metadata(format!("/proc/self/fd/{descriptor}")) else {
        return false;
    };
    stream == format!("{}:{}", own.dev(), own.ino())
}

/// Writes why a command failed to standard error, for the journal as an error.
pub fn fatal(text: &str) {
    match is_journal(STDERR) {
        true => eprintln!("{}", with_priority(Level::ERROR, text)),
        false => eprintln!("{text}"),
    }
}

/// The text with the prefix of its priority before each line: the journal takes lines one by one.
pub(super) fn with_priority(level: Level, text: &str) -> String {
    let priority = priority(level);
    let lines = text.lines().map(|line| format!("<{priority}>{line}"));
    lines.collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_priority() {
        assert_eq!(with_priority(Level::ERROR, "one"), "<3>one");
        assert_eq!(with_priority(Level::WARN, "one\n two\n"), "<4>one\n<4> two");
    }
}
