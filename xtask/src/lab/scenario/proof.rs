//! Determines by which addresses the packets of a session travelled over a link.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::Result;

use crate::{
    lab::{
        stage::Lab,
        topology::{B, CLIENT, SERVICE},
        verdict::{Otherwise as _, Unmet, expect},
    },
    net::capture::{Flow, Ledger, Tally},
};

use super::session::Session;

/// How long the captures may take to show what the applications have already seen.
const LAG: Duration = Duration::from_secs(10);

/// Packets of a session, to the member and to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    /// Packets with the anycast address B, to the member and to the client.
    pub by_anycast: [Tally; 2],
    /// Packets with the care-of address C, to the member and to the client.
    pub by_care_of: [Tally; 2],
}

impl Carried {
    fn count(ledger: &Ledger, port: u16, care_of: Ipv6Addr) -> Self {
        let between = |server: Ipv6Addr| {
            let (client, server) = ((CLIENT, port), (server, SERVICE));
            let up = Flow {
                source: client,
                destination: server,
            };
            let down = Flow {
                source: server,
                destination: client,
            };
            [up, down].map(|flow| ledger.flows.get(&flow).copied().unwrap_or_default())
        };
        Self {
            by_anycast: between(B),
            by_care_of: between(care_of),
        }
    }

    fn octets(&self, direction: usize) -> u64 {
        self.by_anycast[direction].octets + self.by_care_of[direction].octets
    }

    fn since(self, before: Self) -> Self {
        let less = |now: Tally, before: Tally| Tally {
            packets: now.packets - before.packets,
            octets: now.octets - before.octets,
            resets: now.resets - before.resets,
            ..now
        };
        let both = |now: [Tally; 2], before: [Tally; 2]| {
            [less(now[0], before[0]), less(now[1], before[1])]
        };
        Self {
            by_anycast: both(self.by_anycast, before.by_anycast),
            by_care_of: both(self.by_care_of, before.by_care_of),
        }
    }

    /// Number of TCP resets in both directions.
    pub fn resets(&self) -> u64 {
        [self.by_anycast, self.by_care_of]
            .as_flattened()
            .iter()
            .map(|tally| tally.resets)
            .sum()
    }

    /// Checks that every packet in both directions carried C instead of B.
    pub fn must_be_by_care_of(&self, link: &str) -> Result<(), Unmet> {
        let [up, down] = self.by_care_of.map(|tally| tally.packets);
        let [up_b, down_b] = self.by_anycast.map(|tally| tally.packets);
        expect(
            up > 0 && down > 0 && up_b == 0 && down_b == 0,
            format_args!("on {link}, every packet carries C, in both directions"),
            format_args!(
                "to the member {up} with C and {up_b} with B, to the client {down} with C and \
                 {down_b} with B"
            ),
        )
    }
}

/// The session's packets on these links so far, by address.
pub fn carried<const N: usize>(
    lab: &Lab,
    session: &Session,
    links: [&str; N],
) -> Result<[Carried; N]> {
    let mut carried = [Carried::default(); N];
    for (carried, link) in carried.iter_mut().zip(links) {
        let ledger = lab.capture(link)?.ledger();
        *carried = ledger.read(|ledger| Carried::count(ledger, session.port, session.care_of));
    }
    Ok(carried)
}

/// The session's packets since `before`, when these links have shown at least this many octets more in each direction.
pub fn carried_since<const N: usize>(
    lab: &Lab,
    session: &Session,
    octets: u64,
    links: [&str; N],
    before: [Carried; N],
) -> Result<[Carried; N]> {
    let mut carried = before;
    for (carried, link) in carried.iter_mut().zip(links) {
        let before = *carried;
        let ledger = lab.capture(link)?.ledger();
        let count =
            |ledger: &Ledger| Carried::count(ledger, session.port, session.care_of).since(before);
        let what = format!("{octets} octets each way in the capture of {link}");
        *carried = ledger
            .wait(LAG, &what, |ledger| {
                let now = count(ledger);
                (now.octets(0) >= octets && now.octets(1) >= octets).then_some(now)
            })
            .otherwise(session.server.name, || {
                let (seen, lost) = ledger.read(|ledger| (count(ledger), ledger.lost));
                format!("{seen:?}, and the capture missed {lost} frames")
            })?;
    }
    Ok(carried)
}

/// Lets the session exchange this many octets, and gives by which addresses it did so on these links.
pub fn transfer<const N: usize>(
    lab: &Lab,
    session: &mut Session,
    octets: u64,
    limit: Duration,
    links: [&str; N],
) -> Result<(serde_json::Value, [Carried; N])> {
    let before = carried(lab, session, links)?;
    let event = session.visitor.transfer(octets, octets, limit)?;
    let carried = carried_since(lab, session, octets, links, before)?;
    Ok((event, carried))
}
