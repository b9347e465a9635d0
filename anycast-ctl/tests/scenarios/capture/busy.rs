//! A capture to which more packets come than whoever reads its file takes, for as long as it runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _},
    net::SocketAddrV6,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anycast_common::abi::capture::RING;
use anyhow::{Result, ensure};
use nix::{
    libc::O_NONBLOCK,
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use xtask::{
    lab::{
        stage::Lab,
        topology::{B, CLIENT},
    },
    net::{Sender, netlink, packet::forge},
};

use super::{
    frames::read,
    running::{Running, count},
};

const DAEMON: &str = env!("CARGO_BIN_EXE_anycast-ctl");

/// Packets that are sent between two looks at the file.
const AT_ONCE: usize = 256;
/// Octets of the file that are taken then: much less than what so many packets become.
const TAKEN: u64 = 16 << 10;
/// More packets than the ring has room for and the reader takes meanwhile: each has more than 300 octets in the ring.
const MANY: usize = 2 * RING / 300;
/// With which another one ends.
const COUNT: u64 = 5000;

/// Packets for a gateway, and whoever reads what a capture writes of them.
struct Load {
    sender: Sender,
    frames: Vec<Vec<u8>>,
    reader: File,
    /// What was written.
    file: Vec<u8>,
}

impl Load {
    fn new(lab: &Lab, fifo: &Path) -> Result<Self> {
        let way = [
            netlink::mac(&lab.network.gateway, "clients0")?,
            netlink::mac(&lab.network.client, "eth0")?,
        ];
        let from = SocketAddrV6::new(CLIENT, 4000, 0, 0);
        let to = SocketAddrV6::new(B, 7777, 0, 0);
        mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut options = OpenOptions::new();
        Ok(Self {
            sender: Sender::open(&lab.network.client, "eth0")?,
            frames: vec![forge::udp(way, from, to, &[0; 16]); AT_ONCE],
            // It waits for no writer.
            reader: options.read(true).custom_flags(O_NONBLOCK).open(fifo)?,
            file: Vec::new(),
        })
    }

    /// Sends some, takes some of the file, and says whether that has ended.
    fn turn(&mut self) -> Result<bool> {
        self.sender.send_all(&self.frames)?;
        let before = self.file.len();
        let taken = (&self.reader).take(TAKEN).read_to_end(&mut self.file);
        match taken {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            taken => Ok(taken? == 0 && self.file.len() == before),
        }
    }

    /// Until the file ends. As long as packets come, no more is written of those that came before than the ring holds.
    fn until_end(&mut self, most: usize) -> Result<()> {
        let before = self.file.len();
        while !self.turn()? {
            let more = self.file.len() - before;
            ensure!(more <= most, "{more} octets, and it does not end");
        }
        Ok(())
    }
}

pub(super) fn ends() -> Result<()> {
    let mut lab = Lab::up(Path::new(DAEMON), None)?;
    lab.start(&["gateway"])?;
    let directory = lab.network.site().directory().to_path_buf();
    let count_of = COUNT.to_string();
    let ways: [(&str, &[&str]); 3] = [
        ("signal", &[]),
        ("count", &["--count", &count_of]),
        ("duration", &["--duration", "1s"]),
    ];
    for (name, ends) in ways {
        let fifo = directory.join(format!("{name}.fifo"));
        let mut load = Load::new(&lab, &fifo)?;
        let arguments = [&["--rate", "0"], ends].concat();
        let running = Running::start_to(fifo, name, &lab.network.gateway, &arguments)?;
        if ends.is_empty() {
            for _ in 0..MANY / AT_ONCE {
                ensure!(!load.turn()?, "it ends by itself");
            }
            running.process.signal(Signal::SIGINT)?;
            load.until_end(RING)?;
        } else {
            load.until_end(usize::MAX)?;
        }
        let totals = running.ended()?;
        let (packets, lost) = (count(&totals, "packets")?, count(&totals, "lost")?);
        match name {
            "signal" => ensure!(lost > 0, "it was not busy: {totals}"),
            "count" => ensure!(packets == COUNT, "{totals}"),
            _ => ensure!(packets > 0, "{totals}"),
        }
        let file = directory.join(format!("{name}.pcapng"));
        fs::write(&file, &load.file)?;
        // What was changed is there before and after.
        let written = packets + count(&totals, "changed")?;
        let whole = read(&file)?.len() as u64;
        ensure!(whole == written, "{whole} packets in the file, {totals}");
    }
    Ok(())
}
