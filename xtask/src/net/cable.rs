//! Links that carry packets as a wire does.

use anyhow::Result;

use super::{
    ethtool::{self, Offload},
    netlink::{self, End},
};

/// Connects two ends, both up. What is left open on a veth pair is done before a packet leaves: checksums are whole and
/// segments are cut, without which native XDP at the far end cannot work.
pub fn cable(left: End<'_>, right: End<'_>) -> Result<()> {
    netlink::veth(left, right)?;
    for end in [left, right] {
        ethtool::set(end.namespace, end.name, Offload::TransmitChecksum, false)?;
        ethtool::set(end.namespace, end.name, Offload::Segmentation, false)?;
    }
    netlink::connect(left, right)
}
