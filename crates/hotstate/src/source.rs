//! Owns what counts as one source of requests: rates, failures and floods of one are
//! counted together.
//!
//! Refuses to know what is counted.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An address as it is counted: IPv6 by its /64, which is what one subscriber is given
/// and may change within as often as they like, and an IPv4-mapped one as the IPv4
/// address that it is.
pub fn counted(address: IpAddr) -> IpAddr {
    *addresses_of(address).start()
}

/// The first and the last address that are counted together with this one.
pub fn addresses_of(address: IpAddr) -> RangeInclusive<IpAddr> {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let (subscriber, host) = (address.to_bits(), u128::from(u64::MAX));
            let bound = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            bound(subscriber & !host)..=bound(subscriber | host)
        }
        single @ IpAddr::V4(_) => single..=single,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{addresses_of, counted};

    #[test]
    fn addresses_are_counted_as_subscribers() {
        // address, the first and the last of its source
        let table = [
            ("2001:db8:1:2::1", "2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            ("2001:db8:1:2:ffff::9", "2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            ("2001:db8:1:3::1", "2001:db8:1:3::", "2001:db8:1:3:ffff:ffff:ffff:ffff"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ];
        for (address, first, last) in table {
            let of = addresses_of(address.parse().unwrap());
            assert_eq!(of, first.parse().unwrap()..=last.parse().unwrap(), "{address}");
            assert_eq!(counted(address.parse().unwrap()), *of.start(), "{address}");
        }
    }
}
