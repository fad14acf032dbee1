//! `[dataplane.flower]`: who filters, and how much fits.

use crate::cumulus::named;
use crate::values::Pattern;
use api::HumanDuration;
use dataplane::flower::{Driver, Settings};

/// `[dataplane.flower]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Flower {
    /// Who filters. `None`: the file does not say, and `floodgate run` does not start.
    #[serde(deserialize_with = "named")]
    pub driver: Option<Driver>,
    /// The number of the block of filters that all interfaces share.
    pub block: u32,
    /// A rule that would miss some of its packets is refused.
    pub strict: bool,
    /// Filters that all rules together may take. `None`: as many as there is room for.
    pub max_filters: Option<u64>,
    /// Most filters that one rule may take.
    pub max_entries_per_rule: u64,
    /// How much a policer lets through at once, as the time that its rate takes for it.
    pub burst: HumanDuration,
    /// The group of psample that sampled packets go to.
    pub sample_group: u32,
    /// Octets of a sampled packet that are kept.
    pub sample_octets: u32,
}

impl Default for Flower {
    fn default() -> Self {
        let Settings {
            driver: _,
            interfaces: _,
            block,
            strict,
            max_filters,
            max_entries_per_rule,
            burst,
            sample_group,
            sample_octets,
        } = Settings::default();
        let burst = HumanDuration(burst);
        Flower { driver: None, block, strict, max_filters, max_entries_per_rule, burst, sample_group, sample_octets }
    }
}

impl Flower {
    /// What the back end is told, for these `interfaces` of `[dataplane]`.
    pub fn settings(&self, interfaces: &[Pattern]) -> Settings {
        Settings {
            driver: self.driver.unwrap_or(Driver::Software),
            interfaces: interfaces.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            block: self.block,
            strict: self.strict,
            max_filters: self.max_filters,
            max_entries_per_rule: self.max_entries_per_rule,
            burst: self.burst.0,
            sample_group: self.sample_group,
            sample_octets: self.sample_octets,
        }
    }
}
