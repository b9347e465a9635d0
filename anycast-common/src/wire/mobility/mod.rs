//! The Mobility Header (RFC 6275 section 6.1), protocol 135, as far as return routability uses it.
//!
//! Decisions where the RFC leaves room:
//!
//! - An option that we know and that its message may carry once is refused when it stands twice
//!   ([`Error::DuplicateOption`]): two care-of addresses under one authenticator have no one meaning.
//! - An option that is known but not valid in its message is skipped like an unknown one.
//! - Alignment is kept on sending and not enforced on receipt; lengths are.
//! - Octets between the end of the Mobility Header and the end of the payload are ignored, as
//!   RFC 8200 section 4.7 has it for Next Header 59.

mod authenticator;
mod message;
mod numbers;
mod option;
mod update;

pub use authenticator::{Authenticated, authenticated, covered, set_authenticator};
pub use message::Message;
pub use numbers::{HOP_LIMIT, MAX_PACKET_LEN, error_status, mh_type};
pub use update::{BindingAck, BindingUpdate, Flags, status};

#[cfg(doc)]
use super::Error;
