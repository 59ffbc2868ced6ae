//! Networks in CIDR notation: which peers are trusted proxies, where an API key may be
//! used from.
//!
//! Refuses to know whose address it is asked about.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as 10.0.0.0/8")]
pub struct NetworkError(pub String);

impl Network {
    /// Whether nothing but the network is named: `10.0.0.0/8` and not `10.0.0.1/8`.
    pub fn is_bare(&self) -> bool {
        let host_bits = match self.address {
            IpAddr::V4(_) => 32 - u32::from(self.prefix),
            IpAddr::V6(_) => 128 - u32::from(self.prefix),
        };
        match self.address {
            IpAddr::V4(address) => address.to_bits().trailing_zeros() >= host_bits,
            IpAddr::V6(address) => address.to_bits().trailing_zeros() >= host_bits,
        }
    }

    /// Whether the address lies in it. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same_prefix(network.to_bits(), address.to_bits(), 32 - u32::from(self.prefix))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let host_bits = 128 - u32::from(self.prefix);
                let difference = network.to_bits() ^ address.to_bits();
                difference.checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn same_prefix(left: u32, right: u32, host_bits: u32) -> bool {
    (left ^ right).checked_shr(host_bits).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix =
            if prefix.is_empty() { longest } else { prefix.parse().map_err(|_| wrong())? };
        match (address, prefix) {
            (_, prefix) if prefix > longest => Err(wrong()),
            // IPv4 in the clothes of IPv6: addresses are compared without them.
            (IpAddr::V6(mapped), 96..) if mapped.to_ipv4_mapped().is_some() => {
                Ok(Self { address: address.to_canonical(), prefix: prefix - 96 })
            }
            (address, prefix) => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Network;

    #[test]
    fn networks_hold_what_they_say() {
        let table = [
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
        ];
        for (network, address, expected) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?}");
        }
        for wrong in ["", "10.0.0.0/33", "::1/129", "ten", "10.0.0.0/"] {
            assert_eq!(wrong.parse::<Network>().is_ok(), wrong == "10.0.0.0/", "{wrong}");
        }
    }

    #[test]
    fn a_network_with_a_host_in_it_is_not_bare() {
        let table = [
            ("10.0.0.0/8", true),
            ("10.0.0.1/8", false),
            ("10.0.0.1", true),
            ("0.0.0.0/0", true),
            ("1.0.0.0/0", false),
            ("2001:db8::/32", true),
            ("2001:db8::1/32", false),
            ("::/0", true),
        ];
        for (text, bare) in table {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.is_bare(), bare, "{text}");
            assert_eq!(network.to_string().parse::<Network>().unwrap(), network, "{text}");
        }
    }
}
