//! How long it takes to load what an interface needs for its roles: the maps, and the programs through the verifier.
//!
//! `cargo xtask bench loads`. With `-- FILE`, the object of another build takes turns with that of this one. Processor
//! time, which others on the machine change less than they do the wall's. Needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement may abort"
)]

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "shared with other measurements")]
mod common;

use std::{env, fs, time::Duration};

use anycast_common::abi::{programs, roles};
use anycast_ctl::shell::dataplane::OBJECT;
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramInfo},
};
use common::{median, timed};

const ROUNDS: usize = 15;

/// The programs of an interface with these roles, by XDP and by TCX.
const ROLES: [(&str, [&str; 3]); 4] = [
    ("router", of(roles::ROUTER, "")),
    ("member", of(roles::MEMBER, programs::MEMBER_EGRESS)),
    (
        "correspondent",
        of(roles::CORRESPONDENT, programs::CORRESPONDENT_EGRESS),
    ),
    (
        "all three",
        of(
            roles::ROUTER | roles::MEMBER | roles::CORRESPONDENT,
            programs::BOTH_EGRESS,
        ),
    ),
];

const fn of(roles: u8, egress: &'static str) -> [&'static str; 3] {
    let index = roles as usize;
    [programs::XDP[index], programs::TCX[index], egress]
}

/// Processor time of a start, of the object with its maps and of the programs, and instructions that the verifier
/// followed.
#[derive(Clone, Copy, Debug)]
struct Cost {
    object: Duration,
    programs: Duration,
    instructions: u64,
}

fn main() {
    let other = env::args().skip(1).find(|word| !word.starts_with('-'));
    let other = other.map(|path| fs::read(path).unwrap());
    let objects: Vec<&[u8]> = other.as_deref().into_iter().chain([OBJECT]).collect();
    println!(
        "milliseconds of processor time, medians of {ROUNDS}: maps, programs, all; instructions followed"
    );
    for (role, names) in &ROLES {
        let mut costs = vec![Vec::new(); objects.len()];
        for _ in 0..ROUNDS {
            for (object, costs) in objects.iter().zip(&mut costs) {
                costs.push(load(object, names));
            }
        }
        let mut all = Vec::new();
        for (index, costs) in costs.iter().enumerate() {
            let ms = |part: &dyn Fn(&Cost) -> Duration| {
                median(costs.iter().map(part).collect()).as_secs_f64() * 1e3
            };
            let sum = ms(&|cost| cost.object + cost.programs);
            let which = if index + 1 < objects.len() {
                "other"
            } else {
                "this"
            };
            println!(
                "{role:14} {which:5} {:8.2} {:8.2} {sum:8.2} {:8}",
                ms(&|cost| cost.object),
                ms(&|cost| cost.programs),
                costs[0].instructions
            );
            all.push((ms(&|cost| cost.programs), sum));
        }
        if let [(programs, sum), (by_this, sum_of_this)] = all[..] {
            println!(
                "{role:14} ratio          {:8.2} {:8.2}",
                by_this / programs,
                sum_of_this / sum
            );
        }
    }
}

fn load(object: &[u8], names: &[&str; 3]) -> Cost {
    let mut ebpf: Option<Ebpf> = None;
    let whole = timed(|| {
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(VerifierLogLevel::STATS);
        ebpf = Some(loader.load(object).unwrap());
    });
    let mut ebpf = ebpf.unwrap();
    let (mut time, mut instructions) = (Duration::ZERO, 0);
    for name in names {
        // The router has none on the way out, and objects of before may lack others.
        let Some(program) = ebpf.program_mut(name) else {
            continue;
        };
        time += timed(|| match program {
            Program::Xdp(xdp) => xdp.load().unwrap(),
            Program::SchedClassifier(classifier) => classifier.load().unwrap(),
            _ => {}
        });
        let info: Result<ProgramInfo, _> = match program {
            Program::Xdp(xdp) => xdp.info(),
            Program::SchedClassifier(classifier) => classifier.info(),
            _ => continue,
        };
        let followed = info.unwrap().verified_instruction_count();
        instructions += u64::from(followed.unwrap_or(0));
    }
    Cost {
        object: whole,
        programs: time,
        instructions,
    }
}
