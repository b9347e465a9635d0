//! Builds the daemon, and finds where cargo put it.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    process::{self, say},
    toolchain,
};

const PACKAGE: &str = "anycast-ctl";

/// Files that the build makes.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The executable.
    pub daemon: PathBuf,
    /// The BPF object that is embedded in it.
    pub object: PathBuf,
}

impl fmt::Display for Artifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "daemon      {}", self.daemon.display())?;
        write!(f, "BPF object  {}", self.object.display())
    }
}

/// Installs what the toolchain lacks, and builds the daemon with its BPF programs.
pub fn build(release: bool) -> Result<Artifacts> {
    toolchain::setup()?;
    say("building anycast-ctl; its build script compiles the BPF programs, a minute at first");
    let what = "building anycast-ctl";
    let mut cargo = toolchain::cargo();
    cargo
        .args(["build", "--package", PACKAGE])
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped());
    if release {
        cargo.arg("--release");
    }
    let mut child = process::spawn(cargo.stdin(Stdio::null()), what)?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let reader = std::thread::spawn(move || read(BufReader::new(messages)));
    let status = process::wait(&mut child, what, None)?;
    ensure!(status.success(), "{what}: {}", process::describe(status));
    let artifacts = reader
        .join()
        .ok()
        .flatten()
        .context("cargo did not say where it put anycast-ctl")?;
    if is_empty(&artifacts.object) {
        bail!("anycast-ctl was built without its BPF programs; `cargo xtask doctor` may say why");
    }
    Ok(artifacts)
}

/// Reads all messages of cargo, one per line.
fn read(messages: impl BufRead) -> Option<Artifacts> {
    let mut daemon = None;
    let mut object = None;
    for line in messages.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if !is_ours(&message) {
            continue;
        }
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                let executable = message["executable"].as_str().map(PathBuf::from);
                daemon = executable.or(daemon);
            }
            Some("build-script-executed") => {
                object = message["out_dir"]
                    .as_str()
                    .map(|out| Path::new(out).join("anycast.bpf.o"));
            }
            _ => {}
        }
    }
    Some(Artifacts {
        daemon: daemon?,
        object: object?,
    })
}

/// Whether a message is about our package. A package ID looks like `path+file:///.../anycast-ctl#0.1.0`.
fn is_ours(message: &Value) -> bool {
    let id = message["package_id"].as_str().unwrap_or_default();
    id.split('#')
        .next()
        .is_some_and(|source| source.ends_with(PACKAGE))
}

fn is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_among_the_messages_of_cargo() {
        let messages = r#"
{"reason":"compiler-artifact","package_id":"registry+https://x#libc@0.2.1","executable":null}
{"reason":"build-script-executed","package_id":"registry+https://x#libc@0.2.1","out_dir":"/t/libc/out"}
{"reason":"build-script-executed","package_id":"path+file:///w/anycast-ctl#0.1.0","out_dir":"/t/ctl/out"}
{"reason":"compiler-artifact","package_id":"path+file:///w/anycast-ctl#0.1.0","executable":null}
not a message
{"reason":"compiler-artifact","package_id":"path+file:///w/anycast-ctl#0.1.0","executable":"/t/anycast-ctl"}
{"reason":"build-finished","success":true}"#;
        let found = read(messages.as_bytes()).expect("both paths");
        assert_eq!(found.daemon, Path::new("/t/anycast-ctl"));
        assert_eq!(found.object, Path::new("/t/ctl/out/anycast.bpf.o"));
    }
}
