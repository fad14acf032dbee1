//! Looking at the rules: for the API, the log and people.

use super::{Engine, Rejected};
use crate::compile::{Refusal, RefusalKind};
use crate::key::RuleKey;
use crate::plan::RuleFailure;
use crate::protection::Protected;
use crate::route::{Path, PeerId, Route, Timestamp};
use crate::select;
use crate::state::RuleState;
use crate::table::{Aside, Base, Record};
use flowspec::{Effect, Nlri, Packet, Rule, RuleId};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A rule as it stands.
#[derive(Clone, Copy, Debug)]
pub struct RuleRef<'a> {
    engine: &'a Engine,
    nlri: &'a Arc<Nlri>,
    record: &'a Record,
}

/// One peer's route of a rule.
#[derive(Clone, Debug)]
pub struct PathRef<'a> {
    /// Who announces it.
    pub peer: PeerId,
    /// What it asks for.
    pub route: &'a Arc<Route>,
    /// The peer's session is lost, or it was remembered over a restart.
    pub stale: bool,
    /// Of all paths of the rule, the one that counts.
    pub best: bool,
    /// Of several, why this one does not count whatever the others are: policy, validation, or the data plane; in words.
    pub objection: Option<String>,
}

impl<'a> RuleRef<'a> {
    /// Its short name.
    pub fn id(&self) -> RuleId {
        self.nlri.id()
    }

    /// What it matches.
    pub fn nlri(&self) -> &'a Arc<Nlri> {
        self.nlri
    }

    /// The path that counts: of those let in, the best that the data plane can enforce; or else the best of those let in, or of all.
    fn best(&self) -> &'a Path {
        let paths = &self.record.paths;
        let (route, index) = match &self.record.base {
            Base::Wanted { route, best, .. } | Base::Refused { route, best, .. } => (Some(route), Some(*best)),
            Base::Undecided | Base::PolicyRejection(_) | Base::Infeasible(_) => (None, None),
        };
        let same = |path: &&Path| route.is_none_or(|route| Arc::ptr_eq(route, &path.route));
        // Paths may have come and gone since the decision.
        let decided = index.and_then(|index| paths.get(usize::from(index)).filter(same));
        let best = decided.or_else(|| select::best(paths.iter().filter(same), &self.engine.peers));
        // Rules without a path are never shown.
        best.or_else(|| select::best(paths.iter(), &self.engine.peers)).unwrap_or(&paths[0])
    }

    /// The route that counts.
    pub fn route(&self) -> &'a Arc<Route> {
        match &self.record.base {
            Base::Wanted { route, .. } | Base::Refused { route, .. } => route,
            Base::Undecided | Base::PolicyRejection(_) | Base::Infeasible(_) => &self.best().route,
        }
    }

    /// Match part and actions together.
    pub fn rule(&self) -> Rule {
        let route = self.route();
        Rule { nlri: Nlri::clone(self.nlri), actions: route.actions.clone(), next_hop: route.next_hop }
    }

    /// What deserves a look about it although it is enforced as the RFCs say.
    pub fn notes(&self) -> Vec<String> {
        let interface_sets = self.engine.decision_context().interface_sets(self.best());
        crate::notes::notes(&self.rule(), interface_sets, &self.engine.capabilities)
    }

    /// What is done to its packets now; `None` while it is not in force.
    pub fn enforced(&self) -> Option<Effect> {
        self.record.in_force.as_ref().filter(|_| self.is_confirmed()).map(|in_force| in_force.effect())
    }

    /// Who announces it, once for each path.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + 'a {
        self.record.paths.iter().map(|path| path.peer)
    }

    /// The peers whose paths are stale, once for each.
    pub fn stale_peers(&self) -> impl Iterator<Item = PeerId> + use<'a> {
        self.record.paths.iter().filter(|path| path.stale).map(|path| path.peer)
    }

    /// Who announces it, and how.
    pub fn paths(&self) -> impl Iterator<Item = PathRef<'a>> + use<'a> {
        let (nlri, best, record) = (self.nlri, self.best(), self.record);
        let paths = &record.paths;
        let context = (paths.len() > 1).then(|| self.engine.decision_context());
        paths.iter().map(move |path| {
            let is_best = std::ptr::eq(path, best);
            let objection = context.as_ref().filter(|_| !is_best).and_then(|context| {
                let failure = || Some(record.failure(&path.route)?.words().to_owned());
                context.objection(nlri, path).or_else(failure)
            });
            PathRef { peer: path.peer, route: &path.route, stale: path.stale, best: is_best, objection }
        })
    }

    /// When it was first announced, by those who announce it now.
    pub fn announced(&self) -> Timestamp {
        self.record.paths.iter().map(|path| path.received).min().unwrap_or_default()
    }

    /// When it ends by itself, if it does.
    pub fn expires(&self) -> Option<Timestamp> {
        let deadline = |path: &Path| path.deadline;
        if self.record.paths.iter().all(|path| path.deadline.is_some()) {
            self.record.paths.iter().filter_map(deadline).max()
        } else {
            None
        }
    }

    /// What became of it.
    pub fn state(&self) -> RuleState {
        let record = self.record;
        let engine = self.engine;
        let (entries, stale) = match &record.base {
            Base::Undecided => return RuleState::Pending { paused: engine.paused },
            Base::Refused { refusal, .. } => return RuleState::Refused(Refusal::clone(refusal)),
            Base::PolicyRejection(why) => return RuleState::RejectedByPolicy((**why).clone()),
            Base::Infeasible(why) => return RuleState::Infeasible((**why).clone()),
            Base::Wanted { entries, stale, .. } => (u64::from(*entries), *stale),
        };
        match record.aside {
            Some(Aside::Held(by)) => {
                let refusal = Refusal::new(RefusalKind::Exception { by }, &engine.capabilities);
                return RuleState::Refused(refusal);
            }
            Some(Aside::Shadowed(by)) => return RuleState::Shadowed { by },
            None => {}
        }
        if let Some(failure) = record.trouble().and(record.wanted()).and_then(|route| record.failure(route)) {
            return match failure {
                RuleFailure::OverCapacity(words) => RuleState::OverCapacity(words.clone()),
                RuleFailure::Failed(words) => RuleState::Failed(words.clone()),
            };
        }
        match &engine.change.broken {
            _ if engine.paused => RuleState::Pending { paused: true },
            _ if let (true, Some(words)) = (self.is_confirmed(), &engine.unfiltered) => {
                RuleState::Failed(words.clone())
            }
            _ if self.is_confirmed() && stale => RuleState::Stale { entries },
            _ if self.is_confirmed() => RuleState::Installed { entries },
            Some(words) => RuleState::Failed(words.clone()),
            None => RuleState::Pending { paused: false },
        }
    }

    /// Whether the data plane has said that it has the rule as it is wanted.
    fn is_confirmed(&self) -> bool {
        let wanted = self.record.want(self.engine.monitor);
        let same = match (&wanted, &self.record.in_force) {
            (Some(want), Some(have)) => want.same(have),
            _ => false,
        };
        // Numbers wrap: a change is confirmed if it is not ahead of the last confirmed one.
        same && self.engine.change.confirmed.wrapping_sub(self.record.told) as i32 >= 0
    }
}

impl Engine {
    /// The rules that were left out since this was last asked: what the data plane cannot do exactly, what policy or validation does not
    /// let in.
    pub fn take_newly_rejected(&mut self) -> Rejected {
        std::mem::take(&mut self.rejected)
    }

    /// The rules that somebody announces, in enforcement order, VPN rules among them; IPv4 before IPv6.
    pub fn rules(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.table.rules.iter().filter_map(|(key, record)| self.view(key, record))
    }

    /// What protects a packet, if something does.
    pub fn protecting(&self, packet: &Packet) -> Option<&Protected> {
        self.protection.items().iter().find(|item| item.space.matches(packet))
    }

    /// The same from behind a rule on, for looking at them page by page; whether that rule is still there does not matter.
    pub fn rules_after(&self, after: Option<&Arc<Nlri>>) -> impl Iterator<Item = RuleRef<'_>> {
        let start = after.map_or(Bound::Unbounded, |nlri| Bound::Excluded(RuleKey::new(nlri.clone())));
        let records = self.table.rules.range((start, Bound::Unbounded));
        records.filter_map(|(key, record)| self.view(key, record))
    }

    /// The rule with this match part.
    pub fn rule(&self, nlri: &Arc<Nlri>) -> Option<RuleRef<'_>> {
        let (key, record) = self.table.rules.get_key_value(&RuleKey::new(nlri.clone()))?;
        self.view(key, record)
    }

    /// The first rule with this short name.
    pub fn rule_by_id(&self, id: RuleId) -> Option<RuleRef<'_>> {
        self.rules().find(|rule| rule.id() == id)
    }

    /// The rules that the data plane has, in enforcement order: what decides over a packet now.
    pub fn rules_in_force(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.rules().filter(|rule| rule.enforced().is_some())
    }

    /// How many rules are in each state, in the order of [`RuleState::NAMES`].
    pub fn rules_by_state(&self) -> [(&'static str, u64); RuleState::NAMES.len()] {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        self.rules().for_each(|rule| *counts.entry(rule.state().name()).or_default() += 1);
        RuleState::NAMES.map(|name| (name, counts.get(name).copied().unwrap_or(0)))
    }

    fn view<'a>(&'a self, key: &'a RuleKey, record: &'a Record) -> Option<RuleRef<'a>> {
        let nlri = key.nlri().filter(|_| !record.paths.is_empty())?;
        Some(RuleRef { engine: self, nlri, record })
    }
}
