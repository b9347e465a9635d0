//! Limits on how often other hosts may cause work in the controller.

use crate::core::rate::Rate;

/// The token buckets of the data plane. A rate whose `every` is zero sets no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Router: Reports and Dones of one sender.
    pub reports: Rate,
    /// Router: senders that are not known yet, for each pair of a policy rule that allows them and an interface.
    pub new_senders: Rate,
    /// Correspondent: Test Inits to one client. The same rate holds separately for Binding Updates.
    pub to_client: Rate,
    /// Correspondent: messages from one /64 prefix of senders.
    pub from_prefix: Rate,
    /// Correspondent: messages on one CPU to clients that recently sent a packet to an anycast address.
    pub solicited: Rate,
    /// Correspondent: messages on all CPUs together to all other clients.
    pub unsolicited: Rate,
    /// Member: new clients of one /64 prefix that the programs report to the controller.
    pub clients_of_prefix: Rate,
    /// Member: new clients that the programs report to the controller from one CPU.
    pub clients: Rate,
    /// Member: answers of clients that the programs report to the controller from one CPU.
    pub answers: Rate,
}

impl Limits {
    /// Sets no limit at all.
    pub const NONE: Self = Self {
        reports: Rate::UNLIMITED,
        new_senders: Rate::UNLIMITED,
        to_client: Rate::UNLIMITED,
        from_prefix: Rate::UNLIMITED,
        solicited: Rate::UNLIMITED,
        unsolicited: Rate::UNLIMITED,
        clients_of_prefix: Rate::UNLIMITED,
        clients: Rate::UNLIMITED,
        answers: Rate::UNLIMITED,
    };
}
