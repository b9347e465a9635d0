//! Values that a configuration writes as text.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Deserializer, de};

/// An IPv6 prefix. A bare address stands for its /128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub Ipv6Net);

/// Text that is not an IPv6 prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an IPv6 prefix such as 2001:db8::/32")]
pub struct NotPrefix {
    text: String,
}

impl FromStr for Prefix {
    type Err = NotPrefix;

    fn from_str(text: &str) -> Result<Self, NotPrefix> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self(Ipv6Net::from(address)));
        }
        text.parse().map(Self).map_err(|_| NotPrefix {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_is_a_host_prefix() {
        let prefix: Prefix = "fe80::11".parse().expect("an address");
        assert_eq!(prefix.to_string(), "fe80::11/128");
        assert!("fe80::/129".parse::<Prefix>().is_err());
        assert!("10.0.0.0/8".parse::<Prefix>().is_err());
    }
}
