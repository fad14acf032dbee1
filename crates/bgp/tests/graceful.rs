//! Which routes outlive a session, and how long (RFC 4724, RFC 8538, RFC 9494).

mod pair;

use bgp::*;
use pair::*;
use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn restarting(asn: u32, id: u8, restart_time: u16, notification: bool) -> PeerConfig {
    let restart = GracefulRestart {
        restarted: false,
        notification,
        restart_time,
        families: vec![(FamilyNumbers::from(V4), true)],
    };
    PeerConfig { graceful_restart: Some(restart), passive: id == 2, ..config(asn, id) }
}

const KEPT: StaleFamily = StaleFamily { family: V4, restart_time: 120, long_lived: None };

#[test]
fn a_lost_connection_keeps_what_the_peer_listed() {
    let mut pair = Pair::established_with(restarting(65001, 1, 90, false), restarting(65002, 2, 120, false));
    assert!(pair.negotiated(A).preserved(V4));
    pair.break_connections();
    assert_eq!(pair.downs(A)[0].graceful, [KEPT]);
    assert_eq!(pair.downs(B)[0].graceful, [StaleFamily { restart_time: 90, ..KEPT }]);
}

#[test]
fn one_side_alone_keeps_nothing() {
    let mut pair =
        Pair::established_with(restarting(65001, 1, 90, false), PeerConfig { passive: true, ..config(65002, 2) });
    pair.break_connections();
    assert!(pair.downs(A)[0].graceful.is_empty() && pair.downs(B)[0].graceful.is_empty());
}

#[test]
fn long_lived_times_come_from_the_peer() {
    let v6 = AfiSafi::Flow(flowspec::Family::Ipv6);
    let families = [V4, v6].into_iter().collect();
    let long = |stale_time| Some(LongLived { families, stale_time });
    let a = PeerConfig { long_lived: long(60), ..restarting(65001, 1, 90, false) };
    let b = PeerConfig { long_lived: long(3600), ..restarting(65002, 2, 120, false) };
    let mut pair = Pair::established_with(a, b);
    pair.break_connections();
    let only_long = StaleFamily { family: v6, restart_time: 0, long_lived: Some(3600) };
    assert_eq!(pair.downs(A)[0].graceful, [StaleFamily { long_lived: Some(3600), ..KEPT }, only_long]);
}

#[test]
fn long_lived_is_negotiated_family_by_family() {
    let v6 = AfiSafi::Flow(flowspec::Family::Ipv6);
    let long = |family, stale_time| Some(LongLived { families: [family].into_iter().collect(), stale_time });
    let a = PeerConfig { long_lived: long(V4, 60), ..restarting(65001, 1, 90, false) };
    let b = PeerConfig { long_lived: long(v6, 3600), ..restarting(65002, 2, 120, false) };
    let mut pair = Pair::established_with(a, b);
    assert!(pair.negotiated(A).long_lived(V4).is_none() && pair.negotiated(A).long_lived(v6).is_none());
    pair.break_connections();
    assert_eq!(pair.downs(A)[0].graceful, [KEPT]);
}

#[test]
fn a_long_lived_stale_time_of_zero_is_negotiated() {
    let families = [V4].into_iter().collect();
    let long = |stale_time| Some(LongLived { families, stale_time });
    let a = PeerConfig { long_lived: long(60), ..restarting(65001, 1, 90, false) };
    let b = PeerConfig { long_lived: long(0), ..restarting(65002, 2, 120, false) };
    let mut pair = Pair::established_with(a, b);
    // The F bits of both capabilities are alike.
    assert!(pair.negotiated(A).long_lived(V4).is_some_and(|entry| entry.preserved && entry.stale_time == 0));
    pair.break_connections();
    assert_eq!(pair.downs(A)[0].graceful, [StaleFamily { long_lived: Some(0), ..KEPT }]);
}

/// What A keeps after `event` at side `side`; whether both sent the N bit is `n`.
fn kept_after(n: bool, side: usize, event: Event<'_>) -> Vec<StaleFamily> {
    let mut pair = Pair::established_with(restarting(65001, 1, 90, true), restarting(65002, 2, 120, n));
    pair.handle(side, event);
    pair.run(secs(1));
    pair.downs(A)[0].graceful.clone()
}

#[test]
fn which_notifications_keep_routes() {
    let reset = |subcode| Event::Reset(cease(subcode, ""));
    // Received: only with both N bits, and no Hard Reset.
    assert_eq!(kept_after(true, B, reset(CeaseSubcode::AdministrativeReset)), [KEPT]);
    assert_eq!(kept_after(false, B, reset(CeaseSubcode::AdministrativeReset)), []);
    assert_eq!(kept_after(true, B, reset(CeaseSubcode::AdministrativeShutdown)), [], "said as a Hard Reset");
    // Sent: what is no end that lasts.
    for n in [true, false] {
        for code in [CeaseSubcode::ConfigurationChange, CeaseSubcode::AdministrativeReset] {
            assert_eq!(kept_after(n, A, reset(code)), [KEPT]);
            assert_eq!(kept_after(n, A, Event::ManualStop(cease(code, ""))), [KEPT]);
        }
        for code in
            [CeaseSubcode::AdministrativeShutdown, CeaseSubcode::PeerDeconfigured, CeaseSubcode::MaximumPrefixes]
        {
            assert_eq!(kept_after(n, A, reset(code)), []);
            assert_eq!(kept_after(n, A, Event::ManualStop(cease(code, ""))), []);
        }
    }
}

#[test]
fn a_hold_timer_that_expired_on_either_side_keeps_routes() {
    for n in [true, false] {
        let mut pair = Pair::established_with(restarting(65001, 1, 90, true), restarting(65002, 2, 120, n));
        pair.wire[B] = Wire::Swallows;
        pair.run(secs(100));
        assert_eq!(pair.downs(A)[0].reason, DownReason::Sent(Notification::new(NotificationCode::HoldTimerExpired)));
        assert_eq!(pair.downs(A)[0].graceful, [KEPT]);
        assert!(matches!(pair.downs(B)[0].reason, DownReason::Received(_)));
        assert_eq!(pair.downs(B)[0].graceful, [StaleFamily { restart_time: 90, ..KEPT }]);
    }
}

#[test]
fn an_error_of_the_peer_keeps_its_routes() {
    let overrun = [0, 0, 0, 11, 0x80, 14, 8, 0, 1, 133, 0, 0, 9, 1, 0];
    let lengths = [0, 9, 0, 0];
    for body in [&overrun[..], &lengths] {
        let mut pair = Pair::established_with(restarting(65001, 1, 90, false), restarting(65002, 2, 120, false));
        let length = (19 + body.len() as u16).to_be_bytes();
        pair.inject(A, &[&[0xff; 16], &length[..], &[2], body].concat());
        let down = pair.downs(A)[0].clone();
        assert!(
            matches!(&down.reason, DownReason::Sent(notification) if matches!(notification.code, NotificationCode::UpdateMessage(_))),
            "{down:?}"
        );
        assert_eq!(down.graceful, [KEPT]);
    }
}

#[test]
fn a_shutdown_is_a_hard_reset_and_a_reset_is_not() {
    let established = || Pair::established_with(restarting(65001, 1, 90, true), restarting(65002, 2, 120, true));
    let mut pair = established();
    pair.handle(B, Event::ManualStop(cease(CeaseSubcode::AdministrativeShutdown, "bye")));
    pair.run(secs(1));
    let Down { reason: DownReason::Received(notification), graceful } = pair.downs(A)[0].clone() else { panic!() };
    assert_eq!(notification.code, NotificationCode::Cease(CeaseSubcode::HardReset));
    assert_eq!(notification.data[..2], [6, 2], "the subcode inside");
    assert!(graceful.is_empty());

    let mut pair = established();
    pair.handle(B, Event::Reset(cease(CeaseSubcode::AdministrativeReset, "")));
    pair.run(secs(1));
    assert_eq!(pair.downs(A)[0].graceful, [KEPT]);
}

#[test]
fn a_restarted_peer_takes_over_from_its_old_session() {
    let mut pair = Pair::established_with(
        restarting(65001, 1, 90, false),
        PeerConfig { passive: false, ..restarting(65002, 2, 120, false) },
    );
    pair.restart(B);
    pair.run(secs(5));
    assert!(pair.both_up(), "{:?}", pair.log[A]);
    assert_eq!(pair.downs(A), [Down { reason: DownReason::PeerRestarted, graceful: vec![KEPT] }]);
}

#[test]
fn without_graceful_restart_the_old_session_stays_until_its_hold_time() {
    let mut pair = Pair::established_with(config(65001, 1), config(65002, 2));
    pair.restart(B);
    pair.run(secs(50));
    assert!(!pair.both_up());
    pair.run(secs(120));
    assert!(pair.both_up(), "{:?}", pair.log);
}

/// RFC 4724 §5: only a capability with families makes a second connection the sign of a restart.
/// BIRD lists none unless it is told to.
#[test]
fn without_listed_families_a_second_connection_is_a_collision_and_the_rules_stay() {
    let unlisted = |families| GracefulRestart { restarted: false, notification: true, restart_time: 120, families };
    let unicast = vec![(FamilyNumbers::from(AfiSafi::Ipv4Unicast), true)];
    for families in [vec![], unicast] {
        let b = PeerConfig { graceful_restart: Some(unlisted(families)), passive: true, ..config(65002, 2) };
        let mut pair = Pair::established_with(restarting(65001, 1, 90, true), b.clone());
        let now = pair.now;
        let mut second = Session::new(PeerConfig { passive: false, ..b });
        second.handle(Event::ManualStart, now);
        second.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
        let open = second.poll_transmit(now).unwrap().octets;
        let session = &mut pair.sessions[A];
        session.handle(Event::Connected(ConnId(99), Direction::Incoming), now);
        session.handle(Event::Received(ConnId(99), &open), now);
        assert_eq!(session.state(), State::Established);
        let outputs: Vec<Output> = std::iter::from_fn(|| session.poll()).collect();
        let [Output::Close { conn: ConnId(99), final_octets }] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert!(final_octets.ends_with(&[3, 6, 7]), "NOTIFICATION 6/7");
    }
}

#[test]
fn restart_bits_are_sent_until_the_first_session_and_no_longer_than_the_restart_time() {
    let restarted = |time| {
        let mut config = restarting(65001, 1, time, true);
        config.graceful_restart.as_mut().unwrap().restarted = true;
        config
    };
    let bits = |pair: &Pair| {
        let restart = pair.negotiated(B).graceful_restart().unwrap();
        (restart.restarted, restart.families[0].1)
    };
    let mut pair = Pair::established_with(restarted(90), restarting(65002, 2, 120, true));
    assert_eq!(bits(&pair), (true, true));
    pair.break_connections();
    pair.run(secs(20));
    assert_eq!(bits(&pair), (false, false));

    let mut pair = Pair::new(restarted(90), restarting(65002, 2, 120, true));
    pair.unreachable = true;
    pair.start_both();
    pair.run(secs(91));
    pair.unreachable = false;
    pair.run(secs(30));
    assert_eq!(bits(&pair), (false, false));
}

/// A peer that comes up and goes at once, again and again, for so many seconds; when connections
/// are refused, it is told so.
fn flap(a: PeerConfig, b: PeerConfig, seconds: u64) -> (Pair, usize) {
    let mut pair = Pair::established_with(a, b);
    let mut sessions = 1;
    let end = pair.now + secs(seconds);
    while pair.now < end {
        pair.break_connections();
        while !pair.both_up() && pair.now < end {
            pair.run(Duration::from_millis(100));
        }
        sessions += 1;
    }
    (pair, sessions)
}

const fn is_damped((_, output): &(Duration, Output)) -> bool {
    matches!(output, Output::Damped { .. })
}

#[test]
fn two_sessions_that_do_not_last_have_no_consequence() {
    let mut pair = Pair::established_with(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) });
    for flap in 1..=3 {
        pair.break_connections();
        pair.run(secs(5));
        assert_eq!(pair.log.iter().flatten().any(is_damped), flap == 3, "{flap}");
        assert!(pair.both_up() || flap == 3, "{flap}");
    }
}

#[test]
fn a_flapping_peer_is_refused_for_a_time_that_is_shown() {
    let (pair, _) = flap(config(65001, 1), PeerConfig { passive: true, ..config(65002, 2) }, 300);
    assert!(pair.log[B].iter().any(is_damped));
    let refused = Notification::new(CeaseSubcode::ConnectionRejected);
    assert!(pair.failures(A).contains(&DownReason::Received(refused)), "{:?}", pair.failures(A));
    assert!(pair.log[A].iter().any(|(_, output)| matches!(output, Output::NextTry(Some(_)))));
}

#[test]
fn a_peer_whose_routes_wait_is_never_refused() {
    let retained = |asn, id| PeerConfig { retained_on_loss: true, passive: id == 2, ..config(asn, id) };
    let never = |asn, id| PeerConfig { idle_hold_max: Duration::ZERO, passive: id == 2, ..config(asn, id) };
    let graceful = |asn, id| restarting(asn, id, 120, true);
    for make in [&retained as &dyn Fn(u32, u8) -> PeerConfig, &never, &graceful] {
        let (pair, sessions) = flap(make(65001, 1), make(65002, 2), 300);
        assert!(!pair.log.iter().flatten().any(is_damped));
        // Whoever connects does so within a quarter of a minute, well within a restart time.
        assert!(sessions >= if make(1, 1).idle_hold_max.is_zero() { 5 } else { 15 }, "{sessions}");
    }
}
