//! This machine's network interfaces and addresses, read again while the daemon runs: ports of a
//! switch come and go.

use config::Pattern;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

/// The interfaces that exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Their names.
    pub names: BTreeSet<String>,
    /// The members of each VRF.
    pub vrfs: BTreeMap<String, Vec<String>>,
}

/// Reads the interfaces of this network namespace.
///
/// # Errors
/// The kernel did not list them.
pub fn links() -> io::Result<Links> {
    let found = dataplane::links()?;
    let members = |vrf: &dataplane::Link| {
        let belongs = |link: &&dataplane::Link| link.master == Some(vrf.index);
        found.iter().filter(belongs).map(|link| link.name.clone()).collect()
    };
    let vrfs = found.iter().filter(|link| link.kind.as_deref() == Some("vrf"));
    let vrfs = vrfs.map(|vrf| (vrf.name.clone(), members(vrf))).collect();
    Ok(Links { names: found.iter().map(|link| link.name.clone()).collect(), vrfs })
}

/// The interfaces that the configuration's patterns match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchedInterfaces {
    /// Those that exist, and plain names even if there is no such interface yet; sorted.
    pub names: Vec<String>,
    /// Patterns and names that match no existing interface.
    pub absent: Vec<String>,
}

/// The interfaces that `patterns` match. If there are only exclusions, all others match. Loopback
/// matches only its own name.
///
/// A VRF means its members: their packets are filtered at ingress, before they belong to the VRF,
/// and once.
pub fn resolve(patterns: &[Pattern], links: &Links) -> MatchedInterfaces {
    let is_meant = |name: &str| Pattern::any_matches(patterns, name);
    let mut names: BTreeSet<String> = BTreeSet::new();
    for name in links.names.iter().filter(|name| is_meant(name)) {
        match links.vrfs.get(name) {
            Some(members) => {
                names.extend(members.iter().filter(|member| !Pattern::any_excludes(patterns, member)).cloned())
            }
            None => drop(names.insert(name.clone())),
        }
    }
    let wanted = || patterns.iter().filter(|pattern| !pattern.is_exclusion());
    let is_absent = |pattern: &&Pattern| !links.names.iter().any(|name| pattern.matches(name));
    let text = |pattern: &Pattern| pattern.as_str().to_owned();
    let mut absent: Vec<String> = wanted().filter(is_absent).map(text).collect();
    // They are filtered from the moment that they exist.
    names.extend(wanted().filter(|pattern| !pattern.is_wildcard()).filter(is_absent).map(|p| p.as_str().to_owned()));
    if names.is_empty() && absent.is_empty() {
        // Exclusions, or a VRF without members, match nothing.
        absent = patterns.iter().map(text).collect();
    }
    MatchedInterfaces { names: names.into_iter().collect(), absent }
}

/// Every address of this machine, except loopback.
///
/// # Errors
/// The kernel did not list them.
pub fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let found = nix::ifaddrs::getifaddrs().map_err(io::Error::from)?;
    let mut addresses = BTreeSet::new();
    for interface in found {
        let Some(storage) = interface.address else { continue };
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        addresses.extend(v4.or(v6).filter(|address| !address.is_loopback()));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(patterns: &[&str]) -> (Vec<String>, Vec<String>) {
        let names = ["lo", "eth0", "swp1", "swp2", "blue"].map(str::to_owned).into();
        let vrfs = [("blue".to_owned(), vec!["swp2".to_owned()])].into();
        let patterns: Vec<Pattern> = patterns.iter().map(|p| p.parse().unwrap()).collect();
        let MatchedInterfaces { names, absent } = resolve(&patterns, &Links { names, vrfs });
        (names, absent)
    }

    #[test]
    fn patterns_find_what_is_there() {
        let of = |patterns: &[&str]| matched(patterns).0.join(" ");
        assert_eq!(of(&["swp*", "eth0", "eth1", "wg?"]), "eth0 eth1 swp1 swp2");
        assert_eq!(matched(&["swp*", "eth0", "eth1", "wg?"]).1, ["eth1", "wg?"]);
        assert_eq!(of(&["*"]), "eth0 swp1 swp2", "loopback is named or not meant; a VRF is its members");
        assert_eq!(of(&["lo", "s*"]), "lo swp1 swp2");
        assert_eq!(of(&["swp*", "!swp2"]), "swp1");
        assert_eq!(of(&["!eth0"]), "swp1 swp2");
        assert_eq!(of(&["!swp?", "!eth*"]), "");
        assert_eq!(of(&["blue"]), "swp2");
        assert_eq!(of(&["blue", "!swp2"]), "");
        assert_eq!(of(&["eth0", "!eth0"]), "");
        assert_eq!(matched(&["!*"]), (vec![], vec!["!*".to_owned()]), "nothing is left, and that is told");
    }

    #[test]
    fn this_machine_has_a_loopback_interface_and_its_address_is_left_out() {
        assert!(links().unwrap().names.contains("lo"));
        assert!(addresses().unwrap().iter().all(|address| !address.is_loopback()));
    }
}
