//! Which programs an interface gets.

use serde::{Deserialize, Serialize};

/// How programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Native where the driver has it, else TCX.
    #[default]
    Auto,
    /// XDP in the driver, or not at all.
    Native,
    /// XDP in the kernel's stack: works everywhere, costs an skb per packet, and a copy of most.
    Generic,
    /// TCX: in the kernel's stack, too, behind its merging of segments, which XDP gives up. The only one
    /// that sees what this host itself sends.
    Tcx,
}

/// What a configuration wants of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Union of its [`roles`].
    pub roles: u8,
    /// How XDP is attached.
    pub mode: Mode,
}
