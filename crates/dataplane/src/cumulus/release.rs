//! A release of Cumulus Linux, and what its documents say about it.
//!
//! Each value names the release whose document says so. What no document says is
//! [`Known::Unknown`].

use std::fmt;
use std::str::FromStr;

/// A release of Cumulus Linux: 5.14 is `Release::new(5, 14)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The major version.
    pub major: u16,
    /// The minor version.
    pub minor: u16,
    /// The patch level; 0 if it is not given.
    pub patch: u16,
}

/// What a document says about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has the feature.
    Yes,
    /// It does not have it.
    No,
    /// No document says anything.
    Unknown,
}

/// A feature that differs between releases.
#[derive(Debug)]
pub(super) struct Feature {
    /// The feature, for people.
    pub(super) name: &'static str,
    /// The value from each release on, and the release whose document says so, ascending.
    rows: &'static [(Release, Known, &'static str)],
}

/// Before any release.
const FIRST: Release = Release::new(0, 0);

/// Ingress rules are in the mangle table's PREROUTING. Earlier, they were in the filter table's
/// FORWARD, and those that mark in the mangle table, which the hardware looks up in parallel: there
/// a mark cannot be the first match of both.
pub(super) static PREROUTING: Feature = Feature {
    name: "ingress rules in -t mangle -A PREROUTING",
    rows: &[
        (FIRST, Known::No, "3.7"),
        (Release::new(4, 0), Known::No, "4.3"),
        (Release::new(5, 0), Known::Yes, "5.17"),
    ],
};

/// The tables mangle and filter are looked up in parallel, and their actions combined.
pub(super) static PARALLEL_TABLES: Feature = Feature {
    name: "tables mangle and filter looked up in parallel",
    rows: &[
        (FIRST, Known::Yes, "3.7"),
        (Release::new(4, 0), Known::Yes, "4.3"),
        (Release::new(5, 0), Known::Yes, "5.17"),
    ],
};

/// Rules may carry a netfilter comment: the first documented rule with one is in 5.9.
pub(super) static COMMENTS: Feature = Feature {
    name: "comments in rules",
    rows: &[(FIRST, Known::Unknown, ""), (Release::new(5, 9), Known::Yes, "5.9")],
};

/// The hardware matches IPv4 fragments (`-f`). Earlier documents list fragments among the matches
/// of IPv6.
pub(super) static FRAGMENTS: Feature = Feature {
    name: "match IPv4 fragments",
    rows: &[
        (FIRST, Known::No, "3.7"),
        (Release::new(5, 0), Known::No, "5.9"),
        (Release::new(5, 10), Known::Yes, "5.10"),
    ],
};

/// The hardware matches ECE and CWR of TCP in IPv4 (`-m ecn`).
pub(super) static ECN_FLAGS: Feature = Feature {
    name: "match the TCP flags ECE and CWR (IPv4)",
    rows: &[(FIRST, Known::No, "3.7"), (Release { major: 4, minor: 4, patch: 1 }, Known::Yes, "4.4")],
};

/// Evaluation continues with the next rule after a policer; earlier, contiguous rules with the same
/// match are a misconfiguration.
pub(super) static POLICE_CONTINUES: Feature = Feature {
    name: "rules after a policer are evaluated",
    rows: &[
        (FIRST, Known::No, "3.7"),
        (Release::new(4, 0), Known::Unknown, ""),
        (Release::new(4, 3), Known::Yes, "4.3"),
        (Release::new(5, 0), Known::Yes, "5.17"),
    ],
};

/// The counters of a policer include what it dropped.
pub(super) static POLICE_COUNTS_DROPS: Feature = Feature {
    name: "counters include what a policer dropped",
    rows: &[(FIRST, Known::No, "3.7"), (Release::new(5, 0), Known::No, "5.17")],
};

/// A policer counts at all on Spectrum.
pub(super) static POLICE_COUNTS_ON_SPECTRUM: Feature = Feature {
    name: "policers count on Spectrum",
    rows: &[
        (FIRST, Known::No, "3.7"),
        (Release::new(4, 0), Known::No, "4.4"),
        (Release::new(5, 0), Known::Unknown, ""),
    ],
};

/// Updates in non-atomic mode are incremental on Spectrum: they stop traffic only where old and new
/// rules do not fit at the same time.
pub(super) static INCREMENTAL_ON_SPECTRUM: Feature = Feature {
    name: "non-atomic updates are incremental on Spectrum",
    rows: &[
        (FIRST, Known::No, "3.7"),
        (Release::new(4, 0), Known::Yes, "4.3"),
        (Release::new(5, 0), Known::Yes, "5.17"),
    ],
};

impl Feature {
    /// The value for a release, and the release whose document says so.
    pub(super) fn of(&self, release: Release) -> (Known, &'static str) {
        let row = self.rows.iter().rev().find(|(from, ..)| *from <= release);
        row.map_or((Known::Unknown, ""), |&(_, known, document)| (known, document))
    }

    /// The first release later than this whose document says that it has the feature.
    pub(super) fn later_than(&self, release: Release) -> Option<Release> {
        let first = self.rows.iter().find(|(_, known, _)| *known == Known::Yes)?.0;
        (first > release).then_some(first)
    }

    /// Whether a document says that it is so.
    pub(super) fn is_in(&self, release: Release) -> bool {
        self.of(release).0 == Known::Yes
    }
}

impl Release {
    /// The release of this machine.
    pub const fn new(major: u16, minor: u16) -> Self {
        Release { major, minor, patch: 0 }
    }

    /// Reads the text of `/etc/os-release`; `None` if it is of another system.
    pub fn of_system(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']))
        };
        value("VERSION_ID").filter(|_| value("ID") == Some("cumulus-linux"))?.parse().ok()
    }

    /// Table and chain for packets received on a switch port.
    pub(super) fn chain(self) -> &'static str {
        if self.filters_before_routing() { "-t mangle -A PREROUTING" } else { "-A FORWARD" }
    }

    /// Table and chain alone.
    pub(super) fn table_and_chain(self) -> (&'static str, &'static str) {
        if self.filters_before_routing() { ("mangle", "PREROUTING") } else { ("filter", "FORWARD") }
    }

    /// Ingress rules see packets before they are routed, including those to the switch itself.
    pub(super) fn filters_before_routing(self) -> bool {
        PREROUTING.is_in(self)
    }
}

/// A text that is not a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a release of Cumulus Linux; expected a number such as 4.4 or 5.14")]
pub struct InvalidRelease(String);

impl FromStr for Release {
    type Err = InvalidRelease;

    /// `5`, `5.14` or `5.14.1`.
    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let invalid = || InvalidRelease(text.to_owned());
        let mut numbers = text.split('.').map(|part| part.parse::<u16>().map_err(|_| invalid()));
        let major = numbers.next().ok_or_else(invalid)??;
        let minor = numbers.next().unwrap_or(Ok(0))?;
        let patch = numbers.next().unwrap_or(Ok(0))?;
        match numbers.next() {
            None if (2..100).contains(&major) => Ok(Release { major, minor, patch }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 { write!(f, ".{}", self.patch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn a_switch_says_which_release_it_runs() {
        let text = "NAME=\"Cumulus Linux\"\nVERSION_ID=5.9.1\nVERSION=\"Cumulus Linux 5.9.1\"\nID=cumulus-linux\n";
        assert_eq!(Release::of_system(text), Some(release("5.9.1")));
        assert_eq!(Release::of_system(&text.replace("5.9.1", "\"4.4.0\"")), Some(Release::new(4, 4)));
        assert_eq!(Release::of_system("ID=debian\nVERSION_ID=\"12\"\n"), None);
        assert_eq!(Release::of_system(""), None);
    }

    #[test]
    fn releases_are_read_and_ordered() {
        assert_eq!(release("5"), Release::new(5, 0));
        assert_eq!((release("4.4.5").to_string(), release("4.4.0").to_string()), ("4.4.5".into(), "4.4".into()));
        assert!(release("5.9") < release("5.14") && release("5.14") < release("5.14.1"));
        assert_eq!((release("4.4").chain(), release("5.0").chain()), ("-A FORWARD", "-t mangle -A PREROUTING"));
        for bad in ["", "five", "5.", "5.14.1.2", "1.0"] {
            assert!(bad.parse::<Release>().is_err(), "{bad}");
        }
    }

    #[test]
    fn features_are_as_the_documents_say() {
        use Known::{No, Unknown, Yes};
        let releases = ["3.7", "4.0", "4.4", "4.4.1", "5.4", "5.9", "5.10", "5.14", "5.17"];
        for (feature, expected) in [
            (&PREROUTING, [No, No, No, No, Yes, Yes, Yes, Yes, Yes]),
            (&COMMENTS, [Unknown, Unknown, Unknown, Unknown, Unknown, Yes, Yes, Yes, Yes]),
            (&FRAGMENTS, [No, No, No, No, No, No, Yes, Yes, Yes]),
            (&ECN_FLAGS, [No, No, No, Yes, Yes, Yes, Yes, Yes, Yes]),
            (&POLICE_CONTINUES, [No, Unknown, Yes, Yes, Yes, Yes, Yes, Yes, Yes]),
            (&POLICE_COUNTS_ON_SPECTRUM, [No, No, No, No, Unknown, Unknown, Unknown, Unknown, Unknown]),
        ] {
            let found = releases.map(|text| feature.of(release(text)).0);
            assert_eq!(found, expected, "{}", feature.name);
            for (_, known, document) in feature.rows {
                assert_eq!(document.is_empty(), *known == Unknown, "{}: a document, or unknown", feature.name);
            }
        }
    }
}
