//! Finds the rules that the switch refuses without identifying them.
//!
//! The rules that were in force before are installed alone; if that succeeds, a new rule is at
//! fault. Rules of one kind (see [`Shape`]) are mostly accepted or refused together, so the kind is
//! found first, and the other rules of it are added again by bisection. Each successful run puts
//! what it tried in force, so the good rules do not wait for the end of the search: with one kind
//! at fault, all other kinds are in force after three runs at most, and with one rule at fault half
//! of its kind after two more.

use super::installation::{InstallOutcome, Installation};
use super::shape::Shape;
use crate::{Applied, DataplaneError};
use engine::plan::CompiledRule;
use flowspec::Nlri;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Most runs of one search.
const MOST_RUNS: u32 = 24;

type Rules = Vec<Arc<CompiledRule>>;

/// Installs the desired state, as far as the switch accepts it.
pub(super) fn fit(mut installation: Installation<'_>) -> Result<Applied, DataplaneError> {
    let outcome = match installation.install_what_fits(&BTreeSet::new()) {
        Ok(InstallOutcome::Installed(applied)) => Ok(applied),
        Ok(InstallOutcome::UnnamedRefusal(words)) => without_refused(&mut installation, words),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        installation.switch().repair();
    }
    outcome
}

/// Installs the desired state without the rules that the switch refuses. `words` is its message
/// when it refused all together.
fn without_refused(installation: &mut Installation<'_>, words: String) -> Result<Applied, DataplaneError> {
    if installation.refusals().is_unrelated(&words) {
        return Err(DataplaneError::Refused(words));
    }
    if installation.switch().drop_comments_for("comment") {
        match installation.install_what_fits(&BTreeSet::new())? {
            InstallOutcome::Installed(applied) => return Ok(applied),
            InstallOutcome::UnnamedRefusal(_) => installation.switch().restore_comments(),
        }
    }
    let mut suspects = installation.new_rules();
    let mut search = Search { installation, words, runs: 0, waiting: Vec::new() };
    // Run it even if the file is unchanged: the question is whether the switch accepts it *now*.
    search.installation.switch().force_run();
    if suspects.is_empty() || !search.installs_without(&[&suspects])? {
        search.installation.refusals().set_unrelated(&search.words);
        return Err(DataplaneError::Refused(search.words));
    }
    loop {
        for rule in search.at_fault(suspects)? {
            if !search.installation.refusals().is_refused(&rule.nlri) {
                search.installation.refusals().refuse_rule(&rule, &search.words);
            }
        }
        search.runs += 1;
        match search.installation.install_what_fits(&BTreeSet::new())? {
            InstallOutcome::Installed(applied) => return Ok(applied),
            InstallOutcome::UnnamedRefusal(words) if search.waiting.is_empty() => {
                return Err(DataplaneError::Refused(words));
            }
            InstallOutcome::UnnamedRefusal(_) => suspects = std::mem::take(&mut search.waiting),
        }
    }
}

struct Search<'a, 'b> {
    installation: &'a mut Installation<'b>,
    words: String,
    runs: u32,
    /// Rules that are left out because they may contain another refused rule, which is searched for
    /// later.
    waiting: Rules,
}

impl Search<'_, '_> {
    /// Whether the switch accepts everything but these rules and those that wait.
    fn installs_without(&mut self, held: &[&[Arc<CompiledRule>]]) -> Result<bool, DataplaneError> {
        self.runs += 1;
        let held = held.iter().copied().chain([self.waiting.as_slice()]).flatten();
        let held: BTreeSet<Arc<Nlri>> = held.map(|rule| Arc::clone(&rule.nlri)).collect();
        let settled = self.installation.install_what_fits(&held)?;
        Ok(matches!(settled, InstallOutcome::Installed(_)))
    }

    fn is_exhausted(&self) -> bool {
        self.runs >= MOST_RUNS
    }

    /// The refused rules among these; the switch accepts the others.
    fn at_fault(&mut self, suspects: Rules) -> Result<Rules, DataplaneError> {
        let kind = self.kind_at_fault(kinds(suspects))?;
        if kind.len() == 1 || self.is_exhausted() {
            return Ok(kind);
        }
        let (first, second) = halves(kind);
        let first_is_good = self.installs_without(&[&second])?;
        if !first_is_good && !self.installs_without(&[&first])? {
            // At least two of a kind: the switch refuses the kind.
            return Ok([first, second].concat());
        }
        let half = if first_is_good { second } else { first };
        self.one_at_fault(half)
    }

    /// The rules of one kind, at least one of which is refused.
    fn kind_at_fault(&mut self, mut kinds: Vec<Rules>) -> Result<Rules, DataplaneError> {
        if kinds.len() > 1 {
            // The most frequent kind, and all others.
            let first = kinds.remove(0);
            let others = kinds.concat();
            if !self.installs_without(&[&others])? {
                if self.installs_without(&[&first])? {
                    return Ok(first);
                }
                self.waiting.extend(first);
            }
        }
        while kinds.len() > 1 && !self.is_exhausted() {
            let (first, second) = halves(kinds);
            let (all_first, all_second) = (first.concat(), second.concat());
            if self.installs_without(&[&all_second])? {
                kinds = second;
                continue;
            }
            if !self.installs_without(&[&all_first])? {
                self.waiting.extend(all_second);
            }
            kinds = first;
        }
        Ok(kinds.concat())
    }

    /// The refused rule among these; all of the remaining ones if that would take too many runs.
    ///
    /// First assumes that there is only one, so that all others are added again with each
    /// successful run. If that turns out wrong, without this assumption.
    fn one_at_fault(&mut self, suspects: Rules) -> Result<Rules, DataplaneError> {
        let mut rest = suspects.clone();
        while rest.len() > 1 && !self.is_exhausted() {
            let (first, second) = halves(rest);
            rest = if self.installs_without(&[&second])? { second } else { first };
        }
        if suspects.len() == 1 || self.is_exhausted() || self.installs_without(&[&rest])? {
            return Ok(rest);
        }
        let mut rest = suspects;
        while rest.len() > 1 && !self.is_exhausted() {
            let (first, second) = halves(rest);
            if self.installs_without(&[&second])? {
                rest = second;
            } else {
                self.waiting.extend(second);
                rest = first;
            }
        }
        Ok(rest)
    }
}

fn halves<T>(mut items: Vec<T>) -> (Vec<T>, Vec<T>) {
    let second = items.split_off(items.len().div_ceil(2));
    (items, second)
}

/// The rules of each kind, the most frequent kind first.
fn kinds(rules: Rules) -> Vec<Rules> {
    let mut kinds: Vec<Rules> = Vec::new();
    let mut at: HashMap<Shape, usize> = HashMap::new();
    for rule in rules {
        let index = *at.entry(Shape::of(&rule)).or_insert(kinds.len());
        match kinds.get_mut(index) {
            Some(kind) => kind.push(rule),
            None => kinds.push(vec![rule]),
        }
    }
    kinds.sort_by_key(|rules| std::cmp::Reverse(rules.len()));
    kinds
}
