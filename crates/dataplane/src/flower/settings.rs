//! What the back end is told.

use super::driver::Driver;
use std::time::Duration;

/// The kernel's releases whose sources were read: from this one on.
pub const FIRST_KERNEL: (u32, u32) = (6, 1);

/// Settings of the back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who filters.
    pub driver: Driver,
    /// Where packets come in: names of interfaces and patterns (`*`, `?`, `!` in front for all
    /// others).
    pub interfaces: Vec<String>,
    /// The number of the block of filters that all interfaces share. It is Floodgate's alone.
    pub block: u32,
    /// A rule that would miss some of its packets is refused.
    pub strict: bool,
    /// Filters that all rules together may take. `None`: as many as there is room for.
    pub max_filters: Option<u64>,
    /// Filters that one rule may take.
    pub max_entries_per_rule: u64,
    /// How much a policer lets through at once, as the time that its rate takes for it.
    pub burst: Duration,
    /// The group of psample that sampled packets go to.
    pub sample_group: u32,
    /// Octets of a sampled packet that are kept.
    pub sample_octets: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            driver: Driver::Software,
            interfaces: Vec::new(),
            block: 3970,
            strict: false,
            max_filters: None,
            max_entries_per_rule: 1024,
            burst: Duration::from_millis(250),
            sample_group: 3970,
            sample_octets: 128,
        }
    }
}
