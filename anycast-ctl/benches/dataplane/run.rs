//! Runs cases in turn and times them.

use std::time::Duration;

use anyhow::{Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::ClockId,
    unistd::Pid,
};

use crate::bed::{Build, Case};

/// How long one run takes about.
pub const RUN: Duration = Duration::from_millis(60);
/// The same with many flows, each of which costs more than others once in
/// [`FLOW_CACHE_LIFE`](anycast_common::abi::maps::FLOW_CACHE_LIFE), and in the first packets after a pause: some such
/// times, so that it is in the figure as often as it happens.
const LONG_RUN: Duration = Duration::from_millis(1200);
/// Runs before that, which fill maps and caches and show what a run takes.
const WARM_UP: u32 = 2_000_000;

/// How many packets there are.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Before it is measured.
    warm_up: u32,
    /// Each time; `None`: as many as take a time.
    repeats: Option<u32>,
}

/// On a processor.
pub const TIMED: Pace = Pace {
    warm_up: WARM_UP,
    repeats: None,
};
/// On a machine that interprets each instruction. The cases with many flows are gone through three times before.
pub const COUNTED: Pace = Pace {
    warm_up: 100_000,
    repeats: Some(50_000),
};
/// Where all cases run.
const CPU: usize = 0;

/// What came of a case: nanoseconds of each run.
pub struct Figure {
    pub name: String,
    pub build: Build,
    pub times: Vec<f64>,
}

/// Runs every case, round after round.
pub fn measure(cases: &mut [Case], rounds: usize, pace: Pace) -> Result<Vec<Figure>> {
    stay_on(CPU)?;
    let mut measured = Vec::new();
    for case in &mut *cases {
        let time = warm_up(case, pace)?;
        let run = if case.has_many_flows() { LONG_RUN } else { RUN };
        measured.push(pace.repeats.unwrap_or_else(|| repeats(run, time)));
    }
    let mut figures: Vec<_> = cases
        .iter()
        .map(|case| Figure {
            name: case.name.clone(),
            build: case.build,
            times: Vec::new(),
        })
        .collect();
    for _ in 0..rounds {
        for ((case, figure), repeat) in cases.iter_mut().zip(&mut figures).zip(&measured) {
            figure.times.push(time(case, *repeat)?);
        }
    }
    Ok(figures)
}

/// This thread runs on this CPU, and on no other.
pub fn stay_on(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}

/// Fills maps and caches, and sees to it that the packets meet what is measured. Nanoseconds for each.
pub fn warm_up(case: &mut Case, pace: Pace) -> Result<f64> {
    let (name, wanted) = (case.name.clone(), case.verdict);
    let (verdict, time) = once(case, pace.warm_up)?;
    ensure!(
        verdict == wanted,
        "{name}: XDP action {verdict}, not {wanted}"
    );
    Ok(time)
}

/// How many packets of so many nanoseconds take a time.
pub fn repeats(time: Duration, each: f64) -> u32 {
    (time.as_secs_f64() * 1e9 / each).clamp(1e5, 1e8) as u32
}

/// Nanoseconds for each of so many packets.
pub fn time(case: &mut Case, repeat: u32) -> Result<f64> {
    Ok(once(case, repeat)?.1)
}

/// XDP action, and nanoseconds for each run, of this thread's time: the kernel's own figure has whole ones, cut off.
fn once(case: &mut Case, repeat: u32) -> Result<(u32, f64)> {
    let (frame, context) = (case.frame.clone(), case.context);
    let program = case.program()?;
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let start = Duration::from(clock.now()?);
    let result = program.test_run(TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        repeat,
        ..TestRunOptions::default()
    })?;
    let time = Duration::from(clock.now()?).saturating_sub(start);
    let time = time.as_nanos().max(1) as f64 / f64::from(repeat);
    Ok((result.return_value, time))
}
