//! Mobility options (RFC 6275 section 6.2).

use core::net::Ipv6Addr;

use super::mh_type;
use crate::wire::Error;
use crate::wire::bytes::Writer;

const PAD1: u8 = 0;
const PADN: u8 = 1;
const REFRESH_ADVICE: u8 = 2;
const ALTERNATE_CARE_OF: u8 = 3;
const NONCE_INDICES: u8 = 4;
const AUTHORIZATION: u8 = 5;

/// The options that we know; which of them stand in a message depends on its type.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) refresh_advice: Option<u16>,
    pub(super) alternate_care_of: Option<Ipv6Addr>,
    pub(super) nonce_indices: Option<(u16, u16)>,
    pub(super) authenticator: Option<[u8; 12]>,
}

impl Options {
    /// Reads the options area of a message. `start` is where it stands in the packet.
    pub(super) fn read(mh_type: u8, area: &[u8], start: usize) -> Result<Self, Error> {
        let update = mh_type == mh_type::BINDING_UPDATE;
        let ack = mh_type == mh_type::BINDING_ACK;
        let mut options = Self::default();
        let mut at = 0;
        while let Some(&option) = area.get(at) {
            let offset = start + at;
            if options.authenticator.is_some() {
                return Err(Error::AfterAuthorization { offset });
            }
            if option == PAD1 {
                at += 1;
                continue;
            }
            let bad = Error::BadOption { offset };
            let length = usize::from(*area.get(at + 1).ok_or(bad)?);
            let data = area.get(at + 2..at + 2 + length).ok_or(bad)?;
            match option {
                REFRESH_ADVICE if ack => {
                    let value = data.try_into().map_err(|_| bad)?;
                    let interval = u16::from_be_bytes(value);
                    once(&mut options.refresh_advice, interval, offset)?;
                }
                ALTERNATE_CARE_OF if update => {
                    let value: [u8; 16] = data.try_into().map_err(|_| bad)?;
                    let address = Ipv6Addr::from_octets(value);
                    once(&mut options.alternate_care_of, address, offset)?;
                }
                NONCE_INDICES if update => {
                    let &[a, b, c, d] = data else {
                        return Err(bad);
                    };
                    let indices = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                    once(&mut options.nonce_indices, indices, offset)?;
                }
                AUTHORIZATION if update || ack => {
                    // 96 bits: the only authenticator of return routability.
                    options.authenticator = Some(data.try_into().map_err(|_| bad)?);
                }
                _ => {}
            }
            at += 2 + length;
        }
        Ok(options)
    }

    /// Writes the options that are present, in the order of their types, each where its alignment
    /// wants it (the writer starts at the Mobility Header), and pads to a multiple of 8 octets.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        if let Some(interval) = self.refresh_advice {
            pad(writer, 2, 0)?;
            writer.put(&[REFRESH_ADVICE, 2])?;
            writer.put(&interval.to_be_bytes())?;
        }
        if let Some(address) = self.alternate_care_of {
            pad(writer, 8, 6)?;
            writer.put(&[ALTERNATE_CARE_OF, 16])?;
            writer.put(&address.octets())?;
        }
        if let Some((home, care_of)) = self.nonce_indices {
            pad(writer, 2, 0)?;
            writer.put(&[NONCE_INDICES, 4])?;
            writer.put(&home.to_be_bytes())?;
            writer.put(&care_of.to_be_bytes())?;
        }
        if let Some(authenticator) = self.authenticator {
            // Last, and it ends on the multiple of 8 by itself.
            pad(writer, 8, 2)?;
            writer.put(&[AUTHORIZATION, 12])?;
            writer.put(&authenticator)?;
        }
        pad(writer, 8, 0)
    }
}

/// Pads until the position is `multiple * n + remainder`.
fn pad(writer: &mut Writer<'_>, multiple: usize, remainder: usize) -> Result<(), Error> {
    let missing = (multiple + remainder - writer.position() % multiple) % multiple;
    match missing {
        0 => Ok(()),
        1 => writer.put(&[PAD1]),
        _ => {
            let length = u8::try_from(missing - 2).map_err(|_| Error::PayloadTooLong(missing))?;
            writer.put(&[PADN, length])?;
            (2..missing).try_for_each(|_| writer.put(&[0]))
        }
    }
}

/// Keeps the value of an option that may stand once.
fn once<T>(slot: &mut Option<T>, value: T, offset: usize) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::DuplicateOption { offset }),
    }
}
