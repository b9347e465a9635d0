//! Runs cases in turn and times them.

use std::time::Duration;

use anyhow::{Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::ClockId,
    unistd::Pid,
};

use crate::bed::{Build, Case};

/// How long one run takes about.
const RUN: Duration = Duration::from_millis(60);
/// The same with many flows, each of which costs more than others once in
/// [`FLOW_CACHE_LIFE`](anycast_common::abi::maps::FLOW_CACHE_LIFE), and in the first packets after a pause: some such
/// times, so that it is in the figure as often as it happens.
const LONG_RUN: Duration = Duration::from_millis(1200);
/// Runs before that, which fill maps and caches and show what a run takes.
const WARM_UP: u32 = 2_000_000;
/// Where all cases run.
const CPU: usize = 0;

/// What came of a case: nanoseconds of each run.
pub struct Figure {
    pub name: String,
    pub build: Build,
    pub times: Vec<f64>,
}

/// Runs every case, round after round.
pub fn measure(cases: &mut [Case], rounds: usize) -> Result<Vec<Figure>> {
    let mut only = CpuSet::new();
    only.set(CPU)?;
    sched_setaffinity(Pid::from_raw(0), &only)?;
    let mut repeats = Vec::new();
    for case in &mut *cases {
        let name = case.name.clone();
        let frame = case.frame.clone();
        let context = case.context;
        let wanted = case.verdict;
        let program = case.program()?;
        let (verdict, time) = once(program, &frame, &context, WARM_UP)?;
        ensure!(
            verdict == wanted,
            "{name}: XDP action {verdict}, not {wanted}"
        );
        let run = if case.has_many_flows() { LONG_RUN } else { RUN };
        repeats.push((run.as_secs_f64() * 1e9 / time).clamp(1e5, 1e8) as u32);
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
        for ((case, figure), repeat) in cases.iter_mut().zip(&mut figures).zip(&repeats) {
            let frame = case.frame.clone();
            let context = case.context;
            let (_, time) = once(case.program()?, &frame, &context, *repeat)?;
            figure.times.push(time);
        }
    }
    Ok(figures)
}

/// XDP action, and nanoseconds for each run, of this thread's time: the kernel's own figure has whole ones, cut off.
fn once(program: &Xdp, frame: &[u8], context: &[u8; 24], repeat: u32) -> Result<(u32, f64)> {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let start = Duration::from(clock.now()?);
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(context),
        repeat,
        ..TestRunOptions::default()
    })?;
    let time = Duration::from(clock.now()?).saturating_sub(start);
    let time = time.as_nanos().max(1) as f64 / f64::from(repeat);
    Ok((result.return_value, time))
}
