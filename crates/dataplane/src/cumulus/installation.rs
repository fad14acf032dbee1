//! Installs a rule set as far as the switch accepts it: fewer rules when its table is full, without
//! the rules that it refuses.
//!
//! If cl-acltool identifies the refused rule (by its text, its line, or its position in a chain),
//! that rule is left out and the others are tried again. If it does not, the caller searches for
//! it.

use super::asic;
use super::chains::{self, Chain, RuleLocation};
use super::line;
use super::place::{Limits, Placement, place};
use super::refusals::{Refusals, SuspectedRule, describe_foreign_rule};
use super::render::{Owner, PolicyFile};
use super::shape::Shape;
use super::store;
use super::switch::Switch;
use super::tool::RunError;
use super::transcript::{ErrorKind, RuleReference, ToolError};
use crate::kernel::DesiredState;
use crate::{Applied, DataplaneError};
use engine::plan::CompiledRule;
use flowspec::Nlri;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most runs of cl-acltool for one change that finds the hardware's table full.
const TRIES_WHEN_FULL: u32 = 5;

/// Most rules that one change leaves out because cl-acltool identifies them.
const NAMED_RULES: usize = 16;

/// The outcome of an installation that did not fail as a whole.
pub(super) enum InstallOutcome {
    /// The rules that fit and are not refused are in force.
    Installed(Applied),
    /// The hardware refuses a rule without identifying it; its message.
    UnnamedRefusal(String),
}

/// Why one run failed.
enum AttemptError {
    /// The table has no room; the message.
    TableFull(String),
    /// A rule is refused and identified.
    RuleRefused { owner: Owner, words: String, reason: String, suspect: Option<SuspectedRule> },
    /// A rule is refused and not identified; the message.
    UnnamedRefusal(String),
    /// Nothing of the change can be installed.
    Failed(DataplaneError),
}

/// An installation of the desired state, with its statistics. Rules that the switch refuses are
/// added to the refusals; all others are in force once it succeeds.
pub(super) struct Installation<'a> {
    switch: &'a mut Switch,
    refusals: &'a mut Refusals,
    wanted: &'a DesiredState,
    /// Runs that found the table full.
    full: u32,
    /// Rules that cl-acltool identified.
    named: usize,
    /// Shapes that were refused, by the reason given.
    shapes: HashMap<(String, Shape), u32>,
    suspect: Option<SuspectedRule>,
}

impl<'a> Installation<'a> {
    /// To this state; nothing is tried yet.
    pub(super) fn new(switch: &'a mut Switch, refusals: &'a mut Refusals, wanted: &'a DesiredState) -> Self {
        Installation { switch, refusals, wanted, full: 0, named: 0, shapes: HashMap::new(), suspect: None }
    }

    /// Installs fewer and fewer rules until the switch accepts them. `held` are rules that are left
    /// out for now.
    pub(super) fn install_what_fits(&mut self, held: &BTreeSet<Arc<Nlri>>) -> Result<InstallOutcome, DataplaneError> {
        // The entries that the switch had room for so far.
        let known = self.switch.known_entries();
        loop {
            let placement = self.place(held);
            let entries = placement.all_entries();
            match self.attempt(placement) {
                Ok(applied) => {
                    if self.suspect.take().is_some_and(|suspect| suspect.ambiguous) {
                        self.refusals.set_counts_from_zero(false);
                    }
                    return Ok(InstallOutcome::Installed(applied));
                }
                Err(AttemptError::TableFull(words)) => {
                    self.full += 1;
                    if self.full >= TRIES_WHEN_FULL || entries <= 1 {
                        return Err(DataplaneError::Refused(words));
                    }
                    let last = self.full + 1 == TRIES_WHEN_FULL || known >= entries;
                    let less = if last { known } else { known.midpoint(entries) };
                    let ceiling = less.min(entries - 1);
                    tracing::warn!(entries, ceiling, %words, "the switch's table is full");
                    self.refusals.set_ceiling(ceiling, words);
                }
                Err(AttemptError::RuleRefused { owner, words, reason, suspect }) => {
                    self.named += 1;
                    if self.named > NAMED_RULES {
                        self.refuse_new_rules(words)?;
                        continue;
                    }
                    if self.switch.drop_comments_for(&reason) {
                        self.suspect = None;
                        continue;
                    }
                    let counts_from_zero = self.refusals.counts_from_zero() == Some(true);
                    if let Some(wrong) = self.suspect.take().filter(|suspect| suspect.ambiguous && counts_from_zero) {
                        self.refusals.forget_rule(&wrong.nlri);
                    }
                    self.suspect = suspect;
                    self.refuse(&owner, &words, reason);
                }
                Err(AttemptError::UnnamedRefusal(words)) => return Ok(InstallOutcome::UnnamedRefusal(words)),
                Err(AttemptError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Leaves out what the switch refuses: that rule, and from the second rule of its shape on all
    /// new ones of that shape.
    fn refuse(&mut self, owner: &Owner, words: &str, reason: String) {
        let nlri = match owner {
            Owner::Protected(space) => return self.refusals.refuse_protected(space, words),
            Owner::NeighborDiscovery => return self.refusals.refuse_protected(&line::neighbor_discovery(), words),
            Owner::Rule(nlri) => nlri,
        };
        let Some(rule) = self.wanted.rules.get(nlri) else { return };
        self.refusals.refuse_rule(rule, words);
        let shape = Shape::of(rule);
        let seen = self.shapes.entry((reason, shape)).or_default();
        *seen += 1;
        if *seen > 1 {
            let words = format!("rules of this kind are refused: {words}");
            for other in self.new_rules().iter().filter(|other| Shape::of(other) == shape) {
                if !self.refusals.is_refused(&other.nlri) {
                    self.refusals.refuse_rule(other, &words);
                }
            }
        }
    }

    /// Leaves out all rules that the switch has not accepted yet: too many of them were refused one
    /// by one, and the others must not wait.
    fn refuse_new_rules(&mut self, words: String) -> Result<(), DataplaneError> {
        let rules = self.new_rules();
        if rules.is_empty() {
            return Err(DataplaneError::Refused(words));
        }
        let words = format!("not tried, since many rules of the same change were refused: {words}");
        rules.iter().for_each(|rule| self.refusals.refuse_rule(rule, &words));
        Ok(())
    }

    /// Rules that the switch has not accepted yet in this form.
    pub(super) fn new_rules(&self) -> Vec<Arc<CompiledRule>> {
        let known = self.switch.known_rules().iter().map(|rule| (rule.nlri.as_ref(), rule));
        let known: BTreeMap<&Nlri, &Arc<CompiledRule>> = known.collect();
        let is_new = |rule: &&Arc<CompiledRule>| {
            !rule.entries.is_empty()
                && !self.refusals.is_refused(&rule.nlri)
                && known.get(rule.nlri.as_ref()).is_none_or(|in_force| in_force != rule)
        };
        self.wanted.rules.values().filter(is_new).cloned().collect()
    }

    /// The switch, for attempts besides a change of its rules.
    pub(super) const fn switch(&mut self) -> &mut Switch {
        self.switch
    }

    /// The switch's refusals.
    pub(super) const fn refusals(&mut self) -> &mut Refusals {
        self.refusals
    }

    fn place(&self, held: &BTreeSet<Arc<Nlri>>) -> Placement {
        let settings = self.switch.settings();
        let mut refused = self.refusals.rules();
        for nlri in held {
            refused.insert(Arc::clone(nlri), "left out while it is found out which rule the switch refuses".to_owned());
        }
        let limits = Limits {
            refused,
            ceiling: self.refusals.ceiling(),
            unprotectable: self.refusals.protected(),
            ranges: settings.asic.range_checkers().map(|checkers| {
                let counted = chains::foreign_ranges(&settings.policy_directory);
                (checkers, counted.max(asic::DEFAULT_RANGES))
            }),
            ..Limits::of(settings)
        };
        place(&self.wanted.protected, self.wanted.rules.values(), &limits, settings)
    }

    /// Writes the file and installs it. After an error the files are unchanged.
    fn attempt(&mut self, mut placement: Placement) -> Result<Applied, AttemptError> {
        let settings = self.switch.settings();
        let (protected, discovery) = (&placement.protected, placement.neighbor_discovery);
        let file = PolicyFile::new(protected, discovery, placement.placed.iter(), settings);
        if let Some((nlri, error)) = file.inexpressible().first() {
            let (owner, words) = (Owner::Rule(Arc::clone(nlri)), error.to_string());
            return Err(AttemptError::RuleRefused { owner, reason: words.clone(), words, suspect: None });
        }
        let failures = std::mem::take(&mut placement.failures);
        match self.switch.install(placement, &file) {
            Ok(()) => Ok(Applied { failures }),
            Err(RunError::NotRun(error)) => Err(AttemptError::Failed(error)),
            Err(RunError::Timeout(after)) => {
                let words = format!("cl-acltool did not end within {after:?} and was ended");
                Err(AttemptError::Failed(DataplaneError::Refused(words)))
            }
            Err(RunError::Failed(error)) => Err(self.attribute_failure(error, &file)),
        }
    }

    /// Finds the rule that a failure is about.
    fn attribute_failure(&mut self, error: ToolError, file: &PolicyFile) -> AttemptError {
        let ToolError { kind, message } = error;
        let whole = |words| AttemptError::Failed(DataplaneError::Refused(words));
        match kind {
            ErrorKind::Full => AttemptError::TableFull(message),
            ErrorKind::Hardware => AttemptError::UnnamedRefusal(message),
            ErrorKind::Busy | ErrorKind::Unknown => whole(message),
            ErrorKind::Rule(RuleReference::Line { file: path, line, rule }) => {
                let ours = path.is_none_or(|path| path.ends_with(store::FILE));
                match file.owner(rule.as_deref(), line).filter(|_| ours) {
                    Some(owner) => {
                        let reason = reason_of(&message).to_owned();
                        AttemptError::RuleRefused { owner: owner.clone(), words: message, reason, suspect: None }
                    }
                    None => whole(message),
                }
            }
            ErrorKind::Rule(RuleReference::Chain { version: None, .. }) => whole(message),
            ErrorKind::Rule(RuleReference::Chain { version: Some(version), chain, number, reason }) => {
                let settings = self.switch.settings();
                let (table, _) = settings.release.table_and_chain();
                let all = Chain::read(&settings.policy_directory, file.text(), version, (table, &chain));
                let suspect = self.suspect.as_ref();
                if suspect
                    .is_some_and(|suspect| suspect.ambiguous && suspect.version == version && suspect.first == number)
                {
                    // The rule after the one that was left out has moved to its position: it was
                    // the refused one.
                    self.refusals.set_counts_from_zero(true);
                }
                if number == 0 {
                    self.refusals.set_counts_from_zero(true);
                }
                let from_zero = self.refusals.counts_from_zero();
                let index = if from_zero == Some(true) { Some(number) } else { number.checked_sub(1) };
                match index.and_then(|index| all.rule_at(index)) {
                    None => AttemptError::UnnamedRefusal(message),
                    Some(RuleLocation::Other(path, line, rule)) => {
                        whole(describe_foreign_rule(path, *line, rule, &message))
                    }
                    Some(&RuleLocation::Ours(line)) => {
                        let Some(owner) = file.owner(None, Some(line)).cloned() else {
                            return AttemptError::UnnamedRefusal(message);
                        };
                        let other = all.rule_at(number) != Some(&RuleLocation::Ours(line));
                        let suspect = match (&owner, all.first_index_of(line)) {
                            (Owner::Rule(nlri), Some(first)) => Some(SuspectedRule {
                                version,
                                first: first_line(&all, file, nlri, line).unwrap_or(first),
                                nlri: Arc::clone(nlri),
                                ambiguous: from_zero.is_none() && other && !self.same_owner(&all, file, number, nlri),
                            }),
                            _ => None,
                        };
                        let words = format!("line {line} of {}: {message}", store::FILE);
                        AttemptError::RuleRefused { owner, words, reason, suspect }
                    }
                }
            }
        }
    }

    fn same_owner(&self, all: &Chain, file: &PolicyFile, index: usize, nlri: &Nlri) -> bool {
        let Some(&RuleLocation::Ours(line)) = all.rule_at(index) else { return false };
        matches!(file.owner(None, Some(line)), Some(Owner::Rule(other)) if other.as_ref() == nlri)
    }
}

/// Where the lines of a rule begin in the chain; `line` is one of them.
fn first_line(all: &Chain, file: &PolicyFile, nlri: &Nlri, line: usize) -> Option<usize> {
    let is_its = |line: &usize| matches!(file.owner(None, Some(*line)), Some(Owner::Rule(of)) if of.as_ref() == nlri);
    let first = (1..=line).rev().take_while(is_its).last()?;
    all.first_index_of(first)
}

/// The reason in an error message, without the rule.
fn reason_of(message: &str) -> &str {
    let behind =
        message.split_once("error: line ").and_then(|(_, rest)| rest.split_once(':')).map_or(message, |(_, rest)| rest);
    behind.split("error processing rule").next().unwrap_or(behind).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_from_rules() {
        let message =
            "10x.rules: error: line 7 : match length not supported error processing rule '-A FORWARD -j DROP'";
        assert_eq!(reason_of(message), "match length not supported");
        assert_eq!(reason_of("error: something"), "error: something");
    }
}
