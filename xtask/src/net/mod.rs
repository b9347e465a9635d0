//! Virtual networks for the lab and for tests. Everything in them is removed when the value that made it is dropped.
//! This module knows nothing about anycast, and needs no program such as `ip`.

mod answers;
pub mod bpf;
pub mod bpffs;
mod cable;
pub mod capture;
pub mod ethtool;
pub mod namespace;
pub mod netlink;
mod pace;
pub mod packet;
mod pass;
mod pcap;
mod pins;
mod prepare;
pub mod process;
mod ring;
pub mod routes;
mod sender;
mod site;
pub mod sysctl;
mod tcx;
mod tunnel;
pub mod wait;
mod wire;

pub use answers::with_answers;
pub use cable::cable;
pub use capture::Capture;
pub use namespace::Namespace;
pub use pace::Pace;
pub use pass::Pass;
pub use pins::directory as pins_directory;
pub use prepare::prepare;
pub use process::Process;
pub use sender::Sender;
pub use site::Site;
pub use tcx::{Direction, TcxCounter, Which};
pub use tunnel::Tunnel;
pub use wire::{Weather, Wire};
