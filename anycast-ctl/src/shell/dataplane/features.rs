//! Features of a device, which the kernel knows by names. `ethtool -k` lists them.

use super::driver;

const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
/// `ETH_SS_FEATURES`
const NAMES_OF_FEATURES: u32 = 4;
/// More than any kernel has; each is a bit of one of the blocks.
const MOST: usize = 32 * BLOCKS;
const BLOCKS: usize = 8;
/// `ETH_GSTRING_LEN`
const NAME: usize = 32;

/// `struct ethtool_sset_info`, for one set of names.
#[repr(C)]
struct SetInfo {
    command: u32,
    reserved: u32,
    sets: u64,
    count: u32,
}

/// `struct ethtool_gstrings`
#[repr(C)]
struct Names {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; NAME]; MOST],
}

/// `struct ethtool_get_features_block`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Block {
    available: u32,
    requested: u32,
    active: u32,
    never_changed: u32,
}

/// `struct ethtool_gfeatures`
#[repr(C)]
struct Features {
    command: u32,
    blocks: u32,
    block: [Block; BLOCKS],
}

/// An offload that takes VLAN tags off frames, and gives them to the kernel apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shell) struct TagOffload {
    /// What `ethtool -K` calls it.
    pub name: &'static str,
    /// Ethertype of the tags.
    pub tag: u16,
}

impl TagOffload {
    /// For the tags of customers (IEEE 802.1Q).
    pub(in crate::shell) const CUSTOMER: Self = Self {
        name: "rxvlan",
        tag: 0x8100,
    };
    /// For the tags of providers (IEEE 802.1ad), an offload of its own.
    pub(in crate::shell) const SERVICE: Self = Self {
        name: "rx-vlan-stag-hw-parse",
        tag: 0x88a8,
    };
}

/// What of this is on at the device.
pub(in crate::shell) fn tags_off(ifindex: u32) -> Vec<TagOffload> {
    let customer = driver::takes_tags_off(ifindex).then_some(TagOffload::CUSTOMER);
    // Only the older of the two has a flag in what all drivers answer.
    let service = is_on(ifindex, TagOffload::SERVICE.name).unwrap_or(false);
    let service = service.then_some(TagOffload::SERVICE);
    customer.into_iter().chain(service).collect()
}

/// Whether the feature with this name is on. `None` where the kernel does not know it, or does not tell.
fn is_on(ifindex: u32, feature: &str) -> Option<bool> {
    let mut info = SetInfo {
        command: GET_SET_INFO,
        reserved: 0,
        sets: 1 << NAMES_OF_FEATURES,
        count: 0,
    };
    // SAFETY: the kernel writes one number for each set that was asked for, behind the set's bits.
    unsafe { driver::ask(ifindex, &mut info) }?;
    let count = usize::try_from(info.count).ok();
    count.filter(|count| info.sets != 0 && *count <= MOST)?;
    let mut names = Names {
        command: GET_STRINGS,
        set: NAMES_OF_FEATURES,
        count: info.count,
        names: [[0; NAME]; MOST],
    };
    // SAFETY: the kernel writes as many names as it has just said, which is the same for all devices as long as it
    // runs, and there is room for these.
    unsafe { driver::ask(ifindex, &mut names) }?;
    let mut features = Features {
        command: GET_FEATURES,
        blocks: u32::try_from(BLOCKS).ok()?,
        block: [Block::default(); BLOCKS],
    };
    // SAFETY: the kernel writes no more blocks than the request has.
    unsafe { driver::ask(ifindex, &mut features) }?;
    let number = position(&names.names, feature)?;
    let block = features.block.get(number / 32)?;
    Some(block.active & (1 << (number % 32)) != 0)
}

fn position(names: &[[u8; NAME]], wanted: &str) -> Option<usize> {
    names.iter().position(|name| {
        let length = name.iter().position(|octet| *octet == 0);
        name.get(..length.unwrap_or(NAME)) == Some(wanted.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_features_of_the_loopback_interface_by_name() {
        // Linux sets both for each such device, and lets nobody change them.
        assert_eq!(is_on(1, "loopback"), Some(true));
        assert_eq!(is_on(1, TagOffload::SERVICE.name), Some(false));
        assert_eq!(is_on(1, "no-such-feature"), None);
        assert_eq!(is_on(u32::MAX, "loopback"), None);
        assert_eq!((tags_off(1), tags_off(u32::MAX)), (vec![], vec![]));
    }
}
