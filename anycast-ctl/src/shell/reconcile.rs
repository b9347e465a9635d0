//! Computes the changes that lead from the routes that the kernel has to those that the core wants. The computation is
//! pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use crate::{
    core::NextHop,
    model::{
        nexthop::{Kind, Object},
        route::{Installed, Key, RoutePlace, Style, Way},
    },
};

/// Lowest number of our next-hop objects ("ac" in ASCII), which is far from the numbers that people and the kernel
/// choose. A number that is in use is skipped.
const FIRST_ID: u32 = 0x6163_0000;

/// One change of the kernel's routes or next-hop objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a next-hop object of one next hop.
    MakeHop {
        /// Number of the object.
        id: u32,
        /// The next hop.
        hop: NextHop,
    },
    /// Make a resilient next-hop group.
    MakeGroup {
        /// Number of the group.
        id: u32,
        /// Numbers of its members.
        members: BTreeSet<u32>,
    },
    /// Change the members of a group of ours.
    SetGroup {
        /// Number of the group.
        id: u32,
        /// Numbers of its members.
        members: BTreeSet<u32>,
    },
    /// Add our route where there is none of ours. This fails where another daemon has a route.
    Add {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The next hops of the route.
        way: Way,
    },
    /// Replace our route by one with other next hops.
    Replace {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// The next hops of the route.
        way: Way,
    },
    /// Remove a route of ours that is no longer wanted.
    RemoveRoute(Key),
    /// Remove an object of ours that nothing uses.
    RemoveObject {
        /// Number of the object.
        id: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Member {
    hop: NextHop,
    /// Number of groups that contain it.
    groups: usize,
}

/// What the kernel has of ours, as it was read, and with the changes that were requested since.
#[derive(Debug)]
pub struct Known {
    place: RoutePlace,
    style: Style,
    routes: BTreeMap<Key, Way>,
    ids: BTreeMap<NextHop, u32>,
    members: BTreeMap<u32, Member>,
    /// Groups that have the form which this daemon writes. At most one route uses each of them.
    groups: BTreeMap<u32, BTreeSet<u32>>,
    /// Groups with other settings, which are replaced. A route that uses one has its next hops until then.
    former: BTreeMap<u32, BTreeSet<u32>>,
    /// Objects that may not be in use any more.
    idle: BTreeSet<u32>,
    /// Numbers of objects of other programs.
    taken: BTreeSet<u32>,
    next: u32,
}

impl Known {
    /// Makes the state from the kernel's routes of our protocol and from all of its next-hop objects.
    #[must_use]
    pub fn new(
        place: RoutePlace,
        style: Style,
        routes: Vec<Installed>,
        objects: Vec<Object>,
    ) -> Self {
        let mut known = Self {
            place,
            style,
            routes: BTreeMap::new(),
            ids: BTreeMap::new(),
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            former: BTreeMap::new(),
            idle: BTreeSet::new(),
            taken: BTreeSet::new(),
            next: FIRST_ID,
        };
        for object in objects {
            known.take_object(object);
        }
        let mut owned = BTreeSet::new();
        for Installed { key, way } in routes {
            let way = match way {
                // Two routes must not share a group, since a change of the group would change both.
                Way::Object(id) if !owned.insert(id) => Way::Strange,
                way => way,
            };
            known.routes.insert(key, way);
        }
        // Each group counts as a user of its members, and each route as a user of its group.
        let groups: Vec<_> = known.groups.values().cloned().collect();
        groups.iter().for_each(|members| known.enter(members));
        known.idle = known
            .members
            .iter()
            .filter(|(_, member)| member.groups == 0)
            .map(|(id, _)| *id)
            .chain(known.idle.iter().copied())
            .chain(known.groups.keys().copied())
            .filter(|id| !owned.contains(id))
            .collect();
        known
    }

    fn take_object(&mut self, object: Object) {
        if object.protocol != self.place.protocol {
            self.taken.insert(object.id);
            return;
        }
        match (object.kind, self.style) {
            (Kind::Hop(hop), _) if !self.ids.contains_key(&hop) => {
                self.ids.insert(hop, object.id);
                let member = Member { hop, groups: 0 };
                self.members.insert(object.id, member);
            }
            (Kind::Group { members, settings }, Style::Resilient(wanted))
                if settings.is_as(&wanted) =>
            {
                self.groups.insert(object.id, members);
            }
            (Kind::Group { members, .. }, _) => {
                self.former.insert(object.id, members);
                self.taken.insert(object.id);
                self.idle.insert(object.id);
            }
            // The object is a duplicate, or of a kind that this daemon never makes.
            (Kind::Hop(_) | Kind::Other, _) => {
                self.taken.insert(object.id);
                self.idle.insert(object.id);
            }
        }
    }

    /// Table, destination and metric of the route of an address.
    #[must_use]
    pub fn key(&self, anycast: Ipv6Addr) -> Key {
        Key {
            table: self.place.table,
            destination: Ipv6Net::from(anycast),
            metric: self.place.metric,
        }
    }

    /// Next hops of our route at this place, if there is one.
    #[must_use]
    pub fn way(&self, key: &Key) -> Option<&Way> {
        self.routes.get(key)
    }

    /// Whether this news about a next-hop object agrees with what is known.
    #[must_use]
    pub fn expects(&self, object: &Object, deleted: bool) -> bool {
        let Object { id, protocol, kind } = object;
        let same = match (self.members.get(id), self.groups.get(id), kind) {
            (Some(member), _, Kind::Hop(hop)) => member.hop == *hop,
            (_, Some(known), Kind::Group { members, settings }) => {
                known == members && self.style == Style::Resilient(*settings)
            }
            (Some(_), _, _) | (_, Some(_), _) => false,
            // Others may do with theirs what they like. One that carries our number, and that is not known, is removed.
            (None, None, _) => return deleted || *protocol != self.place.protocol,
        };
        same && !deleted && *protocol == self.place.protocol
    }

    /// Destinations of our routes in the table and with the metric that routes to anycast addresses have.
    pub fn anycast(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.routes
            .keys()
            .filter(|key| **key == self.key(key.destination.addr()))
            .map(|key| key.destination.addr())
    }

    /// Number of our routes, wherever they are.
    pub fn count(&self) -> usize {
        self.routes.len()
    }

    /// Our routes in other places.
    pub fn strays(&self) -> Vec<Key> {
        let stray = |key: &&Key| **key != self.key(key.destination.addr());
        self.routes.keys().filter(stray).copied().collect()
    }

    /// The next hops of the route of an address.
    #[must_use]
    pub fn next_hops(&self, anycast: Ipv6Addr) -> BTreeSet<NextHop> {
        match self.routes.get(&self.key(anycast)) {
            Some(Way::Hops(hops)) => hops.iter().copied().collect(),
            Some(Way::Object(id)) => {
                let group = self.groups.get(id).or_else(|| self.former.get(id));
                let members = group.into_iter().flatten();
                members
                    .filter_map(|id| self.members.get(id))
                    .map(|member| member.hop)
                    .collect()
            }
            Some(Way::Strange) | None => BTreeSet::new(),
        }
    }

    /// Gives the route of an address exactly these next hops. An empty list removes the route.
    pub fn align(&mut self, anycast: Ipv6Addr, wanted: &[NextHop], changes: &mut Vec<Change>) {
        let key = self.key(anycast);
        if wanted.is_empty() {
            return self.remove(key, changes);
        }
        let present = self.routes.get(&key).cloned();
        // An on-link route has no gateways to spread packets over.
        let gateways = wanted.iter().all(|hop| hop.via.is_some());
        let way = match self.style {
            Style::Resilient(_) if gateways => {
                Way::Object(self.group(present.as_ref(), wanted, changes))
            }
            Style::Resilient(_) | Style::Plain => Way::Hops(wanted.to_vec()),
        };
        if present.as_ref() == Some(&way) {
            return;
        }
        let to = way.clone();
        changes.push(match present {
            None => Change::Add { anycast, way: to },
            Some(_) => Change::Replace { anycast, way: to },
        });
        self.routes.insert(key, way);
        if let Some(Way::Object(old)) = present {
            self.idle.insert(old);
        }
    }

    /// Removes the route at this place.
    pub fn remove(&mut self, key: Key, changes: &mut Vec<Change>) {
        if self.routes.contains_key(&key) {
            changes.push(Change::RemoveRoute(key));
            self.forget(&key);
        }
    }

    /// Notes that there is no such route of ours after all.
    pub fn forget(&mut self, key: &Key) {
        if let Some(Way::Object(id)) = self.routes.remove(key) {
            self.idle.insert(id);
        }
    }

    /// Removes the objects that nothing uses any more. To be called after all routes have been aligned.
    pub fn sweep(&mut self, changes: &mut Vec<Change>) {
        // Groups are removed first, since their members are in use until then.
        for id in std::mem::take(&mut self.idle) {
            if self.members.contains_key(&id) {
                self.idle.insert(id);
                continue;
            }
            if let Some(members) = self.groups.remove(&id) {
                self.leave(&members);
            }
            changes.push(Change::RemoveObject { id });
        }
        for id in std::mem::take(&mut self.idle) {
            let unused = self.members.get(&id).filter(|member| member.groups == 0);
            if let Some(Member { hop, .. }) = unused.copied() {
                self.members.remove(&id);
                self.ids.remove(&hop);
                changes.push(Change::RemoveObject { id });
            }
        }
    }

    /// Gives the group of a route these next hops, and makes it if necessary.
    fn group(
        &mut self,
        present: Option<&Way>,
        wanted: &[NextHop],
        changes: &mut Vec<Change>,
    ) -> u32 {
        let members: BTreeSet<u32> = wanted.iter().map(|hop| self.hop(*hop, changes)).collect();
        let old = match present {
            Some(Way::Object(id)) => self.groups.get(id).map(|old| (*id, old.clone())),
            Some(Way::Hops(_) | Way::Strange) | None => None,
        };
        let id = match old {
            Some((id, old)) if old == members => return id,
            Some((id, old)) => {
                self.leave(&old);
                let members = members.clone();
                changes.push(Change::SetGroup { id, members });
                id
            }
            None => {
                let id = self.free();
                let members = members.clone();
                changes.push(Change::MakeGroup { id, members });
                id
            }
        };
        self.enter(&members);
        self.groups.insert(id, members);
        id
    }

    fn hop(&mut self, hop: NextHop, changes: &mut Vec<Change>) -> u32 {
        if let Some(id) = self.ids.get(&hop) {
            return *id;
        }
        let id = self.free();
        changes.push(Change::MakeHop { id, hop });
        self.ids.insert(hop, id);
        self.members.insert(id, Member { hop, groups: 0 });
        id
    }

    /// A number that no object has.
    fn free(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = self.next.checked_add(1).unwrap_or(FIRST_ID);
            let used = self.taken.contains(&id)
                || self.members.contains_key(&id)
                || self.groups.contains_key(&id);
            if !used {
                return id;
            }
        }
    }

    fn enter(&mut self, members: &BTreeSet<u32>) {
        for id in members {
            if let Some(member) = self.members.get_mut(id) {
                member.groups += 1;
            }
        }
    }

    fn leave(&mut self, members: &BTreeSet<u32>) {
        for id in members {
            if let Some(member) = self.members.get_mut(id) {
                member.groups -= 1;
                self.idle.insert(*id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
