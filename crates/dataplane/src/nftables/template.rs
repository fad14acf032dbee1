//! How rules share a set: rules that differ only in single values are elements of one hash set,
//! whose key consists of those values.
//!
//! A rule's *template* is its component list with holes: for a prefix its offset and length, for a
//! list that is one `=value` its operator octet, for everything else the octets as they are.
//! Templates compare as rules do (RFC 8955 §5.1), so sets can replace rules: of two rules that both
//! match some packet, either the templates differ, and then the order of the templates is the order
//! of the rules, or the templates are equal, and then so are the values in the holes, since unequal
//! values (prefixes of one offset and length, single values of one field) exclude each other. The
//! component `port` is the exception, since two fields satisfy it; its list is never a hole.

use super::conjunction::{Conjunction, conjunctions, mask_and_value};
use super::field::{Field, KeyPart, Test, encode_key};
use super::limit::{Limit, Unit, countable};
use engine::plan::CompiledRule;
use flowspec::{Component, ComponentType, Effect, IpVersion, Nlri, Policing, Prefix, RuleId};
use std::sync::Arc;

/// `nft list` shows the types of five key parts, and misreads more.
const MAX_KEY_PARTS: usize = 5;

/// The destination addresses of a group of rules: those that are equal under one mask. The order is
/// that in which the groups are evaluated: lower offset, then longer prefix; rules without
/// destination last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupKey {
    offset: u8,
    shortness: u8,
    /// The bits of the destination that are compared; `None` if all destinations match.
    pub(super) mask: Option<u128>,
}

impl GroupKey {
    const REST: GroupKey = GroupKey { offset: u8::MAX, shortness: u8::MAX, mask: None };

    /// The group of a rule, and the bits of its destination.
    pub(super) fn of(nlri: &Nlri) -> (Self, u128) {
        let Some(prefix) = nlri.destination() else { return (GroupKey::REST, 0) };
        let (offset, length) = match prefix {
            Prefix::V4(net) => (0, net.prefix_len()),
            Prefix::V6(pattern) => (pattern.offset(), pattern.length()),
        };
        if length == 0 {
            return (GroupKey { offset, shortness: u8::MAX, mask: None }, 0);
        }
        let (mask, value) = mask_and_value(prefix);
        (GroupKey { offset, shortness: u8::MAX - length, mask: Some(mask) }, value)
    }
}

/// The actions of a set's rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RuleActions {
    pub(super) terminal: Terminal,
    pub(super) mark: Option<u8>,
    pub(super) sample: bool,
}

/// How the evaluation of a packet ends, or where it continues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Terminal {
    Drop,
    Accept,
    Continue,
    /// Packets over the limit of the element are dropped; the others are accepted, or evaluation
    /// continues.
    Limit {
        unit: Unit,
        continues: bool,
    },
    /// In the policer's chain of this rule, which also does the rest.
    Police(RuleId),
}

impl RuleActions {
    pub(super) fn of(rule: &CompiledRule) -> Self {
        let effect = rule.effect;
        match countable(effect.policing) {
            // A dropped packet stays dropped: discard overrides whatever a later rule would do (RFC
            // 8955 §7.7).
            Policing::Discard => RuleActions { terminal: Terminal::Drop, mark: None, sample: effect.sample },
            Policing::Limit { .. } => RuleActions { terminal: Terminal::Police(rule.id), mark: None, sample: false },
            Policing::None => RuleActions {
                terminal: if effect.continues { Terminal::Continue } else { Terminal::Accept },
                mark: effect.mark,
                sample: effect.sample,
            },
        }
    }
}

/// The key of a set within a group; the order is that of the templates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotKey {
    template: Vec<u8>,
    /// Tests that are the same for all rules of the set.
    pub(super) fixed: Conjunction,
    /// The parts of the key, the destination first. Empty if nothing has to be looked up: the slot
    /// then belongs to one rule.
    pub(super) key: Vec<KeyPart>,
    pub(super) actions: RuleActions,
}

/// A rule's element in a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) slot: Arc<SlotKey>,
    /// The element's key.
    pub(super) key: Vec<u8>,
}

/// The rule as members of sets, one for each conjunction of its tests.
pub(super) fn members(rule: &CompiledRule) -> Vec<Member> {
    let version = rule.nlri.family().version();
    let (template, mut holes) = template(&rule.nlri);
    let conjunctions: Vec<Conjunction> = match &rule.entries[..] {
        [only] => conjunctions(only),
        entries => entries.iter().flat_map(conjunctions).collect(),
    };
    let mut actions = RuleActions::of(rule);
    if let Terminal::Police(_) = actions.terminal {
        match (only_limit(rule), &conjunctions[..]) {
            (Some((unit, _)), [only]) if only.iter().any(|test| fills_hole(test, &holes)) => {
                let Effect { mark, sample, continues, .. } = rule.effect;
                actions = RuleActions { terminal: Terminal::Limit { unit, continues }, mark, sample };
            }
            // Elements cannot share a policer, but the rule must have only one.
            _ => holes.clear(),
        }
    }
    let member = |conjunction: Conjunction| {
        let (mut key, mut values) = (Vec::new(), Vec::with_capacity(MAX_KEY_PARTS));
        let mut fixed = conjunction;
        fixed.retain(|test| match *test {
            Test::Within { field, mask, first, .. } if fills_hole(test, &holes) && key.len() < MAX_KEY_PARTS => {
                let part = KeyPart { field, mask };
                values.push((part, first));
                key.push(part);
                false
            }
            _ => true,
        });
        let slot = SlotKey { template: template.clone(), fixed, key, actions: actions.clone() };
        Member { slot: Arc::new(slot), key: encode_key(version, &values) }
    };
    conjunctions.into_iter().map(member).collect()
}

/// Whether the test is on a single value of a field that is a hole.
fn fills_hole(test: &Test, holes: &[Field]) -> bool {
    matches!(test, Test::Within { field, first, last, .. } if first == last && holes.contains(field))
}

/// The limit of a rule that has one, and not one of bytes and one of packets.
pub(super) fn only_limit(rule: &CompiledRule) -> Option<(Unit, Limit)> {
    let (unit, rate) = match countable(rule.effect.policing) {
        Policing::Limit { bytes: Some(rate), packets: None } => (Unit::Bytes, rate),
        Policing::Limit { bytes: None, packets: Some(rate) } => (Unit::Packets, rate),
        Policing::Limit { .. } | Policing::Discard | Policing::None => return None,
    };
    Some((unit, Limit::new(unit, rate)))
}

/// The template's octets, and the fields that are its holes.
fn template(nlri: &Nlri) -> (Vec<u8>, Vec<Field>) {
    // Present sorts before absent, whatever follows.
    const END: u8 = u8::MAX;
    let (mut octets, mut holes) = (Vec::with_capacity(16), Vec::with_capacity(8));
    let mut rest = nlri.as_bytes();
    for component in nlri.components() {
        let kind = component.component_type();
        octets.push(kind as u8);
        let value = rest.get(1..).unwrap_or_default();
        let length = match component {
            Component::Prefix(_, prefix) => {
                let (offset, length, octets_on_wire) = match prefix {
                    Prefix::V4(net) => (0, net.prefix_len(), 1 + usize::from(net.prefix_len()).div_ceil(8)),
                    Prefix::V6(pattern) => {
                        let bits = usize::from(pattern.length() - pattern.offset());
                        (pattern.offset(), pattern.length(), 2 + bits.div_ceil(8))
                    }
                };
                octets.extend([offset, u8::MAX - length]);
                holes.push(if kind == ComponentType::Destination { Field::Destination } else { Field::Source });
                octets_on_wire
            }
            Component::Numeric(..) | Component::Bitmask(..) => {
                let length = list_length(value);
                let list = value.get(..length).unwrap_or_default();
                match (list, hole(kind)) {
                    ([operator, ..], Some(field)) if operator & !WIDTH == END_OF_LIST | EQUAL => {
                        octets.push(*operator);
                        holes.push(field);
                    }
                    _ => octets.extend(list),
                }
                length
            }
        };
        rest = value.get(length..).unwrap_or_default();
    }
    octets.push(END);
    (octets, holes)
}

const END_OF_LIST: u8 = 0x80;
const WIDTH: u8 = 0x30;
const EQUAL: u8 = 0x01;

/// Octets of a list of operators and values, which is well-formed in a canonical rule.
fn list_length(list: &[u8]) -> usize {
    let mut length = 0;
    while let Some(operator) = list.get(length) {
        length += 1 + (1 << ((operator & WIDTH) >> 4));
        if operator & END_OF_LIST != 0 {
            break;
        }
    }
    length
}

/// The one field that a component is about.
const fn hole(kind: ComponentType) -> Option<Field> {
    match kind {
        ComponentType::Protocol => Some(Field::Protocol),
        ComponentType::DestinationPort => Some(Field::DestinationPort),
        ComponentType::SourcePort => Some(Field::SourcePort),
        ComponentType::IcmpType => Some(Field::IcmpType),
        ComponentType::IcmpCode => Some(Field::IcmpCode),
        ComponentType::PacketLength => Some(Field::Length),
        ComponentType::Dscp => Some(Field::Dscp),
        ComponentType::FlowLabel => Some(Field::Label),
        ComponentType::Destination
        | ComponentType::Source
        | ComponentType::Port
        | ComponentType::TcpFlags
        | ComponentType::Fragment => None,
    }
}

/// The key that distinguishes a group's destinations.
pub(super) fn destination_key(version: IpVersion, mask: u128, bits: u128) -> Vec<u8> {
    encode_key(version, &[(KeyPart { field: Field::Destination, mask }, bits)])
}

/// The part of a set's key that identifies a group's destination.
pub(super) fn destination_part(mask: u128) -> Vec<KeyPart> {
    vec![KeyPart { field: Field::Destination, mask }]
}
