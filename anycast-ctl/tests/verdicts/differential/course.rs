//! What happens in a case: packets alone, and some that have to do with each other.

use proptest::{collection::vec, option, prelude::*};

use super::{
    frame::{
        Body, Frame,
        Host::{self, A, A2, B, B2, C, C2, C3, Hop, Stranger},
        Segment, Upper, WHOLE,
    },
    generate::{Theme, body, ends, frame, simple, theme},
};
use crate::packets::{ACK, RST, SYN};

/// What happens in a case.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The client is bound to this care-of address, or was until a moment ago.
    Bind {
        client: Host,
        care_of: Host,
        live: bool,
    },
    /// A packet comes.
    In(Frame),
    /// A packet of this host leaves.
    Out(Frame),
}

/// A frame, and another one of the same flow or of the same packet.
fn pair(theme: Theme) -> impl Strategy<Value = [Frame; 2]> {
    frame(theme).prop_map(|first| {
        let mut next = first.clone();
        if let Some((offset, more, _)) = &mut next.body.fragment {
            (*offset, *more) = (*offset + 1, false);
        }
        [first, next]
    })
}

/// The first fragment of a packet, and an error about it or a later one, as the network has seen them.
fn about_fragment(theme: Theme) -> impl Strategy<Value = [Frame; 2]> {
    let first = ends(theme).prop_flat_map(move |ends| {
        let upper = simple(theme, !ends.0.is_client());
        body(upper.boxed(), Just(ends).boxed(), false)
    });
    let frame = |body| Frame {
        body,
        vlans: 0,
        cut: 0,
        padding: 0,
        damaged: false,
    };
    let kind = prop_oneof![3 => Just(2_u8), 1 => 1..5_u8];
    let code = prop_oneof![2 => Just(0_u8), 1 => 0..8_u8];
    (first, 0..2_u8, 0..3_u16, any::<bool>(), kind, code).prop_map(
        move |(mut first, identification, offset, more, kind, code)| {
            first.fragment = Some((0, true, identification));
            first.hop_limit = 64;
            let mut quote = first.clone();
            quote.fragment = Some((offset, more, identification));
            if first.source.is_client() {
                quote.destination = first.destination.partner();
            } else {
                quote.source = first.source.partner();
            }
            let upper = Upper::Error {
                kind,
                code,
                quote: Box::new(quote.clone()),
                keep: WHOLE,
            };
            let error = Body {
                source: Hop,
                destination: quote.source,
                upper,
                data: 0,
                extensions: Vec::new(),
                fragment: None,
                zero: false,
                ..quote
            };
            [first, error].map(frame)
        },
    )
}

/// A packet of which nothing is unusual.
fn plain(source: Host, destination: Host, upper: Upper, client_port: u16) -> Frame {
    let body = Body {
        source,
        destination,
        upper,
        ports: (client_port, 80),
        data: 5,
        extensions: Vec::new(),
        fragment: None,
        hop_limit: 64,
        zero: false,
    };
    Frame {
        body,
        vlans: 0,
        cut: 0,
        padding: 0,
        damaged: false,
    }
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![3 => Just(40000_u16), 1 => Just(40001)]
}

/// A client opens a flow by B, and it goes on until the member may lead it.
fn opening(theme: Theme) -> impl Strategy<Value = Vec<Step>> {
    let [service, its] = if theme.second { [B2, C3] } else { [B, C] };
    let client = prop_oneof![6 => Just(A), 1 => Just(A2)];
    (client, port(), 0..3_usize, any::<[bool; 2]>()).prop_map(
        move |(client, port, kind, [known, by_care_of])| {
            let upper = |flags, sequence, acknowledged, reply| match kind {
                0 => Upper::Tcp(Segment {
                    flags,
                    sequence,
                    acknowledged,
                }),
                1 => Upper::Udp(true),
                _ => Upper::Echo { reply },
            };
            let from = |flags, sequence, acknowledged| {
                let upper = upper(flags, sequence, acknowledged, false);
                plain(client, service, upper, port)
            };
            let to = |flags, sequence, acknowledged| {
                let upper = upper(flags, sequence, acknowledged, true);
                plain(service, client, upper, port)
            };
            let mut next = from(ACK, 7, 12);
            if by_care_of {
                next.body.destination = its;
            }
            let bind = Step::Bind {
                client,
                care_of: its,
                live: true,
            };
            let flow = [
                Step::In(from(SYN, 1, 0)),
                Step::Out(to(SYN | ACK, 1, 7)),
                Step::In(from(ACK, 7, 7)),
                Step::Out(to(ACK, 7, 12)),
                Step::In(next),
                Step::Out(to(ACK, 12, 17)),
            ];
            known.then_some(bind).into_iter().chain(flow).collect()
        },
    )
}

/// A client sends something by C that a host says it does not know.
fn disowned(theme: Theme) -> impl Strategy<Value = Vec<Step>> {
    let [service, its] = if theme.second { [B2, C3] } else { [B, C] };
    (port(), any::<bool>()).prop_map(move |(port, opens)| {
        let segment = |flags| {
            Upper::Tcp(Segment {
                flags,
                sequence: 1,
                acknowledged: 2,
            })
        };
        let first = if opens {
            plain(A, service, segment(SYN), port)
        } else {
            plain(its, A, segment(ACK), port)
        };
        let reset = plain(its, A, segment(RST), port);
        [first, reset].map(Step::In).to_vec()
    })
}

fn bind(theme: Theme) -> impl Strategy<Value = Step> {
    let its = if theme.second { C3 } else { C };
    let client = prop_oneof![8 => Just(A), 1 => Just(A2), 1 => Just(Stranger)];
    let care_of = prop_oneof![6 => Just(its), 1 => Just(C), 2 => Just(C2), 1 => Just(C3)];
    (client, care_of, prop::bool::weighted(0.7)).prop_map(|(client, care_of, live)| Step::Bind {
        client,
        care_of,
        live,
    })
}

/// The course of a case.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    theme().prop_flat_map(|theme| {
        let step = prop_oneof![
            1 => bind(theme).prop_map(|bind| vec![bind]),
            11 => frame(theme).prop_map(|frame| vec![Step::In(frame)]),
            5 => frame(theme).prop_map(|frame| vec![Step::Out(frame)]),
            3 => pair(theme).prop_map(|pair| pair.map(Step::In).to_vec()),
            1 => pair(theme).prop_map(|pair| pair.map(Step::Out).to_vec()),
            1 => opening(theme),
            1 => disowned(theme),
            1 => about_fragment(theme).prop_map(|pair| pair.map(Step::In).to_vec()),
            1 => about_fragment(theme).prop_map(|[first, error]| vec![Step::Out(first), Step::In(error)]),
        ];
        let first = Step::Bind {
            client: A,
            care_of: if theme.second { C3 } else { C },
            live: true,
        };
        (option::weighted(0.8, Just(first)), vec(step, 1..24)).prop_map(|(first, steps)| {
            first
                .into_iter()
                .chain(steps.into_iter().flatten())
                .collect()
        })
    })
}
