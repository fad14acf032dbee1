//! The shape of a rule, without its values: rules of one shape are mostly accepted or refused
//! together.

use engine::plan::CompiledRule;
use flowspec::space::Fields;
use flowspec::{IpVersion, Policing, Space};

/// What a rule requires of the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    version: IpVersion,
    fields: Fields,
    /// Ranges of source ports, and of destination ports.
    ranges: (bool, bool),
    /// The TCP flags that are matched.
    flags: u16,
    fragment: bool,
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Drop,
    Accept,
    Mark,
    PoliceBytes,
    PolicePackets,
}

impl Shape {
    /// The shape of a rule.
    pub(super) fn of(rule: &CompiledRule) -> Self {
        let any = |what: fn(&Space) -> bool| rule.entries.iter().any(what);
        Shape {
            version: rule.nlri.family().version(),
            fields: rule.entries.first().map_or(Fields::NONE, Space::fields),
            ranges: (
                any(|entry| entry.source_port().is_some_and(|ports| ports.single().is_none())),
                any(|entry| entry.destination_port().is_some_and(|ports| ports.single().is_none())),
            ),
            flags: rule.entries.iter().filter_map(Space::tcp_flags).fold(0, |bits, set| bits | set.support()),
            fragment: any(|entry| entry.fragment().is_some() && !entry.fragment_is_implied()),
            target: match rule.effect.policing {
                Policing::Discard => Target::Drop,
                Policing::Limit { bytes: Some(_), .. } => Target::PoliceBytes,
                Policing::Limit { bytes: None, .. } => Target::PolicePackets,
                Policing::None if rule.effect.mark.is_some() => Target::Mark,
                Policing::None => Target::Accept,
            },
        }
    }
}
