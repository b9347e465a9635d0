//! Where bindings come from.

/// Where a binding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its Binding Update came to this correspondent.
    Own,
    /// Another gateway of the fleet got it, and passed it on.
    Fleet,
    /// It was in the snapshot of another gateway.
    Snapshot,
}

impl Origin {
    /// The name that `bindings` shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Fleet => "fleet",
            Self::Snapshot => "snapshot",
        }
    }
}
