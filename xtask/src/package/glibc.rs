//! Which C library the daemon wants. One that was built on a newer Debian does not start on an older one.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::process;

/// The C library of Debian 12.
pub const OLDEST: (u32, u32) = (2, 36);

/// The newest version of the C library of which the program wants a symbol.
pub fn wanted(program: &Path) -> Result<(u32, u32)> {
    let mut objdump = Command::new("objdump");
    objdump.arg("-T").arg(program);
    let symbols = process::capture_ok(&mut objdump, "objdump", Duration::from_secs(60))?;
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let mut numbers = rest[..end].split('.').map_while(|part| part.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    });
    Ok(versions.max().unwrap_or_default())
}

/// Fails where the program would not start on Debian 12.
pub fn fits(program: &Path) -> Result<()> {
    let (major, minor) = wanted(program)?;
    ensure!(
        (major, minor) <= OLDEST,
        "the daemon wants the C library {major}.{minor}, and Debian 12 has {}.{}: build the package on Debian 12",
        OLDEST.0,
        OLDEST.1
    );
    Ok(())
}
