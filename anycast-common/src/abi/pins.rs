//! What outlives the daemon: maps that sessions need, pinned in the BPF file system.

use core::mem::offset_of;

use super::{
    flow_table::{Header, Set, Slot},
    maps::{
        BINDINGS, CareOf, CareOfKey, FLOWS, FRAGMENTS, Flow, FlowKey, Fragment, FragmentKey,
        MemberFlow,
    },
};

/// Where everything is, in a directory for each network namespace.
pub const DIRECTORY: &str = "/sys/fs/bpf/anycast";

/// To be raised when a field of these maps gets another meaning in the same place, or flows another place in their
/// table.
const MEANING: usize = 4;

/// A hash of what the pinned maps look like: a daemon takes over those of its own layout alone.
pub const LAYOUT: u32 = hash(&[
    MEANING,
    FLOWS as usize,
    BINDINGS as usize,
    FRAGMENTS as usize,
    size_of::<FlowKey>(),
    offset_of!(FlowKey, client),
    offset_of!(FlowKey, anycast),
    offset_of!(FlowKey, client_port),
    offset_of!(FlowKey, service_port),
    offset_of!(FlowKey, protocol),
    size_of::<Flow>(),
    offset_of!(Flow, care_of),
    offset_of!(Flow, pinned_at),
    offset_of!(Flow, last_out),
    offset_of!(Flow, last_in),
    offset_of!(Flow, delta),
    offset_of!(Flow, client_closed),
    offset_of!(Flow, member_closed),
    offset_of!(Flow, asked_at),
    offset_of!(Flow, unreachable_at),
    offset_of!(Flow, tried_at),
    offset_of!(Flow, tried_sequence),
    offset_of!(Flow, client_next),
    offset_of!(Flow, member_next),
    offset_of!(Flow, state),
    offset_of!(Flow, answered),
    offset_of!(Flow, tried),
    size_of::<Set>(),
    offset_of!(Set, tags),
    offset_of!(Set, heard),
    offset_of!(Set, classes),
    offset_of!(Set, slots),
    size_of::<Slot>(),
    offset_of!(Slot, key),
    offset_of!(Slot, check),
    offset_of!(Slot, flow),
    offset_of!(Header, secret),
    size_of::<CareOfKey>(),
    offset_of!(CareOfKey, client),
    offset_of!(CareOfKey, care_of),
    size_of::<CareOf>(),
    offset_of!(CareOf, anycast),
    offset_of!(CareOf, expires),
    offset_of!(CareOf, delta),
    size_of::<MemberFlow>(),
    offset_of!(MemberFlow, care_of),
    offset_of!(MemberFlow, last_in),
    offset_of!(MemberFlow, settles_at),
    offset_of!(MemberFlow, asks_at),
    offset_of!(MemberFlow, acknowledged),
    offset_of!(MemberFlow, sent),
    offset_of!(MemberFlow, client_end),
    offset_of!(MemberFlow, led_in),
    offset_of!(MemberFlow, by_anycast),
    offset_of!(MemberFlow, client_closed),
    offset_of!(MemberFlow, member_closed),
    offset_of!(MemberFlow, stage),
    offset_of!(MemberFlow, canaries),
    size_of::<FragmentKey>(),
    offset_of!(FragmentKey, source),
    offset_of!(FragmentKey, destination),
    offset_of!(FragmentKey, identification),
    offset_of!(FragmentKey, protocol),
    size_of::<Fragment>(),
    offset_of!(Fragment, address),
    offset_of!(Fragment, noted_at),
    offset_of!(Fragment, side),
]);

/// FNV-1a, a number at a time.
const fn hash(numbers: &[usize]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < numbers.len() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "sizes and offsets are small"
        )]
        let number = numbers[index] as u32;
        hash = (hash ^ number).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}
