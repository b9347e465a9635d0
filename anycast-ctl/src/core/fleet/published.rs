//! Which flows the other gateways have to hear of.

use std::time::Duration;

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6,
};

use crate::core::{
    Time,
    hash::{Map, give_back, reserve},
};

/// Where both directions pass one gateway, the others hear so often that a flow goes on.
const BOTH_WAYS: Duration = Duration::from_secs(10);
/// Where this gateway sees one direction alone, another one judges by this how the flow fares. It is shorter than the
/// time after which an ICMPv6 error ends a flow that is not answered.
const ONE_WAY: Duration = Duration::from_secs(1);

/// What nobody has told for so long is told once more, although nothing has changed: a message may have been lost, and
/// a silent flow is told by nothing else. Who told it last does that; another one only where that one is gone.
const REMINDER: Duration = Duration::from_secs(240);
const REMINDER_OF_ANOTHER: Duration = Duration::from_secs(60);

/// What the others know of a flow.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// What never goes back: answered, sent by C, and closed by either end.
    marks: u8,
    last_out: u64,
    last_in: u64,
    at: Time,
    /// When it is told again, if nobody tells it before.
    again: Time,
    /// When the member was last heard by another gateway, as that one told.
    heard_elsewhere: u64,
    /// The last reading that had the flow.
    reading: u64,
}

/// Flows of a reading that the others have to hear of, by their places, and since when they know no better.
#[derive(Debug, Default)]
pub(in crate::core) struct Due {
    due: Vec<(Time, usize)>,
    /// Of which nothing is new.
    again: Vec<(Time, usize)>,
}

/// What the others know of the flows of this gateway.
#[derive(Debug, Default)]
pub(in crate::core) struct Published {
    known: Map<FlowKey, Said>,
    reading: u64,
}

impl Published {
    /// Flows of one reading that are told. More are told by the next.
    pub(in crate::core) const MOST: usize = 20_000;
    /// Flows of one reading that are told only once more.
    const REMINDERS: usize = 5_000;

    /// Whether anything is known of a flow.
    pub(in crate::core) fn has(&self, key: &FlowKey) -> bool {
        self.known.contains_key(key)
    }

    /// Makes room for so many flows at once.
    pub(in crate::core) fn reserve(&mut self, flows: usize) {
        reserve(&mut self.known, flows);
    }

    /// Notes that another gateway told of a flow.
    pub(in crate::core) fn heard(&mut self, now: Time, key: FlowKey, flow: &Flow) {
        let said = self.known.entry(key).or_insert(said(now, flow));
        said.marks |= marks(flow);
        said.last_out = said.last_out.max(flow.last_out);
        said.last_in = said.last_in.max(flow.last_in);
        said.again = now + REMINDER + REMINDER_OF_ANOTHER;
        said.heard_elsewhere = said.heard_elsewhere.max(flow.last_in);
    }

    /// Whether the last that is known of the flow's member was heard by another gateway.
    pub(in crate::core) fn is_heard_elsewhere(&self, key: &FlowKey, flow: &Flow) -> bool {
        let said = self.known.get(key);
        flow.last_in != 0 && said.is_some_and(|said| said.heard_elsewhere >= flow.last_in)
    }

    /// What was said from `since` on, nobody has heard.
    pub(in crate::core) fn unsaid(&mut self, since: Time) {
        for said in self.known.values_mut().filter(|said| said.at >= since) {
            (said.marks, said.last_out, said.last_in) = (0, 0, 0);
        }
    }

    /// Begins with all flows there are, part by part. Gives what [`look`](Self::look) fills.
    pub(in crate::core) fn begin(&mut self) -> Due {
        self.reading += 1;
        Due::default()
    }

    /// Of all flows, those that the others have to hear of. What none of the parts had is forgotten.
    pub(in crate::core) fn end(
        &mut self,
        now: Time,
        due: Due,
        all: &[(FlowKey, Flow)],
    ) -> Vec<(FlowKey, Flow)> {
        let due = self.take(now, due, all);
        // What came from others since the flows were read may be in no list yet.
        let reading = self.reading;
        self.known
            .retain(|_, said| said.reading == reading || said.at + BOTH_WAYS > now);
        give_back(&mut self.known);
        due
    }

    /// Those of some flows, that were in use of late. Nothing is forgotten.
    pub(in crate::core) fn due_of_late(
        &mut self,
        now: Time,
        flows: &[(FlowKey, Flow)],
    ) -> Vec<(FlowKey, Flow)> {
        let mut due = Due::default();
        self.look(now, &mut due, flows.iter().enumerate());
        self.take(now, due, flows)
    }

    /// Looks which of these flows the others have to hear of. Each comes with its place among all of a reading.
    pub(in crate::core) fn look<'a>(
        &mut self,
        now: Time,
        Due { due, again }: &mut Due,
        flows: impl Iterator<Item = (usize, &'a (FlowKey, Flow))>,
    ) {
        for (place, (key, flow)) in flows {
            let mut earlier = self.known.get_mut(key);
            // Also that of a flow that has to wait for its turn, because of what was heard elsewhere.
            if let Some(said) = &mut earlier {
                said.reading = self.reading;
            }
            match is_due(now, key, flow, earlier.as_deref()) {
                (Some(since), _) => due.push((since, place)),
                (None, Some(since)) => again.push((since, place)),
                (None, None) => {}
            }
        }
    }

    fn is_due(&self, now: Time, key: &FlowKey, flow: &Flow) -> bool {
        is_due(now, key, flow, self.known.get(key)) != (None, None)
    }

    /// What is told of these. What is new goes first, then what was told least recently, and what is only told once
    /// more comes last.
    fn take(
        &mut self,
        now: Time,
        Due { mut due, mut again }: Due,
        all: &[(FlowKey, Flow)],
    ) -> Vec<(FlowKey, Flow)> {
        first(&mut due, Self::MOST);
        // So few that nobody takes them for a reading that was not told to its end.
        let left = (Self::MOST - due.len()).saturating_sub(1);
        first(&mut again, left.min(Self::REMINDERS));
        due.append(&mut again);
        // Some may have been told since they were looked at.
        let still = |(key, flow): &(FlowKey, Flow)| self.is_due(now, key, flow);
        let told = due.iter().filter_map(|(_, place)| all.get(*place));
        let told: Vec<_> = told.copied().filter(still).collect();
        for (key, flow) in &told {
            let earlier = self.known.get(key);
            let said = Said {
                heard_elsewhere: earlier.map_or(0, |earlier| earlier.heard_elsewhere),
                reading: self.reading,
                ..said(now, flow)
            };
            self.known.insert(*key, said);
        }
        told
    }
}

/// Leaves those that wait since earliest.
fn first<T>(due: &mut Vec<(Time, T)>, most: usize) {
    if due.len() > most {
        due.select_nth_unstable_by_key(most, |(since, _)| *since);
        due.truncate(most);
    }
}

/// Since when the others know no better, if they have to hear of a flow, and since when they are to hear of it once
/// more.
fn is_due(
    now: Time,
    key: &FlowKey,
    flow: &Flow,
    earlier: Option<&Said>,
) -> (Option<Time>, Option<Time>) {
    // What was said of an earlier flow between the same ends says nothing of this one.
    let same = |said: &&Said| flow.pinned_at <= said.last_out.max(said.last_in);
    let said = earlier.filter(same);
    let reminds = said.map(|said| said.again);
    // What was never answered may be open elsewhere by now.
    let reminds = reminds.filter(|again| *again <= now && flow.answered != 0);
    (due_since(now, key, flow, said), reminds)
}

/// Since when the others know no better, if they have to hear of a flow.
fn due_since(now: Time, key: &FlowKey, flow: &Flow, said: Option<&Said>) -> Option<Time> {
    let Some(said) = said else {
        // Most flows that are not TCP are a question and its answer.
        let goes_on = flow.last_out.max(flow.last_in) > flow.pinned_at;
        let told = key.protocol == ipv6::NEXT_HEADER_TCP || goes_on;
        return told.then_some(Time::ZERO);
    };
    if marks(flow) & !said.marks != 0 {
        return Some(Time::ZERO);
    }
    let pace = match (flow.last_out > said.last_out, flow.last_in > said.last_in) {
        (true, true) => BOTH_WAYS,
        (true, false) | (false, true) => ONE_WAY,
        (false, false) => return None,
    };
    (now.since(said.at) >= pace).then_some(said.at)
}

fn said(now: Time, flow: &Flow) -> Said {
    Said {
        marks: marks(flow),
        last_out: flow.last_out,
        last_in: flow.last_in,
        at: now,
        again: now + REMINDER,
        heard_elsewhere: 0,
        reading: 0,
    }
}

fn marks(flow: &Flow) -> u8 {
    let bit = |octet: u8| u8::from(octet != 0);
    // Who sent by C matters until C has answered it.
    let tried = bit(flow.tried) | bit(flow.answered);
    bit(flow.answered) | tried << 1 | (flow.client_closed & 3) << 2 | (flow.member_closed & 3) << 4
}
