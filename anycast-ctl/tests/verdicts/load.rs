//! Every program passes the verifier, for every union of roles, whoever loads it.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use anycast_common::abi::{programs, roles};
use anycast_ctl::shell::dataplane::OBJECT;
use anyhow::{Context as _, Result, ensure};
use xtask::{kernel_tests::Suite, process};

use crate::harness::Bench;

pub fn tests(suite: Suite) -> Suite {
    let suite = suite.test(
        "every program loads, for every union of roles",
        every_program,
    );
    let name = "libbpf loads the same object";
    match process::find("bpftool") {
        Some(bpftool) => suite.test(name, move || by_libbpf(bpftool)),
        None => suite.ignored(name, "there is no bpftool here"),
    }
}

fn every_program() -> Result<()> {
    let all = roles::ROUTER | roles::MEMBER | roles::CORRESPONDENT;
    let mut bench = Bench::new(all, true)?;
    for roles in 0..=all {
        bench
            .dataplane
            .xdp(roles)
            .with_context(|| programs::XDP[usize::from(roles)])?;
    }
    bench.dataplane.egress()?;
    for roles in 1..=all {
        bench
            .dataplane
            .tcx(roles)
            .with_context(|| programs::TCX[usize::from(roles)])?;
        if roles != roles::ROUTER {
            bench.dataplane.tcx_egress(roles)?;
        }
    }
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
    let wanted = wanted.filter(|name| !name.is_empty()).chain([
        programs::MEMBER_EGRESS,
        programs::CORRESPONDENT_EGRESS,
        programs::BOTH_EGRESS,
    ]);
    let wanted: BTreeSet<_> = wanted.map(str::to_owned).collect();
    ensure!(found == wanted, "loaded: {found:?}");
    Ok(())
}
