//! Both sides connect at once: one connection stays, the same on both (RFC 4271 §6.8).

mod pair;

use bgp::*;
use pair::*;
use std::time::Duration;

const COLLISION: NotificationCode = NotificationCode::Cease(CeaseSubcode::CollisionResolution);

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
                    // B listens from the beginning, as a started session whose first connect is
                    // slow.
                    pair.handle(B, Event::ManualStart);
                    pair.run(millis(start_gap));
                    pair.handle(A, Event::ManualStart);
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
    session.handle(Event::ManualStart, now);
    session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    session.handle(Event::Connected(ConnId(2), Direction::Incoming), now);
    (session, now)
}

fn open_of(asn: u32, id: u8) -> Vec<u8> {
    let now = std::time::Instant::now();
    let mut peer = Session::new(config(asn, id));
    peer.handle(Event::ManualStart, now);
    peer.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    peer.poll_transmit(now).unwrap().octets
}

/// The connections that a session closed, with the kind of the NOTIFICATION.
fn closed(session: &mut Session) -> Vec<(u64, NotificationCode)> {
    let mut closed = Vec::new();
    while let Some(output) = session.poll() {
        if let Output::Close { conn, final_octets } = output {
            let end = final_octets.len();
            let at = final_octets.windows(16).rposition(|window| window == [0xff; 16]).unwrap();
            let message = &final_octets[at..end];
            assert_eq!(message[18], MessageType::Notification.number());
            closed.push((conn.0, NotificationCode::from_numbers(message[19], message[20])));
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
            // One that would have to go waits for the OPEN that proves its rival.
            if first == loser {
                assert_eq!(closed(&mut session), []);
                session.handle(Event::Received(ConnId(3 - first), &open_of(65002, theirs)), now);
            }
            assert_eq!(closed(&mut session), [(loser, COLLISION)], "OPEN on {first}");
            assert!(session.state() >= State::OpenSent);
        }
    }
    // Equal identifiers in different AS: the higher AS number (RFC 6286 §2.3).
    for (asn, loser) in [(65009, 1), (65000, 2)] {
        let (mut session, now) = between_two(config(65001, 5));
        session.handle(Event::Received(ConnId(3 - loser), &open_of(asn, 5)), now);
        assert_eq!(closed(&mut session), [(loser, COLLISION)]);
    }
}

#[test]
fn a_closed_connection_does_not_win_the_collision() {
    // By identifier the incoming one would stay, but nothing came on it for long.
    let (mut session, now) = between_two(config(65001, 1));
    let later = now + Duration::from_secs(11);
    session.handle(Event::Received(ConnId(1), &open_of(65002, 9)), later);
    assert_eq!(closed(&mut session), [(2, COLLISION)]);
    assert_eq!(session.state(), State::OpenConfirm);
}

#[test]
fn an_established_session_beats_a_newcomer() {
    let mut pair = Pair::established();
    let now = pair.now;
    let session = &mut pair.sessions[A];
    session.handle(Event::Connected(ConnId(99), Direction::Incoming), now);
    session.handle(Event::Received(ConnId(99), &open_of(65002, 2)), now);
    assert_eq!(closed(session), [(99, COLLISION)]);
    assert_eq!(session.state(), State::Established);
}

#[test]
fn a_second_connection_from_the_same_side_replaces_the_first_with_its_open() {
    let (mut session, now) = between_two(config(65001, 1));
    session.handle(Event::Connected(ConnId(3), Direction::Incoming), now);
    assert_eq!(closed(&mut session), []);
    session.handle(Event::Received(ConnId(3), &open_of(65002, 9)), now);
    let mut gone = closed(&mut session);
    gone.sort_by_key(|(conn, _)| *conn);
    assert_eq!(gone, [(1, COLLISION), (2, COLLISION)]);
}

/// What a started peer sends on a new connection, and what it answers to our OPEN: OPEN, then
/// KEEPALIVE.
fn conversation_of(asn: u32, id: u8, session: &mut Session, conn: u64, now: std::time::Instant) {
    session.handle(Event::Received(ConnId(conn), &open_of(asn, id)), now);
    let mut keepalive = Vec::new();
    Message::Keepalive.encode_to(&mut keepalive);
    session.handle(Event::Received(ConnId(conn), &keepalive), now);
}

#[test]
fn silent_connections_from_the_peers_address_do_not_end_ours() {
    // By identifier the peer's own connection would stay, but those here are not the peer's.
    let (mut session, now) = between_two(config(65001, 1));
    conversation_of(65002, 9, &mut session, 1, now);
    assert_eq!(closed(&mut session), []);
    let until = session.poll_timeout().unwrap();
    assert!(until <= now + Duration::from_secs(3));
    // More come meanwhile; they do not prolong it.
    for conn in 3..40 {
        session.handle(Event::Connected(ConnId(conn), Direction::Incoming), now);
    }
    session.handle_timeout(until);
    assert_eq!(session.state(), State::Established);

    // A rival that fails at once costs no time at all.
    let (mut session, now) = between_two(config(65001, 1));
    conversation_of(65002, 9, &mut session, 1, now);
    session.handle(Event::Received(ConnId(2), b"GET / HTTP/1.1"), now);
    assert_eq!(session.state(), State::Established);
}

#[test]
fn garbage_from_the_peers_address_keeps_nobody_out() {
    for passive in [false, true] {
        let now = std::time::Instant::now();
        let mut session = Session::new(PeerConfig { passive, ..config(65001, 1) });
        session.handle(Event::ManualStart, now);
        let mut next = 1;
        for round in 0..2000 {
            let id = ConnId(next);
            next += 1;
            session.handle(Event::Connected(id, Direction::Incoming), now);
            if round % 2 == 0 {
                session.handle(Event::Received(id, b"no BGP at all......."), now);
            }
            assert!(session.state() > State::Idle, "round {round}");
            let open = std::iter::from_fn(|| session.poll()).all(|output| !matches!(output, Output::Damped { .. }));
            assert!(open, "refused because of garbage");
        }
        let direction = if passive { Direction::Incoming } else { Direction::Outgoing };
        session.handle(Event::Connected(ConnId(next), direction), now);
        conversation_of(65002, 9, &mut session, next, now);
        session.handle_timeout(now + Duration::from_secs(3));
        assert_eq!(session.state(), State::Established, "passive: {passive}");
        // Neither does it end the session.
        for conn in next + 1..next + 50 {
            session.handle(Event::Connected(ConnId(conn), Direction::Incoming), now);
            session.handle(Event::Received(ConnId(conn), &[0; 19]), now);
        }
        assert_eq!(session.state(), State::Established);
        assert!(std::iter::from_fn(|| session.poll()).all(|output| !matches!(output, Output::Down(_))));
    }
}

#[test]
fn silent_connections_do_not_stop_our_own_connecting() {
    let now = std::time::Instant::now();
    let mut session = Session::new(config(65001, 1));
    session.handle(Event::ManualStart, now);
    session.handle(Event::ConnectFailed, now);
    session.handle(Event::Connected(ConnId(1), Direction::Incoming), now);
    while session.poll().is_some() {}
    session.handle_timeout(now + Duration::from_secs(15));
    assert!(std::iter::from_fn(|| session.poll()).any(|output| output == Output::Connect));
}
