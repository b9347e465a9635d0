//! What gateways tell each other of what has ended before its time.

use std::{net::Ipv6Addr, time::Duration};

use anycast_common::abi::maps::FlowKey;

use super::{message::whole_milliseconds, octets::Reader};
use crate::core::Time;

/// What has ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An operator ended what all of these addresses match that are given.
    Flushed {
        /// The client, A.
        client: Option<Ipv6Addr>,
        /// The anycast address, B.
        anycast: Option<Ipv6Addr>,
        /// The member's unicast address, C.
        care_of: Option<Ipv6Addr>,
    },
    /// A gateway hears this care-of address no longer.
    Failed(Ipv6Addr),
    /// A flow that was bound to this address and is open again, because its trial failed.
    Opened {
        /// Key of the flow.
        key: FlowKey,
        /// The member's unicast address, C.
        care_of: Ipv6Addr,
        /// Whether the pair (A, C) is left alone for a time.
        alone: bool,
    },
}

const FLUSHED: u8 = 1;
const FAILED: u8 = 2;
const OPENED: u8 = 3;

/// Writes what has ended, and how long before `now` that was.
pub(super) fn write_end(now: Time, at: Time, end: &End, body: &mut Vec<u8>) {
    body.extend(whole_milliseconds(now.since(at)).to_be_bytes());
    match end {
        End::Flushed {
            client,
            anycast,
            care_of,
        } => {
            body.push(FLUSHED);
            for address in [client, anycast, care_of] {
                // Nothing is bound to, by or for the unspecified address.
                let address = address.unwrap_or(Ipv6Addr::UNSPECIFIED);
                body.extend(address.octets());
            }
        }
        End::Failed(care_of) => {
            body.push(FAILED);
            body.extend(care_of.octets());
        }
        End::Opened {
            key,
            care_of,
            alone,
        } => {
            body.push(OPENED);
            body.extend(key.client);
            body.extend(key.anycast);
            body.extend(care_of.octets());
            body.extend(key.client_port);
            body.extend(key.service_port);
            body.push(key.protocol);
            body.push(u8::from(*alone));
        }
    }
}

/// Reads what has ended, and when.
pub(super) fn read_ends(now: Time, body: &[u8]) -> Option<Vec<(Time, End)>> {
    let mut reader = Reader(body);
    let mut ends = Vec::new();
    while !reader.is_empty() {
        let at = now.before(Duration::from_millis(reader.word()?.into()));
        let end = match reader.octet()? {
            FLUSHED => {
                let mut given = || {
                    let address = reader.address()?;
                    Some((address != Ipv6Addr::UNSPECIFIED).then_some(address))
                };
                End::Flushed {
                    client: given()?,
                    anycast: given()?,
                    care_of: given()?,
                }
            }
            FAILED => End::Failed(reader.address()?),
            OPENED => {
                let (client, anycast) = (reader.array()?, reader.array()?);
                let care_of = reader.address()?;
                let key = FlowKey {
                    client,
                    anycast,
                    client_port: reader.array()?,
                    service_port: reader.array()?,
                    protocol: reader.octet()?,
                    reserved: [0; 3],
                };
                let alone = match reader.octet()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                End::Opened {
                    key,
                    care_of,
                    alone,
                }
            }
            _ => return None,
        };
        ends.push((at, end));
    }
    Some(ends)
}
