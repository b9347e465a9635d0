//! The protocols, as pure state machines without a socket, a clock or a map.
//!
//! Every machine has the same shape: `new(settings)` makes it, its inputs take the time as an argument and append
//! [`Action`]s, and `poll(now, ..)` has to be called when [`deadline()`](router::Router::deadline) has come. The same
//! inputs at the same times with the same random seed give the same actions.

pub mod action;
pub mod controller;
pub mod correspondent;
pub mod counters;
pub mod fleet;
pub mod flows;
mod hash;
pub mod input;
pub mod member;
pub mod notice;
pub mod rate;
pub mod refusals;
pub mod router;
pub mod rr;
mod seconds;
pub mod time;
mod timers;

pub use action::{Action, Actions, CheckAction, GroupAction, MapAction, NextHop, RouteAction};
pub use input::{Link, Received};
pub use notice::Notice;
pub use time::Time;
