//! The README's chapter for a reader's own machines, typed line by line on machines in network namespaces.

mod bed;
mod page;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

fn main() -> ExitCode {
    Suite::new()
        .test(
            "the README's lines make a router, a member and a gateway that keep a session",
            chapter,
        )
        .run()
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
