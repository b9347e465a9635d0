//! The files that `capture` writes, as tshark reads them. What is in them is in the suite `scenarios`.
#![allow(clippy::cast_possible_truncation, reason = "all numbers are small")]

use std::{fs::File, process::Command};

use anycast_common::abi::{
    capture::{Head, REASONS},
    counters::Counter,
};
use anycast_ctl::shell::capture::{Hook, Seen, Writer};
use anyhow::{Result, ensure};
use xtask::net::Site;
use zerocopy::FromZeros as _;

/// An empty datagram from 2001:db8:1::100 to an address that ends so, behind an Ethernet header.
fn datagram(last: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
    for (subnet, host) in [(1, [1, 0]), (0xa, [0, last])] {
        frame.extend([0x20, 1, 0xd, 0xb8, 0, subnet, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(host);
    }
    frame.extend([0x30, 0x39, 0x1e, 0x61, 0, 8, 0, 0]);
    frame
}

pub fn file() -> Result<()> {
    let site = Site::claim("accap")?;
    let path = site.directory().join("file.pcapng");
    let mut file = Writer::new(File::create(&path)?)?;
    let (before, after) = (datagram(0x53), datagram(0xc1));
    let mut head = Head::new_zeroed();
    let mut see = |hook, program: &str, verdict, reasons: &[u32], after: &[u8]| {
        head.cookie += 1;
        head.number += 1;
        head.time += 1000;
        head.took = 250;
        head.ifindex = 1;
        head.verdict = verdict;
        head.counted = reasons.len() as u32;
        head.reasons = [0; REASONS];
        for (at, reason) in head.reasons.iter_mut().zip(reasons) {
            *at = *reason as u16;
        }
        // It was longer than what was captured.
        (head.before, head.before_whole) = (before.len() as u32, 1514);
        (head.after, head.after_whole) = (after.len() as u32, 1514);
        file.packet(&Seen {
            program,
            hook,
            bare: program.ends_with('3'),
            head,
            known: true,
            before: if program.ends_with('3') {
                &before[14..]
            } else {
                &before
            },
            after,
        })
    };
    see(Hook::Xdp, "anycast_c", 4, &[], &after)?;
    let denied = [Counter::MldReportDenied as u32];
    see(Hook::Xdp, "anycast_r", 1, &denied, &before)?;
    see(Hook::Tcx, "anycast_m_out3", -1, &[], &after[14..])?;
    let written = file.written();
    ensure!((written.packets, written.changed) == (3, 2), "{written:?}");
    file.flush()?;

    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=;", "-r"]);
    command.arg(&path);
    for field in [
        "frame.packet_id",
        "frame.interface_name",
        "ipv6.dst",
        "udp.dstport",
        "frame.len",
        "frame.verdict.ebpf_xdp",
        "frame.verdict.ebpf_tc",
        "frame.comment",
    ] {
        command.args(["-e", field]);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark: {said}");
    let steered = "anycast_c: redirect (correspondent_to_care_of, forwarded), 250 ns";
    let expected = [
        format!("1;lo;2001:db8:a::53;7777;1514;4;;before {steered}"),
        format!("1;lo;2001:db8:a::c1;7777;1514;4;;after {steered}"),
        "2;lo;2001:db8:a::53;7777;1514;1;;anycast_r: drop (mld_report_denied), 250 ns".to_owned(),
        "3;lo;2001:db8:a::53;7777;1514;;-1;before anycast_m_out3: pass, 250 ns".to_owned(),
        "3;lo;2001:db8:a::c1;7777;1514;;-1;after anycast_m_out3: pass, 250 ns".to_owned(),
    ];
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines == expected, "{lines:#?}");
    Ok(())
}
