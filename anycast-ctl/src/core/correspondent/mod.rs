//! The correspondent: binds (A, B) to C for the clients in its prefixes (RFC 6275 section 9, draft anycast-rr). It
//! keeps no state for a member until a Binding Update proves that the member receives at B and C.

mod adopt;
mod ahead;
mod answer;
mod authorize;
mod bindings;
mod by_age;
mod cache;
mod elsewhere;
mod ended;
mod failure;
mod fleet;
mod generation;
mod in_use;
mod judge;
mod judging;
mod keys;
mod limiter;
mod live;
mod memory;
mod nonces;
mod offer;
mod origin;
mod periods;
mod recent;
mod role;
mod selection;
mod sequences;
mod settings;
mod spread;
mod tally;
mod trial;
mod trials;
mod triple;
mod update;
mod view;

#[cfg(test)]
mod tests;

pub use memory::MemoryError;
pub use origin::Origin;
pub use role::Correspondent;
pub use selection::Selection;
pub use settings::{Limits, Settings};
pub use view::{BindingCursor, BindingView};

use role::{changed, leads, steers};
pub(in crate::core) use settings::contains;
