//! A sum over a whole packet, as a device makes it (`CHECKSUM_COMPLETE`), which has to stay right at TCX.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anycast_common::abi::roles::CORRESPONDENT;
use anyhow::{Result, ensure};
use xtask::kernel_tests::Suite;

use crate::{
    forward::{A, B, BACK, C, PORTS, set},
    harness::{At, Bench, Hook},
    icmp_error::{HOP, TOO_BIG, UNREACHABLE, coded, error},
    packets::{ACK, Packet, SYN, UDP, address},
    tcx::to,
};

/// Communication with the destination is administratively prohibited (RFC 4443 section 3.1).
const PROHIBITED: u8 = 1;

pub fn tests(suite: Suite) -> Suite {
    suite.test("TCX: a sum that the device made stays right", device_sums)
}

/// `union bpf_attr` of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in: u32,
    context_out: u32,
    contexts: [u64; 2],
    flags: u32,
    rest: [u32; 3],
}

/// Runs the bench's program with a sum over the packet, as a device makes it (`CHECKSUM_COMPLETE`), and
/// has the kernel compare it with what the packet has become. The frame after that.
fn with_sum(bench: &mut Bench, frame: &[u8]) -> std::io::Result<Vec<u8>> {
    const PROG_TEST_RUN: nix::libc::c_long = 10;
    const CHECKSUM_COMPLETE: u32 = 1 << 2;
    let program = match bench.hook {
        Hook::TcxOut => bench.dataplane.tcx_egress(CORRESPONDENT),
        Hook::Xdp | Hook::Tcx => bench.dataplane.tcx(CORRESPONDENT),
    };
    let program = program.map_err(std::io::Error::other)?;
    let program = program.fd().map_err(std::io::Error::other)?;
    // For the loopback interface, which has an address of zeros.
    let mut given = frame.to_vec();
    given[..6].fill(0);
    let mut out = vec![0; frame.len()];
    let size = u32::try_from(frame.len()).map_err(std::io::Error::other)?;
    let attribute = TestRun {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        size_in: size,
        size_out: size,
        data_in: given.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        flags: CHECKSUM_COMPLETE,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads and writes no more than the sizes that it is told.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_bpf,
            PROG_TEST_RUN,
            &raw const attribute,
            size_of::<TestRun>(),
        )
    };
    nix::errno::Errno::result(result)?;
    out[..6].copy_from_slice(&frame[..6]);
    Ok(out)
}

/// What a packet of each kind becomes, in both directions, errors and fragments among them.
fn device_sums() -> Result<()> {
    let _at = At::new(Hook::TcxOut);
    let mut bench = Bench::new(CORRESPONDENT, true)?;
    set(&mut bench, C)?;
    let sent = Packet::tcp(A, B, PORTS, ACK);
    let seen = to(C, &sent);
    let data = Packet::udp(A, B, PORTS, b"an odd size");
    let first = data.clone().fragment(0, true);
    // No header of UDP is in it.
    let rest = Packet::raw(A, B, UDP, vec![7; 21]).fragment(8, false);
    let from = |packet: &Packet, source: &str| packet.clone().with(|p| p.source = address(source));
    let answer = Packet::tcp(C, A, BACK, ACK);
    let opens = Packet::tcp(A, B, PORTS, SYN);
    for (before, after) in [
        (opens.clone(), to(C, &opens)),
        (sent.clone(), seen.clone()),
        (data.clone(), to(C, &data)),
        (first.clone(), to(C, &first)),
        (rest.clone(), to(C, &rest)),
        (answer.clone(), from(&answer, B)),
        (error(HOP, A, TOO_BIG, &seen), error(HOP, A, TOO_BIG, &sent)),
        (
            coded(PROHIBITED, error(C, A, UNREACHABLE, &seen)),
            coded(PROHIBITED, error(B, A, UNREACHABLE, &sent)),
        ),
        (
            error(HOP, A, TOO_BIG, &to(C, &first)),
            error(HOP, A, TOO_BIG, &first),
        ),
        (
            error(HOP, A, TOO_BIG, &to(C, &rest)),
            error(HOP, A, TOO_BIG, &rest),
        ),
    ] {
        match with_sum(&mut bench, &before.frame()) {
            // Linux before 6.16 makes no such sums for a test.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {
                println!("not with this kernel");
                return Ok(());
            }
            result => ensure!(result? == after.frame(), "{before:?}"),
        }
    }
    Ok(())
}
