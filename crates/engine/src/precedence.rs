//! The effects of a rule that is not in force on later ones.
//!
//! A rule may exempt packets from what a later rule does: it matches first, and ends the evaluation
//! without a discard. If a data plane cannot enforce it, the later rule would act on packets that
//! nobody asked it to act on. So the later rule may not be in force either, as long as they
//! overlap. The compiler, the engine and the back ends all decide this here.

use crate::key::{RuleKey, has_offset};
use flowspec::{Effect, Nlri, Policing, Redirect, RuleId, Space};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules that end the evaluation without a discard and are not in force.
#[derive(Debug, Default)]
pub struct Exceptions {
    spaces: BTreeMap<RuleKey, Space>,
}

impl Exceptions {
    /// Whether there are none, so that every rule may be in force.
    pub fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    pub(crate) fn contains(&self, key: &RuleKey) -> bool {
        self.spaces.contains_key(key)
    }

    /// Records a rule that is not in force. Returns whether it exempts packets; if not, nothing
    /// happens.
    pub fn insert(&mut self, nlri: &Arc<Nlri>, effect: &Effect) -> bool {
        let exempts = exempts(nlri, effect);
        if exempts {
            self.insert_key(RuleKey::new(nlri.clone()), nlri);
        }
        exempts
    }

    /// Removes a rule, which is in force or no longer wanted.
    pub fn forget(&mut self, nlri: &Arc<Nlri>) {
        if !self.spaces.is_empty() {
            self.remove(&RuleKey::new(nlri.clone()));
        }
    }

    pub(crate) fn insert_key(&mut self, key: RuleKey, nlri: &Nlri) {
        self.spaces.insert(key, Space::of(nlri));
    }

    pub(crate) fn remove(&mut self, key: &RuleKey) -> bool {
        self.spaces.remove(key).is_some()
    }

    /// The short name of [`blocking_rule`](Self::blocking_rule).
    pub fn blocking(&self, nlri: &Arc<Nlri>, effect: &Effect) -> Option<RuleId> {
        self.blocking_rule(nlri, effect).map(|nlri| nlri.id())
    }

    /// The first of them that exempts packets on which this rule would act.
    pub fn blocking_rule(&self, nlri: &Arc<Nlri>, effect: &Effect) -> Option<&Arc<Nlri>> {
        if self.spaces.is_empty() || !acts(effect) {
            return None;
        }
        // An earlier rule with an overlapping destination has its destination within this one's:
        // the more specific comes first.
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
        key.nlri()
    }
}

/// Whether the rule, if it were in force, would exempt packets from later rules.
pub(crate) fn exempts(nlri: &Nlri, effect: &Effect) -> bool {
    !nlri.family().is_vpn() && !effect.continues && !matches!(effect.policing, Policing::Discard)
}

/// Whether an effect changes a packet's fate, beyond sampling or copying it.
pub(crate) fn acts(effect: &Effect) -> bool {
    let redirected = match effect.redirect {
        None => false,
        Some(Redirect::Vrf(_)) => true,
        Some(Redirect::Address { copy, .. } | Redirect::UnknownNextHop { copy }) => !copy,
    };
    redirected || effect.mark.is_some() || !matches!(effect.policing, Policing::None)
}
