//! The packets of a file of `capture`.

use std::{collections::BTreeMap, net::Ipv6Addr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use pcap_file::pcapng::{
    Block, PcapNgReader,
    blocks::{
        enhanced_packet::EnhancedPacketOption, interface_description::InterfaceDescriptionOption,
        opt_common::CommonOption,
    },
};

/// A packet of a file, as tshark shows it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub comment: String,
    pub id: String,
    pub interface: String,
    pub source: String,
    pub destination: String,
}

impl Frame {
    pub fn goes(&self, source: &str, destination: &str) -> bool {
        self.source == source && self.destination == destination
    }
}

pub fn read(file: &Path) -> Result<Vec<Frame>> {
    match xtask::process::find("tshark") {
        Some(_) => by_tshark(file),
        None => by_another(file),
    }
}

fn by_another(file: &Path) -> Result<Vec<Frame>> {
    let mut reader = PcapNgReader::new(std::fs::File::open(file)?)?;
    let (mut interfaces, mut frames) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        let (block, _) = block?;
        match block {
            Block::InterfaceDescription(interface) => {
                let name = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push(name.context("no name")?);
            }
            Block::EnhancedPacket(packet) => {
                let address = |at: usize| {
                    let octets = packet
                        .data
                        .get(at..)
                        .and_then(|rest| rest.first_chunk::<16>());
                    octets.map_or_else(String::new, |it| Ipv6Addr::from(*it).to_string())
                };
                let (mut comment, mut id) = (String::new(), String::new());
                for option in &packet.options {
                    match option {
                        EnhancedPacketOption::Common(CommonOption::Comment(text)) => {
                            comment = text.to_string();
                        }
                        EnhancedPacketOption::Common(CommonOption::Unknown(it)) if it.code == 5 => {
                            id = format!("{:?}", it.value);
                        }
                        _ => {}
                    }
                }
                let interface = interfaces.get(packet.interface_id as usize);
                frames.push(Frame {
                    comment,
                    id,
                    interface: interface.cloned().context("no interface")?,
                    source: address(22),
                    destination: address(38),
                });
            }
            _ => {}
        }
    }
    Ok(frames)
}

fn by_tshark(file: &Path) -> Result<Vec<Frame>> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(["-T", "fields"]);
    for field in [
        "frame.comment",
        "frame.packet_id",
        "frame.interface_name",
        "ipv6.src",
        "ipv6.dst",
    ] {
        command.args(["-e", field]);
    }
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "tshark: {error}");
    let text = String::from_utf8(output.stdout)?;
    let frame = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        Frame {
            comment: next(),
            id: next(),
            interface: next(),
            source: next(),
            destination: next(),
        }
    };
    Ok(text.lines().map(frame).collect())
}

/// Packets that a program changed: as they came, and as they went.
pub fn pairs(frames: &[Frame]) -> Result<Vec<(Frame, Frame)>> {
    let mut came: BTreeMap<&str, &Frame> = BTreeMap::new();
    let mut pairs = Vec::new();
    for frame in frames {
        if frame.comment.starts_with("before ") {
            came.insert(&frame.id, frame);
        } else if frame.comment.starts_with("after ") {
            let first = came.remove(frame.id.as_str());
            let first = first.with_context(|| format!("{frame:?} has no other"))?;
            pairs.push((first.clone(), frame.clone()));
        }
    }
    ensure!(came.is_empty(), "{came:?}");
    Ok(pairs)
}
