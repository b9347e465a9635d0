//! Keys and values of the maps. The maps themselves are declared in `anycast-ebpf/src/maps.rs`.

mod address;
mod cache;
mod correspondent;
mod fragment;
mod hints;
mod limits;
mod member;
mod next_hop;
mod node_key;
mod rules;
mod shared_hop;
mod sizes;
mod station;
mod traffic;

pub use self::{
    address::*, cache::*, correspondent::*, fragment::*, hints::*, limits::*, member::*,
    next_hop::*, node_key::*, rules::*, shared_hop::*, sizes::*, station::*, traffic::*,
};
