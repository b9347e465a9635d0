//! Reads the structure of the file, and finds everything that is wrong with it at once: what cannot be read is taken
//! out, and the rest is read again.

use std::{cmp::Reverse, collections::HashSet, ops::Range};

use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, Deserializer},
};

use super::{
    file::Config,
    report::{self, Problem},
    words,
};

/// The most that is said about one file.
const MOST: usize = 100;

/// What a file says.
pub(super) struct Read {
    /// Without what is wrong. `None` where it is no TOML, or nothing is left.
    pub config: Option<Config>,
    /// What is wrong with the structure.
    pub problems: Vec<Problem>,
    /// Lines of the headers of the sections from which something was taken out: what is missing there may be that.
    pub incomplete: Vec<usize>,
}

/// A step from a table or an array to what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    Index(usize),
}

type Path = Vec<Step>;

pub(super) fn read(text: &str) -> Read {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    let mut read = Read {
        config: None,
        problems: Vec::new(),
        incomplete: Vec::new(),
    };
    for error in &errors {
        read.problems
            .push(problem(text, error.span(), error.message().to_owned()));
    }
    // The first that a line has is the cause of the others.
    read.problems.dedup_by_key(|problem| problem.line);
    if !read.problems.is_empty() {
        return read;
    }
    let mut taken = HashSet::new();
    while read.problems.len() < MOST {
        let error = match Config::deserialize(Deserializer::from(root.clone())) {
            Ok(config) => {
                read.config = Some(config);
                break;
            }
            Err(error) => error,
        };
        let span = error.span();
        let place = span.as_ref().and_then(|span| find(root.get_ref(), span));
        let told = words::explain(error.message(), place.as_deref().and_then(key));
        let missing = told.missing.map(|key| {
            let mut path = place.clone().unwrap_or_default();
            path.push(Step::Key(key));
            path
        });
        if !missing.is_some_and(|missing| taken.contains(&missing)) {
            read.problems.push(problem(text, span, told.reason));
        }
        let Some(place) = place.filter(|place| !place.is_empty()) else {
            break;
        };
        if let Some(Step::Key(section)) = place.first()
            && let Some(section) = root.get_ref().get(section.as_str())
        {
            read.incomplete
                .push(report::line(text, section.span().start));
        }
        take_out(root.get_mut(), &place);
        if let (Some(meant), Some((_, parents))) = (told.meant, place.split_last()) {
            let mut path = parents.to_vec();
            path.push(Step::Key(meant));
            taken.insert(path);
        }
        taken.insert(place);
    }
    read
}

fn problem(text: &str, span: Option<Range<usize>>, reason: String) -> Problem {
    Problem {
        line: span.map(|span| report::line(text, span.start)),
        reason: reason.trim().replace('\n', ", "),
    }
}

/// The last key on the way.
fn key(path: &[Step]) -> Option<&str> {
    path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    })
}

/// The way to the smallest thing that has all of the span. The span of a table is its header alone, so that what it
/// holds has to be looked at in any case.
fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<Path> {
    let mut found = Vec::new();
    collect_table(table, span, &mut Vec::new(), &mut found);
    // An array of tables has the span of its first table: what is further inside is meant.
    let smallest = found
        .into_iter()
        .min_by_key(|(length, path)| (*length, Reverse(path.len())));
    smallest.map(|(_, path)| path)
}

type Found = Vec<(usize, Path)>;

fn collect_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut Path, found: &mut Found) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        note(&key.span(), span, path, found);
        collect(value, span, path, found);
        path.pop();
    }
}

fn collect(value: &Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Path, found: &mut Found) {
    note(&value.span(), span, path, found);
    match value.get_ref() {
        DeValue::Table(table) => collect_table(table, span, path, found),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                path.push(Step::Index(index));
                collect(value, span, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn note(its: &Range<usize>, span: &Range<usize>, path: &Path, found: &mut Found) {
    if its.start <= span.start && span.end <= its.end {
        found.push((its.len(), path.clone()));
    }
}

fn take_out(table: &mut DeTable<'_>, path: &[Step]) {
    match path {
        [Step::Key(key)] => match table.get_mut(key.as_str()).map(Spanned::get_mut) {
            // What is wrong is one of its values, and it may have to be there.
            Some(DeValue::Array(array)) if !array.is_empty() => *array = DeArray::new(),
            _ => {
                table.remove(key.as_str());
            }
        },
        [Step::Key(key), rest @ ..] => {
            if let Some(value) = table.get_mut(key.as_str()) {
                take_out_of(value.get_mut(), rest);
            }
        }
        _ => {}
    }
}

fn take_out_of(value: &mut DeValue<'_>, path: &[Step]) {
    match (value, path) {
        (DeValue::Table(table), path) => take_out(table, path),
        (DeValue::Array(array), [Step::Index(index)]) => {
            let whole = std::mem::replace(array, DeArray::new());
            let others = whole.into_iter().enumerate();
            *array = others
                .filter(|(number, _)| number != index)
                .map(|(_, value)| value)
                .collect();
        }
        (DeValue::Array(array), [Step::Index(index), rest @ ..]) => {
            if let Some(value) = array.get_mut(*index) {
                take_out_of(value.get_mut(), rest);
            }
        }
        _ => {}
    }
}
