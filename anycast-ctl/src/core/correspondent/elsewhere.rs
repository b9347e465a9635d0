//! What has ended at other gateways of the fleet, and how a correspondent joins their bus.

use rand::SeedableRng as _;

use crate::core::{
    Time,
    fleet::{self, Bus, End},
    rr::Generator,
};

/// Ends that wait for the next reading of the flows. Gateways of the fleet alone can say more in that time.
const MOST: usize = 1024;

/// What has ended elsewhere, and ends here when the flows have been read.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Vec<(Time, End)>);

impl Elsewhere {
    /// Notes that something has ended.
    pub(super) fn note(&mut self, now: Time, end: End) {
        if self.0.len() < MOST {
            self.0.push((now, end));
        }
    }

    /// What had ended when the reading of the flows began.
    pub(super) fn take(&mut self, began: Time) -> Vec<End> {
        let due = self.0.extract_if(.., |(at, _)| *at <= began);
        due.map(|(_, end)| end).collect()
    }
}

/// Joins the bus of the fleet, where there is one.
pub(super) fn join(fleet: Option<&fleet::Settings>, now: Time, rng: &mut Generator) -> Option<Bus> {
    let fleet = fleet?;
    let secrets = [Some(&fleet.secret), fleet.previous.as_ref()];
    let name = fleet.name.clone()?;
    let rng = Generator::from_rng(rng);
    Some(Bus::new(secrets.into_iter().flatten(), name, now, rng))
}
