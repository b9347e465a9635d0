//! What this host listens to because a role needs it: multicast groups, and on a router's interfaces all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv6Addr,
    time::Instant,
};

use anycast_common::wire::ipv6;
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    all_multicasts::AllMulticasts,
    throttle::{PERIOD, Throttle},
};
use crate::core::GroupAction;

/// Multicast groups that this host listens to because a role needs it.
#[derive(Debug)]
pub struct Groups {
    sockets: Vec<Listener>,
    wanted: BTreeSet<(u32, Ipv6Addr)>,
    /// By which of the sockets each group is joined.
    joined: BTreeMap<(u32, Ipv6Addr), usize>,
    /// Those of routers.
    all: AllMulticasts,
    complaints: Throttle<Option<i32>>,
    /// Why the last group that could not be joined was not.
    error: Option<String>,
}

/// A socket, which the kernel lets be in a limited number of groups (`net.core.optmem_max`): about 2300 by default, and
/// 360 before Linux 6.8.
#[derive(Debug)]
struct Listener {
    socket: Socket,
    /// Whether the kernel has refused a group that it would have taken by another socket.
    full: bool,
}

impl Listener {
    fn new() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?,
            full: false,
        })
    }

    /// Joins a group. `None` when the socket is full.
    fn join(&mut self, ifindex: u32, group: Ipv6Addr) -> Option<io::Result<()>> {
        match self.socket.join_multicast_v6(&group, ifindex) {
            Err(error) => match error.raw_os_error() {
                Some(libc::EADDRINUSE) => Some(Ok(())),
                Some(libc::ENOMEM | libc::ENOBUFS) => {
                    self.full = true;
                    None
                }
                _ => Some(Err(error)),
            },
            Ok(()) => Some(Ok(())),
        }
    }
}

impl Groups {
    /// Opens a socket. No group is joined yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            sockets: vec![Listener::new()?],
            wanted: BTreeSet::new(),
            joined: BTreeMap::new(),
            all: AllMulticasts::default(),
            complaints: Throttle::new(PERIOD),
            error: None,
        })
    }

    /// Joins or leaves a group, as the core wants. An error is logged, now and then.
    pub fn apply(&mut self, action: GroupAction) {
        let result = match action {
            GroupAction::Join { ifindex, group } => self.join(ifindex, group),
            GroupAction::Leave { ifindex, group } => self.leave(ifindex, group),
        };
        let Err(error) = result else { return };
        if let Some(held) = self.complaints.admit(error.raw_os_error(), Instant::now()) {
            tracing::warn!(?action, %error, held, missing = self.missing(),
                "cannot join or leave a multicast group: trying again");
        }
    }

    /// Begins to listen as a router does: to what is sent to all routers, and to all multicasts.
    pub fn begin_router(&mut self, ifindex: u32, name: &str) {
        let group = ipv6::ALL_ROUTERS;
        self.apply(GroupAction::Join { ifindex, group });
        self.all.accept(ifindex, name);
    }

    /// Ends that.
    pub fn end_router(&mut self, ifindex: u32) {
        let group = ipv6::ALL_ROUTERS;
        self.apply(GroupAction::Leave { ifindex, group });
        self.all.restore(ifindex);
    }

    /// Joins a group. If that fails, [`Groups::retry`] tries again.
    pub fn join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        self.wanted.insert((ifindex, group));
        let result = self.try_join(ifindex, group);
        if let Err(error) = &result {
            self.error = Some(error.to_string());
        }
        result
    }

    fn try_join(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        if self.joined.contains_key(&(ifindex, group)) {
            return Ok(());
        }
        let mut free = self.sockets.iter_mut().enumerate();
        let joined = free.find_map(|(number, listener)| {
            if listener.full {
                return None;
            }
            let result = listener.join(ifindex, group)?;
            Some(result.map(|()| number))
        });
        let number = match joined {
            Some(result) => result?,
            None => {
                let mut listener = Listener::new()?;
                // One that cannot be in a single group is of no use: something else is exhausted.
                let out_of_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
                listener.join(ifindex, group).ok_or_else(out_of_memory)??;
                self.sockets.push(listener);
                self.sockets.len() - 1
            }
        };
        self.joined.insert((ifindex, group), number);
        Ok(())
    }

    /// Leaves a group.
    pub fn leave(&mut self, ifindex: u32, group: Ipv6Addr) -> io::Result<()> {
        self.wanted.remove(&(ifindex, group));
        let number = self.joined.remove(&(ifindex, group));
        let Some(listener) = number.and_then(|number| self.sockets.get_mut(number)) else {
            return Ok(());
        };
        listener.full = false;
        match listener.socket.leave_multicast_v6(&group, ifindex) {
            // The memberships of an interface end with it.
            Err(error)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::EADDRNOTAVAIL | libc::ENODEV)
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Leaves all groups on an interface that is gone, or that no role has any more. The socket is in them until then,
    /// and the index may be given to another interface.
    pub fn leave_all(&mut self, ifindex: u32) {
        let on = (ifindex, Ipv6Addr::UNSPECIFIED)..=(ifindex, Ipv6Addr::from_bits(u128::MAX));
        let groups: Vec<_> = self.wanted.range(on).copied().collect();
        for (ifindex, group) in groups {
            self.apply(GroupAction::Leave { ifindex, group });
        }
        self.all.restore(ifindex);
    }

    /// Joins the wanted groups that could not be joined before, and says how many cannot be.
    pub fn retry(&mut self) {
        self.all.retry();
        let is_missing = |wanted: &&(u32, Ipv6Addr)| !self.joined.contains_key(*wanted);
        let missing: Vec<_> = self.wanted.iter().filter(is_missing).copied().collect();
        let failed = missing.into_iter().filter_map(|(ifindex, group)| {
            let error = self.try_join(ifindex, group).err()?;
            Some((ifindex, group, error))
        });
        let failed: Vec<_> = failed.collect();
        self.error = None;
        if let Some((ifindex, group, error)) = failed.last() {
            tracing::warn!(ifindex, %group, %error, missing = failed.len(),
                "cannot join multicast groups: trying again");
            self.error = Some(error.to_string());
        }
    }

    /// Number of wanted groups that are not joined.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.wanted.len() - self.joined.len()
    }

    /// Why groups are not joined, where some are not.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| self.missing() > 0)
    }

    /// Names of routers' interfaces that do not accept all multicasts, and why.
    pub fn not_all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.refused()
    }
}
