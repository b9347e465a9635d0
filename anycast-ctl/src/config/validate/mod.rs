//! Checks a configuration for mistakes that its structure alone does not exclude.

mod check;
mod correspondent;
mod member;
mod router;

use std::{collections::HashMap, ops::Range, path::Path};

use toml::Spanned;

use self::check::Check;
use super::{
    file::{Config, DataPlane, Rule},
    report::Problem,
    settings,
};
use crate::model::{program::Mode, sizes::SIZES};

/// Longest path in octets that fits a `sockaddr_un`, without its final zero.
const SOCKET_PATH: usize = 107;

/// Finds everything that is wrong with a configuration, in the order of the lines.
pub(super) fn validate(config: &Config, text: &str) -> Vec<Problem> {
    let mut check = Check {
        text,
        problems: Vec::new(),
    };
    check.config(config);
    check.problems.sort();
    check.problems
}

/// Finds everything that is wrong with one rule, for a router with these interfaces.
pub(super) fn rule(rule: &Rule, interfaces: &[Spanned<String>]) -> Vec<Problem> {
    let mut check = Check {
        text: "",
        problems: Vec::new(),
    };
    check.rule(rule, interfaces);
    check.problems
}

impl Check<'_> {
    fn config(&mut self, config: &Config) {
        if let Some(socket) = &config.control.socket {
            self.socket(socket.span(), socket.get_ref());
        }
        if config.router.is_none() && config.member.is_none() && config.correspondent.is_none() {
            self.problems.push(Problem {
                line: None,
                reason: "no role: give at least one of [router], [member], [correspondent]".into(),
            });
        }
        if let Some(router) = &config.router {
            self.router(router.span(), router.get_ref());
        }
        if let Some(member) = &config.member {
            self.member(member.span(), member.get_ref());
        }
        if let Some(correspondent) = &config.correspondent {
            self.correspondent(correspondent.span(), correspondent.get_ref());
            self.max_bindings(correspondent, settings::sizes(config));
        }
        self.modes(config);
        self.sizes(&config.data_plane);
    }

    /// Checks the sizes of the maps, since a map takes its full memory when it is created.
    fn sizes(&mut self, given: &DataPlane) {
        for (name, given) in [
            ("flows", &given.flows),
            ("bindings", &given.bindings),
            ("member_flows", &given.member_flows),
            ("clients", &given.clients),
            ("fragments", &given.fragments),
        ] {
            let Some(given) = given else { continue };
            if !SIZES.contains(given.get_ref()) {
                let (least, most) = (SIZES.start(), SIZES.end());
                self.problem(
                    given.span(),
                    format!("[data_plane] {name} is between {least} and {most}"),
                );
            }
        }
    }

    fn socket(&mut self, span: Range<usize>, path: &Path) {
        if !path.is_absolute() {
            self.problem(
                span,
                format!("{}: the socket needs an absolute path", path.display()),
            );
        } else if path.as_os_str().len() > SOCKET_PATH {
            self.problem(
                span,
                format!("the path of a Unix socket has at most {SOCKET_PATH} octets"),
            );
        }
    }

    /// Checks that all roles of an interface want the same mode, since an interface has one ingress program for all of
    /// them.
    fn modes(&mut self, config: &Config) {
        let mut modes: HashMap<String, Mode> = HashMap::new();
        for (_, mode, interfaces) in settings::attachments(config) {
            for interface in interfaces {
                let name = interface.get_ref();
                let first = *modes.entry(name.clone()).or_insert(mode);
                if first != mode {
                    self.problem(
                        interface.span(),
                        format!("interface {name} has another `mode` in another role"),
                    );
                }
            }
        }
    }
}
