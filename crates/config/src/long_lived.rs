//! `[peer.long-lived]`: long-lived graceful restart (RFC 9494).

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

impl LongLived {
    /// Seconds for which the routes stay when the peer asks for `asked` seconds.
    pub fn stale_time(&self, asked: u32) -> u64 {
        u64::from(asked).max(self.min_stale_time.0.as_secs()).min(self.max_stale_time.0.as_secs())
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
