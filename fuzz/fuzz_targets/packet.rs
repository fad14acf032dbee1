//! Packets and what rules say of them. First octet: how to read the rest; then the length of an
//! NLRI, the NLRI, and a packet.
#![no_main]

use flowspec::{Family, Nlri, Packet, Rule, Scope, Space, decide, explain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [head, len, rest @ ..] = data else { return };
    let (value, octets) = rest.split_at(rest.len().min(usize::from(*len)));
    let read = if head & 8 == 0 { Packet::from_ip } else { Packet::from_ethernet };
    let packet = match read(octets) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // A packet whose capture is cut says less, never something else.
    for cut in [octets.len() / 2, octets.len().saturating_sub(1)] {
        if let Ok(shorter) = read(&octets[..cut]) {
            assert_eq!((shorter.source(), shorter.destination()), (packet.source(), packet.destination()));
            assert!(shorter.protocol().is_none() || shorter.protocol() == packet.protocol());
            assert!(shorter.source_port().is_none() || shorter.source_port() == packet.source_port());
            assert!(shorter.tcp_flags().is_none() || shorter.tcp_flags() == packet.tcp_flags());
            assert!(shorter.icmp_type().is_none() || shorter.icmp_type() == packet.icmp_type());
        }
    }

    let Ok(nlri) = Nlri::from_value(Family::ALL[usize::from(head & 3)], value) else { return };
    let space = Space::of(&nlri);
    let matched = nlri.matches(&packet).is_ok();
    assert_eq!(space.matches(&packet), matched, "the set of packets agrees with the oracle");
    assert!(space.covers(&space));
    let all = Space::all(nlri.family().version());
    assert!(all.covers(&space));
    assert_eq!(all.overlaps(&space), space.overlaps(&space));
    assert!(!matched || space.overlaps(&all));

    let rule = Rule::new(nlri, Vec::new());
    assert_eq!(decide([&rule], &packet, Scope::Vrf).rule(), matched.then_some(0));
    let (decision, passed) = explain([&rule], &packet, Scope::Global);
    assert_eq!(passed.len(), usize::from(decision.rule().is_none()));
    assert!(passed.iter().all(|(_, mismatch)| !mismatch.to_string().is_empty()));
});
