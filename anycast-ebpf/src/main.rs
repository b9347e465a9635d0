//! The kernel side: XDP and TCX programs of the three roles.
//!
//! `parse` finds a packet's headers, `classify` says what it is, `router`, `member` and `correspondent` what each role
//! does with it, `answer` with `token` and `sha1` how a correspondent answers Test Inits, `fast` and `refused` are
//! short ways for what was decided before, `context` with `xdp` and `skb` how hooks differ, `rewrite` and `forward`
//! change and send it, `punt` gives it to the controller. `global` makes the functions that the verifier follows once.
//! The roles of an interface are a constant of the program attached there, so a program holds only the branches that
//! its interface needs.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "offsets are bounded by the packet, sizes are constants"
)]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key that is lent is not copied"
)]

#[cfg(target_arch = "bpf")]
mod admission;
#[cfg(target_arch = "bpf")]
mod answer;
#[cfg(target_arch = "bpf")]
mod care_of_unreachable;
#[cfg(target_arch = "bpf")]
mod change;
#[cfg(target_arch = "bpf")]
mod checksum;
#[cfg(target_arch = "bpf")]
mod classify;
#[cfg(target_arch = "bpf")]
mod context;
#[cfg(target_arch = "bpf")]
mod correspondent;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod disowned;
#[cfg(target_arch = "bpf")]
mod ending;
#[cfg(target_arch = "bpf")]
mod fast;
#[cfg(target_arch = "bpf")]
mod first_packet;
#[cfg(target_arch = "bpf")]
mod flow_cache;
#[cfg(target_arch = "bpf")]
mod flow_table;
#[cfg(target_arch = "bpf")]
mod forward;
#[cfg(target_arch = "bpf")]
mod fragment;
#[cfg(target_arch = "bpf")]
mod from_client;
#[cfg(target_arch = "bpf")]
mod from_member;
#[cfg(target_arch = "bpf")]
mod global;
#[cfg(target_arch = "bpf")]
mod hints;
#[cfg(target_arch = "bpf")]
mod icmp_error;
#[cfg(target_arch = "bpf")]
mod in_use;
#[cfg(target_arch = "bpf")]
mod lead;
#[cfg(target_arch = "bpf")]
mod limit;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod member;
#[cfg(target_arch = "bpf")]
mod member_egress;
#[cfg(target_arch = "bpf")]
mod member_flow;
#[cfg(target_arch = "bpf")]
mod mld;
#[cfg(target_arch = "bpf")]
mod next_hop;
#[cfg(target_arch = "bpf")]
mod own;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod parse;
#[cfg(target_arch = "bpf")]
mod policy;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod punt;
#[cfg(target_arch = "bpf")]
mod question;
#[cfg(target_arch = "bpf")]
mod quote;
#[cfg(target_arch = "bpf")]
mod quoted;
#[cfg(target_arch = "bpf")]
mod quoted_flow;
#[cfg(target_arch = "bpf")]
mod rates;
#[cfg(target_arch = "bpf")]
mod refused;
#[cfg(target_arch = "bpf")]
mod reply;
#[cfg(target_arch = "bpf")]
mod requote;
#[cfg(target_arch = "bpf")]
mod rewrite;
#[cfg(target_arch = "bpf")]
mod segment;
#[cfg(target_arch = "bpf")]
mod sha1;
#[cfg(target_arch = "bpf")]
mod shared;
#[cfg(target_arch = "bpf")]
mod shared_hop;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod skb_short;
#[cfg(target_arch = "bpf")]
mod sketch;
#[cfg(target_arch = "bpf")]
mod station;
#[cfg(target_arch = "bpf")]
mod steer;
#[cfg(target_arch = "bpf")]
mod tcx;
#[cfg(target_arch = "bpf")]
mod token;
#[cfg(target_arch = "bpf")]
mod traffic;
#[cfg(target_arch = "bpf")]
mod transport;
#[cfg(target_arch = "bpf")]
mod trial;
#[cfg(target_arch = "bpf")]
mod unwanted;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The macros of aya-log name their crate; `log` stands in for it.
#[cfg(target_arch = "bpf")]
extern crate self as aya_log_ebpf;
#[cfg(target_arch = "bpf")]
use log as macro_support;

/// The licence decides which helpers the kernel lets the programs call.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

// The host build of the workspace sees an empty program; the real one has the BPF target.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
