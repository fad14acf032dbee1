//! A session that a stream of octets arrives at, after a right handshake. First octet: how far, and
//! in which pieces.
#![no_main]

use bgp::{Capability, ConnId, Direction, Event, FamilySet, Message, Open, Output, PeerAs, PeerConfig, Session, State};
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|data: &[u8]| {
    let Some((&head, stream)) = data.split_first() else { return };
    let now = Instant::now();
    let config = PeerConfig::new(65001, [192, 0, 2, 1].into(), PeerAs::Any);
    let mut session = Session::new(PeerConfig { families: FamilySet::ALL, ..config });
    session.handle(Event::ManualStart, now);
    session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    if head & 1 != 0 {
        let capabilities = FamilySet::ALL.iter().map(|family| Capability::Multiprotocol(family.into()));
        let capabilities = capabilities.chain([Capability::FourOctetAs(65002)]).collect();
        let open = Open { asn: 65002, hold_time: 90, router_id: [192, 0, 2, 2].into(), capabilities };
        let mut octets = Vec::new();
        Message::Open(open).encode_to(&mut octets);
        Message::Keepalive.encode_to(&mut octets);
        session.handle(Event::Received(ConnId(1), &octets), now);
        assert_eq!(session.state(), State::Established);
    }
    let (mut ups, mut downs, mut closed) = (0, 0, 0);
    for piece in stream.chunks(usize::from(head >> 1) + 1).chain([&[][..]]) {
        session.handle(Event::Received(ConnId(1), piece), now);
        session.handle_timeout(now);
        while session.poll_transmit(now).is_some() {}
        while let Some(output) = session.poll() {
            match output {
                Output::Established(_) => ups += 1,
                Output::Down(_) => downs += 1,
                Output::Close { .. } => closed += 1,
                _ => {}
            }
        }
    }
    let up = session.state() == State::Established;
    assert_eq!(ups - downs, i32::from(up));
    assert!(closed <= 1);
});
