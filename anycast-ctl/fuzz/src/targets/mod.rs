//! What must hold for any octets: a target for each decoder, and one for the controller.
//!
//! libFuzzer drives them (`cargo xtask fuzz`), and so does an ordinary test, with every recorded
//! packet and everything that fuzzing found (`anycast-ctl/tests/fuzz`). A target panics where a
//! property does not hold.

mod controller;
mod fleet;
mod icmpv6;
mod ipv6;
mod mld;
mod mobility;
mod neighbor;
mod repair;

pub use controller::controller;
pub use fleet::fleet;
pub use icmpv6::icmpv6;
pub use ipv6::ipv6;
pub use mld::mld;
pub use mobility::mobility;
pub use neighbor::neighbor;
