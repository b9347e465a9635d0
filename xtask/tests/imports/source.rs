//! What one source file says: its modules, what they define, and every path in them.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, Path, UseTree,
    visit::{self, Visit},
};

/// A module, or the part of it that stands in one file.
#[derive(Default)]
pub struct Module {
    /// Names of its items, modules apart.
    pub items: BTreeSet<String>,
    /// Names that `use` brings, each with the path that it stands for.
    pub names: Vec<(String, Vec<String>)>,
    /// Modules of which `use` brings every name.
    pub globs: Vec<Vec<String>>,
    /// All other paths.
    pub paths: BTreeSet<Vec<String>>,
    /// Modules that stand in the same file.
    pub inline: Vec<(String, Module)>,
    /// Modules in files of their own, with the value of a `path` attribute.
    pub files: Vec<(String, Option<String>)>,
}

/// Reads the text of a file.
pub fn parse(text: &str) -> syn::Result<Module> {
    let file = syn::parse_file(text)?;
    let mut module = Module::default();
    module.visit_file(&file);
    Ok(module)
}

impl Module {
    /// Notes what a `use` brings.
    fn bring(&mut self, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                self.bring(path, &next.tree);
            }
            UseTree::Name(name) if name.ident == "self" => {
                let last = path.last().cloned().unwrap_or_default();
                self.names.push((last, path));
            }
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.names.push((name.ident.to_string(), path));
            }
            UseTree::Rename(name) => {
                if name.ident != "self" {
                    path.push(name.ident.to_string());
                }
                self.names.push((name.rename.to_string(), path));
            }
            UseTree::Glob(_) => self.globs.push(path),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.bring(path.clone(), tree);
                }
            }
        }
    }

    /// Paths among the tokens of a macro's call, which are not parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            self.note(std::mem::take(&mut path));
            colons = 0;
        }
        self.note(path);
    }

    fn note(&mut self, path: Vec<String>) {
        if !path.is_empty() {
            self.paths.insert(path);
        }
    }
}

impl Visit<'_> for Module {
    fn visit_item(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        self.items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        let name = item.ident.to_string();
        match &item.content {
            Some((_, items)) => {
                let mut module = Module::default();
                for item in items {
                    module.visit_item(item);
                }
                self.inline.push((name, module));
            }
            None => self.files.push((name, path_attribute(&item.attrs))),
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.bring(Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &Path) {
        self.note(
            path.segments
                .iter()
                .map(|part| part.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        visit::visit_macro(self, call);
        self.scan(call.tokens.clone());
    }

    /// Serde takes functions by a path in a string.
    fn visit_attribute(&mut self, attribute: &Attribute) {
        if !attribute.path().is_ident("serde") {
            return;
        }
        if let Ok(list) = attribute.meta.require_list() {
            for token in list.tokens.clone() {
                if let TokenTree::Literal(literal) = token
                    && let Ok(path) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                        .and_then(|text| text.parse::<Path>())
                {
                    self.visit_path(&path);
                }
            }
        }
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("path"))?;
    match &attribute.meta.require_name_value().ok()?.value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}
