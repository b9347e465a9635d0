//! Attaches programs to interfaces.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
};

use anycast_common::abi::roles;
use aya::Ebpf;
use serde::Serialize;

use super::{
    driver,
    error::DataplaneError,
    link::{AttachPoint, Link},
    pins::{self, Pins},
    programs::{self, egress_name, program_error},
    refusal,
};
use crate::model::program::{Framing, Mode, Place};

/// The attach points for incoming packets that a mode tries, in order.
fn points(mode: Mode, place: &Place) -> &'static [AttachPoint] {
    match mode {
        Mode::Auto if place.no_xdp.is_some() => &[AttachPoint::Ingress],
        // Native XDP that an earlier run left costs nothing any more, and stays.
        Mode::Auto if place.dear_native.is_some() => &[AttachPoint::Ingress, AttachPoint::Native],
        Mode::Auto => &[AttachPoint::Native, AttachPoint::Ingress],
        Mode::Native => &[AttachPoint::Native],
        Mode::Generic => &[AttachPoint::Generic],
        Mode::Tcx => &[AttachPoint::Ingress],
    }
}

/// Name of the mode in which programs are attached by TCX.
pub const TCX: &str = AttachPoint::Ingress.name();

/// Name of the mode in which programs are attached by XDP in the driver.
pub const NATIVE: &str = AttachPoint::Native.name();

/// Name of the mode in which programs are attached by XDP in the stack.
pub const GENERIC: &str = AttachPoint::Generic.name();

/// A program that was attached, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// Name of the program for incoming packets.
    pub program: &'static str,
    /// `native`, `generic` or `tcx`.
    pub mode: &'static str,
    /// Why the program is attached in this mode.
    pub reason: String,
    /// Whether it replaced the program of an earlier run, so that no packet met an interface without a program.
    pub replaced: bool,
    /// The MTU of the interface when it took the program.
    pub mtu: Option<i32>,
}

/// The links of each interface. Dropping a link that is not pinned detaches its program.
#[derive(Default)]
pub(super) struct Links(HashMap<u32, Vec<Held>>);

/// A link, and the path at which it is pinned.
struct Held {
    link: Link,
    point: AttachPoint,
    pin: Option<PathBuf>,
    /// Whether an earlier run made the link.
    adopted: bool,
}

impl Links {
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
        place: &Place,
        roles: u8,
        mode: Mode,
    ) -> Result<Attached, DataplaneError> {
        check(place, roles, mode)?;
        let ifindex = place.ifindex;
        let wanted = points(mode, place);
        // A second program on the interface would be refused as one of another owner.
        self.0.remove(&ifindex);
        if let Some(pins) = pins {
            for point in AttachPoint::ALL {
                // A link cannot change its attach point, and an interface can have only one XDP program.
                let stands_in_the_way = point.is_xdp()
                    && wanted.iter().any(|wanted| wanted.is_xdp())
                    && !wanted.contains(&point);
                if stands_in_the_way || roles & pins::ROLES == 0 {
                    pins::detach(&pins.link(ifindex, point))?;
                }
            }
        }
        let pins = pins.filter(|_| roles & pins::ROLES != 0);
        let (held, attached) = attach(ebpf, pins, place, roles, mode)?;
        if let Some(pins) = pins {
            // These are links of an earlier run at other attach points. A packet that was rewritten once is not
            // rewritten again, so that two programs may be attached for a moment. A moment without any program would
            // be worse.
            for point in AttachPoint::ALL {
                if !held.iter().any(|held| held.point == point) {
                    pins::detach(&pins.link(ifindex, point))?;
                }
            }
        }
        self.0.insert(ifindex, held);
        Ok(attached)
    }

    /// Names of the TCX programs that packets of an interface meet before ours, those on the way in first.
    pub(super) fn ahead(&self, ifindex: u32) -> Vec<String> {
        let held = self.0.get(&ifindex).into_iter().flatten();
        held.filter(|held| !held.point.is_xdp())
            .flat_map(|held| held.link.ahead(ifindex, held.point).unwrap_or_default())
            .collect()
    }

    /// Detaches what this run attached. Programs of an earlier run that it replaced stay attached, for their sessions.
    pub(super) fn undo(&mut self) {
        self.0
            .drain()
            .flat_map(|(_, held)| held)
            .for_each(Held::undo);
    }

    /// Detaches the programs of an interface for good, and removes their pins.
    pub(super) fn detach(&mut self, ifindex: u32) {
        for held in self.0.remove(&ifindex).into_iter().flatten() {
            held.detach();
        }
    }
}

impl Held {
    /// Replaces the program of a pinned link, or attaches the program to the interface if there is no such link.
    fn hang(
        program: BorrowedFd<'_>,
        pins: Option<&Pins>,
        ifindex: u32,
        point: AttachPoint,
    ) -> io::Result<Self> {
        let pin = pins.map(|pins| pins.link(ifindex, point));
        if let Some(path) = &pin {
            if pins::is_attached(path) {
                let link = Link::from_pin(path)?;
                link.update(program)?;
                return Ok(Self {
                    link,
                    point,
                    pin,
                    adopted: true,
                });
            }
            // The pin belongs to an interface that no longer exists and whose index this interface now has.
            pins::detach(path).map_err(io::Error::other)?;
        }
        let link = Link::create(program, ifindex, point)?;
        let pin = pin.filter(|path| {
            let pinned = link.pin(path);
            if let Err(error) = &pinned {
                tracing::warn!(ifindex, %error, "cannot pin a program: it ends with the daemon");
            }
            pinned.is_ok()
        });
        Ok(Self {
            link,
            point,
            pin,
            adopted: false,
        })
    }

    /// Undoes an attachment. A program that was attached before stays.
    fn undo(self) {
        if !self.adopted {
            self.detach();
        }
    }

    fn detach(self) {
        if let Some(path) = &self.pin
            && let Err(error) = pins::detach(path)
        {
            tracing::warn!(%error, "cannot remove a pin");
        }
    }
}

/// What the kernel would take, and would be wrong.
fn check(place: &Place, roles: u8, mode: Mode) -> Result<(), DataplaneError> {
    match place.framing {
        Framing::Ethernet => {}
        Framing::Bare if roles & roles::ROUTER == 0 => {}
        Framing::Bare => {
            return Err(DataplaneError::Framing(
                "a router needs Ethernet, by whose addresses it knows members, and this device has none: \
                 routes to members behind it are for an administrator or a routing protocol",
            ));
        }
        Framing::Vrf => {
            return Err(DataplaneError::Framing(
                "it is a VRF, at which programs see nothing that comes in: configure its ports",
            ));
        }
        Framing::Other(_) => {
            return Err(DataplaneError::Framing(
                "its packets begin neither with an Ethernet nor with an IP header: \
                 configure the device below or beside it",
            ));
        }
    }
    match place.refuses(mode) {
        Some(reason) => Err(DataplaneError::NoXdp(reason.to_owned())),
        None => Ok(()),
    }
}

/// Attaches the programs at the first attach point that accepts them.
fn attach(
    ebpf: &mut Ebpf,
    pins: Option<&Pins>,
    place: &Place,
    roles: u8,
    mode: Mode,
) -> Result<(Vec<Held>, Attached), DataplaneError> {
    let ifindex = place.ifindex;
    let mut wanted = points(mode, place).to_vec();
    // An attach point that an earlier run used is known to work. Trying the others again would leave a moment without
    // a program. Where it does not work any more, as by a driver that has got a larger MTU since, its program stays
    // until there is another.
    if let Some(pins) = pins {
        wanted.sort_by_key(|point| !pins::is_attached(&pins.link(ifindex, *point)));
    }
    let mtu = driver::mtu(ifindex);
    let mut refused = None;
    for point in &wanted {
        let error = match attach_by(*point, ebpf, pins, place, roles) {
            Ok(held) => {
                let replaced = held.iter().any(|held| held.point == *point && held.adopted);
                let attached = Attached {
                    program: programs::name(*point, roles, place.framing)?,
                    mode: point.name(),
                    reason: reason(mode, place, replaced, refused.as_ref()),
                    replaced,
                    mtu,
                };
                return Ok((held, attached));
            }
            Err(DataplaneError::Attach { program, error, .. }) => match error.raw_os_error() {
                Some(libc_errno::EBUSY | libc_errno::EEXIST) => {
                    return Err(DataplaneError::Busy { ifindex });
                }
                _ if *point == AttachPoint::Native => {
                    let program = programs::xdp(ebpf, roles)?;
                    let has_one =
                        pins.is_some_and(|pins| pins::is_attached(&pins.link(ifindex, *point)));
                    let why = refusal::explain(program, ifindex, &error, has_one);
                    DataplaneError::NotNative { why }
                }
                _ => DataplaneError::Attach {
                    program,
                    ifindex,
                    error,
                },
            },
            Err(error) => return Err(error),
        };
        if mode == Mode::Auto && *point == AttachPoint::Native {
            tracing::info!(ifindex, "TCX: {error}");
        }
        refused = Some(error);
    }
    Err(refused.unwrap_or(DataplaneError::Missing("attach point")))
}

/// Attaches the programs for both directions, or neither. The egress program is attached first, since every packet that
/// comes in is to be answered.
fn attach_by(
    point: AttachPoint,
    ebpf: &mut Ebpf,
    pins: Option<&Pins>,
    place: &Place,
    roles: u8,
) -> Result<Vec<Held>, DataplaneError> {
    let ifindex = place.ifindex;
    let ways = [
        egress_name(roles, place.framing).map(|name| (AttachPoint::Egress, name)),
        Some((point, programs::name(point, roles, place.framing)?)),
    ];
    let mut held = Vec::new();
    for (point, name) in ways.into_iter().flatten() {
        let fd = match point {
            AttachPoint::Native | AttachPoint::Generic => programs::xdp(ebpf, roles)?.fd(),
            AttachPoint::Ingress | AttachPoint::Egress => programs::tcx(ebpf, name)?.fd(),
        };
        let fd = fd.map_err(|error| program_error(name, error))?;
        match Held::hang(fd.as_fd(), pins, ifindex, point) {
            Ok(link) => held.push(link),
            Err(error) => {
                held.into_iter().for_each(Held::undo);
                return Err(DataplaneError::Attach {
                    program: name,
                    ifindex,
                    error,
                });
            }
        }
    }
    Ok(held)
}

/// Why an interface has its mode, as `status` shows it.
fn reason(mode: Mode, place: &Place, adopted: bool, refused: Option<&DataplaneError>) -> String {
    if let (Mode::Auto, Some(reason)) = (mode, &place.no_xdp) {
        return format!("auto: {reason}");
    }
    match (mode, refused) {
        (Mode::Native | Mode::Generic | Mode::Tcx, _) => "configured".to_owned(),
        (Mode::Auto, _) if adopted => "auto: that of the program before".to_owned(),
        (Mode::Auto, None) if let Some(reason) = &place.dear_native => format!("auto: {reason}"),
        (Mode::Auto, None) => match driver::of(place.ifindex) {
            Some(driver) if driver::gives_up_offloads(&driver) => {
                format!("auto: the driver has it; \"tcx\" would keep the offloads of {driver}")
            }
            _ => "auto: the driver has it".to_owned(),
        },
        (Mode::Auto, Some(DataplaneError::NotNative { why })) => format!("auto: {why}"),
        (Mode::Auto, Some(error)) => format!("auto: {error}"),
    }
}

/// The error numbers of the kernel that this module distinguishes.
mod libc_errno {
    use nix::errno::Errno;

    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EEXIST: i32 = Errno::EEXIST as i32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_xdp_that_costs_something_is_for_who_asks_for_it() {
        let plain = Place::ethernet(1);
        let dear = Place {
            dear_native: Some("it drops".to_owned()),
            ..plain.clone()
        };
        for (mode, by_plain, by_dear) in [
            (Mode::Auto, AttachPoint::Native, AttachPoint::Ingress),
            (Mode::Native, AttachPoint::Native, AttachPoint::Native),
            (Mode::Generic, AttachPoint::Generic, AttachPoint::Generic),
            (Mode::Tcx, AttachPoint::Ingress, AttachPoint::Ingress),
        ] {
            assert_eq!(points(mode, &plain)[0], by_plain, "{mode:?}");
            assert_eq!(points(mode, &dear)[0], by_dear, "{mode:?}");
            assert_eq!(dear.refuses(mode), None, "{mode:?}");
        }
        // What an earlier run has attached is looked for among all that a mode tries.
        assert!(points(Mode::Auto, &dear).contains(&AttachPoint::Native));
        let said = |replaced| reason(Mode::Auto, &dear, replaced, None);
        assert_eq!(said(false), "auto: it drops");
        assert_eq!(said(true), "auto: that of the program before");
    }
}
