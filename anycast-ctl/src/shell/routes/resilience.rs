//! Whether next hops are written as resilient groups: what to do where the kernel refuses one.

use std::time::{Duration, Instant};

use nix::libc;

use crate::{model::route::Style, shell::netlink::NetlinkError};

/// Time until a group is tried again. A kernel may have no memory for a moment, and a member of a group may go while
/// the group is made.
pub(super) const AGAIN: Duration = Duration::from_secs(30);
/// Refusals in a row after which the kernel is taken at its word. One that has never heard of resilient groups may say
/// the same as one that does not like this one.
const TRIES: u32 = 5;

/// What the configuration wants, and what the kernel has said about it.
#[derive(Debug)]
pub(super) struct Resilience {
    wanted: Style,
    /// Refusals in a row.
    refusals: u32,
    /// Whether it has said so for good.
    for_good: bool,
    /// When to try again.
    again: Option<Instant>,
    /// What the kernel said last, while plain multipath stands in.
    error: Option<String>,
}

impl Resilience {
    /// The kernel has refused nothing yet.
    pub(super) fn new(wanted: Style) -> Self {
        Self {
            wanted,
            refusals: 0,
            for_good: false,
            again: None,
            error: None,
        }
    }

    /// The kernel has refused a group. Gives the style until it is tried again.
    pub(super) fn refused(&mut self, error: &NetlinkError, now: Instant) -> Style {
        self.refusals += 1;
        let is_unknown = error.errno() == Some(libc::EOPNOTSUPP);
        self.for_good = is_unknown || self.refusals >= TRIES;
        self.again = (!self.for_good).then(|| now + AGAIN);
        let text = error.to_string();
        if self.for_good {
            tracing::warn!(target: "anycast::router", %error,
                "the kernel refuses resilient next-hop groups: plain multipath from now on, where a member that comes \
                 or goes moves flows of others");
        } else if self.error.as_ref() != Some(&text) {
            tracing::warn!(target: "anycast::router", %error,
                "the kernel refuses a resilient next-hop group: plain multipath until it is tried again, where a \
                 member that comes or goes moves flows of others");
        }
        self.error = Some(text);
        Style::Plain
    }

    /// The kernel has made a group.
    pub(super) fn accepted(&mut self) {
        if self.error.take().is_some() {
            tracing::info!(target: "anycast::router", "next hops are resilient groups again");
        }
        self.refusals = 0;
    }

    /// The style to try once more, if that is due.
    pub(super) fn try_again(&mut self, now: Instant) -> Option<Style> {
        self.again.take_if(|again| *again <= now)?;
        Some(self.wanted)
    }

    /// When to try again, if ever.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Something else asks for plain multipath from now on.
    pub(super) fn end(&mut self) {
        self.again = None;
        self.error = None;
    }

    /// What the operator has to know about it.
    pub(super) fn problem(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let until = if self.for_good {
            "until the daemon is started again"
        } else {
            "tried again within half a minute"
        };
        Some(format!(
            "the kernel refuses resilient next-hop groups ({error}), so routes are plain multipath, {until}: a member \
             that comes or goes moves flows of others (resilient = \"never\" says that this is meant)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::model::nexthop::Resilient;

    const WANTED: Style = Style::Resilient(Resilient {
        buckets: 64,
        idle_timer: Duration::from_secs(120),
        unbalanced_timer: Duration::ZERO,
    });

    fn error(errno: i32) -> NetlinkError {
        NetlinkError::Refused(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_refusal_is_for_a_moment_until_there_are_several_in_a_row() {
        for errno in [libc::EINVAL, libc::ENOMEM, libc::ENOSPC] {
            let mut now = Instant::now();
            let mut resilience = Resilience::new(WANTED);
            // It makes one now and then, and is never given up.
            for _ in 0..3 {
                for _ in 1..TRIES {
                    assert_eq!(resilience.refused(&error(errno), now), Style::Plain);
                    assert!(
                        resilience
                            .problem()
                            .is_some_and(|it| it.contains("half a minute"))
                    );
                    assert_eq!(resilience.again(), Some(now + AGAIN));
                    assert_eq!(resilience.try_again(now), None);
                    now += AGAIN;
                    assert_eq!(resilience.try_again(now), Some(WANTED));
                    assert_eq!(resilience.try_again(now), None, "once");
                }
                resilience.accepted();
                assert_eq!(resilience.problem(), None);
            }
            for _ in 0..TRIES {
                resilience.refused(&error(errno), now);
            }
            assert_eq!(resilience.again(), None);
            assert!(
                resilience
                    .problem()
                    .is_some_and(|it| it.contains("started again"))
            );
        }
    }

    #[test]
    fn a_kernel_without_such_groups_is_asked_once() {
        let mut resilience = Resilience::new(WANTED);
        resilience.refused(&error(libc::EOPNOTSUPP), Instant::now());
        assert_eq!(resilience.again(), None);
        assert!(resilience.problem().is_some());
        resilience.end();
        assert_eq!(
            resilience.problem(),
            None,
            "zebra has them plain in any case"
        );
    }
}
