//! Decides when a flow that is bound to a care-of address has ended.
//!
//! The data plane binds flows and notes when each side was last heard, but as long as a controller runs it does not end
//! them. From time to time a sweep looks at all bound flows and says which of them are over: they are idle, both ends
//! have closed them, or the member no longer answers. The packets of a flow that is no longer bound take the anycast
//! route again. A sweep also says which care-of addresses have failed, with all flows that are bound to them.

mod limits;
mod sweep;
mod sweeping;
mod waiting;

pub use limits::{Limits, goes_on};
pub use sweep::{End, Sweep, Sweeper, Use};
pub use sweeping::Sweeping;

#[cfg(test)]
mod hints;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod tests;
