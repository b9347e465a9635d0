//! `top` in a real terminal, that of tmux: what is on the screen, and what keys do.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    lab::{
        report::Report,
        scenario::{self, ASK_AGAIN, SOON},
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::wait,
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// Why there is no terminal here, if so.
pub fn obstacle() -> Option<&'static str> {
    let found = xtask::process::find("tmux");
    found.is_none().then_some("tmux is not installed")
}

/// A terminal of 80 columns and 24 rows, in a tmux of its own, that runs `top`.
struct Terminal {
    socket: std::path::PathBuf,
}

impl Terminal {
    fn start(lab: &Lab, node: &str) -> Result<Self> {
        let directory = lab.network.site().directory();
        let terminal = Self {
            socket: directory.join(format!("tmux-{node}")),
        };
        let socket = directory.join(format!("{node}.sock"));
        // What the program said stays on the screen when it has ended.
        let line = format!(
            "{DAEMON} --socket {} top --interval 200ms; echo ended with $?; cat",
            socket.display()
        );
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            &line,
        ])?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(arguments);
        let output = command
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm")
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "tmux {arguments:?}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).map(drop)
    }

    fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as `look` wants it, and gives it.
    fn shows(&self, what: &str, look: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        wait::poll(SOON, ASK_AGAIN, what, || {
            last = self.screen()?;
            Ok(look(&last).then(|| last.clone()))
        })
        .with_context(|| format!("the screen:\n{last}"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// The first cells of the rows of the list.
fn rows(screen: &str) -> Vec<&str> {
    let list = screen.lines().skip(6);
    let rows = list.take_while(|line| !line.is_empty() && !line.contains(" to "));
    rows.filter_map(|line| line.split_whitespace().next())
        .collect()
}

pub fn seen() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    let mut report = Report::begin(true);
    report.step("join", "", |evidence| scenario::join(&mut lab, evidence))?;
    report.step("refuse", "", |evidence| {
        scenario::refuse(&mut lab, evidence)
    })?;
    let session = report.step("bind", "", |evidence| {
        scenario::open(&lab, "client", evidence)
    })?;
    let (b, care_of) = (B.to_string(), session.care_of.to_string());

    let gateway = Terminal::start(&lab, "gateway")?;
    gateway.shows("the roles", |screen| {
        let mut lines = screen.lines();
        lines
            .next()
            .is_some_and(|line| line.contains("correspondent  up"))
            && screen.contains("bindings 1  flows 1")
    })?;
    gateway.press(&["4"])?;
    let flow = |screen: &str| {
        let list = screen.lines().skip(6);
        list.take(1)
            .any(|line| line.contains(&care_of) && line.contains("tcp    bound"))
    };
    let screen = gateway.shows("the flow", flow)?;
    ensure!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    if let Some(path) = std::env::var_os("ANYCAST_SCREENSHOT") {
        std::fs::write(path, &screen)?;
    }
    gateway.press(&["/"])?;
    gateway.press(&["-l", "no such client"])?;
    gateway.press(&["Enter"])?;
    gateway.shows("nothing passes the filter", |screen| {
        screen.contains("none of 1 has \"no such client\"")
    })?;
    gateway.press(&["Escape"])?;
    gateway.shows("the filter is gone", flow)?;
    gateway.press(&["3"])?;
    gateway.shows("the binding", |screen| {
        screen.contains("CARE-OF") && rows(screen) == [CLIENT.to_string()]
    })?;

    // Counters are sorted by their rate; `s` sorts them by the next column, the name, and `r` turns that about.
    gateway.press(&["7"])?;
    gateway.shows("counters by rate", |screen| {
        screen.contains("PER SECOND\u{25be}")
    })?;
    gateway.press(&["s"])?;
    gateway.shows("counters by name", |screen| {
        let names = rows(screen);
        screen.contains("COUNTER\u{25b4}") && names.len() > 3 && names.is_sorted()
    })?;
    gateway.press(&["r"])?;
    gateway.shows("counters by name, backwards", |screen| {
        let names = rows(screen);
        screen.contains("COUNTER\u{25be}") && names.is_sorted_by(|a, b| a >= b)
    })?;

    // The daemon goes, and comes back.
    lab.kill("gateway")?;
    gateway.shows("it says so", |screen| {
        screen.contains("NO ANSWER: no daemon listens")
    })?;
    lab.start(&["gateway"])?;
    gateway.shows("it goes on", |screen| !screen.contains("NO ANSWER"))?;
    gateway.press(&["q"])?;
    gateway.shows("it ends, and leaves the terminal as it was", |screen| {
        screen.contains("ended with 0") && !screen.contains("COUNTER")
    })?;

    let router = Terminal::start(&lab, "router")?;
    router.shows("the group", |screen| {
        rows(screen) == [b.as_str()] && screen.contains("behind")
    })?;
    router.press(&["2"])?;
    router.shows("two members", |screen| {
        rows(screen) == [b.as_str(), b.as_str()]
    })?;
    router.press(&["6"])?;
    router.shows("the rogue is refused, and why", |screen| {
        rows(screen).contains(&"mld_report_denied")
    })?;
    router.press(&["C-c"])?;
    router.shows("it ends", |screen| screen.contains("ended with 0"))?;
    let member = Terminal::start(&lab, session.server.name)?;
    member.press(&["5"])?;
    member.shows("the handshake", |screen| {
        rows(screen) == [CLIENT.to_string()] && screen.contains("bound")
    })?;
    Ok(())
}
