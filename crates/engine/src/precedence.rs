//! What a rule that is not in force means for those behind it.
//!
//! A rule may exempt packets from a later rule that would drop them: it matches first, and ends the search. If a data plane cannot enforce
//! it, the later rule would drop packets which nobody asked to drop. So the later rule is refused as well, as long as they overlap.

use crate::key::{RuleKey, has_offset};
use flowspec::{Effect, Nlri, Policing, Redirect, RuleId, Space};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules that end the search without a discard and are not in force.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    spaces: BTreeMap<RuleKey, Space>,
}

impl Exceptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    pub(crate) fn contains(&self, key: &RuleKey) -> bool {
        self.spaces.contains_key(key)
    }

    /// Notes a rule that is not in force; nothing happens if it exempts no packet.
    pub(crate) fn insert(&mut self, nlri: &Arc<Nlri>, effect: &Effect) {
        if exempts(nlri, effect) {
            self.insert_key(RuleKey::new(nlri.clone()), nlri);
        }
    }

    pub(crate) fn insert_key(&mut self, key: RuleKey, nlri: &Nlri) {
        self.spaces.insert(key, Space::of(nlri));
    }

    pub(crate) fn remove(&mut self, key: &RuleKey) -> bool {
        self.spaces.remove(key).is_some()
    }

    /// The first rule that exempts packets on which this one would act.
    pub(crate) fn blocking(&self, nlri: &Arc<Nlri>, effect: &Effect) -> Option<RuleId> {
        if self.spaces.is_empty() || !acts(effect) {
            return None;
        }
        // An earlier rule with a destination that overlaps this one's has its destination within: the more specific comes first.
        let version = nlri.family().version();
        let start = match nlri.destination() {
            Some(prefix) if !has_offset(&prefix) => RuleKey::start_within(&prefix),
            _ => RuleKey::start(version),
        };
        let own = RuleKey::new(nlri.clone());
        if start >= own {
            return None;
        }
        let mut earlier = self.spaces.range(start..own).peekable();
        earlier.peek()?;
        let space = Space::of(nlri);
        let (key, _) = earlier.find(|(_, exception)| exception.overlaps(&space))?;
        key.nlri().map(|nlri| nlri.id())
    }
}

/// Whether the rule, were it in force, would exempt packets from later rules.
pub(crate) fn exempts(nlri: &Nlri, effect: &Effect) -> bool {
    !nlri.family().is_vpn() && !effect.continues && !matches!(effect.policing, Policing::Discard)
}

/// Whether an effect changes what becomes of a packet, beyond looking at it or copying it.
pub(crate) fn acts(effect: &Effect) -> bool {
    let redirected = match effect.redirect {
        None => false,
        Some(Redirect::Vrf(_)) => true,
        Some(Redirect::Address { copy, .. } | Redirect::UnknownNextHop { copy }) => !copy,
    };
    redirected || effect.mark.is_some() || !matches!(effect.policing, Policing::None)
}
