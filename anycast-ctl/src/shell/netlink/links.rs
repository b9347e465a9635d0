//! Turns what the kernel says about interfaces into inputs for the core.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use crate::{core::Link, model::program::Framing};

/// One change that the kernel reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChange {
    /// An interface exists.
    Link {
        /// Index of the interface.
        ifindex: u32,
        /// Name of the interface.
        name: String,
        /// Ethernet address of the interface.
        mac: Option<[u8; 6]>,
        /// Index of the device below the interface, if it is a VLAN or a macvlan.
        below: Option<u32>,
        /// Index of the bridge or bond that contains the interface.
        above: Option<u32>,
        /// Kind of the device that contains the interface as a port: `bridge`, `bond`, `vrf` and others.
        port_of: Option<String>,
        /// Routing table of the VRF that contains the interface as a port.
        vrf: Option<u32>,
        /// What its packets begin with.
        framing: Framing,
        /// Ethertype of its tags, if it is a VLAN device.
        vlan: Option<u16>,
        /// Whether it is administratively up and has a carrier.
        up: bool,
    },
    /// An interface was deleted.
    LinkGone {
        /// Index of the interface.
        ifindex: u32,
    },
    /// An interface has an address.
    Address {
        /// Index of the interface.
        ifindex: u32,
        /// The address.
        address: Ipv6Addr,
        /// Whether packets can be sent from the address: duplicate address detection has ended and found none.
        usable: bool,
        /// Whether the host may choose the address as the source of its own connections, because its preferred lifetime
        /// is not over.
        preferred: bool,
        /// Whether duplicate address detection found another host that has it (RFC 4862 section 5.4.5).
        duplicate: bool,
    },
    /// An interface no longer has an address.
    AddressGone {
        /// Index of the interface.
        ifindex: u32,
        /// The address.
        address: Ipv6Addr,
    },
}

/// A change that the core has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkInput {
    /// An interface appeared or changed.
    Link(Link),
    /// An interface that the core knows was deleted.
    Gone {
        /// Index of the interface.
        ifindex: u32,
        /// Name of the interface.
        name: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Interface {
    name: String,
    up: bool,
    mac: Option<[u8; 6]>,
    below: Option<u32>,
    above: Option<u32>,
    port_of: Option<String>,
    vrf: Option<u32>,
    framing: Framing,
    vlan: Option<u16>,
}

/// What the kernel says about an address.
#[derive(Clone, Copy, Debug)]
struct Address {
    usable: bool,
    preferred: bool,
    duplicate: bool,
}

/// The interfaces of the kernel, and those that the core knows of.
#[derive(Debug, Default)]
pub struct LinkTable {
    wanted: BTreeSet<String>,
    interfaces: BTreeMap<u32, Interface>,
    addresses: BTreeMap<u32, BTreeMap<Ipv6Addr, Address>>,
    told: BTreeMap<u32, Link>,
}

impl LinkTable {
    /// Makes a table without interfaces. The core is to be told of interfaces with these names.
    #[must_use]
    pub fn new(wanted: impl IntoIterator<Item = String>) -> Self {
        Self {
            wanted: wanted.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The core is to be told of interfaces with these names instead.
    pub fn want(&mut self, names: impl IntoIterator<Item = String>) {
        self.wanted = names.into_iter().collect();
    }

    /// Whether the core is to be told of interfaces with this name.
    #[must_use]
    pub fn is_wanted(&self, name: &str) -> bool {
        self.wanted.contains(name)
    }

    /// Applies one change of the kernel.
    pub fn apply(&mut self, change: KernelChange) {
        match change {
            KernelChange::Link {
                ifindex,
                name,
                mac,
                below,
                above,
                port_of,
                vrf,
                framing,
                vlan,
                up,
            } => {
                let said = Interface {
                    name,
                    up,
                    mac,
                    below,
                    above,
                    port_of,
                    vrf,
                    framing,
                    vlan,
                };
                self.interfaces.insert(ifindex, said);
            }
            KernelChange::LinkGone { ifindex } => {
                self.interfaces.remove(&ifindex);
                self.addresses.remove(&ifindex);
            }
            KernelChange::Address {
                ifindex,
                address,
                usable,
                preferred,
                duplicate,
            } => {
                let said = Address {
                    usable,
                    preferred,
                    duplicate,
                };
                self.addresses
                    .entry(ifindex)
                    .or_default()
                    .insert(address, said);
            }
            KernelChange::AddressGone { ifindex, address } => {
                if let Some(addresses) = self.addresses.get_mut(&ifindex) {
                    addresses.remove(&address);
                }
            }
        }
    }

    /// Replaces everything that the kernel said before by a full dump.
    pub fn replace(&mut self, dump: Vec<KernelChange>) {
        self.interfaces.clear();
        self.addresses.clear();
        for change in dump {
            self.apply(change);
        }
    }

    /// The changes that the core has to be told since the last call. Interfaces that were deleted come first.
    pub fn differences(&mut self) -> Vec<LinkInput> {
        let mut current = BTreeMap::new();
        for (ifindex, interface) in &self.interfaces {
            if self.wanted.contains(&interface.name) {
                current.insert(*ifindex, self.link(*ifindex, interface));
            }
        }
        let mut inputs = Vec::new();
        for (ifindex, told) in &self.told {
            // An interface that was renamed counts as another interface.
            let same = current
                .get(ifindex)
                .is_some_and(|link| link.name == told.name);
            if !same {
                inputs.push(LinkInput::Gone {
                    ifindex: *ifindex,
                    name: told.name.clone(),
                });
            }
        }
        for (ifindex, link) in &current {
            if self.told.get(ifindex) != Some(link) {
                inputs.push(LinkInput::Link(link.clone()));
            }
        }
        self.told = current;
        inputs
    }

    /// An interface as the core would see it, whether the core knows of it or not.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Link> {
        let mut interfaces = self.interfaces.iter();
        let (ifindex, interface) = interfaces.find(|(_, interface)| interface.name == name)?;
        Some(self.link(*ifindex, interface))
    }

    fn link(&self, ifindex: u32, interface: &Interface) -> Link {
        Link {
            ifindex,
            name: interface.name.clone(),
            up: interface.up,
            link_local: self.link_local(ifindex),
        }
    }

    /// The link-local address of an interface. It stays the one that the core has while that is usable, since a new
    /// address must not change the source of a Querier. Otherwise it is the lowest.
    fn link_local(&self, ifindex: u32) -> Option<Ipv6Addr> {
        let addresses = self.addresses.get(&ifindex)?;
        let usable = |address: &Ipv6Addr| addresses.get(address).is_some_and(|said| said.usable);
        let kept = self.told.get(&ifindex).and_then(|link| link.link_local);
        kept.filter(usable).or_else(|| {
            addresses
                .keys()
                .find(|address| address.is_unicast_link_local() && usable(address))
                .copied()
        })
    }

    /// The interfaces that the core knows of.
    pub fn known(&self) -> impl Iterator<Item = &Link> {
        self.told.values()
    }

    /// Names of configured interfaces that do not exist.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.wanted
            .iter()
            .filter(|name| !self.told.values().any(|link| link.name == **name))
            .map(String::as_str)
    }

    /// Name of an interface that the core knows of.
    #[must_use]
    pub fn name(&self, ifindex: u32) -> Option<&str> {
        self.told.get(&ifindex).map(|link| link.name.as_str())
    }

    /// Index of an interface that the core knows of.
    #[must_use]
    pub fn ifindex(&self, name: &str) -> Option<u32> {
        self.told
            .values()
            .find(|link| link.name == name)
            .map(|link| link.ifindex)
    }

    /// Index of any interface, whether the core knows of it or not.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<u32> {
        let mut interfaces = self.interfaces.iter();
        interfaces.find_map(|(ifindex, interface)| (interface.name == name).then_some(*ifindex))
    }

    /// The Ethernet addresses whose frames this machine accepts on each interface that the core knows of: that of the
    /// interface, that of the bridge or bond which contains it, and those of VLANs and macvlans above it.
    #[must_use]
    pub fn stations(&self) -> BTreeMap<u32, BTreeSet<[u8; 6]>> {
        let known = self.told.keys();
        known
            .map(|ifindex| (*ifindex, self.stations_of(*ifindex)))
            .filter(|(_, stations)| !stations.is_empty())
            .collect()
    }

    fn stations_of(&self, ifindex: u32) -> BTreeSet<[u8; 6]> {
        let found = self.stack(ifindex);
        found
            .iter()
            .filter_map(|index| self.interfaces.get(index)?.mac)
            .collect()
    }

    /// Names of the VLAN devices that stand on an interface, or on what it is a part of, with the Ethertypes of their
    /// tags.
    #[must_use]
    pub fn vlans_on(&self, ifindex: u32) -> Vec<(&str, u16)> {
        let stack = self.stack(ifindex).into_iter();
        stack
            .filter(|index| *index != ifindex)
            .filter_map(|index| self.interfaces.get(&index))
            .filter_map(|interface| Some((interface.name.as_str(), interface.vlan?)))
            .collect()
    }

    /// What the packets of an interface begin with.
    #[must_use]
    pub fn framing(&self, ifindex: u32) -> Framing {
        let interface = self.interfaces.get(&ifindex);
        interface.map_or(Framing::default(), |interface| interface.framing)
    }

    /// An interface with what it is a part of, and all that stands on these.
    fn stack(&self, ifindex: u32) -> BTreeSet<u32> {
        let mut found = BTreeSet::from([ifindex]);
        // A device above may have further devices above it.
        loop {
            let above = found
                .iter()
                .filter_map(|index| self.interfaces.get(index)?.above);
            let on_top = self.interfaces.iter().filter_map(|(index, interface)| {
                interface
                    .below
                    .filter(|below| found.contains(below))
                    .map(|_| *index)
            });
            let next: BTreeSet<u32> = above.chain(on_top).chain(found.iter().copied()).collect();
            if next.len() == found.len() {
                break;
            }
            found = next;
        }
        found
    }

    /// The Ethernet address of an interface.
    #[must_use]
    pub fn mac(&self, ifindex: u32) -> Option<[u8; 6]> {
        self.interfaces.get(&ifindex)?.mac
    }

    /// Kind of the device to which an interface belongs as a port, if it does.
    #[must_use]
    pub fn port_of(&self, ifindex: u32) -> Option<&str> {
        self.interfaces.get(&ifindex)?.port_of.as_deref()
    }

    /// Routing table of the VRF to which an interface belongs, if it does.
    #[must_use]
    pub fn vrf_of(&self, ifindex: u32) -> Option<u32> {
        self.interfaces.get(&ifindex)?.vrf
    }

    /// Whether some interface of this machine has the address.
    #[must_use]
    pub fn is_local(&self, address: Ipv6Addr) -> bool {
        self.addresses
            .values()
            .any(|addresses| addresses.contains_key(&address))
    }

    /// Whether this machine may choose the address, which it has, as the source of its own connections.
    #[must_use]
    pub fn is_preferred(&self, address: Ipv6Addr) -> bool {
        let mut said = self.addresses.values().filter_map(|all| all.get(&address));
        said.any(|said| said.preferred)
    }

    /// Whether another host has this address, too, so that the kernel does not use it.
    #[must_use]
    pub fn is_duplicate(&self, address: Ipv6Addr) -> bool {
        let mut said = self.addresses.values().filter_map(|all| all.get(&address));
        said.any(|said| said.duplicate)
    }
}

#[cfg(test)]
mod tests;
