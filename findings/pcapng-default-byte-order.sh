#!/usr/bin/env bash
# A section header of pcapng that is made by Default has another byte order than the writer's own.
#
# Versions   crate pcap-file 3.0.0-rc.3, on a little-endian machine
# Expected   PcapNgWriter::new() documents the byte order of the machine, and Endianness::default() is that. So
#            SectionHeaderBlock { options, ..Default::default() }, the way to give a header options of its own, was
#            expected to differ from the writer's header in its options alone.
# Seen       SectionHeaderBlock::default() is big-endian. The file is a valid one and readers follow it, but every block
#            behind it is written in the other byte order too, and values of options that the caller encodes by itself
#            (flags, verdicts and packet ids of enhanced packets are raw octets) are read turned round.
# Source     Default of SectionHeaderBlock in src/pcapng/blocks/section_header.rs, of Endianness in src/common.rs;
#            draft-ietf-opsawg-pcapng section 4.1: the Byte-Order Magic says how all of a section is encoded.
# Lesson     Name the byte order of a section header: `endianness: Endianness::native()`.
set -euo pipefail
shopt -s inherit_errexit

command -v cargo >/dev/null || { echo "needs cargo" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'T'
[package]
name = "byte-order"
version = "0.0.0"
edition = "2021"

[dependencies]
pcap-file = "=3.0.0-rc.3"
T
cat >src/main.rs <<'R'
use pcap_file::{
    Endianness,
    pcapng::{PcapNgWriter, blocks::section_header::SectionHeaderBlock},
};

/// The octets of the Byte-Order Magic, which is 0x1A2B3C4D.
fn magic(name: &str, made: PcapNgWriter<Vec<u8>>) {
    let octets = made.into_inner();
    let little = octets[8..12] == 0x1a2b_3c4d_u32.to_le_bytes();
    println!("{name:<44} {:02x?} {}", &octets[8..12], if little { "little" } else { "big" });
}

fn main() {
    assert!(cfg!(target_endian = "little"), "this machine is big-endian, where nothing differs");
    let with = |header| PcapNgWriter::with_section_header(Vec::new(), header).unwrap();
    magic("PcapNgWriter::new", PcapNgWriter::new(Vec::new()).unwrap());
    magic("a header by Default", with(SectionHeaderBlock::default()));
    let named = SectionHeaderBlock { endianness: Endianness::default(), ..Default::default() };
    magic("a header by Default, its byte order named", with(named));
}
R
CARGO_TARGET_DIR=$work/target cargo run --quiet >said
echo "pcap-file 3.0.0-rc.3"
cat said
[ "$(awk '{print $NF}' said | paste -sd ' ')" = "little big little" ] || { echo "this has changed" >&2; exit 1; }
