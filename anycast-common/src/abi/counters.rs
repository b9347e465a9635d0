//! Every verdict and drop reason of the eBPF programs, named once.
//!
//! Map `COUNTERS`: a per-CPU array of `u64`, indexed by [`Counter`]. Packets of the [`short`] way are counted
//! elsewhere.

/// Packets of pinned flows that went the short way, counted in [`Traffic::short`](super::maps::Traffic::short). Each
/// counts for two counters, of which every reader has the sum, and for those of its addresses, so that a packet costs
/// one place in memory.
pub mod short {
    use super::Counter;

    /// As `ToCareOf` and `Forwarded`.
    pub const TO_CARE_OF: usize = 0;
    /// As `FromCareOf` and `Forwarded`.
    pub const FROM_CARE_OF: usize = 1;
    /// As `ToCareOf` and `ForwardedByKernel`.
    pub const TO_CARE_OF_BY_KERNEL: usize = 2;
    /// As `FromCareOf` and `ForwardedByKernel`.
    pub const FROM_CARE_OF_BY_KERNEL: usize = 3;
    /// How many there are.
    pub const ALL: usize = 4;

    /// Those that count for this counter, beside its own.
    #[must_use]
    pub const fn parts(counter: Counter) -> &'static [usize] {
        match counter {
            Counter::ToCareOf => &[TO_CARE_OF, TO_CARE_OF_BY_KERNEL],
            Counter::FromCareOf => &[FROM_CARE_OF, FROM_CARE_OF_BY_KERNEL],
            Counter::Forwarded => &[TO_CARE_OF, FROM_CARE_OF],
            Counter::ForwardedByKernel => &[TO_CARE_OF_BY_KERNEL, FROM_CARE_OF_BY_KERNEL],
            _ => &[],
        }
    }
}

/// Declares an enum of counters with a name and a sentence of help for each.
#[macro_export]
macro_rules! counters {
    (
        $(#[$meta:meta])*
        $vis:vis enum $type:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        $vis enum $type {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl $type {
            /// All counters, in the order of their index.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The name that `counters` and the metrics show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }

            /// What the counter counts, in one sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $($type::$variant => concat!($($doc),+).trim_ascii(),)*
                }
            }
        }
    };
}

counters! {
    /// Index into the map `COUNTERS`.
    pub enum Counter {
    /// Punts lost because the ring buffer was full.
    PuntRingFull = "punt_ring_full",
    /// Packets for the controller that are longer than a record (1280 octets), dropped.
    PuntTooLong = "punt_too_long",

    /// Frames for another host, which the interface heard: left alone.
    FrameForAnother = "frame_for_another",

    /// MLD Reports for an anycast address that the policy allows, given to the router.
    MldReportAllowed = "mld_report_allowed",
    /// MLD Reports for an anycast address that the policy refuses, dropped.
    MldReportDenied = "mld_report_denied",
    /// MLD Dones for an anycast address that the policy allows, given to the router.
    MldDoneAllowed = "mld_done_allowed",
    /// MLD Dones for an anycast address that the policy refuses, dropped.
    MldDoneDenied = "mld_done_denied",
    /// MLD Queries given to the controller.
    MldQuery = "mld_query",
    /// MLD Queries beyond 500 a second on a CPU, left to the kernel alone.
    MldQueryLimited = "mld_query_limited",
    /// MLD Queries with a hop limit other than 1 or a source that is not link-local, left to the kernel.
    MldQueryNotOnLink = "mld_query_not_on_link",
    /// MLD Reports and Dones for a multicast address, passed to the kernel untouched.
    MldMulticast = "mld_multicast",
    /// Anycast Reports or Dones from a source that is not link-local, dropped (draft host-anycast 4.2).
    MldBadSource = "mld_bad_source",
    /// Anycast Reports or Dones with a bad ICMPv6 checksum, dropped (draft host-anycast 4.2).
    MldBadChecksum = "mld_bad_checksum",
    /// MLD messages shorter than 24 octets: Reports and Dones dropped, Queries left to the kernel.
    MldTruncated = "mld_truncated",
    /// Anycast Reports or Dones whose hop limit is not 1, dropped.
    MldBadHopLimit = "mld_bad_hop_limit",
    /// Anycast Reports or Dones not sent to FF02::2, dropped.
    MldBadDestination = "mld_bad_destination",
    /// Anycast Reports or Dones without Router Alert of MLD, value 0, dropped (RFC 3810 6.2, RFC 2711 2.1).
    MldNoRouterAlert = "mld_no_router_alert",
    /// Reports or Dones for an address that cannot be anycast, dropped.
    MldBadAddress = "mld_bad_address",
    /// Reports or Dones beyond the rate of one source, dropped.
    MldRateLimited = "mld_rate_limited",
    /// Reports or Dones of senders that are new, beyond the rate of new ones that a rule allows on an interface,
    /// dropped.
    MldNewSenderLimited = "mld_new_sender_limited",

    /// Mobility messages given to the controller.
    MobilityPunted = "mobility_punted",
    /// Mobility messages for addresses that are not ours, left to the kernel.
    MobilityNotOurs = "mobility_not_ours",
    /// Mobility messages of a type this role never receives, left to the kernel.
    MobilityOtherRole = "mobility_other_role",

    /// Home Test Inits that the programs answered with a Home Test.
    HomeTestAnswered = "home_test_answered",
    /// Care-of Test Inits that the programs answered with a Care-of Test.
    CareOfTestAnswered = "care_of_test_answered",
    /// Test Inits left to the controller, because the programs had no node key that is fresh.
    TestInitNoKey = "test_init_no_key",
    /// Test Inits left to the controller, because the kernel has to send the answer: the neighbour is not known yet,
    /// the device takes no frames of XDP, or this host forwards nothing.
    TestInitNoWay = "test_init_no_way",
    /// Test Inits left to the controller, because they are not as members send them (options, extension headers,
    /// another length, a wrong checksum, a source that is not routable), or came with a VLAN tag or without Ethernet.
    TestInitUnusual = "test_init_unusual",

    /// Home Test Inits and Binding Updates from an address that is not in `allow`, dropped.
    MobilityNotAllowed = "mobility_source_not_allowed",
    /// Test Inits beyond the rate to one client, dropped.
    TestInitClientLimited = "test_init_client_limited",
    /// Test Inits beyond the rate from one /64, dropped.
    TestInitPrefixLimited = "test_init_prefix_limited",
    /// Test Inits beyond the rate to clients that sent a packet of late, dropped.
    TestInitLimited = "test_init_rate_limited",
    /// Test Inits beyond the rate to clients that sent nothing of late, dropped.
    TestInitUnsolicited = "test_init_unsolicited_limited",
    /// Test Inits dropped because half of the ring buffer was taken; the rest is for Binding Updates.
    TestInitRingBusy = "test_init_ring_busy",
    /// Binding Updates beyond the rate to one client, dropped.
    UpdateClientLimited = "binding_update_client_limited",
    /// Binding Updates beyond the rate from one /64, dropped.
    UpdatePrefixLimited = "binding_update_prefix_limited",
    /// Binding Updates beyond the rate to clients that sent a packet of late, dropped.
    UpdateLimited = "binding_update_rate_limited",
    /// Binding Updates beyond the rate to clients that sent nothing of late, dropped.
    UpdateUnsolicited = "binding_update_unsolicited_limited",

    /// Client packets rewritten from the anycast to the care-of address.
    ToCareOf = "correspondent_to_care_of",
    /// Member packets rewritten from the care-of to the anycast address.
    FromCareOf = "correspondent_from_care_of",
    /// Flows bound to a care-of address by their first packet.
    FlowPinned = "flow_pinned",
    /// Open flows bound to the care-of address from which their member began to send.
    FlowLed = "flow_led",
    /// Flows remembered as open, because nobody was bound when their first packet came: they go to B.
    FlowOpen = "flow_open",
    /// TCP connections that a member opened from its care-of address, and which stay as they are
    FlowOwn = "flow_own",
    /// Open flows that gave way to another flow: a later binding takes them for new ones.
    FlowOpenEvicted = "flow_open_evicted",
    /// Flows not remembered as open, because the table is full of others: a later binding takes them for new ones.
    FlowOpenNoRoom = "flow_open_no_room",
    /// Bound flows that gave way to a new one, because the table was full; they go to B.
    FlowEvicted = "flow_evicted",
    /// Bound flows decided anew by a TCP SYN, because both ends had closed them or nobody ever answered.
    FlowRestarted = "flow_restarted",
    /// Bound flows that became open again: the client kept sending for three seconds, and C never answered by this way.
    FlowTrialUnanswered = "flow_trial_unanswered",
    /// Bound flows that became open again: C said that it does not know them, before it had answered anything. The
    /// reset, or Port Unreachable, is dropped.
    FlowTrialReset = "flow_trial_reset",
    /// Resets and Port Unreachables by which C said that it does not know a flow that it had answered, dropped: the
    /// flow is on trial again. Also what C still says of a trial that its reset has ended.
    FlowResetHeld = "flow_reset_held",
    /// Resets and Port Unreachables of clients to C: its packets come to them by another way. A flow on trial is open
    /// again.
    FlowAnsweredElsewhere = "flow_answered_elsewhere",
    /// FIN and RST whose numbers are not near those of the flow: they end nothing by themselves.
    FlowEndUnbelieved = "flow_end_unbelieved",
    /// Pins that ended because the client's packets went unanswered for 4.5 minutes while no controller ran.
    FlowAbandoned = "flow_abandoned",
    /// Packets of bound flows left to plain anycast, because there is no route to the care-of address.
    NoRouteToCareOf = "no_route_to_care_of",
    /// Packets that are too big for the way to C: left to the kernel, which says so to the client.
    TooBigForCareOf = "too_big_for_care_of",
    /// Rewritten packets sent to their next hop by the programs themselves.
    Forwarded = "forwarded",
    /// Rewritten packets left to the kernel to forward.
    ForwardedByKernel = "forwarded_by_kernel",

    /// ICMPv6 errors about rewritten packets, translated for the client or the member.
    CorrespondentIcmpError = "correspondent_icmp_error",
    /// ICMPv6 errors which say of a bound flow that its care-of address cannot be reached, dropped:
    /// the client tries again, by plain anycast.
    CareOfUnreachable = "care_of_unreachable",
    /// ICMPv6 errors that say so and come from the clients' side, dropped: whoever is there knows no way to C.
    CareOfUnreachableFromClients = "care_of_unreachable_from_clients",
    /// ICMPv6 errors that say so and have a bad checksum, dropped.
    CareOfUnreachableBadChecksum = "care_of_unreachable_bad_checksum",
    /// ICMPv6 errors that say so beyond ten a second about one care-of address, dropped.
    CareOfUnreachableLimited = "care_of_unreachable_rate_limited",
    /// ICMPv6 errors that quote a mobility message which was sent in the client's name, dropped: the client knows
    /// nothing of it, and a Home Test has a token in it.
    IcmpErrorQuotesMobility = "icmp_error_quotes_mobility",
    /// ICMPv6 errors that quote a packet to a care-of address and match no bound flow: late or
    /// forged, and left to the client's kernel.
    IcmpErrorNoFlow = "icmp_error_no_flow",

    /// Packets to a care-of address of this member, rewritten to the anycast address.
    MemberIn = "member_from_care_of",
    /// Answers of this member, rewritten from the anycast to the care-of address.
    MemberOut = "member_to_care_of",
    /// First packets of clients reported to the controller.
    MemberNewClient = "member_new_client",
    /// New clients not reported because of the rate of their /64.
    MemberNewClientPrefixLimited = "member_new_client_prefix_limited",
    /// New clients not reported because of the rate of all.
    MemberNewClientLimited = "member_new_client_rate_limited",
    /// New clients not reported because half of the ring buffer was taken.
    MemberRingBusy = "member_new_client_ring_busy",
    /// Answers to a member dropped beyond their rate on a CPU, 20000 a second or four for each handshake that it may
    /// begin, or because half of the ring buffer was taken.
    MemberAnswerLimited = "member_answer_limited",
    /// ICMPv6 errors about a member's messages beyond 1000 a second on a CPU, or because half of the ring buffer was
    /// taken.
    MemberErrorLimited = "member_error_limited",
    /// TCP resets and Port Unreachables by the care-of address held back, because the correspondent may have lost the
    /// flow.
    MemberResetHeld = "member_reset_held",
    /// Flows that went back from the care-of to the anycast address.
    MemberFlowReturned = "member_flow_returned",
    /// TCP resets from clients whose sequence number is none that this host would take; they end nothing.
    MemberResetDoubted = "member_reset_doubted",
    /// Answers to a client that came by the anycast address, sent from the care-of address: one packet, to see whether
    /// the flow comes over.
    MemberCanary = "member_canary",
    /// Flows that came over from the anycast to the care-of address, because this member led them.
    MemberFlowLed = "member_flow_led",
    /// Packets to a care-of address, and errors about packets from it, of flows that this host opened itself: left as
    /// they are.
    MemberOwnFlow = "member_own_flow",
    /// ICMPv6 errors to a care-of address of this member, translated for the kernel.
    MemberIcmpError = "member_icmp_error",
    /// ICMPv6 errors about the Mobility Header given to the controller.
    MemberMobilityRefused = "member_mobility_refused",

    /// ICMPv6 errors whose quote is too short or has headers that are not walked, left to the kernel.
    IcmpErrorNotParsed = "icmp_error_not_parsed",
    /// Later fragments that were treated as the first one of their packet.
    FragmentFollowed = "fragment_followed",
    /// Later fragments that came before the first one, and followed the client's binding.
    FragmentGuessed = "fragment_guessed",
    /// Packets whose extension headers are too many or damaged, left to the kernel.
    ChainNotParsed = "extension_chain_not_parsed",
    /// Frames of several buffers whose headers are not in the first one, left to the kernel.
    HeadersNotInFirstBuffer = "headers_not_in_first_buffer",
}
}
