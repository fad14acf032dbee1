//! A small change: single filters. New ones go in from the first rule on, then old ones go, from
//! the last on, so that at each moment a packet meets what the old rules or what the new rules
//! decide about it.

use super::backend::{Flower, State};
use super::compare::mistake;
use super::counts;
use super::decode;
use super::encode::name_filter;
use super::filter::Filter;
use super::fit::no_room;
use super::kernel::Request;
use super::ports::io;
use super::table::{NoPlace, PlacedRule, Table};
use crate::{Applied, DataplaneError, RuleFailure};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Nlri;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Flower {
    pub(super) fn change(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        if self.state.is_none() {
            return Err(DataplaneError::NothingApplied);
        }
        match self.look()? {
            Some(damage) => Err(DataplaneError::ExternalChange(damage)),
            None => self.change_filters(plan),
        }
    }

    /// Changes what is in force filter by filter; where filters would have to move, all of it.
    pub(super) fn change_filters(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let Some(mut state) = self.state.take() else { return Err(DataplaneError::NothingApplied) };
        let outcome = self.change_state(&mut state, plan);
        match outcome {
            Ok(Outcome::Done) => {
                let applied = state.unenforced.applied();
                self.state = Some(state);
                Ok(applied)
            }
            Ok(Outcome::MustMove(before)) => {
                let mut wanted: BTreeMap<Arc<Nlri>, Arc<CompiledRule>> = before;
                plan.remove.iter().for_each(|nlri| drop(wanted.remove(nlri)));
                wanted.extend(plan.upsert.iter().map(|rule| (rule.nlri.clone(), rule.clone())));
                let protected = plan.protected.clone().unwrap_or_else(|| state.protected.clone());
                self.state = Some(state);
                self.load(&Ruleset { protected, rules: wanted.into_values().collect() })
            }
            Err(error) => {
                // What is in force is not known any more: a full load is next.
                state.damage = Some(format!("a change failed: {error}"));
                self.state = Some(state);
                Err(error)
            }
        }
    }

    fn change_state(&mut self, state: &mut State, plan: &Plan) -> Result<Outcome, DataplaneError> {
        state.unenforced.begin_change();
        // What is protected comes first, and goes last.
        let mut protected = self.protectable(&state.protected)?;
        if let Some(wanted) = &plan.protected {
            let wanted = self.protectable(wanted)?;
            let both: Vec<_> = protected.iter().chain(&wanted).cloned().collect();
            state.first = self.bring_first(&state.first, &state.tables, &both)?;
            protected = wanted;
        }
        let others = self.others(&protected)?;
        let mut old: BTreeMap<Arc<Nlri>, PlacedRule> = BTreeMap::new();
        let mut changed: Vec<Arc<Nlri>> = Vec::new();
        for nlri in &plan.remove {
            if let Some(placed) = state.tables.of_mut(nlri.family().version()).remove(nlri) {
                old.insert(nlri.clone(), placed);
            }
        }
        let mut upsert: Vec<&Arc<CompiledRule>> = plan.upsert.iter().collect();
        upsert.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        for rule in upsert {
            match self.put(state, rule, others) {
                Ok(replaced) => {
                    if let Some(placed) = replaced {
                        old.entry(rule.nlri.clone()).or_insert(placed);
                    }
                    changed.push(rule.nlri.clone());
                }
                Err(NotPut::Failed(failure)) => {
                    if let Some(placed) = state.tables.of_mut(rule.nlri.family().version()).remove(&rule.nlri) {
                        old.entry(rule.nlri.clone()).or_insert(placed);
                    }
                    state.unenforced.insert(rule, failure);
                }
                Err(NotPut::MustMove) => {
                    // The tables as they were, which is what is in the kernel.
                    for nlri in &changed {
                        state.tables.of_mut(nlri.family().version()).remove(nlri);
                    }
                    old.into_values().for_each(|placed| {
                        state.tables.of_mut(placed.rule.nlri.family().version()).restore(placed);
                    });
                    let rules = state.tables.iter().flat_map(Table::rules);
                    let before = rules.map(|placed| (placed.rule.nlri.clone(), placed.rule.clone())).collect();
                    return Ok(Outcome::MustMove(before));
                }
            }
        }
        self.take_out_planned(state, &mut old);
        self.add_changed(state, &changed, &mut old)?;
        // Old filters go, from the last rule on.
        let gone: Vec<Filter> = old
            .values()
            .rev()
            .flat_map(|placed| {
                let table = state.tables.of(placed.rule.nlri.family().version());
                let kept = table.get(&placed.rule.nlri);
                let is_kept = move |filter: &Filter| {
                    kept.is_some_and(|kept| kept.filters.iter().any(|new| new.filter.place() == filter.place()))
                };
                placed.filters.iter().map(|placed| placed.filter.clone()).filter(move |filter| !is_kept(filter))
            })
            .collect();
        for placed in old
            .values()
            .filter(|placed| state.tables.of(placed.rule.nlri.family().version()).get(&placed.rule.nlri).is_none())
        {
            self.earlier.matched.remove(&placed.rule.id);
            self.earlier.dropped.remove(&placed.rule.id);
        }
        let of_kept: Vec<Filter> = gone
            .iter()
            .filter(|filter| match filter.purpose {
                super::filter::Purpose::Rule(id) => self.earlier.matched.contains_key(&id),
                _ => false,
            })
            .cloned()
            .collect();
        self.add_to_earlier(&of_kept)?;
        self.delete(gone.iter())?;
        state.first = self.bring_first(&state.first, &state.tables, &protected)?;
        if let Some(protected) = &plan.protected {
            state.protected = protected.clone();
        }
        Ok(Outcome::Done)
    }

    /// Puts a rule in the table, if there is room and nothing that it depends on is missing.
    fn put(&mut self, state: &mut State, rule: &Arc<CompiledRule>, others: u64) -> Result<Option<PlacedRule>, NotPut> {
        state.unenforced.forget(&rule.nlri);
        if let Some(failure) = state.unenforced.blocks(rule) {
            return Err(NotPut::Failed(failure));
        }
        let table = state.tables.of(rule.nlri.family().version());
        if let Some(most) = self.settings.max_filters {
            let freed = table.get(&rule.nlri).map_or(0, |placed| placed.filters.len() as u64);
            let needed = super::fit::cost(rule, &self.settings);
            if let Some(failure) = no_room(needed, state.of_rules() + others - freed, most) {
                return Err(NotPut::Failed(failure));
            }
        }
        let next_policer = &mut self.next_policer;
        let next = |_| {
            *next_policer += 1;
            *next_policer - 1
        };
        match state.tables.of_mut(rule.nlri.family().version()).put(rule, &self.settings, next) {
            Ok(old) => Ok(old),
            Err(NoPlace::Unwritable(error)) => Err(NotPut::Failed(RuleFailure::Failed(error.to_string()))),
            Err(NoPlace::TooFewNumbers(_)) => Err(NotPut::MustMove),
        }
    }

    /// Takes rules out of the tables whose exceptions are not in force; their filters go with the
    /// old ones.
    fn take_out_planned(&mut self, state: &mut State, old: &mut BTreeMap<Arc<Nlri>, PlacedRule>) {
        loop {
            let rules = state.tables.iter().flat_map(Table::rules).map(|placed| &placed.rule);
            let blocked = state.unenforced.newly_blocked(rules);
            if blocked.is_empty() {
                return;
            }
            for (rule, failure) in blocked {
                if let Some(placed) = state.tables.of_mut(rule.nlri.family().version()).remove(&rule.nlri) {
                    old.entry(rule.nlri.clone()).or_insert(placed);
                }
                state.unenforced.insert(&rule, failure);
            }
        }
    }

    /// Makes the new filters of the changed rules, from the first rule on, and reads each back. A
    /// rule of which one is not as it was to be goes out again, with those that it is an exception
    /// to.
    fn add_changed(
        &mut self,
        state: &mut State,
        changed: &[Arc<Nlri>],
        old: &mut BTreeMap<Arc<Nlri>, PlacedRule>,
    ) -> Result<(), DataplaneError> {
        for nlri in changed {
            let Some(placed) = state.tables.of(nlri.family().version()).get(nlri) else { continue };
            let before = old.get(nlri);
            let is_same =
                |filter: &Filter| before.is_some_and(|before| before.filters.iter().any(|old| old.filter == *filter));
            let new: Vec<Filter> =
                placed.filters.iter().map(|placed| placed.filter.clone()).filter(|filter| !is_same(filter)).collect();
            if let Some(before) = before {
                // Filters whose place another one takes count no further.
                let ends = |old: &&Filter| new.iter().any(|new| new.place() == old.place());
                let ending: Vec<Filter> =
                    before.filters.iter().map(|placed| &placed.filter).filter(ends).cloned().collect();
                self.earlier.matched.entry(before.rule.id).or_default();
                self.add_to_earlier(&ending)?;
            }
            let requests: Vec<Request> = new.iter().map(|filter| self.request_new(filter)).collect();
            let outcomes = self.execute(&requests)?;
            let mut why = None;
            for (filter, outcome) in new.iter().zip(outcomes) {
                let failure = match outcome {
                    Err(refusal) if refusal.is_full() => Some(RuleFailure::OverCapacity(refusal.to_string())),
                    Err(refusal) => Some(RuleFailure::Failed(refusal.to_string())),
                    Ok(()) => {
                        let body = self
                            .kernel
                            .get(&name_filter(filter, self.settings.block))
                            .map_err(io("reading a filter"))?;
                        let told = body.as_deref().and_then(decode::filter);
                        mistake(filter, told.as_ref()).map(RuleFailure::Failed)
                    }
                };
                why = why.or(failure);
            }
            let Some(failure) = why else { continue };
            if let Some(removed) = state.tables.of_mut(nlri.family().version()).remove(nlri) {
                self.delete(removed.filters.iter().map(|placed| &placed.filter))?;
                state.unenforced.insert(&removed.rule, failure);
            }
            self.take_out_blocked(&mut state.tables, &mut state.unenforced)?;
        }
        Ok(())
    }

    /// Notes what filters have counted that end now.
    fn add_to_earlier(&mut self, filters: &[Filter]) -> Result<(), DataplaneError> {
        let mut told = Vec::with_capacity(filters.len());
        for filter in filters {
            let body = self.kernel.get(&name_filter(filter, self.settings.block)).map_err(io("reading a filter"))?;
            told.extend(body.as_deref().and_then(decode::filter));
        }
        counts::add(&mut self.earlier, &told);
        Ok(())
    }
}

/// What came of a change.
enum Outcome {
    Done,
    /// Filters that are there would have to move: the rules that were in force before.
    MustMove(BTreeMap<Arc<Nlri>, Arc<CompiledRule>>),
}

/// Why a rule is not in the table.
enum NotPut {
    Failed(RuleFailure),
    MustMove,
}
