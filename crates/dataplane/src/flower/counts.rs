//! What filters have counted, rule by rule.

use super::decode::{self, ActionCount, Told};
use super::encode::chain;
use super::filter::{Action, Purpose};
use super::kernel::Kernel;
use super::pkt_cls::RTM_GETTFILTER;
use crate::Counts;
use std::collections::HashSet;
use std::io;

/// The filters of a chain, as the kernel has them.
pub(super) fn told(kernel: &mut dyn Kernel, number: u32, block: u32) -> io::Result<Vec<Told>> {
    let messages = kernel.dump(RTM_GETTFILTER, &chain(number, block))?;
    Ok(messages.iter().filter_map(|body| decode::filter(body)).filter(|told| told.place.0 == number).collect())
}

/// Adds what these filters have counted. Filters of one rule that share a policer have one count of
/// it.
pub(super) fn add(counts: &mut Counts, filters: &[Told]) {
    let mut policers = HashSet::new();
    for told in filters {
        let (Some(Purpose::Rule(rule)), Some(filter)) = (told.purpose, &told.filter) else { continue };
        let mut matched = told.counts.first().copied().unwrap_or_default();
        for (action, count) in filter.actions.iter().zip(&told.counts) {
            match action {
                Action::Police { index, .. } => {
                    if policers.insert(*index) {
                        // The kernel does not count the octets of what a policer drops.
                        counts.dropped.entry(rule).or_default().0 += count.drops;
                    } else if filter.actions.first() == Some(action) {
                        matched = ActionCount::default();
                    }
                }
                Action::Pass
                | Action::Drop
                | Action::Goto(_)
                | Action::Mark(_)
                | Action::Checksum
                | Action::Sample { .. } => {}
            }
        }
        let entry = counts.matched.entry(rule).or_default();
        entry.0 += matched.packets;
        entry.1 += matched.bytes;
    }
}
