//! The kernel side, as the controller sees it: programs, maps and the ring buffer.
//!
//! Programs are attached by BPF links. The links of members and correspondents are pinned, and so are the maps that
//! sessions need: both outlive this process, and the next one takes them over (`pins`). A router's programs end with
//! the process.

mod access;
mod apply;
mod attach;
mod batch;
mod bpffs;
mod clients;
mod counted;
mod driver;
mod entry;
mod error;
mod events;
mod features;
mod flow_memory;
mod flow_table;
mod flows;
mod hints;
mod kernel;
mod limits;
mod link;
mod maps;
mod needed;
mod next_hops;
mod node_key;
mod pace;
mod pins;
mod policy;
mod programs;
mod refusal;
mod sizes;
mod stations;
mod traffic;
mod writer;

use std::io;

use anycast_common::abi::{self, globals};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

pub use crate::model::{
    limits::Limits,
    program::{Framing, Mode, Place},
    sizes::Sizes,
};
pub use attach::{Attached, GENERIC, NATIVE, TCX};
pub use bpffs::BpffsError;
pub use counted::Counters;
pub(super) use driver::{
    Channels, USUAL_MTU, channels, drops_large_at_first, is_bond, is_pair, leaves_checksums_open,
    mtu, of as driver_of,
};
pub use error::{DataplaneError, NoRoom, last_words};
pub(super) use features::{TagOffload, tags_off};
pub use flows::{ByState, FlowReader, order as flow_order};
pub use kernel::{Lacking, Missing};
pub use pace::{Hurry, Pace};
pub use pins::{Pins, PinsError};
pub use sizes::OtherSize;
pub use traffic::{Row as TrafficRow, Sum as TrafficSum};

use self::{attach::Links, events::Events, hints::Caches, limits::Globals, maps::Maps};

/// The BPF object that this library was built with; empty when the tools to build it were missing.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast.bpf.o"));

/// Settings of the data plane.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Union of the roles of all interfaces ([`roles`](abi::roles)). The maps of other roles take no memory.
    pub roles: u8,
    /// Whether MLD messages without a Router Alert option are refused.
    pub require_router_alert: bool,
    /// Token buckets for what the programs pass to the controller.
    pub limits: Limits,
    /// Sizes of the large maps.
    pub sizes: Sizes,
}

/// The loaded programs and their maps.
pub struct Dataplane {
    ebpf: Ebpf,
    links: Links,
    maps: Maps,
    events: Events,
    /// The directory in which everything is pinned that outlives this process.
    pins: Option<Pins>,
    other_sizes: Vec<OtherSize>,
}

impl Dataplane {
    /// Loads the object and starts forwarding the programs' log lines. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoObject`] for an empty object, [`DataplaneError::Kernel`] for a kernel that lacks something,
    /// [`DataplaneError::Privilege`] without the capabilities, and whatever the kernel refuses.
    pub fn load(object: &[u8], settings: Settings) -> Result<Self, DataplaneError> {
        Self::load_with(object, settings, None)
    }

    /// As [`Dataplane::load`], with maps that outlive this process and may come from an earlier one.
    ///
    /// # Errors
    ///
    /// As [`Dataplane::load`].
    pub fn load_with(
        object: &[u8],
        settings: Settings,
        pins: Option<Pins>,
    ) -> Result<Self, DataplaneError> {
        if object.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        if let Some(lacking) = kernel::lacking(settings.roles) {
            return Err(DataplaneError::Kernel(lacking));
        }
        let strict = u8::from(settings.require_router_alert);
        let globals = Globals::new()?;
        let caches = Caches::new()?;
        let mut loader = EbpfLoader::new();
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(globals::REQUIRE_ROUTER_ALERT, &strict, true);
        globals.set(&mut loader);
        caches.set(&mut loader);
        sizes::set(&mut loader, &settings.sizes, settings.roles);
        if let Some(pins) = &pins {
            pins.drop_other_maps(settings.roles)?;
            for (map, path) in pins.maps(settings.roles) {
                loader.map_pin_path(map, path);
            }
        }
        let keeper = flow_table::Keeper::new(&settings.sizes, settings.roles, pins.as_ref())?;
        keeper.set(&mut loader);
        let mut ebpf = loader.load(object).map_err(error::privilege)?;
        let logger = EbpfLogger::init(&mut ebpf)?;
        forward_log(logger)?;
        let flows = keeper.take(&mut ebpf)?;
        let mut maps = Maps::take(&mut ebpf, flows)?;
        maps.set_limits(&settings.limits)?;
        let events = Events::take(&mut ebpf)?;
        let pinned = pins.as_ref();
        let other_sizes =
            pinned.map(|pins| sizes::differing(&settings.sizes, pins, settings.roles));
        Ok(Self {
            ebpf,
            links: Links::default(),
            maps,
            events,
            pins,
            other_sizes: other_sizes.unwrap_or_default(),
        })
    }

    /// Octets that the large maps of these settings take, about, without those that an earlier run has left.
    #[must_use]
    pub fn memory(settings: &Settings, pins: Option<&Pins>) -> u64 {
        let there = pins.map_or_else(Vec::new, |pins| pins.maps(settings.roles));
        needed::memory(&settings.sizes, settings.roles, |map| {
            there
                .iter()
                .any(|(name, path)| *name == map && path.exists())
        })
    }

    /// The maps, for reading and writing.
    pub fn maps(&mut self) -> &mut Maps {
        &mut self.maps
    }

    /// Loads an XDP program, for tests that run it without an interface.
    ///
    /// # Errors
    ///
    /// When the object has no such program or the verifier refuses it.
    pub fn xdp(&mut self, roles: u8) -> Result<&mut aya::programs::Xdp, DataplaneError> {
        programs::xdp(&mut self.ebpf, roles)
    }

    /// Loads the TCX ingress program of some roles, for tests that run it without an interface.
    ///
    /// # Errors
    ///
    /// When the object has no such program or the verifier refuses it.
    pub fn tcx(
        &mut self,
        roles: u8,
    ) -> Result<&mut aya::programs::SchedClassifier, DataplaneError> {
        let name = programs::name(link::AttachPoint::Ingress, roles, Framing::Ethernet)?;
        programs::tcx(&mut self.ebpf, name)
    }

    /// Loads the TCX egress program that belongs to these roles, if there is one, for tests that run it without an
    /// interface.
    ///
    /// # Errors
    ///
    /// As [`Dataplane::tcx`].
    pub fn tcx_egress(
        &mut self,
        roles: u8,
    ) -> Result<&mut aya::programs::SchedClassifier, DataplaneError> {
        let name = programs::egress_name(roles, Framing::Ethernet);
        let name = name.ok_or(DataplaneError::Missing("egress program for these roles"))?;
        programs::tcx(&mut self.ebpf, name)
    }

    /// Loads the egress program of a member, for tests that run it without an interface.
    ///
    /// # Errors
    ///
    /// When the object has no such program or the verifier refuses it.
    pub fn egress(&mut self) -> Result<&mut aya::programs::SchedClassifier, DataplaneError> {
        self.classifier(abi::programs::MEMBER_EGRESS)
    }

    /// Loads the TCX program of this name, for tests that run it without an interface.
    ///
    /// # Errors
    ///
    /// When the object has no such program or the verifier refuses it.
    pub fn classifier(
        &mut self,
        name: &'static str,
    ) -> Result<&mut aya::programs::SchedClassifier, DataplaneError> {
        programs::tcx(&mut self.ebpf, name)
    }

    /// Attaches the programs of `roles` to the interface: XDP or TCX ingress, and TCX egress for a member,
    /// and for a correspondent that has TCX ingress.
    ///
    /// # Errors
    ///
    /// See [`DataplaneError`]; nothing stays attached when it fails.
    pub fn attach(
        &mut self,
        ifindex: u32,
        roles: u8,
        mode: Mode,
    ) -> Result<Attached, DataplaneError> {
        self.attach_at(&Place::ethernet(ifindex), roles, mode)
    }

    /// [`Dataplane::attach`], to a device that may be no Ethernet device, or where XDP would be wrong.
    ///
    /// # Errors
    ///
    /// As [`Dataplane::attach`], and [`DataplaneError::NoXdp`] and [`DataplaneError::Framing`].
    pub fn attach_at(
        &mut self,
        place: &Place,
        roles: u8,
        mode: Mode,
    ) -> Result<Attached, DataplaneError> {
        let pins = self.pins.as_ref();
        self.links.attach(&mut self.ebpf, pins, place, roles, mode)
    }

    /// Names of the TCX programs of others that packets of an interface meet before ours.
    #[must_use]
    pub fn ahead(&self, ifindex: u32) -> Vec<String> {
        self.links.ahead(ifindex)
    }

    /// Detaches what this run attached, when the start fails. Programs of an earlier run stay attached, for their
    /// sessions.
    pub fn undo(&mut self) {
        self.links.undo();
    }

    /// Detaches programs of an earlier run from all interfaces that `wanted` does not select.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn retain(&self, wanted: impl Fn(u32) -> bool) -> Result<(), DataplaneError> {
        match &self.pins {
            Some(pins) => Ok(pins.retain(wanted)?),
            None => Ok(()),
        }
    }

    /// Whether the programs outlive this process.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// Maps that were taken over from an earlier run and whose size differs from the configuration.
    #[must_use]
    pub fn other_sizes(&self) -> &[OtherSize] {
        &self.other_sizes
    }

    /// Ends everything, including what is pinned.
    ///
    /// # Errors
    ///
    /// An error of the kernel.
    pub fn end(self) -> Result<(), DataplaneError> {
        let Self { pins, .. } = self;
        pins.map_or(Ok(0), Pins::remove)?;
        Ok(())
    }

    /// Detaches our programs from the interface, which may not exist any more.
    pub fn detach(&mut self, ifindex: u32) {
        self.links.detach(ifindex);
    }

    /// Passes the records that are in the ring buffer now to `sink`.
    pub fn take_events(&mut self, sink: impl FnMut(&anycast_common::abi::event::Header, &[u8])) {
        self.events.take_all(sink);
    }

    /// Waits until the ring buffer has records, and passes each of them to `sink`.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be polled.
    pub async fn events(
        &mut self,
        sink: impl FnMut(&anycast_common::abi::event::Header, &[u8]),
    ) -> io::Result<bool> {
        self.events.drain(sink).await
    }
}

fn forward_log(logger: EbpfLogger<&'static dyn log::Log>) -> Result<(), DataplaneError> {
    // SAFETY: the logger owns the file descriptor of its ring, which stays open and does not change until the logger is
    // dropped.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
    Ok(())
}
