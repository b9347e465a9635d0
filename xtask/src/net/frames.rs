//! Frames as somebody forges them: sent on an interface, whatever is in them.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Result;
use nix::{
    errno::Errno,
    libc,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket},
};

use super::{Namespace, netlink, ring};

/// A packet socket that hears nothing.
pub struct Frames(OwnedFd);

impl Frames {
    /// Opens one on an interface of the namespace.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = netlink::index(namespace, interface)?;
        namespace.run(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            ring::bind(&socket, index, 0)?;
            Ok(Self(socket))
        })
    }

    /// Sends a frame; where the queue of the link is full, it is lost.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(Errno::ENOBUFS) => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    /// Sends many with one system call, and gives how many the link took.
    pub fn send_many(&self, frames: &[Vec<u8>]) -> Result<usize> {
        let mut pieces: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: a plain structure of integers and pointers.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = piece;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let count = messages.len().try_into()?;
        // SAFETY: every message points to its piece, and that to its frame, which the kernel only
        // reads; all outlive the call.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        match Errno::result(sent) {
            Ok(sent) => Ok(usize::try_from(sent)?),
            Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
