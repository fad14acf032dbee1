//! Lifetimes of rules: over the loss of a session, as long-lived stale ones, and as announced.

use super::*;

#[test]
fn rules_outlive_the_session_as_policy_says() {
    let mut engine = engine();
    let (kept, gone) = ("dst 192.0.2.1/32", "dst 192.0.2.2/32");
    for text in [kept, gone] {
        announce(&mut engine, PEER, &format!("{text} then discard"));
    }
    announce(&mut engine, OTHER, "dst 192.0.2.3/32 then discard");
    apply(&mut engine);
    let retain = Retention { family: V4, until: Some(NOW.plus(60)), long_lived_until: None, renews: false };
    engine.peer_down(PEER, &[retain], NOW);
    apply(&mut engine);
    assert_eq!(states(&engine), ["stale", "stale", "installed"]);
    assert_eq!(engine.full().rules.len(), 3);
    // Back, with one of the two.
    announce(&mut engine, PEER, &format!("{kept} then discard"));
    assert_eq!(engine.next_transaction(), None, "nothing changes for the data plane");
    assert_eq!(states(&engine), ["installed", "stale", "installed"]);
    engine.end_of_rib(PEER, V4);
    assert_eq!(plan(&mut engine).remove, [nlri(gone)]);
    engine.applied(&Applied::default());
    assert_eq!(engine.counts(PEER).rules, 1);
    // Lost again, and back in the last second: what it has to send again stays for as long as that
    // may take.
    engine.peer_down(PEER, &[retain], NOW);
    engine.start_end_of_rib_timer(PEER, V4, NOW.plus(200));
    engine.expire(NOW.plus(199));
    assert_eq!(engine.rules().count(), 2);
    announce(&mut engine, PEER, &format!("{kept} then discard"));
    engine.end_of_rib(PEER, V4);
    apply(&mut engine);
    // Lost again, and not back in time.
    engine.peer_down(PEER, &[retain], NOW);
    assert_eq!(engine.next_deadline(), Some(NOW.plus(60)));
    engine.expire(NOW.plus(59));
    apply(&mut engine);
    assert_eq!(engine.rules().count(), 2);
    engine.expire(NOW.plus(60));
    assert_eq!(plan(&mut engine).remove, [nlri(kept)]);
    engine.applied(&Applied::default());
    // Without retention all are deleted at once.
    engine.peer_down(OTHER, &[], NOW);
    assert_eq!(plan(&mut engine).remove.len(), 1);
    assert_eq!(engine.next_deadline(), None);
}

#[test]
fn long_lived_stale_routes_are_a_last_resort() {
    let mut engine = engine();
    let facts = PathFacts { local_pref: Some(200), ..PathFacts::default() };
    announce_with(&mut engine, PEER, "dst 192.0.2.1/32 then discard", facts);
    announce_with(&mut engine, PEER, "dst 192.0.2.2/32 then discard", PathFacts { no_llgr: true, ..facts });
    announce(&mut engine, OTHER, "dst 192.0.2.1/32 then rate 1mbps");
    let retention =
        Retention { family: V4, until: Some(NOW.plus(10)), long_lived_until: Some(NOW.plus(99)), renews: false };
    engine.peer_down(PEER, &[retention], NOW);
    apply(&mut engine);
    let discards = |engine: &Engine| {
        engine.full().rules.iter().map(|rule| rule.effect.policing == Policing::Discard).collect::<Vec<_>>()
    };
    assert_eq!(discards(&engine), [true, true]);
    engine.expire(NOW.plus(10));
    apply(&mut engine);
    assert_eq!(discards(&engine), [false], "the other peer's is better now, and NO_LLGR goes");
    assert_eq!(engine.next_deadline(), Some(NOW.plus(99)));
    engine.expire(NOW.plus(99));
    apply(&mut engine);
    assert_eq!(engine.counts(PEER).rules, 0);
}

#[test]
fn announcing_again_restarts_the_lifetime() {
    let mut engine = started(config(Some(ImportPolicy { max_lifetime: Some(60), ..open() })));
    let own = rule("dst 192.0.2.2/32 then discard");
    let route = Arc::new(Route::local(own.actions));
    let nlri = Arc::new(own.nlri);
    let local = |engine: &mut Engine, at: u64, expires: Option<u64>| {
        let expires = expires.map(|seconds| NOW.plus(seconds));
        engine.announce(LOCAL, nlri.clone(), None, route.clone(), NOW.plus(at), expires);
    };
    // Permanent, limited, limited again, and permanent again.
    local(&mut engine, 0, None);
    local(&mut engine, 0, Some(10));
    local(&mut engine, 5, Some(25));
    assert_eq!(engine.expire(NOW.plus(24)), []);
    local(&mut engine, 24, None);
    assert_eq!(engine.expire(NOW.plus(1_000_000)), []);
    assert_eq!(engine.rules().next().and_then(|rule| rule.expires()), None);
    // A shorter time than before counts, too.
    local(&mut engine, 0, Some(500));
    local(&mut engine, 0, Some(100));
    assert_eq!(engine.expire(NOW.plus(100)).len(), 1);
    assert_eq!(engine.rules().count(), 0);
}

#[test]
fn a_peers_new_announcement_restarts_the_lifetime_and_a_repeated_feed_does_not() {
    let mut engine = started(config(Some(ImportPolicy { max_lifetime: Some(60), ..open() })));
    let rule = rule("dst 192.0.2.1/32 then discard");
    let (nlri, route) = (Arc::new(rule.nlri), Arc::new(Route::local(rule.actions)));
    let announce =
        |engine: &mut Engine, at: u64| engine.announce(PEER, nlri.clone(), None, route.clone(), NOW.plus(at), None);
    announce(&mut engine, 0);
    announce(&mut engine, 40);
    engine.expire(NOW.plus(99));
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"], "its life ends 60 s after the second announcement");
    // Sent again in answer to a refresh: it is not a new announcement.
    let family = RouteFamily::Flow(Family::Ipv4);
    engine.begin_refresh(PEER, family, NOW.plus(200));
    announce(&mut engine, 99);
    engine.end_refresh(PEER, family);
    engine.expire(NOW.plus(100));
    apply(&mut engine);
    assert_eq!(states(&engine), ["guarded lifetime"]);
    // After it has ended, too, and any number of times.
    for again in 0..3 {
        let at = 200 + again * 100;
        announce(&mut engine, at);
        engine.expire(NOW.plus(at + 59));
        apply(&mut engine);
        assert_eq!(states(&engine), ["installed"]);
        engine.expire(NOW.plus(at + 60));
        apply(&mut engine);
        assert_eq!(states(&engine), ["guarded lifetime"]);
    }
}

#[test]
fn timers_of_rules_that_come_and_go_do_not_pile_up() {
    let mut engine = started(config(Some(ImportPolicy { max_lifetime: Some(3600), ..open() })));
    let rule = rule("dst 192.0.2.1/32 then discard");
    let (nlri, route) = (Arc::new(rule.nlri), Arc::new(Route::local(rule.actions)));
    for second in 0..3_000 {
        for _ in 0..10 {
            engine.withdraw(PEER, nlri.clone(), None);
            engine.announce(PEER, nlri.clone(), None, route.clone(), NOW.plus(second), None);
        }
        engine.expire(NOW.plus(second));
    }
    assert!(engine.adj_rib_in.timers() < 5_000, "{}", engine.adj_rib_in.timers());
    apply(&mut engine);
    engine.expire(NOW.plus(2_999 + 3_600));
    apply(&mut engine);
    assert_eq!(states(&engine), ["guarded lifetime"]);
}

#[test]
fn rules_end_by_themselves() {
    let mut engine = started(config(Some(ImportPolicy { max_lifetime: Some(60), ..open() })));
    announce(&mut engine, PEER, "dst 192.0.2.1/32 then discard");
    let own = rule("dst 192.0.2.2/32 then discard");
    let route = Arc::new(Route::local(own.actions));
    engine.announce(LOCAL, own.nlri.clone(), None, route.clone(), NOW, Some(NOW.plus(10)));
    engine.announce(LOCAL, own.nlri, None, route, NOW, Some(NOW.plus(30)));
    apply(&mut engine);
    assert_eq!(engine.expire(NOW.plus(10)), []);
    assert_eq!(engine.next_transaction(), None, "its life was prolonged");
    let ended: Vec<_> = engine.expire(NOW.plus(30)).into_iter().map(|(peer, nlri)| (peer, nlri.to_string())).collect();
    assert_eq!(ended, [(LOCAL, "dst 192.0.2.2/32".to_owned())]);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    engine.expire(NOW.plus(60));
    apply(&mut engine);
    assert_eq!(states(&engine), ["guarded lifetime"]);
    assert_eq!(engine.next_deadline(), None);
}
