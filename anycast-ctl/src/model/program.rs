//! Which program an interface gets, and how it is attached.

use serde::{Deserialize, Serialize};

/// How programs are attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Native XDP where the driver supports it, otherwise TCX.
    #[default]
    Auto,
    /// XDP in the driver. Where the driver does not support it, attaching fails.
    Native,
    /// XDP in the kernel's network stack. It works on every device, but each packet costs an skb, and most packets are
    /// copied.
    Generic,
    /// TCX, which also runs in the kernel's network stack, but after the merging of segments (GRO), which XDP has to
    /// turn off. It is the only mode that sees packets which this host itself sends.
    Tcx,
}

/// Who forwards the packets of bound flows at a correspondent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// What the mode says: XDP sends them itself, past the kernel's filters, and TCX leaves them to the kernel.
    #[default]
    Mode,
    /// The kernel, whatever the mode is. The programs are attached by TCX then.
    Kernel,
}

/// What the configuration wants attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Union of the [`roles`] that are configured on the interface.
    pub roles: u8,
    /// How the programs are attached.
    pub mode: Mode,
}

/// What the packets of a device begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// The IP header: tunnels, WireGuard, PPP.
    Bare,
    /// Nothing: it is a VRF, and what comes in never passes the device itself.
    Vrf,
    /// Something else, with this number of the kernel (`ARPHRD_`).
    Other(u16),
}

/// An interface to which programs are to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the interface.
    pub ifindex: u32,
    /// What its packets begin with.
    pub framing: Framing,
    /// Why XDP would be wrong there, although the kernel may take it. A sentence without its end.
    pub no_xdp: Option<String>,
    /// Why XDP in the driver costs something when it comes, so that it is for who asks for it. Likewise.
    pub dear_native: Option<String>,
    /// Why XDP in the kernel's stack would be wrong there, although that in the driver may be right. Likewise.
    pub no_generic: Option<&'static str>,
}

impl Place {
    /// An Ethernet device for which every mode is right.
    #[must_use]
    pub const fn ethernet(ifindex: u32) -> Self {
        Self {
            ifindex,
            framing: Framing::Ethernet,
            no_xdp: None,
            dear_native: None,
            no_generic: None,
        }
    }

    /// Why a mode that somebody asks for would be wrong there.
    #[must_use]
    pub fn refuses(&self, mode: Mode) -> Option<&str> {
        match mode {
            Mode::Auto | Mode::Tcx => None,
            Mode::Native => self.no_xdp.as_deref(),
            Mode::Generic => self.no_xdp.as_deref().or(self.no_generic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_refused_by_no_place() {
        let tags = Place {
            no_xdp: Some("tags".to_owned()),
            no_generic: Some("checksums"),
            ..Place::ethernet(1)
        };
        let checksums = Place {
            no_xdp: None,
            ..tags.clone()
        };
        for (mode, by_tags, by_checksums) in [
            (Mode::Auto, None, None),
            (Mode::Tcx, None, None),
            (Mode::Native, Some("tags"), None),
            (Mode::Generic, Some("tags"), Some("checksums")),
        ] {
            assert_eq!(tags.refuses(mode), by_tags, "{mode:?}");
            assert_eq!(checksums.refuses(mode), by_checksums, "{mode:?}");
        }
    }
}
