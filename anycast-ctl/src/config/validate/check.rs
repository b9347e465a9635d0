//! Collects the problems of a configuration, and makes the checks that several roles need.

use std::{collections::HashSet, ops::Range};

use ipnet::Ipv6Net;
use toml::Spanned;

use crate::config::{
    report::{self, Problem},
    value::Prefix,
};

/// Longest interface name in octets (IFNAMSIZ without its final zero).
const INTERFACE_NAME: usize = 15;

/// The text of the file, and the problems that were found so far.
pub(super) struct Check<'a> {
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn problem(&mut self, span: Range<usize>, reason: impl Into<String>) {
        self.problems.push(Problem {
            // A value that is a default has no position in the file.
            line: (!span.is_empty()).then(|| report::line(self.text, span.start)),
            reason: reason.into(),
        });
    }

    /// Checks the list of interfaces of a role. A role without interfaces would do nothing, and an interface that is
    /// named twice would be attached twice.
    pub(super) fn interfaces(
        &mut self,
        span: Range<usize>,
        role: &str,
        interfaces: &[Spanned<String>],
    ) {
        if interfaces.is_empty() {
            self.problem(span, format!("{role} has no interfaces"));
        }
        let mut seen = HashSet::new();
        for interface in interfaces {
            let name = interface.get_ref();
            if !is_interface_name(name) {
                self.problem(
                    interface.span(),
                    format!("{name:?} cannot be an interface name"),
                );
            } else if !seen.insert(name) {
                self.problem(
                    interface.span(),
                    format!("interface {name} is listed twice"),
                );
            }
        }
    }

    pub(super) fn host_bits(&mut self, prefix: &Spanned<Prefix>) {
        let net = prefix.get_ref().0;
        if net != net.trunc() {
            self.problem(
                prefix.span(),
                format!("{net} has bits beyond its length: write {}", net.trunc()),
            );
        }
    }
}

pub(super) fn is_interface_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= INTERFACE_NAME
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

pub(super) fn lists(interfaces: &[Spanned<String>], name: &str) -> bool {
    interfaces
        .iter()
        .any(|interface| interface.get_ref() == name)
}

pub(super) fn touch(left: &Ipv6Net, right: &Ipv6Net) -> bool {
    left.contains(&right.network()) || right.contains(&left.network())
}

pub(super) fn overlap(net: &Ipv6Net, other: &str) -> bool {
    other.parse().is_ok_and(|other: Ipv6Net| touch(net, &other))
}

pub(super) fn within(net: &Ipv6Net, other: &str) -> bool {
    other
        .parse()
        .is_ok_and(|other: Ipv6Net| other.contains(net))
}
