//! Both sides connect at once: one connection stays, the same on both (RFC 4271 §6.8).

mod pair;

use bgp::*;
use pair::*;
use std::time::Duration;

const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn one_of_two_connections_stays_whatever_the_timing() {
    for (a, b) in [(1, 2), (2, 1)] {
        for start_gap in [0, 1, 4, 5, 6, 9, 10, 11, 15, 20, 25, 40] {
            for latency in [1, 5, 17] {
                for pieces in [None, Some((1, Duration::ZERO)), Some((1, millis(1)))] {
                    let mut pair = Pair::new(config(65001, a), config(65002, b));
                    pair.latency = millis(latency);
                    pair.pieces = pieces;
                    // B listens from the beginning, as a started session whose first connect is slow.
                    pair.handle(B, Event::Start);
                    pair.run(millis(start_gap));
                    pair.handle(A, Event::Start);
                    pair.run(millis(5000));
                    let case = format!("ids {a} {b}, gap {start_gap}, latency {latency}, {pieces:?}: {:?}", pair.log);
                    assert!(pair.both_up(), "{case}");
                    assert_eq!(pair.connections(A).len(), 1, "{case}");
                    assert_eq!(pair.connections(A), pair.connections(B), "{case}");
                    assert!(pair.downs(A).is_empty() && pair.downs(B).is_empty(), "{case}");
                }
            }
        }
    }
}

/// A session that has an outgoing and an incoming connection in OpenSent.
fn between_two(config: PeerConfig) -> (Session, std::time::Instant) {
    let now = std::time::Instant::now();
    let mut session = Session::new(config);
    session.handle(Event::Start, now);
    session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    session.handle(Event::Connected(ConnId(2), Direction::Incoming), now);
    (session, now)
}

fn open_of(asn: u32, id: u8) -> Vec<u8> {
    let now = std::time::Instant::now();
    let mut peer = Session::new(config(asn, id));
    peer.handle(Event::Start, now);
    peer.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    peer.poll_transmit(now).unwrap().octets
}

/// The connections that a session closed, with the kind of the NOTIFICATION.
fn closed(session: &mut Session) -> Vec<(u64, (u8, u8))> {
    let mut closed = Vec::new();
    while let Some(output) = session.poll() {
        if let Output::Close { conn, last_words } = output {
            let end = last_words.len();
            let at = last_words.windows(16).rposition(|window| window == [0xff; 16]).unwrap();
            let message = &last_words[at..end];
            assert_eq!(message[18], message_kind::NOTIFICATION);
            closed.push((conn.0, (message[19], message[20])));
        }
    }
    closed
}

#[test]
fn the_speaker_with_the_higher_identifier_keeps_its_own() {
    for (ours, theirs, loser) in [(1, 9, 1), (9, 1, 2)] {
        for first in [1, 2] {
            let (mut session, now) = between_two(config(65001, ours));
            session.handle(Event::Received(ConnId(first), &open_of(65002, theirs)), now);
            assert_eq!(closed(&mut session), [(loser, Notification::CEASE_COLLISION)], "OPEN on {first}");
            assert!(session.state() >= State::OpenSent);
        }
    }
    // Equal identifiers in different AS: the higher AS number (RFC 6286 §2.3).
    for (asn, loser) in [(65009, 1), (65000, 2)] {
        let (mut session, now) = between_two(config(65001, 5));
        session.handle(Event::Received(ConnId(1), &open_of(asn, 5)), now);
        assert_eq!(closed(&mut session), [(loser, Notification::CEASE_COLLISION)]);
    }
}

#[test]
fn a_dead_rival_does_not_win() {
    // By identifier the incoming one would stay, but nothing came on it for long.
    let (mut session, now) = between_two(config(65001, 1));
    let later = now + Duration::from_secs(11);
    session.handle(Event::Received(ConnId(1), &open_of(65002, 9)), later);
    assert_eq!(closed(&mut session), [(2, Notification::CEASE_COLLISION)]);
    assert_eq!(session.state(), State::OpenConfirm);
}

#[test]
fn an_established_session_beats_a_newcomer() {
    let mut pair = Pair::established();
    let now = pair.now;
    let session = &mut pair.sessions[A];
    session.handle(Event::Connected(ConnId(99), Direction::Incoming), now);
    session.handle(Event::Received(ConnId(99), &open_of(65002, 2)), now);
    assert_eq!(closed(session), [(99, Notification::CEASE_COLLISION)]);
    assert_eq!(session.state(), State::Established);
}

#[test]
fn a_second_connection_from_the_same_side_replaces_the_first() {
    let (mut session, now) = between_two(config(65001, 1));
    session.handle(Event::Connected(ConnId(3), Direction::Incoming), now);
    assert_eq!(closed(&mut session), [(2, Notification::CEASE_COLLISION)]);
}
