//! Settings of the back end: SONiC's databases, and the switch's features.

use super::release::Release;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Entries of a table of ours until the switch reports its own: a Tomahawk has 512, a Trident3 "a
/// few hundred".
pub const CAUTIOUS_ENTRIES: u64 = 256;

/// Settings of the back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address of Redis.
    pub redis: Address,
    /// The database that rules are written to.
    pub database: Database,
    /// Ingress interfaces: names of ports and port channels; patterns with `*` and `?`. Empty: all.
    pub interfaces: Vec<String>,
    /// The release of SONiC.
    pub release: Release,
    /// IPv6 is filtered, in a table of its own.
    pub ipv6: bool,
    /// The table matches ranges of ports.
    pub ranges: bool,
    /// The table matches the DSCP.
    pub dscp: bool,
    /// The table has policers, if the release has.
    pub policers: bool,
    /// A rule of whose packets some are let through is refused.
    pub strict: bool,
    /// Entries of each of the two tables. `None`: as many as the switch reports.
    pub max_entries: Option<u64>,
    /// Percentage of the reported entries that is left free.
    pub reserve: u8,
    /// Most entries that one rule may take.
    pub max_entries_per_rule: u64,
    /// How long to wait for the status of a rule after the last one that arrived.
    pub timeout: Duration,
}

/// The address of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port: host and port.
    Tcp(String, u16),
}

/// A SONiC database that rules can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Database {
    /// APPL_DB: of the running system, like routes.
    Appl,
    /// CONFIG_DB: saved with `config save`, visible to and changeable by the operator's tools.
    Config,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            redis: Address::Unix(PathBuf::from("/var/run/redis/redis.sock")),
            database: Database::Appl,
            interfaces: Vec::new(),
            release: Release::OLDEST,
            ipv6: true,
            ranges: false,
            dscp: false,
            policers: false,
            strict: false,
            max_entries: None,
            reserve: 5,
            max_entries_per_rule: 256,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Text that is not an address of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address of Redis; expected `unix:/var/run/redis/redis.sock` or `tcp:127.0.0.1:6379`")]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Address::Unix(path.into())) } else { Err(invalid()) };
        }
        let (host, port) = text.strip_prefix("tcp:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(invalid)?;
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        if host.is_empty() { Err(invalid()) } else { Ok(Address::Tcp(host.to_owned(), port)) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sockets_or_ports() {
        for text in ["unix:/var/run/redis/redis.sock", "tcp:127.0.0.1:6379", "tcp:[::1]:6379"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "redis.sock", "unix:redis.sock", "tcp:127.0.0.1", "tcp::6379", "tcp:localhost:0"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
