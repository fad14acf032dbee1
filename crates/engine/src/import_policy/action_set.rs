//! Kinds of actions, as import policy names them.

use flowspec::{Effect, Policing};

/// Kinds of actions, for policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// Accept the packet and end the evaluation: a rule without any other action.
    Accept,
    /// Discard.
    Discard,
    /// Limit the rate.
    Rate,
    /// Set the DSCP.
    Mark,
    /// Redirect or copy.
    Redirect,
    /// Sample.
    Sample,
    /// Continue with the next rule.
    Continue,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [ActionKind; 7] = [
        ActionKind::Accept,
        ActionKind::Discard,
        ActionKind::Rate,
        ActionKind::Mark,
        ActionKind::Redirect,
        ActionKind::Sample,
        ActionKind::Continue,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            ActionKind::Accept => "accept",
            ActionKind::Discard => "discard",
            ActionKind::Rate => "rate",
            ActionKind::Mark => "mark",
            ActionKind::Redirect => "redirect",
            ActionKind::Sample => "sample",
            ActionKind::Continue => "continue",
        }
    }
}

/// A set of kinds of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionSet(u8);

impl ActionSet {
    /// All of them.
    pub const ALL: ActionSet = ActionSet(0x7f);

    /// Whether it has the kind.
    pub const fn has(self, kind: ActionKind) -> bool {
        self.0 >> kind as u8 & 1 != 0
    }

    /// Whether it has a kind of the other.
    pub const fn has_any(self, other: ActionSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The kinds of actions of an effect.
    pub fn of(effect: &Effect) -> Self {
        let needed = [
            (matches!(effect.policing, Policing::Discard), ActionKind::Discard),
            (matches!(effect.policing, Policing::Limit { .. }), ActionKind::Rate),
            (effect.mark.is_some(), ActionKind::Mark),
            (effect.redirect.is_some(), ActionKind::Redirect),
            (effect.sample, ActionKind::Sample),
            (effect.continues, ActionKind::Continue),
        ];
        let set: ActionSet = needed.into_iter().filter(|(needed, _)| *needed).map(|(_, kind)| kind).collect();
        if set.0 == 0 { [ActionKind::Accept].into_iter().collect() } else { set }
    }
}

impl FromIterator<ActionKind> for ActionSet {
    fn from_iter<I: IntoIterator<Item = ActionKind>>(kinds: I) -> Self {
        ActionSet(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}
