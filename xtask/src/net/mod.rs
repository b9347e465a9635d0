//! Virtual networks for the lab and for tests: everything in them ends with the value that made it.
//! Nothing here knows what anycast is, and no program such as `ip` is needed.

pub mod bpf;
pub mod capture;
pub mod ethtool;
mod frames;
pub mod namespace;
pub mod netlink;
pub mod packet;
mod pass;
mod pcap;
pub mod process;
mod ring;
pub mod routes;
mod site;
pub mod sysctl;
pub mod wait;

pub use capture::Capture;
pub use frames::Frames;
pub use namespace::Namespace;
pub use pass::Pass;
pub use process::Process;
pub use site::Site;
