//! Counters of the core: one for every reason to refuse something, and for every kind of message sent.

use anycast_common::counters;

counters! {
    /// Index into [`Counters`].
    pub enum Counter {
    /// Reports of members that were accepted.
    ReportAccepted = "report_accepted",
    /// Reports or Dones refused by the policy in the controller.
    ReportDenied = "report_denied",
    /// Reports or Dones that the controller's own checks refused.
    MldInvalid = "mld_invalid",
    /// MLD messages from an interface that is down or does not belong to the router role.
    MldNoLink = "mld_no_link",
    /// Reports refused because the group has as many members as its rule allows.
    GroupFull = "group_full",
    /// Reports refused because the member is in as many groups as its rule allows.
    MemberFull = "member_full",
    /// Dones that were ignored, because another router is the Querier, or because the member is not known or is being
    /// checked already.
    DoneIgnored = "done_ignored",
    /// Members that the kernel found unreachable.
    MemberUnreachable = "member_unreachable",
    /// Members whose reachability the kernel was asked to verify.
    MemberProbed = "member_probed",
    /// General Queries sent.
    GeneralQuerySent = "general_query_sent",
    /// Address-Specific Queries sent.
    SpecificQuerySent = "address_specific_query_sent",
    /// Queries refused because their sender is none of the `queriers`.
    QueryDenied = "query_denied",
    /// Queries of other routers heard.
    QueryHeard = "query_heard",
    /// Multicast Router Advertisements sent (RFC 4286).
    DiscoveryAdvertisementSent = "multicast_router_advertisement_sent",
    /// Multicast Router Terminations sent (RFC 4286).
    DiscoveryTerminationSent = "multicast_router_termination_sent",
    /// Multicast Router Solicitations not answered: from elsewhere, with a bad checksum or otherwise damaged.
    DiscoveryInvalid = "multicast_router_solicitation_invalid",
    /// Multicast Router Solicitations not answered beyond ten a second on a link (RFC 4286 3.1.6).
    DiscoveryLimited = "multicast_router_solicitation_limited",
    /// Reports sent.
    ReportSent = "report_sent",
    /// Dones sent.
    DoneSent = "done_sent",

    /// Health checks that passed.
    HealthCheckPassed = "health_check_passed",
    /// Health checks that failed.
    HealthCheckFailed = "health_check_failed",
    /// Health checks given up because they took too long.
    HealthCheckTimeout = "health_check_timeout",
    /// Results of health checks that nothing waited for any more.
    HealthCheckLate = "health_check_late",

    /// Neighbor Advertisements sent for anycast addresses.
    AdvertisementSent = "neighbor_advertisement_sent",
    /// Neighbor Solicitations that RFC 4861 section 7.1.1 refuses.
    SolicitationInvalid = "neighbor_solicitation_invalid",
    /// Neighbor Solicitations not answered: duplicate address detection, or too many at a time.
    SolicitationIgnored = "neighbor_solicitation_ignored",

    /// Clients reported by the data plane.
    ClientSeen = "client_seen",
    /// Handshakes started.
    HandshakeStarted = "handshake_started",
    /// Handshakes not started because of a rate limit.
    HandshakeLimited = "handshake_rate_limited",
    /// Clients whose handshake failed and that are not tried again yet, because too many others are.
    HandshakePostponed = "handshake_postponed",
    /// Clients that were left alone and from which a message arrived afterwards.
    BackOffEnded = "back_off_ended",
    /// Handshakes not started because the table of clients is full and none of them can be forgotten.
    HandshakeTableFull = "handshake_table_full",
    /// Home Test Inits sent.
    HomeTestInitSent = "home_test_init_sent",
    /// Care-of Test Inits sent.
    CareOfTestInitSent = "care_of_test_init_sent",
    /// Binding Updates sent.
    BindingUpdateSent = "binding_update_sent",
    /// Home or Care-of Tests that match no handshake.
    TestUnexpected = "test_unexpected",
    /// Binding Acknowledgements that match no handshake.
    AckUnexpected = "binding_ack_unexpected",
    /// Binding Acknowledgements whose authenticator is wrong.
    AckBadAuthenticator = "binding_ack_bad_authenticator",
    /// Handshakes that ended in a binding.
    HandshakeBound = "handshake_bound",
    /// Handshakes to which no answer came.
    HandshakeNoAnswer = "handshake_no_answer",
    /// Handshakes given up because this host left the group.
    HandshakeLeft = "handshake_left",
    /// Clients found unable to bind.
    ClientNotCapable = "client_not_capable",
    /// Handshakes that the client's correspondent refused.
    HandshakeRefused = "handshake_refused",
    /// Clients reported for an address for which this host starts no handshakes, or whose address cannot be a client's.
    ClientIgnored = "client_ignored",

    /// Home Tests that were handed on to the member of the group that had asked for them.
    HomeTestHandedOn = "home_test_handed_on",
    /// Binding Acknowledgements that were handed on to members of the group for which a Home Test had arrived.
    AckHandedOn = "binding_ack_handed_on",
    /// Binding Errors and ICMPv6 errors that were handed on to the members of the group whose message they are about.
    ErrorHandedOn = "handshake_error_handed_on",
    /// Messages for another member of the group that a rate limit kept from being handed on.
    HandOnLimited = "hand_on_rate_limited",
    /// Messages for another member of the group that were not handed on because their hop limit was used up.
    HandOnHopLimit = "hand_on_hop_limit",
    /// Home Tests and Binding Acknowledgements that another member of the group handed on to this one.
    HandedOnReceived = "handed_on_received",
    /// Binding Acknowledgements that another member handed on and that are for a third member.
    HandedOnNotOurs = "handed_on_not_ours",

    /// Home Test Inits that the controller answered; the programs answer most.
    HomeTestSent = "home_test_sent",
    /// Care-of Test Inits that the controller answered; the programs answer most.
    CareOfTestSent = "care_of_test_sent",
    /// Test Inits with a Home Address option, dropped (RFC 6275 9.4.1).
    TestInitHomeAddress = "test_init_home_address_option",
    /// Binding Updates accepted.
    BindingUpdateAccepted = "binding_update_accepted",
    /// Binding Updates for a client that is not in the prefixes of this correspondent.
    BindingUpdateNotOurs = "binding_update_not_ours",
    /// Binding Updates that lack an option they need, dropped.
    BindingUpdateIncomplete = "binding_update_incomplete",
    /// Binding Updates with a Home Address option, dropped.
    BindingUpdateHomeAddress = "binding_update_home_address_option",
    /// Binding Updates with the H bit set, dropped.
    BindingUpdateHome = "binding_update_home_registration",
    /// Binding Updates with the E bit clear (status 129).
    BindingUpdateNotEquivalent = "binding_update_not_equivalent",
    /// Binding Updates whose care-of address cannot be the unicast address of a member.
    BindingUpdateBadCareOf = "binding_update_bad_care_of",
    /// Binding Updates whose sequence number is not after the last (status 135).
    BindingUpdateBadSequence = "binding_update_bad_sequence",
    /// Binding Updates with an expired home nonce index (status 136).
    BindingUpdateHomeNonce = "binding_update_expired_home_nonce",
    /// Binding Updates with an expired care-of nonce index (status 137).
    BindingUpdateCareOfNonce = "binding_update_expired_care_of_nonce",
    /// Binding Updates with both nonce indices expired (status 138).
    BindingUpdateBothNonces = "binding_update_expired_nonces",
    /// Binding Updates with the nonces of a binding that was deleted, or that may be a replay of one whose
    /// sequence number is forgotten because there were too many (status 138).
    BindingUpdateBarred = "binding_update_barred",
    /// Binding Updates whose authenticator is wrong, dropped in silence (RFC 6275 9.5.1).
    BindingUpdateBadAuthenticator = "binding_update_bad_authenticator",
    /// Binding Updates refused because the binding table is full (status 130).
    BindingTableFull = "binding_table_full",
    /// Binding Updates refused because the clients of one /64 have as many bindings as is permitted (status 130).
    BindingPrefixFull = "binding_prefix_full",
    /// Binding Updates refused because one member has as many bindings as is permitted (status 130).
    BindingMemberFull = "binding_member_full",
    /// Binding Updates refused because eight members are already bound to this pair of client and anycast address
    /// (status 130).
    BindingPairFull = "binding_pair_full",
    /// Binding Updates for a client and a care-of address between which flows failed on trial lately (status 128).
    BindingUpdateLeftAlone = "binding_update_left_alone",
    /// Flows that failed on trial, of which the data plane told.
    TrialFailed = "trial_failed",
    /// Binding Acknowledgements sent.
    BindingAckSent = "binding_ack_sent",
    /// Binding Errors sent.
    BindingErrorSent = "binding_error_sent",
    /// Answers not sent because of a rate limit.
    AnswerLimited = "answer_rate_limited",
    /// Binding Errors and Parameter Problems not sent because of a rate limit.
    ErrorLimited = "error_rate_limited",
    /// Mobility messages that do not parse.
    MobilityInvalid = "mobility_invalid",
    /// Mobility messages from an address that cannot be answered, dropped.
    MobilityBadSource = "mobility_bad_source",
    /// Mobility messages of a type that this role does not receive, or for an address that is not ours.
    MobilityUnexpected = "mobility_unexpected",
    /// Binding Updates that the policy of the correspondent refuses (status 129).
    BindingUpdateProhibited = "binding_update_prohibited",
    /// Binding Updates whose care-of address already belongs to another anycast address (status 129).
    BindingUpdateCareOfTaken = "binding_update_care_of_taken",
    /// Bindings deleted by a Binding Update of lifetime 0.
    BindingDeleted = "binding_deleted",
    /// Bindings whose 16 seconds ran out.
    BindingExpired = "binding_expired",
    /// Bindings that ended because their care-of address failed, or because a flow was not answered after an ICMPv6
    /// error.
    BindingFailed = "binding_failed",
    /// Bindings that an operator ended.
    BindingFlushed = "binding_flushed",
    /// Care-of addresses that failed as a whole.
    CareOfFailed = "care_of_failed",
    /// Flows about which an ICMPv6 error said that their care-of address cannot be reached, and that were answered
    /// afterwards.
    CareOfContradicted = "care_of_unreachable_contradicted",
    /// ICMPv6 errors to a member that do not say that a handshake message was not understood.
    IcmpErrorIgnored = "icmp_error_ignored",
    /// ICMPv6 errors that do not parse, or that do not tell a correspondent of an unreachable care-of address.
    IcmpErrorInvalid = "icmp_error_invalid",
    /// Pins that ended because the flow was idle.
    FlowIdle = "flow_idle",
    /// Pins of TCP connections that both ends closed.
    FlowClosed = "flow_closed",
    /// Pins that ended because the member did not answer.
    FlowUnanswered = "flow_unanswered",
    /// Pins that ended because the member did not answer the flow after an ICMPv6 error about it.
    FlowUnreachable = "flow_unreachable",
    /// Messages of other gateways of the fleet that were taken, beside Binding Updates.
    FleetMessageAccepted = "fleet_message_accepted",
    /// Messages on the bus of the fleet that are none of its own, or are cut.
    FleetMessageMalformed = "fleet_message_malformed",
    /// Messages on the bus of the fleet whose authenticator is wrong: somebody without the secret made or changed them.
    FleetMessageForged = "fleet_message_forged",
    /// Messages of gateways that have another secret.
    FleetOtherSecret = "fleet_other_secret",
    /// Messages of the fleet that are for another gateway.
    FleetMessageNotOurs = "fleet_message_not_ours",
    /// Messages of the fleet that came before.
    FleetMessageReplayed = "fleet_message_replayed",
    /// Messages of the fleet from a gateway of which nothing shows that it is heard now.
    FleetMessageUnproven = "fleet_message_unproven",
    /// Messages of a gateway that is one too many.
    FleetFull = "fleet_full",
    /// Binding Updates of other gateways that were accepted here as well.
    FleetUpdateAccepted = "fleet_update_accepted",
    /// Binding Updates that other gateways accepted and this one did not; the counters of Binding Updates say why.
    FleetUpdateRefused = "fleet_update_refused",
    /// Bound flows that other gateways told of.
    FleetFlowsAdopted = "fleet_flows_adopted",
    /// Triples of which other gateways told flows or a binding, and that may not be bound here, for which there is no
    /// room, or that are left alone.
    FleetFlowsRefused = "fleet_flows_refused",
    /// What ended here because another gateway said so.
    FleetEnds = "fleet_ends",
    /// Care-of addresses, or flows on trial, that failed at another gateway, and whose member answers here.
    FleetEndContradicted = "fleet_end_contradicted",
    /// Snapshots given to other gateways.
    FleetSnapshotServed = "fleet_snapshot_served",
    /// Parameter Problems sent about mobility messages (RFC 6275 section 9.2).
    ParameterProblemSent = "parameter_problem_sent",
    /// Packets that could not be written. This is a bug and worth a report.
    PacketNotWritten = "packet_not_written",
    }
}

/// One value for every [`Counter`].
#[derive(Clone, Debug)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// Adds one to a counter.
    pub fn count(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// The names and values of all counters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL
            .iter()
            .map(|counter| (counter.name(), self.get(*counter)))
    }
}
