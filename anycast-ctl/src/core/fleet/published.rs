//! Which flows the other gateways have to hear of.

use std::{collections::HashMap, time::Duration};

use anycast_common::{
    abi::maps::{Flow, FlowKey},
    wire::ipv6,
};

use crate::core::Time;

/// Where both directions pass one gateway, the others hear so often that a flow goes on.
const BOTH_WAYS: Duration = Duration::from_secs(10);
/// Where this gateway sees one direction alone, another one judges by this how the flow fares. It is shorter than the
/// time after which an ICMPv6 error ends a flow that is not answered.
const ONE_WAY: Duration = Duration::from_secs(1);
/// Flows of one sweep that are told. More are told by the next.
const MOST: usize = 20_000;

/// What the others know of a flow.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// What never goes back: answered, sent by C, and closed by either end.
    marks: u8,
    last_out: u64,
    last_in: u64,
    at: Time,
}

/// What the others know of the flows of this gateway.
#[derive(Debug, Default)]
pub(in crate::core) struct Published(HashMap<FlowKey, Said>);

impl Published {
    /// Notes that another gateway told of a flow.
    pub(in crate::core) fn heard(&mut self, now: Time, key: FlowKey, flow: &Flow) {
        let said = self.0.entry(key).or_insert(said(now, flow));
        said.marks |= marks(flow);
        said.last_out = said.last_out.max(flow.last_out);
        said.last_in = said.last_in.max(flow.last_in);
    }

    /// The flows of a sweep that the others have to hear of. All others are forgotten.
    pub(in crate::core) fn due<'a>(
        &mut self,
        now: Time,
        flows: impl Iterator<Item = &'a (FlowKey, Flow)>,
    ) -> Vec<(FlowKey, Flow)> {
        let mut known = HashMap::with_capacity(self.0.len());
        let mut due = Vec::new();
        for (key, flow) in flows {
            // What was said of an earlier flow between the same ends says nothing of this one.
            let same = |said: &&Said| flow.pinned_at <= said.last_out.max(said.last_in);
            let before = self.0.get(key).filter(same).copied();
            if due.len() < MOST && is_due(now, key, flow, before) {
                due.push((*key, *flow));
                known.insert(*key, said(now, flow));
            } else if let Some(before) = before {
                known.insert(*key, before);
            }
        }
        // What came from others since the flows were read may be in no list yet.
        let recent = |said: &Said| said.at + BOTH_WAYS > now;
        for (key, said) in self.0.drain().filter(|(_, said)| recent(said)) {
            known.entry(key).or_insert(said);
        }
        self.0 = known;
        due
    }
}

fn is_due(now: Time, key: &FlowKey, flow: &Flow, said: Option<Said>) -> bool {
    let Some(said) = said else {
        // Most flows that are not TCP are a question and its answer.
        let goes_on = flow.last_out.max(flow.last_in) > flow.pinned_at;
        return key.protocol == ipv6::NEXT_HEADER_TCP || goes_on;
    };
    if marks(flow) & !said.marks != 0 {
        return true;
    }
    let pace = match (flow.last_out > said.last_out, flow.last_in > said.last_in) {
        (true, true) => BOTH_WAYS,
        (true, false) | (false, true) => ONE_WAY,
        (false, false) => return false,
    };
    now.since(said.at) >= pace
}

fn said(now: Time, flow: &Flow) -> Said {
    Said {
        marks: marks(flow),
        last_out: flow.last_out,
        last_in: flow.last_in,
        at: now,
    }
}

fn marks(flow: &Flow) -> u8 {
    let bit = |octet: u8| u8::from(octet != 0);
    // Who sent by C matters until C has answered it.
    let tried = bit(flow.tried) | bit(flow.answered);
    bit(flow.answered) | tried << 1 | (flow.client_closed & 3) << 2 | (flow.member_closed & 3) << 4
}
