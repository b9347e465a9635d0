//! Which lists there are to show.

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Groups,
    Members,
    Bindings,
    Flows,
    Handshakes,
    Refusals,
    Counters,
}

impl View {
    pub(super) const ALL: [Self; 7] = [
        Self::Groups,
        Self::Members,
        Self::Bindings,
        Self::Flows,
        Self::Handshakes,
        Self::Refusals,
        Self::Counters,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Members => "members",
            Self::Bindings => "bindings",
            Self::Flows => "flows",
            Self::Handshakes => "handshakes",
            Self::Refusals => "refusals",
            Self::Counters => "counters",
        }
    }

    /// The list that stands so many places further.
    pub(super) fn further(self, places: usize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self);
        Self::ALL[(at.unwrap_or_default() + places) % Self::ALL.len()]
    }
}
