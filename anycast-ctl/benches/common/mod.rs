//! What measurements have in common.

use std::{env, fs, path::Path, time::Duration};

use anycast_ctl::shell::api::{Request, client, view};
use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// Kernel ticks of `/proc/PID/stat` in a second.
const TICKS: f64 = 100.0;

/// Runs the parts that the command line names, or all.
pub fn parts(parts: &[(&str, &dyn Fn() -> Result<()>)]) -> Result<()> {
    // cargo adds `--bench`.
    let file = json();
    let wanted: Vec<_> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-') && Some(argument) != file.as_ref())
        .collect();
    for (name, run) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run()?;
        }
    }
    Ok(())
}

/// The file that `--json` names.
pub fn json() -> Option<String> {
    let mut arguments = env::args().skip_while(|argument| argument != "--json");
    arguments.nth(1)
}

/// So many a second, in thousands.
pub fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64() / 1e3
}

pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// Processor time of this thread, which others on the machine change less than they do the wall's.
pub fn timed(body: impl FnOnce()) -> Duration {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    let start = now();
    body();
    Duration::from(now() - start)
}

/// The counters of a daemon, and the seconds of processor time that it has used.
pub fn sample(socket: &Path, process: u32) -> Result<(view::Counters, f64)> {
    let counters = client::ask(socket, &Request::Counters)?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // User and system time; the name before them may hold anything.
    let (_, fields) = stat.rsplit_once(") ").context("stat")?;
    let times = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    let busy: f64 = times.sum::<Result<_, _>>()?;
    Ok((counters, busy / TICKS))
}
