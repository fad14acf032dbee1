//! IPv6 prefixes with an offset (RFC 8956 §3.1), octet for octet as ExaBGP 5 sends them, and
//! enforced at the right bits.

use api::RuleState;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use lab::peers::{Exabgp, Session, Version};
use lab::site::{PEER, SWITCH, VICTIM6};
use lab::{Daemon, Site, needs, packet};

use crate::{OURS, PATIENCE, configuration};

/// The examples of RFC 8956 §3.8, with the prefix of the victim's network.
const RULES: [(&str, &str); 2] = [
    // Bits 64 to 103 of the source.
    (
        "match { source ::1234:5678:9a00:0/104/64; destination 2001:db8::/32/0; } then { discard; }",
        "0f01200020010db8026840123456789a",
    ),
    // Bits 65 to 103: the pattern is shifted by a bit.
    (
        "match { source ::1234:5678:9a00:0/104/65; destination 2001:db8::/32/0; } then { discard; }",
        "0f01200020010db80268412468acf134",
    ),
];

#[test]
fn interop_offsets_of_exabgp5() -> Result<()> {
    needs!(root, "nft");
    if !Version::V5.required() {
        return Ok(());
    }
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let session = Session::new(PEER.parse()?, 65003, SWITCH.parse()?, OURS);
    let mut exabgp = Exabgp::start(&site.peers, Version::V5, session, "")?;
    let peer = format!("[[peer]]\nname = \"peer\"\naddress = \"{PEER}\"\nas = 65003\n");
    let daemon = Daemon::start(&site.switch, &configuration(&peer))?;
    daemon.wait_established("peer", PATIENCE)?;

    let from = |source: &str| -> Result<Vec<u8>> {
        let (source, to): (IpAddr, IpAddr) = (source.parse()?, VICTIM6.parse()?);
        Ok(packet::udp(SocketAddr::new(source, 9), SocketAddr::new(to, 9), b"offset"))
    };
    let inside = from("2001:db8:1:0:1234:5678:9aff:ffff")?;
    let first_bit_differs = from("2001:db8:1:0:9234:5678:9a01:1")?;
    let last_bit_differs = from("2001:db8:1:0:1234:5678:9b01:1")?;
    for ((rule, wire_octets), outside_bit_64) in RULES.into_iter().zip([true, false]) {
        exabgp.announce(rule)?;
        let rules = daemon
            .wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && rules[0].state == RuleState::Installed)?;
        ensure!(rules[0].nlri == wire_octets, "{rule} came as {}", rules[0].nlri);
        ensure!(!wire.passes(&inside)?, "{rule}: not dropped");
        ensure!(wire.passes(&last_bit_differs)?, "{rule}: dropped though bit 103 differs");
        ensure!(wire.passes(&first_bit_differs)? == outside_bit_64, "{rule}: bit 64");
        exabgp.withdraw(rule)?;
        daemon.wait_rules("no rule", PATIENCE, <[_]>::is_empty)?;
    }
    ensure!(wire.passes(&inside)?, "dropped after the withdrawal");
    Ok(())
}
