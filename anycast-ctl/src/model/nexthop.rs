//! Next-hop objects in the kernel.

use std::{collections::BTreeSet, time::Duration};

use crate::core::NextHop;

/// Settings of a resilient next-hop group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilient {
    /// Number of hash buckets. Each bucket belongs to one member of the group at a time.
    pub buckets: u16,
    /// After this time without a packet, a bucket may be given to another member of the group.
    pub idle_timer: Duration,
    /// After this time, a new member of the group gets its share of the buckets although they are in use. Zero means
    /// never.
    pub unbalanced_timer: Duration,
}

/// The kernel keeps times of groups in its own ticks, of which there may be 100, 250, 300 or 1000 in a second, and
/// tells them in hundredths of a second: a time may come back as another one by so much.
const ROUNDED: Duration = Duration::from_millis(30);

impl Resilient {
    /// Whether a group with these settings is one for which the others were asked.
    #[must_use]
    pub fn is_as(&self, asked: &Self) -> bool {
        let near = |one: Duration, other: Duration| one.abs_diff(other) <= ROUNDED;
        // No time at all is never another one.
        let same =
            |one: Duration, other: Duration| one.is_zero() == other.is_zero() && near(one, other);
        self.buckets == asked.buckets
            && same(self.idle_timer, asked.idle_timer)
            && same(self.unbalanced_timer, asked.unbalanced_timer)
    }
}

/// A next-hop object of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Number of the object, which routes and groups refer to.
    pub id: u32,
    /// Protocol number of the program that made the object.
    pub protocol: u8,
    /// Whether the object is one next hop or a group of them.
    pub kind: Kind,
}

/// What a next-hop object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object is one next hop.
    Hop(NextHop),
    /// The object is a resilient group of other next-hop objects, all of the same weight.
    Group {
        /// Numbers of its members.
        members: BTreeSet<u32>,
        /// Its settings.
        settings: Resilient,
    },
    /// The object is of a kind that this daemon never makes.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_rounds_is_the_same() {
        let of = |idle: u64, unbalanced: u64| Resilient {
            buckets: 128,
            idle_timer: Duration::from_millis(idle),
            unbalanced_timer: Duration::from_millis(unbalanced),
        };
        // 12,000 hundredths are 36,000 ticks of a 300th, which are told as 11,999 hundredths.
        for (told, is) in [
            (of(119_990, 0), true),
            (of(120_000, 0), true),
            (of(119_900, 0), false),
            (of(120_000, 10), false),
            (of(0, 0), false),
        ] {
            assert_eq!(told.is_as(&of(120_000, 0)), is, "{told:?}");
        }
        let other = Resilient {
            buckets: 64,
            ..of(120_000, 0)
        };
        assert!(!other.is_as(&of(120_000, 0)));
    }
}
