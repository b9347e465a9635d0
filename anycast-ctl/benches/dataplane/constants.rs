//! Addresses, ports and actions of all cases.

pub const A: &str = "2001:db8:1::100";
pub const B: &str = "2001:db8:a::53";
/// Behind the interface that the client is behind, and behind another.
pub const NEAR: &str = "2001:db8:1::c1";
pub const FAR: &str = "2001:db8:20::c1";
pub const ELSEWHERE: &str = "2001:db8:b::1";
pub const PORTS: (u16, u16) = (40000, 80);
/// Flows of the cases with many.
pub const FLOWS: u16 = 32_768;
/// How the names of those cases end.
pub const MANY: &str = "32,768 flows";

pub const DROP: u32 = 1;
pub const PASS: u32 = 2;
pub const TX: u32 = 3;
pub const REDIRECT: u32 = 4;
