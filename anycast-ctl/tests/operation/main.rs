//! What an operator installs, starts and watches: the unit and the package under a real systemd,
//! metrics under a real Prometheus, and what the command line answers.

mod asked;
mod bridges;
mod capture;
mod explain;
mod forwarded;
mod host;
mod machine;
mod made;
mod metrics;
mod obstacles;
mod package;
mod problems;
mod prometheus;
mod top;
mod unit;

use std::process::ExitCode;

use xtask::{kernel_tests::Suite, lab::app};

fn main() -> ExitCode {
    if let Some(code) = app::intercept() {
        return code;
    }
    let mut suite = Suite::new();
    let life = "the unit's life under systemd, beside a session";
    suite = match machine::obstacle() {
        Some(reason) => suite.ignored(life, reason),
        None => suite.test(life, unit::life),
    };
    let installed = "the Debian package is installed, upgraded beside a session, and purged";
    suite = match package::obstacle() {
        Some(reason) => suite.ignored(installed, reason),
        None => suite.test(installed, package::life),
    };
    let rpm = "the RPM package has the files of the Debian package, and is installed";
    suite = match made::rpm_obstacle() {
        Some(reason) => suite.ignored(rpm, reason),
        None => suite.test(rpm, made::rpm),
    };
    let scripts = "an upgrade of the RPM package ends nothing, its erasure does";
    suite = match made::scripts_obstacle() {
        Some(reason) => suite.ignored(scripts, reason),
        None => suite.test(scripts, made::scripts),
    };
    let debians = "the Debian package fits Debian 12 and 13";
    suite = match package::debians_obstacle() {
        Some(reason) => suite.ignored(debians, reason),
        None => suite.test(debians, package::debians),
    };
    let sbom = "the list of crates has what the daemon is made of";
    suite = match made::sbom_obstacle() {
        Some(reason) => suite.ignored(sbom, reason),
        None => suite.test(sbom, made::sbom),
    };
    let sums = "checksums verify the packages beside them";
    suite = match made::rpm_obstacle() {
        Some(reason) => suite.ignored(sums, reason),
        None => suite.test(sums, made::sums),
    };
    suite = suite
        .test(
            "users of read_group ask and change nothing",
            asked::read_group,
        )
        .test(
            "a read_group that is not there keeps no daemon from running",
            asked::no_read_group,
        )
        .test(
            "status --check fails where an interface is missing",
            asked::check,
        );
    suite = obstacles::tests(host::tests(problems::tests(suite)));
    suite = suite
        .test("explain gives each of its answers", explain::answers)
        .test(
            "explain knows a trial that failed, a client at rest, and a group without care_of",
            explain::others,
        )
        .test("a gateway remembers what it refused", explain::refusals);
    let file = "a file of a capture has packets, verdicts and comments for tshark";
    suite = match xtask::process::find("tshark") {
        None => suite.ignored(file, "tshark is not installed"),
        Some(_) => suite.test(file, capture::file),
    };
    let schemas = "what commands print as JSON matches its schema";
    suite = match xtask::json_schema::obstacle() {
        Some(reason) => suite.ignored(schemas, reason),
        None => suite.test(schemas, asked::schemas),
    };
    suite = suite.test(
        "metrics are what the daemons say elsewhere, and documented",
        metrics::served,
    );
    let seen = "top shows the lab in a terminal, and keys do what they say";
    suite = match top::obstacle() {
        Some(reason) => suite.ignored(seen, reason),
        None => suite.test(seen, top::seen),
    };
    let scraped = "a Prometheus scrapes the lab, and rules and dashboard hold";
    suite = match prometheus::obstacle() {
        Some(reason) => suite.ignored(scraped, reason),
        None => suite.test(scraped, prometheus::scraped),
    };
    suite.run()
}
