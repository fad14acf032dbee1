//! A view of one rule: for the API, the log and people.

use crate::compile::{Refusal, RefusalKind};
use crate::decision_context::DecisionContext;
use crate::path::Path;
use crate::path_key::PathKind;
use crate::plan::RuleFailure;
use crate::reconciler::{self, Reconciler};
use crate::route::{PeerId, Route, Timestamp};
use crate::rule_decision::{RuleDecision, Suppression};
use crate::rule_entry::RuleEntry;
use crate::select;
use crate::state::RuleState;
use flowspec::{Effect, Nlri, Rule, RuleId};
use std::sync::Arc;

/// An announced rule and its state.
#[derive(Clone, Copy, Debug)]
pub struct RuleRef<'a> {
    context: DecisionContext<'a>,
    reconciler: &'a Reconciler,
    nlri: &'a Arc<Nlri>,
    entry: &'a RuleEntry,
    first: &'a Path,
}

/// One peer's route of a rule.
#[derive(Clone, Debug)]
pub struct PathRef<'a> {
    /// The peer that announces it.
    pub peer: PeerId,
    /// The route, as import policy left it.
    pub route: &'a Arc<Route>,
    /// The route, as the peer announced it.
    pub announced: &'a Arc<Route>,
    /// The peer has not sent it again since its session was lost, or since the daemon started.
    pub stale: bool,
    /// It is long-lived stale: any other path is preferred (RFC 9494).
    pub long_lived: bool,
    /// It was announced as a unicast route that is a blackhole.
    pub blackhole: bool,
    /// When it expires, if it does.
    pub expires: Option<Timestamp>,
    /// Of all paths of the rule, the selected one.
    pub best: bool,
    /// Of several, why this one cannot be selected whatever the others are: policy, validation, or
    /// the data plane; for people.
    pub objection: Option<String>,
}

impl<'a> RuleRef<'a> {
    /// `None` for a rule that nobody announces any longer.
    pub(crate) fn new(
        context: DecisionContext<'a>,
        reconciler: &'a Reconciler,
        nlri: &'a Arc<Nlri>,
        entry: &'a RuleEntry,
    ) -> Option<Self> {
        let first = entry.paths.as_slice().first()?;
        Some(RuleRef { context, reconciler, nlri, entry, first })
    }

    /// Its short name.
    pub fn id(&self) -> RuleId {
        self.nlri.id()
    }

    /// What it matches.
    pub fn nlri(&self) -> &'a Arc<Nlri> {
        self.nlri
    }

    /// The selected path. If none can be enforced, the best of those accepted, or of all.
    fn best(&self) -> &'a Path {
        let paths = self.entry.paths.as_slice();
        let (route, index) = match self.entry.selection.decision() {
            RuleDecision::Enforce { route, best, .. } | RuleDecision::Refused { route, best, .. } => {
                (Some(route), Some(*best))
            }
            RuleDecision::Undecided | RuleDecision::RejectedByPolicy(_) | RuleDecision::Infeasible(_) => (None, None),
        };
        let same = |path: &&Path| route.is_none_or(|route| Arc::ptr_eq(route, &path.route));
        // Paths may have come and gone since the decision.
        let decided = index.and_then(|index| paths.get(usize::from(index)).filter(same));
        let best = decided.or_else(|| select::best(paths.iter().filter(same), self.context.peers));
        best.or_else(|| select::best(paths.iter(), self.context.peers)).unwrap_or(self.first)
    }

    /// Who announces the selected path.
    pub fn best_peer(&self) -> PeerId {
        self.best().peer
    }

    /// The route of the selected path.
    pub fn route(&self) -> &'a Arc<Route> {
        match self.entry.selection.decision() {
            RuleDecision::Enforce { route, .. } | RuleDecision::Refused { route, .. } => route,
            RuleDecision::Undecided | RuleDecision::RejectedByPolicy(_) | RuleDecision::Infeasible(_) => {
                &self.best().route
            }
        }
    }

    /// Match part and actions together.
    pub fn rule(&self) -> Rule {
        let route = self.route();
        Rule { nlri: Nlri::clone(self.nlri), actions: route.actions.clone(), next_hop: route.next_hop }
    }

    /// Notes, although it is enforced as the RFCs say.
    pub fn notes(&self) -> Vec<String> {
        let best = self.best();
        let mut notes = crate::notes::notes(&self.rule(), self.context.interface_sets(best), self.context.capabilities);
        if best.key.kind == PathKind::Blackhole
            && let Some(blackhole) = self.context.peers.get(best.peer).and_then(|peer| peer.blackhole())
        {
            let triggers = blackhole.triggers_of(best.announced_route()).map(|(trigger, _)| trigger.to_string());
            notes.push(format!("it is a blackhole: a unicast route with {}", triggers.collect::<Vec<_>>().join(", ")));
        } else if best.route.actions != best.announced_route().actions {
            let announced = best.announced_route();
            let rule =
                Rule { nlri: Nlri::clone(self.nlri), actions: announced.actions.clone(), next_hop: announced.next_hop };
            let text = rule.to_string();
            let actions = text.rsplit_once(" then ").map_or(text.as_str(), |(_, actions)| actions);
            notes.push(format!("import policy set its actions; the peer announced it with: {actions}"));
        }
        notes
    }

    /// Why it is enforced for fewer packets than it matches.
    pub fn limits(&self) -> Vec<String> {
        crate::limits::limits(self.nlri, &self.route().effect(), self.context.capabilities)
    }

    /// Its effect on packets now; `None` while it is not in force.
    pub fn enforced(&self) -> Option<Effect> {
        let in_force = self.entry.installation.in_force().filter(|_| self.reconciler.is_confirmed(self.entry));
        in_force.map(|in_force| in_force.effect())
    }

    /// Its origins, once for each path.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + 'a {
        self.entry.paths.iter().map(|path| path.peer)
    }

    /// The peers whose paths are stale, once for each path.
    pub fn stale_peers(&self) -> impl Iterator<Item = PeerId> + use<'a> {
        self.entry.paths.iter().filter(|path| path.stale).map(|path| path.peer)
    }

    /// Its paths.
    pub fn paths(&self) -> impl Iterator<Item = PathRef<'a>> + use<'a> {
        let (nlri, best, entry, context) = (self.nlri, self.best(), self.entry, self.context);
        let several = entry.paths.as_slice().len() > 1;
        entry.paths.iter().map(move |path| {
            let is_best = std::ptr::eq(path, best);
            let objection = (several && !is_best).then(|| {
                let failure = || Some(entry.installation.failure(&path.route)?.message().to_owned());
                context.objection(nlri, path).or_else(failure)
            });
            PathRef {
                peer: path.peer,
                route: &path.route,
                announced: path.announced_route(),
                stale: path.stale,
                long_lived: path.long_lived,
                blackhole: path.key.kind == PathKind::Blackhole,
                expires: path.deadline,
                best: is_best,
                objection: objection.flatten(),
            }
        })
    }

    /// When it was first announced by its current origins.
    pub fn announced(&self) -> Timestamp {
        self.entry.paths.iter().map(|path| path.received).min().unwrap_or_default()
    }

    /// When it expires, if it does: when its last path does.
    pub fn expires(&self) -> Option<Timestamp> {
        let deadlines: Option<Vec<Timestamp>> = self.entry.paths.iter().map(|path| path.deadline).collect();
        deadlines?.into_iter().max()
    }

    /// Its state, with the reason.
    pub fn state(&self) -> RuleState {
        let paused = self.reconciler.is_paused();
        let (entries, stale) = match self.entry.selection.decision() {
            RuleDecision::Undecided => return RuleState::Pending { paused },
            RuleDecision::Refused { refusal, .. } => return RuleState::Refused(Refusal::clone(refusal)),
            RuleDecision::RejectedByPolicy(why) => return RuleState::RejectedByPolicy((**why).clone()),
            RuleDecision::Infeasible(why) => return RuleState::Infeasible((**why).clone()),
            RuleDecision::Enforce { entries, stale, .. } => (u64::from(*entries), *stale),
        };
        match self.entry.selection.suppression() {
            Some(Suppression::BlockedByException(by)) => {
                return RuleState::Refused(Refusal::new(RefusalKind::Exception { by }, self.context.capabilities));
            }
            Some(Suppression::Shadowed(by)) => return RuleState::Shadowed { by },
            None => {}
        }
        match reconciler::failure(self.entry) {
            Some(RuleFailure::OverCapacity(message)) => return RuleState::OverCapacity(message.clone()),
            Some(RuleFailure::Failed(message)) => return RuleState::Failed(message.clone()),
            None => {}
        }
        let is_confirmed = self.reconciler.is_confirmed(self.entry);
        match (self.reconciler.error(), self.reconciler.unfiltered()) {
            _ if paused => RuleState::Pending { paused: true },
            (_, Some(why)) if is_confirmed => RuleState::Failed(why.to_owned()),
            _ if is_confirmed && stale => RuleState::Stale { entries },
            _ if is_confirmed => RuleState::Installed { entries },
            (Some(error), _) => RuleState::Failed(error.to_owned()),
            (None, _) => RuleState::Pending { paused: false },
        }
    }
}
