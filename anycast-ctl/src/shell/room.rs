//! Room in the kernel's tables.

use super::finding::Finding;

/// How full the table of neighbours may be, in percent.
const FULL: u64 = 75;

/// What is to be said about the table of neighbours, in which a router has one for each member, and a gateway one for
/// each client of its links. `most` is `gc_thresh3`, `statistics` what /proc/net/stat/ndisc_cache says; a network
/// namespace has neither, and shares the table.
pub(super) fn neighbours(most: Option<u32>, statistics: Option<String>) -> Option<Finding> {
    let (most, statistics) = (most?, statistics?);
    // Below the names of the columns there is a line for each processor, of which the first number is that of all.
    let entries = statistics.lines().nth(1)?.split_whitespace().next()?;
    let entries = u32::from_str_radix(entries, 16).ok()?;
    (u64::from(entries) * 100 > u64::from(most) * FULL).then(|| {
        Finding::new(
            "neighbours",
            format!(
                "the kernel has {entries} IPv6 neighbours and room for {most}, beyond which it drops packets"
            ),
            "sysctl -w net.ipv6.neigh.default.gc_thresh3=8192 net.ipv6.neigh.default.gc_thresh2=4096",
        )
    })
}
