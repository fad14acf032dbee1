//! Two sessions on a virtual clock: what they come to together.

mod pair;

use bgp::*;
use flowspec::{Action, Rate};
use pair::*;
use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn routes_travel_and_go() {
    let mut pair = Pair::established();
    pair.sessions[A].announce(rule(1), None, discard()).unwrap();
    pair.sessions[A].announce(rule(2), None, discard()).unwrap();
    pair.sessions[A].end_of_rib(V4).unwrap();
    pair.flush();
    pair.run(secs(1));
    let updates = pair.updates(B);
    assert_eq!(updates.len(), 1, "equal attributes go into one UPDATE");
    assert_eq!(updates[0].announced[0].routes, [rule(1), rule(2)]);
    assert_eq!(updates[0].announced[0].next_hop, None);
    let attributes = &updates[0].announced[0].attributes;
    assert_eq!(attributes.as_path.to_string(), "65001");
    assert_eq!(attributes.local_pref, None);
    assert_eq!(attributes.actions(), Ok(vec![Action::RateBytes { asn: 0, rate: Rate::new(0.0).unwrap() }]));
    assert!(pair.log[B].iter().any(|(_, output)| *output == Output::EndOfRib(V4)));

    pair.sessions[A].withdraw(rule(1)).unwrap();
    pair.flush();
    pair.run(secs(1));
    assert_eq!(pair.rib(B).into_keys().collect::<Vec<_>>(), [rule(2)]);
}

#[test]
fn an_ibgp_session_carries_local_pref_and_an_empty_path() {
    let mut pair = Pair::established_with(config(65001, 1), config(65001, 2));
    pair.sessions[A].announce(rule(1), None, discard()).unwrap();
    pair.flush();
    pair.run(secs(1));
    let attributes = pair.rib(B).remove(&rule(1)).unwrap();
    assert_eq!((attributes.local_pref, attributes.as_path.is_local()), (Some(100), true));
}

#[test]
fn keepalives_hold_a_quiet_session() {
    for hold_time in [3, 90] {
        let a = PeerConfig { hold_time, ..config(65001, 1) };
        let mut pair = Pair::established_with(a, config(65002, 2));
        pair.run(secs(600));
        assert!(pair.both_up());
        assert_eq!(pair.negotiated(B).hold_time, hold_time);
        let sent = pair.sessions[A].statistics().sent.keepalives;
        let expected = 600 * 3 / u64::from(hold_time);
        // At most one a second (RFC 4271 §4.4), so at a hold time of 3 s there is no jitter.
        let most = if hold_time == 3 { 604 } else { expected * 4 / 3 + 3 };
        assert!((expected..=most).contains(&sent), "{sent} keepalives at hold time {hold_time}");
    }
}

#[test]
fn hold_time_zero_means_no_timers_at_all() {
    let a = PeerConfig { hold_time: 0, ..config(65001, 1) };
    let mut pair = Pair::established_with(a, config(65002, 2));
    pair.wire = [Wire::Swallows; 2];
    assert_eq!(pair.sessions[A].poll_timeout(), None);
    pair.run(secs(100_000));
    assert!(pair.both_up());
}

#[test]
fn a_silent_peer_is_disconnected_after_the_hold_time() {
    let mut pair = Pair::established();
    pair.wire[B] = Wire::Swallows;
    pair.run(secs(85));
    assert!(pair.downs(A).is_empty());
    pair.run(secs(40));
    assert_eq!(pair.downs(A)[0].reason, DownReason::Sent(Notification::new(NotificationCode::HoldTimerExpired)));
    // The other direction works, so the peer hears why.
    assert_eq!(pair.downs(B)[0].reason, DownReason::Received(Notification::new(NotificationCode::HoldTimerExpired)));
}

#[test]
fn a_half_open_peer_is_noticed_by_both() {
    let mut pair = Pair::established();
    pair.wire = [Wire::Swallows; 2];
    pair.unreachable = true;
    pair.run(secs(100));
    assert_eq!((pair.downs(A).len(), pair.downs(B).len()), (1, 1));
    pair.wire = [Wire::Carries; 2];
    pair.unreachable = false;
    pair.run(secs(60));
    assert!(pair.both_up());
}

#[test]
fn one_octet_a_second_is_slow_but_right() {
    let mut pair = Pair::new(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) });
    pair.pieces = Some((1, secs(1)));
    pair.start_both();
    pair.run(secs(150));
    assert!(pair.both_up(), "{:?}", pair.log);
    pair.sessions[A].announce(rule(1), None, discard()).unwrap();
    pair.flush();
    pair.run(secs(150));
    assert!(pair.rib(B).contains_key(&rule(1)));
    pair.run(secs(1000));
    assert!(pair.both_up());
}

#[test]
fn a_peer_that_never_says_open_is_dropped() {
    let mut pair = Pair::new(config(65001, 1), config(65002, 2));
    pair.wire = [Wire::Swallows; 2];
    pair.handle(A, Event::ManualStart);
    pair.run(secs(1));
    // B is not started and refuses; A then meets a listener that accepts and says nothing.
    let mut alone = Session::new(config(65001, 1));
    let start = pair.now;
    alone.handle(Event::ManualStart, start);
    alone.handle(Event::Connected(ConnId(7), Direction::Outgoing), start);
    assert_eq!(alone.state(), State::OpenSent);
    alone.handle_timeout(start + secs(239));
    assert_eq!(alone.state(), State::OpenSent);
    alone.handle_timeout(start + secs(240));
    assert_eq!(alone.state(), State::Active);
}

#[test]
fn a_peer_that_takes_nothing_is_disconnected_by_the_send_hold_timer() {
    let a = PeerConfig { send_hold: Some(secs(200)), ..config(65001, 1) };
    let mut pair = Pair::established_with(a, PeerConfig { passive: true, ..config(65002, 2) });
    // A peer that goes on sending keepalives and does not care that it hears nothing.
    pair.wire = [Wire::Blocks, Wire::Swallows];
    let mut keepalive = Vec::new();
    Message::Keepalive.encode_to(&mut keepalive);
    for _ in 0..23 {
        pair.run(secs(10));
        if !pair.downs(A).is_empty() {
            break;
        }
        pair.inject(A, &keepalive);
    }
    assert_eq!(pair.downs(A)[0].reason, DownReason::Sent(Notification::new(NotificationCode::SendHoldTimerExpired)));
}

#[test]
fn a_lost_connection_comes_back_and_damping_slows_a_flapping_one() {
    let mut pair = Pair::established();
    pair.break_connections();
    assert_eq!(pair.downs(A)[0], Down { reason: DownReason::ConnectionLost, graceful: vec![] });
    pair.run(secs(20));
    assert!(pair.both_up());
    let mut waits = Vec::new();
    for _ in 0..8 {
        pair.break_connections();
        let lost = pair.now;
        while !pair.both_up() {
            pair.run(Duration::from_millis(100));
        }
        waits.push((pair.now - lost).as_secs());
    }
    // Each side refuses for up to 60 s; who was refused comes back up to 60 s later.
    assert!(waits[7] > 20 && waits[7] <= 136, "{waits:?}");
    pair.run(secs(60));
    pair.break_connections();
    pair.run(secs(20));
    assert!(pair.both_up(), "a session that lived is forgiven");
}

#[test]
fn stop_says_why_and_start_brings_it_back() {
    let mut pair = Pair::established();
    pair.handle(A, Event::ManualStop(cease(CeaseSubcode::AdministrativeShutdown, "maintenance until 04:00")));
    pair.run(secs(1));
    let Down { reason: DownReason::Received(notification), graceful } = pair.downs(B)[0].clone() else { panic!() };
    assert_eq!(notification.communication().as_deref(), Some("maintenance until 04:00"));
    assert!(graceful.is_empty());
    pair.run(secs(300));
    assert_eq!(pair.sessions[A].state(), State::Idle);
    pair.handle(A, Event::ManualStart);
    pair.run(secs(90));
    assert!(pair.both_up());
    pair.handle(B, Event::Reset(cease(CeaseSubcode::AdministrativeReset, "")));
    assert!(!pair.both_up());
    pair.run(secs(60));
    assert!(pair.both_up());
}

#[test]
fn an_unreachable_peer_is_tried_again_and_again() {
    let mut pair = Pair::new(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) });
    pair.unreachable = true;
    pair.start_both();
    pair.run(secs(300));
    let tries = pair.log[A].iter().filter(|(_, output)| *output == Output::Connect).count();
    assert!((20..=28).contains(&tries), "{tries} tries in 300 s");
    assert!(pair.log[B].iter().all(|(_, output)| *output != Output::Connect), "passive");
    pair.unreachable = false;
    pair.run(secs(20));
    assert!(pair.both_up());
}

#[test]
fn route_refresh_and_its_marks_arrive() {
    let mut pair = Pair::established();
    pair.sessions[A].route_refresh(V4, RefreshKind::Request).unwrap();
    assert_eq!(
        pair.sessions[A].route_refresh(AfiSafi::Ipv4Unicast, RefreshKind::Request),
        Err(SendError::FamilyNotNegotiated(AfiSafi::Ipv4Unicast))
    );
    pair.sessions[B].route_refresh(V4, RefreshKind::Begin).unwrap();
    pair.sessions[B].announce(rule(1), None, discard()).unwrap();
    pair.sessions[B].route_refresh(V4, RefreshKind::End).unwrap();
    pair.flush();
    pair.run(secs(1));
    assert!(pair.log[B].iter().any(|(_, o)| *o == Output::RouteRefresh { family: V4, kind: RefreshKind::Request }));
    let order: Vec<&str> = pair.log[A]
        .iter()
        .filter_map(|(_, output)| match output {
            Output::RouteRefresh { kind: RefreshKind::Begin, .. } => Some("begin"),
            Output::RouteRefresh { kind: RefreshKind::End, .. } => Some("end"),
            Output::Update(_) => Some("update"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["begin", "update", "end"]);
}

#[test]
fn a_blocked_peer_costs_no_more_memory_than_there_are_routes() {
    let mut pair = Pair::established();
    pair.wire[A] = Wire::Blocks;
    for round in 0..100 {
        for number in 0..50 {
            match round % 2 {
                0 => pair.sessions[A].announce(rule(number), None, discard()),
                _ => pair.sessions[A].withdraw(rule(number)),
            }
            .unwrap();
        }
        pair.sessions[A].end_of_rib(V4).unwrap();
    }
    assert_eq!(pair.sessions[A].queued(), 51);
    pair.sessions[A].announce(rule(7), None, discard()).unwrap();
    pair.wire[A] = Wire::Carries;
    pair.flush();
    pair.run(secs(1));
    assert_eq!(pair.rib(B).into_keys().collect::<Vec<_>>(), [rule(7)]);
}

#[test]
fn a_route_that_fits_in_no_message_is_reported() {
    let mut octets = vec![0x04];
    octets.extend([0x01, 80].repeat(2040));
    octets.extend([0x81, 80]);
    let big = RouteKey::from(flowspec::Nlri::from_value(flowspec::Family::Ipv4, &octets).unwrap());
    let short = PeerConfig { extended_message: false, passive: true, ..config(65002, 2) };
    let mut pair = Pair::established_with(config(65001, 1), short);
    pair.sessions[A].announce(big.clone(), None, discard()).unwrap();
    pair.sessions[A].announce(rule(1), None, discard()).unwrap();
    pair.flush();
    pair.run(secs(1));
    assert!(pair.log[A].iter().any(|(_, output)| *output == Output::TooLong(big.clone())));
    assert_eq!(pair.rib(B).into_keys().collect::<Vec<_>>(), [rule(1)]);

    let mut pair = Pair::established();
    pair.sessions[A].announce(big.clone(), None, discard()).unwrap();
    pair.flush();
    pair.run(secs(1));
    assert!(pair.rib(B).contains_key(&big), "an extended message holds it");
}
