//! Rates at which others may ask for the controller.

use crate::core::rate::Rate;

/// The rates; `every` of zero sets no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Router: Reports and Dones of one sender.
    pub reports: Rate,
    /// Router: senders that are not known yet, by the rule that allows them and the interface.
    pub new_senders: Rate,
    /// Correspondent: Test Inits to one client, and as many Binding Updates.
    pub to_client: Rate,
    /// From one /64.
    pub from_prefix: Rate,
    /// On each CPU, to clients that sent a packet of late.
    pub solicited: Rate,
    /// On all CPUs together, to other clients.
    pub unsolicited: Rate,
    /// Member: clients of one /64 that are reported.
    pub clients_of_prefix: Rate,
    /// Clients that are reported on each CPU.
    pub clients: Rate,
}

impl Limits {
    /// No limits at all.
    pub const NONE: Self = Self {
        reports: Rate::UNLIMITED,
        new_senders: Rate::UNLIMITED,
        to_client: Rate::UNLIMITED,
        from_prefix: Rate::UNLIMITED,
        solicited: Rate::UNLIMITED,
        unsolicited: Rate::UNLIMITED,
        clients_of_prefix: Rate::UNLIMITED,
        clients: Rate::UNLIMITED,
    };
}
