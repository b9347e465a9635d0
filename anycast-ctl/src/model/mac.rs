//! Ethernet addresses as text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// Text that is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an Ethernet address such as 02:00:00:00:20:11")]
pub struct NotMac {
    text: String,
}

impl FromStr for Mac {
    type Err = NotMac;

    fn from_str(text: &str) -> Result<Self, NotMac> {
        let not_mac = || NotMac {
            text: text.to_owned(),
        };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(not_mac)?;
            // `from_str_radix` alone would accept a sign, as in "+1".
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(not_mac());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| not_mac())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(not_mac()),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_goes_both_ways_and_nothing_else_passes() {
        let mac: Mac = "02:00:00:00:20:1F".parse().expect("a MAC");
        assert_eq!(mac.0, [2, 0, 0, 0, 0x20, 0x1f]);
        assert_eq!(mac.to_string(), "02:00:00:00:20:1f");
        for bad in [
            "",
            "02:00:00:00:20",
            "02:00:00:00:20:1f:00",
            "2:0:0:0:0:1",
            "+2:00:00:00:20:11",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
