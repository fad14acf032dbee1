//! SONiC's releases, and the dates of changes to its ACLs.
//!
//! A release branch is named after a month, such as `202505`; an image of the main branch is
//! identified by the day of its sources. Whether a branch has a later change as a backport is not
//! known, so it counts as not having it.

use std::fmt;
use std::str::FromStr;

/// A state of SONiC's sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    year: u16,
    month: u8,
    /// 0 for a release branch: it has the changes made before that month.
    day: u8,
}

/// A change of SONiC that is relevant here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its subject.
    pub name: &'static str,
    /// The day on which it was merged into the main branch.
    pub since: Release,
    /// Its source.
    pub source: &'static str,
}

const fn day(year: u16, month: u8, day: u8) -> Release {
    Release { year, month, day }
}

/// The first release that publishes the status of ACL rules: without it nothing can be known to be
/// in force.
pub(super) const STATUS: Feature =
    Feature { name: "status of each rule in STATE_DB", since: day(2023, 5, 0), source: "sonic-swss 2662" };

/// A rule with a port range that cannot be created does not make orchagent crash.
pub(super) const SAFE_RANGES: Feature = Feature {
    name: "a port range that cannot be installed does no harm to orchagent",
    since: day(2026, 2, 24),
    source: "sonic-swss 4256",
};

/// A rule without room is parked, and not retried in each round of orchagent.
pub(super) const SET_ASIDE: Feature = Feature {
    name: "a rule without room is set aside (Pending creation)",
    since: day(2026, 5, 7),
    source: "sonic-swss 4470",
};

/// Addresses under any mask.
pub(super) const MASKS: Feature =
    Feature { name: "addresses under any mask", since: day(2026, 7, 6), source: "sonic-swss 4404" };

/// In a batch, rules are deleted first, and then set by falling priority.
pub(super) const SORTED: Feature =
    Feature { name: "batches of rules are sorted by priority", since: day(2026, 7, 9), source: "sonic-swss 4209" };

/// Rate limits.
pub(super) const POLICERS: Feature =
    Feature { name: "policers in ACL rules", since: day(2026, 7, 20), source: "sonic-swss 4666" };

impl Feature {
    /// Whether a release has it.
    pub fn is_in(&self, release: Release) -> bool {
        self.since <= release
    }
}

impl Release {
    /// The oldest release that can be used.
    pub const OLDEST: Release = STATUS.since;
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Release { year, month, day } = self;
        match day {
            0 => write!(f, "{year:04}{month:02}"),
            day => write!(f, "{year:04}-{month:02}-{day:02}"),
        }
    }
}

/// Text that is not a release of SONiC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a release of SONiC; expected a branch such as \"202505\", or the day of the sources such as \"2026-03-31\""
)]
pub struct InvalidRelease(String);

impl FromStr for Release {
    type Err = InvalidRelease;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits =
            |part: &str| part.bytes().all(|digit| digit.is_ascii_digit()).then(|| part.parse::<u16>().ok()).flatten();
        let parse = || {
            let (year, month, day) = match text.len() {
                6 => (digits(text.get(..4)?)?, digits(text.get(4..)?)?, 0),
                10 if text.get(4..5)? == "-" && text.get(7..8)? == "-" => {
                    let day = digits(text.get(8..)?)?;
                    (digits(text.get(..4)?)?, digits(text.get(5..7)?)?, (1..=31).contains(&day).then_some(day)?)
                }
                _ => return None,
            };
            let is_plausible = (2016..=2999).contains(&year) && (1..=12).contains(&month);
            is_plausible.then_some(Release { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
        };
        parse().ok_or_else(|| InvalidRelease(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_has_what_came_before_its_month() {
        let release = |text: &str| text.parse::<Release>().unwrap();
        assert!(release("202305") < release("2023-05-01") && release("2023-05-31") < release("202306"));
        assert!(MASKS.is_in(release("2026-07-06")) && MASKS.is_in(release("202608")));
        assert!(!MASKS.is_in(release("202607")) && !MASKS.is_in(release("2026-07-05")));
        assert_eq!(release("202511").to_string(), "202511");
        assert_eq!(release("2026-03-31").to_string(), "2026-03-31");
        for text in
            ["", "2025", "20251", "202513", "202500", "2025-1-1", "2025-01-32", "2025-01-00", "+20251", "2025.01.01"]
        {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
    }
}
