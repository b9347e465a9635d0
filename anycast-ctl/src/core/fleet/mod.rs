//! A fleet: several correspondents that act as one, because they have a secret in common, and tell each other of their
//! bindings and flows where there is a bus.

mod bus;
mod catch_up;
mod ends;
mod key;
mod message;
mod news;
mod octets;
mod peers;
mod published;
mod seal;
mod secret;
mod shown;
mod snapshot;
mod tell;
mod view;

#[cfg(test)]
mod tests;

pub use bus::Bus;
pub use ends::End;
pub use message::{NAME, Pins};
pub use news::News;
pub use peers::Unforgotten;
pub(super) use published::{Due, Published};
pub use seal::Id;
pub use secret::{Secret, SecretError};
pub use view::{PeerView, Status, StrangerView};

/// What a correspondent has to know of its fleet.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The secret that tokens are made with.
    pub secret: Secret,
    /// Another that is accepted besides, while the fleet changes its secret.
    pub previous: Option<Secret>,
    /// The name of this gateway among the others. `None` where there is no bus.
    pub name: Option<String>,
}
