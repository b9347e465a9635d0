//! A fleet: several correspondents that act as one, because they have a secret in common.

mod secret;

pub use secret::{Secret, SecretError};

/// What a correspondent has to know of its fleet.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The secret that tokens are made with.
    pub secret: Secret,
    /// Another that is accepted besides, while the fleet changes its secret.
    pub previous: Option<Secret>,
}
