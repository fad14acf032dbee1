//! The state of the switch: what is in force there, and the runs of cl-acltool that change it.

use super::asic::Vendor;
use super::comments::Comments;
use super::counters::{self, Counters};
use super::kernel_check::KernelCheck;
use super::place::{Limits, Placement};
use super::profile;
use super::render::PolicyFile;
use super::resources::ResourceQuery;
use super::settings::Settings;
use super::store;
use super::tool::{self, InstallLock, RunError};
use super::transcript::Transcript;
use crate::{Condition, Counter, DataplaneError, Health, Usage};
use engine::plan::CompiledRule;
use flowspec::{IpVersion, Nlri, Policing};
use std::sync::Arc;

/// Up to this many rules are listed within some milliseconds.
const FAST_LISTING_RULES: usize = 500;

/// The switch. `in_force` is what cl-acltool installed last, as long as it is `verified`; a failed
/// run leaves the policy file as it was, and causes a check of the kernel's rules.
#[derive(Debug)]
pub(super) struct Switch {
    settings: Settings,
    in_force: InForce,
    counters: Counters,
    /// Warnings of the latest run.
    warnings: Vec<String>,
    comments: Comments,
    kernel_check: KernelCheck,
    /// The next installation is a run even if nothing has changed.
    run_forced: bool,
    resources: ResourceQuery,
}

#[derive(Debug, Default)]
struct InForce {
    /// The policy file; `None` for none.
    text: Option<String>,
    placement: Placement,
    /// Lines of rules in the policy file, of IPv4 and of IPv6.
    lines: (u64, u64),
    /// Whether this is really what cl-acltool installed last: not known at the start, or after a
    /// failed run.
    verified: bool,
}

impl Switch {
    /// With these settings. Changes nothing yet.
    pub(super) fn new(settings: Settings) -> Self {
        Switch {
            resources: ResourceQuery::new(&settings),
            settings,
            in_force: InForce::default(),
            counters: Counters::default(),
            warnings: Vec::new(),
            comments: Comments::default(),
            kernel_check: KernelCheck::new(),
            run_forced: false,
        }
    }

    /// The settings, with what was learnt about the switch.
    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rules that are known to be in force.
    pub(super) fn known_rules(&self) -> &[Arc<CompiledRule>] {
        if self.in_force.verified { &self.in_force.placement.placed } else { &[] }
    }

    /// Number of entries that the switch is known to have room for.
    pub(super) fn known_entries(&self) -> u64 {
        if self.in_force.verified { self.in_force.placement.all_entries() } else { 0 }
    }

    /// Writes rules without comments from now on, if they may be the cause of the refusal; false if
    /// they are not.
    pub(super) fn drop_comments_for(&mut self, reason: &str) -> bool {
        self.comments.drop_for(reason, &mut self.settings)
    }

    /// Comments are not the cause of the refusal: they are written again.
    pub(super) fn restore_comments(&mut self) {
        self.comments.restore(&mut self.settings);
    }

    /// The next installation is a run even if the file is unchanged.
    pub(super) const fn force_run(&mut self) {
        self.run_forced = true;
    }

    /// Writes the file with the placed rules, and installs it. After an error the files are
    /// unchanged.
    pub(super) fn install(&mut self, placement: Placement, file: &PolicyFile) -> Result<(), RunError> {
        let text = (!file.is_empty()).then_some(file.text());
        let directory = self.settings.policy_directory.clone();
        let forced = std::mem::take(&mut self.run_forced);
        let unchanged = !forced && self.in_force.verified && self.in_force.text.as_deref() == text;
        if unchanged && store::verify(&directory, text).map_err(RunError::NotRun)?.is_ok() {
            self.in_force.placement = placement;
            return Ok(());
        }
        let lock = InstallLock::wait(&self.settings).map_err(RunError::NotRun)?;
        let before = store::write_policy(&directory, text).map_err(RunError::NotRun)?;
        match self.install_keeping_counters(lock) {
            Ok(warnings) => {
                let lines = (file.lines(IpVersion::V4), file.lines(IpVersion::V6));
                self.counters.reinstalled(&placement.placed);
                for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
                    tracing::warn!(%warning, "cl-acltool warns");
                }
                self.warnings = warnings;
                self.resources.changed();
                if !placement.placed.is_empty() {
                    self.comments.taken(&self.settings);
                }
                self.in_force = InForce { text: text.map(str::to_owned), placement, lines, verified: true };
                self.kernel_check.installed();
                Ok(())
            }
            Err(error) => {
                before.restore();
                self.kernel_check.run_failed();
                if matches!(error, RunError::Timeout(_)) {
                    self.in_force.verified = false;
                }
                Err(error)
            }
        }
    }

    /// A run that resets the kernel's counters. They are read first; if that takes long, they are
    /// read in parallel with the run, which takes some time before it changes the kernel's rules.
    fn install_keeping_counters(&mut self, lock: InstallLock) -> Result<Vec<String>, RunError> {
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

    /// After a failed change: installs the last good file, which has been restored, again if the
    /// roll-back was incomplete.
    pub(super) fn repair(&mut self) {
        if !self.in_force.verified {
            return;
        }
        let missing = match counters::missing(&self.settings, &self.in_force.placement.placed) {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(%error, "cannot read what a failed run has left in force");
                return;
            }
        };
        self.kernel_check.check_started();
        self.kernel_check.passed();
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

    /// Whether what is in force is unchanged.
    pub(super) fn health(&mut self) -> Result<Health, DataplaneError> {
        if !self.in_force.verified {
            return Ok(Health::ExternalChange("a run of cl-acltool failed".to_owned()));
        }
        if let Err(how) = store::verify(&self.settings.policy_directory, self.in_force.text.as_deref())? {
            self.in_force.verified = false;
            return Ok(Health::ExternalChange(how.to_string()));
        }
        if self.resources.poll()
            && let Some(why) =
                self.resources.latest().and_then(|resources| resources.missing_from_hardware(self.in_force.lines))
        {
            tracing::error!("{why}");
        }
        if !self.kernel_check.is_due(&self.settings.policy_directory)? {
            return Ok(Health::Intact);
        }
        self.kernel_check.check_started();
        // The same listing has the counters: reading them now means that fewer counts are at risk
        // when a run resets them.
        let placed = &self.in_force.placement.placed;
        let listings = counters::listings(&self.settings, placed)?;
        match self.counters.add_listings(&listings, &self.settings, placed) {
            0 => {
                self.kernel_check.passed();
                Ok(Health::Intact)
            }
            missing => {
                self.in_force.verified = false;
                Ok(Health::ExternalChange(format!("{missing} rules are no longer in the kernel")))
            }
        }
    }

    /// The counters of the rules in force.
    pub(super) fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        self.counters.read(&self.settings, &self.in_force.placement.placed)?;
        Ok(self.counters.of(&self.in_force.placement.placed))
    }

    /// Entries in use, and their maximum. `ceiling`: number of entries beyond which the switch
    /// refused, with its message.
    pub(super) fn usage(&self, ceiling: Option<(u64, String)>) -> Usage {
        let limits = Limits { ceiling, ..Limits::of(&self.settings) };
        let entries = self.in_force.placement.entries;
        Usage { entries: entries.0 + entries.1, capacity: Some(limits.capacity(entries)), memory: None }
    }

    /// The data plane's condition, apart from the rules.
    pub(super) fn condition(&self) -> Condition {
        let is_limit = |rule: &Arc<CompiledRule>| matches!(rule.effect.policing, Policing::Limit { .. });
        let limits = self.in_force.placement.placed.iter().any(is_limit);
        let mut condition = Condition { warnings: profile::warnings(&self.settings, limits), ..Condition::default() };
        for warning in &self.warnings {
            condition.warnings.push(format!("cl-acltool warns: {warning}"));
            if Transcript::reports_no_hardware(warning) {
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
        if let Some(resources) = self.resources.latest() {
            let why = resources.missing_from_hardware(self.in_force.lines);
            match self.settings.asic.vendor() {
                Vendor::Broadcom => condition.not_enforced = condition.not_enforced.or(why),
                // No document explains these figures for that ASIC.
                Vendor::Nvidia => condition.warnings.extend(why),
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
        if let Some(words) = self.comments.refused() {
            condition.warnings.push(format!("the switch takes rules only without their ids as comments ({words})"));
        }
        condition
    }
}
