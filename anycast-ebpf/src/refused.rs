//! The short way for a Report or Done that the policy has refused already: a host that may not join sends the same
//! octets again and again, and so does a simple flood.
//!
//! The whole message is remembered, so that its checksum is known to be right. A change of the policy ends all entries
//! at once. The short way gives the same result as the long one: it counts in the same way, and leaves the packet to
//! the long way when an example for the controller may be due.

use anycast_common::{
    abi::{
        counters::Counter,
        maps::{self, AGE, Address, Refused},
        policy::{ALLOWED, ethernet},
    },
    wire::mld::HOP_BY_HOP,
};
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    programs::XdpContext,
};

use crate::{
    checksum::folds_to_ones,
    count::count_index,
    hints::policy_age,
    limit,
    maps::REFUSED,
    mld,
    packet::{is_link_local, is_multicast},
    policy,
    transport::ICMPV6,
};

// Where fields are in a frame without a VLAN tag, with the Hop-by-Hop header that RFC 2710 has hosts
// send and nothing else.
const ETHERNET: usize = 6;
const LENGTH: usize = 18;
const SOURCE: usize = 22;
const DESTINATION: usize = 38;
const OPTIONS: usize = 54;
const MESSAGE: usize = 62;
const END: usize = 86;

/// Payload length, Hop-by-Hop Options, hop limit 1.
const LENGTH_HEADER_HOPS: u32 = u32::from_ne_bytes([0, 32, 0, 1]);
/// Router Alert with the value of MLD and padding, before ICMPv6.
const ROUTER_ALERT: u64 = u64::from_ne_bytes(HOP_BY_HOP);
/// FF02::2
const ALL_ROUTERS: [u64; 2] = [
    u64::from_ne_bytes([0xff, 2, 0, 0, 0, 0, 0, 0]),
    u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 2]),
];

/// The fields that differ between such frames.
struct Key {
    ethernet: u64,
    source: [u64; 2],
    message: [u64; 3],
}

impl Key {
    /// Reads the fields. `None` when the frame is of another kind.
    #[inline(always)]
    fn read(ctx: &XdpContext) -> Option<Self> {
        let frame = ctx.data() as *const u8;
        if ctx.data() + END > ctx.data_end() {
            return None;
        }
        // SAFETY: the bounds were checked; about alignment see `crate::packet::Bytes::at`.
        let word = |offset: usize| unsafe { *frame.add(offset).cast::<u64>() };
        // SAFETY: as above.
        if unsafe { *frame.add(LENGTH).cast::<u32>() } != LENGTH_HEADER_HOPS {
            return None;
        }
        let difference = (word(DESTINATION) ^ ALL_ROUTERS[0])
            | (word(DESTINATION + 8) ^ ALL_ROUTERS[1])
            | (word(OPTIONS) ^ ROUTER_ALERT);
        if difference != 0 {
            return None;
        }
        Some(Self {
            ethernet: word(ETHERNET),
            source: [word(SOURCE), word(SOURCE + 8)],
            message: [word(MESSAGE), word(MESSAGE + 8), word(MESSAGE + 16)],
        })
    }

    /// Index among the entries of this CPU. An attacker who has others share an entry only makes them slower.
    #[inline(always)]
    fn index(&self) -> u32 {
        let [_, anycast, service] = self.message;
        let mixed = self.ethernet ^ self.source[1].rotate_left(32) ^ service ^ anycast;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 & (maps::REFUSED - 1)
    }

    /// The first octet of the message.
    #[inline(always)]
    fn message_type(&self) -> u8 {
        self.message[0].to_ne_bytes()[0]
    }

    #[inline(always)]
    fn anycast(&self) -> Address {
        // SAFETY: both are 16 plain bytes.
        unsafe { core::mem::transmute([self.message[1], self.message[2]]) }
    }

    #[inline(always)]
    fn source(&self) -> Address {
        // SAFETY: as above.
        unsafe { core::mem::transmute(self.source) }
    }

    /// Whether the message is a valid Report or Done, regardless of the policy.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        let anycast = self.anycast();
        matches!(self.message_type(), mld::REPORT | mld::DONE)
            && is_link_local(&self.source())
            && !is_multicast(&anycast)
            && mld::can_be_anycast(&anycast)
            && self.checksum_holds()
    }

    /// ICMPv6 checksum (RFC 8200 section 8.1) of 24 octets to FF02::2.
    #[inline(always)]
    fn checksum_holds(&self) -> bool {
        let mut sum = u64::from(0xff02_u16.to_be())
            + u64::from(2_u16.to_be())
            + u64::from((mld::LENGTH as u16 + u16::from(ICMPV6)).to_be());
        let [a, b] = self.source;
        let [c, d, e] = self.message;
        for word in [a, b, c, d, e] {
            sum += (word & 0xffff_ffff) + (word >> 32);
        }
        folds_to_ones(sum)
    }
}

/// Drops and counts a frame that was refused before. `None` when the frame has to go the long way.
#[inline(always)]
pub(crate) fn again(ctx: &XdpContext) -> Option<u32> {
    let key = Key::read(ctx)?;
    let refused = REFUSED.get_ptr(key.index())?;
    // SAFETY: the slot belongs to this CPU, see `count`.
    let refused = unsafe { &*refused };
    let difference = (refused.ethernet ^ key.ethernet)
        | (refused.source[0] ^ key.source[0])
        | (refused.source[1] ^ key.source[1])
        | (refused.message[0] ^ key.message[0])
        | (refused.message[1] ^ key.message[1])
        | (refused.message[2] ^ key.message[2]);
    if difference != 0
        || refused.stamp != stamp()
        || refused.ifindex != ctx.ingress_ifindex() as u32
    {
        return match first_time(ctx, &key) {
            XDP_DROP => Some(XDP_DROP),
            _ => None,
        };
    }
    count(refused.rule.into(), refused.reason.into());
    Some(XDP_DROP)
}

/// The age of the policy, and the timer tick. In another tick an example for the controller may be due, which
/// `first_time` checks.
#[inline(always)]
fn stamp() -> u64 {
    (policy_age() + 1)
        .wrapping_mul(AGE)
        .wrapping_add(limit::jiffies())
}

#[inline(always)]
fn count(rule: u32, reason: u32) {
    policy::hit(rule);
    count_index(reason);
}

/// Asks the policy, if everything else about the message is valid. With any result but `XDP_DROP` the frame has to go
/// the long way.
#[inline(never)]
fn first_time(ctx: &XdpContext, key: &Key) -> u32 {
    if !key.is_valid() {
        return XDP_PASS;
    }
    // The age is read before the policy that it stands for.
    let stamp = stamp();
    let ifindex = ctx.ingress_ifindex() as u32;
    let [a, b, c, d, e, f, ..] = key.ethernet.to_ne_bytes();
    let mac = ethernet([a, b, c, d, e, f]);
    let rule = policy::search(&key.source(), &key.anycast(), mac, ifindex);
    if rule & ALLOWED != 0 {
        return XDP_PASS;
    }
    let reason = if key.message_type() == mld::REPORT {
        Counter::MldReportDenied
    } else {
        Counter::MldDoneDenied
    };
    // An example for the controller may be due.
    if !limit::has_no_example(reason as u32) {
        return XDP_PASS;
    }
    count(rule, reason as u32);
    remember(
        key,
        Refused {
            ethernet: key.ethernet,
            source: key.source,
            message: key.message,
            stamp,
            ifindex,
            rule: rule as u16,
            reason: reason as u16,
        },
    );
    XDP_DROP
}

#[inline(always)]
fn remember(key: &Key, refused: Refused) {
    if let Some(entry) = REFUSED.get_ptr_mut(key.index()) {
        // SAFETY: the slot belongs to this CPU, see `count`.
        unsafe { *entry = refused };
    }
}
