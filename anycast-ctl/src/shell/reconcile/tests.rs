use std::time::Duration;

use super::*;
use crate::model::nexthop::Resilient;

const PLACE: RoutePlace = RoutePlace {
    table: 254,
    metric: 512,
    protocol: 172,
};
const SETTINGS: Resilient = Resilient {
    buckets: 128,
    idle_timer: Duration::from_secs(120),
    unbalanced_timer: Duration::ZERO,
};
const RESILIENT: Style = Style::Resilient(SETTINGS);

fn b(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, last)
}

fn hop(last: u16) -> NextHop {
    NextHop {
        via: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)),
        ifindex: 7,
    }
}

fn hops(hosts: &[u16]) -> Vec<NextHop> {
    hosts.iter().copied().map(hop).collect()
}

/// A kernel that does as it is told, and checks what a real one would refuse.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    routes: BTreeMap<Key, Way>,
    objects: BTreeMap<u32, Object>,
}

impl Kernel {
    fn known(&self, style: Style) -> Known {
        let routes = self.routes.iter();
        let routes = routes.map(|(key, way)| Installed {
            key: *key,
            way: way.clone(),
        });
        let objects = self.objects.values().cloned().collect();
        Known::new(PLACE, style, routes.collect(), objects)
    }

    fn object(&mut self, id: u32, kind: Kind) {
        let protocol = PLACE.protocol;
        self.objects.insert(id, Object { id, protocol, kind });
    }

    fn route(&mut self, anycast: Ipv6Addr, way: Way) {
        let key = Kernel::default().known(Style::Plain).key(anycast);
        self.routes.insert(key, way);
    }

    fn perform(&mut self, changes: &[Change]) {
        for change in changes.iter().cloned() {
            match change {
                Change::MakeHop { id, hop } => {
                    assert!(!self.objects.contains_key(&id), "{id} is taken");
                    self.object(id, Kind::Hop(hop));
                }
                Change::MakeGroup { id, members } => {
                    assert!(!self.objects.contains_key(&id), "{id} is taken");
                    self.group(id, members);
                }
                Change::SetGroup { id, members } => {
                    assert!(self.objects.contains_key(&id), "{id} is gone");
                    self.group(id, members);
                }
                Change::Add { anycast, way } => {
                    self.lead(&way);
                    let key = Kernel::default().known(Style::Plain).key(anycast);
                    assert!(self.routes.insert(key, way).is_none(), "there is one");
                }
                Change::Replace { anycast, way } => {
                    self.lead(&way);
                    let key = Kernel::default().known(Style::Plain).key(anycast);
                    assert!(self.routes.insert(key, way).is_some(), "there is none");
                }
                Change::RemoveRoute(key) => assert!(self.routes.remove(&key).is_some()),
                Change::RemoveObject { id } => {
                    let used = self.routes.values().any(|way| *way == Way::Object(id))
                        || self.objects.values().any(|object| {
                            matches!(&object.kind, Kind::Group { members, .. } if members.contains(&id))
                        });
                    assert!(!used, "{id} is in use");
                    assert!(self.objects.remove(&id).is_some());
                }
            }
        }
    }

    fn group(&mut self, id: u32, members: BTreeSet<u32>) {
        assert!(members.iter().all(|id| self.objects.contains_key(id)));
        let settings = SETTINGS;
        self.object(id, Kind::Group { members, settings });
    }

    fn lead(&self, way: &Way) {
        if let Way::Object(id) = way {
            assert!(self.objects.contains_key(id), "{id} is missing");
        }
    }

    /// Aligns everything, as after a full reading.
    fn repair(&mut self, style: Style, desired: &[(u16, &[u16])]) -> Vec<Change> {
        let mut known = self.known(style);
        let mut changes = Vec::new();
        for stray in known.strays() {
            known.remove(stray, &mut changes);
        }
        let mut all: BTreeMap<Ipv6Addr, &[u16]> = known.anycast().map(|b| (b, &[][..])).collect();
        all.extend(desired.iter().map(|(last, hosts)| (b(*last), *hosts)));
        for (anycast, hosts) in all {
            known.align(anycast, &hops(hosts), &mut changes);
        }
        known.sweep(&mut changes);
        self.perform(&changes);
        changes
    }
}

const SOME: &[(u16, &[u16])] = &[(1, &[1]), (2, &[1, 2, 3]), (4, &[2])];

#[test]
fn a_repaired_kernel_needs_no_repair() {
    for style in [Style::Plain, RESILIENT] {
        let mut kernel = Kernel::default();
        assert!(!kernel.repair(style, SOME).is_empty());
        assert_eq!(kernel.repair(style, SOME), []);
        for (last, hosts) in SOME {
            let hops: BTreeSet<_> = hops(hosts).into_iter().collect();
            assert_eq!(kernel.known(style).next_hops(b(*last)), hops);
        }
        kernel.repair(style, &[]);
        assert_eq!(kernel, Kernel::default(), "nothing is left");
    }
}

#[test]
fn a_member_more_or_less_changes_its_group_only() {
    let mut kernel = Kernel::default();
    kernel.repair(RESILIENT, &[(1, &[1, 2, 3])]);
    let mut known = kernel.known(RESILIENT);
    let mut changes = Vec::new();
    known.align(b(1), &hops(&[1, 2, 3, 4]), &mut changes);
    known.sweep(&mut changes);
    assert!(
        matches!(
            changes[..],
            [Change::MakeHop { .. }, Change::SetGroup { .. }]
        ),
        "{changes:?}"
    );
    kernel.perform(&changes);
    changes.clear();
    known.align(b(1), &hops(&[1, 3, 4]), &mut changes);
    known.sweep(&mut changes);
    assert!(
        matches!(
            changes[..],
            [Change::SetGroup { .. }, Change::RemoveObject { .. }]
        ),
        "{changes:?}"
    );
    kernel.perform(&changes);
    assert_eq!(kernel.repair(RESILIENT, &[(1, &[1, 3, 4])]), []);
}

#[test]
fn a_deleted_route_comes_back_with_its_group() {
    let mut kernel = Kernel::default();
    kernel.repair(RESILIENT, SOME);
    let whole = kernel.known(RESILIENT).key(b(2));
    kernel.routes.remove(&whole);
    kernel.repair(RESILIENT, SOME);
    assert_eq!(kernel.repair(RESILIENT, SOME), []);
    assert_eq!(kernel.objects.len(), 3 + 3, "three members, three groups");
}

#[test]
fn strays_go_wherever_they_are() {
    let mut kernel = Kernel::default();
    for (table, destination, metric) in [
        (254, "2001:db8:a::1/128", 100),
        (1000, "2001:db8:a::1/128", 512),
        (254, "2001:db8:a::/64", 512),
        (254, "2001:db8:a::3/128", 512),
    ] {
        let destination = destination.parse().expect("a prefix");
        let key = Key {
            table,
            destination,
            metric,
        };
        kernel.routes.insert(key, Way::Hops(hops(&[1])));
    }
    let changes = kernel.repair(Style::Plain, &[(1, &[1])]);
    let removals = changes
        .iter()
        .filter(|change| matches!(change, Change::RemoveRoute(_)));
    assert_eq!(removals.count(), 4);
    assert_eq!(kernel.routes.len(), 1);
}

#[test]
fn one_style_turns_into_the_other() {
    let mut kernel = Kernel::default();
    kernel.repair(RESILIENT, SOME);
    kernel.repair(Style::Plain, SOME);
    assert_eq!(kernel.objects, BTreeMap::new());
    kernel.repair(RESILIENT, SOME);
    assert_eq!(kernel.repair(RESILIENT, SOME), []);
}

#[test]
fn objects_of_an_earlier_run_are_used_or_removed() {
    let mut kernel = Kernel::default();
    kernel.object(5, Kind::Hop(hop(1)));
    kernel.object(6, Kind::Hop(hop(1)));
    kernel.object(7, Kind::Other);
    let members = BTreeSet::from([5]);
    let mut settings = SETTINGS;
    kernel.object(
        8,
        Kind::Group {
            members: members.clone(),
            settings,
        },
    );
    settings.buckets = 64;
    kernel.object(9, Kind::Group { members, settings });
    // Two routes on one group: each gets its own.
    kernel.route(b(1), Way::Object(8));
    kernel.route(b(2), Way::Object(8));
    kernel.route(b(3), Way::Object(9));
    kernel.repair(RESILIENT, &[(1, &[1]), (2, &[1]), (3, &[1])]);
    let ids: Vec<u32> = kernel.objects.keys().copied().collect();
    assert_eq!(ids[..2], [5, 8]);
    assert_eq!(ids.len(), 4, "one member and three groups");
    assert_eq!(
        kernel.repair(RESILIENT, &[(1, &[1]), (2, &[1]), (3, &[1])]),
        []
    );
}

#[test]
fn numbers_of_others_are_passed_over_and_their_objects_stay() {
    let mut kernel = Kernel::default();
    for id in [FIRST_ID, FIRST_ID + 2] {
        let object = Object {
            id,
            protocol: 3,
            kind: Kind::Hop(hop(1)),
        };
        kernel.objects.insert(id, object);
    }
    kernel.repair(RESILIENT, &[(1, &[1, 2])]);
    assert_eq!(kernel.objects[&FIRST_ID].protocol, 3);
    kernel.repair(RESILIENT, &[]);
    assert_eq!(kernel.objects.len(), 2);
}

#[test]
fn a_way_that_we_never_have_is_replaced() {
    let mut kernel = Kernel::default();
    kernel.route(b(1), Way::Strange);
    let changes = kernel.repair(Style::Plain, &[(1, &[1])]);
    assert!(
        matches!(changes[..], [Change::Replace { .. }]),
        "{changes:?}"
    );
}
