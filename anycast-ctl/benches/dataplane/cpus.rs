//! How much more two CPUs do than one, with the same programs and maps.

use std::{fmt, sync::Barrier, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bed::Case,
    common::median,
    run::{self, RUN},
};

/// The same program in front of two CPUs, each with flows of its own.
pub struct Pair {
    pub name: String,
    pub cases: [Case; 2],
}

/// What came of it.
#[derive(Serialize)]
pub struct Scaling {
    pub name: String,
    /// Packets of two CPUs at once, as a multiple of those of one that is alone: median of the rounds, and quartiles.
    pub median: f64,
    pub quartiles: [f64; 2],
    /// The same number, by the name that targets have for it.
    pub two_cpus: f64,
}

/// Runs each pair alone on one CPU and on two at once, round after round. Times are the threads' own, so that what
/// takes a CPU away counts for neither.
pub fn measure(pairs: &mut [Pair], rounds: usize) -> Result<Vec<Scaling>> {
    let mut repeats = Vec::new();
    for Pair { name, cases } in &mut *pairs {
        let mut slowest: f64 = 0.0;
        for case in cases {
            slowest = slowest.max(run::warm_up(case, run::TIMED).with_context(|| name.clone())?);
        }
        let time = if name.ends_with("new flows") {
            RUN * 4
        } else {
            RUN
        };
        repeats.push(run::repeats(time, slowest));
    }
    let mut speedups: Vec<Vec<f64>> = pairs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((Pair { cases, .. }, speedups), repeat) in
            pairs.iter_mut().zip(&mut speedups).zip(&repeats)
        {
            let [first, second] = cases;
            run::stay_on(0)?;
            let alone = run::time(first, *repeat)?;
            let start = Barrier::new(2);
            let on = |cpu: usize, case| {
                run::stay_on(cpu)?;
                start.wait();
                run::time(case, *repeat)
            };
            let both = thread::scope(|scope| {
                let other = scope.spawn(|| on(1, second));
                let own = on(0, first);
                [own, other.join().unwrap()]
            });
            let [own, other] = both;
            speedups.push(alone / own? + alone / other?);
        }
    }
    let scaling = |(pair, mut speedups): (&Pair, Vec<f64>)| {
        speedups.sort_by(f64::total_cmp);
        let median = median(speedups.clone());
        Scaling {
            name: format!("two CPUs, {}", pair.name),
            median,
            quartiles: [
                speedups[speedups.len() / 4],
                speedups[speedups.len() * 3 / 4],
            ],
            two_cpus: median,
        }
    };
    Ok(pairs.iter().zip(speedups).map(scaling).collect())
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.quartiles;
        write!(
            f,
            "{:50} {:8.2} x one CPU  {low:.2}..{high:.2}",
            self.name, self.median
        )
    }
}
