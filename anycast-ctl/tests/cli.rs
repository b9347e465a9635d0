//! The command line, without a daemon.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Output},
};

fn anycast(line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anycast-ctl"));
    command.args(line).env_remove("ANYCAST_SOCKET");
    command
}

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    let text = |octets| String::from_utf8(octets).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn example(name: &str) -> String {
    format!("{}/../examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("anycast-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Times beyond all clocks are as good as none, and a capture has a packet at least.
#[test]
fn very_long_times_and_no_packets_are_answers_and_no_panics() {
    let ages = "100000000000years";
    for line in [
        &["capture", "/dev/null", "--duration", ages, "--count", "0"][..],
        &[
            "--socket",
            "/no/such/socket",
            "drain",
            "--all",
            "--wait",
            "--timeout",
            ages,
        ],
        &["--socket", "/no/such/socket", "top", "--interval", ages],
    ] {
        let (code, _, stderr) = run(anycast(line));
        assert!(matches!(code, Some(1 | 2)), "{line:?}: {code:?} {stderr}");
        assert!(!stderr.contains("panicked"), "{line:?}: {stderr}");
    }
    let (code, _, stderr) = run(anycast(&["capture", "/dev/null", "--count", "0"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--count"), "{stderr}");
}

/// What goes to the journal has a priority on each line, and what goes elsewhere has none.
#[test]
fn why_a_unit_does_not_start_is_an_error_in_the_journal() {
    use std::os::unix::fs::MetadataExt as _;

    let said = |line: &[&str], journal: bool| -> Vec<String> {
        let stream = File::new(&format!("journal-{journal}"), "");
        let file = std::fs::File::create(&stream.0).expect("made");
        let there = file.metadata().expect("there");
        let inode = there.ino() + u64::from(!journal);
        let mut command = anycast(line);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", there.dev()));
        command
            .stdout(file.try_clone().expect("again"))
            .stderr(file);
        command.status().expect("it starts");
        let text = std::fs::read_to_string(&stream.0).expect("read");
        text.lines().map(str::to_owned).collect()
    };
    let wrong = File::new(
        "wrong.toml",
        "[router]\nno_such_key = 1\n[member]\nneither = 2\n",
    );
    let odd = File::new("odd.toml", "[router]\ninterfaces = [\"up0\"]\n");
    for (line, priority) in [
        (&["check", wrong.path()][..], "<3>"),
        (&["run", "--config", wrong.path()], "<3>"),
        (&["run", "--config", "/no/such/file"], "<3>"),
        (&["run", "--no-such-option"], "<3>"),
        // A router without a policy.
        (&["check", odd.path()], "<4>"),
    ] {
        let is_ok = |text: &String| text.ends_with(": OK");
        let in_journal = said(line, true);
        let in_journal: Vec<_> = in_journal.iter().filter(|text| !is_ok(text)).collect();
        assert!(!in_journal.is_empty(), "{line:?}");
        let all = in_journal.iter().all(|text| text.starts_with(priority));
        assert!(all, "{line:?}: {in_journal:?}");
        let elsewhere = said(line, false);
        let none = elsewhere.iter().all(|text| !text.starts_with('<'));
        assert!(none && !elsewhere.is_empty(), "{line:?}: {elsewhere:?}");
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let (code, help, _) = run(anycast(&["--help"]));
    assert_eq!(code, Some(0));
    let commands = help
        .split("Commands:")
        .nth(1)
        .and_then(|rest| rest.split("Options:").next());
    let commands: Vec<_> = commands
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  ")?
                .split(' ')
                .next()
                .filter(|word| !word.is_empty())
        })
        .filter(|word| *word != "help")
        .collect();
    assert!(
        commands.contains(&"status") && commands.len() > 15,
        "{commands:?}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = run(anycast(&["completions", shell]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let directory = std::env::temp_dir().join(format!("anycast-{}-man", std::process::id()));
    let (code, _, stderr) = run(anycast(&["man", directory.to_str().expect("text")]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for command in &commands {
        let page = directory.join(format!("anycast-ctl-{command}.1"));
        let page = std::fs::read_to_string(page).expect("there");
        assert!(
            page.contains(".TH ") && page.contains("SYNOPSIS"),
            "{command}"
        );
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn check_says_ok_or_every_problem_with_its_line() {
    let good = example("router.toml");
    assert_eq!(
        run(anycast(&["check", &good])),
        (Some(0), format!("{good}: OK\n"), String::new())
    );
    let file = File::new("bad.toml", "[router]\ninterfaces = []\ntable = 0\n");
    let (code, stdout, stderr) = run(anycast(&["check", file.path()]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let path = file.path();
    assert_eq!(
        stderr,
        format!("{path}:1: [router] has no interfaces\n{path}:3: table 0 cannot hold our routes\n")
    );
}

#[test]
fn questions_without_a_daemon_say_what_to_do() {
    for command in [
        "status",
        "groups",
        "members",
        "bindings",
        "handshakes",
        "flows",
        "counters",
        "refusals",
        "monitor",
    ] {
        let socket = "/nonexistent/control.sock";
        let (code, stdout, stderr) = run(anycast(&["--socket", socket, command, "--json"]));
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(
            stderr.starts_with(
                "anycast-ctl: no daemon listens on /nonexistent/control.sock: start it"
            ),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1);
    }
}

#[test]
fn wrong_usage_is_another_status_than_failure() {
    let b = "2001:db8:a::53";
    for line in [
        &["fly"][..],
        &["join", "not-an-address"],
        &["drain"],
        &["drain", b, "--all"],
        &["drain", b, "--timeout", "5m"],
        &["drain", b, "--wait", "--timeout", "soon"],
        &["undrain"],
        &["run"],
        &[],
    ] {
        assert_eq!(run(anycast(line)).0, Some(2), "{line:?}");
    }
    let (code, stdout, _) = run(anycast(&["--help"]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Examples:"), "{stdout}");
}

#[test]
fn run_and_detach_without_privileges_are_one_clear_sentence() {
    let socket = File::new("unused.sock", "");
    std::fs::remove_file(&socket.0).expect("removed");
    let member = example("member-s1.toml");
    let run = ["--socket", socket.path(), "run", "--config", &member];
    for line in [&run[..], &["detach"]] {
        let mut command = anycast(line);
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let Ok(output) = command.output() else {
            println!("skipped: nobody may not start the binary where it is");
            return;
        };
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let clear = stderr.contains("not permitted: run as root, or with CAP_NET_ADMIN")
            || stderr
                .contains("built without its eBPF programs: build it with `cargo xtask build`")
            || stderr.contains("cannot be read");
        assert!(clear, "{stderr}");
        assert!(!socket.0.exists());
    }
}

#[test]
fn check_tells_programs_as_well() {
    let good = example("router.toml");
    let (status, out, _) = run(anycast(&["check", "--json", &good]));
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, answer["ok"].as_bool()), (Some(0), Some(true)));

    let bad = File::new(
        "json.toml",
        "[router]\ninterfaces = [\"lan0\"]\nmetrik = 1\n",
    );
    let (status, out, _) = run(anycast(&["check", "--json", bad.path()]));
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, answer["ok"].as_bool()), (Some(1), Some(false)));
    assert_eq!(answer["problems"][0]["line"], 3);
}
