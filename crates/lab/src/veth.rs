//! Cables (veth pairs) between namespaces.

use anyhow::Result;

use crate::Netns;

/// One end of a cable.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its namespace.
    pub netns: &'a Netns,
    /// The interface's name; at most 15 octets, unique inside the namespace only (`swp1` may be in
    /// each).
    pub name: &'a str,
    /// Its addresses with prefix lengths, such as `192.0.2.1/24` or `2001:db8::1/64`.
    pub addresses: &'a [&'a str],
}

impl<'a> End<'a> {
    /// The end called `name` in `netns`, with these addresses.
    #[must_use]
    pub fn new(netns: &'a Netns, name: &'a str, addresses: &'a [&'a str]) -> Self {
        Self { netns, name, addresses }
    }
}

/// Creates a cable: a pair of Ethernet interfaces, up, with their addresses usable at once. It is
/// removed with either namespace.
///
/// The kernel sends nothing by itself on it except ARP and neighbour discovery: no router
/// solicitation and no duplicate address detection, so that a test sees only what it sent.
///
/// # Errors
/// A name is in use, or an address is not valid.
pub fn veth(a: End<'_>, b: End<'_>) -> Result<()> {
    a.netns.ip(&["link", "add", a.name, "type", "veth", "peer", "name", b.name, "netns", b.netns.name()])?;
    for end in [a, b] {
        for (variable, value) in [("accept_dad", "0"), ("router_solicitations", "0"), ("accept_ra", "0")] {
            end.netns.sysctl(&format!("net/ipv6/conf/{}/{variable}", end.name), value)?;
        }
        end.netns.ip(&["link", "set", "dev", end.name, "addrgenmode", "none", "up"])?;
        for address in end.addresses {
            // Without `nodad` an IPv6 address is tentative until a kernel worker processes it, and
            // a bind may come first.
            let at_once: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            end.netns.ip(&[&["address", "add", address, "dev", end.name], at_once].concat())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_two_namespaces() -> Result<()> {
        crate::needs!(root, "ip");
        let (left, right) = (Netns::new("left")?, Netns::new("right")?);
        veth(
            End::new(&left, "swp1", &["192.0.2.1/24", "2001:db8::1/64"]),
            End::new(&right, "swp1", &["192.0.2.2/24", "2001:db8::2/64"]),
        )?;
        for address in ["192.0.2.2", "2001:db8::2"] {
            let listener = right.run(|| std::net::TcpListener::bind((address, 0)))?;
            let to = listener.local_addr()?;
            left.run(|| std::net::TcpStream::connect(to))?;
            listener.accept()?;
        }
        assert_ne!(left.mac("swp1")?, right.mac("swp1")?);
        Ok(())
    }
}
