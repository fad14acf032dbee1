//! `[peer.long-lived]`: long-lived graceful restart (RFC 9494).

use crate::file::{Peer, Validation};
use crate::report::Report;
use crate::report::Step::{Index, Key};
use crate::values::FamilyName;
use api::HumanDuration;

/// `[peer.long-lived]`: for how long the rules of a lost session stay as a last resort, after
/// graceful restart (RFC 9494).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LongLived {
    /// Families for which it is offered. `None`: all whose routes are retained.
    pub families: Option<Vec<FamilyName>>,
    /// The longest time, whatever the peer asks for; also the time that is offered to it.
    pub max_stale_time: HumanDuration,
    /// The shortest time, whatever the peer asks for.
    pub min_stale_time: HumanDuration,
}

impl Default for LongLived {
    fn default() -> Self {
        LongLived {
            families: None,
            max_stale_time: HumanDuration::seconds(24 * 3600),
            min_stale_time: HumanDuration::seconds(0),
        }
    }
}

/// The long-lived stale time has 24 bits (RFC 9494 §3.1).
const MOST_SECONDS: u64 = 0x00ff_ffff;

impl LongLived {
    /// Seconds for which the routes stay when the peer asks for `asked` seconds.
    pub fn stale_time(&self, asked: u32) -> u64 {
        u64::from(asked).max(self.min_stale_time.0.as_secs()).min(self.max_stale_time.0.as_secs())
    }
}

impl Peer {
    /// The families of its rules: flow specifications, and with blackholes unicast routes, too.
    pub fn rule_families(&self) -> impl Iterator<Item = FamilyName> {
        let blackholes = self.blackhole.is_some();
        self.families.iter().copied().filter(move |family| blackholes || !family.is_unicast())
    }

    /// The families whose routes outlive a session: those of its rules, and unicast routes where
    /// rules are validated against them.
    pub fn retained_families(&self) -> impl Iterator<Item = FamilyName> {
        let all = self.blackhole.is_some() || self.allow.validation == Validation::Rfc9117;
        self.families.iter().copied().filter(move |family| all || !family.is_unicast())
    }

    /// The families for which long-lived graceful restart is offered.
    pub fn long_lived_families(&self) -> Vec<FamilyName> {
        match &self.long_lived {
            Some(LongLived { families: Some(families), .. }) => families.clone(),
            Some(LongLived { families: None, .. }) => self.retained_families().collect(),
            None => Vec::new(),
        }
    }
}

/// Mistakes in `[peer.long-lived]`.
pub(crate) fn problems(peer: &Peer, index: usize, report: &mut Report<'_>) {
    let Some(long_lived) = &peer.long_lived else { return };
    let here = [Key("peer"), Index(index), Key("long-lived")];
    let at = |key: &'static str| [Key("peer"), Index(index), Key("long-lived"), Key(key)];
    if !peer.graceful_restart {
        let message = "long-lived graceful restart means nothing without graceful restart (RFC 9494 §4.1); expected graceful-restart = true";
        report.at(&here, message.to_owned());
    }
    if let Some(families) = &long_lived.families {
        if families.is_empty() {
            report.at(&at("families"), "no family; expected at least one, or leave the section out".to_owned());
        }
        for (position, family) in families.iter().enumerate() {
            if !peer.retained_families().any(|known| known == *family) {
                let at = [Key("peer"), Index(index), Key("long-lived"), Key("families"), Index(position)];
                let known: Vec<_> = peer.retained_families().map(|family| format!("{:?}", family.name())).collect();
                let message = format!(
                    "no routes of this peer are retained in {:?}; expected one of {}",
                    family.name(),
                    known.join(", ")
                );
                report.at(&at, message);
            }
        }
    }
    let (max, min) = (long_lived.max_stale_time.0, long_lived.min_stale_time.0);
    if max.subsec_nanos() != 0 || !(1..=MOST_SECONDS).contains(&max.as_secs()) {
        let message = format!("a long-lived stale time is whole seconds, 1 to {MOST_SECONDS} (RFC 9494 §3.1)");
        report.at(&at("max-stale-time"), message);
    }
    if min > max {
        report.at(&at("min-stale-time"), "it is longer than max-stale-time".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_peer_is_kept_within_bounds() {
        let bounds = LongLived {
            min_stale_time: HumanDuration::seconds(60),
            max_stale_time: HumanDuration::seconds(3600),
            ..LongLived::default()
        };
        for (asked, kept) in [(0, 60), (59, 60), (61, 61), (3600, 3600), (0x00ff_ffff, 3600)] {
            assert_eq!(bounds.stale_time(asked), kept, "{asked}");
        }
        assert_eq!(LongLived::default().stale_time(0), 0);
    }
}
