//! Bridges that snoop: whether Reports get to a router.
//!
//! A bridge that snoops passes Reports to those of its ports alone behind which it has heard a router: by a Query or by
//! Multicast Router Advertisements (RFC 4286). While nobody asks, it passes them to all ports, as other packets.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::Path,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{finding::Finding, netdev};

const NETLINK_ROUTE: i32 = 0;
const RTM_GETMDB: u16 = 86;
const AF_BRIDGE: u8 = 7;
const MDBA_ROUTER: u16 = 2;
const MDBA_ROUTER_PORT: u16 = 1;
const MDBA_ROUTER_PATTR_TYPE: u16 = 2;
const MDBA_ROUTER_PATTR_INET6_TIMER: u16 = 4;
/// `MDB_RTR_TYPE_PERM`
const PERMANENT: u64 = 2;
/// Octets of `struct br_port_msg`.
const HEADER: usize = 8;

/// A bridge, as /sys/class/net describes it.
#[derive(Debug, Default)]
pub(super) struct Bridge {
    /// `multicast_snooping`
    pub snoops: bool,
    /// `multicast_querier`
    pub asks: bool,
    /// `multicast_router`: whether Reports are for this machine, 0 if never.
    pub router: Option<u32>,
    pub ports: Vec<Port>,
}

#[derive(Debug)]
pub(super) struct Port {
    pub name: String,
    /// `multicast_router` of the port: 0 if Reports never go there.
    pub router: Option<u32>,
    /// Whether Reports go there now.
    pub leads: bool,
}

impl Bridge {
    /// What there is in the directory of a device, if it is a bridge.
    pub(super) fn read(device: &Path) -> Option<Self> {
        let number = |path: &Path| {
            let text = fs::read_to_string(path).ok()?;
            text.trim().parse::<u32>().ok()
        };
        let of = |what: &str| number(&device.join("bridge").join(what));
        let snoops = of("multicast_snooping")?;
        // Older kernels do not tell: then all that nobody has set is not known.
        let leading = leading().unwrap_or_default();
        let port = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let ifindex = number(&device.parent()?.join(&name).join("ifindex"))?;
            Some(Port {
                router: number(&entry.path().join("multicast_router")),
                leads: leading.contains(&ifindex),
                name,
            })
        };
        let ports = fs::read_dir(device.join("brif"));
        let ports = ports.into_iter().flatten().filter_map(Result::ok);
        Some(Self {
            snoops: snoops == 1,
            asks: of("multicast_querier") == Some(1),
            router: of("multicast_router"),
            ports: ports.filter_map(port).collect(),
        })
    }
}

/// What is to be said about a bridge of this name, on which this machine is a router, or a member.
pub(super) fn finding(name: &str, is_router: bool, bridge: &Bridge) -> Option<Finding> {
    if !bridge.snoops {
        return None;
    }
    if is_router {
        return (bridge.router == Some(0)).then(|| {
            let message = format!(
                "bridge {name} snoops and passes no Report to this machine, which is a router (mcast_router 0)"
            );
            let remedy = format!("ip link set {name} type bridge mcast_router 1");
            Finding::new("snooping", message, remedy)
        });
    }
    if bridge.ports.iter().any(|port| port.leads) {
        return None;
    }
    if bridge.asks {
        let message = format!(
            "bridge {name} snoops and asks itself (mcast_querier 1), and has heard no router behind any port: \
             Reports go nowhere"
        );
        let remedy = format!(
            "ip link set {name} type bridge mcast_querier 0, so that the router asks, or bridge link set dev PORT \
             mcast_router 2 for the port that leads to it"
        );
        return Some(Finding::new("snooping", message, remedy));
    }
    let closed = |port: &Port| port.router == Some(0);
    let first = bridge.ports.first()?;
    bridge.ports.iter().all(closed).then(|| {
        let message = format!(
            "bridge {name} snoops and takes none of its ports for one that leads to a router (mcast_router 0): \
             Reports go nowhere as soon as one asks"
        );
        let remedy = format!("bridge link set dev {} mcast_router 1", first.name);
        Finding::new("snooping", message, remedy)
    })
}

/// Ports, of all bridges, behind which the kernel has heard an IPv6 router, or was told that there is one.
///
/// # Errors
///
/// When the kernel does not answer.
pub(super) fn leading() -> io::Result<BTreeSet<u32>> {
    let mut socket = Socket::new(
        Domain::from(netdev::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_ROUTE)),
    )?;
    socket.set_read_timeout(Some(netdev::PATIENCE))?;
    socket.write_all(&netdev::dump(RTM_GETMDB, &[AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0]))?;
    let mut found = BTreeSet::new();
    netdev::answers(&mut socket, true, HEADER, |attributes| {
        let routers = attributes.iter().filter(|(kind, _)| *kind == MDBA_ROUTER);
        for (kind, value) in routers.flat_map(|(_, ports)| netdev::attributes(ports)) {
            if kind == MDBA_ROUTER_PORT {
                found.extend(port(value));
            }
        }
    })?;
    Ok(found)
}

/// A port in a list of those that lead to routers, of which some lead to routers of IPv4 alone.
fn port(value: &[u8]) -> Option<u32> {
    let ifindex = u32::from_ne_bytes(*value.first_chunk()?);
    let its = netdev::attributes(value.get(4..)?).into_iter();
    let leads = its.filter_map(|(kind, value)| Some((kind, netdev::number(value)?)));
    let leads = leads.into_iter().any(|it| match it {
        (MDBA_ROUTER_PATTR_TYPE, kind) => kind == PERMANENT,
        (MDBA_ROUTER_PATTR_INET6_TIMER, rest) => rest > 0,
        _ => false,
    });
    leads.then_some(ifindex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(asks: bool, ports: &[(u32, bool)]) -> Bridge {
        Bridge {
            snoops: true,
            asks,
            router: Some(1),
            ports: ports
                .iter()
                .map(|(router, leads)| Port {
                    name: "p0".to_owned(),
                    router: Some(*router),
                    leads: *leads,
                })
                .collect(),
        }
    }

    #[test]
    fn reports_go_nowhere_where_somebody_asks_and_no_port_leads_to_a_router() {
        for (asks, ports, is_found) in [
            (false, &[(1, false)][..], false),
            (true, &[(1, false)], true),
            (true, &[(1, false), (2, true)], false),
            (false, &[(0, false)], true),
            (false, &[(0, false), (1, false)], false),
            (false, &[], false),
        ] {
            let found = finding("br0", false, &bridge(asks, ports));
            assert_eq!(found.is_some(), is_found, "{asks} {ports:?}");
        }
        let mut own = bridge(true, &[(1, false)]);
        assert_eq!(finding("br0", true, &own), None);
        own.router = Some(0);
        assert!(finding("br0", true, &own).is_some());
        own.snoops = false;
        assert_eq!(finding("br0", true, &own), None);
    }

    #[test]
    fn a_port_leads_to_a_router_of_ipv6() {
        // As Linux 6.18 writes them: the timers in hundredths of a second, the type in one octet.
        let port_with = |kind: u8, timer: u32| {
            let mut value = Vec::from(7_u32.to_ne_bytes());
            value.extend(netdev::attribute(MDBA_ROUTER_PATTR_TYPE, &[kind]));
            value.extend(netdev::attribute(
                MDBA_ROUTER_PATTR_INET6_TIMER,
                &timer.to_ne_bytes(),
            ));
            value
        };
        assert_eq!(port(&port_with(1, 25_000)), Some(7));
        assert_eq!(port(&port_with(1, 0)), None);
        assert_eq!(port(&port_with(2, 0)), Some(7));
        assert_eq!(port(&[7, 0]), None);
    }
}
