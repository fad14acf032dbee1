//! The rules that accept protected packets ahead of every rule, with as few tests as possible:
//! nearly all packets are not protected, and each passes these tests.
//!
//! Protected packets are mostly those of a BGP session, by the peer's address, or those of a port,
//! by an address of ours, or all packets of a network. All that is protected of one address or
//! prefix is in a chain of its own; a packet is compared with those of one length, one after the
//! other if they are few, otherwise by a lookup.

use super::changes::{Chain, Changes, Element, SetKind, SetSpec};
use super::conjunction::{Conjunction, conjunctions};
use super::field::{Field, KeyPart, Test, encode_key};
use super::names::Role;
use super::statement::{Rule, Statement, Verdict};
use flowspec::IpVersion;
use flowspec::space::Space;
use std::collections::BTreeMap;

/// More addresses than these are looked up in a map; up to here comparing costs less.
const COMPARED: usize = 6;

/// The protected packets of one IP version.
#[derive(Debug, Default)]
pub(super) struct ProtectedPrologue {
    /// Protected packets without an address or prefix.
    others: Vec<Conjunction>,
    gates: Vec<AddressGate>,
}

/// Protected packets with a source prefix each, or a destination prefix, of one length.
#[derive(Debug)]
struct AddressGate {
    part: KeyPart,
    /// The map from address to chain, if they are not compared.
    map: Option<String>,
    addresses: BTreeMap<u128, (String, Vec<Conjunction>)>,
}

impl ProtectedPrologue {
    /// For the packets of these spaces in this version; `name` allocates names.
    pub(super) fn new(
        version: IpVersion,
        spaces: &[Space],
        mut name: impl FnMut(Role) -> String,
        changes: &mut Changes,
    ) -> Self {
        let mut prologue = ProtectedPrologue::default();
        let mut sorted: BTreeMap<KeyPart, BTreeMap<u128, Vec<Conjunction>>> = BTreeMap::new();
        for tests in spaces.iter().filter(|space| space.version() == version).flat_map(conjunctions) {
            match tests.iter().enumerate().filter_map(|(at, test)| Some((at, prefix(test)?))).max_by_key(narrowest) {
                Some((at, (part, address))) => {
                    let mut rest = tests;
                    rest.remove(at);
                    sorted.entry(part).or_default().entry(address).or_default().push(rest);
                }
                None => prologue.others.push(tests),
            }
        }
        for (part, addresses) in sorted {
            let map = (addresses.len() > COMPARED).then(|| name(Role::Protected));
            if let Some(map) = &map {
                let spec = SetSpec { name: map.clone(), version, key: vec![part], kind: SetKind::Verdicts };
                changes.new_sets.push(spec);
            }
            let mut gate = AddressGate { part, map, addresses: BTreeMap::new() };
            for (address, rest) in addresses {
                let chain = name(Role::Protected);
                changes.add_chain(chain.clone());
                changes.rewrite.insert(Chain::Protected(part, address));
                if let Some(map) = &gate.map {
                    let element = encode_key(version, &[(part, address)]);
                    changes.add_element(map, element, Element::Verdict(Verdict::Jump(chain.clone())));
                }
                gate.addresses.insert(address, (chain, rest));
            }
            prologue.gates.push(gate);
        }
        prologue
    }

    /// Removes it.
    pub(super) fn remove(self, changes: &mut Changes) {
        for AddressGate { part, map, addresses } in self.gates {
            if let Some(map) = map {
                changes.delete_set(map);
            }
            for (address, (chain, _)) in addresses {
                changes.rewrite.remove(&Chain::Protected(part, address));
                changes.delete_chain(chain);
            }
        }
    }

    /// The rules of the base chain.
    pub(super) fn rules(&self, version: IpVersion) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.others.iter().map(|tests| accepting(version, tests)).collect();
        for gate in &self.gates {
            let key = vec![gate.part];
            match &gate.map {
                Some(map) => rules.push(vec![Statement::VerdictMap { version, key, map: map.clone() }]),
                None => rules.extend(gate.addresses.iter().map(|(address, (chain, _))| {
                    let test = Test::masked(gate.part.field, gate.part.mask, *address);
                    vec![Statement::Test(version, test), Statement::Verdict(Verdict::Jump(chain.clone()))]
                })),
            }
        }
        rules
    }

    /// The name and the rules of the chain of one address or prefix.
    pub(super) fn chain(&self, version: IpVersion, part: KeyPart, address: u128) -> Option<(String, Vec<Rule>)> {
        let gate = self.gates.iter().find(|gate| gate.part == part)?;
        let (chain, rest) = gate.addresses.get(&address)?;
        Some((chain.clone(), rest.iter().map(|tests| accepting(version, tests)).collect()))
    }
}

fn accepting(version: IpVersion, tests: &[Test]) -> Rule {
    let tests = tests.iter().map(|&test| Statement::Test(version, test));
    tests.chain([Statement::Verdict(Verdict::Accept)]).collect()
}

/// The prefix of the test, if it has one.
fn prefix(test: &Test) -> Option<(KeyPart, u128)> {
    match *test {
        Test::Within { field: field @ (Field::Source | Field::Destination), mask, first, last } if first == last => {
            Some((KeyPart { field, mask }, first))
        }
        _ => None,
    }
}

/// Of two prefixes, the one to test first: the longer, which fewer packets match; of two of one
/// length the source.
fn narrowest(&(_, (part, _)): &(usize, (KeyPart, u128))) -> (u32, bool) {
    (part.mask.count_ones(), part.field == Field::Source)
}
