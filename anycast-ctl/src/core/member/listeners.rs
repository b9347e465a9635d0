//! The listener machines of all addresses on all interfaces.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use anycast_common::wire::{self, ipv6, mld};
use rand::RngExt;

use super::{
    ListenerTimers,
    context::Context,
    listener::{Event, Message, State},
};
use crate::core::{Action, GroupAction, Time, counters::Counter, timers::Timers};

/// An address, and the index of the interface on which it is listened for.
type Key = (Ipv6Addr, u32);

/// One machine and the address that its messages leave from.
#[derive(Debug)]
struct Listener {
    state: State,
    link_local: Ipv6Addr,
}

/// All machines that are not in state Non-Listener.
#[derive(Debug)]
pub(super) struct Listeners {
    settings: ListenerTimers,
    machines: BTreeMap<Key, Listener>,
    timers: Timers<Key>,
}

impl Listeners {
    pub(super) fn new(settings: ListenerTimers) -> Self {
        Self {
            settings,
            machines: BTreeMap::new(),
            timers: Timers::default(),
        }
    }

    /// Other timers, from the next Report on.
    pub(super) const fn set(&mut self, settings: ListenerTimers) {
        self.settings = settings;
    }

    /// Source address of the Reports for `anycast` on the interface. `None` where it is not reported.
    pub(super) fn source(&self, anycast: Ipv6Addr, ifindex: u32) -> Option<Ipv6Addr> {
        let listener = self.machines.get(&(anycast, ifindex))?;
        Some(listener.link_local)
    }

    /// The interfaces on which `anycast` is reported, and whether a Report is still to be sent there.
    pub(super) fn interfaces(&self, anycast: Ipv6Addr) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.machines
            .range((anycast, 0)..=(anycast, u32::MAX))
            .map(|((_, ifindex), listener)| (*ifindex, listener.state.deadline().is_some()))
    }

    /// Starts to serve `anycast` on an interface. The solicited-node group comes first, since the
    /// router's Address-Specific Queries go there.
    pub(super) fn start(
        &mut self,
        anycast: Ipv6Addr,
        ifindex: u32,
        link_local: Ipv6Addr,
        cx: &mut Context<'_>,
    ) {
        cx.act(Action::Group(GroupAction::Join {
            ifindex,
            group: ipv6::solicited_node(anycast),
        }));
        let listener = Listener {
            state: State::NonListener,
            link_local,
        };
        self.machines.insert((anycast, ifindex), listener);
        self.step((anycast, ifindex), Event::StartListening, cx);
    }

    /// Stops serving the address, and sends a Done.
    pub(super) fn stop(&mut self, anycast: Ipv6Addr, ifindex: u32, cx: &mut Context<'_>) {
        self.step((anycast, ifindex), Event::StopListening, cx);
        self.leave_group(anycast, ifindex, cx);
    }

    /// Stops serving the address where no Done can be sent any more.
    pub(super) fn lose(&mut self, anycast: Ipv6Addr, ifindex: u32, cx: &mut Context<'_>) {
        self.machines.remove(&(anycast, ifindex));
        self.timers.set((anycast, ifindex), None);
        self.leave_group(anycast, ifindex, cx);
    }

    /// Handles a Query for `anycast`.
    pub(super) fn query(
        &mut self,
        anycast: Ipv6Addr,
        ifindex: u32,
        max_response_delay: Duration,
        cx: &mut Context<'_>,
    ) {
        let event = Event::QueryReceived { max_response_delay };
        self.step((anycast, ifindex), event, cx);
    }

    /// Sends the Reports that are due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(key) = self.timers.pop(cx.now) {
            self.step(key, Event::TimerExpired, cx);
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    fn step(&mut self, key: Key, event: Event, cx: &mut Context<'_>) {
        let Some(listener) = self.machines.get_mut(&key) else {
            return;
        };
        let rng = &mut *cx.rng;
        let draw = |longest: Duration| {
            let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
            Duration::from_nanos(rng.random_range(0..=longest))
        };
        let (state, message) = listener.state.after(event, cx.now, &self.settings, draw);
        listener.state = state;
        let link_local = listener.link_local;
        if state == State::NonListener {
            self.machines.remove(&key);
        }
        self.timers.set(key, state.deadline());
        let (address, ifindex) = key;
        let (message, counter) = match message {
            None => return,
            Some(Message::Report) => (mld::Message::Report { address }, Counter::ReportSent),
            Some(Message::Done) => (mld::Message::Done { address }, Counter::DoneSent),
        };
        cx.send(Some(ifindex), packet(&message, link_local), counter);
    }

    /// Leaves the solicited-node group, unless another address on the interface shares it.
    fn leave_group(&self, anycast: Ipv6Addr, ifindex: u32, cx: &mut Context<'_>) {
        let group = ipv6::solicited_node(anycast);
        let shared = self
            .machines
            .keys()
            .any(|(other, at)| *at == ifindex && ipv6::solicited_node(*other) == group);
        if !shared {
            cx.act(Action::Group(GroupAction::Leave { ifindex, group }));
        }
    }
}

fn packet(message: &mld::Message, source: Ipv6Addr) -> Result<Vec<u8>, wire::Error> {
    let mut packet = vec![0; mld::PACKET_LEN];
    let length = message.emit(source, ipv6::ALL_ROUTERS, &mut packet)?;
    packet.truncate(length);
    Ok(packet)
}
