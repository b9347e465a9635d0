//! Answers with all counters of the data plane and of the controller.

use super::common::{Answered, map};
use crate::shell::{
    api::{Answer, view},
    engine::Engine,
    perform::Performer,
    plane::Plane,
};

pub(super) fn counters(core: &Engine, plane: &mut Plane, performer: &Performer) -> Answered {
    let named = |(name, value): (&str, u64)| (name.to_owned(), value);
    let data_plane = plane
        .dataplane()
        .maps()
        .counters()
        .map_err(|error| map(&error))?;
    Ok(Answer::Counters(view::Counters {
        data_plane: data_plane.into_iter().map(named).collect(),
        controller: core
            .controller()
            .counters()
            .into_iter()
            .chain(performer.counters().map(|(name, _, value)| (name, value)))
            .map(named)
            .collect(),
    }))
}
