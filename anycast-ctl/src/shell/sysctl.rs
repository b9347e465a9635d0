//! Checks kernel settings without which the protocol works badly, and names the command that corrects them.

use std::path::Path;

const HASH_POLICY: &str = "/proc/sys/net/ipv6/fib_multipath_hash_policy";
const HASH_FIELDS: &str = "/proc/sys/net/ipv6/fib_multipath_hash_fields";
const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
/// Hash policy: hash over the fields that another setting chooses.
const CUSTOM: u32 = 3;
/// Fields of the hash: source and destination address.
const ADDRESSES: u32 = 0x0003;

/// Says what multipath hashing means for members, if anything. By other fields than the addresses, flows of one client
/// are spread over the members, and the Home Test, which has no ports, reaches one of them. Each member binds its own
/// flows where the members know each other as `peers`.
#[must_use]
pub fn multipath_hash() -> Option<String> {
    advice(read(HASH_POLICY.as_ref())?, read(HASH_FIELDS.as_ref())?)
}

fn advice(policy: u32, fields: u32) -> Option<String> {
    if policy == CUSTOM && fields == ADDRESSES {
        return None;
    }
    Some(format!(
        "net.ipv6.fib_multipath_hash_policy is {policy} (fields {fields:#06x}): flows of one client are spread over the \
         members. Sessions are safe; members without `peers` bind only some of them (docs/network.md)"
    ))
}

/// Whether this host forwards packets.
pub(super) fn forwards() -> Option<bool> {
    read(FORWARDING.as_ref()).map(|value| value != 0)
}

fn read(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hash_over_both_addresses_is_silent() {
        assert_eq!(advice(3, 3), None);
        for (policy, fields) in [(0, 7), (1, 3), (3, 7), (3, 1)] {
            let advice = advice(policy, fields).expect("advice");
            assert!(advice.contains("members without `peers`"), "{advice}");
        }
    }
}
