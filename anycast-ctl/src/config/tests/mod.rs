//! Configurations that are right, and every way in which they can be wrong.

mod advice;
mod fleet;
mod health;
mod right;
mod sizes;
mod wrong;

use super::{file::Config, parse};

const ROUTER: &str = r#"
[router]
interfaces = ["lan0", "lan1"]
next_hops = "best"
[router.timers]
query_interval = "20s"
query_response_interval = "2500ms"
[router.interface.lan1]
general_queries = "never"
fast_leave = true
[[router.policy]]
source = "fe80::11"
mac = "02:00:00:00:20:11"
interface = "lan0"
anycast = "2001:db8:a::/48"
action = "allow"
max_members_per_group = 16
[[router.policy]]
source = "::/0"
anycast = "::/0"
action = "deny"
"#;

const MEMBER: &str = r#"
[member]
interfaces = ["eth0"]
[[member.group]]
anycast = "2001:db8:a::53"
care_of = "2001:db8:20::c1"
[[member.group]]
anycast = "2001:db8:a::54"
join = "manual"
[member.listener]
robustness = 3
[member.handshake]
rate = 50
"#;

const CORRESPONDENT: &str = r#"
[correspondent]
interfaces = ["clients0", "up0"]
client_prefixes = ["2001:db8:1::/64"]
[correspondent.flows]
udp = "2m"
"#;

fn good(text: &str) -> Config {
    match parse(text, "test.toml") {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

/// All complaints about `text`, one per line.
fn bad(text: &str) -> String {
    match parse(text, "f") {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}
