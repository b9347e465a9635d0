//! Which route changes lead from what the kernel has to what the core wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use crate::core::NextHop;

/// The routes that the core wants: destination (a /128) and next hops.
pub type Desired = BTreeMap<Ipv6Addr, Vec<NextHop>>;

/// A route of our protocol that the kernel has in our table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    /// Its destination.
    pub destination: Ipv6Net,
    /// Its metric.
    pub metric: u32,
    /// Its next hops, sorted; none where it has something that our routes never have.
    pub next_hops: Option<Vec<NextHop>>,
}

/// One change of the routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// There is no route of ours: add one, and fail where another daemon has one.
    Add {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Its next hops.
        next_hops: Vec<NextHop>,
    },
    /// Our route has other next hops: replace it.
    Replace {
        /// The anycast address, B.
        anycast: Ipv6Addr,
        /// Its next hops.
        next_hops: Vec<NextHop>,
    },
    /// A route of ours that nothing wants.
    Remove {
        /// Its destination.
        destination: Ipv6Net,
        /// Its metric.
        metric: u32,
    },
}

/// What to change so that `actual` becomes `desired` at `metric`: removals first, since a stray may
/// hold the place of a route.
#[must_use]
pub fn diff(desired: &Desired, actual: &[Installed], metric: u32) -> Vec<RouteChange> {
    let mut changes = Vec::new();
    let mut present = BTreeSet::new();
    for route in actual {
        let wanted = desired
            .get(&route.destination.addr())
            .filter(|_| route.destination.prefix_len() == 128 && route.metric == metric);
        match wanted {
            None => changes.push(RouteChange::Remove {
                destination: route.destination,
                metric: route.metric,
            }),
            Some(next_hops) => {
                present.insert(route.destination.addr());
                if route.next_hops.as_ref() != Some(next_hops) {
                    changes.push(RouteChange::Replace {
                        anycast: route.destination.addr(),
                        next_hops: next_hops.clone(),
                    });
                }
            }
        }
    }
    for (anycast, next_hops) in desired {
        if !present.contains(anycast) {
            changes.push(RouteChange::Add {
                anycast: *anycast,
                next_hops: next_hops.clone(),
            });
        }
    }
    changes.sort_by_key(|change| !matches!(change, RouteChange::Remove { .. }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRIC: u32 = 512;

    fn b(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, last)
    }

    fn hop(last: u16) -> NextHop {
        NextHop {
            via: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)),
            ifindex: 7,
        }
    }

    fn installed(last: u16, hops: &[u16]) -> Installed {
        Installed {
            destination: Ipv6Net::from(b(last)),
            metric: METRIC,
            next_hops: Some(hops.iter().copied().map(hop).collect()),
        }
    }

    fn desired(routes: &[(u16, &[u16])]) -> Desired {
        routes
            .iter()
            .map(|(last, hops)| (b(*last), hops.iter().copied().map(hop).collect()))
            .collect()
    }

    #[test]
    fn nothing_to_do_when_they_agree() {
        let actual = [installed(1, &[1, 2]), installed(2, &[1])];
        assert_eq!(
            diff(&desired(&[(1, &[1, 2]), (2, &[1])]), &actual, METRIC),
            []
        );
        assert_eq!(diff(&Desired::new(), &[], METRIC), []);
    }

    #[test]
    fn a_route_deleted_by_hand_comes_back() {
        assert_eq!(
            diff(&desired(&[(1, &[1])]), &[], METRIC),
            [RouteChange::Add {
                anycast: b(1),
                next_hops: vec![hop(1)]
            }]
        );
    }

    #[test]
    fn other_next_hops_are_replaced() {
        let mut strange = installed(2, &[]);
        strange.next_hops = None;
        assert_eq!(
            diff(
                &desired(&[(1, &[1, 2]), (2, &[1])]),
                &[installed(1, &[1]), strange],
                METRIC
            ),
            [
                RouteChange::Replace {
                    anycast: b(1),
                    next_hops: vec![hop(1), hop(2)]
                },
                RouteChange::Replace {
                    anycast: b(2),
                    next_hops: vec![hop(1)]
                }
            ]
        );
    }

    #[test]
    fn strays_go_first() {
        let mut old_metric = installed(1, &[1]);
        old_metric.metric = 100;
        let mut short = installed(1, &[1]);
        short.destination = "2001:db8:a::/64".parse().expect("a prefix");
        let changes = diff(
            &desired(&[(1, &[1])]),
            &[old_metric.clone(), short.clone(), installed(3, &[1])],
            METRIC,
        );
        let remove = |route: &Installed| RouteChange::Remove {
            destination: route.destination,
            metric: route.metric,
        };
        assert_eq!(
            changes,
            [
                remove(&old_metric),
                remove(&short),
                remove(&installed(3, &[1])),
                RouteChange::Add {
                    anycast: b(1),
                    next_hops: vec![hop(1)]
                }
            ]
        );
    }

    #[test]
    fn applying_the_diff_leaves_no_diff() {
        let want = desired(&[(1, &[1]), (2, &[2, 3]), (4, &[1])]);
        let mut have = vec![
            installed(1, &[9]),
            installed(2, &[2, 3]),
            installed(5, &[1]),
        ];
        for change in diff(&want, &have, METRIC) {
            match change {
                RouteChange::Remove { destination, .. } => {
                    have.retain(|r| r.destination != destination)
                }
                RouteChange::Add { anycast, next_hops }
                | RouteChange::Replace { anycast, next_hops } => {
                    have.retain(|r| r.destination.addr() != anycast);
                    have.push(Installed {
                        destination: Ipv6Net::from(anycast),
                        metric: METRIC,
                        next_hops: Some(next_hops),
                    });
                }
            }
        }
        assert_eq!(diff(&want, &have, METRIC), []);
    }
}
