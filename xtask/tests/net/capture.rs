use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use xtask::{
    lab::{
        topology::{B, CLIENT, Network, S1, SERVICE},
        visitor::{self, Visitor},
    },
    net::{Capture, Pace, Sender, netlink},
    process::find,
};

const SOON: Duration = Duration::from_secs(5);
const OCTETS: u64 = 4 << 20;

/// Plain routing to the anycast address, no daemon anywhere.
fn network() -> Result<Network> {
    let network = Network::up()?;
    netlink::route(&network.router, B, 128, S1.link_local(), "lan0")?;
    Ok(network)
}

pub(super) fn session() -> Result<()> {
    let network = network()?;
    let directory = network.site().directory();
    let file = directory.join("link.pcap");
    let mut whole = Capture::start("whole", &network.router, "gw0", Some(&file))?;
    let mut headers = Capture::start("headers", &network.client, "eth0", None)?;
    let _service = visitor::serve("s1", network.server(S1), directory)?;
    let mut visitor = Visitor::connect("visitor", &network.client, directory)?;
    ensure!(visitor.server() == "s1", "{} answers", visitor.server());
    let event = visitor.transfer(OCTETS, OCTETS, SOON)?;
    ensure!(Visitor::shows_anycast(&event, CLIENT), "{event}");
    visitor.tell("finish")?;
    let end = visitor.event("finished", SOON)?;
    ensure!(end["sent"] == OCTETS && end["received"] == OCTETS, "{end}");
    for capture in [&mut whole, &mut headers] {
        let name = capture.name().to_owned();
        capture.finish()?;
        capture.ledger().read(|ledger| {
            let client = (CLIENT, visitor.port()?);
            let up = ledger.sum(|flow| flow.source == client && flow.destination == (B, SERVICE));
            let down = ledger.sum(|flow| flow.source == (B, SERVICE) && flow.destination == client);
            for sum in [up, down] {
                ensure!(sum.octets > OCTETS && sum.resets == 0, "{name}: {sum:?}");
                // What the wire carries is no longer than its MTU.
                let most = sum.octets / sum.packets;
                ensure!(most <= 1460, "{name}: {most} octets in a packet: merged");
            }
            ensure!(ledger.lost == 0, "{name}: {} lost", ledger.lost);
            Ok(())
        })?;
    }
    tshark(&file)
}

/// Another program must find the file in order.
fn tshark(file: &Path) -> Result<()> {
    let Some(tshark) = find("tshark") else {
        return Ok(()); // The lab's own test says that it is missing.
    };
    let output = Command::new(tshark)
        .args(["-o", "tcp.check_checksum:TRUE", "-Y", "tcp"])
        .args([
            "-T",
            "fields",
            "-e",
            "tcp.checksum.status",
            "-e",
            "tcp.checksum",
            "-r",
        ])
        .arg(file)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    // Linux writes a checksum of zero as 0xffff, which is the same number and which tshark reports.
    let bad = |line: &&str| !line.starts_with('1') && !line.ends_with("0xffff");
    let bad: Vec<_> = text.lines().filter(bad).collect();
    ensure!(
        bad.is_empty() && text.lines().count() > 5000,
        "bad checksums: {bad:?}"
    );
    Ok(())
}

pub(super) fn reset() -> Result<()> {
    let network = network()?;
    let capture = Capture::start("client", &network.client, "eth0", None)?;
    let refused = Visitor::connect("visitor", &network.client, network.site().directory());
    ensure!(refused.is_err(), "connected to nothing");
    let sum = capture.ledger().wait(SOON, "a reset", |ledger| {
        let sum = ledger.sum(|flow| flow.source == (B, SERVICE));
        (sum.resets > 0).then_some(sum)
    })?;
    ensure!(sum.packets == 1, "{sum:?}");
    Ok(())
}

/// On a slow machine nobody reads for a second, while the kernel hands over blocks with one frame each.
pub(super) fn late() -> Result<()> {
    const FRAMES: u64 = 160;
    let network = network()?;
    let sender = Sender::open(&network.client, "eth0")?;
    // To nobody, of a protocol for experiments.
    let mut frame = [0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5]);
    let mut capture = Capture::start("late", &network.gateway, "clients0", None)?;
    let pace = Pace::every(Duration::from_millis(6))?;
    // While the ledger is read, nothing can be noted in it.
    capture.ledger().read(|_| {
        for _ in 0..FRAMES {
            pace.beat()?;
            ensure!(sender.send(&frame)?, "the link has dropped it");
        }
        Ok(())
    })?;
    capture.finish()?;
    let (frames, lost) = capture.ledger().read(|ledger| (ledger.frames, ledger.lost));
    ensure!(frames >= FRAMES && lost == 0, "{frames} seen, {lost} lost");
    Ok(())
}
