//! Random packets, most of them of few flows, so that they meet what is bound and pinned.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::frame::{
    Body, Frame,
    Host::{
        self, A, A2, B, B2, C, C2, C3, Hop, LinkLocal, Loopback, Multicast, Stranger, Unspecified,
    },
    Segment, Upper, WHOLE,
};
use crate::packets::{ACK, FIN, RST, SYN};

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => Just(ACK),
        4 => Just(SYN),
        2 => Just(SYN | ACK),
        2 => Just(FIN | ACK),
        2 => Just(RST),
        1 => Just(RST | ACK),
        1 => any::<u8>(),
    ]
}

/// Few numbers, so that they meet, and further apart than a packet is long.
fn segment() -> impl Strategy<Value = Segment> {
    const APART: u32 = 2000;
    let number = || prop_oneof![4 => Just(0_u32), 2 => Just(1), 1 => Just(2)];
    (flags(), number(), number()).prop_map(|(flags, sequence, acknowledged)| Segment {
        flags,
        sequence: 1 + APART * sequence,
        acknowledged: 2 + APART * acknowledged,
    })
}

/// What most packets of a case have in common, so that they meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Of [`simple`].
    kind: usize,
    /// B2 and C3 instead of B and C.
    pub(super) second: bool,
}

pub(super) fn theme() -> impl Strategy<Value = Theme> {
    let kind = prop_oneof![5 => Just(0_usize), 3 => Just(1), 3 => Just(2), 1 => 3..5_usize];
    (kind, any::<bool>()).prop_map(|(kind, second)| Theme { kind, second })
}

pub(super) fn simple(theme: Theme, reply: bool) -> impl Strategy<Value = Upper> {
    let usual = prop_oneof![9 => Just(theme.kind), 1 => 0..5_usize];
    let other = prop::bool::weighted(0.1);
    let sum = prop::bool::weighted(0.9);
    (usual, segment(), other, sum, 0..3_usize).prop_map(
        move |(kind, segment, other, sum, which)| match kind {
            0 => Upper::Tcp(segment),
            1 => Upper::Udp(sum),
            2 => Upper::Echo {
                reply: reply != other,
            },
            3 => [Upper::Sctp, Upper::Dccp, Upper::UdpLite][which].clone(),
            _ => Upper::Other([47, 50, 47][which]),
        },
    )
}

/// Most are between the client, the service, and what stands for it.
pub(super) fn ends(theme: Theme) -> impl Strategy<Value = (Host, Host)> {
    let [first, its] = if theme.second { [B2, C3] } else { [B, C] };
    let client = || prop_oneof![12 => Just(A), 1 => Just(A2), 1 => Just(Stranger)];
    let service = move || {
        prop_oneof![
            8 => Just(first),
            8 => Just(its),
            1 => select(vec![B, B2, C, C2, C3]),
        ]
    };
    let other = || {
        select(vec![
            A,
            A2,
            Stranger,
            Hop,
            LinkLocal,
            Multicast,
            Unspecified,
            Loopback,
        ])
    };
    prop_oneof![
        10 => (client(), service()),
        7 => (service(), client()),
        1 => (other(), service()),
        1 => (service(), other()),
        1 => (other(), other()),
    ]
}

fn extensions() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let one = prop_oneof![3 => Just(0_u8), 6 => Just(60), 1 => select(vec![43, 51])];
    prop_oneof![
        12 => Just(Vec::new()),
        3 => vec((one, 0_u8..3), 1..3),
        1 => vec((Just(60_u8), 0_u8..2), 5..8),
    ]
}

pub(super) fn body(
    upper: BoxedStrategy<Upper>,
    ends: BoxedStrategy<(Host, Host)>,
    plain: bool,
) -> impl Strategy<Value = Body> {
    let ports = (
        prop_oneof![6 => Just(40000_u16), 1 => Just(40001)],
        prop_oneof![6 => Just(80_u16), 1 => Just(53)],
    );
    let rare = if plain { 0.05 } else { 0.3 };
    let fragment = option::weighted(
        rare,
        (
            prop_oneof![1 => Just(0_u16), 1 => 1..4_u16],
            any::<bool>(),
            0..2_u8,
        ),
    );
    let extensions = (prop::bool::weighted(rare), extensions())
        .prop_map(|(there, list)| if there { list } else { Vec::new() });
    let hop_limit =
        prop_oneof![12 => Just(64_u8), 1 => Just(1), 1 => Just(0), 1 => Just(2), 1 => Just(255)];
    let data = prop_oneof![4 => 0..40_usize, 1 => 40..1200_usize];
    (
        ends,
        upper,
        ports,
        data,
        extensions,
        fragment,
        hop_limit,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |((source, destination), upper, ports, data, extensions, fragment, hop_limit, zero)| {
                Body {
                    source,
                    destination,
                    upper,
                    ports,
                    data,
                    extensions,
                    fragment,
                    hop_limit,
                    zero,
                }
            },
        )
}

/// An error about a packet, to who sent it or, as the network has seen it, seems to have.
fn error(theme: Theme) -> impl Strategy<Value = Body> {
    let quoted = any::<bool>().prop_flat_map(move |reply| {
        let ends = ends(theme).prop_map(move |(a, b)| {
            if a.is_client() == reply {
                (b, a)
            } else {
                (a, b)
            }
        });
        body(simple(theme, reply).boxed(), ends.boxed(), true)
    });
    let keep = prop_oneof![6 => Just(WHOLE), 2 => 0..100_usize];
    let kind = prop_oneof![2 => 0..6_u8, 1 => Just(1)];
    // Those that tell of a care-of address, and others.
    let code = prop_oneof![1 => 0..8_u8, 1 => select(vec![0_u8, 3, 6])];
    let by = prop_oneof![4 => Just(None), 3 => Just(Some(true)), 1 => Just(Some(false))];
    let other = option::weighted(0.1, ends(theme));
    (
        quoted,
        kind,
        code,
        keep,
        by,
        other,
        prop_oneof![9 => Just(64_u8), 1 => Just(1)],
    )
        .prop_map(|(quote, kind, code, keep, by, other, hop_limit)| {
            // By a router on the way, by who was sent the packet, or by another of its addresses.
            let source = match by {
                None => Hop,
                Some(true) => quote.destination,
                Some(false) => quote.destination.partner(),
            };
            let (source, destination) = other.unwrap_or((source, quote.source));
            Body {
                source,
                destination,
                ports: quote.ports,
                upper: Upper::Error {
                    kind,
                    code,
                    quote: Box::new(quote),
                    keep,
                },
                data: 0,
                extensions: Vec::new(),
                fragment: None,
                hop_limit,
                zero: false,
            }
        })
}

pub(super) fn frame(theme: Theme) -> impl Strategy<Value = Frame> {
    let flow = ends(theme).prop_flat_map(move |ends| {
        body(
            simple(theme, !ends.0.is_client()).boxed(),
            Just(ends).boxed(),
            false,
        )
    });
    let icmp = select(vec![
        127_u8, 130, 131, 132, 133, 135, 136, 137, 139, 143, 144,
    ]);
    let rest = prop_oneof![
        2 => icmp.prop_map(Upper::Icmp),
        3 => (0..12_u8).prop_map(Upper::Mobility),
        1 => select(vec![59_u8, 253]).prop_map(Upper::Other),
    ];
    let rest = body(rest.boxed(), ends(theme).boxed(), true);
    let body = prop_oneof![12 => flow, 4 => error(theme), 1 => rest];
    let cut = prop_oneof![9 => Just(0_usize), 1 => 1..60_usize];
    let padding = prop_oneof![9 => Just(0_usize), 1 => 1..8_usize];
    let vlans = prop_oneof![8 => Just(0_usize), 1 => 1..3_usize];
    (body, vlans, cut, padding, prop::bool::weighted(0.1)).prop_map(
        |(body, vlans, cut, padding, damaged)| {
            let (most, padded) = match &body.upper {
                // A message that is not whole is for the controller to refuse.
                Upper::Mobility(_) => (8, true),
                // Padding begins where headers are whole: no frame is shorter than they are.
                Upper::Error { keep, .. } => (usize::MAX, *keep == WHOLE),
                _ => (usize::MAX, true),
            };
            Frame {
                body,
                vlans,
                cut: cut.min(most),
                padding: if cut == 0 && padded { padding } else { 0 },
                damaged,
            }
        },
    )
}
