//! Other links at run time, and other settings of links.

use super::{
    GeneralQueries, LinkId, LinkSettings, Router, discovery, link::LinkState, querier::Role,
};
use crate::core::{Actions, Time, notice::LeaveCause};

impl Router {
    /// Replaces the links. Members of a link that is not among them are removed. Those of a link that stays stay, and
    /// times that run already go on as they are.
    pub fn set_links(&mut self, now: Time, links: Vec<LinkSettings>, actions: &mut Actions) {
        for id in 0..self.links.len() {
            let link = &self.links[id];
            let name = &link.settings.interface;
            if !link.is_retired() && !links.iter().any(|link| link.interface == *name) {
                self.retire(now, id, actions);
            }
        }
        for link in links {
            let place = |is: &dyn Fn(&LinkState) -> bool| self.links.iter().position(is);
            let known = place(&|known| known.settings.interface == link.interface);
            match (known, place(&LinkState::is_retired)) {
                (Some(id), _) => self.change(now, id, link, actions),
                (None, Some(id)) => self.links[id] = LinkState::new(link),
                (None, None) => self.links.push(LinkState::new(link)),
            }
        }
        self.routes.flush(&self.groups, &self.links, actions);
    }

    /// Forgets a link. The numbers of the others stay, so that an empty name is left, which no interface has.
    fn retire(&mut self, now: Time, id: LinkId, actions: &mut Actions) {
        self.discovery_event(now, id, discovery::Event::Stopped, actions);
        self.forget_link(id, LeaveCause::NotConfigured, actions);
        self.links[id].settings.interface = String::new();
    }

    fn change(&mut self, now: Time, id: LinkId, settings: LinkSettings, actions: &mut Actions) {
        let link = &mut self.links[id];
        let before = link.asks_everybody();
        let chosen = link.settings.general_queries;
        link.settings = settings;
        if chosen == link.settings.general_queries {
            self.pace_probes(now, id);
            return;
        }
        // A router that would have listened first has been here for long.
        if link.settings.general_queries != GeneralQueries::Polite {
            self.end_listening(id, actions);
        }
        let link = &self.links[id];
        let (after, is_querier) = (link.asks_everybody(), link.role == Role::Querier);
        match (is_querier, before, after) {
            (true, false, true) => self.ask(now, id, actions),
            (true, true, false) => self.ask_known(now, id),
            _ => {}
        }
        self.pace_probes(now, id);
    }
}
