//! Checks the `[correspondent]` section.

use std::ops::Range;

use anycast_common::abi::maps;
use async_nats::ServerAddr;
use ipnet::Ipv6Net;
use toml::Spanned;

use super::check::{Check, touch, within};
use crate::{
    config::{
        file::{Correspondent, Fleet},
        settings,
    },
    core::fleet::NAME,
    model::{program::Mode, sizes::Sizes},
};

impl Check<'_> {
    pub(super) fn correspondent(&mut self, span: Range<usize>, correspondent: &Correspondent) {
        self.interfaces(span.clone(), "[correspondent]", &correspondent.interfaces);
        if correspondent.client_prefixes.is_empty() {
            self.problem(
                span.clone(),
                "[correspondent] has no client_prefixes: it would answer for nobody",
            );
        }
        if let Some(local) = &correspondent.local
            && correspondent.is_client()
            && correspondent.effective_mode() != Mode::Tcx
        {
            self.problem(
                local.span(),
                "local = true needs mode = \"tcx\": XDP sees nothing of what this host itself sends",
            );
        }
        let most = maps::CLIENT_PREFIXES as usize;
        if correspondent.client_prefixes.len() > most {
            self.problem(
                span.clone(),
                format!("more client_prefixes than the {most} that the data plane holds"),
            );
        }
        let mut seen: Vec<Ipv6Net> = Vec::new();
        for prefix in &correspondent.client_prefixes {
            self.host_bits(prefix);
            let net = prefix.get_ref().0;
            if ["ff00::/8", "fe80::/10", "::/96", "::ffff:0:0/96"]
                .iter()
                .any(|other| within(&net, other))
            {
                self.problem(
                    prefix.span(),
                    format!("{net} holds no client that can be reached"),
                );
            }
            if let Some(other) = seen.iter().find(|other| touch(other, &net)) {
                self.problem(prefix.span(), format!("{net} overlaps {other}"));
            }
            seen.push(net);
        }
        if let Some(state) = &correspondent.state
            && !state.get_ref().is_absolute()
        {
            self.problem(state.span(), "state needs an absolute path");
        }
        if let Some(fleet) = &correspondent.fleet {
            self.fleet(fleet);
        }
        let most = maps::ANYCAST_PREFIXES as usize;
        if correspondent.allow.len() > most {
            self.problem(
                span.clone(),
                format!("more prefixes in allow than the {most} that the data plane holds"),
            );
        }
        for prefix in &correspondent.allow {
            self.host_bits(prefix);
        }
        if let Err((span, reason)) = settings::nested(correspondent.limits.as_ref()) {
            self.problem(span, reason);
        }
        for (name, duration) in settings::flow_times(&correspondent.flows) {
            if duration.is_zero() {
                self.problem(
                    span.clone(),
                    format!("[correspondent.flows] {name} cannot be 0"),
                );
            }
        }
    }

    fn fleet(&mut self, fleet: &Fleet) {
        let files = [
            ("secret", Some(&fleet.secret)),
            ("previous", fleet.previous.as_ref()),
            ("credentials", fleet.credentials.as_ref()),
            ("authorities", fleet.authorities.as_ref()),
            ("certificate", fleet.certificate.as_ref()),
            ("key", fleet.key.as_ref()),
        ];
        for (name, path) in files {
            let Some(path) = path else { continue };
            if !path.get_ref().is_absolute() {
                let reason = format!("[correspondent.fleet] {name} needs an absolute path");
                self.problem(path.span(), reason);
            }
        }
        self.bus(fleet);
        if let Some(previous) = &fleet.previous
            && previous.get_ref() == fleet.secret.get_ref()
        {
            self.problem(previous.span(), "previous is the same file as secret");
        }
    }

    fn bus(&mut self, fleet: &Fleet) {
        for server in &fleet.servers {
            let reason = match server.get_ref().parse::<ServerAddr>() {
                Ok(address) if ["nats", "tls"].contains(&address.scheme()) => continue,
                Ok(_) => "[correspondent.fleet] servers are nats:// or tls://".to_owned(),
                Err(error) => format!("[correspondent.fleet] servers: {error}"),
            };
            self.problem(server.span(), reason);
        }
        if let Some(subject) = &fleet.subject {
            let token = |token: &str| {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                !token.is_empty() && token.chars().all(word)
            };
            if !subject.get_ref().split('.').all(token) {
                let reason = "[correspondent.fleet] subject has words of letters, digits, - and _, with dots between";
                self.problem(subject.span(), reason);
            }
        }
        if let Some(name) = &fleet.name {
            let text = name.get_ref();
            if text.is_empty() || text.len() > NAME || text.chars().any(char::is_control) {
                let reason = format!("[correspondent.fleet] name has 1 to {NAME} octets");
                self.problem(name.span(), reason);
            }
        }
        let of_bus = [
            ("credentials", fleet.credentials.as_ref()),
            ("authorities", fleet.authorities.as_ref()),
            ("certificate", fleet.certificate.as_ref()),
            ("key", fleet.key.as_ref()),
        ];
        let mut given = of_bus
            .into_iter()
            .filter_map(|(name, file)| Some((name, file?)));
        if fleet.servers.is_empty()
            && let Some((name, file)) = given.next()
        {
            let reason = format!("[correspondent.fleet] {name} is of no use without servers");
            self.problem(file.span(), reason);
        }
        for (one, other, missing) in [
            (&fleet.certificate, &fleet.key, "certificate needs a key"),
            (&fleet.key, &fleet.certificate, "key needs a certificate"),
        ] {
            if let (Some(file), None) = (one, other) {
                self.problem(file.span(), format!("[correspondent.fleet] {missing}"));
            }
        }
    }

    pub(super) fn max_bindings(&mut self, correspondent: &Spanned<Correspondent>, sizes: Sizes) {
        let given = correspondent.get_ref().max_bindings;
        let most = sizes.bindings;
        if given.is_some_and(|given| given.get() > most as usize) {
            let reason = format!(
                "max_bindings is more than the {most} that the data plane holds ([data_plane] bindings)"
            );
            self.problem(correspondent.span(), reason);
        } else if given.is_none() && settings::DEFAULT_BINDINGS > most as usize {
            let reason = format!(
                "[data_plane] bindings is {most}: give a max_bindings that is not above it"
            );
            self.problem(correspondent.span(), reason);
        }
        self.shares(correspondent);
    }

    /// A share of the bindings that is larger than all of them would limit nothing.
    fn shares(&mut self, correspondent: &Spanned<Correspondent>) {
        let given = correspondent.get_ref();
        let most = given
            .max_bindings
            .map_or(settings::DEFAULT_BINDINGS, Into::into);
        for (name, share) in [
            ("max_bindings_per_prefix", given.max_bindings_per_prefix),
            ("max_bindings_per_member", given.max_bindings_per_member),
        ] {
            if let Some(share) = share.filter(|share| share.get() > most) {
                let reason =
                    format!("{name} is {share}, more than the {most} bindings of max_bindings");
                self.problem(correspondent.span(), reason);
            }
        }
    }
}
