//! Several paths of one rule: which of them is selected, and which are accepted at all.

use super::*;
use crate::import_policy::InterfaceSets;

/// The peers of the first rule with what the view says of each: whether it is best, and whether
/// there is an objection.
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
    validating.peers.get_mut(&PEER).unwrap().policy = Some(ImportPolicy { validate: true, ..open() });
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
    assert_eq!(engine.next_transaction(), None);
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
    // Preferred and rejected: the other one counts.
    let only_discard = ImportPolicy { actions: [ActionKind::Discard].into_iter().collect(), ..open() };
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
    assert!(!engine.has_failures());
    // Retrying what failed would open the filter each time.
    engine.retry();
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 10.77.0.1"), path(900));
    assert_eq!(engine.next_transaction(), None);
    // Announced differently it is another path.
    announce_with(&mut engine, OTHER, &format!("{at} then rate 1mbps"), path(900));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(false));
    announce_with(&mut engine, OTHER, &format!("{at} then redirect 10.77.0.1"), path(900));
    fails(&mut engine);
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // Alone it is tried again, and fails as before.
    engine.withdraw(PEER, nlri(at), None);
    fails(&mut engine);
    assert_eq!(engine.next_transaction(), None);
    assert_eq!(states(&engine), ["failed"]);
    assert!(engine.has_failures());
    announce_with(&mut engine, PEER, &format!("{at} then discard"), path(100));
    apply(&mut engine);
    assert_eq!(discards_first(&engine), Some(true));
    // With both refused the rule is retried from time to time, each path of it, and not at once.
    announce_with(&mut engine, PEER, &format!("{at} then redirect 10.77.0.2"), path(100));
    fails(&mut engine);
    for _ in 0..2 {
        assert_eq!(engine.next_transaction(), None);
        assert_eq!((states(&engine), engine.has_failures()), (vec!["failed".to_owned()], true));
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
    use crate::import_policy::FirstAs;
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
        let mut engine = started(config(Some(ImportPolicy { first_as, ..open() })));
        announce_with(&mut engine, PEER, "dst 192.0.2.9/32 then discard", facts);
        apply(&mut engine);
        assert_eq!(states(&engine), [expected], "{first_as:?} {facts:?}");
    }
}

#[test]
fn a_redirect_needs_a_target_that_is_allowed() {
    let allowed: crate::prefix_list::PrefixList =
        ["10.9.0.0/16".parse().unwrap(), "2001:db8:9::/48".parse().unwrap()].into_iter().collect();
    for (redirect_to, action, expected) in [
        (None, "redirect 10.8.0.1", "installed"),
        (Some(allowed.clone()), "redirect 10.9.0.1", "installed"),
        (Some(allowed.clone()), "redirect 10.9.0.1 copy", "installed"),
        (Some(allowed.clone()), "redirect 10.8.0.1", "guarded redirect-target"),
        (Some(allowed.clone()), "redirect 2001:db8:9::1", "installed"),
        (Some(allowed.clone()), "redirect 2001:db8:8::1 copy", "guarded redirect-target"),
        (Some(allowed), "discard", "installed"),
        (Some(crate::prefix_list::PrefixList::default()), "redirect 10.9.0.1", "guarded redirect-target"),
    ] {
        let mut engine = started(config(Some(ImportPolicy { redirect_to, ..open() })));
        announce(&mut engine, PEER, &format!("dst 192.0.2.9/32 then {action}"));
        apply(&mut engine);
        assert_eq!(states(&engine), [expected], "{action}");
    }
}

const INTERFACE_SET: &str = "interface-set in 65000:5";

fn ignoring_sets(interface_sets: InterfaceSets) -> Option<ImportPolicy> {
    Some(ImportPolicy { interface_sets, ..open() })
}

#[test]
fn a_rule_for_some_interfaces_is_in_force_on_none_unless_policy_ignores_the_set() {
    let text = format!("dst 192.0.2.9/32 then {INTERFACE_SET} discard");
    let mut engine = started(config(ignoring_sets(InterfaceSets::Refuse)));
    announce(&mut engine, PEER, &text);
    announce(&mut engine, LOCAL, &format!("dst 192.0.2.8/32 then {INTERFACE_SET}"));
    assert_eq!(engine.next_transaction(), None);
    assert_eq!(states(&engine), ["refused interface-set", "refused interface-set"]);
    assert!(engine.rules().all(|rule| rule.notes().is_empty()));
    engine.reconfigure(config(ignoring_sets(InterfaceSets::Ignore)));
    apply(&mut engine);
    // There is no policy for locally originated rules.
    assert_eq!(states(&engine), ["refused interface-set", "installed"]);
    assert_eq!(engine.rules().map(|rule| rule.notes().len()).collect::<Vec<_>>(), [0, 1]);
    engine.reconfigure(config(ignoring_sets(InterfaceSets::Refuse)));
    assert_eq!(plan(&mut engine).remove, [nlri("dst 192.0.2.9/32")]);
    engine.applied(&Applied::default());
    // Announced without the set, by the same peer: it is for all.
    announce(&mut engine, PEER, "dst 192.0.2.9/32 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["refused interface-set", "installed"]);
}

#[test]
fn after_an_exemption_for_some_interfaces_nothing_is_dropped() {
    let mut engine = started(config(ignoring_sets(InterfaceSets::Refuse)));
    announce(&mut engine, PEER, &format!("dst 192.0.2.9/32 then {INTERFACE_SET}"));
    announce(&mut engine, PEER, "dst 192.0.2.0/24 then discard");
    announce(&mut engine, PEER, "dst 198.51.100.0/24 then discard");
    apply(&mut engine);
    assert_eq!(states(&engine), ["refused interface-set", "refused exception", "installed"]);
}

/// The same route of two peers is one value; their policies are not.
#[test]
fn the_path_of_a_peer_whose_sets_are_ignored_counts_before_a_better_one_that_is_refused() {
    let mut config = config(ignoring_sets(InterfaceSets::Refuse));
    config.peers.get_mut(&OTHER).unwrap().policy = ignoring_sets(InterfaceSets::Ignore);
    let mut engine = started(config);
    let text = format!("dst 192.0.2.9/32 then {INTERFACE_SET} discard");
    let same = PathFacts::default();
    announce_with(&mut engine, PEER, &text, same);
    announce_with(&mut engine, OTHER, &text, same);
    apply(&mut engine);
    assert_eq!(states(&engine), ["installed"]);
    assert_eq!(origins(&engine), [(PEER, false, true), (OTHER, true, false)]);
    let rule = engine.rules().next().unwrap();
    assert!(rule.notes()[0].contains("every filtered interface"), "{:?}", rule.notes());
}
