//! Advice for a router on the same machine: who owns port 179, and who connects to whom.

use crate::file::{Config, Peer};
use crate::values::BGP_PORT;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Sentences; `own` are the addresses of this machine.
pub(crate) fn advice(config: &Config, own: &BTreeSet<IpAddr>) -> Vec<String> {
    let local = |peer: &&Peer| peer.address.is_loopback() || own.contains(&peer.address);
    config.peers.iter().filter(local).filter_map(|peer| about(config, peer)).collect()
}

fn about(config: &Config, peer: &Peer) -> Option<String> {
    let to = SocketAddr::new(peer.address, peer.port);
    let ours = |listen: SocketAddr| {
        let covers = listen.ip() == to.ip() || (listen.ip().is_unspecified() && listen.is_ipv4() == to.is_ipv4());
        covers && listen.port() == to.port()
    };
    let name = &peer.name;
    match &config.router.listen {
        Some(listen) if !peer.passive && listen.iter().any(|listen| ours(listen.bgp())) => Some(format!(
            "peer {name} is on this machine, and [router] listen takes {to} for Floodgate itself: it does not connect to itself and waits for the peer; \
             where a router is to have that port, leave out listen, or name other addresses"
        )),
        None if peer.passive && peer.source.is_none() => Some(format!(
            "peer {name} is on this machine and passive, so Floodgate takes port {BGP_PORT} of all addresses, which a router there needs: leave out passive \
             and let the router wait, or name addresses in [router] listen"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(router: &str, peer: &str) -> Vec<String> {
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\n{router}\n[[peer]]\nname = \"bird\"\nas = 65140\n{peer}\n"
        );
        let config = Config::parse(&text, std::path::Path::new("test")).expect("a right file");
        config.advice_beside_a_router(&["192.0.2.10".parse().unwrap()].into_iter().collect())
    }

    #[test]
    fn the_owner_of_port_179_is_named_where_it_is_in_doubt() {
        let all = "listen = [\"0.0.0.0\", \"::\"]";
        for address in ["127.0.0.1", "192.0.2.10"] {
            let peer = format!("address = \"{address}\"");
            assert!(said(all, &peer)[0].contains("does not connect to itself"), "{address}");
            assert!(
                said("", &format!("{peer}\npassive = true"))[0].contains("which a router there needs"),
                "{address}"
            );
            // As the manual says.
            assert!(said("", &format!("{peer}\nsource = \"{address}\"")).is_empty(), "{address}");
            // Another port, another address, or passive.
            assert!(said(all, &format!("{peer}\nport = 1790")).is_empty());
            assert!(said("listen = [\"192.0.2.11\"]", &peer).is_empty());
            assert!(said(all, &format!("{peer}\npassive = true")).is_empty());
        }
        assert!(said(all, "address = \"192.0.2.1\"").is_empty(), "elsewhere");
    }
}
