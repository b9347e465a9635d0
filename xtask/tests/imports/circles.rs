//! Which file imports which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Files by the files that import them.
#[derive(Default)]
pub struct Imports(BTreeMap<String, BTreeSet<String>>);

impl Imports {
    /// Notes that a file imports another. A file that imports itself is no circle.
    pub fn add(&mut self, from: &str, to: &str) {
        if from != to {
            self.0
                .entry(from.to_owned())
                .or_default()
                .insert(to.to_owned());
        }
    }

    /// What a file imports.
    pub fn of(&self, file: &str) -> Vec<&str> {
        let imported = self.0.get(file).into_iter().flatten();
        imported.map(String::as_str).collect()
    }

    /// A circle of each knot of files that import each other: the shortest through its first file, as its files in
    /// order, the first again at the end.
    pub fn circles(&self) -> Vec<String> {
        let mut told = BTreeSet::new();
        let mut circles = Vec::new();
        for file in self.0.keys() {
            if told.contains(file.as_str()) {
                continue;
            }
            if let Some(circle) = self.way(file, file) {
                circles.push(circle.join(" -> "));
                // Whoever is reached and reaches back is of the same knot.
                let knot = self.0.keys().filter(|other| {
                    self.way(file, other).is_some() && self.way(other, file).is_some()
                });
                told.extend(knot.map(String::as_str));
            }
        }
        circles
    }

    /// The shortest way by at least one import.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(file) = queue.pop_front() {
            for next in self.of(file) {
                if next == to {
                    let mut way = vec![next, file];
                    let mut file = file;
                    while file != from {
                        file = before[file];
                        way.push(file);
                    }
                    way.reverse();
                    return Some(way);
                }
                if next != from && !before.contains_key(next) {
                    before.insert(next, file);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}
