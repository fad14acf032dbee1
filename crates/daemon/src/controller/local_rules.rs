//! Locally originated rules.

use super::event_log::EventLog;
use super::incidents::Incidents;
use super::state_writer::StateWriter;
use crate::clock::{now, whole_seconds};
use crate::command::{Requester, WithdrawError};
use crate::convert::LOCAL;
use crate::events::EventSubject;
use crate::net::Originated;
use crate::peer_table::PeerTable;
use crate::state_file::Saved;
use crate::tokens::{Grant, GrantError};
use api::EventKind;
use engine::{Engine, Route, RuleRef};
use flowspec::{Nlri, PathId, Rule, RuleId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What a change of local rules acts on.
pub(super) struct LocalContext<'a> {
    /// The engine.
    pub(super) engine: &'a mut Engine,
    /// The event log.
    pub(super) events: &'a mut EventLog,
    /// The state file.
    pub(super) state: &'a mut StateWriter,
    /// The other origins of rules.
    pub(super) peers: &'a PeerTable,
    /// What the history is told.
    pub(super) incidents: &'a mut Incidents,
}

/// Finds locally originated rules by their ids, and advertises them. Each such rule of the engine
/// is in it; some of those in it may have expired. Each change has been passed to the state file
/// when it is answered. The peers that get such rules are told of each change at once, whatever
/// becomes of the rule on this machine.
#[derive(Debug, Default)]
pub(super) struct LocalRules {
    by_id: HashMap<RuleId, LocalRule>,
    originated: Originated,
}

/// A rule that was announced here.
#[derive(Debug)]
struct LocalRule {
    nlri: Arc<Nlri>,
    /// The token whose rule it is; `None`: that of users of this machine. It is the path identifier
    /// of the rule, so that the state file has it.
    owner: Option<PathId>,
}

impl LocalRules {
    /// Without rules yet; they go to `originated`, too.
    pub(super) fn new(originated: Originated) -> Self {
        LocalRules { by_id: HashMap::new(), originated }
    }

    /// Local rules of an earlier run. They are advertised from [`restored`](Self::restored) on.
    pub(super) fn restore(&mut self, rules: impl Iterator<Item = (Arc<Nlri>, Option<PathId>)>) {
        self.by_id.extend(rules.map(|(nlri, owner)| (nlri.id(), LocalRule { nlri, owner })));
    }

    /// All rules of an earlier run that have not expired are in the engine.
    pub(super) fn restored(&self, engine: &Engine) {
        for rule in self.by_id.values().filter_map(|local| engine.rule(&local.nlri)) {
            if let Some(path) = rule.paths().find(|path| path.peer == LOCAL) {
                let Route { actions, next_hop, .. } = &**path.announced;
                let (nlri, actions) = (Nlri::clone(rule.nlri()), actions.clone());
                self.originated.announce(&Rule { nlri, actions, next_hop: *next_hop });
            }
        }
    }

    /// The rules that are advertised.
    pub(super) const fn originated(&self) -> &Originated {
        &self.originated
    }

    /// The rule with this id, if there is one.
    pub(super) fn find(&self, id: RuleId, engine: &Engine) -> Option<&Arc<Nlri>> {
        self.by_id.get(&id).map(|local| &local.nlri).filter(|nlri| engine.rule(nlri).is_some())
    }

    /// A rule has expired or is withdrawn.
    pub(super) fn forget(&mut self, nlri: &Nlri) {
        self.by_id.remove(&nlri.id());
        self.originated.withdraw(nlri);
    }

    /// Announces a rule; returns its id, and a channel that is answered when it is on the disk.
    /// `grant`: what it may be.
    ///
    /// # Errors
    /// It may not be announced.
    pub(super) fn announce(
        &mut self,
        rule: Rule,
        lifetime: Option<Duration>,
        by: Requester,
        grant: Option<&Grant>,
        context: LocalContext<'_>,
    ) -> Result<(RuleId, Option<Saved>), GrantError> {
        let LocalContext { engine, events, state, peers, incidents } = context;
        let id = rule.nlri.id();
        let owner = grant.map(Grant::owner);
        let route = Arc::new(Route { next_hop: rule.next_hop, ..Route::local(rule.actions.clone()) });
        // A rule that has expired, and is another's, may be announced.
        let before = self.by_id.get(&id).map(|local| local.owner);
        let before = before.filter(|_| engine.rule(&Arc::new(rule.nlri.clone())).is_some_and(|rule| is_local(&rule)));
        let mut lifetime = lifetime;
        if let Some(grant) = grant {
            if before.is_some_and(|before| before != owner) && !grant.is_admin() {
                return Err(grant.of_others());
            }
            let others = self.by_id.iter().filter(|(other, local)| **other != id && local.owner == owner);
            let others = others.filter(|(_, local)| engine.rule(&local.nlri).is_some()).count();
            let longest = grant.admit(&rule.nlri, &route, others)?.map(Duration::from_secs);
            lifetime = match (lifetime, longest) {
                (Some(asked), Some(longest)) => Some(asked.min(longest)),
                (asked, longest) => asked.or(longest),
            };
        }
        match lifetime {
            Some(age) => {
                tracing::info!(%id, %rule, lifetime = %format_args!("{}s", whole_seconds(age)), "announced locally")
            }
            None => tracing::info!(%id, %rule, "announced locally"),
        }
        let text = rule.to_string();
        self.originated.announce(&rule);
        let expires = lifetime.map(|lifetime| now().plus(whole_seconds(lifetime)));
        let nlri = Arc::new(rule.nlri);
        incidents.asked(&nlri, Some(&route), &by);
        events.record(EventKind::Announced, about(id, text, by));
        if let Some(before) = before.filter(|before| *before != owner) {
            engine.withdraw(LOCAL, Arc::clone(&nlri), before);
        }
        engine.announce(LOCAL, Arc::clone(&nlri), owner, route, now(), expires);
        self.by_id.insert(id, LocalRule { nlri: Arc::clone(&nlri), owner });
        Ok((id, state.save_rules(engine, peers, &[nlri])))
    }

    /// Withdraws a rule; returns its text, and a channel that is answered when that is on the disk.
    ///
    /// # Errors
    /// There is no such rule, or it is not locally originated.
    pub(super) fn withdraw(
        &mut self,
        nlri: &Arc<Nlri>,
        by: Requester,
        grant: Option<&Grant>,
        context: LocalContext<'_>,
    ) -> Result<(String, Option<Saved>), WithdrawError> {
        let LocalContext { engine, events, state, peers, incidents } = context;
        let (nlri, text) = {
            let rule = engine.rule(nlri).ok_or(WithdrawError::Unknown)?;
            if !is_local(&rule) {
                let others: Vec<&str> = rule.peers().map(|peer| peers.name(peer).unwrap_or_default()).collect();
                return Err(WithdrawError::NotLocal { rule: Arc::clone(rule.nlri()), peers: others.join(", ") });
            }
            (Arc::clone(rule.nlri()), rule.rule().to_string())
        };
        let owner = self.by_id.get(&nlri.id()).and_then(|local| local.owner);
        if let Some(grant) = grant.filter(|grant| owner != Some(grant.owner()) && !grant.is_admin()) {
            return Err(grant.of_others().into());
        }
        engine.withdraw(LOCAL, Arc::clone(&nlri), owner);
        incidents.asked(&nlri, None, &by);
        self.forget(&nlri);
        tracing::info!(id = %nlri.id(), rule = text, "withdrawn locally");
        events.record(EventKind::Withdrawn, about(nlri.id(), text.clone(), by));
        Ok((text, state.save_rules(engine, peers, &[nlri])))
    }

    /// Withdraws all local rules; returns their number, and a channel that is answered when that is
    /// on the disk.
    pub(super) fn clear(&mut self, by: Requester, context: LocalContext<'_>) -> (usize, Option<Saved>) {
        let LocalContext { engine, events, state, peers, incidents } = context;
        let local = engine.rules().filter(is_local);
        let local: Vec<Arc<Nlri>> = local.map(|rule| Arc::clone(rule.nlri())).collect();
        for nlri in &local {
            let owner = self.by_id.get(&nlri.id()).and_then(|local| local.owner);
            engine.withdraw(LOCAL, Arc::clone(nlri), owner);
            incidents.asked(nlri, None, &by);
            self.forget(nlri);
        }
        self.by_id.clear();
        let count = api::rule_text::counted(local.len(), "local rule");
        events.record(EventKind::Cleared, EventSubject::asked_by(Some(by)).with_message(count));
        (local.len(), state.save_rules(engine, peers, &local))
    }
}

fn is_local(rule: &RuleRef<'_>) -> bool {
    rule.peers().any(|peer| peer == LOCAL)
}

fn about(id: RuleId, text: String, by: Requester) -> EventSubject {
    let (peer, id) = (Some("local".to_owned()), Some(id.to_string()));
    EventSubject { peer, id, rule: Some(text), by: Some(by), message: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::capability::Capabilities;
    use engine::{EngineConfig, PeerConfig, PeerId};

    struct Fixture {
        local: LocalRules,
        engine: Engine,
        events: EventLog,
        state: StateWriter,
        peers: PeerTable,
        incidents: Incidents,
    }

    impl Fixture {
        fn new() -> Self {
            let engine = Engine::new(EngineConfig {
                capabilities: Capabilities::everything("none"),
                protection: Default::default(),
                peers: [(LOCAL, PeerConfig::local()), (PeerId(1), PeerConfig::local())].into(),
                monitor: false,
            });
            let (events, state) = (EventLog::new(100), StateWriter::default());
            let incidents = Incidents::none();
            Fixture { local: LocalRules::default(), engine, events, state, peers: PeerTable::default(), incidents }
        }

        fn parts(&mut self) -> (&mut LocalRules, LocalContext<'_>) {
            let Fixture { local, engine, events, state, peers, incidents } = self;
            (local, LocalContext { engine, events, state, peers, incidents })
        }

        fn announce(&mut self, text: &str) -> Arc<Nlri> {
            let rule = rule(text);
            let nlri = Arc::new(rule.nlri.clone());
            let (local, context) = self.parts();
            assert_eq!(local.announce(rule, None, "root".to_owned(), None, context).unwrap().0, nlri.id());
            nlri
        }

        fn settle(&mut self) {
            while self.engine.next_transaction().is_some() {
                self.engine.applied(&engine::plan::Applied::default());
            }
        }
    }

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_announced_here_is_found_until_it_is_withdrawn() {
        let mut fixture = Fixture::new();
        let nlri = fixture.announce("dst 192.0.2.1/32 then discard");
        assert_eq!(fixture.local.find(nlri.id(), &fixture.engine), Some(&nlri));
        let (local, context) = fixture.parts();
        let (text, _) = local.withdraw(&nlri, "root".to_owned(), None, context).unwrap();
        assert_eq!(text, "dst 192.0.2.1/32 then discard");
        fixture.settle();
        assert_eq!(fixture.local.find(nlri.id(), &fixture.engine), None);
        let (local, context) = fixture.parts();
        assert_eq!(local.withdraw(&nlri, "root".to_owned(), None, context).err(), Some(WithdrawError::Unknown));
    }

    #[test]
    fn what_a_peer_announces_is_neither_withdrawn_nor_cleared_here() {
        let mut fixture = Fixture::new();
        fixture.announce("dst 192.0.2.1/32 then discard");
        let theirs = rule("dst 192.0.2.2/32 then discard");
        let (nlri, route) = (Arc::new(theirs.nlri), Arc::new(Route::local(theirs.actions)));
        fixture.engine.announce(PeerId(1), Arc::clone(&nlri), None, route, engine::Timestamp(1), None);
        let (local, context) = fixture.parts();
        let refused = local.withdraw(&nlri, "root".to_owned(), None, context);
        assert!(matches!(refused, Err(WithdrawError::NotLocal { .. })), "{refused:?}");
        let (local, context) = fixture.parts();
        assert_eq!(local.clear("root".to_owned(), context).0, 1);
        fixture.settle();
        let left: Vec<_> = fixture.engine.rules().map(|rule| Arc::clone(rule.nlri())).collect();
        assert_eq!(left, [nlri]);
    }
}
