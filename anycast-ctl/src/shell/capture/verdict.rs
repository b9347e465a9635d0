//! What programs do with packets, and which packets those are.

use anycast_common::abi::capture::Head;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// TCX.
    Tcx,
}

/// What a program does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verdict {
    /// It goes on in the kernel
    Pass,
    /// It is dropped
    Drop,
    /// It leaves by another way than the kernel's
    Redirect,
    /// It goes back where it came from
    Tx,
    /// The program failed
    Aborted,
}

impl Verdict {
    const ALL: [Self; 5] = [
        Self::Pass,
        Self::Drop,
        Self::Redirect,
        Self::Tx,
        Self::Aborted,
    ];

    /// What programs of this hook return.
    pub(super) const fn returned(self, hook: Hook) -> &'static [i32] {
        match (self, hook) {
            (Self::Pass, Hook::Xdp) => &[2],
            (Self::Drop, Hook::Xdp) => &[1],
            (Self::Redirect, Hook::Xdp) => &[4],
            (Self::Tx, Hook::Xdp) => &[3],
            (Self::Aborted, Hook::Xdp) => &[0],
            // To the next program, or past it.
            (Self::Pass, Hook::Tcx) => &[-1, 0],
            (Self::Drop, Hook::Tcx) => &[2],
            (Self::Redirect, Hook::Tcx) => &[7],
            (Self::Tx | Self::Aborted, Hook::Tcx) => &[],
        }
    }

    /// What a program returned.
    pub(crate) fn of(returned: i32, hook: Hook) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|verdict| verdict.returned(hook).contains(&returned))
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Redirect => "redirect",
            Self::Tx => "tx",
            Self::Aborted => "aborted",
        }
    }
}

/// A packet that a program saw.
pub struct Seen<'a> {
    /// The program.
    pub program: &'a str,
    /// Where it is.
    pub hook: Hook,
    /// Whether its packets have no Ethernet header.
    pub bare: bool,
    /// What is known of it.
    pub head: Head,
    /// Whether the numbers of counters are those of this version.
    pub known: bool,
    /// The packet as the program got it.
    pub before: &'a [u8],
    /// And as it left it.
    pub after: &'a [u8],
}
