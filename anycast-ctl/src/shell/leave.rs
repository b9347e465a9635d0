//! Takes back what a daemon that no longer runs has left on the host.

use std::io;

use super::{
    addresses::Addresses,
    alone::{self, Alone, NotAlone},
    netlink::{LinkTable, Netlink, requests::Requests},
    routes::Routes,
};

/// No daemon starts here while somebody has this.
#[derive(Debug)]
pub struct Leave(#[expect(dead_code, reason = "it is there to be held")] Alone);

impl Leave {
    /// Begins to take back what is left.
    ///
    /// # Errors
    ///
    /// When a daemon runs in this network namespace.
    pub fn begin() -> Result<Self, NotAlone> {
        alone::claim().map(Self)
    }

    /// Removes the routes that a daemon of this routing protocol number has left, and gives how many there were.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn routes(&self, protocol: u8) -> io::Result<usize> {
        Routes::clear(Requests::open()?, protocol)
    }

    /// Removes the addresses that a daemon has assigned here, and gives how many there were. The host would else take
    /// packets to an anycast address for itself, and keep a care-of address from another machine.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn addresses(&self) -> io::Result<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let _entered = runtime.enter();
        let mut netlink = Netlink::open()?;
        let there = ours(&mut netlink)?;
        Addresses::new(Vec::new()).withdraw(&mut netlink, &LinkTable::default());
        match ours(&mut netlink)? {
            0 => Ok(there),
            left => Err(io::Error::other(format!("{left} of {there} are left"))),
        }
    }
}

fn ours(netlink: &mut Netlink) -> io::Result<usize> {
    let held = netlink.addresses().map_err(io::Error::other)?;
    Ok(held.iter().filter(|held| held.ours).count())
}
