//! What types cannot say of `[peer.long-lived]`.

use crate::file::Peer;
use crate::report::Report;
use crate::report::Step::{Index, Key};

/// The long-lived stale time has 24 bits (RFC 9494 §3.1).
const MOST_SECONDS: u64 = 0x00ff_ffff;

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
