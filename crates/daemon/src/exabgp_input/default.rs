//! The defaults without a configuration file, so that a user of an ACL script only has to change
//! one line of exabgp.conf.

use config::{Backend, Config};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The directory of ACL policies on Cumulus Linux.
const CUMULUS: &str = "/etc/cumulus/acl/policy.d";

/// The configuration without a file: on Cumulus Linux its ACLs on all `swp` ports, elsewhere
/// nftables on all interfaces; all other keys have the defaults of the file. Our AS number and
/// router id are 0 until ExaBGP reports them.
pub(crate) fn config() -> Config {
    let mut config = parsed("");
    config.router.asn = 0;
    config.router.id = Ipv4Addr::UNSPECIFIED;
    if Path::new(CUMULUS).is_dir() {
        config.dataplane.backend = Backend::Cumulus;
        config.dataplane.interfaces = "swp*".parse().into_iter().collect();
    }
    config
}

/// A peer of this address with the defaults of `[[peer]]`; its name is its address, its AS number
/// 0.
pub(super) fn peer(address: IpAddr) -> config::Peer {
    let mut peers = parsed("[[peer]]\nname = \"peer\"\naddress = \"192.0.2.2\"\nas = 1\n").peers;
    let peer = peers.pop().unwrap_or_else(|| unreachable!("a table of a peer makes a peer"));
    config::Peer { name: address.to_string(), address, asn: 0, ..peer }
}

/// Parsed as a file is, so that the defaults are the same. The texts are constants; the tests below
/// check that they are valid.
fn parsed(more: &str) -> Config {
    let text = format!("[router]\nas = 1\nid = \"192.0.2.1\"\n{more}");
    match Config::parse(&text, Path::new("the built-in configuration")) {
        Ok(config) => config,
        Err(error) => unreachable!("the built-in configuration is valid: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_defaults_of_the_file() {
        let config = config();
        assert!(config.peers.is_empty() && config.protect.prefixes.is_empty());
        assert_eq!(config.state.file, Path::new("/var/lib/floodgate/state"));
        for address in ["192.0.2.1", "2001:db8::1", "fe80::1", "::ffff:192.0.2.1", "0.0.0.0"] {
            let address: IpAddr = address.parse().unwrap();
            let peer = peer(address);
            assert_eq!((peer.address, peer.asn, peer.max_rules), (address, 0, 100_000));
            assert_eq!((peer.allow.shortest_prefix_v4, peer.allow.without_destination), (8, false));
            assert!(peer.hold_on_loss.0.is_zero());
        }
    }
}
