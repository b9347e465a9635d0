//! Plain values that the configuration and the shell share. They hold data and have no effect outside the process.
//!
//! The configuration makes these values and the shell acts on them, so that neither has to import the other.

pub mod address;
pub mod bus;
pub mod health;
pub mod limits;
pub mod mac;
pub mod nexthop;
pub mod policy;
pub mod program;
pub mod route;
pub mod sizes;
