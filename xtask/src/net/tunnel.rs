//! A tunnel between two namespaces: a TUN device in each, whose packets have no Ethernet header.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{Namespace, netlink};

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN: i16 = 1;
/// Nothing stands before the packet.
const IFF_NO_PI: i16 = 0x1000;
const LARGEST: usize = 1 << 16;
/// How long a thread may take to see that it is to end, in milliseconds.
const TICK: u16 = 100;

/// Two devices with packets between them. Both are gone when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Tunnel {
    /// Makes the devices, up and without addresses.
    pub fn between(ends: [(&Namespace, &str); 2]) -> Result<Self> {
        let mut files = Vec::new();
        for (namespace, name) in ends {
            files.push(Arc::new(open(namespace, name)?));
            netlink::up(namespace, name)?;
        }
        let mut tunnel = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for (from, to) in [(0, 1), (1, 0)] {
            let (from, to) = (Arc::clone(&files[from]), Arc::clone(&files[to]));
            let stop = Arc::clone(&tunnel.stop);
            let thread = thread::Builder::new().name("tunnel".to_owned());
            tunnel
                .threads
                .push(thread.spawn(move || carry(&from, &to, &stop))?);
        }
        Ok(tunnel)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("a tunnel has broken: {error:#}");
            }
        }
    }
}

fn carry(mut from: &File, mut to: &File, stop: &AtomicBool) -> Result<()> {
    let mut packet = vec![0; LARGEST];
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(
            std::os::fd::AsFd::as_fd(from),
            PollFlags::POLLIN,
        )];
        match poll(&mut ready, PollTimeout::from(TICK)) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for a packet"),
        }
        let length = match from.read(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error).context("cannot read a packet"),
        };
        // A device that is down takes none, and one whose queue is full takes it later or not, as a wire.
        let _ = to.write(packet.get(..length).unwrap_or_default());
    }
    Ok(())
}

/// The first octets of `struct ifreq`.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

fn open(namespace: &Namespace, name: &str) -> Result<File> {
    ensure!(name.len() < 16, "{name} is no interface name");
    namespace.run(|| {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun");
        let file = file.context("this kernel has no TUN devices")?;
        let mut request = Request {
            name: [0; 16],
            flags: IFF_TUN | IFF_NO_PI,
            rest: [0; 22],
        };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the request has the size of `struct ifreq` and lives until the call returns.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
        Errno::result(made).with_context(|| format!("cannot make the TUN device {name}"))?;
        let descriptor = OwnedFd::from(file);
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        Ok(File::from(descriptor))
    })
}
