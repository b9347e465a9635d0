//! Bindings and bound flows that end before their time: a care-of address failed, or an operator says so.
//!
//! An ICMPv6 error is only a hint, because anybody can send one: [`flows`](crate::core::flows) then looks sooner
//! whether the flow that it quotes is answered. If it is not, the flow ends with its binding. Other flows are judged by
//! their own packets alone.

use std::net::Ipv6Addr;

use anycast_common::wire::{
    Error,
    icmpv6::{self, DESTINATION_UNREACHABLE},
    ipv6,
};

use super::{Correspondent, cache::SWEEP_MARGIN, selection::Selection, triple::Triple};
use crate::core::{
    Action, Actions, MapAction, Notice, Time,
    counters::Counter,
    fleet,
    flows::{End, Sweep},
    notice::BindingChange,
    rr::BINDING_LIFETIME,
};

impl Correspondent {
    /// Handles an ICMPv6 error that quotes a bound flow and says that its care-of address is unreachable.
    pub fn unreachable(&mut self, now: Time, packet: &ipv6::Packet<'_>) {
        match care_of(packet) {
            Ok(_) => self.sweeper.hint(now),
            Err(_) => self.counters.count(Counter::IcmpErrorInvalid),
        }
    }

    /// Ends what a sweep has found, of flows whose reading began at that time. Gives the rest of it.
    pub(super) fn swept(
        &mut self,
        now: Time,
        began: Time,
        sweep: Sweep,
        actions: &mut Actions,
    ) -> Sweep {
        for _ in 0..sweep.contradicted {
            self.counters.count(Counter::CareOfContradicted);
        }
        // Bindings end first, so that no further flow is bound by them.
        for care_of in sweep.failed.keys() {
            self.unbind(
                now,
                began,
                &Selection::of(*care_of),
                BindingChange::Failed,
                actions,
            );
        }
        for (key, flow, end) in &sweep.ended {
            if *end == End::Unreachable {
                let triple = Triple {
                    client: key.client.into(),
                    anycast: key.anycast.into(),
                    care_of: flow.care_of.into(),
                };
                if self.end(now, triple, BindingChange::Failed, actions) {
                    self.counters.count(Counter::BindingFailed);
                }
            }
            self.counters.count(match end {
                End::Idle => Counter::FlowIdle,
                End::Closed => Counter::FlowClosed,
                End::Failed => Counter::FlowUnanswered,
                End::Unreachable => Counter::FlowUnreachable,
            });
            let (key, flow) = (*key, *flow);
            actions.push(Action::Map(MapAction::RemoveFlow { key, flow }));
        }
        for (care_of, cause) in &sweep.failed {
            self.counters.count(Counter::CareOfFailed);
            self.tell_end(now, began, &fleet::End::Failed(*care_of), actions);
            let ended = sweep.ended.iter();
            let flows = ended.filter(|(_, flow, _)| flow.care_of == care_of.octets());
            actions.push(Action::Notice(Notice::CareOfFailed {
                care_of: *care_of,
                cause: *cause,
                flows: flows.count(),
            }));
            // The pairs (A, C) are removed when it is certain that no flow uses them.
            self.sweeper.no_later_than(now + SWEEP_MARGIN);
        }
        sweep
    }

    /// Ends these bindings for an operator. Gives their number.
    pub fn flush(&mut self, now: Time, which: &Selection, actions: &mut Actions) -> usize {
        self.sweeper.no_later_than(now + SWEEP_MARGIN);
        let Selection {
            client,
            anycast,
            care_of,
        } = *which;
        let end = fleet::End::Flushed {
            client,
            anycast,
            care_of,
        };
        self.tell_end(now, now, &end, actions);
        self.unbind(now, now, which, BindingChange::Flushed, actions)
    }

    /// Ends these bindings, unless they were renewed after this time. Gives their number.
    pub(super) fn unbind(
        &mut self,
        now: Time,
        at: Time,
        which: &Selection,
        change: BindingChange,
        actions: &mut Actions,
    ) -> usize {
        let live = self.cache.live();
        let live = live.filter(|(_, live)| live.expires <= at + BINDING_LIFETIME);
        let live = live.map(|(triple, _)| triple);
        let meant =
            live.filter(|triple| which.holds(triple.client, triple.anycast, triple.care_of));
        let meant: Vec<Triple> = meant.collect();
        for triple in &meant {
            self.counters.count(match change {
                BindingChange::Flushed => Counter::BindingFlushed,
                _ => Counter::BindingFailed,
            });
            self.end(now, *triple, change, actions);
        }
        meant.len()
    }
}

/// The destination of the quoted packet.
fn care_of(packet: &ipv6::Packet<'_>) -> Result<Ipv6Addr, Error> {
    let message = icmpv6::Message::parse(packet)?;
    if message.message_type != DESTINATION_UNREACHABLE {
        return Err(Error::UnexpectedType(message.message_type));
    }
    Ok(ipv6::Packet::parse_quoted(message.quoted)?.destination)
}
