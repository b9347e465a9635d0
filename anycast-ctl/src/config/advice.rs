//! What is legal in a file, and surely not what was meant.

use std::{ops::Range, path::Path};

use ipnet::Ipv6Net;

use super::{
    file::{Config, Correspondent, Group, Router, Rule},
    report::{self, Problem},
};
use crate::model::policy::Decision;

/// Collects what is said.
struct Advice<'a> {
    text: &'a str,
    said: Vec<Problem>,
}

/// What is said about a file that is right, in the order of the lines.
pub(super) fn of(config: &Config, text: &str) -> Vec<Problem> {
    let mut advice = Advice {
        text,
        said: Vec::new(),
    };
    if let Some(router) = &config.router {
        advice.router(router.span(), router.get_ref());
    }
    if let Some(member) = &config.member {
        for group in &member.get_ref().group {
            advice.group(group.get_ref(), config.correspondent_role());
        }
    }
    if let Some(correspondent) = &config.correspondent {
        advice.correspondent(correspondent.span(), correspondent.get_ref());
    }
    advice.said.sort();
    advice.said
}

impl Advice<'_> {
    fn say(&mut self, span: Range<usize>, reason: impl Into<String>) {
        self.said.push(Problem {
            line: Some(self.line(span)),
            reason: reason.into(),
        });
    }

    fn line(&self, span: Range<usize>) -> usize {
        report::line(self.text, span.start)
    }

    fn router(&mut self, span: Range<usize>, router: &Router) {
        if router.policy.is_empty() {
            self.say(span, "[router] has no [[router.policy]]: nobody may join");
        }
        for (index, rule) in router.policy.iter().enumerate() {
            let mut before = router.policy.iter().take(index);
            if let Some(first) = before.find(|first| covers(first.get_ref(), rule.get_ref())) {
                let line = self.line(first.span());
                let reason = format!("the rule never matches: that of line {line} comes before it");
                self.say(rule.span(), reason);
            }
            let rule = rule.get_ref();
            if rule.action == Decision::Allow && is_all(rule.anycast.get_ref().0) {
                let reason = "the rule lets members take any address: name the anycast prefixes";
                self.say(rule.anycast.span(), reason);
            }
        }
    }

    fn group(&mut self, group: &Group, correspondent: Option<&Correspondent>) {
        let anycast = *group.anycast.get_ref();
        let prefixes = correspondent.map_or(&[][..], |role| &role.client_prefixes);
        if let Some(prefix) = prefixes
            .iter()
            .find(|prefix| prefix.get_ref().0.contains(&anycast))
        {
            let net = prefix.get_ref().0;
            let reason = format!(
                "anycast {anycast} is within client_prefixes ({net}), as if it were a client"
            );
            self.say(group.anycast.span(), reason);
        }
        let Some(health) = &group.health else { return };
        let command = health.get_ref().command.as_ref();
        if let Some(program) = command.and_then(|command| command.first())
            && !Path::new(program).is_absolute()
        {
            let reason = format!(
                "the health check runs {program}, which is looked for from where the daemon runs: give its absolute path"
            );
            self.say(health.span(), reason);
        }
    }

    fn correspondent(&mut self, span: Range<usize>, correspondent: &Correspondent) {
        if correspondent.allow.is_empty() {
            self.say(
                span.clone(),
                "[correspondent] has no allow: whoever owns many addresses can fill the table of bindings",
            );
        }
        if !correspondent.is_client() && correspondent.interfaces.len() == 1 {
            self.say(
                span,
                "[correspondent] has one interface: a gateway needs that towards the clients and that towards the network",
            );
        }
        for (name, prefixes) in [
            ("client_prefixes", &correspondent.client_prefixes),
            ("allow", &correspondent.allow),
        ] {
            for prefix in prefixes.iter().filter(|prefix| is_all(prefix.get_ref().0)) {
                let reason = format!("{name} has {}, every address there is", prefix.get_ref().0);
                self.say(prefix.span(), reason);
            }
        }
        for allowed in &correspondent.allow {
            let net = allowed.get_ref().0;
            let mut clients = correspondent
                .client_prefixes
                .iter()
                .map(|prefix| prefix.get_ref().0);
            if let Some(prefix) = clients.find(|prefix| prefix.contains(&net) && !is_all(*prefix)) {
                let reason = format!(
                    "allow {net} is within client_prefixes ({prefix}), as if it were a client's"
                );
                self.say(allowed.span(), reason);
            }
        }
        if let Some(state) = &correspondent.state
            && let Some(directory) = state.get_ref().parent()
            && !directory.exists()
        {
            let reason = format!("state: the directory {} is not there", directory.display());
            self.say(state.span(), reason);
        }
    }
}

fn is_all(net: Ipv6Net) -> bool {
    net.prefix_len() == 0
}

/// Whether a rule matches all that another does.
fn covers(first: &Rule, other: &Rule) -> bool {
    let name = |rule: &Rule| rule.interface.as_ref().map(|name| name.get_ref().clone());
    name(first).is_none_or(|interface| name(other) == Some(interface))
        && first.mac.is_none_or(|mac| other.mac == Some(mac))
        && first.source.get_ref().0.contains(&other.source.get_ref().0)
        && first
            .anycast
            .get_ref()
            .0
            .contains(&other.anycast.get_ref().0)
}
