//! Firewalls of the kernel, as the program nft sets them up.

use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xtask::net::Namespace;

/// The rules of a namespace. They end with it.
pub struct Firewall<'a> {
    namespace: &'a Namespace,
}

impl<'a> Firewall<'a> {
    /// Adds these rules.
    pub fn load(namespace: &'a Namespace, rules: &str) -> Result<Self> {
        let mut command = namespace.command("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().context("nft")?;
        let mut input = child.stdin.take().context("no standard input")?;
        input.write_all(rules.as_bytes())?;
        drop(input);
        succeeded(&child.wait_with_output()?)?;
        Ok(Self { namespace })
    }

    /// Packets that a named counter has counted.
    pub fn count(&self, name: &str) -> Result<u64> {
        let mut command = self.namespace.command("nft");
        let output = command.args(["-j", "list", "counters"]).output()?;
        succeeded(&output)?;
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let list = answer["nftables"].as_array().context("no list")?;
        list.iter()
            .map(|object| &object["counter"])
            .find(|counter| counter["name"] == name)
            .and_then(|counter| counter["packets"].as_u64())
            .with_context(|| format!("no counter {name}"))
    }
}

fn succeeded(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {said}");
    Ok(())
}

/// The lines of the kernel's table of connections.
pub fn connections(namespace: &Namespace) -> Result<Vec<String>> {
    namespace.run(|| {
        let text = fs::read_to_string("/proc/thread-self/net/nf_conntrack")?;
        Ok(text.lines().map(str::to_owned).collect())
    })
}
