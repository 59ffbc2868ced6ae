//! Owns finding out who is calling: the socket's peer, or what a trusted proxy
//! says of it. Refuses to believe anybody else's headers.

use std::net::IpAddr;

use http::HeaderMap;
use tenancy::Place;
pub use tenancy::network::{Network, NetworkError};

use crate::config::ApiConfig;

/// The certificate of whoever is on the other end of the socket, where they greeted with one;
/// the listener puts it among the request's extensions. No header speaks for it: a proxy that
/// ends TLS ends this as well.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Its SHA-256 as `x5t#S256` writes it (RFC 8705 section 3.1).
    pub thumbprint: String,
}

/// The client's address: the peer, unless the peer is a trusted proxy; then the
/// last address of `X-Forwarded-For`, read from the right, that is not one. What
/// stands further left was written by strangers.
pub(crate) fn address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer?.to_canonical();
    if !is_trusted(peer) {
        return Some(one_loopback(peer));
    }
    let mut client = peer;
    let mut lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    lines.reverse();
    for hop in lines.iter().flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')) {
        // Something that is no address ends the walk: the last proxy that we
        // trust is as far as we know.
        let Some(hop) = forwarded(hop.trim()) else { break };
        client = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    Some(one_loopback(client))
}

/// Where on earth the client is: what a trusted proxy says in the header that the operator
/// named, `latitude,longitude` in degrees. Anybody else's word is not heard.
pub(crate) fn place(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    config: &ApiConfig,
) -> Option<Place> {
    let (peer, name) = (peer?.to_canonical(), config.location_header.as_deref()?);
    if !config.trusted_proxies.iter().any(|network| network.contains(peer)) {
        return None;
    }
    let mut lines = headers.get_all(name).iter();
    let (latitude, longitude) = lines.next()?.to_str().ok()?.split_once(',')?;
    // Two of them: one may be the client's own.
    if lines.next().is_some() {
        return None;
    }
    let degrees = |text: &str, most: f64| {
        text.trim().parse::<f64>().ok().filter(|degrees| degrees.abs() <= most)
    };
    Some(Place { latitude: degrees(latitude, 90.0)?, longitude: degrees(longitude, 180.0)? })
}

/// `localhost` is two addresses and one machine: clients change between them from
/// one connection to the next, and must not look like a moved session for it.
fn one_loopback(address: IpAddr) -> IpAddr {
    if address.is_loopback() { IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) } else { address }
}

/// An address with or without a port, IPv6 with or without brackets.
fn forwarded(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok();
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    address.or_else(socket).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderValue};

    use super::{Network, address, place};
    use crate::config::ApiConfig;

    #[test]
    fn a_place_is_believed_of_a_trusted_proxy_alone() {
        // peer, headers, whether a place comes of it
        let table: [(&str, &[&str], bool); 10] = [
            ("10.0.0.1", &["50.08,14.43"], true),
            ("10.0.0.1", &[" -33.9 , 151.2 "], true),
            ("203.0.113.9", &["50.08,14.43"], false),
            ("10.0.0.1", &[], false),
            ("10.0.0.1", &["50.08,14.43", "0,0"], false),
            ("10.0.0.1", &["91,0"], false),
            ("10.0.0.1", &["0,-180.1"], false),
            ("10.0.0.1", &["NaN,0"], false),
            ("10.0.0.1", &["50.08"], false),
            ("10.0.0.1", &["north,west"], false),
        ];
        let config = ApiConfig {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            location_header: Some("x-client-location".to_owned()),
            ..ApiConfig::default()
        };
        for (peer, lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-client-location", HeaderValue::from_static(line));
            }
            let found = place(peer.parse().ok(), &headers, &config);
            assert_eq!(found.is_some(), expected, "{peer} {lines:?}");
            assert!(place(peer.parse().ok(), &headers, &ApiConfig::default()).is_none());
        }
    }

    #[test]
    fn the_walk_starts_at_the_right_and_ends_at_the_first_stranger() {
        // peer, X-Forwarded-For, expected
        let table = [
            ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "6.6.6.6, nonsense, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:10.0.0.1", "198.51.100.7:1234", "198.51.100.7"),
            ("::1", "198.51.100.7", "127.0.0.1"),
            ("127.0.0.2", "", "127.0.0.1"),
        ];
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, forwarded, expected) in table {
            let mut headers = HeaderMap::new();
            if !forwarded.is_empty() {
                headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
            }
            let found = address(peer.parse().ok(), &headers, &trusted);
            assert_eq!(found, expected.parse().ok(), "{peer} {forwarded}");
        }
    }
}
