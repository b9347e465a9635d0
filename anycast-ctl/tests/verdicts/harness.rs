//! Runs a packet through a real program, loaded through the real verifier.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anycast_common::abi::{event::Header, roles::CORRESPONDENT};
use anycast_ctl::{
    core::{MapAction, Time, rate::Rate},
    shell::dataplane::{Dataplane, Limits, OBJECT, Pins, Settings},
};
use anyhow::{Context as _, Result, ensure};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::if_indextoname,
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::packets::address;

/// Two at once, and one more in an hour.
pub const TWO: Rate = Rate {
    every: std::time::Duration::from_hours(1),
    burst: 2,
};

/// Where packets meet the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    /// Ingress, and egress of another interface of a gateway behind it; a verdict of "the next program decides" is a
    /// [`Verdict::Pass`].
    Tcx,
    /// Egress of a correspondent; likewise.
    TcxOut,
}

/// While this lives no other test pins anything: all of them are in one network namespace, which has pins of one run.
pub fn alone_with_pins() -> MutexGuard<'static, ()> {
    static PINS: Mutex<()> = Mutex::new(());
    PINS.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// That of the benches which are made next on this thread.
    static HOOK: Cell<Hook> = const { Cell::new(Hook::Xdp) };
}

/// Benches are made for a hook while this lives.
pub struct At(Hook);

impl At {
    pub fn new(hook: Hook) -> Self {
        Self(HOOK.replace(hook))
    }

    /// TCX, on the way in.
    pub fn tcx() -> Self {
        Self::new(Hook::Tcx)
    }
}

impl Drop for At {
    fn drop(&mut self) {
        HOOK.set(self.0);
    }
}

/// XDP actions and TC verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    Pass,
    Tx,
    Redirect,
    /// TCX: the next program decides.
    Next,
}

/// A row of a verdict table.
pub struct Row {
    pub name: &'static str,
    pub frame: Vec<u8>,
    pub verdict: Verdict,
    /// None: the frame leaves as it came.
    pub becomes: Option<Vec<u8>>,
    /// Counters that go up, by how much; all others stay.
    pub counts: &'static [(&'static str, u64)],
    /// Kinds of the events that the controller gets.
    pub events: &'static [u8],
}

/// The programs of one role, loaded, with their maps.
pub struct Bench {
    // The programs' log is read by a task of it.
    _runtime: tokio::runtime::Runtime,
    pub dataplane: Dataplane,
    roles: u8,
    pub hook: Hook,
    /// Octets of a segment in what is a merged packet to TCX; 0: nothing is merged.
    pub segment: u32,
    /// Packets of the wire in what a member sends at once; 0: nothing is merged.
    pub merged: u32,
    /// Interface by which a packet came that goes out at TCX; 0: it is one of this host.
    pub arrived: u32,
    /// Interface by which a packet leaves that came in at TCX; 0: that by which it came.
    pub leaves: u32,
    /// What comes in at TCX does not leave: the kernel answers it.
    pub ends: bool,
    /// Addresses of this host: what comes in at TCX for them does not leave.
    pub served: Vec<std::net::Ipv6Addr>,
    /// TCX: frames keep their destination, which is not the interface's.
    pub overheard: bool,
    /// Interface on which frames come; the kernel makes it the loopback interface when it is 0.
    pub ingress: u32,
}

impl Bench {
    pub fn new(roles: u8, require_router_alert: bool) -> Result<Self> {
        Self::with_limits(roles, require_router_alert, Limits::NONE)
    }

    /// With a limit for each sender of Reports and Dones.
    pub fn with_rate(roles: u8, require_router_alert: bool, reports: Rate) -> Result<Self> {
        let limits = Limits {
            reports,
            ..Limits::NONE
        };
        Self::with_limits(roles, require_router_alert, limits)
    }

    /// With limits of any kind.
    pub fn with_limits(roles: u8, require_router_alert: bool, limits: Limits) -> Result<Self> {
        Self::with(Settings {
            roles,
            require_router_alert,
            limits,
            sizes: Default::default(),
        })
    }

    pub fn with(settings: Settings) -> Result<Self> {
        Self::of(OBJECT, settings, None)
    }

    /// With the programs of this object, and what is pinned.
    pub fn of(object: &[u8], settings: Settings, pins: Option<Pins>) -> Result<Self> {
        let roles = settings.roles;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let dataplane = Dataplane::load_with(object, settings, pins)?;
        drop(guard);
        Ok(Self {
            _runtime: runtime,
            dataplane,
            roles,
            hook: HOOK.get(),
            segment: 0,
            merged: 0,
            arrived: 0,
            leaves: 0,
            ends: false,
            served: Vec::new(),
            overheard: false,
            ingress: 0,
        })
    }

    /// Ends everything, including what is pinned.
    pub fn end(self) -> Result<()> {
        Ok(self.dataplane.end()?)
    }

    /// Gives the frame to the program of the bench's hook.
    pub fn run(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        match self.hook {
            Hook::Xdp => self.xdp(frame),
            Hook::Tcx => self.through(frame),
            Hook::TcxOut => self.tcx(frame),
        }
    }

    /// A packet that comes in and, if it is a gateway's, goes out again.
    fn through(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        let (verdict, came) = self.tcx(frame)?;
        let goes_on = self.roles & CORRESPONDENT != 0 && !self.ends && !self.serves(&came);
        if verdict != Verdict::Pass || !goes_on {
            return Ok((verdict, came));
        }
        let ingress = self.ingress;
        let egress = match self.leaves {
            0 => ingress,
            egress => egress,
        };
        (self.hook, self.arrived, self.ingress) = (Hook::TcxOut, ingress.max(1), egress);
        let result = self.tcx(&came);
        (self.hook, self.arrived, self.ingress) = (Hook::Tcx, 0, ingress);
        result
    }

    /// Whether the frame is for an address of this host.
    fn serves(&self, frame: &[u8]) -> bool {
        let mut offset = 12;
        while matches!(frame.get(offset..offset + 2), Some([0x81 | 0x88, 0 | 0xa8])) {
            offset += 4;
        }
        let destination = frame.get(offset + 26..offset + 42);
        self.served
            .iter()
            .any(|served| destination == Some(&served.octets()[..]))
    }

    fn tcx(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        let mut out = vec![0; frame.len() + 256];
        // struct __sk_buff: `ingress_ifindex`, `ifindex` and `gso_size` are the 10th, the 11th and the 45th
        // of its words.
        let mut words = [0_u32; 46];
        words[9] = self.arrived;
        words[10] = self.ingress;
        words[44] = self.segment;
        let context: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // The kernel compares the destination with the interface's address, which is none of these tests but one.
        let mut given = frame.to_vec();
        let arrives = self.hook == Hook::Tcx && !self.overheard;
        if arrives {
            given[..6].copy_from_slice(&mac(self.ingress)?);
        }
        let program = match self.hook {
            // The interface by which it leaves may have this role alone.
            Hook::TcxOut if self.arrived != 0 => self.dataplane.tcx_egress(CORRESPONDENT)?,
            Hook::TcxOut => self.dataplane.tcx_egress(self.roles)?,
            Hook::Xdp | Hook::Tcx => self.dataplane.tcx(self.roles)?,
        };
        let result = program.test_run(TestRunOptions {
            data_in: Some(&given),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })?;
        out.truncate(usize::try_from(result.data_size_out)?);
        if arrives {
            out[..6].copy_from_slice(&frame[..6]);
        }
        let verdict = match result.return_value.cast_signed() {
            -1 => Verdict::Pass,
            2 => Verdict::Drop,
            7 => Verdict::Redirect,
            other => anyhow::bail!("TC verdict {other}"),
        };
        Ok((verdict, out))
    }

    fn xdp(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        xdp(self.dataplane.xdp(self.roles)?, self.ingress, frame)
    }

    /// The same frame so many times, as fast as it goes. What became of the last.
    pub fn repeat(&mut self, frame: &[u8], times: u32) -> Result<Verdict> {
        let program = self.dataplane.xdp(self.roles)?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: times,
            ..TestRunOptions::default()
        })?;
        verdict(result.return_value)
    }

    pub fn egress(&mut self, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        let mut out = vec![0; frame.len() + 256];
        // struct __sk_buff: `gso_segs` is the 42nd of its words.
        let mut words = [0_u32; 42];
        words[41] = self.merged;
        let context: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let program = self.dataplane.egress()?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        })?;
        out.truncate(usize::try_from(result.data_size_out)?);
        ensure!(
            result.return_value == u32::MAX,
            "TC verdict {}",
            result.return_value.cast_signed()
        );
        Ok((Verdict::Next, out))
    }

    pub fn counters(&mut self) -> Result<BTreeMap<&'static str, u64>> {
        Ok(self.dataplane.maps().counters()?.into_iter().collect())
    }

    /// Takes what is in the ring buffer.
    pub fn events(&mut self) -> Result<Vec<(Header, Vec<u8>)>> {
        let mut events = Vec::new();
        self.dataplane
            .take_events(|header, packet| events.push((*header, packet.to_vec())));
        Ok(events)
    }
}

/// Gives a frame that comes by this interface to an XDP program.
pub fn xdp(program: &Xdp, ingress: u32, frame: &[u8]) -> Result<(Verdict, Vec<u8>)> {
    let mut out = vec![0; frame.len() + 256];
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let context: Vec<u8> = [0, u32::try_from(frame.len())?, 0, ingress, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    })?;
    out.truncate(usize::try_from(result.data_size_out)?);
    Ok((verdict(result.return_value)?, out))
}

/// Keeps this thread on the CPU on which it is, whose maps are its own.
pub fn stay() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// The Ethernet address of an interface.
fn mac(ifindex: u32) -> Result<[u8; 6]> {
    if ifindex == 0 {
        // The loopback interface has one of zeros.
        return Ok([0; 6]);
    }
    let name = if_indextoname(ifindex)?;
    let name = name.to_str()?;
    let mut interfaces = getifaddrs()?.filter(|interface| interface.interface_name == name);
    let mac = interfaces.find_map(|interface| interface.address?.as_link_addr()?.addr());
    mac.with_context(|| format!("{name} has no address"))
}

fn verdict(action: u32) -> Result<Verdict> {
    Ok(match action {
        1 => Verdict::Drop,
        2 => Verdict::Pass,
        3 => Verdict::Tx,
        4 => Verdict::Redirect,
        other => anyhow::bail!("XDP action {other}"),
    })
}

/// Binds the client to a care-of address of the anycast address, as the controller does.
pub fn bind(bench: &mut Bench, pair: (&str, &str), care_of: &str, expires: Time) -> Result<()> {
    let (client, anycast, care_of) = (address(pair.0), address(pair.1), address(care_of));
    let actions = [
        MapAction::SetCareOf {
            client,
            care_of,
            anycast,
            expires,
        },
        MapAction::SetBinding {
            client,
            anycast,
            care_of,
            expires,
        },
    ];
    for action in actions {
        bench.dataplane.maps().apply(&action)?;
    }
    Ok(())
}
