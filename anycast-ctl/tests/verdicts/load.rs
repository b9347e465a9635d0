//! Every program passes the verifier, for every union of roles, whoever loads it.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use anycast_common::abi::{programs, roles};
use anycast_ctl::shell::dataplane::{OBJECT, last_words};
use anyhow::{Context as _, Result, ensure};
use aya::{
    EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError, ProgramInfo},
};
use serde_json::json;
use xtask::{kernel_tests::Suite, process};

use crate::harness::Bench;

pub fn tests(suite: Suite) -> Suite {
    let suite = suite.test(
        "every program loads, for every union of roles",
        every_program,
    );
    let name = "libbpf loads the same object";
    match process::find("bpftool") {
        Some(bpftool) => suite.test_with_pins(name, move || by_libbpf(bpftool)),
        None => suite.ignored(name, "there is no bpftool here"),
    }
}

/// Instructions that the verifier may follow. It gives up at a million, and follows up to half as many again on another
/// kernel.
const MOST: u32 = 80_000;

/// Those that devices without Ethernet have on the way out.
const EGRESS_BARE: [&str; 3] = [
    programs::MEMBER_EGRESS_BARE,
    programs::CORRESPONDENT_EGRESS_BARE,
    programs::BOTH_EGRESS_BARE,
];

fn every_program() -> Result<()> {
    let all = roles::ROUTER | roles::MEMBER | roles::CORRESPONDENT;
    let mut bench = Bench::new(all, true)?;
    let mut followed = Vec::new();
    let mut note = |name: &str, info: Result<ProgramInfo, ProgramError>| {
        let count = info?.verified_instruction_count();
        followed.push((name.to_owned(), count.context("no count")?));
        anyhow::Ok(())
    };
    for roles in 0..=all {
        let name = programs::XDP[usize::from(roles)];
        let program = bench.dataplane.xdp(roles).context(name)?;
        note(name, program.info())?;
    }
    note(programs::MEMBER_EGRESS, bench.dataplane.egress()?.info())?;
    for roles in 1..=all {
        let name = programs::TCX[usize::from(roles)];
        let program = bench.dataplane.tcx(roles).context(name)?;
        note(name, program.info())?;
        if roles != roles::ROUTER {
            let program = bench.dataplane.tcx_egress(roles)?;
            note(&format!("{name}, egress"), program.info())?;
        }
    }
    let bare = programs::TCX_BARE.into_iter().chain(EGRESS_BARE);
    for name in bare.filter(|name| !name.is_empty()) {
        note(name, bench.dataplane.classifier(name).context(name)?.info())?;
    }
    for (name, count) in &followed {
        println!("{count:>7} {name}");
    }
    ensure!(
        followed.iter().all(|(_, count)| *count < MOST),
        "{followed:#?}"
    );
    Ok(())
}

/// What bpftool pins is removed, whatever becomes of the test.
struct Pinned(PathBuf);

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn by_libbpf(bpftool: PathBuf) -> Result<()> {
    let name = format!("anycast-libbpf-{}", std::process::id());
    let object = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.bpf.o"));
    fs::write(&object, OBJECT)?;
    let pinned = Pinned(PathBuf::from("/sys/fs/bpf").join(name));
    let output = Command::new(bpftool)
        .args(["prog", "loadall"])
        .args([&object, &pinned.0])
        .output();
    fs::remove_file(&object)?;
    let output = output?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bpftool: {said}");
    let found = fs::read_dir(&pinned.0)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<BTreeSet<_>>>()?;
    let wanted = programs::XDP.into_iter().chain(programs::TCX);
    let wanted = wanted.chain(programs::TCX_BARE).chain(EGRESS_BARE);
    let wanted = wanted.filter(|name| !name.is_empty()).chain([
        programs::MEMBER_EGRESS,
        programs::CORRESPONDENT_EGRESS,
        programs::BOTH_EGRESS,
    ]);
    let wanted: BTreeSet<_> = wanted.map(str::to_owned).collect();
    ensure!(found == wanted, "loaded: {found:?}");
    Ok(())
}

/// Loads each program by itself and says, a line of JSON each behind `mark`, what the verifier made of it.
pub fn report(mark: &str) -> ExitCode {
    match each(mark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("the object does not load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn each(mark: &str) -> Result<()> {
    let mut object = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .load(OBJECT)?;
    let mut told = false;
    let mut names: Vec<String> = object.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    for name in names {
        let program = object.program_mut(&name).context("it was listed")?;
        let start = Instant::now();
        let loaded = match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(classifier) => classifier.load(),
            _ => continue,
        };
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        let error = loaded.err().map(|error| last_words(&error));
        let info = match program {
            Program::Xdp(xdp) => xdp.info(),
            Program::SchedClassifier(classifier) => classifier.info(),
            _ => continue,
        };
        let instructions = info.ok().and_then(|info| info.verified_instruction_count());
        let line = json!({
            "program": name,
            "instructions": instructions,
            "milliseconds": milliseconds,
            "error": error,
        });
        println!("\n{mark}{line}");
        if line["error"].is_string() && !told {
            told = true;
            println!("{name}:\n{}", course(&name)?);
        }
    }
    Ok(())
}

/// The last of what the verifier followed in a program that it refuses.
fn course(name: &str) -> Result<String> {
    let mut object = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .load(OBJECT)?;
    let program = object.program_mut(name).context("it was there before")?;
    let loaded = match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(classifier) => classifier.load(),
        _ => Ok(()),
    };
    let Err(ProgramError::LoadError { verifier_log, .. }) = loaded else {
        return Ok(String::new());
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST)..].join("\n"))
}

/// Lines of the verifier's log that tell where it stopped.
const LAST: usize = 60;
