//! Owns where the shared store is. Never shows the password in it.

use std::fmt;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// Where the store is and who we are there.
#[derive(Clone)]
pub struct StoreAddress {
    connection: ConnectionInfo,
}

/// Why a text is no address of a store. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of that kind.
    #[error("must be: redis://, rediss:// or unix:// URL")]
    Malformed,
    /// `#insecure`.
    #[error("must not switch off the check of certificates")]
    Unchecked,
    /// Two passwords that differ.
    #[error("has another password than REDIS_PASSWORD")]
    TwoPasswords,
}

impl StoreAddress {
    /// From `redis://[user[:password]@]host[:port][/database]`, the same with `rediss` for
    /// TLS, or `unix:///path[?db=][&user=][&pass=]`; a password beside it wins over none.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, AddressError> {
        let connection = url.into_connection_info().map_err(|_| AddressError::Malformed)?;
        if matches!(connection.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(AddressError::Unchecked);
        }
        let Some(password) = password else { return Ok(Self { connection }) };
        let settings = connection.redis_settings().clone();
        if settings.password().is_some_and(|known| known != password) {
            return Err(AddressError::TwoPasswords);
        }
        Ok(Self { connection: connection.set_redis_settings(settings.set_password(password)) })
    }

    /// Whether nobody on a network can read along: TLS, or a socket of this machine.
    pub fn is_private(&self) -> bool {
        !matches!(self.connection.addr(), ConnectionAddr::Tcp(..))
    }

    /// Whether it is a socket of this machine, which its file's rights guard.
    pub fn is_local(&self) -> bool {
        matches!(self.connection.addr(), ConnectionAddr::Unix(_))
    }

    /// The password, for those who judge it.
    pub fn password(&self) -> Option<&str> {
        self.connection.redis_settings().password()
    }

    pub(super) fn client(&self) -> redis::RedisResult<Client> {
        Client::open(self.connection.clone())
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.connection.redis_settings().db();
        match self.connection.addr() {
            ConnectionAddr::Tcp(host, port) => {
                write!(formatter, "redis://{host}:{port}/{database}")
            }
            ConnectionAddr::TcpTls { host, port, .. } => {
                write!(formatter, "rediss://{host}:{port}/{database}")
            }
            ConnectionAddr::Unix(path) => write!(formatter, "unix://{}", path.display()),
            _ => formatter.write_str("[unknown]"),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoreAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{AddressError, StoreAddress};

    #[test]
    fn addresses_are_shown_without_their_password() {
        // url, shown, private
        let table = [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0", false),
            ("redis://bob:hush@store.example:7000/3", "redis://store.example:7000/3", false),
            ("rediss://:hush@store.example", "rediss://store.example:6379/0", true),
            ("redis://[::1]:6380", "redis://::1:6380/0", false),
            ("unix:///run/redis.sock?pass=hush", "unix:///run/redis.sock", true),
        ];
        for (url, shown, private) in table {
            let address = StoreAddress::parse(url, None).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_private(), private, "{url}");
            assert!(!format!("{address:?}").contains("hush"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let table = [
            ("", None, AddressError::Malformed),
            ("store.example:6379", None, AddressError::Malformed),
            ("http://store.example", None, AddressError::Malformed),
            ("redis://", None, AddressError::Malformed),
            ("redis://store.example/three", None, AddressError::Malformed),
            ("rediss://store.example/#insecure", None, AddressError::Unchecked),
            ("redis://:one@store.example", Some("two"), AddressError::TwoPasswords),
        ];
        for (url, password, why) in table {
            let parsed = StoreAddress::parse(url, password);
            assert_eq!(parsed.map(|address| address.to_string()), Err(why), "{url}");
        }
        let address = StoreAddress::parse("redis://store.example", Some("one")).unwrap();
        assert_eq!(address.password(), Some("one"));
    }
}
