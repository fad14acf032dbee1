//! A whole rule: what it matches and what it does.

use crate::action::Action;
use crate::effect::Effect;
use crate::nlri::Nlri;
use std::net::IpAddr;

/// A traffic filter as announced: NLRI and actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it matches, in canonical form.
    pub nlri: Nlri,
    /// What it asks for, in the order of the communities.
    pub actions: Vec<Action>,
    /// The next hop of the announcement; only [`Action::RedirectNextHop`] uses it.
    pub next_hop: Option<IpAddr>,
}

impl Rule {
    /// A rule whose announcement had no next hop.
    #[must_use]
    pub fn new(nlri: Nlri, actions: Vec<Action>) -> Self {
        Rule { nlri, actions, next_hop: None }
    }

    /// The next hop, where an action uses it. Without such an action it is no part of what the rule
    /// does.
    #[must_use]
    pub fn used_next_hop(&self) -> Option<IpAddr> {
        let uses = |action: &Action| matches!(action, Action::RedirectNextHop { .. });
        self.next_hop.filter(|_| self.actions.iter().any(uses))
    }

    /// What it does to a packet that it matches.
    pub fn effect(&self) -> Effect {
        Effect::of(&self.actions, self.next_hop)
    }
}
