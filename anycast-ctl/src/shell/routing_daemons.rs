//! Routing daemons beside this one, which read our routes out of the kernel.
//!
//! zebra of FRR does not follow resilient next-hop groups of others. It drops without a word routes whose object has a
//! number with bit 28 or 29 set, such as ours, since it keeps these for EVPN. Objects with other numbers it takes for
//! its own: it writes back a group that changed, and makes an object anew that was deleted.
//!
//! BIRD reads next hops out of the route itself. The kernel tells those of an object there as long as
//! `net.ipv4.nexthop_compat_mode` is 1.

use std::{fs, path::Path};

const COMPAT_MODE: &str = "/proc/sys/net/ipv4/nexthop_compat_mode";

/// Whether zebra runs in this network namespace. False where that cannot be told.
#[must_use]
pub fn has_zebra() -> bool {
    has_zebra_socket() || has_zebra_process()
}

/// Whether there is a socket by which others talk to zebra. Unix sockets are listed by network namespace, also to a
/// process that may not look at others', as this daemon under its unit and in a container.
fn has_zebra_socket() -> bool {
    let sockets = fs::read_to_string("/proc/net/unix");
    sockets.is_ok_and(|sockets| sockets.lines().any(is_zebras))
}

/// A line of `/proc/net/unix` ends with the path of the socket.
fn is_zebras(line: &str) -> bool {
    let path = line.split_ascii_whitespace().nth(7).unwrap_or_default();
    ["/zserv.api", "/zebra.vty"]
        .iter()
        .any(|name| path.ends_with(name))
}

fn has_zebra_process() -> bool {
    let Ok(ours) = fs::read_link("/proc/self/ns/net") else {
        return false;
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let is_zebra = |process: &Path| {
        let comm = fs::read(process.join("comm"));
        comm.is_ok_and(|comm| comm == b"zebra\n")
            && fs::read_link(process.join("ns/net")).is_ok_and(|theirs| theirs == ours)
    };
    let mut found = processes.flatten();
    found.any(|process| is_zebra(&process.path()))
}

/// What to do about [`advice`].
pub const REMEDY: &str =
    "sysctl -w net.ipv4.nexthop_compat_mode=1, or set resilient = \"never\" in [router]";

/// What keeps routing daemons on this machine from reading routes with resilient next-hop groups, if anything does.
#[must_use]
pub fn advice() -> Option<String> {
    let mode = fs::read_to_string(COMPAT_MODE).ok()?;
    (mode.trim() == "0").then(|| {
        "resilient next-hop groups with net.ipv4.nexthop_compat_mode = 0: the kernel tells other daemons the number of \
         a group and not its next hops, and BIRD does not know what to do with such routes"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_zebra_is_known_by_its_name() {
        for (line, is) in [
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 5821 /var/run/frr/zserv.api",
                true,
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 5822 /run/frr/blue/zebra.vty",
                true,
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 5823 /run/frr/bgpd.vty",
                false,
            ),
            (
                "0000000000000000: 00000003 00000000 00000000 0001 03 5824",
                false,
            ),
            (
                "Num       RefCount Protocol Flags    Type St Inode Path",
                false,
            ),
        ] {
            assert_eq!(is_zebras(line), is, "{line}");
        }
    }
}
