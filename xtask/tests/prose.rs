//! Lines of prose end by column 120, in the documents and in comments.
//!
//! Code is rustfmt's. What cannot be broken into lines is left alone: code blocks, and the rows of tables.

use std::{
    fs,
    path::{Path, PathBuf},
};

const COLUMNS: usize = 120;

#[test]
fn prose_lines_end_by_column_120() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    collect(&root, &mut files);
    for known in ["README.md", "docs/operation.md", "anycast-ebpf/src/main.rs"] {
        assert!(
            files.contains(&root.join(known)),
            "{known} was not looked at"
        );
    }
    let mut long = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("text");
        let name = path.strip_prefix(&root).expect("below the root").display();
        let found = match path.extension().is_some_and(|kind| kind == "rs") {
            true => long_comments(&text),
            // What the lab prints is prose, too.
            false if path.ends_with("docs/lab.md") => long_lines(&text),
            false => long_paragraphs(&text),
        };
        long.extend(found.iter().map(|line| format!("{name}:{line}")));
    }
    assert!(long.is_empty(), "longer lines:\n{}", long.join("\n"));
}

/// Every document and source file, without what is built or hidden.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if matches!(
            path.extension().and_then(|kind| kind.to_str()),
            Some("rs" | "md")
        ) {
            files.push(path);
        }
    }
}

/// The numbers of the lines of a document that are too long.
fn long_paragraphs(text: &str) -> Vec<usize> {
    let mut code = false;
    let is_long = move |line: &str| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !fence && !code && is_long(line, line)
    };
    numbers(text, is_long)
}

/// Those of all lines.
fn long_lines(text: &str) -> Vec<usize> {
    numbers(text, |line| is_long(line, line))
}

/// Those of comment lines of a source file.
fn long_comments(text: &str) -> Vec<usize> {
    numbers(text, |line| {
        let comment = line.trim_start().strip_prefix("//");
        comment.is_some_and(|comment| is_long(line, comment.trim_start_matches(['/', '!'])))
    })
}

fn is_long(line: &str, prose: &str) -> bool {
    line.chars().count() > COLUMNS && !prose.trim_start().starts_with('|')
}

fn numbers(text: &str, mut is_wanted: impl FnMut(&str) -> bool) -> Vec<usize> {
    let numbered = text.lines().zip(1..);
    let wanted = numbered.filter(|(line, _)| is_wanted(line));
    wanted.map(|(_, number)| number).collect()
}

#[test]
fn a_long_line_is_found_unless_it_is_code_or_of_a_table() {
    let (fits, long) = ("ä".repeat(COLUMNS), "ä".repeat(COLUMNS + 1));
    let document = format!("{fits}\n{long}\n```\n{long}\n```\n| {long} |\n  {fits}\n");
    assert_eq!(long_paragraphs(&document), [2, 7]);
    let fits = "a".repeat(COLUMNS - 4);
    let source =
        format!("/// {fits}\n/// {fits}a\n//! | {long} |\nlet a = \"{long}\";\n  // {fits}\n");
    assert_eq!(long_comments(&source), [2, 5]);
}
