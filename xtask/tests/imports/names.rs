//! Which file defines what a path names.

use crate::{
    circles::Imports,
    tree::{Id, Workspace},
};

/// How many re-exports are followed: two modules may bring each other's names.
const DEPTH: usize = 16;

/// What a path names.
#[derive(Clone, Copy)]
enum Named {
    /// A module.
    Module(Id),
    /// An item, or a part of one, that this module defines.
    Item(Id),
}

/// Every import of a file by another.
pub fn imports(workspace: &Workspace) -> Imports {
    let mut imports = Imports::default();
    for (id, node) in workspace.nodes.iter().enumerate() {
        let mut add = |module: Id| imports.add(&node.file, &workspace.nodes[module].file);
        let brought = node.module.names.iter().map(|(_, path)| path);
        for path in brought.chain(&node.module.paths) {
            if let Some(Named::Item(module)) = workspace.resolve(id, path, DEPTH) {
                add(module);
            }
        }
        for path in &node.module.globs {
            match workspace.resolve(id, path, DEPTH) {
                Some(Named::Module(module) | Named::Item(module)) => add(module),
                None => {}
            }
        }
    }
    imports
}

impl Workspace {
    /// What a path names that stands in a module. None: something that is not ours.
    fn resolve(&self, module: Id, path: &[String], depth: usize) -> Option<Named> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let node = &self.nodes[module];
        let start = match first.as_str() {
            "crate" => Named::Module(node.krate),
            "self" => Named::Module(module),
            "super" => Named::Module(node.parent?),
            name => match self.member(module, name, depth) {
                Some(named) => named,
                None => Named::Module(*self.libraries.get(name)?),
            },
        };
        rest.iter().try_fold(start, |named, name| match named {
            Named::Module(module) if name == "super" => {
                Some(Named::Module(self.nodes[module].parent?))
            }
            // What no `use` and no item explains, a macro has made there.
            Named::Module(module) => Some(
                self.member(module, name, depth)
                    .unwrap_or(Named::Item(module)),
            ),
            item @ Named::Item(_) => Some(item),
        })
    }

    /// What a name means in a module.
    fn member(&self, module: Id, name: &str, depth: usize) -> Option<Named> {
        let node = &self.nodes[module];
        if node.module.items.contains(name) {
            return Some(Named::Item(module));
        }
        if let Some(child) = node.children.get(name) {
            return Some(Named::Module(*child));
        }
        let same = |path: &[String]| path.len() == 1 && path[0] == name;
        let brought = node
            .module
            .names
            .iter()
            .filter(|(bound, path)| bound == name && !same(path));
        for (_, path) in brought {
            if let Some(named) = self.resolve(module, path, depth) {
                return Some(named);
            }
        }
        let depth = depth.checked_sub(1)?;
        node.module
            .globs
            .iter()
            .find_map(|path| match self.resolve(module, path, depth)? {
                Named::Module(module) => self.member(module, name, depth),
                Named::Item(module) => self.nodes[module]
                    .module
                    .items
                    .contains(name)
                    .then_some(Named::Item(module)),
            })
    }
}
