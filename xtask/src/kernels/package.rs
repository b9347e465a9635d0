//! Fetches the packages of a kernel and unpacks them, without installing anything.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::list::{Kernel, Package};
use crate::{
    process::{self, say},
    toolchain::suite::{Suite, Verified, mirrors},
};

const LIMIT: Duration = Duration::from_secs(120);

/// The archive does not give a package: nothing is said of the kernel by that.
#[derive(Debug)]
pub(super) struct Unobtainable(pub String);

impl fmt::Display for Unobtainable {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Unobtainable {}

/// A kernel as it lies in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    /// The compressed image.
    pub image: PathBuf,
    /// What `uname -r` will say.
    pub release: String,
    /// Its folder of modules.
    pub modules: PathBuf,
}

/// Finds the kernel in `cache`, or brings it there.
pub(crate) fn unpacked(kernel: &Kernel, cache: &Path) -> Result<Unpacked> {
    let [first, ..] = kernel.packages.as_slice() else {
        bail!("kernel {} has no packages", kernel.name);
    };
    // What is kept was checked against this sum.
    let sum = first.sha256.get(..16).unwrap_or(&first.sha256);
    let place = cache.join(format!("{}_{}_{sum}", first.name, first.version));
    if !place.is_dir() {
        let fresh = cache.join(format!("{}.new", kernel.name));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh)?;
        for package in &kernel.packages {
            let file = fetch(kernel, package, cache)?;
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&file).arg(&fresh);
            process::capture_ok(&mut unpack, "dpkg-deb", LIMIT)?;
            fs::remove_file(file)?;
        }
        // Whole or not at all.
        fs::rename(&fresh, &place)?;
    }
    let modules = modules(&place)?;
    let release = name(&modules);
    // Where Debian's kernels of today have it, and where those of before have.
    let places = [
        modules.join("vmlinuz"),
        place.join(format!("boot/vmlinuz-{release}")),
    ];
    let image = places
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("the packages of {release} have no kernel"))?;
    Ok(Unpacked {
        image,
        release,
        modules,
    })
}

/// The one folder of modules, whose name is the release of the kernel.
fn modules(place: &Path) -> Result<PathBuf> {
    let folders = ["usr/lib/modules", "lib/modules"].map(|folder| place.join(folder));
    let read = folders.iter().find_map(|folder| fs::read_dir(folder).ok());
    let read = read.with_context(|| format!("{} has no modules", place.display()))?;
    let mut found = read.filter_map(|entry| Some(entry.ok()?.path()));
    found
        .next()
        .with_context(|| format!("{} has no modules", place.display()))
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn fetch(kernel: &Kernel, package: &Package, cache: &Path) -> Result<PathBuf> {
    let Package {
        name,
        version,
        sha256,
    } = package;
    ensure!(
        process::find("apt-get").is_some() && process::find("dpkg-deb").is_some(),
        "kernels come as Debian packages, and this is not a Debian system"
    );
    let (mirrors, verified) = match &kernel.archive {
        Some(archive) => (vec![archive.clone()], Verified::Sum),
        None => (mirrors()?, Verified::Signature),
    };
    if mirrors.is_empty() {
        let why = "no Debian mirror among the sources of apt".to_owned();
        return Err(Unobtainable(why).into());
    }
    let (mut others, mut failures) = (Vec::new(), Vec::new());
    for mirror in &mirrors {
        let suite = Suite::new(cache, mirror, &kernel.suite, verified)?;
        if let Err(error) = suite.update() {
            failures.push(format!("{error:#}"));
            continue;
        }
        let versions = suite.versions(name)?;
        if !versions.contains(version) {
            others.extend(versions);
            continue;
        }
        say(format_args!("downloading {name} {version}"));
        let file = match suite.download(name, version) {
            Ok(file) => file,
            Err(error) => {
                failures.push(format!("{error:#}"));
                continue;
            }
        };
        let mut sum = Command::new("sha256sum");
        let sum = process::capture_ok(sum.arg(&file), "sha256sum", LIMIT)?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        ensure!(
            sum == sha256,
            "{name} {version} has the SHA-256 {sum}, and xtask/kernels.toml says {sha256}"
        );
        return Ok(file);
    }
    Err(Unobtainable(if failures.is_empty() {
        format!(
            "{} has no {name} {version} any more{}; put what it has into xtask/kernels.toml",
            kernel.suite,
            match others.as_slice() {
                [] => String::new(),
                versions => format!(", but {}", versions.join(", ")),
            }
        )
    } else {
        format!("no mirror gives {name} {version}: {}", failures.join("; "))
    })
    .into())
}
