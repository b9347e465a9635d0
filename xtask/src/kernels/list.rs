//! Which kernels there are: `xtask/kernels.toml`.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

const LIST: &str = include_str!("../../kernels.toml");

/// A kernel that is tried.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// What it is called on the command line: the first two numbers of its version.
    pub name: String,
    /// Suite that has it.
    pub suite: String,
    /// Archive that has the suite. Without it, it is one of Debian's, by the mirrors that this machine uses.
    pub archive: Option<String>,
    /// The words in which the daemon says what this kernel lacks for a member; without them it lacks nothing.
    pub refuses: Option<String>,
    /// What it is made of: one package with the kernel and its modules, or one of each.
    pub packages: Vec<Package>,
}

/// A package, and what it must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kernel: Vec<Kernel>,
    generic: Kernel,
}

/// The kernel that has drivers for more than clouds.
pub(crate) fn generic() -> Result<Kernel> {
    let File { generic, .. } = toml::from_str(LIST).context("xtask/kernels.toml")?;
    Ok(generic)
}

/// Those with these names, in the order of the list; all when none is named.
pub(crate) fn kernels(names: &[String]) -> Result<Vec<Kernel>> {
    let File { kernel: all, .. } = toml::from_str(LIST).context("xtask/kernels.toml")?;
    for name in names {
        let known: Vec<&str> = all.iter().map(|kernel| kernel.name.as_str()).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no kernel {name}; there are {}",
            known.join(", ")
        );
    }
    let wanted = |kernel: &Kernel| names.is_empty() || names.contains(&kernel.name);
    Ok(all.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole() {
        let all = kernels(&[]).expect("a list");
        assert!(all.len() > 1);
        for kernel in &all {
            assert!(!kernel.packages.is_empty(), "{}", kernel.name);
            for package in &kernel.packages {
                let name = &package.name;
                assert!(package.version.starts_with(&kernel.name), "{name}");
                assert_eq!(package.sha256.len(), 64, "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_those_that_are() {
        let error = kernels(&["2.6".to_owned()]).expect_err("no such kernel");
        assert!(error.to_string().contains("6.12"), "{error}");
    }
}
