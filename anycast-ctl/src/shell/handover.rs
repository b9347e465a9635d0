//! State that outlives the daemon, for its next run.

use std::path::PathBuf;

use super::{clock, engine::Engine, memory};

/// What the daemon leaves behind when it ends.
#[derive(Debug)]
pub(super) struct Handover {
    keep_programs: bool,
    keep_routes: bool,
    nonces: Option<PathBuf>,
}

impl Handover {
    /// If `keep_programs` is true, the programs stay attached while sessions need them, and routes stay if
    /// `keep_routes` is. The nonces of the correspondent are kept in the file `nonces`.
    pub(super) fn new(keep_programs: bool, keep_routes: bool, nonces: Option<PathBuf>) -> Self {
        Self {
            keep_programs,
            keep_routes,
            nonces,
        }
    }

    /// Whether the programs stay attached when the daemon ends, if sessions need them.
    pub(super) fn keeps_programs(&self) -> bool {
        self.keep_programs
    }

    /// Whether the routes to members stay when the daemon ends.
    pub(super) fn keeps_routes(&self) -> bool {
        self.keep_routes
    }

    /// Gives the correspondent what it knew before a restart. Without that, the handshakes that are under way have to
    /// start again.
    pub(super) fn recall(&self, core: &mut Engine) {
        let (Some(path), Some(role)) = (&self.nonces, core.correspondent_mut()) else {
            return;
        };
        let restored = match memory::recall(path) {
            Ok(None) => return,
            Ok(Some((saved, elapsed))) => role
                .restore(clock::now(), &saved, elapsed)
                .map_err(memory::Error::from),
            Err(error) => Err(error),
        };
        let file = path.display();
        match restored {
            Ok(nonces) => tracing::info!(%file, nonces, "nonces of the last run go on"),
            Err(error) => tracing::warn!(%file, %error, "nonces are made anew"),
        }
    }

    /// Saves what the correspondent knows for the next run.
    pub(super) fn save(&self, core: &Engine) {
        if let (Some(path), Some(role)) = (&self.nonces, core.controller().correspondent())
            && let Err(error) = memory::keep(path, &role.save(clock::now()))
        {
            tracing::warn!(file = %path.display(), %error, "nonces are not kept");
        }
    }
}
