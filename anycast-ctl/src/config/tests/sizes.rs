//! How much the maps hold.

use super::{MEMBER, bad};
use crate::{
    config::{parse, settings},
    model::sizes::Sizes,
};

#[test]
fn nothing_is_more_than_the_data_plane_holds() {
    let correspondent = |prefixes: usize, bindings: usize| {
        let prefixes: Vec<String> = (0..prefixes)
            .map(|number| format!("\"2001:db8:{number:x}::/48\""))
            .collect();
        format!(
            "[correspondent]\ninterfaces = [\"up0\"]\nmax_bindings = {bindings}\n\
             client_prefixes = [{}]\n",
            prefixes.join(", ")
        )
    };
    let problems = |text: &str| {
        parse(text, "f")
            .err()
            .map_or(0, |found| found.problems.len())
    };
    assert_eq!(problems(&correspondent(1024, 131_072)), 0);
    assert_eq!(problems(&correspondent(1025, 131_072)), 1);
    assert_eq!(problems(&correspondent(1, 131_073)), 1);
    let sized = |bindings: &str, max| format!("[data_plane]\n{bindings}{}", correspondent(1, max));
    assert_eq!(problems(&sized("bindings = 1000000\n", 1_000_000)), 0);
    assert_eq!(problems(&sized("bindings = 1000000\n", 1_000_001)), 1);
    assert_eq!(problems(&sized("bindings = 50000\n", 50_000)), 0);
    // As many as without a word about it, of which there would be no room.
    let default = sized("bindings = 50000\n", 0).replace("max_bindings = 0\n", "");
    assert_eq!(problems(&default), 1);
}

#[test]
fn no_share_of_the_bindings_is_more_than_all_of_them() {
    let text = |lines: &str| {
        format!(
            "[correspondent]\ninterfaces = [\"up0\"]\nclient_prefixes = [\"2001:db8:1::/48\"]\n{lines}\n"
        )
    };
    for name in ["max_bindings_per_prefix", "max_bindings_per_member"] {
        for (most, all) in [("max_bindings = 10\n", 10_u32), ("", 100_000)] {
            let share = |share: u32| text(&format!("{most}{name} = {share}"));
            assert!(parse(&share(all), "f").is_ok(), "{name} = {all}");
            let wanted = format!(
                "{name} is {}, more than the {all} bindings of max_bindings",
                all + 1
            );
            let found = bad(&share(all + 1));
            assert!(found.contains(&wanted), "{found}");
        }
    }
}

#[test]
fn maps_are_as_large_as_they_are_told() {
    let sizes = |text: &str| settings::sizes(&parse(&format!("{text}{MEMBER}"), "f").expect(text));
    assert_eq!(sizes(""), Sizes::default());
    let given = "flows = 4000000\nbindings = 1000000\nmember_flows = 2048\nclients = 1024\nfragments = 16777216\n";
    let wanted = Sizes {
        flows: 4_000_000,
        bindings: 1_000_000,
        member_flows: 2048,
        clients: 1024,
        fragments: 16_777_216,
    };
    assert_eq!(sizes(&format!("[data_plane]\n{given}")), wanted);
    for name in ["flows", "bindings", "member_flows", "clients", "fragments"] {
        for (value, reason) in [
            ("1023", "is between 1024 and 16777216"),
            ("16777217", "is between 1024 and 16777216"),
            ("-1", "u32"),
        ] {
            let found = bad(&format!("[data_plane]\n{name} = {value}\n{MEMBER}"));
            assert!(found.contains(reason), "{name} = {value}: {found}");
        }
    }
}
