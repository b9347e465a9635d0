//! The member: tells routers that it serves anycast addresses (RFC 2710 section 5, draft
//! host-anycast), and binds its clients to its own unicast address (RFC 6275 section 11, draft
//! anycast-rr).

mod arrived;
mod context;
mod flush;
mod followers;
mod group;
mod hand_on;
mod handshake;
pub mod health;
mod listener;
mod listeners;
mod membership;
mod mobility;
mod neighbor;
mod peers;
mod reconfigure;
mod refusal;
mod role;
mod settings;
mod view;

#[cfg(test)]
mod tests;

pub use group::Unserved;
pub use health::{Finding, HealthSettings};
pub use peers::{Peers, PeersError};
pub use role::{CommandError, Member};
pub use settings::{GroupSettings, HandshakeSettings, ListenerTimers, Settings};
pub use view::{
    Awaited, GroupView, HandshakeCursor, HandshakeFilter, HandshakeState, HandshakeView, Health,
    HealthView, Heard, InterfaceView, QueryView,
};
