//! Requests of the control socket, and whoever else waits for the flows to be read.

use super::{
    super::{
        answer::{Answered, Desk, flush_flows, flushed, need_of, needs_flows, no_role, reply},
        api::{Answer, Request, server::Call},
    },
    parts::{Parts, SOON, Waiter},
};
use crate::core::{
    controller::{Flushed, Input},
    correspondent::Selection,
};

impl Parts {
    /// Handles a request of the control socket.
    pub(super) fn call(&mut self, call: Call) {
        if let Request::Flush {
            client,
            anycast,
            care_of,
        } = call.request
        {
            let which = Selection {
                client,
                anycast,
                care_of,
            };
            return self.flush(which, call);
        }
        if let Request::Reload = call.request {
            let answer = self.reload();
            self.perform();
            // What cannot be assigned yet is tried again.
            self.assign();
            return reply(call, answer);
        }
        if needs_flows(&call.request, &self.plane, self.flows.seen()) {
            let need = need_of(&call.request);
            return self.flows.wait(Waiter::Call(call), need);
        }
        self.answer(call);
    }

    fn answer(&mut self, call: Call) {
        let mut desk = Desk {
            core: &mut self.core,
            plane: &mut self.plane,
            performer: &mut self.performer,
            policy: &mut self.policy,
            seen: self.flows.seen(),
        };
        let answer = desk.answer(&call.request);
        self.done(call, answer);
    }

    /// Ends bindings first, so that nothing is pinned to them any more when the flows are read.
    fn flush(&mut self, which: Selection, call: Call) {
        let ended = self.core.flush(&which);
        self.perform();
        match ended {
            Flushed {
                bindings: Some(_), ..
            } => self.flows.wait(Waiter::Flush { which, ended, call }, SOON),
            Flushed {
                bindings: None,
                clients: Some(_),
            } => reply(call, Ok(Answer::Flushed(flushed(ended, None)))),
            Flushed {
                bindings: None,
                clients: None,
            } => reply(call, Err(no_role("member or correspondent"))),
        }
    }

    /// Handles that the flows have been read.
    pub(super) fn flows_read(&mut self, waiters: Vec<Waiter>) {
        // So that who waits for a drain finds it done.
        self.end_unserved();
        for waiter in waiters {
            match waiter {
                Waiter::Core => match self.flows.seen().last() {
                    Some(read) => {
                        let (began, flows) = (read.began, &read.flows);
                        self.core.handle(Input::Flows { began, flows });
                        self.perform();
                    }
                    None => self.flows.wait(Waiter::Core, SOON),
                },
                Waiter::Unserved => {}
                Waiter::Retired => self.end_retired(),
                Waiter::Call(call) => self.answer(call),
                Waiter::Flush { which, ended, call } => {
                    let read = self.flows.seen().last();
                    let answer = flush_flows(&mut self.core, &mut self.plane, read, &which, ended);
                    self.done(call, answer.map(Answer::Flushed));
                }
            }
        }
    }

    /// Sends the answer of a request. Actions are performed first, so that a client which is told that something is
    /// done finds it done.
    fn done(&mut self, call: Call, answer: Answered) {
        self.perform();
        reply(call, answer);
    }
}
