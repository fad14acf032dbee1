//! Actions of a rule that are ignored.

use flowspec::{Action, Community};

/// The actions that are ignored: communities that are not known actions, and interface sets.
pub(crate) fn unknown_actions(actions: &[Action]) -> impl Iterator<Item = &Action> {
    actions.iter().filter(|action| match action {
        Action::InterfaceSet { .. } => true,
        Action::Other(community) => may_be_action(*community),
        _ => false,
    })
}

/// Whether it is an action on packets, known or not; otherwise it describes the route.
pub(crate) fn is_action(action: &Action) -> bool {
    match action {
        Action::Other(community) => may_be_action(*community),
        _ => true,
    }
}

/// Whether an unknown community may be an action: not those that describe the route or its path,
/// which any route may carry (route target, site of origin, OSPF, colour, encapsulation, link
/// bandwidth, origin validation and others).
fn may_be_action(community: Community) -> bool {
    match community {
        // Experimental use, where RFC 8955 has its actions; flow specification redirect and
        // interface sets of drafts.
        Community::Extended([kind, ..]) => matches!(kind, 0x80..=0x8f | 0xc0..=0xcf | 0x07 | 0x47 | 0x08 | 0x48),
        Community::Ipv6([0x00 | 0x40, sub, ..]) => !matches!(sub, 0x02 | 0x03 | 0x0b | 0x11),
        Community::Ipv6(_) => true,
    }
}
