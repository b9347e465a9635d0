//! The workspace of the fuzz targets compiles `anycast-ctl/src/core` by itself, so it has to name each crate that is
//! used there, as the rest of the project does.

use std::{collections::BTreeSet, fs, path::Path};

use toml::{Table, Value};

fn read(path: &Path) -> Table {
    let text = fs::read_to_string(path).expect("a manifest");
    text.parse().expect("TOML")
}

fn dependencies(manifest: &Table) -> Table {
    let found = manifest["dependencies"].as_table();
    found.expect("dependencies").clone()
}

/// The texts of all source files below a folder, without those of tests.
fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default();
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            sources(&path, texts);
        } else {
            texts.push(fs::read_to_string(&path).expect("text"));
        }
    }
}

/// Whether a path that begins with this crate stands anywhere in the text.
fn uses(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
    })
}

/// What is asked of a crate: its version and features.
fn requirement(value: &Value) -> (Option<String>, BTreeSet<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let Some(table) = value.as_table() else {
        return (text(value), BTreeSet::new());
    };
    let features = table.get("features").and_then(Value::as_array);
    let features = features.into_iter().flatten().filter_map(text);
    (table.get("version").and_then(text), features.collect())
}

#[test]
fn the_fuzz_targets_name_each_crate_of_the_core() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = read(&root.join("Cargo.toml"));
    let shared = workspace["workspace"]["dependencies"]
        .as_table()
        .expect("dependencies of the workspace");
    let known = dependencies(&read(&root.join("anycast-ctl/Cargo.toml")));
    let fuzz = dependencies(&read(&root.join("anycast-ctl/fuzz/Cargo.toml")));
    let mut texts = Vec::new();
    sources(&root.join("anycast-ctl/src/core"), &mut texts);
    let mut used = 0;
    for name in known.keys().filter(|name| *name != "anycast-common") {
        let path = name.replace('-', "_");
        if !texts.iter().any(|text| uses(text, &path)) {
            continue;
        }
        used += 1;
        let there = fuzz.get(name);
        let there = there.unwrap_or_else(|| panic!("anycast-ctl/fuzz/Cargo.toml lacks {name}"));
        let (version, features) = requirement(&shared[name]);
        let (fuzzed, more) = requirement(there);
        assert_eq!(fuzzed, version, "{name}");
        assert!(features.is_subset(&more), "{name}: {features:?}, {more:?}");
    }
    assert!(used > 5, "only {used} crates were found");
}

#[test]
fn a_crate_that_is_used_is_found() {
    assert!(uses("use sha2::Sha256;", "sha2"));
    assert!(uses("fn a(b: &sha2::Sha256) {}", "sha2"));
    assert!(!uses("use super::sha2::Sha256;", "sha2"));
    assert!(!uses("use not_sha2::Sha256;", "sha2"));
}
