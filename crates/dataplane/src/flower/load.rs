//! A full change: new chains are filled beside the old ones and compared with what was to be made;
//! then packets are sent there; then the old ones go.

use super::backend::{Flower, State};
use super::bring::missing_classifier;
use super::compare::mistake;
use super::counts::{self, told};
use super::decode::Told;
use super::encode::chain_with_template;
use super::filter::{Filter, Limit, Place};
use super::first::First;
use super::fit::fit;
use super::kernel::{Refusal, Request};
use super::numbers::{FIRST_CHAIN, FIRST_RULE_CHAIN, chain_of};
use super::pkt_cls::RTM_NEWCHAIN;
use super::ports::io;
use super::render::template;
use super::table::Table;
use crate::kernel::{PerVersion, Unenforced, VERSIONS};
use crate::netlink::NLM_F_CREATE;
use crate::{Applied, Counts, DataplaneError, RuleFailure};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Nlri;
use std::collections::HashMap;
use std::sync::Arc;

impl Flower {
    pub(super) fn load(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        if self.state.is_none() {
            super::ports::leave_other_blocks(&mut *self.kernel, self.settings.block)?;
        }
        self.ports.attach(&mut *self.kernel, &self.settings)?;
        if !self.ports.is_filtering() {
            let why = crate::Condition::unfiltered(self.ports.interfaces());
            return Err(DataplaneError::Unavailable(why.unwrap_or_else(|| "no interface is filtered".to_owned())));
        }
        // What others did before this is put right by it.
        self.kernel.disturbance(self.settings.block);
        let block = self.settings.block;
        let first = told(&mut *self.kernel, FIRST_CHAIN, block).map_err(io("listing filters"))?;
        let is_ours = self.state.is_some() || first.is_empty() || first.iter().any(|told| told.purpose.is_some());
        if !is_ours {
            return Err(DataplaneError::Refused(format!(
                "block {block} has filters of another program; name another one with block in [dataplane.flower]"
            )));
        }
        let unknown: Vec<Place> = first.iter().filter(|told| told.filter.is_none()).map(|told| told.place).collect();
        let (first, others) = First::of_kernel(first);
        let old_chains = self.chains()?;
        let dispatched = self.dispatched()?;
        if self.state.is_none() {
            self.skip_used_policers()?;
        }
        let protected = self.protectable(&rules.protected)?;
        let fitted = fit(&rules.rules, self.others(&protected)?, &self.settings);
        let mut unenforced = Unenforced::default();
        let by_key: HashMap<&Nlri, &Arc<CompiledRule>> = rules.rules.iter().map(|rule| (&*rule.nlri, rule)).collect();
        for (nlri, failure) in fitted.failures {
            if let Some(rule) = by_key.get(&*nlri) {
                unenforced.insert(rule, failure);
            }
        }
        // A chain that was deleted while packets are sent there is not listed.
        let used: Vec<u32> = old_chains.iter().chain(&dispatched).copied().collect();
        let adopted = if self.state.is_none() { self.adopt(&dispatched, &fitted.rules)? } else { None };
        let is_adopted = adopted.is_some();
        let base = adopted.as_ref().map_or_else(|| free_pair(&used), |tables| tables.v4.chain());
        let mut tables = adopted.unwrap_or_else(|| self.build(base, &fitted.rules, &mut unenforced));
        let filled = if is_adopted { Ok(()) } else { self.fill(&mut tables, &mut unenforced) };
        match filled {
            Ok(()) => {}
            Err(FillError::Full) if self.state.is_some() => {
                // There is no room for two sets of filters: what differs is changed filter by
                // filter.
                self.remove_chains(&[base, base + 1])?;
                return self.change_in_place(rules);
            }
            Err(FillError::Full) => {
                self.remove_chains(&[base, base + 1])?;
                return Err(DataplaneError::Refused(
                    "there is no room for these filters beside those that are there".to_owned(),
                ));
            }
            Err(FillError::Failed(error)) => {
                let _ = self.remove_chains(&[base, base + 1]);
                return Err(error);
            }
        }
        // Where another classifier has a priority, no filter of ours can be made; and the chain is
        // compared with what it is to be.
        self.remove_unknown(unknown.iter())?;
        let removed: Vec<Request> = others.iter().map(|filter| self.request_delete(filter)).collect();
        self.execute(&removed)?;
        let brought = match self.bring_first(&first, &tables, &protected) {
            Ok(brought) => brought,
            Err(error) => {
                // Back to where packets went before.
                let again: Vec<Request> = first.filters().map(|filter| self.request_new(filter)).collect();
                let _ = self.execute(&again);
                if !is_adopted {
                    let _ = self.remove_chains(&[base, base + 1]);
                }
                return Err(error);
            }
        };
        if !is_adopted {
            self.keep_counts(&dispatched, &tables)?;
        }
        let is_old = |chain: &u32| !is_adopted || ![base, base + 1].contains(chain);
        let old_chains: Vec<u32> = old_chains.into_iter().filter(is_old).collect();
        self.remove_chains(&old_chains)?;
        // Interfaces that are not meant any more.
        super::ports::detach(&mut *self.kernel, block, self.ports.attached())?;
        let applied = unenforced.applied();
        let protected = rules.protected.clone();
        self.state = Some(State { tables, first: brought, protected, unenforced, damage: None });
        Ok(applied)
    }

    /// The tables of these rules. Those that cannot be written are not among them.
    fn build(&mut self, base: u32, rules: &[Arc<CompiledRule>], unenforced: &mut Unenforced) -> PerVersion<Table> {
        PerVersion::new(|version| {
            let chain = chain_of(base, version);
            let of_version: Vec<Arc<CompiledRule>> =
                rules.iter().filter(|rule| rule.nlri.family().version() == version).cloned().collect();
            let next = |_: Limit| {
                self.next_policer += 1;
                self.next_policer - 1
            };
            match Table::build(version, chain, &of_version, &self.settings, next) {
                Ok((table, unwritable)) => {
                    for (rule, error) in unwritable {
                        unenforced.insert(&rule, RuleFailure::Failed(error.to_string()));
                    }
                    table
                }
                Err(error) => {
                    for rule in &of_version {
                        unenforced.insert(rule, RuleFailure::OverCapacity(error.to_string()));
                    }
                    Table::new(version, chain)
                }
            }
        })
    }

    /// Makes all filters of the tables, and compares them with what the kernel has. Rules whose
    /// filters are not as they were to be, and rules whose exceptions are among those, are taken
    /// out.
    fn fill(&mut self, tables: &mut PerVersion<Table>, unenforced: &mut Unenforced) -> Result<(), FillError> {
        for version in VERSIONS {
            let table = tables.of(version);
            if table.len() == 0 {
                continue;
            }
            if let Some(template) = template(version, &self.settings) {
                let body = chain_with_template(table.chain(), self.settings.block, &template);
                let outcome = self.execute(&[Request { kind: RTM_NEWCHAIN, flags: NLM_F_CREATE, body }])?;
                if let Some(Err(refusal)) = outcome.into_iter().next() {
                    return Err(FillError::Failed(DataplaneError::Refused(format!(
                        "a chain with a template: {refusal}"
                    ))));
                }
            }
            let filters: Vec<(Arc<Nlri>, Filter)> = table
                .rules()
                .flat_map(|placed| {
                    placed.filters.iter().map(|filter| (placed.rule.nlri.clone(), filter.filter.clone()))
                })
                .collect();
            let requests: Vec<Request> = filters.iter().map(|(_, filter)| self.request_new(filter)).collect();
            let outcomes = self.execute(&requests)?;
            if outcomes.iter().all(|outcome| matches!(outcome, Err(refusal) if is_missing(refusal))) {
                return Err(FillError::Failed(missing_classifier()));
            }
            if outcomes.iter().any(|outcome| matches!(outcome, Err(refusal) if refusal.is_full())) {
                return Err(FillError::Full);
            }
            let there = told(&mut *self.kernel, table.chain(), self.settings.block).map_err(io("listing filters"))?;
            let by_place: HashMap<Place, &Told> = there.iter().map(|told| (told.place, told)).collect();
            let mut failed: Vec<(Arc<Nlri>, String)> = Vec::new();
            for ((nlri, filter), outcome) in filters.iter().zip(outcomes) {
                let why = match outcome {
                    Err(refusal) => Some(refusal.to_string()),
                    Ok(()) => mistake(filter, by_place.get(&filter.place()).copied()),
                };
                if let Some(why) = why
                    && failed.last().is_none_or(|(last, _)| last != nlri)
                {
                    failed.push((nlri.clone(), why));
                }
            }
            for (nlri, why) in failed {
                if let Some(placed) = tables.of_mut(version).remove(&nlri) {
                    unenforced.insert(&placed.rule, RuleFailure::Failed(why));
                    self.delete(placed.filters.iter().map(|placed| &placed.filter))?;
                }
            }
        }
        self.take_out_blocked(tables, unenforced)?;
        Ok(())
    }

    /// Takes rules out whose exceptions are not in force.
    pub(super) fn take_out_blocked(
        &mut self,
        tables: &mut PerVersion<Table>,
        unenforced: &mut Unenforced,
    ) -> Result<(), DataplaneError> {
        loop {
            let blocked = unenforced.newly_blocked(tables.iter().flat_map(Table::rules).map(|placed| &placed.rule));
            if blocked.is_empty() {
                return Ok(());
            }
            for (rule, failure) in blocked.into_iter().rev() {
                let removed = tables.of_mut(rule.nlri.family().version()).remove(&rule.nlri);
                unenforced.insert(&rule, failure);
                if let Some(placed) = removed {
                    self.delete(placed.filters.iter().map(|placed| &placed.filter))?;
                }
            }
        }
    }

    /// Removes filters; that one is not there is no mistake.
    pub(super) fn delete<'a>(&mut self, filters: impl Iterator<Item = &'a Filter>) -> Result<(), DataplaneError> {
        let requests: Vec<Request> = filters.map(|filter| self.request_delete(filter)).collect();
        for outcome in self.execute(&requests)? {
            if let Err(refusal) = outcome
                && !matches!(refusal.errno, libc::ENOENT | libc::EINVAL)
            {
                return Err(DataplaneError::Refused(format!("a filter cannot be removed: {refusal}")));
            }
        }
        Ok(())
    }

    /// Reads what the rules have counted in chains that no packet is sent to any more, and forgets
    /// rules that are not in the tables.
    fn keep_counts(&mut self, chains: &[u32], tables: &PerVersion<Table>) -> Result<(), DataplaneError> {
        let mut counts = std::mem::take(&mut self.earlier);
        for chain in chains {
            counts::add(
                &mut counts,
                &told(&mut *self.kernel, *chain, self.settings.block).map_err(io("reading counters"))?,
            );
        }
        let mut kept = Counts::default();
        for placed in tables.iter().flat_map(Table::rules) {
            let id = placed.rule.id;
            if let Some(count) = counts.matched.get(&id) {
                kept.matched.insert(id, *count);
            }
            if let Some(count) = counts.dropped.get(&id) {
                kept.dropped.insert(id, *count);
            }
        }
        self.earlier = kept;
        Ok(())
    }

    /// The difference between what is in force and these rules, filter by filter.
    fn change_in_place(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        let Some(state) = &self.state else { return Err(DataplaneError::NothingApplied) };
        let wanted: HashMap<&Nlri, &Arc<CompiledRule>> = rules.rules.iter().map(|rule| (&*rule.nlri, rule)).collect();
        let there = state.tables.iter().flat_map(Table::rules);
        let remove =
            there.filter(|placed| !wanted.contains_key(&*placed.rule.nlri)).map(|placed| placed.rule.nlri.clone());
        let differs = |rule: &&Arc<CompiledRule>| {
            let table = state.tables.of(rule.nlri.family().version());
            table.get(&rule.nlri).is_none_or(|placed| *placed.rule != ***rule)
        };
        let plan = Plan {
            remove: remove.collect(),
            upsert: rules.rules.iter().filter(differs).cloned().collect(),
            protected: Some(rules.protected.clone()),
        };
        self.change_filters(&plan)
    }

    /// Removes filters of others in our chain of which nothing is known but their place.
    fn remove_unknown<'a>(&mut self, places: impl Iterator<Item = &'a Place>) -> Result<(), DataplaneError> {
        let requests: Vec<Request> = places
            .map(|(chain, priority, handle)| {
                let mut body = super::encode::header(self.settings.block, *handle, *priority, 0);
                crate::netlink::push(&mut body, super::pkt_cls::TCA_CHAIN, &chain.to_ne_bytes());
                Request { kind: super::pkt_cls::RTM_DELTFILTER, flags: 0, body }
            })
            .collect();
        self.execute(&requests).map(drop)
    }
}

/// Why chains could not be filled.
enum FillError {
    /// There is no room.
    Full,
    /// Something else.
    Failed(DataplaneError),
}

impl From<DataplaneError> for FillError {
    fn from(error: DataplaneError) -> Self {
        FillError::Failed(error)
    }
}

/// Whether a refusal says that the kernel has no cls_flower, or not an action.
pub(super) fn is_missing(refusal: &Refusal) -> bool {
    let words = refusal.words.as_deref().unwrap_or_default();
    refusal.errno == libc::ENOENT && (words.is_empty() || words.contains("not found"))
}

/// Two numbers of chains that are free, the first of them.
fn free_pair(used: &[u32]) -> u32 {
    let is_free = |base: &u32| !used.contains(base) && !used.contains(&(base + 1));
    (0..).map(|n| FIRST_RULE_CHAIN + 2 * n).find(is_free).unwrap_or(FIRST_RULE_CHAIN)
}
