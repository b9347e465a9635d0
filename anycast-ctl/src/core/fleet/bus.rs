//! This gateway's part of a fleet: what it takes from others, what it sends them, and whether it is ready. Pure:
//! messages and time in, messages out.

use std::time::Duration;

use rand::Rng as _;

use super::{
    ends::read_ends,
    message::{Chunk, Heartbeat, Wish, read_pins},
    news::News,
    peers::{Peers, Unwanted},
    seal::{ALL, Id, Keys, Opened, Unopened, kind},
    secret::Secret,
    snapshot::{Client, Server},
    view::{Stranger, Strangers, difference, milliseconds},
};
use crate::core::{
    Action, Actions, Notice, Time,
    counters::{Counter, Counters},
    notice::{FleetChange, FleetReady},
    rr::Generator,
    time::earliest,
};

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Between two heartbeats when somebody wants his challenge repeated.
const SOON: Duration = Duration::from_millis(100);
/// A challenge is used for so long, and as long again accepted.
const CHALLENGE: Duration = Duration::from_secs(120);
/// A gateway that hears no other for so long is alone.
pub(super) const ALONE: Duration = Duration::from_secs(3);
/// A gateway without a snapshot waits for so long, and goes on without.
pub(super) const READY: Duration = Duration::from_secs(15);
/// By more than this, which is a period of the keys, clocks may not differ.
pub(super) const CLOCKS: Duration = Duration::from_secs(30);
/// A connection that fails may have been of no use for so long before.
pub(super) const UNNOTICED: Duration = Duration::from_secs(12);

/// This gateway on the bus.
#[derive(Debug)]
pub struct Bus {
    keys: Keys,
    pub(super) rng: Generator,
    pub(super) name: String,
    id: Id,
    sequence: u64,
    /// Our challenge, the one before, and when another is due.
    challenges: [u64; 2],
    rotates: Time,
    pub(super) peers: Peers,
    pub(super) strangers: Strangers,
    /// The time of day at a time.
    anchor: (Time, Duration),
    pub(super) started: Time,
    pub(super) connected: Option<Time>,
    /// Since when the connection is gone that was there before.
    pub(super) gone: Option<Time>,
    /// Since when there is something to be caught up with, which was said while it, or another gateway, was gone.
    pub(super) behind: Option<Time>,
    /// Who was gone, and knows what this gateway did not hear.
    pub(super) back: Option<Id>,
    /// When a snapshot ended in the middle.
    pub(super) broken: Option<Time>,
    /// When a snapshot that did not come is asked for again.
    pub(super) retry: Time,
    last: Time,
    pub(super) next: Time,
    pub(super) server: Server,
    pub(super) client: Option<Client>,
    pub(super) ready: Option<(Time, FleetReady)>,
    /// For heartbeats.
    holds: (usize, usize),
    pub(super) snapshot_at: Option<Time>,
}

impl Bus {
    /// Joins the fleet with these secrets under a name that tells people who it is.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        name: String,
        now: Time,
        mut rng: Generator,
    ) -> Self {
        let (id, challenges) = (rng.next_u64(), [rng.next_u64(), rng.next_u64()]);
        Self {
            keys: Keys::new(secrets),
            rng,
            name,
            id,
            sequence: 0,
            challenges,
            rotates: now + CHALLENGE,
            peers: Peers::default(),
            strangers: Strangers::default(),
            anchor: (now, Duration::ZERO),
            started: now,
            connected: None,
            gone: None,
            behind: None,
            back: None,
            broken: None,
            retry: now,
            last: now,
            next: now,
            server: Server::default(),
            client: None,
            ready: None,
            holds: (0, 0),
            snapshot_at: None,
        }
    }

    /// The time of day at `now`, since 1970.
    pub fn clock(&mut self, now: Time, unix: Duration) {
        self.anchor = (now, unix);
    }

    /// Whether this gateway knows what the others do, or has waited long enough.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// How many bindings and flows there are, for others to see.
    pub const fn holds(&mut self, bindings: usize, flows: usize) {
        self.holds = (bindings, flows);
    }

    /// Takes a message.
    pub fn receive<'a>(
        &mut self,
        now: Time,
        octets: &'a [u8],
        counters: &mut Counters,
        actions: &mut Actions,
    ) -> News<'a> {
        let message = match self.keys.open(octets) {
            // The bus does not bring back what one sent oneself.
            Ok(message) if message.sender == self.id => {
                counters.count(Counter::FleetMessageReplayed);
                return News::None;
            }
            Ok(message) if ![ALL, self.id].contains(&message.to) => {
                counters.count(Counter::FleetMessageNotOurs);
                return News::None;
            }
            Ok(message) => message,
            Err(unopened) => {
                counters.count(self.unopened(now, unopened, actions));
                return News::None;
            }
        };
        let news = match message.kind {
            kind::HEARTBEAT => self.heartbeat(now, &message, actions),
            _ => match self.takes(&message) {
                Ok(()) => self.told(now, &message, actions),
                Err(unwanted) => Err(refusal(unwanted)),
            },
        };
        match news {
            // Whether it is accepted is found out by who verifies it.
            Ok(news @ News::Update(_)) => news,
            Ok(news) => {
                counters.count(Counter::FleetMessageAccepted);
                news
            }
            Err(counter) => {
                counters.count(counter);
                News::None
            }
        }
    }

    fn unopened(&mut self, now: Time, unopened: Unopened<'_>, actions: &mut Actions) -> Counter {
        match unopened {
            Unopened::Malformed => Counter::FleetMessageMalformed,
            Unopened::Forged => Counter::FleetMessageForged,
            Unopened::OtherSecret {
                fingerprint,
                kind,
                body,
            } => {
                let heartbeat = (kind == kind::HEARTBEAT).then(|| Heartbeat::read(body));
                if let Some(heartbeat) = heartbeat.flatten() {
                    let stranger = Stranger::new(heartbeat.name, fingerprint, now);
                    if let Some(notice) = self.strangers.note(stranger) {
                        actions.push(Action::Notice(notice));
                    }
                }
                Counter::FleetOtherSecret
            }
        }
    }

    fn heartbeat<'a>(
        &mut self,
        now: Time,
        message: &Opened<'_>,
        actions: &mut Actions,
    ) -> Result<News<'a>, Counter> {
        let heartbeat = Heartbeat::read(message.body).ok_or(Counter::FleetMessageMalformed)?;
        let ahead = difference(message.unix, self.unix(now));
        let own = (self.id, self.challenges);
        let sender = (message.sender, message.sequence);
        let heard = self.peers.heartbeat(now, own, sender, heartbeat, ahead);
        let heard = heard.map_err(refusal)?;
        if heard.wants_echo {
            self.next = self.next.min((self.last + SOON).max(now));
        }
        if let Some(peer) = self.peers.get_mut(message.sender)
            && peer.proven
        {
            let name = &peer.name;
            let tell = |change| {
                Action::Notice(Notice::FleetPeer {
                    name: name.clone(),
                    change,
                })
            };
            if heard.joined {
                actions.push(tell(FleetChange::Joined));
            }
            let off = ahead.unsigned_abs() > milliseconds(CLOCKS);
            if off && !peer.warned {
                actions.push(Action::Notice(Notice::FleetClock {
                    name: name.clone(),
                    ahead_seconds: (ahead + 500 * ahead.signum()) / 1000,
                }));
            }
            peer.warned = off;
        }
        // Who is asked for a snapshot is to hear before that he was heard.
        if heard.joined && self.wants_one() {
            self.next = now;
        }
        // Who is not ready knows nothing, and asks for what he does not know.
        let Some(since) = heard.apart_since.filter(|_| self.is_ready()) else {
            return Ok(News::None);
        };
        self.behind = Some(now);
        self.back = Some(message.sender);
        Ok(News::Back(since.before(UNNOTICED)))
    }

    fn takes(&mut self, message: &Opened<'_>) -> Result<(), Unwanted> {
        let Opened {
            sender,
            sequence,
            to,
            ..
        } = *message;
        self.peers.takes(sender, sequence, to != ALL)
    }

    fn told<'a>(
        &mut self,
        now: Time,
        message: &Opened<'a>,
        actions: &mut Actions,
    ) -> Result<News<'a>, Counter> {
        let malformed = Counter::FleetMessageMalformed;
        match message.kind {
            kind::UPDATE => Ok(News::Update(message.body)),
            kind::PINS => {
                let mut pins = read_pins(now, message.body).ok_or(malformed)?;
                // That a binding lives is shown by its update.
                for pins in &mut pins {
                    pins.remaining = Duration::ZERO;
                }
                Ok(News::Pins(pins))
            }
            kind::ENDS => Ok(News::Ends(read_ends(now, message.body).ok_or(malformed)?)),
            kind::WISH => {
                let wish = Wish::read(message.body).ok_or(malformed)?;
                Ok(self.wish(now, message.sender, wish, actions))
            }
            kind::CHUNK => {
                let chunk = Chunk::read(message.body).ok_or(malformed)?;
                self.chunk(now, message.sender, &chunk, actions)
            }
            _ => Err(malformed),
        }
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Time, actions: &mut Actions) {
        for name in self.peers.lost(now) {
            let change = FleetChange::Lost;
            actions.push(Action::Notice(Notice::FleetPeer { name, change }));
        }
        if now >= self.rotates {
            self.challenges = [self.rng.next_u64(), self.challenges[0]];
            self.rotates = now + CHALLENGE;
        }
        if now >= self.next {
            self.beat(now, actions);
        }
        self.try_again(now);
        if !self.is_ready() || self.behind.is_some() {
            self.catch_up(now, actions);
        }
    }

    /// When [`Bus::poll`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let due = earliest(Some(self.next), self.peers.deadline());
        earliest(due, self.catch_up_deadline())
    }

    fn beat(&mut self, now: Time, actions: &mut Actions) {
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let heartbeat = Heartbeat {
            name: self.name.clone(),
            ready: self.is_ready(),
            bindings: count(self.holds.0),
            flows: count(self.holds.1),
            challenge: self.challenges[0],
            echoes: self.peers.echoes(),
        };
        let mut body = Vec::new();
        heartbeat.write(&mut body);
        self.send(now, None, kind::HEARTBEAT, &body, actions);
        (self.last, self.next) = (now, now + HEARTBEAT);
    }

    pub(super) fn send(
        &mut self,
        now: Time,
        to: Option<Id>,
        kind: u8,
        body: &[u8],
        actions: &mut Actions,
    ) {
        self.sequence += 1;
        let octets = self.keys.seal(&Opened {
            kind,
            sender: self.id,
            to: to.unwrap_or(ALL),
            sequence: self.sequence,
            unix: self.unix(now),
            body,
        });
        actions.push(Action::Publish { to, octets });
    }

    /// The number by which others reach this gateway alone.
    #[must_use]
    pub const fn id(&self) -> Id {
        self.id
    }

    fn unix(&self, now: Time) -> Duration {
        self.anchor.1 + now.since(self.anchor.0)
    }
}

fn refusal(unwanted: Unwanted) -> Counter {
    match unwanted {
        Unwanted::Replayed => Counter::FleetMessageReplayed,
        Unwanted::Unproven => Counter::FleetMessageUnproven,
        Unwanted::Full => Counter::FleetFull,
    }
}
