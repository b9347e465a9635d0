//! A namespace as the lab and the tests want it.

use anyhow::Result;

use super::{Namespace, netlink, sysctl};

/// Makes the addresses of a namespace those that it is given, usable at once: none by autoconfiguration or from Router
/// Advertisements, and no Duplicate Address Detection. Its `lo` is up. Concerns the interfaces that are made later.
pub fn prepare(namespace: &Namespace) -> Result<()> {
    sysctl::set(
        namespace,
        &[
            ("ipv6/conf/default/addr_gen_mode", "1"),
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/all/accept_ra", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
        ],
    )?;
    netlink::up(namespace, "lo")
}
