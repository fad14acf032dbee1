//! The back end: the desired rules, those in force, and how it changes from one to the other.

use super::asic::Maker;
use super::counters::{self, Counters};
use super::place::{Limits, Placement};
use super::refusals::Refusals;
use super::resources::ResourceQuery;
use super::settings::Settings;
use super::tool::{self, InstallLock, RunError};
use super::transcript::Transcript;
use super::{capabilities, profile, store};
use crate::kernel::DesiredState;
use crate::{
    Applied, BackendSettings, Condition, Counter, Dataplane, DataplaneError, EnforcementPoint, Health, RuleFailure,
    Usage,
};
use engine::capability::Capabilities;
use engine::compile::split_into_entries;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::{Nlri, Policing, Space};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the kernel's rules are looked at; our file is looked at each time.
const KERNEL_INTERVAL: Duration = Duration::from_secs(15);

/// Up to so many rules are listed within some milliseconds.
const FAST_LISTING_RULES: usize = 500;

/// How long the kernel's rules are looked at each time after somebody else's policy file has changed.
const WATCH_AFTER_FOREIGN_CHANGE: Duration = Duration::from_secs(30);

impl BackendSettings for Settings {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        let (v4, v6) = self.budget();
        let (release, asic) = (self.release, self.asic.name());
        tracing::info!(%release, asic, v4, v6, directory = %self.policy_directory.display(), "hardware ACLs");
        Ok(Box::new(Cumulus::new(self.clone())))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::Path(self.policy_directory.clone())
    }

    /// A run takes seconds, and one is to do for a whole message. Where it may stop traffic, longer.
    fn usual_debounce(&self) -> Duration {
        match (self.non_atomic, self.stops_traffic_always()) {
            (false, _) => Duration::from_millis(20),
            (true, false) => Duration::from_secs(1),
            (true, true) => Duration::from_secs(5),
        }
    }
}

/// The back end.
#[derive(Debug)]
pub struct Cumulus {
    pub(super) settings: Settings,
    wanted: DesiredState,
    /// Of these, the rules that the last change could not put in force, as was told. They may be withdrawn without a word, so the next change is
    /// without them unless it asks for them again.
    failed: Vec<Arc<Nlri>>,
    pub(super) in_force: InForce,
    pub(super) counters: Counters,
    pub(super) refusals: Refusals,
    /// What the latest run warned of.
    pub(super) warnings: Vec<String>,
    /// The switch has taken rules with comments.
    pub(super) comments_proven: bool,
    /// What it said when rules went in only without comments.
    comments_refused: Option<String>,
    pub(super) kernel_checked_at: Instant,
    /// A run has failed since the kernel's rules were looked at: whether all was rolled back is not known.
    pub(super) rollback_unverified: bool,
    /// The next try is a run even if nothing has changed.
    pub(super) force_run: bool,
    pub(super) resources: ResourceQuery,
    /// What the policy files of others were last, and until when a change of theirs is minded.
    others: (Option<store::Stamp>, Instant),
}

#[derive(Debug, Default)]
pub(super) struct InForce {
    /// The policy file; `None` for none.
    pub(super) text: Option<String>,
    pub(super) placement: Placement,
    /// Lines of rules in the policy file, of IPv4 and of IPv6.
    pub(super) lines: (u64, u64),
    /// Whether that is really what cl-acltool installed last: not known at the start, or after a run that went wrong.
    pub(super) verified: bool,
}

impl Cumulus {
    /// With these settings. Touches nothing yet.
    pub fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Cumulus {
            resources: ResourceQuery::new(&settings),
            settings,
            wanted: DesiredState::default(),
            failed: Vec::new(),
            in_force: InForce::default(),
            counters: Counters::default(),
            refusals: Refusals::new(),
            warnings: Vec::new(),
            comments_proven: false,
            comments_refused: None,
            kernel_checked_at: now,
            rollback_unverified: false,
            force_run: false,
            others: (None, now),
        }
    }

    fn apply(&mut self, wanted: DesiredState) -> Result<Applied, DataplaneError> {
        self.refusals.expire(&wanted.rules);
        let outcome = self.fit(&wanted);
        self.refusals.after_change();
        if let Ok(applied) = &outcome {
            self.wanted = wanted;
            self.failed = applied.failures.iter().map(|(nlri, _)| Arc::clone(nlri)).collect();
        }
        outcome
    }

    /// Writes rules without comments from now on, if that may be what the switch refuses; false if it is not.
    pub(super) fn drop_comments_for(&mut self, reason: &str) -> bool {
        let may_be = self.settings.has_comments() && !self.comments_proven && reason.to_lowercase().contains("comment");
        if may_be {
            self.settings.comments = Some(false);
            self.comments_refused = Some(reason.to_owned());
        }
        may_be
    }

    /// Comments are not what the switch refuses: they are written again.
    pub(super) fn restore_comments(&mut self) {
        self.settings.comments = Some(true);
        self.comments_refused = None;
    }

    /// After a change that failed: has the last good file, which is back in its place, installed again if the roll-back left less.
    pub(super) fn repair(&mut self) {
        if !self.in_force.verified {
            return;
        }
        let missing = match counters::missing(&self.settings, &self.in_force.placement.placed) {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(%error, "cannot see what a failed run has left in force");
                return;
            }
        };
        self.rollback_unverified = false;
        self.kernel_checked_at = Instant::now();
        if missing == 0 {
            return;
        }
        tracing::warn!(
            missing,
            "a run of cl-acltool failed and did not roll back: what was in force is installed again"
        );
        let lock = InstallLock::wait(&self.settings).map_err(RunError::NotRun);
        match lock.and_then(|lock| tool::install(&self.settings, lock)) {
            Ok(warnings) => self.warnings = warnings,
            Err(error) => {
                self.in_force.verified = false;
                tracing::error!(?error, "what was in force before could not be installed again");
            }
        }
    }

    /// A run that sets the kernel's counters to zero. What was counted before is read first; where that takes long it is read beside the run,
    /// which needs some time of its own before it changes the kernel's rules.
    pub(super) fn install_keeping_counters(&mut self, lock: InstallLock) -> Result<Vec<String>, RunError> {
        let (settings, placed) = (&self.settings, &self.in_force.placement.placed);
        let lost = |error: DataplaneError| tracing::debug!(%error, "counters before a reinstall are lost");
        if !self.in_force.verified || placed.len() <= FAST_LISTING_RULES {
            if self.in_force.verified {
                let _ = self.counters.read(settings, placed).map_err(lost);
            }
            return tool::install(settings, lock);
        }
        let (outcome, listings) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| counters::listings(settings, placed));
            let outcome = tool::install(settings, lock);
            (outcome, reader.join())
        });
        match listings.unwrap_or_else(|_| Err(DataplaneError::Refused("the reading of counters has a bug".to_owned())))
        {
            Ok(listings) if outcome.is_ok() => self.counters.add_listings_before_reset(&listings, settings, placed),
            Ok(listings) => drop(self.counters.add_listings(&listings, settings, placed)),
            Err(error) => lost(error),
        }
        outcome
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
            let cut = split_into_entries(space.clone(), &capabilities).map_err(|kind| {
                DataplaneError::Refused(format!("protected packets cannot be matched by the switch ({})", kind.name()))
            })?;
            parts.extend(cut);
        }
        Ok(Arc::new(parts))
    }

    /// Whether the kernel's rules are to be looked at now.
    fn is_kernel_check_due(&mut self) -> Result<bool, DataplaneError> {
        let stamp = store::stamp_foreign_files(&self.settings.policy_directory)?;
        let now = Instant::now();
        if self.others.0.as_ref().is_some_and(|known| *known != stamp) {
            // Whoever changed it has it installed now, maybe with a file of ours that it read a while ago.
            self.others.1 = now + WATCH_AFTER_FOREIGN_CHANGE;
        }
        self.others.0 = Some(stamp);
        Ok(self.rollback_unverified || self.others.1 > now || self.kernel_checked_at.elapsed() >= KERNEL_INTERVAL)
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
        self.apply(DesiredState { rules, protected })
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let mut wanted = self.wanted.clone();
        for nlri in &self.failed {
            wanted.rules.remove(nlri);
        }
        wanted.change(plan);
        if let Some(protected) = &plan.protected {
            wanted.protected = self.protectable(protected)?;
        }
        self.apply(wanted)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        if !self.in_force.verified {
            return Ok(Health::ExternalChange("a run of cl-acltool went wrong".to_owned()));
        }
        if let Err(how) = store::verify(&self.settings.policy_directory, self.in_force.text.as_deref())? {
            self.in_force.verified = false;
            return Ok(Health::ExternalChange(how.to_string()));
        }
        if self.resources.poll()
            && let Some(why) =
                self.resources.latest.and_then(|resources| resources.missing_from_hardware(self.in_force.lines))
        {
            tracing::error!("{why}");
        }
        if !self.is_kernel_check_due()? {
            return Ok(Health::Intact);
        }
        self.kernel_checked_at = Instant::now();
        // The same listing tells the counters: then fewer of them are at stake when a run sets them to zero.
        let placed = &self.in_force.placement.placed;
        let listings = counters::listings(&self.settings, placed)?;
        match self.counters.add_listings(&listings, &self.settings, placed) {
            0 => {
                self.rollback_unverified = false;
                Ok(Health::Intact)
            }
            missing => {
                self.in_force.verified = false;
                Ok(Health::ExternalChange(format!("{missing} rules are no longer in the kernel")))
            }
        }
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        self.counters.read(&self.settings, &self.in_force.placement.placed)?;
        Ok(self.counters.of(&self.in_force.placement.placed))
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        let limits = Limits { ceiling: self.refusals.ceiling(), ..Limits::of(&self.settings) };
        let entries = self.in_force.placement.entries;
        Ok(Usage { entries: entries.0 + entries.1, capacity: Some(limits.capacity(entries)), memory: None })
    }

    fn condition(&mut self) -> Condition {
        let is_limit = |rule: &Arc<CompiledRule>| matches!(rule.effect.policing, Policing::Limit { .. });
        let limits = self.in_force.placement.placed.iter().any(is_limit);
        let mut condition = Condition { warnings: profile::warnings(&self.settings, limits), ..Condition::default() };
        for warning in &self.warnings {
            condition.warnings.push(format!("cl-acltool warns: {warning}"));
            if Transcript::is_without_hardware(warning) {
                condition.not_enforced =
                    Some(format!("the rules are in the kernel, not in the hardware: cl-acltool warns: {warning}"));
            }
        }
        let (entries, budget) = (self.in_force.placement.entries, self.settings.budget());
        condition.statistics.extend([
            ("table_entries_ipv4", entries.0),
            ("table_entries_ipv4_max", budget.0),
            ("table_entries_ipv6", entries.1),
            ("table_entries_ipv6_max", budget.1),
        ]);
        if let Some(resources) = self.resources.latest {
            let why = resources.missing_from_hardware(self.in_force.lines);
            match self.settings.asic.maker() {
                Maker::Broadcom => condition.not_enforced = condition.not_enforced.or(why),
                // No document shows what these figures mean there.
                Maker::Nvidia => condition.warnings.extend(why),
            }
            for (name, most, used) in [
                ("asic_entries_ipv4", "asic_entries_ipv4_max", resources.v4),
                ("asic_entries_ipv6", "asic_entries_ipv6_max", resources.v6),
                ("asic_range_checkers", "asic_range_checkers_max", resources.ranges),
            ] {
                condition.statistics.extend(used.map(|used| (name, used.count)));
                condition.statistics.extend(used.and_then(|used| used.most).map(|limit| (most, limit)));
            }
        }
        if let Some(words) = &self.comments_refused {
            condition.warnings.push(format!("the switch takes rules only without their ids as comments ({words})"));
        }
        condition
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        let applied = self.apply(DesiredState::default())?;
        debug_assert!(applied.failures.iter().all(|(_, failure)| !matches!(failure, RuleFailure::Failed(_))));
        Ok(())
    }
}
