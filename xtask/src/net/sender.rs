//! Sends complete Ethernet frames on one interface, for tests that flood a link or forge packets.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, send, sendmmsg, socket,
    },
};

use super::{Namespace, netlink, ring::bind};

/// Number of frames that are passed to the kernel in one system call.
const BATCH: usize = 256;

/// A packet socket that only sends.
#[derive(Debug)]
pub struct Sender(OwnedFd);

impl Sender {
    /// Opens a socket on an interface of a namespace.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = netlink::index(namespace, interface)?;
        namespace.run(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .context("cannot open a packet socket, which needs root (CAP_NET_RAW)")?;
            bind(&socket, index, 0)?;
            Ok(Self(socket))
        })
    }

    /// Sends a frame. False if the queue of the link is full and the frame was dropped.
    pub fn send(&self, frame: &[u8]) -> Result<bool> {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(Errno::ENOBUFS) => Ok(false),
            result => Ok(result.map(|_| true)?),
        }
    }

    /// Sends all frames in order, many per system call. Gives how many the link accepted.
    pub fn send_all<F: AsRef<[u8]>>(&self, frames: &[F]) -> Result<usize> {
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut taken = 0;
        let mut rest = frames;
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(BATCH)];
            let slices: Vec<_> = batch
                .iter()
                .map(|frame| [IoSlice::new(frame.as_ref())])
                .collect();
            let addresses = vec![None; batch.len()];
            let sent = sendmmsg(
                self.0.as_raw_fd(),
                &mut headers,
                &slices,
                addresses,
                [],
                MsgFlags::empty(),
            );
            match sent {
                Ok(results) => {
                    let sent = results.count();
                    taken += sent;
                    rest = &rest[sent..];
                }
                // The first frame of the batch was dropped.
                Err(Errno::ENOBUFS) => rest = &rest[1..],
                Err(error) => return Err(error.into()),
            }
        }
        Ok(taken)
    }
}
