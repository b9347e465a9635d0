//! Virtual networks for the lab and for tests: everything in them ends with the value that made it.
//! Nothing here knows what anycast is, and no program such as `ip` is needed.

pub mod bpf;
pub mod bpffs;
pub mod capture;
pub mod ethtool;
pub mod namespace;
pub mod netlink;
pub mod packet;
mod pass;
mod pcap;
mod pins;
pub mod process;
mod ring;
pub mod routes;
mod sender;
mod site;
pub mod sysctl;
mod tcx;
pub mod wait;

pub use capture::Capture;
pub use namespace::Namespace;
pub use pass::Pass;
pub use process::Process;
pub use sender::Sender;
pub use site::Site;
pub use tcx::{Direction, TcxCounter, Which};
