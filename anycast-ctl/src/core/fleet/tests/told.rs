//! Flows that are looked at in parts, and what is told of them between these.

use super::*;

#[test]
fn what_was_told_since_it_was_looked_at_is_not_told_again() {
    let mut published = Published::default();
    let flows = [
        (key(1), flow(at(0))),
        (key(2), flow(at(0))),
        (key(3), flow(at(0))),
    ];
    let mut due = published.begin();
    published.look(at(0), &mut due, flows.iter().enumerate());
    // A reading of those in use has the first one as it is by then, and another gateway tells of the second.
    let mut newer = [flows[0]];
    newer[0].1.last_in = at(100).as_nanos();
    assert_eq!(published.due_of_late(at(100), &newer), newer);
    published.heard(at(100), key(2), &flows[1].1);
    assert_eq!(published.end(at(200), due, &flows), [flows[2]]);
    // What was told last is what counts.
    assert_eq!(published.due_of_late(at(300), &newer), []);
}
