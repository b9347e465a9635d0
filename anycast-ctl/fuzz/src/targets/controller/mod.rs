//! The controller with all its roles, and whatever can happen to it.
//!
//! An input is a script: an octet for the settings, then steps. What the controller sends is kept, and
//! a step can bring it back, damaged or not: so the member shakes hands with the correspondent
//! beside it, which random octets never would.

mod machine;
mod mirror;
mod settings;
mod step;

use anycast_ctl::core::Action;
use machine::Machine;
use step::Script;

/// Steps of a script at most: what needs more is found by fewer.
const STEPS: usize = 200;

/// `octets` are a script.
pub fn controller(octets: &[u8]) {
    // The same inputs at the same times with the same seed give the same actions.
    assert_eq!(run(octets), run(octets));
}

fn run(octets: &[u8]) -> Vec<Action> {
    let mut script = Script::new(octets);
    let mut machine = Machine::new(script.octet());
    for _ in 0..STEPS {
        let Some(step) = script.step() else { break };
        machine.step(step);
    }
    machine.shutdown()
}

#[cfg(test)]
mod tests {
    use anycast_ctl::core::{MapAction, RouteAction};

    use super::*;

    /// Group 0 is joined and three clients come, one after the other. Each time what is sent comes
    /// back: both Test Inits, both Tests, the Binding Update and its acknowledgement.
    const HANDSHAKES: &[u8] = include_bytes!("../../../corpus/controller/handshakes");

    #[test]
    fn a_script_reaches_bindings_and_their_cap() {
        let actions = run(HANDSHAKES);
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|it| wanted(it)).count();
        let bound = count(|action| matches!(action, Action::Map(MapAction::SetBinding { .. })));
        assert_eq!(bound, settings::MAX_BINDINGS, "{actions:#?}");
    }

    #[test]
    fn a_script_reaches_a_route() {
        // A Report by host 1 on lan0 for group 3; a minute later, its Done.
        let actions = run(&[0, 9, 1, 0, 0, 3, 0, 60, 10, 9, 1, 0, 1, 3, 0, 60, 10]);
        let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|it| wanted(it)).count();
        assert_eq!(
            count(|it| matches!(it, Action::Route(RouteAction::Set { .. }))),
            1
        );
        assert_eq!(
            count(|it| matches!(it, Action::Route(RouteAction::Remove { .. }))),
            1
        );
    }
}
