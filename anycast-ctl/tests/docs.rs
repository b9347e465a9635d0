//! What the documents say about the program, against the program.
//!
//! Lists stand between two marks in a document and are compared line by line; with `ANYCAST_WRITE_DOCS` set they are
//! written anew. Figures within sentences are compared as the phrases that they stand in.

use std::{fs, path::PathBuf, sync::Mutex, time::Duration};

use anycast_common::{
    abi::{
        counters::Counter as DataPlane,
        event::UNREACHABLE_EVERY,
        flow_table::{OPEN_SHARE, SLOTS},
        maps::{canary, trial},
        programs, roles,
    },
    wire::ipv6::MAX_EXTENSIONS,
};
use anycast_ctl::{
    core::{counters::Counter as Controller, flows, rr},
    model::{
        address,
        sizes::{SIZES, Sizes},
    },
};

fn path(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    PathBuf::from(root).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).expect("the document is there")
}

/// Compares a list of a document with what the program says, or writes it.
fn compare(document: &str, list: &str, is: &str) {
    // Lists of one document are written one after the other.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock();
    let marks = (
        format!("<!-- {list} -->\n\n"),
        format!("\n<!-- end of {list} -->"),
    );
    let text = read(document);
    let (before, rest) = text.split_once(&marks.0).expect("the first mark");
    let (said, after) = rest.split_once(&marks.1).expect("the last mark");
    if std::env::var_os("ANYCAST_WRITE_DOCS").is_some() {
        let text = [before, &marks.0, is, &marks.1, after].concat();
        fs::write(path(document), text).expect("written");
        return;
    }
    for (said, is) in said.lines().zip(is.lines()) {
        assert_eq!(said, is, "run this test with ANYCAST_WRITE_DOCS=1");
    }
    assert_eq!(said, is, "run this test with ANYCAST_WRITE_DOCS=1");
}

/// Programs of operators know events by their names. One that is renamed is another event to them.
#[test]
fn every_event_is_in_the_documents_by_its_name() {
    let source = include_str!("../src/core/notice.rs");
    let (_, rest) = source
        .split_once("pub enum Notice {\n")
        .expect("the events");
    let (variants, _) = rest.split_once("\n}\n").expect("their end");
    let snake = |name: &str| -> String {
        let letter = |(at, c): (usize, char)| match c.is_uppercase() && at > 0 {
            true => format!("_{}", c.to_lowercase()),
            false => c.to_lowercase().to_string(),
        };
        name.chars().enumerate().map(letter).collect()
    };
    let mut events: Vec<String> = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"))
        .filter(|name| name.starts_with(char::is_uppercase))
        .map(snake)
        .collect();
    events.sort();
    let text = read("docs/operation.md");
    let (_, rest) = text.split_once("\n## Events\n").expect("the chapter");
    let (chapter, _) = rest.split_once("\n## ").expect("its end");
    let mut said: Vec<String> = chapter
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    said.sort();
    assert_eq!(said, events);
    assert!(events.len() > 10, "{events:?}");
}

#[test]
fn every_counter_is_in_the_documents() {
    let mut table = String::from("| counter | where | counts |\n|---|---|---|\n");
    let mut row = |name, part, help: &str| {
        // As one sentence.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let help = help.trim_end_matches('.');
        table += &format!("| `{name}` | {part} | {help} |\n");
    };
    for counter in DataPlane::ALL {
        row(counter.name(), "data plane", counter.help());
    }
    for counter in Controller::ALL {
        row(counter.name(), "controller", counter.help());
    }
    compare("docs/operation.md", "counters", &table);
}

#[test]
fn every_program_is_in_the_documents() {
    let role = |(bit, name)| move |mask: u8| (mask & bit != 0).then_some(name);
    let roles = [
        (roles::ROUTER, "router"),
        (roles::MEMBER, "member"),
        (roles::CORRESPONDENT, "correspondent"),
    ]
    .map(role);
    let mut table = String::from("| roles | XDP | TCX, inwards |\n|---|---|---|\n");
    for (mask, (xdp, tcx)) in (0_u8..).zip(programs::XDP.iter().zip(programs::TCX)) {
        let names: Vec<_> = roles.iter().filter_map(|role| role(mask)).collect();
        let names = match &names[..] {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let tcx = match tcx {
            "" => "-".to_owned(),
            name => format!("`{name}`"),
        };
        table += &format!("| {names} | `{xdp}` | {tcx} |\n");
    }
    table += &format!(
        "\nOutwards, by TCX: `{}` for a member, `{}` for a correspondent,\n`{}` for both.\n",
        programs::MEMBER_EGRESS,
        programs::CORRESPONDENT_EGRESS,
        programs::BOTH_EGRESS,
    );
    let bare = programs::TCX_BARE.into_iter().chain([
        programs::MEMBER_EGRESS_BARE,
        programs::CORRESPONDENT_EGRESS_BARE,
        programs::BOTH_EGRESS_BARE,
    ]);
    let bare = bare.filter(|name| !name.is_empty());
    let bare: Vec<_> = bare.map(|name| format!("`{name}`")).collect();
    let (inwards, outwards) = bare.split_at(3);
    table += &format!(
        "\nBy TCX on devices without Ethernet: {} inwards,\n{} outwards.\n",
        inwards.join(", "),
        outwards.join(", ")
    );
    compare("docs/operation.md", "programs", &table);
}

/// The octets of an entry are what the kernel accounts, and are not computed here.
#[test]
fn the_sizes_of_maps_are_in_the_documents() {
    let operation = read("docs/operation.md");
    let sizes = Sizes::default();
    let defaults = [
        ("flows", sizes.flows),
        ("bindings", sizes.bindings),
        ("member_flows", sizes.member_flows),
        ("clients", sizes.clients),
        ("fragments", sizes.fragments),
    ];
    for (key, default) in defaults {
        let row = format!("| `{key}` |");
        let mut rows = operation.lines().filter(|line| line.starts_with(&row));
        let (row, another) = (rows.next().expect(key), rows.next());
        assert_eq!(another, None, "two rows of {key}");
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[4], default.to_string(), "{row}");
    }
}

/// The number as a sentence has it.
fn word(number: u64) -> &'static str {
    const WORDS: [&str; 11] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    WORDS[usize::try_from(number).expect("a small number")]
}

/// The verifier's instructions that the load test grants each program, as that test has it.
fn granted() -> String {
    let test = read("anycast-ctl/tests/verdicts/load.rs");
    let (_, rest) = test
        .split_once("const MOST: u32 = ")
        .expect("the load test has a limit");
    let (number, _) = rest.split_once(';').expect("a number");
    number.replace('_', ",")
}

#[test]
fn figures_in_sentences_are_those_of_the_program() {
    let (slots, share) = (word(SLOTS as u64), word(OPEN_SHARE));
    let seconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
    let pace = Duration::from_nanos(canary::PACE).as_millis();
    let binding = rr::BINDING_LIFETIME.as_secs();
    let protocol = address::PROTOCOL;
    let limits = flows::Limits::default();
    let phrases = [
        (
            "ARCHITECTURE.md",
            format!("at most {} extension headers", word(MAX_EXTENSIONS as u64)),
        ),
        (
            "ARCHITECTURE.md",
            format!("an array of sets with {slots} slots each"),
        ),
        (
            "ARCHITECTURE.md",
            format!("open flows have {share} slots of a set at most"),
        ),
        (
            "ARCHITECTURE.md",
            format!("no more than {} of the million", granted()),
        ),
        ("ARCHITECTURE.md", format!("(`IFA_PROTO` {protocol})")),
        (
            "docs/protocol.md",
            format!("at most {share} of the {slots} slots of a set"),
        ),
        (
            "docs/protocol.md",
            format!(
                "at most {} for one binding, {pace} ms apart",
                word(canary::MOST.into())
            ),
        ),
        (
            "docs/protocol.md",
            format!("goes on for {} seconds", seconds(trial::PATIENCE)),
        ),
        (
            "docs/protocol.md",
            format!("has tried for {} seconds", seconds(trial::DOUBT)),
        ),
        (
            "docs/protocol.md",
            format!(
                "{} times a second at most for each C",
                word(1_000_000_000 / UNREACHABLE_EVERY)
            ),
        ),
        (
            "docs/operation.md",
            format!("from {} to {} each", SIZES.start(), SIZES.end()),
        ),
        ("docs/operation.md", format!("| bound | for {binding} s;")),
        ("README.md", format!("for {binding} seconds at a time")),
        ("README.md", format!("ip -6 route show proto {protocol}")),
        (
            "README.md",
            format!("after {} seconds of silence", limits.failure.as_secs()),
        ),
    ];
    for (document, phrase) in phrases {
        // Wherever its lines are broken.
        let text = read(document);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&phrase), "{document} does not say {phrase:?}");
    }
}
