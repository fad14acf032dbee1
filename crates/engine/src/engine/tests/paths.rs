//! Several paths of one rule: which of them counts, and what a path must be like to be let in.

use super::*;

/// The peers of the first rule with what the view says of each: whether it is best, and whether there is an objection.
fn origins(engine: &Engine) -> Vec<(PeerId, bool, bool)> {
    let rule = engine.rules().next().unwrap();
    rule.paths().map(|path| (path.peer, path.best, path.objection.is_some())).collect()
}

fn discards_first(engine: &Engine) -> Option<bool> {
    engine.rules().next().unwrap().enforced().map(|effect| effect.policing == Policing::Discard)
}

#[test]
fn exactly_one_path_is_best() {
    let mut engine = engine();
    let facts = PathFacts {
        as_path: AsPathFacts { length: 1, leftmost: Some(65001), internal: false },
        ..PathFacts::default()
    };
    for peer in [PEER, OTHER] {
        announce_with(&mut engine, peer, "dst 192.0.2.9/32 then discard", facts);
    }
    for _ in 0..2 {
        assert_eq!(origins(&engine), [(PEER, true, false), (OTHER, false, false)]);
        apply(&mut engine);
    }
    // One of them infeasible: the other one is best, and only that one.
    let mut validating = config(Some(open()));
    validating.peers.get_mut(&PEER).unwrap().policy = Some(Policy { validate: true, ..open() });
    engine.reconfigure(validating);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    assert_eq!(origins(&engine), [(PEER, false, true), (OTHER, true, false)]);
    // Between a change and the decision on it, too.
    engine.withdraw(PEER, nlri("dst 192.0.2.9/32"), None);
    assert_eq!(origins(&engine), [(OTHER, true, false)]);
}

#[test]
fn the_best_enforceable_path_counts() {
    let mut config = config(Some(open()));
    config.capabilities.actions.redirect_vrf = false;
    let mut engine = started(config.clone());
    let at = "dst 192.0.2.9/32";
    let path = |length, local_pref| PathFacts {
        as_path: AsPathFacts { length, leftmost: Some(65001), internal: false },
        local_pref: Some(local_pref),
        ..PathFacts::default()
    };
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(2, 100));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // Preferred, and refused: the discard stays, without a change for the data plane.
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 65000:100"), path(1, 900));
    assert_eq!(engine.take_change(), None);
    assert_eq!(states(&engine), ["installed"]);
    assert_eq!(origins(&engine), [(PEER, true, false), (OTHER, false, true)]);
    // Preferred and enforceable: it counts.
    announce_with(&mut engine, OTHER, &format!("{at} then rate 1mbps"), path(1, 900));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(false));
    // All of them refused: the reason of the best, and nothing in force.
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 65000:100"), path(1, 900));
    announce_with(&mut engine, PEER, &format!("{at} then redirect 65000:200"), path(2, 100));
    apply(&mut engine);
    assert_eq!(states(&engine), ["refused action"]);
    assert_eq!(origins(&engine), [(PEER, false, true), (OTHER, true, false)]);
    // Preferred and guarded: the other one counts.
    let only_discard = Policy { actions: [Permission::Discard].into_iter().collect(), ..open() };
    config.peers.get_mut(&OTHER).unwrap().policy = Some(only_discard);
    engine.reconfigure(config);
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(2, 100));
    announce_with(&mut engine, OTHER, &format!("{at} then rate 1mbps"), path(1, 900));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    assert_eq!(origins(&engine), [(PEER, true, false), (OTHER, false, true)]);
    // With the last enforceable path the rule goes.
    engine.withdraw(PEER, nlri(at), None);
    assert_eq!(plan(&mut engine).remove, [nlri(at)]);
}

#[test]
fn a_path_that_the_data_plane_could_not_take_is_passed_over() {
    let mut engine = engine();
    let at = "dst 192.0.2.9/32";
    let path = |local_pref| PathFacts { local_pref: Some(local_pref), ..PathFacts::default() };
    let fails = |engine: &mut Engine| {
        assert_eq!(plan(engine).upsert.len(), 1);
        engine.applied(&Applied { failures: vec![(nlri(at), RuleFailure::Failed("no way".to_owned()))] });
    };
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(100));
    apply(&mut engine);
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 10.77.0.1"), path(900));
    fails(&mut engine);
    apply(&mut engine);
    assert_eq!((states(&engine), discards_first(&engine)), (vec!["installed".to_owned()], Some(true)));
    assert_eq!(origins(&engine), [(PEER, true, false), (OTHER, false, true)]);
    assert!(!engine.has_trouble());
    // Trying again what failed would open the filter each time.
    engine.retry();
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 10.77.0.1"), path(900));
    assert_eq!(engine.take_change(), None);
    // Announced differently it is another path.
    announce_with(&mut engine, OTHER, &format!("{at} then rate 1mbps"), path(900));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(false));
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 10.77.0.1"), path(900));
    fails(&mut engine);
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // Alone it is tried again, and fails as such.
    engine.withdraw(PEER, nlri(at), None);
    fails(&mut engine);
    assert_eq!(engine.take_change(), None);
    assert_eq!(states(&engine), ["failed"]);
    assert!(engine.has_trouble());
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(100));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // With both refused the rule is tried again by and by, each path of it, and not at once.
    announce_with(&mut engine, PEER, &format!("{at} then redirect 10.77.0.2"), path(100));
    fails(&mut engine);
    for _ in 0..2 {
        assert_eq!(engine.take_change(), None);
        assert_eq!((states(&engine), engine.has_trouble()), (vec!["failed".to_owned()], true));
        engine.retry();
        fails(&mut engine);
        fails(&mut engine);
    }
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(100));
    fails(&mut engine);
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // A full load tries the better one.
    engine.reload();
    apply(&mut engine);
    assert_eq!((states(&engine), discards_first(&engine)), (vec!["installed".to_owned()], Some(false)));
}

#[test]
fn an_external_path_begins_with_its_peer() {
    use crate::guard::FirstAs;
    let path = |leftmost: Option<u32>, internal: bool| {
        let as_path = AsPathFacts { length: u32::from(!internal), leftmost, internal };
        PathFacts { as_path, ..PathFacts::default() }
    };
    let (own, other, set, empty) =
        (path(Some(65070), false), path(Some(64999), false), path(None, false), path(None, true));
    for (first_as, facts, expected) in [
        (FirstAs::Is(65070), own, "installed"),
        (FirstAs::Is(65070), other, "infeasible first-as"),
        (FirstAs::Is(65070), set, "infeasible first-as"),
        (FirstAs::Is(65070), empty, "infeasible empty-path"),
        (FirstAs::Some, other, "installed"),
        (FirstAs::Some, empty, "infeasible empty-path"),
        (FirstAs::Any, empty, "installed"),
    ] {
        let mut engine = started(config(Some(Policy { first_as, ..open() })));
        announce_with(&mut engine, PEER, "dst 192.0.2.9/32 then discard", facts);
        apply(&mut engine);
        assert_eq!(states(&engine), [expected], "{first_as:?} {facts:?}");
    }
}

#[test]
fn a_redirect_needs_a_target_that_is_allowed() {
    let allowed: crate::validate::PrefixList =
        ["10.9.0.0/16".parse().unwrap(), "2001:db8:9::/48".parse().unwrap()].into_iter().collect();
    for (redirect_to, action, expected) in [
        (None, "redirect 10.8.0.1", "installed"),
        (Some(allowed.clone()), "redirect 10.9.0.1", "installed"),
        (Some(allowed.clone()), "redirect 10.9.0.1 copy", "installed"),
        (Some(allowed.clone()), "redirect 10.8.0.1", "guarded redirect-target"),
        (Some(allowed.clone()), "redirect 2001:db8:9::1", "installed"),
        (Some(allowed.clone()), "redirect 2001:db8:8::1 copy", "guarded redirect-target"),
        (Some(allowed), "discard", "installed"),
        (Some(crate::validate::PrefixList::default()), "redirect 10.9.0.1", "guarded redirect-target"),
    ] {
        let mut engine = started(config(Some(Policy { redirect_to, ..open() })));
        announce(&mut engine, PEER, &format!("dst 192.0.2.9/32 then {action}"));
        apply(&mut engine);
        assert_eq!(states(&engine), [expected], "{action}");
    }
}
