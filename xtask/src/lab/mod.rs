//! The lab: a network of namespaces on this machine, in which the daemons run.

pub mod app;
pub mod crowd;
pub mod node;
pub mod report;
pub mod scenario;
mod second;
pub mod stage;
pub mod topology;
pub mod verdict;
pub mod visitor;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;

use crate::net::{
    bpffs,
    wait::{self, Watched},
};

use self::{
    report::{Report, Step},
    scenario::Plan,
    stage::Lab,
};

/// Options of `cargo xtask run` for the lab.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Write the report of the lab to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep captures of every link in this directory
    #[arg(long, value_name = "DIR")]
    pub pcap: Option<PathBuf>,
    /// Keep the lab running at the end, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Use an optimised daemon
    #[arg(long)]
    pub release: bool,
}

/// Exit status of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Runs the lab as root, with this daemon.
pub fn run(options: Options, daemon: &Path) -> Result<ExitCode> {
    wait::interruptible()?;
    // The machine's BPF file system is not used, and need not exist.
    bpffs::private()?;
    let mut report = Report::begin(false);
    report.tell(topology::PICTURE);
    let mut lab = None;
    let course = play(&options, daemon, &mut report, &mut lab);
    report.tell(format_args!("\n{}", summary(&report)));
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    if let Some(lab) = lab.filter(|_| options.keep) {
        linger(&lab, &report);
    }
    match course {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(_) if wait::interrupted() && !options.keep => Ok(ExitCode::from(INTERRUPTED)),
        // The error has already been printed where it happened.
        Err(_) => Ok(ExitCode::FAILURE),
    }
}

fn play(
    options: &Options,
    daemon: &Path,
    report: &mut Report,
    stands: &mut Option<Lab>,
) -> Result<()> {
    let lab = report.step("network", "the network", |evidence| {
        let lab = Lab::up(daemon, options.pcap.as_deref())?;
        evidence.fact(format_args!(
            "{} namespaces {}-*, a capture on every link",
            lab.network.namespaces().count(),
            lab.network.site().prefix()
        ));
        Ok(lab)
    })?;
    let plan = Plan {
        keep: options.keep,
        ..Plan::default()
    };
    let lab = stands.insert(lab);
    let course = scenario::play(lab, report, plan);
    if course.is_err() && !wait::interrupted() {
        let failure = report.steps().last().and_then(|step| step.failure.as_ref());
        let node = failure.and_then(|failure| failure.node);
        report.tell(lab.logs(node));
    }
    course
}

/// Leaves everything running until the user presses Ctrl-C.
fn linger(lab: &Lab, report: &Report) {
    let prefix = lab.network.site().prefix();
    report.tell("\nThe network stays until Ctrl-C. As root, in another terminal:\n");
    report.tell(format_args!(
        "  ip netns exec {prefix}-client ping {}",
        topology::B
    ));
    for daemon in lab.daemons() {
        report.tell(format_args!(
            "  {} status    # {}",
            daemon.command_line(),
            daemon.node()
        ));
    }
    let directory = lab.network.site().directory().display();
    report.tell(format_args!("\nLogs are in {directory}."));
    // This value never changes. Only the signal ends the wait.
    let forever = Watched::new(());
    while !wait::interrupted() {
        let _ = forever.wait(Duration::from_secs(3600), "Ctrl-C", |()| None::<()>);
    }
}

fn left_out(step: &Step) -> Option<String> {
    let reason = step.not_shown.as_ref()?;
    Some(format!(", without \"{}\": {reason}", step.name))
}

fn summary(report: &Report) -> String {
    let steps = report.steps();
    let seconds = report.elapsed().as_secs_f64();
    match steps.iter().find(|step| !step.ok) {
        None => {
            let last = steps.len().saturating_sub(1);
            let missing: String = steps.iter().filter_map(left_out).collect();
            format!("steps 0 to {last} showed what they must{missing}, in {seconds:.1} s")
        }
        Some(_) if wait::interrupted() => format!("interrupted after {seconds:.1} s"),
        Some(step) => format!(
            "step \"{}\" did not show what it must, after {seconds:.1} s",
            step.name
        ),
    }
}
