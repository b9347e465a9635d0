//! Flows that are judged in parts are judged as they are all at once.

use anycast_common::{
    abi::maps::{Flow, FlowKey, state},
    wire::ipv6,
};
use proptest::prelude::*;
use zerocopy::FromZeros as _;

use super::{limits::Limits, sweep::*};
use crate::core::Time;

/// Time between two sweeps, and that at which the first one is.
const EVERY: u64 = 3;
const START: u64 = 8000;
const SECOND: u64 = 1_000_000_000;

/// What is seen of a flow in three sweeps: its care-of address, whether it is TCP, and how many seconds before each
/// sweep the client and the member were heard, and an ICMPv6 error came. A care-of address of zero is an open flow.
type Seen = (u8, bool, [(u64, u64, u64); 3]);

fn seen() -> impl Strategy<Value = Seen> {
    let ago = || prop_oneof![4 => 0..20_u64, 1 => 250..8000_u64];
    let times = [
        (ago(), ago(), ago()),
        (ago(), ago(), ago()),
        (ago(), ago(), ago()),
    ];
    (0..4_u8, any::<bool>(), times)
}

fn flows(seen: &[Seen], round: u64) -> Vec<(FlowKey, Flow)> {
    let at = |ago: u64| (START + round * EVERY).saturating_sub(ago) * SECOND;
    let flow = |(number, (care_of, is_tcp, times)): (usize, &Seen)| {
        let protocol = match is_tcp {
            true => ipv6::NEXT_HEADER_TCP,
            false => ipv6::NEXT_HEADER_UDP,
        };
        let key = FlowKey {
            client_port: u16::try_from(number).unwrap_or_default().to_be_bytes(),
            protocol,
            ..FlowKey::new_zeroed()
        };
        let (out, answer, error) = times[usize::try_from(round).unwrap_or_default()];
        let flow = Flow {
            care_of: [*care_of; 16],
            pinned_at: SECOND,
            last_out: at(out),
            last_in: at(answer),
            unreachable_at: at(error),
            answered: 1,
            state: match care_of {
                0 => state::OPEN,
                _ => state::BOUND_FIRST,
            },
            ..Flow::new_zeroed()
        };
        (key, flow)
    };
    seen.iter().enumerate().map(flow).collect()
}

proptest! {
    #[test]
    fn parts_come_to_the_same(
        seen in prop::collection::vec(seen(), 0..40),
        most in 1..50_usize,
        deaf in 0..5_u8,
    ) {
        let deaf = |_: &FlowKey, flow: &Flow| flow.care_of[0] == deaf;
        let [mut whole, mut parts] = [(); 2].map(|()| Sweeper::new(Limits::default(), Time::ZERO));
        for round in 0..3 {
            let now = Time::from_nanos((START + round * EVERY) * SECOND);
            let flows = flows(&seen, round);
            let wanted = whole.sweep(now, &flows, deaf);
            let mut sweeping = parts.begin(now);
            let mut looked = 0;
            while !sweeping.is_done() {
                let number = sweeping.go_on(&mut parts, &flows, most, deaf);
                prop_assert!(number <= most);
                looked += number;
            }
            prop_assert_eq!(looked, 3 * flows.len());
            let found = sweeping.take();
            prop_assert_eq!(found.ended, wanted.ended);
            prop_assert_eq!(found.in_use, wanted.in_use);
            prop_assert_eq!(found.failed, wanted.failed);
            prop_assert_eq!(found.contradicted, wanted.contradicted);
            prop_assert_eq!(parts.deadline(), whole.deadline());
        }
    }
}
