//! No circle of imports is left between the files of the workspace.
//!
//! A file imports another when a path in it, in a `use` or anywhere else, names an item that the other defines. A
//! re-export is followed to the file that defines the item, so a user does not import the file that re-exports it;
//! that file itself does import what it re-exports. A `mod` declaration alone imports nothing, and neither does
//! a call of a method.

mod circles;
mod names;
mod source;
mod tree;

use std::{fs, path::Path};

use circles::Imports;
use tree::Workspace;

/// Root packages of all code that is ours.
const PACKAGES: [&str; 5] = [
    "anycast-common",
    "anycast-ctl",
    "anycast-ctl/fuzz",
    "anycast-ebpf",
    "xtask",
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = Workspace::read(&root, &PACKAGES);
    assert_eq!(
        workspace.unread(),
        Vec::<String>::new(),
        "no target has these files"
    );
    let imports = names::imports(&workspace);
    let circles = imports.circles();
    assert!(
        circles.is_empty(),
        "files import each other:\n{}",
        circles.join("\n")
    );
}

/// The imports of a package that consists of these files.
fn imports_of(name: &str, files: &[(&str, &str)]) -> Imports {
    let root = std::env::temp_dir().join(format!("imports-{}-{name}", std::process::id()));
    for (path, text) in files {
        let path = root.join("package").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    let workspace = Workspace::read(&root, &["package"]);
    let imports = names::imports(&workspace);
    fs::remove_dir_all(root).expect("removed");
    imports
}

#[test]
fn a_circle_is_found_and_named() {
    let imports = imports_of(
        "circle",
        &[
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "use crate::b::B; pub struct A(B);"),
            (
                "src/b.rs",
                "pub struct B; fn f() { let _ = super::c::make(); }",
            ),
            (
                "src/c.rs",
                "pub fn make() -> u8 { println!(\"{}\", crate::a::SIZE); 0 }",
            ),
        ],
    );
    let circle = "package/src/a.rs -> package/src/b.rs -> package/src/c.rs -> package/src/a.rs";
    assert_eq!(imports.circles(), [circle]);
}

#[test]
fn a_child_and_its_parent_are_a_circle_too() {
    let imports = imports_of(
        "parent",
        &[
            ("src/lib.rs", "mod a;"),
            (
                "src/a/mod.rs",
                "mod child; pub use child::Child; pub struct Parent;",
            ),
            (
                "src/a/child.rs",
                "use super::Parent; pub struct Child(Parent);",
            ),
        ],
    );
    let circle = "package/src/a/child.rs -> package/src/a/mod.rs -> package/src/a/child.rs";
    assert_eq!(imports.circles(), [circle]);
}

#[test]
fn a_re_export_is_followed_to_the_definition() {
    let imports = imports_of(
        "export",
        &[
            ("src/lib.rs", "mod a;"),
            (
                "src/a/mod.rs",
                "mod one; mod two; pub use self::{one::*, two::Two as Second};",
            ),
            ("src/a/one.rs", "use super::Second; pub struct One(Second);"),
            ("src/a/two.rs", "pub struct Two;"),
            ("tests/all.rs", "use package::a::{One, Second};"),
        ],
    );
    assert_eq!(imports.circles(), Vec::<String>::new());
    assert_eq!(imports.of("package/src/a/one.rs"), ["package/src/a/two.rs"]);
    assert_eq!(
        imports.of("package/tests/all.rs"),
        ["package/src/a/one.rs", "package/src/a/two.rs"]
    );
}
