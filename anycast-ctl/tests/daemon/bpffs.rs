//! Where a daemon pins on a machine that nobody prepared, and under `ip netns exec`.
//!
//! Each test has a machine of its own, as far as mounts go: a mount namespace, and a namespace of processes whose
//! process 1 is the test's, so that nothing is mounted on the machine that runs the tests.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use xtask::{
    kernel_tests::Suite,
    net::{Namespace, bpf, bpffs::MOUNT_POINT},
    process,
};

use super::site::{Daemon, Site};

type Test = fn() -> Result<()>;

pub fn add(suite: Suite) -> Suite {
    let tests: [(&str, Test); 5] = [
        (
            "where there is no BPF file system the daemon mounts one",
            plain,
        ),
        (
            "under `ip netns exec` a BPF file system is mounted that outlives the daemon",
            mounted,
        ),
        (
            "under `ip netns exec` that of the machine is used, though it is hidden",
            hidden,
        ),
        (
            "what sessions need outlives interfaces that are made anew while no daemon runs",
            made_anew,
        ),
        (
            "who may mount none is told what to do, and runs without pins",
            refused,
        ),
    ];
    let needed = ["ip", "unshare", "nsenter", "setpriv", "mount"];
    let missing = needed.iter().find(|name| process::find(name).is_none());
    tests
        .into_iter()
        .fold(suite, |suite, (name, body)| match missing {
            None => suite.test_with_pins(name, body),
            Some(missing) => suite.ignored(name, &format!("{missing} is not installed")),
        })
}

/// A machine with mounts and process numbers of its own. It ends when its input does.
struct Machine {
    first: Child,
}

impl Machine {
    /// One on which this is done at first.
    fn boot(script: &str) -> Result<Self> {
        // Whatever this test sees at the mount point is not what this is about.
        let script = format!(
            "while umount {MOUNT_POINT} 2>/dev/null; do :; done; {script} echo up; exec cat >/dev/null"
        );
        let mut first = Command::new("unshare")
            .args(["--mount", "--propagation", "slave"])
            .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-ec", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = first.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "up\n", "the machine does not start: {line:?}");
        Ok(Self { first })
    }

    /// Starts a program on it.
    fn command(&self, program: &str) -> Command {
        // What holds the namespaces is their first process; `unshare` itself is outside of the second one.
        let of_first = |name| format!("/proc/{}/ns/{name}", self.first.id());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={}", of_first("mnt")))
            .arg(format!("--pid={}", of_first("pid_for_children")))
            .arg(program);
        command
    }

    /// As a person does it, who then cannot see what is mounted in /sys.
    fn ip_netns_exec(&self, namespace: &Namespace, program: &str) -> Command {
        let mut command = self.command("ip");
        command.args(["netns", "exec", namespace.name(), program]);
        command
    }

    /// The mount point, seen from outside.
    fn bpffs(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.first.id()));
        root.join(MOUNT_POINT.trim_start_matches('/'))
    }

    /// The numbers of the files at which members' flows are pinned.
    fn flows(&self) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        for directory in fs::read_dir(self.bpffs().join("anycast"))? {
            for file in fs::read_dir(directory?.path())? {
                let file = file?;
                if file
                    .file_name()
                    .to_string_lossy()
                    .starts_with("MEMBER_FLOWS-")
                {
                    found.push(file.metadata()?.ino());
                }
            }
        }
        ensure!(found.len() == 1, "{found:?}");
        Ok(found)
    }

    fn mounts(&self) -> Result<usize> {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", self.first.id()))?;
        let is_bpffs = |line: &&str| line.contains(&format!(" {MOUNT_POINT} bpf "));
        Ok(mounts.lines().filter(is_bpffs).count())
    }

    /// The links that the daemons of a namespace have pinned on this machine, by name.
    fn links(&self, namespace: &Namespace) -> Result<Vec<(String, bpf::Link)>> {
        let cookie = namespace.pins()?;
        let directory = self.bpffs().join("anycast");
        let directory = directory.join(cookie.file_name().context("no cookie")?);
        let mut links = Vec::new();
        for entry in fs::read_dir(&directory)
            .with_context(|| format!("nothing is pinned in {}", directory.display()))?
        {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if ["-native", "-egress"].iter().any(|end| name.ends_with(end)) {
                let link = bpf::pinned_link(&directory.join(&name))?;
                links.push((name, link));
            }
        }
        links.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(links)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `--kill-child` ends process 1 with it, and the kernel everything else.
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// A daemon on a machine of its own.
struct Guest<'a> {
    machine: &'a Machine,
    daemon: Daemon,
    /// On that machine.
    process: String,
}

/// How a person enters the network namespace.
#[derive(Clone, Copy)]
enum By {
    /// In its mount namespace there is another /sys.
    IpNetnsExec,
    /// The mount namespace is that of process 1.
    Nsenter,
}

/// The member's daemon, as it is started by this program.
fn start<'a>(machine: &'a Machine, site: &Site, by: By, before: &[&str]) -> Result<Guest<'a>> {
    let socket = site.directory.join("m.sock");
    let number = site.directory.join("number");
    let name = site.member.name();
    let enter = match by {
        By::IpNetnsExec => format!("ip netns exec {name}"),
        By::Nsenter => format!("nsenter --net=/run/netns/{name}"),
    };
    let mut command = machine.command("sh");
    command
        .args(["-c", "echo $$ >\"$0\"; exec \"$@\""])
        .arg(&number)
        .args(enter.split(' '))
        .args(before)
        .arg(env!("CARGO_BIN_EXE_anycast-ctl"))
        .arg("--socket")
        .arg(&socket)
        .args(["run", "--config"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/member-s1.toml"))
        .env("ANYCAST_LOG", "warn")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let daemon = Daemon::spawn(command, &socket)?;
    let process = fs::read_to_string(number)?.trim().to_owned();
    Ok(Guest {
        machine,
        daemon,
        process,
    })
}

impl Guest<'_> {
    /// Ends it, and gives what it said.
    fn end(mut self, signal: Signal) -> Result<String> {
        let signal = signal.as_str().trim_start_matches("SIG");
        let status = self
            .machine
            .command("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.process])
            .status()?;
        ensure!(status.success(), "kill: {status}");
        let mut said = String::new();
        let stderr = self.daemon.child.stderr.take().context("no words")?;
        BufReader::new(stderr).read_to_string(&mut said)?;
        self.daemon.child.wait()?;
        Ok(said)
    }
}

/// A daemon is killed, and the next one has its pins: the same links, with programs of its own.
fn taken_over(machine: &Machine, name: &str, [by, next_by]: [By; 2]) -> Result<()> {
    let site = Site::new(name)?;
    site.connect()?;
    let first = start(machine, &site, by, &[])?;
    let pinned = machine.links(&site.member)?;
    ensure!(pinned.len() == 2, "{pinned:?}");
    let said = first.end(Signal::SIGKILL)?;
    ensure!(!said.contains("nothing is pinned"), "{said}");
    ensure!(
        machine.links(&site.member)? == pinned,
        "it did not outlive the daemon: {pinned:?}"
    );
    ensure!(pinned.iter().all(|(_, link)| link.ifindex != 0));

    let second = start(machine, &site, next_by, &[])?;
    let adopted = machine.links(&site.member)?;
    let same = |((one, was), (other, is)): (&(String, bpf::Link), &(String, bpf::Link))| {
        one == other && was.id == is.id && was.program != is.program
    };
    ensure!(
        adopted.len() == 2 && pinned.iter().zip(&adopted).all(same),
        "{pinned:?} became {adopted:?}"
    );
    second.end(Signal::SIGKILL)?;
    ensure!(machine.mounts()? == 1, "{} are mounted", machine.mounts()?);

    ensure!(machine.bpffs().join("anycast").exists());
    // Whoever detaches for good finds them as well, and leaves nothing.
    let said = detach(machine, &site)?;
    ensure!(said == "2 programs detached\n", "{said}");
    let left = machine.bpffs().join("anycast");
    ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

fn detach(machine: &Machine, site: &Site) -> Result<String> {
    let mut command = machine.ip_netns_exec(&site.member, env!("CARGO_BIN_EXE_anycast-ctl"));
    let output = command.arg("detach").stderr(Stdio::inherit()).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

fn mounted() -> Result<()> {
    let machine = Machine::boot("")?;
    ensure!(machine.mounts()? == 0, "it has one");
    taken_over(&machine, "mounts", [By::IpNetnsExec; 2])
}

/// It is the same one for whoever starts it by `ip netns exec` afterwards.
fn plain() -> Result<()> {
    let machine = Machine::boot("")?;
    ensure!(machine.mounts()? == 0, "it has one");
    taken_over(&machine, "plain", [By::Nsenter, By::IpNetnsExec])
}

fn hidden() -> Result<()> {
    let machine = Machine::boot(&format!("mount -t bpf bpf {MOUNT_POINT};"))?;
    let foreign = machine.bpffs().join("of-somebody-else");
    fs::create_dir(&foreign)?;
    taken_over(&machine, "hidden", [By::IpNetnsExec; 2])?;
    ensure!(foreign.is_dir(), "what others have there is gone");
    Ok(())
}

/// As when a driver is loaded anew, or a bond.
fn made_anew() -> Result<()> {
    let machine = Machine::boot("")?;
    let site = Site::new("anew")?;
    site.connect()?;
    let first = start(&machine, &site, By::IpNetnsExec, &[])?;
    let pinned = machine.flows()?;
    first.end(Signal::SIGKILL)?;
    let deleted = site
        .member
        .command("ip")
        .args(["link", "delete", "eth0"])
        .status()?;
    ensure!(deleted.success(), "ip: {deleted}");
    site.connect()?;
    let second = start(&machine, &site, By::IpNetnsExec, &[])?;
    ensure!(machine.links(&site.member)?.len() == 2, "it is attached");
    ensure!(machine.flows()? == pinned, "the flows are other ones");
    second.end(Signal::SIGKILL)?;

    // Control: what was detached is made anew.
    detach(&machine, &site)?;
    let third = start(&machine, &site, By::IpNetnsExec, &[])?;
    ensure!(machine.flows()? != pinned, "they were not removed");
    third.end(Signal::SIGKILL)?;
    detach(&machine, &site)?;
    Ok(())
}

fn refused() -> Result<()> {
    let machine = Machine::boot("")?;
    let site = Site::new("refused")?;
    site.connect()?;
    let mortal = ["setpriv", "--bounding-set=-sys_admin", "--"];
    let daemon = start(&machine, &site, By::IpNetnsExec, &mortal)?;
    let status = daemon.daemon.status()?;
    ensure!(status.interfaces[0].program.is_some(), "{status:?}");
    let said = daemon.end(Signal::SIGTERM)?;
    let sentence =
        "run `mount -t bpf bpf /sys/fs/bpf` there, as root and outside of `ip netns exec`";
    ensure!(
        said.contains("nothing is pinned") && said.contains(sentence),
        "{said}"
    );
    ensure!(machine.mounts()? == 0, "it has mounted one");

    // Nor does it mount one to find that there is nothing to detach.
    let said = detach(&machine, &site)?;
    ensure!(said == "nothing was attached\n", "{said}");
    ensure!(machine.mounts()? == 0, "`detach` has mounted one");
    Ok(())
}
