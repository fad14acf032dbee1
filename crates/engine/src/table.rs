//! The ordered table: every rule that somebody announces, in the order in which packets meet them (RFC 8955 §5.1), with its
//! routes, the decision on it, and what the data plane was told.

use crate::compile::Refusal;
use crate::import_policy::PolicyRejection;
use crate::key::RuleKey;
use crate::plan::RuleFailure;
use crate::precedence;
use crate::route::{Path, Route};
use crate::shadow::Groups;
use crate::validate::Infeasible;
use flowspec::{Effect, Prefix, RuleId};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rules: BTreeMap<RuleKey, Record>,
    pub(crate) groups: Groups,
    dirty: Vec<RuleKey>,
    all_dirty: bool,
    /// Rules whose routes changed since they were handed out to be kept over a restart; some of them twice.
    unsaved: Vec<RuleKey>,
}

/// A rule. Small: there may be 100,000 of them.
#[derive(Debug)]
pub(crate) struct Record {
    /// One for each peer and path; none once the last is withdrawn.
    pub(crate) paths: Vec<Path>,
    pub(crate) base: Base,
    pub(crate) aside: Option<Aside>,
    /// What the data plane has, or was told last.
    pub(crate) in_force: Option<InForce>,
    /// The change that told it.
    pub(crate) told: u32,
    /// To be decided on anew.
    pub(crate) dirty: bool,
    pub(crate) trouble: Option<Box<Trouble>>,
    /// A number for the routes as they were handed out to be kept over a restart; 0 if they were not.
    pub(crate) saved: u64,
}

/// The decision on a rule for itself.
#[derive(Debug)]
pub(crate) enum Base {
    Undecided,
    /// `best` is the index of the path that counts.
    Wanted {
        route: Arc<Route>,
        entries: u32,
        stale: bool,
        best: u16,
    },
    Refused {
        route: Arc<Route>,
        refusal: Box<Refusal>,
        best: u16,
    },
    PolicyRejection(Box<PolicyRejection>),
    Infeasible(Box<Infeasible>),
}

/// Why a wanted rule is left out in view of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// It would act on packets that this rule lets off, which is not in force.
    Held(RuleId),
    /// This rule takes all its packets.
    Shadowed(RuleId),
}

/// What of a rule is in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) route: Arc<Route>,
    pub(crate) monitor: bool,
}

impl InForce {
    /// The effect as enforced.
    pub(crate) fn effect(&self) -> Effect {
        let effect = crate::compile::enforced(self.route.effect());
        if self.monitor { Effect { continues: effect.continues, ..Effect::ACCEPT } } else { effect }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        (self.monitor == other.monitor && Arc::ptr_eq(&self.route, &other.route)) || self.effect() == other.effect()
    }
}

/// What the data plane could not take of a rule.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// By which route it was to be in force, and what came of it. Of those that are announced still.
    pub(crate) failures: Vec<(Arc<Route>, RuleFailure)>,
    /// The route that is wanted is one of them, so that the rule is not in force. Otherwise another path stands in.
    pub(crate) active: bool,
    /// It is to be tried again with the next change.
    pub(crate) retry: bool,
}

impl Record {
    pub(crate) fn new() -> Self {
        Record {
            paths: Vec::new(),
            base: Base::Undecided,
            aside: None,
            in_force: None,
            told: 0,
            dirty: false,
            trouble: None,
            saved: 0,
        }
    }

    /// Notes it as one to be decided on anew.
    pub(crate) fn mark(&mut self, key: &RuleKey, dirty: &mut Vec<RuleKey>) {
        if !std::mem::replace(&mut self.dirty, true) {
            dirty.push(key.clone());
        }
    }

    /// What keeps it from being in force as it is wanted.
    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_deref().filter(|trouble| trouble.active)
    }

    /// What came of it when it was to be in force by this route.
    pub(crate) fn failure(&self, route: &Arc<Route>) -> Option<&RuleFailure> {
        let mut failures = self.trouble.iter().flat_map(|trouble| &trouble.failures);
        failures.find(|(failed, _)| Arc::ptr_eq(failed, route)).map(|(_, failure)| failure)
    }

    /// Notes that the data plane could not take it by this route.
    pub(crate) fn fail(&mut self, route: Arc<Route>, failure: RuleFailure) {
        let trouble =
            self.trouble.get_or_insert_with(|| Box::new(Trouble { failures: Vec::new(), active: true, retry: false }));
        (trouble.active, trouble.retry) = (true, false);
        trouble.failures.retain(|(failed, _)| !Arc::ptr_eq(failed, &route));
        trouble.failures.push((route, failure));
    }

    /// It is to be tried again with the next change: by the best path first, then by the others.
    pub(crate) fn retry(&mut self) {
        let wanted = self.wanted().cloned();
        if let Some(trouble) = &mut self.trouble {
            trouble.retry = true;
            trouble.failures.retain(|(route, _)| wanted.as_ref().is_some_and(|wanted| Arc::ptr_eq(wanted, route)));
        }
    }

    /// Whether another path is to be preferred to one of this route: the data plane could not take it, and it is not to be tried now.
    pub(crate) fn avoids(&self, route: &Arc<Route>) -> bool {
        let tries = self.trouble().is_some_and(|trouble| trouble.retry);
        !tries && matches!(self.failure(route), Some(RuleFailure::Failed(_)))
    }

    /// After a decision: whether what the data plane could not take is still what is wanted.
    pub(crate) fn settle_trouble(&mut self) {
        let Some(mut trouble) = self.trouble.take() else { return };
        let Some(wanted) = self.wanted() else { return };
        let announced = |route: &Arc<Route>| self.paths.iter().any(|path| Arc::ptr_eq(&path.route, route));
        trouble.failures.retain(|(route, _)| announced(route) || Arc::ptr_eq(route, wanted));
        let active = trouble.failures.iter().any(|(route, _)| Arc::ptr_eq(route, wanted));
        // Others stood in for it and it is all that is left: it is tried again.
        trouble.retry |= active && !trouble.active;
        trouble.active = active;
        self.trouble = (!trouble.failures.is_empty()).then_some(trouble);
    }

    /// The route by which it is wanted, whatever the other rules are.
    pub(crate) fn wanted(&self) -> Option<&Arc<Route>> {
        match &self.base {
            Base::Wanted { route, .. } => Some(route),
            Base::Undecided | Base::Refused { .. } | Base::PolicyRejection(_) | Base::Infeasible(_) => None,
        }
    }

    /// Whether it would let packets off that a later rule acts on, and is not in force.
    pub(crate) fn is_exception(&self, key: &RuleKey) -> bool {
        let route = match &self.base {
            Base::Wanted { route, .. } if self.trouble().is_some() || matches!(self.aside, Some(Aside::Held(_))) => {
                route
            }
            Base::Refused { route, .. } => route,
            Base::Wanted { .. } | Base::Undecided | Base::PolicyRejection(_) | Base::Infeasible(_) => return false,
        };
        key.nlri().is_some_and(|nlri| precedence::lets_off(nlri, &route.effect()))
    }

    /// What is to be in force.
    pub(crate) fn want(&self, monitor: bool) -> Option<InForce> {
        let route = self.wanted().filter(|_| self.aside.is_none())?;
        let barred = self.trouble().is_some_and(|trouble| !trouble.retry);
        (!barred).then(|| InForce { route: route.clone(), monitor })
    }
}

impl Table {
    /// The rule, made if it is not there; and the list on which to [mark](Record::mark) it.
    pub(crate) fn entry(&mut self, key: &RuleKey) -> (&mut Record, &mut Vec<RuleKey>) {
        let groups = &mut self.groups;
        let record = self.rules.entry(key.clone()).or_insert_with_key(|key| {
            groups.enter(key);
            Record::new()
        });
        (record, &mut self.dirty)
    }

    /// Marks a rule to be decided on anew.
    pub(crate) fn touch(&mut self, key: &RuleKey) {
        if let Some(record) = self.rules.get_mut(key) {
            record.mark(key, &mut self.dirty);
        }
    }

    /// Goes through all rules; those for which `change` says so are marked to be decided on anew.
    pub(crate) fn touch_where(&mut self, mut change: impl FnMut(&RuleKey, &mut Record) -> bool) {
        for (key, record) in &mut self.rules {
            if change(key, record) {
                record.mark(key, &mut self.dirty);
            }
        }
    }

    pub(crate) fn touch_all(&mut self) {
        self.all_dirty = true;
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.all_dirty || !self.dirty.is_empty()
    }

    /// The rules whose routes may have changed since this was asked last, in order; the decisions on them are made.
    pub(crate) fn take_unsaved(&mut self) -> Vec<RuleKey> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.sort_unstable();
        unsaved.dedup();
        unsaved
    }

    /// The rules to be decided on anew, in order; none are left marked.
    pub(crate) fn take_dirty(&mut self) -> Vec<RuleKey> {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.unsaved.extend(dirty.iter().cloned());
        if std::mem::take(&mut self.all_dirty) {
            dirty = self.rules.keys().cloned().collect();
        }
        dirty.sort_unstable();
        dirty
    }

    /// Takes rules out that nobody announces any longer.
    pub(crate) fn remove<'a>(&mut self, gone: impl ExactSizeIterator<Item = &'a RuleKey>) {
        let many = gone.len() > self.rules.len() / 4;
        for key in gone {
            self.groups.leave(key);
            if !many {
                self.rules.remove(key);
            }
        }
        if many {
            self.rules.retain(|_, record| !record.paths.is_empty());
        }
    }

    /// The rules whose destination is within `net`, or has `net` within it.
    pub(crate) fn overlapping(&self, net: IpNet) -> Vec<RuleKey> {
        let prefix = |net: IpNet| match net {
            IpNet::V4(net) => Some(Prefix::V4(net)),
            IpNet::V6(net) => flowspec::Ipv6Pattern::new(net.network(), 0, net.prefix_len()).map(Prefix::V6),
        };
        let Some(own) = prefix(net) else { return Vec::new() };
        let within = RuleKey::start_within(&own)..RuleKey::end_within(&own);
        let mut keys: Vec<_> = self
            .rules
            .range(within)
            .filter(|(key, _)| has_destination(key, |destination| own.covers(&destination)))
            .map(|(key, _)| key.clone())
            .collect();
        let mut outer = net.supernet();
        while let Some(net) = outer {
            outer = net.supernet();
            let Some(prefix) = prefix(net) else { break };
            let (start, end) = RuleKey::around(&prefix);
            let exact = self.rules.range(start..end);
            let exact = exact.filter(|(key, _)| has_destination(key, |destination| destination == prefix));
            keys.extend(exact.map(|(key, _)| key.clone()));
        }
        keys
    }
}

/// Calls `look` with the rules of `keys`, which are in order; those that are not there are passed over.
pub(crate) fn visit<'a>(
    rules: &mut BTreeMap<RuleKey, Record>,
    keys: impl ExactSizeIterator<Item = &'a RuleKey>,
    mut look: impl FnMut(&RuleKey, &mut Record),
) {
    if keys.len() < rules.len() / 4 {
        for key in keys {
            if let Some(record) = rules.get_mut(key) {
                look(key, record);
            }
        }
        return;
    }
    // Many: side by side is faster than one by one.
    let mut keys = keys.peekable();
    for (key, record) in rules {
        while keys.next_if(|next| *next < key).is_some() {}
        if keys.next_if(|next| *next == key).is_some() {
            look(key, record);
        }
    }
}

fn has_destination(key: &RuleKey, accept: impl Fn(Prefix) -> bool) -> bool {
    key.nlri().and_then(|nlri| nlri.destination()).is_some_and(accept)
}
