//! Names of objects in our tables: `g`, the generation, the role, and a number that is unique in
//! that role, as in `g3_match_17`. Objects of an earlier run are recognised by them.

use flowspec::RuleId;

/// The role of a chain, a set, a map or a named counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The set of the interfaces that are filtered.
    Interfaces,
    /// A chain of protected packets, or the map to such chains.
    Protected,
    /// The set of a group's destinations.
    Destinations,
    /// The map from a group's destinations to chains of their own.
    Chains,
    /// The chain of a group.
    Rules,
    /// The set of a slot, whose elements count packets that matched, or passed a limit.
    Match,
    /// The set of a slot's limits.
    OverLimit,
    /// The set, or the counter, of packets that a limit dropped.
    Dropped,
    /// The chain of one destination.
    Destination,
    /// The chain of one rule's policer.
    Police,
    /// The counter of a rule that is not a set element.
    Rule,
}

impl Role {
    const ALL: [Role; 11] = [
        Role::Interfaces,
        Role::Protected,
        Role::Destinations,
        Role::Chains,
        Role::Rules,
        Role::Match,
        Role::OverLimit,
        Role::Dropped,
        Role::Destination,
        Role::Police,
        Role::Rule,
    ];

    const fn word(self) -> &'static str {
        match self {
            Role::Interfaces => "interfaces",
            Role::Protected => "protected",
            Role::Destinations => "destinations",
            Role::Chains => "chains",
            Role::Rules => "rules",
            Role::Match => "match",
            Role::OverLimit => "over",
            Role::Dropped => "dropped",
            Role::Destination => "destination",
            Role::Police => "police",
            Role::Rule => "rule",
        }
    }
}

/// What a counter counts of a rule's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Matched,
    Dropped,
}

/// A parsed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) generation: u32,
    pub(super) role: Role,
}

impl Name {
    /// `None` for a name that is not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (generation, rest) = name.strip_prefix('g')?.split_once('_')?;
        let word = rest.split_once('_').map_or(rest, |(word, _)| word);
        let role = Role::ALL.into_iter().find(|role| role.word() == word)?;
        Some(Name { generation: generation.parse().ok()?, role })
    }

    /// What it counts, if it counts.
    pub(super) const fn counts(self) -> Option<Counts> {
        match self.role {
            Role::Match | Role::Rule => Some(Counts::Matched),
            Role::Dropped => Some(Counts::Dropped),
            Role::Interfaces
            | Role::Protected
            | Role::Destinations
            | Role::Chains
            | Role::Rules
            | Role::OverLimit
            | Role::Destination
            | Role::Police => None,
        }
    }
}

/// Whether a set, or a counter, of this name counts.
pub(super) fn has_counts(name: &str) -> bool {
    Name::parse(name).is_some_and(|name| name.counts().is_some())
}

/// Allocates the names of one generation.
#[derive(Debug)]
pub(super) struct Names {
    generation: u32,
    serial: u64,
}

impl Names {
    pub(super) const fn new(generation: u32) -> Self {
        Names { generation, serial: 0 }
    }

    /// A name that is unique in the table.
    pub(super) fn next(&mut self, role: Role) -> String {
        self.serial += 1;
        format!("g{}_{}_{}", self.generation, role.word(), self.serial)
    }

    /// The name of a rule's counter, if it is not in an element.
    pub(super) fn rule_counter(&self, rule: RuleId) -> String {
        self.counter(Role::Rule, rule)
    }

    /// The name of the counter of packets that a rule's policer dropped.
    pub(super) fn dropped_counter(&self, rule: RuleId) -> String {
        self.counter(Role::Dropped, rule)
    }

    fn counter(&self, role: Role, rule: RuleId) -> String {
        format!("g{}_{}_{rule}", self.generation, role.word())
    }

    /// The name of the set of interfaces.
    pub(super) fn interfaces(&self) -> String {
        format!("g{}_{}", self.generation, Role::Interfaces.word())
    }
}

/// User data that `nft list` shows as a comment: the rule's id.
pub(super) fn comment(rule: RuleId) -> Vec<u8> {
    const COMMENT: u8 = 0;
    let digits = rule.to_digits();
    let mut octets = Vec::with_capacity(digits.len() + 3);
    octets.extend([COMMENT, digits.len() as u8 + 1]); // 12 digits and a NUL
    octets.extend(digits);
    octets.push(0);
    octets
}

/// The rule's id from such user data.
pub(super) fn rule_of_comment(octets: &[u8]) -> Option<RuleId> {
    let text = octets.get(2..octets.len().checked_sub(1)?)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let rule = "dst 192.0.2.1/32".parse::<flowspec::Nlri>().unwrap().id();
        for role in Role::ALL {
            let mut names = Names::new(3);
            for name in [names.next(role), names.counter(role, rule)] {
                assert_eq!(Name::parse(&name), Some(Name { generation: 3, role }), "{name}");
            }
        }
        assert_eq!(Name::parse(&Names::new(7).interfaces()).map(|name| name.generation), Some(7));
        for other in ["prerouting", "__chain0", "g_match_1", "gx_match_1", "g1_other_1", "g1", ""] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        assert!(has_counts("g1_match_1") && has_counts("g1_dropped_1") && !has_counts("g1_over_1"));
    }
}
