//! Cases, and what makes them.

use std::collections::BTreeSet;

use anycast_common::abi::{
    maps::PolicyRule,
    roles::{CORRESPONDENT, MEMBER, ROUTER},
};
use anycast_ctl::{
    core::{MapAction, Time, rate::Rate},
    shell::dataplane::{Dataplane, Limits, Settings},
};
use anyhow::Result;
use aya::programs::{ProgramFd, Xdp};

use crate::{
    anchors::{Anchor, Object},
    constants::{DROP, MANY},
    gateway::Gateway,
    packets::{Packet, address},
};

/// Reports of which no two have the same sender.
pub const FORGED: &str = "forged senders";

/// Which programs a case is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Those in C.
    Anchor,
    /// Those that this benchmark was built with.
    Ours,
    /// Those of the object that ours are compared with.
    Baseline,
}

/// Frames of one kind to one program.
pub struct Case {
    pub name: String,
    pub build: Build,
    pub frame: Vec<u8>,
    /// `struct xdp_md`
    pub context: [u8; 24],
    /// XDP action that they have to meet.
    pub verdict: u32,
    subject: Subject,
    /// What the subject hands frames to.
    _behind: Option<Dataplane>,
}

pub enum Subject {
    Anchor(Anchor),
    Ours(Box<Dataplane>, u8),
}

impl Case {
    pub fn program(&mut self) -> Result<&Xdp> {
        match &mut self.subject {
            Subject::Anchor(anchor) => Ok(anchor.program()?),
            Subject::Ours(dataplane, roles) => Ok(dataplane.xdp(*roles)?),
        }
    }

    /// Whether more flows take turns than a processor's caches hold well.
    pub fn has_many_flows(&self) -> bool {
        self.name.ends_with(MANY)
    }
}

/// Makes cases of one build of the programs.
pub struct Bed<'a> {
    pub gateway: &'a Gateway,
    /// The object.
    pub object: &'a [u8],
    pub build: Build,
}

impl Bed<'_> {
    pub fn case(&self, name: &str, subject: Subject, frame: &[u8], verdict: u32) -> Result<Case> {
        Ok(Case {
            name: name.to_owned(),
            frame: frame.to_owned(),
            build: match &subject {
                Subject::Anchor(_) => Build::Anchor,
                Subject::Ours(..) => self.build,
            },
            context: self.gateway.context(frame)?,
            verdict,
            subject,
            _behind: None,
        })
    }

    pub fn ours(&self, name: &str, roles: u8, packet: &Packet, verdict: u32) -> Result<Case> {
        let subject = Subject::Ours(Box::new(self.load(&[])?), roles);
        self.case(name, subject, &packet.frame(), verdict)
    }

    pub fn refused(&self, name: &str, rules: &[PolicyRule]) -> Result<Case> {
        let frame = Packet::report("fe80::66", "2001:db8:a::53").frame();
        let subject = Subject::Ours(Box::new(self.load(rules)?), ROUTER);
        self.case(name, subject, &frame, DROP)
    }

    /// The same with another sender each time.
    pub fn forged(&self, object: &Object, name: &str, rules: &[PolicyRule]) -> Result<Case> {
        // What is not in the leader's two words, and they, add nothing to the checksum.
        let frame = Packet::report("fe80::ffff:ffff", "2001:db8:a::53").frame();
        let mut dataplane = self.load(rules)?;
        let program = dataplane.xdp(ROUTER)?.fd()?.try_clone()?;
        let behind = Behind {
            program,
            dataplane: Some(dataplane),
        };
        let name = format!("{name}, {FORGED}");
        self.led(&name, object.load("forged_senders")?, &frame, behind, DROP)
    }

    /// A case whose frame is made anew for each run.
    pub fn led(
        &self,
        name: &str,
        mut leader: Anchor,
        frame: &[u8],
        behind: Behind,
        verdict: u32,
    ) -> Result<Case> {
        leader.lead_to(frame, &behind.program)?;
        let subject = Subject::Anchor(leader);
        let case = self.case(name, subject, frame, verdict)?;
        Ok(Case {
            build: if behind.dataplane.is_some() {
                self.build
            } else {
                Build::Anchor
            },
            _behind: behind.dataplane,
            ..case
        })
    }

    /// The data plane of all roles, with nothing bound.
    pub fn load(&self, rules: &[PolicyRule]) -> Result<Dataplane> {
        let settings = Settings {
            roles: ROUTER | MEMBER | CORRESPONDENT,
            require_router_alert: true,
            limits: Limits {
                reports: Rate::per_second(1, 1),
                ..Limits::NONE
            },
            sizes: Default::default(),
        };
        let mut dataplane = Dataplane::load(self.object, settings)?;
        let maps = dataplane.maps();
        maps.set_policy(rules)?;
        maps.set_client_prefixes(&["2001:db8:1::/64".parse()?])?;
        maps.set_anycast_prefixes(&[])?;
        // Its routes and rules are plain, which the daemon would say each second.
        maps.vouch_for_routes(Some(Time::from_nanos(u64::MAX / 2)))?;
        maps.set_redirect_targets(
            &BTreeSet::from([self.gateway.inside, self.gateway.outside]),
            &BTreeSet::new(),
        )?;
        maps.apply(&MapAction::SetLocalAnycast {
            anycast: address("2001:db8:a::54"),
            report_clients: true,
        })?;
        maps.set_local_care_of(address("2001:db8:30::54"), address("2001:db8:a::54"))?;
        Ok(dataplane)
    }

    /// A case whose data plane was prepared.
    pub fn prepared(
        &self,
        name: &str,
        dataplane: Dataplane,
        packet: &Packet,
        verdict: u32,
    ) -> Result<Case> {
        let subject = Subject::Ours(Box::new(dataplane), CORRESPONDENT);
        self.case(name, subject, &packet.frame(), verdict)
    }
}

/// A program that gets its frames from another.
pub struct Behind {
    program: ProgramFd,
    dataplane: Option<Dataplane>,
}

impl Behind {
    /// A correspondent.
    pub fn correspondent(mut dataplane: Dataplane) -> Result<Self> {
        Ok(Self {
            program: dataplane.xdp(CORRESPONDENT)?.fd()?.try_clone()?,
            dataplane: Some(dataplane),
        })
    }

    /// The same program, for another leader.
    pub fn same(&self) -> Result<Self> {
        Ok(Self {
            program: self.program.try_clone()?,
            dataplane: None,
        })
    }

    pub fn anchor(anchor: &mut Anchor) -> Result<Self> {
        Ok(Self {
            program: anchor.program()?.fd()?.try_clone()?,
            dataplane: None,
        })
    }
}
