//! The back end: what is wanted, what the switch took, and the way from one to the other.

use super::complaint::Complaint;
use super::counters::{self, Counters};
use super::place::{Limits, Placement, place};
use super::render::Page;
use super::settings::Settings;
use super::tool::{self, RunError, Turn};
use super::{capabilities, store};
use crate::{Applied, Counter, Dataplane, DataplaneError, Health, RuleFailure, Usage};
use engine::capability::Capabilities;
use engine::compile::cut;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::{Nlri, Space};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is remembered at first that the switch refused a rule or was full, and at most.
const MEMORY: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3600)];

/// Most runs of cl-acltool for one change that finds the hardware's table full.
const TRIES_WHEN_FULL: u32 = 5;

/// Most rules that one change gives up because cl-acltool refuses them.
const REFUSED_RULES: usize = 16;

/// How often the kernel's rules are looked at; our file is looked at each time.
const KERNEL_INTERVAL: Duration = Duration::from_secs(15);

/// The back end.
#[derive(Debug)]
pub struct Cumulus {
    settings: Settings,
    wanted: Wanted,
    in_force: InForce,
    counters: Counters,
    /// Rules that the switch refused, until when, and its words.
    refused: BTreeMap<Arc<Nlri>, (Arc<CompiledRule>, Instant, String)>,
    /// Entries of which the switch took no more, until when, and its words.
    ceiling: Option<(u64, Instant, String)>,
    memory: Memory,
    kernel_looked_at: Instant,
}

/// How long the switch's refusals are remembered: each try that it refuses anew costs runs of cl-acltool, so the next one waits longer.
#[derive(Debug)]
struct Memory {
    length: Duration,
    used: bool,
}

impl Memory {
    /// Until when what the switch says now is remembered.
    fn end(&mut self) -> Instant {
        self.used = true;
        Instant::now() + self.length
    }

    /// After a change. `nothing`: nothing is left to remember.
    fn settle(&mut self, nothing: bool) {
        if std::mem::take(&mut self.used) {
            self.length = (self.length * 2).min(MEMORY[1]);
        } else if nothing {
            self.length = MEMORY[0];
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Wanted {
    rules: BTreeMap<Arc<Nlri>, Arc<CompiledRule>>,
    protected: Arc<Vec<Space>>,
}

#[derive(Debug, Default)]
struct InForce {
    /// The policy file; `None` for none.
    text: Option<String>,
    placement: Placement,
    /// Whether that is really what cl-acltool installed last: not known at the start, or after a run that went wrong.
    sure: bool,
}

/// Why one try failed.
enum TryError {
    Full { words: String, torn: bool },
    Rule { nlri: Arc<Nlri>, words: String },
    Whole { error: DataplaneError, torn: bool },
}

impl Cumulus {
    /// With these settings. Touches nothing yet.
    pub fn new(settings: Settings) -> Self {
        Cumulus {
            settings,
            wanted: Wanted::default(),
            in_force: InForce::default(),
            counters: Counters::default(),
            refused: BTreeMap::new(),
            ceiling: None,
            memory: Memory { length: MEMORY[0], used: false },
            kernel_looked_at: Instant::now(),
        }
    }

    fn apply(&mut self, wanted: Wanted) -> Result<Applied, DataplaneError> {
        let now = Instant::now();
        self.ceiling.take_if(|(_, until, _)| *until <= now);
        let current = |nlri: &Arc<Nlri>, rule: &Arc<CompiledRule>| wanted.rules.get(nlri).is_some_and(|w| w == rule);
        self.refused.retain(|nlri, (rule, until, _)| *until > now && current(nlri, rule));
        let outcome = self.fit(&wanted);
        self.memory.settle(self.ceiling.is_none() && self.refused.is_empty());
        if outcome.is_ok() {
            self.wanted = wanted;
        }
        outcome
    }

    /// Tries with less until the switch takes it.
    fn fit(&mut self, wanted: &Wanted) -> Result<Applied, DataplaneError> {
        let mut tries = 0;
        // What the switch had room for so far.
        let known = if self.in_force.sure { self.in_force.placement.all_entries() } else { 0 };
        loop {
            let placement = self.place(wanted)?;
            let entries = placement.all_entries();
            match self.attempt(placement) {
                Ok(applied) => return Ok(applied),
                Err(TryError::Full { words, torn }) => {
                    self.mend(torn);
                    tries += 1;
                    if tries >= TRIES_WHEN_FULL || entries <= 1 {
                        return Err(DataplaneError::Refused(words));
                    }
                    let less =
                        if tries + 1 == TRIES_WHEN_FULL || known >= entries { known } else { known.midpoint(entries) };
                    let ceiling = less.min(entries - 1);
                    tracing::warn!(entries, ceiling, %words, "the switch's table is full");
                    self.ceiling = Some((ceiling, self.memory.end(), words));
                }
                Err(TryError::Rule { nlri, words }) if self.refused.len() < REFUSED_RULES => {
                    tracing::warn!(id = %nlri.id(), %words, "the switch refuses a rule");
                    if let Some(rule) = wanted.rules.get(&nlri) {
                        self.refused.insert(nlri, (Arc::clone(rule), self.memory.end(), words));
                    }
                }
                Err(TryError::Rule { words, .. }) => return Err(DataplaneError::Refused(words)),
                Err(TryError::Whole { error, torn }) => {
                    self.mend(torn);
                    return Err(error);
                }
            }
        }
    }

    fn place(&self, wanted: &Wanted) -> Result<Placement, DataplaneError> {
        let refused = self.refused.iter().map(|(nlri, (_, _, words))| (Arc::clone(nlri), words.clone()));
        let limits = Limits {
            budget: self.settings.budget(),
            ceiling: self.ceiling.as_ref().map(|(ceiling, _, words)| (*ceiling, words.clone())),
            refused: refused.collect(),
        };
        place(&wanted.protected, wanted.rules.values(), &limits, &self.settings).map_err(DataplaneError::Refused)
    }

    /// Writes the file and has it installed. After an error the files are as they were.
    fn attempt(&mut self, mut placement: Placement) -> Result<Applied, TryError> {
        let page = Page::new(&placement.protected, placement.placed.iter(), &self.settings);
        if let Some((nlri, error)) = page.unwritable.first() {
            return Err(TryError::Rule { nlri: Arc::clone(nlri), words: error.to_string() });
        }
        let text = (!page.is_empty()).then_some(page.text.as_str());
        let directory = self.settings.policy_directory.clone();
        let whole = |error| TryError::Whole { error, torn: false };
        let failures = std::mem::take(&mut placement.failures);
        let unchanged = self.in_force.sure && self.in_force.text.as_deref() == text;
        if unchanged && store::check(&directory, text).map_err(whole)?.is_ok() {
            self.in_force.placement = placement;
            return Ok(Applied { failures });
        }
        let turn = Turn::wait(&self.settings).map_err(whole)?;
        self.keep_counters();
        let before = store::put(&directory, text).map_err(whole)?;
        if let Err(error) = tool::install(&self.settings, turn) {
            before.restore();
            return Err(match error {
                RunError::NotRun(error) => TryError::Whole { error, torn: false },
                RunError::Timeout(after) => {
                    self.in_force.sure = false;
                    let words = format!("cl-acltool did not end within {after:?} and was ended");
                    TryError::Whole { error: DataplaneError::Refused(words), torn: false }
                }
                RunError::Complaint(Complaint::Full { words, torn }) => TryError::Full { words, torn },
                RunError::Complaint(Complaint::Other { words, torn }) => {
                    TryError::Whole { error: DataplaneError::Refused(words), torn }
                }
                RunError::Complaint(Complaint::Rule { rule, line, words }) => match page.owner(rule.as_deref(), line) {
                    Some(nlri) => TryError::Rule { nlri: Arc::clone(nlri), words },
                    None => TryError::Whole { error: DataplaneError::Refused(words), torn: false },
                },
            });
        }
        self.counters.reinstalled(&placement.placed);
        self.in_force = InForce { text: text.map(str::to_owned), placement, sure: true };
        self.kernel_looked_at = Instant::now();
        Ok(Applied { failures })
    }

    /// After a roll-back that failed: has the last good files, which are back in their place, installed again.
    fn mend(&mut self, torn: bool) {
        if !torn {
            return;
        }
        let was_sure = std::mem::replace(&mut self.in_force.sure, false);
        let turn = Turn::wait(&self.settings).map_err(RunError::NotRun);
        match turn.and_then(|turn| tool::install(&self.settings, turn)) {
            Ok(()) => self.in_force.sure = was_sure,
            Err(error) => tracing::error!(?error, "what was in force before could not be installed again"),
        }
    }

    /// Adds up what was counted before a run sets the kernel's counters to zero.
    fn keep_counters(&mut self) {
        if self.in_force.sure
            && let Err(error) = self.counters.read(&self.settings, &self.in_force.placement.placed)
        {
            tracing::debug!(%error, "counters before a reinstall are lost");
        }
    }

    /// What is protected, in parts that can be written.
    fn protectable(&self, spaces: &[Space]) -> Result<Arc<Vec<Space>>, DataplaneError> {
        let capabilities = capabilities(&self.settings);
        let mut parts = Vec::new();
        for space in spaces {
            if space.version() == flowspec::IpVersion::V6 && !capabilities.ipv6 {
                // No IPv6 rule will be there from which it would need protection.
                continue;
            }
            let cut = cut(space.clone(), &capabilities).map_err(|kind| {
                DataplaneError::Refused(format!("protected packets cannot be matched by the switch ({})", kind.name()))
            })?;
            parts.extend(cut);
        }
        Ok(Arc::new(parts))
    }
}

impl Dataplane for Cumulus {
    fn name(&self) -> &'static str {
        "cumulus"
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.settings)
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        let protected = self.protectable(&rules.protected)?;
        let rules = rules.rules.iter().map(|rule| (Arc::clone(&rule.nlri), Arc::clone(rule))).collect();
        self.apply(Wanted { rules, protected })
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let mut wanted = self.wanted.clone();
        for nlri in &plan.remove {
            wanted.rules.remove(nlri);
        }
        for rule in &plan.upsert {
            wanted.rules.insert(Arc::clone(&rule.nlri), Arc::clone(rule));
        }
        if let Some(protected) = &plan.protected {
            wanted.protected = self.protectable(protected)?;
        }
        self.apply(wanted)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        if !self.in_force.sure {
            return Ok(Health::Damaged("a run of cl-acltool went wrong".to_owned()));
        }
        if let Err(how) = store::check(&self.settings.policy_directory, self.in_force.text.as_deref())? {
            self.in_force.sure = false;
            return Ok(Health::Damaged(how));
        }
        if self.kernel_looked_at.elapsed() < KERNEL_INTERVAL {
            return Ok(Health::Intact);
        }
        self.kernel_looked_at = Instant::now();
        match counters::missing(&self.settings, &self.in_force.placement.placed)? {
            0 => Ok(Health::Intact),
            missing => {
                self.in_force.sure = false;
                Ok(Health::Damaged(format!("{missing} rules are no longer in the kernel")))
            }
        }
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        self.counters.read(&self.settings, &self.in_force.placement.placed)?;
        Ok(self.counters.of(&self.in_force.placement.placed))
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let (v4, v6) = self.settings.budget();
        Ok(Usage { entries: self.in_force.placement.all_entries(), capacity: Some(v4 + v6), memory: None })
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        let applied = self.apply(Wanted::default())?;
        debug_assert!(applied.failures.iter().all(|(_, failure)| !matches!(failure, RuleFailure::Failed(_))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_switch_refuses_again_is_tried_ever_more_rarely() {
        let mut memory = Memory { length: MEMORY[0], used: false };
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(memory.end().duration_since(Instant::now()).as_secs_f64().round() as u64);
            memory.end();
            memory.settle(false);
            // A change in between that the switch takes as it is remembered.
            memory.settle(false);
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        memory.settle(true);
        assert_eq!(memory.length, MEMORY[0]);
    }
}
