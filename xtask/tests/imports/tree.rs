//! The trees of modules of all targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use crate::source::{self, Module};

/// Number of a module.
pub type Id = usize;

/// A module in the tree of a target.
pub struct Node {
    /// What it says.
    pub module: Module,
    /// Its file, from the root of the workspace on.
    pub file: String,
    /// The crate's root.
    pub krate: Id,
    /// The module around it.
    pub parent: Option<Id>,
    /// Modules in it.
    pub children: BTreeMap<String, Id>,
}

/// All targets of all packages.
pub struct Workspace {
    root: PathBuf,
    /// All modules.
    pub nodes: Vec<Node>,
    /// Libraries, by the names that others call them.
    pub libraries: BTreeMap<String, Id>,
    files: BTreeSet<String>,
}

impl Workspace {
    /// Reads what the targets of these packages consist of.
    pub fn read(root: &Path, packages: &[&str]) -> Self {
        let mut workspace = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            libraries: BTreeMap::new(),
            files: BTreeSet::new(),
        };
        for package in packages {
            let folder = root.join(package);
            workspace.list(&folder);
            for (folder, file) in targets(&folder) {
                let id = workspace.load(&file, &folder, None);
                // The fuzzers' library goes by the name of another, for them alone.
                if file.ends_with("src/lib.rs") && !package.contains('/') {
                    workspace.libraries.insert(package.replace('-', "_"), id);
                }
            }
        }
        workspace
    }

    /// Files that no target has: the trees are not whole then.
    pub fn unread(&self) -> Vec<String> {
        let mut unread = self.files.clone();
        for node in &self.nodes {
            unread.remove(&node.file);
        }
        unread.into_iter().collect()
    }

    fn list(&mut self, folder: &Path) {
        for path in entries(folder) {
            if path.is_dir() && !path.ends_with("target") {
                self.list(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = self.name(&path);
                self.files.insert(file);
            }
        }
    }

    /// A file from the root of the workspace on.
    fn name(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let mut parts: Vec<&str> = Vec::new();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                part => parts.extend(part.as_os_str().to_str()),
            }
        }
        parts.join("/")
    }

    /// Reads a file whose modules in files of their own are in `folder`.
    fn load(&mut self, path: &Path, folder: &Path, parent: Option<Id>) -> Id {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let module =
            source::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let beside = path.parent().expect("a file is in a folder");
        self.grow(module, path, beside, folder, parent)
    }

    fn grow(
        &mut self,
        mut module: Module,
        path: &Path,
        beside: &Path,
        folder: &Path,
        parent: Option<Id>,
    ) -> Id {
        let id = self.nodes.len();
        let inline = std::mem::take(&mut module.inline);
        let files = std::mem::take(&mut module.files);
        self.nodes.push(Node {
            module,
            file: self.name(path),
            krate: parent.map_or(id, |parent| self.nodes[parent].krate),
            parent,
            children: BTreeMap::new(),
        });
        for (name, module) in inline {
            let folder = folder.join(&name);
            let child = self.grow(module, path, &folder, &folder, Some(id));
            self.nodes[id].children.insert(name, child);
        }
        for (name, at) in files {
            let (path, folder) = match at {
                Some(at) => {
                    let path = beside.join(at);
                    let folder = path.parent().expect("a file is in a folder").to_owned();
                    (path, folder)
                }
                None => {
                    let flat = folder.join(format!("{name}.rs"));
                    let deep = folder.join(&name);
                    (
                        if flat.exists() {
                            flat
                        } else {
                            deep.join("mod.rs")
                        },
                        deep,
                    )
                }
            };
            let child = self.load(&path, &folder, Some(id));
            self.nodes[id].children.insert(name, child);
        }
        id
    }
}

/// Root files of a package's targets, as Cargo finds them, each with the folder of its modules.
fn targets(package: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut targets = vec![
        package.join("src/lib.rs"),
        package.join("src/main.rs"),
        package.join("build.rs"),
    ];
    for folder in ["src/bin", "tests", "benches", "examples", "fuzz_targets"] {
        for path in entries(&package.join(folder)) {
            if path.is_dir() {
                targets.push(path.join("main.rs"));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                targets.push(path);
            }
        }
    }
    targets.retain(|path| path.exists());
    let with_folder = |path: PathBuf| (path.parent().unwrap_or(package).to_owned(), path);
    targets.into_iter().map(with_folder).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries
}
