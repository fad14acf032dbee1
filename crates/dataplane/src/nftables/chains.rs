//! The rules of each chain, derived from the program.

use super::changes::Chain;
use super::conjunction::conjunctions;
use super::field::{Field, Test};
use super::groups::{Bucket, Group, Placed, Slot, single};
use super::limit::{Limit, Unit, countable};
use super::program::Program;
use super::statement::{Rule, Statement, Verdict};
use super::table::BASE;
use super::template::{GroupKey, RuleActions, SlotKey, Terminal, destination_part};
use engine::plan::CompiledRule;
use flowspec::{IpVersion, Policing};

impl Program {
    /// The chain's name and rules; `None` if it no longer exists.
    pub(super) fn chain(&self, chain: &Chain) -> Option<(String, Vec<Rule>)> {
        match chain {
            Chain::Base => Some((BASE.to_owned(), self.base_rules())),
            Chain::Protected(part, address) => self.prologue().chain(self.version(), *part, *address),
            Chain::Group(key) => {
                let group = self.groups().get(key)?;
                Some((group.chain.clone(), self.group_rules(key, group)))
            }
            Chain::Destination(key, bits) => {
                let bucket = self.groups().get(key)?.buckets.get(bits)?;
                Some((bucket.own.clone()?, self.destination_rules(bucket)))
            }
            Chain::Police(nlri) => {
                let placed = self.placed(nlri)?;
                let name = placed.police.as_deref()?.to_owned();
                Some((name, self.police_rules(&placed.rule)))
            }
        }
    }

    /// None while there are no rules: that costs the least.
    fn base_rules(&self) -> Vec<Rule> {
        if self.groups().is_empty() {
            return Vec::new();
        }
        let not_filtered = match self.options().interfaces.is_empty() {
            // A VRF's packets traverse this hook twice; `meta sdif` could detect that, but not at
            // this hook.
            true => vec![Statement::FromLoopback, Statement::FromVrf],
            // VRF devices are not among the names (`Options::interfaces`).
            false => vec![Statement::FromOther { set: self.names().interfaces() }],
        };
        let accepting = |from| vec![from, Statement::Verdict(Verdict::Accept)];
        let mut rules: Vec<Rule> = not_filtered.into_iter().map(accepting).collect();
        if self.version() == IpVersion::V6 {
            rules.push(vec![Statement::NeighborDiscovery, Statement::Verdict(Verdict::Accept)]);
        }
        rules.extend(self.prologue().rules(self.version()));
        for (key, group) in self.groups() {
            match key.mask {
                Some(mask) => rules.push(vec![
                    Statement::Lookup {
                        version: self.version(),
                        key: destination_part(mask),
                        set: group.destinations.clone(),
                    },
                    Statement::Verdict(Verdict::Jump(group.chain.clone())),
                ]),
                None => rules.extend(self.group_rules(key, group)),
            }
        }
        rules
    }

    fn group_rules(&self, key: &GroupKey, group: &Group) -> Vec<Rule> {
        let version = self.version();
        let own = key.mask.filter(|_| group.own > 0);
        let own = own
            .map(|mask| vec![Statement::VerdictMap { version, key: destination_part(mask), map: group.map.clone() }]);
        let slots = group.slots.0.iter().flat_map(|(key, slot)| self.slot_rules(key, slot));
        own.into_iter().chain(slots).collect()
    }

    fn slot_rules(&self, key: &SlotKey, slot: &Slot) -> Vec<Rule> {
        let version = self.version();
        let mut rule: Rule = key.fixed.iter().map(|&test| Statement::Test(version, test)).collect();
        let lookup = |set: &String| Statement::Lookup { version, key: key.key.clone(), set: set.clone() };
        let mut rules = Vec::new();
        if let Some(over) = &slot.over {
            let mut over: Rule = rule.iter().cloned().chain([lookup(&over.limits), lookup(&over.dropped)]).collect();
            if key.actions.sample {
                over.push(self.log());
            }
            over.push(Statement::Verdict(Verdict::Drop));
            rules.push(over);
        }
        rule.push(if single(key) { Statement::Counter(slot.name.clone()) } else { lookup(&slot.name) });
        rule.extend(self.actions(&key.actions));
        rules.push(rule);
        rules
    }

    fn destination_rules(&self, bucket: &Bucket) -> Vec<Rule> {
        let placed = bucket.rules.iter().filter_map(|nlri| self.placed(nlri));
        placed.flat_map(|placed| self.rule_in_chain(placed)).collect()
    }

    /// A rule in a chain whose packets already have its destination.
    fn rule_in_chain(&self, placed: &Placed) -> Vec<Rule> {
        let counter = self.names().rule_counter(placed.rule.id);
        let actions = RuleActions::of(&placed.rule);
        let one = |tests: Vec<Test>| {
            let tests = tests.into_iter().filter(|test| test.field() != Field::Destination);
            let mut rule: Rule = tests.map(|test| Statement::Test(self.version(), test)).collect();
            rule.push(Statement::Counter(counter.clone()));
            rule.extend(self.actions(&actions));
            rule
        };
        placed.rule.entries.iter().flat_map(conjunctions).map(one).collect()
    }

    fn actions(&self, actions: &RuleActions) -> Rule {
        let mut rule = Rule::new();
        if actions.sample {
            rule.push(self.log());
        }
        rule.extend(actions.mark.map(|dscp| Statement::SetDscp(self.version(), dscp)));
        rule.extend(match actions.terminal {
            Terminal::Drop => Some(Statement::Verdict(Verdict::Drop)),
            Terminal::Accept | Terminal::Limit { continues: false, .. } => Some(Statement::Verdict(Verdict::Accept)),
            Terminal::Continue | Terminal::Limit { continues: true, .. } => None,
            Terminal::Police(id) => {
                self.police_chain(id).map(|chain| Statement::Verdict(Verdict::Jump(chain.to_owned())))
            }
        });
        rule
    }

    fn log(&self) -> Statement {
        Statement::Log { group: self.options().sample_group, octets: self.options().sample_octets }
    }

    /// The rest of a policed rule. The chain ends with a verdict unless evaluation continues.
    fn police_rules(&self, rule: &CompiledRule) -> Vec<Rule> {
        let Policing::Limit { bytes, packets } = countable(rule.effect.policing) else { return Vec::new() };
        let mut rules = Vec::new();
        if rule.effect.sample {
            rules.push(vec![self.log()]);
        }
        let limits = [(Unit::Bytes, bytes), (Unit::Packets, packets)];
        for (unit, rate) in limits {
            rules.extend(rate.map(|rate| {
                vec![
                    Statement::OverLimit(Limit::new(unit, rate)),
                    Statement::Counter(self.names().dropped_counter(rule.id)),
                    Statement::Verdict(Verdict::Drop),
                ]
            }));
        }
        if !rule.effect.continues {
            let mark = rule.effect.mark.map(|dscp| Statement::SetDscp(self.version(), dscp));
            rules.push(mark.into_iter().chain([Statement::Verdict(Verdict::Accept)]).collect());
        }
        rules
    }
}
