//! The chain where packets begin: what is protected passes there, and the rest goes to the rules of
//! its IP version, where there are some.

use super::backend::Flower;
use super::compare::difference;
use super::counts::told;
use super::filter::{Filter, Place};
use super::first::First;
use super::kernel::Request;
use super::numbers::FIRST_CHAIN;
use super::ports::io;
use super::preview::{dispatch_filters, protected_filters};
use super::table::Table;
use crate::DataplaneError;
use crate::kernel::{PerVersion, VERSIONS};
use flowspec::{IpVersion, Space};
use std::collections::HashSet;

impl Flower {
    /// Brings the chain where packets begin from what is there to what these rules need: first what
    /// is protected, then where packets go, each IP version with one message, and at the end what
    /// is not needed any more.
    ///
    /// # Errors
    /// The kernel refuses one of these filters, or has it otherwise.
    pub(super) fn bring_first(
        &mut self,
        there: &First,
        tables: &PerVersion<Table>,
        protected: &[Space],
    ) -> Result<First, DataplaneError> {
        let wanted = self.wanted_first(there, tables, protected)?;
        let is_new = |old: &[Filter], filter: &&Filter| {
            !old.iter()
                .any(|old| old.place() == filter.place() && old.key == filter.key && old.actions == filter.actions)
        };
        let added = wanted.protected.iter().filter(|filter| is_new(&there.protected, filter));
        let sent = wanted.dispatch.iter().filter(|filter| is_new(&there.dispatch, filter));
        let new: Vec<Request> = added.chain(sent).map(|filter| self.request_new(filter)).collect();
        for outcome in self.execute(&new)? {
            outcome.map_err(|refusal| match refusal.errno {
                libc::ENOENT if refusal.words.is_none() => missing_classifier(),
                _ => DataplaneError::Refused(format!("a filter that sends packets to the rules: {refusal}")),
            })?;
        }
        let places: HashSet<Place> = wanted.filters().map(Filter::place).collect();
        let gone: Vec<Request> = there
            .dispatch
            .iter()
            .chain(&there.protected)
            .filter(|filter| !places.contains(&filter.place()))
            .map(|filter| self.request_delete(filter))
            .collect();
        self.execute(&gone)?;
        if new.is_empty() && gone.is_empty() {
            return Ok(wanted);
        }
        let there = told(&mut *self.kernel, FIRST_CHAIN, self.settings.block).map_err(io("listing filters"))?;
        match difference(&wanted.filters().collect::<Vec<_>>(), &there) {
            None => Ok(wanted),
            Some(words) => Err(DataplaneError::Refused(format!("in the chain where packets begin, {words}"))),
        }
    }

    /// What is to be there. A filter that protects keeps its place; new ones get free ones.
    fn wanted_first(
        &self,
        there: &First,
        tables: &PerVersion<Table>,
        protected: &[Space],
    ) -> Result<First, DataplaneError> {
        let mut first = First::default();
        let filtered = |version: IpVersion| tables.of(version).len() > 0;
        for version in VERSIONS.into_iter().filter(|version| filtered(*version)) {
            first.dispatch.extend(dispatch_filters(version, tables.of(version).chain(), &self.settings));
        }
        let protected: Vec<Space> = protected.iter().filter(|space| filtered(space.version())).cloned().collect();
        let filters = protected_filters(&protected, &self.settings)
            .map_err(|error| DataplaneError::Refused(format!("protected packets: {error}")))?;
        let mut used: HashSet<Place> = there.protected.iter().map(Filter::place).collect();
        let mut next = 1;
        for mut filter in filters.into_iter().filter(|filter| filtered(filter.key.version)) {
            match there.protected.iter().find(|old| old.key == filter.key && old.priority == filter.priority) {
                Some(old) => filter.handle = old.handle,
                None => {
                    while used.contains(&(filter.chain, filter.priority, next)) {
                        next += 1;
                    }
                    filter.handle = next;
                    used.insert(filter.place());
                }
            }
            first.protected.push(filter);
        }
        Ok(first)
    }
}

/// This kernel has no cls_flower, or not the actions.
pub(super) fn missing_classifier() -> DataplaneError {
    DataplaneError::Unavailable(
        "this kernel has not what tc flower needs; it takes the modules sch_ingress, cls_flower, act_gact, act_police, act_pedit, act_csum and \
         act_sample"
            .to_owned(),
    )
}
