//! The network that the README's chapter begins with: four machines in a row, with addresses and nothing else.

use std::{net::Ipv6Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use xtask::net::{
    Namespace, Process, Site, cable,
    netlink::{self, End},
    sysctl, wait,
};

use crate::page::{Block, missing};

/// How long lines may take, a start of a daemon with its verifier among them.
const LONG: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What stands for a firewall that lets nothing through but what a firewall of hosts and routers usually does.
const FIREWALL: &str = "nft -f - <<'END'
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto ipv6-icmp accept
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        meta l4proto ipv6-icmp accept
    }
}
END";

/// A machine, and the shell in which lines are typed.
struct Machine {
    name: &'static str,
    shell: Process,
    /// Number of lines of the shell's output that were read.
    read: usize,
    typed: usize,
}

impl Machine {
    /// Starts a shell that has directories of its own for configurations and sockets, as a machine has.
    fn start(site: &Site, namespace: &Namespace, name: &'static str) -> Result<Self> {
        let directory = site.directory();
        let mut command = namespace.command("unshare");
        // What the lines start in the background ends with the shell.
        command.args(["--mount", "--pid", "--fork", "--kill-child", "bash"]);
        let shell = Process::start(name, command, &directory.join(format!("{name}.log")))?;
        let mut machine = Self {
            name,
            shell,
            read: 0,
            typed: 0,
        };
        let program = Path::new(env!("CARGO_BIN_EXE_anycast-ctl"));
        let programs = program.parent().context("a directory")?.display();
        let etc = directory.join(format!("{name}.etc"));
        let etc = etc.display();
        machine.type_in(&format!(
            "cp -a /etc {etc}\nmount --bind {etc} /etc\nmount -t tmpfs tmpfs /run\n\
             export PATH={programs}:$PATH\n{FIREWALL}\n"
        ))?;
        Ok(machine)
    }

    /// Types lines, and gives what they print. A line that fails is an error.
    fn type_in(&mut self, script: &str) -> Result<Vec<String>> {
        self.typed += 1;
        let mark = format!("end of block {}:", self.typed);
        self.shell
            .say(&format!("set -e\n{script}\nset +e\necho '{mark}'"))?;
        let from = self.read;
        let what = format!("{} has done: {script}", self.name);
        let (_, next) = self
            .shell
            .wait_line(LONG, &what, from, |line| (line == mark).then_some(()))?;
        self.read = next;
        let output = self.shell.output();
        Ok(output.read(|output| output.lines[from..next - 1].to_vec()))
    }
}

/// The machines of the chapter.
pub struct Bed {
    machines: Vec<Machine>,
    _namespaces: Vec<Namespace>,
    _site: Site,
}

impl Bed {
    pub fn up() -> Result<Self> {
        let site = Site::claim("acr")?;
        let names = ["client", "gateway", "router", "member"];
        let mut namespaces = Vec::new();
        for name in names {
            let namespace = site.namespace(name)?;
            sysctl::set(
                &namespace,
                &[
                    ("ipv6/conf/all/accept_dad", "0"),
                    ("ipv6/conf/default/accept_dad", "0"),
                ],
            )?;
            netlink::up(&namespace, "lo")?;
            namespaces.push(namespace);
        }
        let [client, gateway, router, member] = &namespaces[..] else {
            unreachable!("there are four names");
        };
        let links = [
            (End::new(client, "eth0"), End::new(gateway, "clients0")),
            (End::new(gateway, "up0"), End::new(router, "gw0")),
            (
                End::new(router, "lan0"),
                End::new(member, "eth0").with_mac([2, 0, 0, 0, 0x20, 0x11]),
            ),
        ];
        for (left, right) in links {
            cable(left, right)?;
        }
        let address = |net, host| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host);
        netlink::address(client, "eth0", address(1, 0x100), 64)?;
        netlink::address(gateway, "clients0", address(1, 1), 64)?;
        netlink::address(gateway, "up0", address(0xff, 2), 64)?;
        netlink::address(router, "gw0", address(0xff, 1), 64)?;
        netlink::address(router, "lan0", address(0x20, 1), 64)?;
        netlink::address(member, "eth0", address(0x20, 0x11), 64)?;
        let mut machines = Vec::new();
        for (namespace, name) in namespaces.iter().zip(names) {
            machines.push(Machine::start(&site, namespace, name)?);
        }
        Ok(Self {
            machines,
            _namespaces: namespaces,
            _site: site,
        })
    }

    /// Types the lines of a block on each of its machines. Where the README shows the output, the lines are typed until
    /// it comes.
    pub fn follow(&mut self, block: &Block) -> Result<()> {
        for name in &block.machines {
            let machine = self
                .machines
                .iter_mut()
                .find(|machine| machine.name == name);
            let machine = machine.with_context(|| format!("there is no machine {name}"))?;
            let shown = block.shows.as_deref().unwrap_or_default();
            let mut last = Vec::new();
            let seen = wait::poll(LONG, ASK_AGAIN, "the output that the README shows", || {
                last = machine.type_in(&block.script)?;
                Ok(missing(shown, &last).is_none().then_some(()))
            });
            let script = &block.script;
            seen.with_context(|| {
                let line = missing(shown, &last);
                format!("{name}: {script}does not show {line:?}, but: {last:#?}")
            })?;
        }
        Ok(())
    }
}
