//! Has the interfaces of a router accept all multicasts.
//!
//! A network card drops frames to groups that the kernel has not joined. A router has to hear what goes to any group
//! (RFC 2710 section 4), for example what the Querier asks about a group that this router has not joined.

use std::{collections::BTreeMap, io, os::fd::AsRawFd as _};

use nix::libc;
use socket2::{Domain, Socket, Type};

/// The interfaces that are to accept all multicasts. The kernel takes that back when this is dropped, or the process
/// dies.
#[derive(Debug, Default)]
pub struct AllMulticasts {
    /// Opened when the first interface needs it.
    socket: Option<Socket>,
    /// By interface index.
    wanted: BTreeMap<u32, Wanted>,
}

/// An interface that is to accept all multicasts.
#[derive(Debug)]
struct Wanted {
    name: String,
    /// Why it does not, if it does not.
    refused: Option<String>,
}

impl AllMulticasts {
    /// Has an interface accept all multicasts. If that fails, it is logged once, and each further call tries again.
    pub fn accept(&mut self, ifindex: u32, name: &str) {
        let before = self.wanted.get(&ifindex);
        if before.is_some_and(|before| before.refused.is_none()) {
            return;
        }
        let is_new = before.is_none();
        let refused = self.change(ifindex, libc::PACKET_ADD_MEMBERSHIP).err();
        if let Some(error) = refused.as_ref().filter(|_| is_new) {
            tracing::warn!(interface = name, %error,
                "the interface does not accept all multicasts: trying again; what another router asks may not be \
                 heard until then");
        }
        let wanted = Wanted {
            name: name.to_owned(),
            refused: refused.map(|error| error.to_string()),
        };
        self.wanted.insert(ifindex, wanted);
    }

    /// Takes that back.
    pub fn restore(&mut self, ifindex: u32) {
        let Some(Wanted {
            name,
            refused: None,
        }) = self.wanted.remove(&ifindex)
        else {
            return;
        };
        if let Err(error) = self.change(ifindex, libc::PACKET_DROP_MEMBERSHIP) {
            // What was asked for an interface ends with it.
            tracing::debug!(interface = name, %error, "it had no request of ours any more");
        }
    }

    /// Tries again where it failed before.
    pub fn retry(&mut self) {
        let failed = self.wanted.iter().filter(|(_, it)| it.refused.is_some());
        let failed: Vec<_> = failed
            .map(|(ifindex, it)| (*ifindex, it.name.clone()))
            .collect();
        for (ifindex, name) in failed {
            self.accept(ifindex, &name);
        }
    }

    /// Names of the interfaces that do not accept all, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.wanted.values();
        all.filter_map(|it| Some((it.name.as_str(), it.refused.as_deref()?)))
    }

    fn change(&mut self, ifindex: u32, option: libc::c_int) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            // By protocol 0 it receives nothing.
            None => Socket::new(Domain::PACKET, Type::DGRAM, None)?,
        };
        let request = libc::packet_mreq {
            mr_ifindex: ifindex.try_into().map_err(io::Error::other)?,
            mr_type: libc::PACKET_MR_ALLMULTI
                .try_into()
                .map_err(io::Error::other)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let length = size_of_val(&request).try_into().map_err(io::Error::other)?;
        let descriptor = self.socket.insert(socket).as_raw_fd();
        // SAFETY: the descriptor is open, and the kernel only reads the request, of which it is told the size.
        let result = unsafe {
            libc::setsockopt(
                descriptor,
                libc::SOL_PACKET,
                option,
                (&raw const request).cast(),
                length,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
