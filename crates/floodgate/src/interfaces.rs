//! This machine's network interfaces and addresses, looked up again while the daemon runs: ports of a switch come and go.

use crate::config::Pattern;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

/// Names of the interfaces that there are.
pub fn names() -> io::Result<BTreeSet<String>> {
    std::fs::read_dir("/sys/class/net")?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        // `bonding_masters` is a file of the bonding driver, not an interface.
        .filter(|name| name.as_ref().is_ok_and(|name| name != "bonding_masters") || name.is_err())
        .collect()
}

/// The interfaces that the patterns mean, sorted, plain names even if there is no such interface yet; and the patterns that mean none of
/// those that there are.
pub fn resolve<'a>(patterns: &'a [Pattern], names: &BTreeSet<String>) -> (Vec<String>, Vec<&'a Pattern>) {
    let found = names.iter().filter(|name| patterns.iter().any(|pattern| pattern.matches(name))).cloned();
    let plain = patterns.iter().filter(|pattern| !pattern.is_wild()).map(|pattern| pattern.as_str().to_owned());
    let meant: BTreeSet<String> = found.chain(plain).collect();
    let vain = patterns.iter().filter(|pattern| !names.iter().any(|name| pattern.matches(name))).collect();
    (meant.into_iter().collect(), vain)
}

/// Every address of this machine, without loopback.
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

    #[test]
    fn patterns_find_what_is_there() {
        let names = ["eth0", "swp1", "swp2"].map(str::to_owned).into();
        let patterns = ["swp*", "eth0", "eth1", "wg?"].map(|p| p.parse().unwrap());
        let (found, vain) = resolve(&patterns, &names);
        assert_eq!(found, ["eth0", "eth1", "swp1", "swp2"]);
        assert_eq!(vain, [&patterns[2], &patterns[3]]);
    }

    #[test]
    fn this_machine_has_a_loopback_interface_and_its_address_is_left_out() {
        assert!(super::names().unwrap().contains("lo"));
        assert!(addresses().unwrap().iter().all(|address| !address.is_loopback()));
    }
}
