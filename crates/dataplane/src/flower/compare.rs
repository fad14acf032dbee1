//! What was to be made against what the kernel tells that it has: it ignores what does not fit
//! together without an error, and so do drivers.

use super::decode::Told;
use super::filter::{Filter, Place};
use super::text::Line;
use std::collections::HashMap;

/// Why a filter is not as it was to be; `None` if it is.
pub(super) fn mistake(wanted: &Filter, told: Option<&Told>) -> Option<String> {
    let Some(told) = told else { return Some("the kernel does not have it".to_owned()) };
    let Some(there) = &told.filter else { return Some("the kernel has something else in its place".to_owned()) };
    let same = there.key == wanted.key
        && there.actions == wanted.actions
        && there.protocol == wanted.protocol
        && there.hardware == wanted.hardware;
    if !same {
        let words = |filter: &Filter| Line { filter, block: 0 }.to_string();
        return Some(format!("the kernel has it otherwise: `{}` in the place of `{}`", words(there), words(wanted)));
    }
    (wanted.hardware && !told.in_hardware).then(|| "the switch has not taken it".to_owned())
}

/// What differs first between the filters that are wanted and those of a chain, in words.
pub(super) fn difference(wanted: &[&Filter], there: &[Told]) -> Option<String> {
    let by_place: HashMap<Place, &Told> = there.iter().map(|told| (told.place, told)).collect();
    for filter in wanted {
        if let Some(words) = mistake(filter, by_place.get(&filter.place()).copied()) {
            return Some(format!("filter {} of priority {}: {words}", filter.handle, filter.priority));
        }
    }
    (there.len() > wanted.len()).then(|| "there is a filter of another program".to_owned())
}
