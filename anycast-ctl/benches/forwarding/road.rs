//! A client, a gateway and a server in namespaces, and the ways from one to the other.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anycast_common::{
    abi::{
        maps::{Flow, FlowKey, state},
        roles::CORRESPONDENT,
    },
    wire::{checksum, ipv6},
};
use anycast_ctl::{
    core::{MapAction, Time},
    shell::{
        clock,
        dataplane::{self, Dataplane, Limits, OBJECT, Settings, Sizes},
    },
};
use anyhow::{Result, ensure};
use aya::Ebpf;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tokio::runtime::Runtime;
use xtask::net::{
    Namespace, Site,
    ethtool::{self, Offload},
    netlink::{self, End},
    sysctl,
};
use zerocopy::FromZeros as _;

use crate::{
    live::{Object, Rule},
    packets::{Packet, address},
};

const A: &str = "2001:db8:1::100";
const B: &str = "2001:db8:a::53";
const C: &str = "2001:db8:20::c1";
const PORTS: (u16, u16) = (0x8000, 53);
/// Where everything runs: the frames are made, forwarded and swallowed one batch after the other.
const CPU: usize = 0;
/// Before it is measured: flows are pinned and tracked.
const WARM_UP: Duration = Duration::from_millis(200);

/// Who forwards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The kernel, to C, which the client itself has named.
    Kernel,
    /// nftables: DNAT with connection tracking.
    Nft,
    /// The program in C, in native XDP, which sends by a devmap.
    C,
    /// The same by the index of the interface, as ours does.
    CRedirect,
    /// A correspondent in native XDP.
    Ours,
}

impl Mode {
    pub const ALL: [Self; 5] = [
        Self::Kernel,
        Self::Nft,
        Self::C,
        Self::CRedirect,
        Self::Ours,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel, nothing rewritten",
            Self::Nft => "nft DNAT, conntrack",
            Self::C => "C, next hop known",
            Self::CRedirect => "C, bpf_redirect",
            Self::Ours => "correspondent",
        }
    }

    fn is_xdp(self) -> bool {
        matches!(self, Self::C | Self::CRedirect | Self::Ours)
    }
}

pub struct Road {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
    object: Object,
    /// The programs' log is read by a task of it.
    runtime: Runtime,
    _site: Site,
}

/// What forwards, until it is dropped.
enum Engaged {
    Kernel,
    Nft,
    C { _program: Ebpf },
    Ours { _dataplane: Box<Dataplane> },
}

const fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, number]
}

impl Road {
    pub fn new() -> Result<Self> {
        let site = Site::claim("bfw")?;
        let client = site.namespace("client")?;
        let gateway = site.namespace("gateway")?;
        let server = site.namespace("server")?;
        let end = |namespace, name, number| End {
            namespace,
            name,
            mac: Some(mac(number)),
        };
        for (near, far) in [
            (end(&gateway, "inside", 1), end(&client, "eth0", 2)),
            (end(&gateway, "outside", 3), end(&server, "eth0", 4)),
        ] {
            netlink::veth(near, far)?;
            netlink::connect(near, far)?;
        }
        sysctl::set(&gateway, &[("ipv6/conf/all/forwarding", "1")])?;
        netlink::address(&gateway, "inside", address("2001:db8:1::1"), 64)?;
        netlink::address(&gateway, "outside", address("2001:db8:20::1"), 64)?;
        netlink::neighbour(&gateway, "outside", address(C), mac(4))?;
        netlink::route(&gateway, address("2001:db8:a::"), 48, address(C), "outside")?;
        Ok(Self {
            client,
            gateway,
            server,
            object: Object::build()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            _site: site,
        })
    }

    /// Packets a second that arrive at the server.
    pub fn measure(&self, mode: Mode, flows: u16, span: Duration) -> Result<f64> {
        let frame = |destination, to, from| {
            let packet = Packet::udp(A, destination, PORTS, &[0; 18]);
            let mut frame = packet.frame();
            frame[..6].copy_from_slice(&mac(to));
            frame[6..12].copy_from_slice(&mac(from));
            frame
        };
        let sent = frame(if mode == Mode::Kernel { C } else { B }, 1, 2);
        let arriving = frame(C, 4, 3);
        // NAPI takes frames from a peer's XDP; without it a veth is faster with packets of the stack.
        ethtool::set(&self.gateway, "inside", Offload::Merge, true)?;
        ethtool::set(&self.server, "eth0", Offload::Merge, mode.is_xdp())?;
        let _engaged = self.engage(mode, flows, &sent, &arriving)?;
        let sink = self
            .server
            .run(|| self.object.sink("eth0", &arriving, mode.is_xdp()))?;
        self.client.run(|| {
            let mut only = CpuSet::new();
            only.set(CPU)?;
            sched_setaffinity(Pid::from_raw(0), &only)?;
            let out = netlink::index(&self.client, "eth0")?;
            let mut source = self.object.source(&sent, out, flows)?;
            let mut run = |span| -> Result<f64> {
                let (start, before) = (Instant::now(), sink.count()?);
                while start.elapsed() < span {
                    source.send()?;
                }
                Ok((sink.count()? - before) as f64 / start.elapsed().as_secs_f64())
            };
            run(WARM_UP)?;
            let rate = run(span)?;
            ensure!(rate > 1000.0, "only {rate:.0} packets a second arrive");
            Ok(rate)
        })
    }

    fn engage(&self, mode: Mode, flows: u16, sent: &[u8], arriving: &[u8]) -> Result<Engaged> {
        self.nft(if mode == Mode::Nft { DNAT } else { "" })?;
        let outside = netlink::index(&self.gateway, "outside")?;
        self.gateway.run(|| match mode {
            Mode::Kernel => Ok(Engaged::Kernel),
            Mode::Nft => Ok(Engaged::Nft),
            Mode::C | Mode::CRedirect => {
                let rule = Rule {
                    ifindex: outside,
                    frame: sent,
                    flows,
                    result: arriving,
                };
                let name = if mode == Mode::C {
                    "translate"
                } else {
                    "translate_redirect"
                };
                let program = self.object.translator(name, "inside", &rule)?;
                Ok(Engaged::C { _program: program })
            }
            Mode::Ours => {
                let _guard = self.runtime.enter();
                let dataplane = Box::new(correspondent(outside, flows)?);
                Ok(Engaged::Ours {
                    _dataplane: dataplane,
                })
            }
        })
    }

    /// Gives the gateway this ruleset and no other.
    fn nft(&self, ruleset: &str) -> Result<()> {
        let mut command = self.gateway.command("nft");
        let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        let text = format!("flush ruleset\n{ruleset}");
        child.stdin.take().unwrap().write_all(text.as_bytes())?;
        let status = child.wait()?;
        ensure!(status.success(), "nft refuses its rules: {status}");
        Ok(())
    }
}

const DNAT: &str = "table ip6 nat {\n chain in {\n  type nat hook prerouting priority dstnat;\n  \
                    ip6 daddr 2001:db8:a::53 dnat to 2001:db8:20::c1\n }\n}\n";

/// A correspondent at `inside` of this namespace, with the client bound, and so many flows that its member has
/// answered: on trial they would take the long way.
fn correspondent(outside: u32, flows: u16) -> Result<Dataplane> {
    let settings = Settings {
        roles: CORRESPONDENT,
        require_router_alert: true,
        limits: Limits::NONE,
        sizes: Sizes::default(),
    };
    let mut dataplane = Dataplane::load(OBJECT, settings)?;
    let inside = nix::net::if_::if_nametoindex("inside")?;
    let (client, anycast, care_of) = (address(A), address(B), address(C));
    let maps = dataplane.maps();
    maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
    maps.set_anycast_prefixes(&["2001:db8:a::/48".parse()?])?;
    maps.set_redirect_targets(&BTreeSet::from([inside, outside]), &BTreeSet::new())?;
    for action in [
        MapAction::SetCareOf {
            client,
            care_of,
            anycast,
            expires: Time::from_nanos(u64::MAX / 2),
        },
        MapAction::SetBinding {
            client,
            anycast,
            care_of,
            expires: Time::from_nanos(u64::MAX / 2),
        },
    ] {
        maps.apply(&action)?;
    }
    let now = clock::now().as_nanos();
    for number in 0..flows {
        let key = FlowKey {
            client: client.octets(),
            anycast: anycast.octets(),
            client_port: (PORTS.0 + number).to_be_bytes(),
            service_port: PORTS.1.to_be_bytes(),
            protocol: ipv6::NEXT_HEADER_UDP,
            ..FlowKey::new_zeroed()
        };
        let flow = Flow {
            care_of: care_of.octets(),
            pinned_at: now,
            last_out: now,
            last_in: now,
            delta: checksum::delta(&anycast.octets(), &care_of.octets()),
            state: state::BOUND_FIRST,
            answered: 1,
            ..Flow::new_zeroed()
        };
        maps.set_flow(&key, &flow);
    }
    dataplane.attach(inside, CORRESPONDENT, dataplane::Mode::Native)?;
    Ok(dataplane)
}
