//! Bindings and flows that an operator ends.

use super::{
    answer::{Answered, map, no_role},
    api::{Answer, view},
    clock,
    daemon::Daemon,
};
use crate::core::correspondent::Selection;

impl Daemon {
    /// Answers `flush`.
    pub(super) fn flush(&mut self, which: &Selection) -> Answered {
        let ended = self
            .controller
            .flush(clock::now(), which, &mut self.actions);
        let Some(bindings) = ended else {
            return Err(no_role("correspondent"));
        };
        // First, so that nothing is pinned to them any more.
        self.perform();
        let maps = self.dataplane.maps();
        let flows: Vec<_> = maps
            .flows()
            .filter(|(key, flow)| {
                which.holds(key.client.into(), key.anycast.into(), flow.care_of.into())
            })
            .collect();
        for (key, _) in &flows {
            maps.remove_flow(key).map_err(|error| map(&error))?;
        }
        let flows = flows.len();
        Ok(Answer::Flushed(view::Flushed { bindings, flows }))
    }
}
