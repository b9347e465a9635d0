//! What the rules make of a frame: addresses are replaced, and checksums follow.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::{
    frame::UDP_LITE,
    view::{Transport, View, u16_at},
};
use crate::{harness::Verdict, packets::UDP};

/// What has to become of a frame.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub(super) verdict: Verdict,
    pub(super) frame: Vec<u8>,
    /// Checksums in it for which 0 and 0xffff are the same number.
    pub(super) either: Vec<usize>,
}

/// The flow as the client names it: client, anycast address, their ports, protocol.
pub(super) type Key = (Ipv6Addr, Ipv6Addr, u16, u16, u8);

/// Where an address is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    fn at(self, ip: usize) -> usize {
        match self {
            Self::Source => ip + 8,
            Self::Destination => ip + 24,
        }
    }
}

pub(super) type Change = (Side, Ipv6Addr);
pub(super) type Packet = (Ipv6Addr, Ipv6Addr, u32, u8);

/// What later fragments of a packet do; `None`: they stay as they are.
pub(super) type Fragments = BTreeMap<Packet, Option<Change>>;

impl Fate {
    pub(super) fn same(verdict: Verdict, frame: &[u8]) -> Self {
        Self {
            verdict,
            frame: frame.to_vec(),
            either: Vec::new(),
        }
    }

    /// Replaces an address, and takes what that changes out of the checksums at these places.
    fn replace(&mut self, at: usize, address: Ipv6Addr, checksums: &[Option<Checksum>]) {
        let new = address.octets();
        self.change(at, &new, checksums);
    }

    fn change(&mut self, at: usize, new: &[u8], checksums: &[Option<Checksum>]) {
        let old = self.frame[at..at + new.len()].to_vec();
        self.frame[at..at + new.len()].copy_from_slice(new);
        for checksum in checksums.iter().flatten() {
            checksum.update(self, &old, new);
        }
    }
}

/// A checksum that is there.
#[derive(Clone, Copy, Debug)]
struct Checksum {
    at: usize,
    /// Of UDP or UDP-Lite, where 0 says that there is none.
    udp: bool,
}

/// In the arithmetic of RFC 1071, where 0xffff is 0.
const MODULUS: u64 = 0xffff;

fn sum(octets: &[u8]) -> u64 {
    let words = octets
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]));
    words.sum::<u64>() % MODULUS
}

impl Checksum {
    fn of(transport: &Transport, protocol: u8) -> Option<Self> {
        let udp = matches!(protocol, UDP | UDP_LITE);
        transport.checksum.map(|at| Self { at, udp })
    }

    /// The checksum is what the rest lacks to make 0: more of the rest, less of it.
    fn update(self, fate: &mut Fate, old: &[u8], new: &[u8]) {
        let now = u64::from(u16_at(&fate.frame, self.at).expect("it was read"));
        if self.udp && now == 0 {
            return;
        }
        let mut next = (now + sum(old) + MODULUS - sum(new)) % MODULUS;
        if next == 0 && self.udp {
            next = MODULUS;
        }
        if !self.udp {
            fate.either.push(self.at);
        }
        let next = u16::try_from(next).expect("below the modulus");
        fate.frame[self.at..self.at + 2].copy_from_slice(&next.to_be_bytes());
    }
}

/// Replaces an address of a packet that has its transport header, or of one that has none.
pub(super) fn rewrite(
    frame: &[u8],
    view: &View,
    (side, address): Change,
    transport: Option<Transport>,
) -> Fate {
    let mut fate = Fate::same(Verdict::Pass, frame);
    let checksum = transport.and_then(|transport| Checksum::of(&transport, view.protocol));
    fate.replace(side.at(view.ip), address, &[checksum]);
    fate
}

/// Puts an error right: an address of the quote, and perhaps one of its own.
pub(super) fn translate(
    frame: &[u8],
    view: &View,
    (quote, transport): (View, Option<Transport>),
    inner: Change,
    outer: Option<Change>,
) -> Fate {
    let mut fate = Fate::same(Verdict::Pass, frame);
    let own = Some(Checksum {
        at: view.upper + 2,
        udp: false,
    });
    if let Some((side, address)) = outer {
        fate.replace(side.at(view.ip), address, &[own]);
    }
    let quoted = transport.and_then(|transport| Checksum::of(&transport, quote.protocol));
    let before = quoted.map(|quoted| fate.frame[quoted.at..quoted.at + 2].to_vec());
    fate.replace(inner.0.at(quote.ip), inner.1, &[own, quoted]);
    // The quoted checksum is itself covered by the error's.
    if let (Some(quoted), Some(before), Some(own)) = (quoted, before, own) {
        let after = fate.frame[quoted.at..quoted.at + 2].to_vec();
        own.update(&mut fate, &before, &after);
    }
    fate
}
