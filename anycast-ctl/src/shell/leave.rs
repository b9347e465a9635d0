//! Takes back what a daemon that no longer runs has left on the host besides its programs.

use std::io;

use super::{
    addresses::Addresses,
    alone,
    netlink::{LinkTable, Netlink},
};

/// Removes the addresses that a daemon has assigned here, and gives how many there were. The host would else take
/// packets to an anycast address for itself, and keep a care-of address from another machine.
///
/// # Errors
///
/// When a daemon runs here, or an error of the kernel.
pub fn addresses() -> io::Result<usize> {
    let _alone = alone::claim().map_err(io::Error::other)?;
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

fn ours(netlink: &mut Netlink) -> io::Result<usize> {
    let held = netlink.addresses().map_err(io::Error::other)?;
    Ok(held.iter().filter(|held| held.ours).count())
}
