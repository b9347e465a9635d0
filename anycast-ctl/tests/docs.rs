//! What the documents say about the program, against the program.

use std::{fs, path::Path};

use anycast_common::abi::counters::Counter as DataPlane;
use anycast_ctl::core::counters::Counter as Controller;

/// The table between the two lines that mark it.
fn counters() -> String {
    let mut table = String::from("| counter | where | counts |\n|---|---|---|\n");
    let mut row = |name, place, help: &str| {
        // As one sentence.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let help = help.trim_end_matches('.');
        table += &format!("| `{name}` | {place} | {help} |\n");
    };
    for counter in DataPlane::ALL {
        row(counter.name(), "data plane", counter.help());
    }
    for counter in Controller::ALL {
        row(counter.name(), "controller", counter.help());
    }
    table
}

/// With `ANYCAST_WRITE_DOCS` set, the document is written anew.
#[test]
fn every_counter_is_in_the_documents() {
    const MARKS: (&str, &str) = ("<!-- counters -->\n\n", "\n<!-- end of counters -->");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operation.md");
    let text = fs::read_to_string(&path).expect("there");
    let (before, rest) = text.split_once(MARKS.0).expect("the first mark");
    let (table, after) = rest.split_once(MARKS.1).expect("the last mark");
    if std::env::var_os("ANYCAST_WRITE_DOCS").is_some() {
        let text = [before, MARKS.0, &counters(), MARKS.1, after].concat();
        fs::write(&path, text).expect("written");
        return;
    }
    for (said, is) in table.lines().zip(counters().lines()) {
        assert_eq!(said, is, "run this test with ANYCAST_WRITE_DOCS=1");
    }
    assert_eq!(table, counters(), "run this test with ANYCAST_WRITE_DOCS=1");
}
