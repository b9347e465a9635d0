//! The README's chapter for a reader's own machines, typed line by line on machines in network namespaces.

mod bed;
mod page;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Result, ensure};
use xtask::{kernel_tests::Suite, process};

/// What the lines of the chapter, or its machines, run beside the daemon.
const PROGRAMS: [&str; 8] = [
    "bash", "unshare", "ip", "sysctl", "nft", "python3", "curl", "mount",
];

fn main() -> ExitCode {
    let name = "the README's lines make a router, a member and a gateway that keep a session";
    let missing = PROGRAMS
        .iter()
        .find(|program| process::find(program).is_none());
    let suite = match missing {
        Some(program) => Suite::new().ignored(name, &format!("{program} is not installed")),
        None => Suite::new().test(name, chapter),
    };
    suite
        .test("a line is not taken for another that looks like it", lines)
        .run()
}

/// The control of what the chapter's output is compared by.
fn lines() -> Result<()> {
    for (shown, output, same) in [
        ("200", "200", true),
        ("200", "404", false),
        ("CLIENT  AGE", "CLIENT AGE", true),
        (
            "[2001:db8::1]:80 tcp 21ms",
            "[2001:db8::1]:9 tcp 4.2s",
            true,
        ),
        ("[2001:db8::1]:80 tcp", "[2001:db8::2]:80 tcp", false),
        ("2001:db8::1 yes 4", "2001:db8::1 no 4", false),
    ] {
        let found = page::missing(shown, &[output.to_owned()]).is_none();
        ensure!(found == same, "{shown}, {output}");
    }
    Ok(())
}

fn chapter() -> Result<()> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let blocks = page::blocks(&fs::read_to_string(readme)?)?;
    let shows = blocks.iter().filter(|block| block.shows.is_some()).count();
    ensure!(shows >= 4, "only {shows} blocks say what is to be seen");
    let mut bed = bed::Bed::up()?;
    for block in &blocks {
        bed.follow(block)?;
    }
    Ok(())
}
