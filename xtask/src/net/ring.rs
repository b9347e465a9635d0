//! An AF_PACKET socket with a ring in shared memory (TPACKET_V3). It needs no system call per packet, and counts the
//! packets that were lost.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, libc, net::if_::if_nametoindex};

/// Size of a block for the largest frames, and for their headers. Blocks are small, since the kernel hands over those
/// that are not full as well: a reader that is late has as many times `RETIRE` as there are blocks.
const BLOCKS: [usize; 2] = [1 << 18, 1 << 17];
/// Time in milliseconds after which the kernel hands over a block that is not full.
const RETIRE: u32 = 10;
/// Octets of a frame up to which blocks are of the smaller size.
const SMALL: u32 = 1 << 12;

const PACKET_RX_RING: i32 = 5;
const PACKET_STATISTICS: i32 = 6;
const PACKET_VERSION: i32 = 10;
const TPACKET_V3: i32 = 2;
const STATUS_USER: u32 = 1;
/// The instruction `BPF_RET | BPF_K`, which keeps this many octets of a packet.
const RETURN_CONSTANT: u16 = 0x06;

#[repr(C)]
struct Request {
    block_size: u32,
    block_count: u32,
    frame_size: u32,
    frame_count: u32,
    retire: u32,
    private: u32,
    features: u32,
}

/// A frame in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    /// Length of the frame on the wire, in octets.
    pub(super) length: u32,
    /// The octets of the frame that were kept.
    pub(super) bytes: &'a [u8],
}

/// A packet socket on one interface.
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    /// Octets of a block.
    block: usize,
    blocks: usize,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens a socket in the network namespace of the calling thread. It keeps `keep` octets of each frame.
    pub(super) fn open(interface: &str, keep: u32, megabytes: usize) -> Result<Self> {
        let index = if_nametoindex(interface).with_context(|| format!("no {interface}"))?;
        // With protocol 0, the socket receives nothing until it is bound to its interface.
        // SAFETY: the system call reads no memory; the new descriptor has no other owner.
        let socket = unsafe {
            let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = Errno::result(libc::socket(libc::AF_PACKET, flags, 0))
                .context("cannot capture, which needs root (CAP_NET_RAW)")?;
            OwnedFd::from_raw_fd(fd)
        };
        option(&socket, libc::SOL_PACKET, PACKET_VERSION, &TPACKET_V3)?;
        cut(&socket, keep)?;
        let [large, small] = BLOCKS;
        let block = if keep > SMALL { large } else { small };
        let size = megabytes << 20;
        let request = Request {
            block_size: block.try_into()?,
            block_count: (size / block).try_into()?,
            frame_size: 2048,
            frame_count: (size / 2048).try_into()?,
            retire: RETIRE,
            private: 0,
            features: 0,
        };
        option(&socket, libc::SOL_PACKET, PACKET_RX_RING, &request)
            .context("cannot make a capture ring")?;
        let memory = map(&socket, size)?;
        let ring = Self {
            socket,
            memory,
            block,
            blocks: size / block,
            next: 0,
        };
        bind(&ring.socket, index, libc::ETH_P_ALL)?;
        Ok(ring)
    }

    /// Passes the frames of the next block to `body`. False when there is no block within the time limit.
    pub(super) fn next(&mut self, limit: Duration, body: impl FnOnce(Frames<'_>)) -> Result<bool> {
        // SAFETY: `next` is below `blocks`, so the block lies in the mapping.
        let block = unsafe { self.memory.add(self.next * self.block) };
        // SAFETY: this is the status word of the block, which the kernel may change at any time.
        let status = || unsafe { block.add(8).cast::<u32>().read_volatile() };
        if status() & STATUS_USER == 0 {
            let mut poll = libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: there is one descriptor, as the count says.
            let result = unsafe { libc::poll(&raw mut poll, 1, limit.as_millis().try_into()?) };
            match Errno::result(result) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if status() & STATUS_USER == 0 {
                return Ok(false);
            }
        }
        fence(Ordering::Acquire);
        // SAFETY: the block belongs to this process until its status is written back.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), self.block) };
        body(Frames {
            block: bytes,
            at: u32_at(bytes, 16) as usize,
            left: u32_at(bytes, 12),
        });
        fence(Ordering::Release);
        // SAFETY: the same pointer as above. From here on, the block belongs to the kernel.
        unsafe { block.add(8).cast::<u32>().write_volatile(0) };
        self.next = (self.next + 1) % self.blocks;
        Ok(true)
    }

    /// From now on, keeps this many octets of each frame.
    pub(super) fn keep(&self, keep: u32) -> Result<()> {
        cut(&self.socket, keep)
    }

    /// Number of frames that were lost since the last call.
    pub(super) fn lost(&self) -> Result<u32> {
        let mut statistics = [0_u32; 3]; // packets, drops, queue freezes
        let mut length = libc::socklen_t::try_from(size_of_val(&statistics))?;
        // SAFETY: the buffer has the length that is passed.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        Ok(statistics[1])
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.blocks * self.block) };
    }
}

/// The frames of a block.
pub(super) struct Frames<'a> {
    block: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        self.left = self.left.checked_sub(1)?;
        // struct tpacket3_hdr
        let header = self.block.get(self.at..)?;
        let kept = u32_at(header, 12) as usize;
        let start = usize::from(u16::from_ne_bytes([header[24], header[25]]));
        self.at += u32_at(header, 0) as usize;
        Some(Frame {
            time: u64::from(u32_at(header, 4)) * 1_000_000_000 + u64::from(u32_at(header, 8)),
            length: u32_at(header, 16),
            bytes: header.get(start..start + kept)?,
        })
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_ne_bytes(word)
}

pub(super) fn option<T>(socket: &OwnedFd, level: i32, name: i32, value: &T) -> Result<()> {
    // SAFETY: the kernel reads exactly as many octets as it is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>().try_into()?,
        )
    };
    Errno::result(result).map_err(io::Error::from)?;
    Ok(())
}

/// Attaches a filter of one instruction, which shortens every frame.
fn cut(socket: &OwnedFd, keep: u32) -> Result<()> {
    let mut instruction = libc::sock_filter {
        code: RETURN_CONSTANT,
        jt: 0,
        jf: 0,
        k: keep,
    };
    let filter = libc::sock_fprog {
        len: 1,
        filter: &raw mut instruction,
    };
    option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

fn map(socket: &OwnedFd, length: usize) -> Result<NonNull<u8>> {
    // SAFETY: this is a new mapping, at an address that the kernel chooses.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot map a capture ring");
    }
    NonNull::new(memory.cast()).context("a ring at address 0")
}

/// Binds a packet socket to an interface. With protocol 0 the socket receives nothing.
pub(super) fn bind(socket: &OwnedFd, index: u32, protocol: i32) -> Result<()> {
    // SAFETY: the type is a plain structure of integers, for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET.try_into()?;
    address.sll_protocol = u16::try_from(protocol)?.to_be();
    address.sll_ifindex = index.try_into()?;
    // SAFETY: the length is that of the address.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>().try_into()?,
        )
    };
    Errno::result(result).map_err(io::Error::from)?;
    Ok(())
}
