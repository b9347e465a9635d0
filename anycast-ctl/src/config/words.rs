//! What is said about a key or a value that cannot be read: which was meant, and what one looks like.

/// The files that every installation has, in which each key has a value.
const EXAMPLES: [&str; 4] = [
    include_str!("../../../examples/router.toml"),
    include_str!("../../../examples/gateway.toml"),
    include_str!("../../../examples/member-s1.toml"),
    include_str!("../../../examples/client.toml"),
];

/// Two keys that are easily taken for each other.
const ONE: &str = "interface";
const SEVERAL: &str = "interfaces";

/// What is to be said.
pub(super) struct Told {
    /// To whoever wrote the file.
    pub reason: String,
    /// The key that is missing, where one is.
    pub missing: Option<String>,
    /// The key that was meant, where another stands there.
    pub meant: Option<String>,
}

/// Says what is wrong, out of what the reader says. `key` is the last key on the way to it.
pub(super) fn explain(message: &str, key: Option<&str>) -> Told {
    let mut told = Told {
        reason: message.to_owned(),
        missing: None,
        meant: None,
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let word = quoted.next().unwrap_or_default();
    if message.starts_with("missing field") {
        told.missing = Some(word.to_owned());
        if let Some(example) = example(word) {
            told.reason = format!("{message}, for example: {example}");
        }
    } else if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let nearest = quoted.min_by_key(|known| strsim::damerau_levenshtein(word, known));
        if let Some(nearest) = nearest.filter(|known| is_near(word, known)) {
            let kind = if message.starts_with("unknown field") {
                told.meant = Some(nearest.to_owned());
                "field"
            } else {
                "variant"
            };
            told.reason = format!("unknown {kind} `{word}`: did you mean `{nearest}`?");
        }
    } else if key == Some(ONE) && message.ends_with("expected a map") {
        // Of a router it is a table by the names of interfaces.
        told.meant = Some(SEVERAL.to_owned());
        told.reason =
            format!("`{ONE}` is a table of settings by interface: did you mean `{SEVERAL}`?");
    } else if let Some(example) = key.and_then(example)
        && !message.contains("such as")
    {
        told.reason = format!("{message}, for example: {example}");
    }
    told
}

/// Whether somebody who wrote the one may have meant the other.
fn is_near(word: &str, known: &str) -> bool {
    let most = word.len().max(known.len()) / 3;
    strsim::damerau_levenshtein(word, known) <= most.max(1)
}

/// A line that has the key.
fn example(key: &str) -> Option<String> {
    let lines = EXAMPLES.iter().flat_map(|file| file.lines());
    let mut found = lines.filter_map(|line| {
        let line = line.trim_start_matches(['#', ' ']);
        let (name, value) = line.split_once(" = ")?;
        // What is behind the value is a remark.
        let value = value.split("  ").next()?.trim();
        (name == key && toml::from_str::<toml::Table>(&format!("{name} = {value}")).is_ok())
            .then(|| format!("{name} = {value}"))
    });
    found.next()
}
