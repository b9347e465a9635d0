//! What a changed file has that a running daemon does not take.

use toml::{Table, Value};

/// What is taken by a reload, by section and key. Of `member.group` it is `health`.
const TAKEN: [(&str, &str); 3] = [
    ("router", "policy"),
    ("correspondent", "client_prefixes"),
    ("correspondent", "allow"),
];

/// The keys that differ between the file that the daemon started with and the present one, and that need a restart.
pub(super) fn need_restart(started: &Table, now: &Table) -> Vec<String> {
    let mut named = Vec::new();
    for section in keys(started, now) {
        match (table(started, &section), table(now, &section)) {
            (Some(before), Some(after)) => {
                let differ = keys(before, after).into_iter().filter(|key| {
                    !TAKEN.contains(&(&section, key)) && before.get(key) != after.get(key)
                });
                let needs = |key: &String| {
                    let both = (before.get(key), after.get(key));
                    (section.as_str(), key.as_str()) != ("member", "group")
                        || !differ_in_health(both)
                };
                named.extend(differ.filter(needs).map(|key| format!("{section}.{key}")));
            }
            _ => named.push(section),
        }
    }
    named
}

fn table<'a>(of: &'a Table, section: &str) -> Option<&'a Table> {
    of.get(section).and_then(Value::as_table)
}

/// All keys of either, each once.
fn keys(one: &Table, other: &Table) -> Vec<String> {
    let added = other.keys().filter(|key| !one.contains_key(*key));
    one.keys().chain(added).cloned().collect()
}

/// Whether the groups are the same, but for health checks that each of them has before and after.
fn differ_in_health((before, after): (Option<&Value>, Option<&Value>)) -> bool {
    let groups = |groups: Option<&Value>| groups.and_then(Value::as_array).cloned();
    let (Some(mut before), Some(mut after)) = (groups(before), groups(after)) else {
        return false;
    };
    let take = |groups: &mut Vec<Value>| -> Vec<bool> {
        let tables = groups.iter_mut().filter_map(Value::as_table_mut);
        tables
            .map(|group| group.remove("health").is_some())
            .collect()
    };
    take(&mut before) == take(&mut after) && before == after
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[router]\ninterfaces = [\"lan0\"]\n[[router.policy]]\nsource = \"fe80::11\"\n\
        [correspondent]\ninterfaces = [\"up0\"]\nallow = [\"2001:db8:a::/48\"]\n\
        [member]\n[[member.group]]\nanycast = \"2001:db8:a::53\"\nhealth = { type = \"tcp\", port = 1 }\n";

    #[test]
    fn what_a_daemon_does_not_take_is_named() {
        let file = |text: &str| text.parse::<Table>().expect("TOML");
        for (before, after, named) in [
            ("fe80::11", "fe80::12", &[][..]),
            ("allow = [\"2001:db8:a::/48\"]", "client_prefixes = []", &[]),
            ("port = 1", "port = 2, rise = 3", &[]),
            ("lan0", "lan1", &["router.interfaces"]),
            (
                "anycast = \"2001:db8:a::53\"",
                "anycast = \"2001:db8:a::54\"",
                &["member.group"],
            ),
            (
                "health = { type = \"tcp\", port = 1 }",
                "",
                &["member.group"],
            ),
            (
                "[member]",
                "[data_plane]\nflows = 9\n[member]\nmode = \"tcx\"",
                &["member.mode", "data_plane"],
            ),
        ] {
            let changed = FILE.replace(before, after);
            assert_ne!(changed, FILE, "{before}");
            assert_eq!(
                need_restart(&file(FILE), &file(&changed)),
                named,
                "{before} -> {after}"
            );
        }
        assert!(need_restart(&file(FILE), &file(FILE)).is_empty());
    }
}
