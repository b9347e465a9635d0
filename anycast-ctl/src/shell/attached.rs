//! Programs that are attached to the interfaces of this network namespace, whoever has attached them.

use netlink_packet_core::Parseable as _;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};

use super::{
    bpf::{self, ATTACH_TCX_EGRESS, ATTACH_TCX_INGRESS},
    netlink::{NetlinkError, requests::Requests},
};

/// How our programs are called.
pub(super) const OURS: &str = "anycast_";

/// Where an interface has programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Xdp,
    TcxIngress,
    TcxEgress,
}

/// Numbers of the programs that an interface has at a point, in the order in which packets meet them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) ifindex: u32,
    pub(super) point: Point,
    pub(super) programs: Vec<u32>,
}

/// What is attached. Programs of TCX are told to who has CAP_NET_ADMIN.
pub(super) fn attached() -> Result<Vec<Attached>, NetlinkError> {
    let query = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut requests = Requests::open().map_err(NetlinkError::Socket)?;
    let links = requests.dump(&query, |octets| LinkMessage::parse(octets).ok())?;
    let mut found = Vec::new();
    for link in links {
        let ifindex = link.header.index;
        let xdp = link
            .attributes
            .iter()
            .filter_map(|attribute| match attribute {
                LinkAttribute::Xdp(attributes) => Some(attributes),
                _ => None,
            });
        let xdp = xdp.flatten().filter_map(|attribute| match attribute {
            LinkXdp::ProgId(id) => Some(*id),
            _ => None,
        });
        // Linux before 6.6 has no TCX.
        let tcx = |point| bpf::attached(ifindex, point).unwrap_or_default();
        for (point, programs) in [
            (Point::Xdp, xdp.collect()),
            (Point::TcxIngress, tcx(ATTACH_TCX_INGRESS)),
            (Point::TcxEgress, tcx(ATTACH_TCX_EGRESS)),
        ] {
            if !programs.is_empty() {
                found.push(Attached {
                    ifindex,
                    point,
                    programs,
                });
            }
        }
    }
    Ok(found)
}
