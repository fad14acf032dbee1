//! A back end under test, with the rules that it was given; after each change, packets are compared
//! with the oracle.

use super::bench::{Bench, Change};
use anyhow::{Context, Result, bail, ensure};
use dataplane::{Applied, Counter, Dataplane, Health, RuleFailure};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::Space;
use flowspec::{Nlri, Packet, Policing, Rule, Scope};
use lab::packet;
use lab::site::{NEIGHBOUR, VICTIM, VICTIM6, Wire};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The UDP packets that are sent after each change: source port and destination.
const PROBES: [(u16, &str); 8] = [
    (53, VICTIM),
    (54, VICTIM),
    (123, VICTIM),
    (60000, VICTIM),
    (61000, VICTIM),
    (53, VICTIM6),
    (54, VICTIM6),
    (7, NEIGHBOUR),
];

/// Runs a case where its back end filters.
pub(crate) fn run<B: Bench>(case: fn(&mut Scenario<'_, B>) -> Result<()>) -> Result<()> {
    let Some(bench) = B::new()? else { return Ok(()) };
    let inside = || -> Result<()> {
        let wire = bench.site().map(lab::Site::wire).transpose()?;
        let plane = bench.open()?;
        let mut scenario = Scenario {
            bench: &bench,
            plane,
            wire,
            wanted: BTreeMap::new(),
            protected: None,
            applied: Applied::default(),
            changes: 0,
            latest: "no change".to_owned(),
        };
        case(&mut scenario).with_context(|| format!("after change {}: {}", scenario.changes, scenario.latest))
    };
    match bench.site() {
        Some(site) => site.switch.run(inside),
        None => inside(),
    }
}

pub(crate) struct Scenario<'a, B> {
    pub bench: &'a B,
    pub plane: Box<dyn Dataplane>,
    wire: Option<Wire>,
    /// The rules that the back end was told, in enforcement order.
    wanted: BTreeMap<Nlri, Rule>,
    protected: Option<Nlri>,
    applied: Applied,
    /// Changes so far, and what the latest was: an error tells it.
    changes: usize,
    latest: String,
}

impl<B: Bench> Scenario<'_, B> {
    /// Whether packets meet the rules.
    pub(crate) fn enforces(&self) -> bool {
        self.wire.is_some()
    }

    /// Another run of the program, in the place of the one before; it has been told nothing.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.plane = Box::new(dataplane::NoDataplane::new());
        self.plane = self.bench.open()?;
        Ok(())
    }

    /// Puts exactly these rules in force.
    pub(crate) fn replace(&mut self, texts: &[&str]) -> Result<()> {
        self.try_change(Change::Replace, texts, &[])?;
        self.verify()
    }

    /// Adds rules, and takes out others.
    pub(crate) fn update(&mut self, upsert: &[&str], remove: &[&str]) -> Result<()> {
        self.try_change(Change::Update, upsert, remove)?;
        self.verify()
    }

    /// A change that may fail; then nothing was changed. For [`Change::Replace`], `upsert` is all
    /// rules.
    pub(crate) fn try_change(&mut self, change: Change, upsert: &[&str], remove: &[&str]) -> Result<()> {
        self.changes += 1;
        self.latest = match (upsert, remove) {
            (&[.., rule], []) => format!("{change:?} with {} rules, the last {rule}", upsert.len()),
            _ => format!("{change:?} with {} rules, without {remove:?}", upsert.len()),
        };
        let added = upsert.iter().map(|text| self.parse(text)).collect::<Result<Vec<_>>>()?;
        let removed = remove.iter().map(|text| self.parse(text)).collect::<Result<Vec<_>>>()?;
        let mut wanted = if change == Change::Replace { BTreeMap::new() } else { self.wanted.clone() };
        for (rule, _) in &removed {
            ensure!(wanted.remove(&rule.nlri).is_some(), "the case takes out what is not there: {}", rule.nlri);
        }
        wanted.extend(added.iter().map(|(rule, _)| (rule.nlri.clone(), rule.clone())));
        let changed: BTreeSet<_> = added.iter().chain(&removed).map(|(rule, _)| rule.nlri.clone()).collect();
        let compiled = added.into_iter().map(|(_, compiled)| compiled);
        let applied = match change {
            Change::Replace => {
                let mut rules: Vec<_> = compiled.collect();
                rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
                self.plane.replace(&Ruleset { protected: self.protected_spaces(), rules })?
            }
            Change::Update => {
                let remove = removed.into_iter().map(|(_, compiled)| compiled.nlri.clone()).collect();
                self.plane.update(&Plan { upsert: compiled.collect(), remove, protected: None })?
            }
        };
        // What was told before and not asked for again is as it was, as for the engine.
        self.applied.failures.retain(|(nlri, _)| change == Change::Update && !changed.contains(&**nlri));
        self.note(applied);
        self.wanted = wanted;
        Ok(())
    }

    fn note(&mut self, applied: Applied) {
        self.applied.failures.retain(|(nlri, _)| applied.failures.iter().all(|(other, _)| nlri != other));
        self.applied.failures.extend(applied.failures);
    }

    /// Whoever announced the rules that are not in force takes them back. The back end is not told:
    /// it has said that it does not have them.
    pub(crate) fn withdraw_what_failed(&mut self) -> Result<()> {
        ensure!(!self.applied.failures.is_empty(), "all rules are in force");
        for (nlri, _) in self.applied.failures.drain(..) {
            self.wanted.remove(&*nlri);
        }
        Ok(())
    }

    /// Protects the packets that this rule matches, and no others.
    pub(crate) fn protect(&mut self, text: Option<&str>) -> Result<()> {
        self.changes += 1;
        self.latest = format!("protects {text:?}");
        self.protected = text.map(|text| anyhow::Ok(self.parse(text)?.0.nlri)).transpose()?;
        let plan = Plan { protected: Some(self.protected_spaces()), ..Plan::default() };
        let applied = self.plane.update(&plan)?;
        self.note(applied);
        self.verify()
    }

    fn protected_spaces(&self) -> Arc<Vec<Space>> {
        Arc::new(self.protected.iter().map(Space::of).collect())
    }

    /// A rule as the engine hands it over; one that the compiler refuses goes to the back end as it
    /// is.
    fn parse(&self, text: &str) -> Result<(Rule, Arc<CompiledRule>)> {
        let rule: Rule = text.parse().with_context(|| text.to_owned())?;
        let compiled = match compile(&rule, &self.plane.capabilities()) {
            Verdict::Exact(compiled) => compiled,
            Verdict::Refused(_) => CompiledRule {
                nlri: Arc::new(rule.nlri.clone()),
                id: rule.nlri.id(),
                effect: rule.effect(),
                entries: vec![Space::of(&rule.nlri)],
            },
        };
        Ok((rule, Arc::new(compiled)))
    }

    /// Why this rule, which is wanted, is not in force; `None` when it is.
    fn failure(&self, text: &str) -> Result<Option<&RuleFailure>> {
        let nlri = self.parse(text)?.0.nlri;
        ensure!(self.wanted.contains_key(&nlri), "{text} is not wanted");
        Ok(self.applied.failures.iter().find(|(failed, _)| **failed == nlri).map(|(_, failure)| failure))
    }

    pub(crate) fn is_in_force(&self, text: &str) -> Result<()> {
        let failure = self.failure(text)?;
        ensure!(failure.is_none(), "`{text}` should be in force: {failure:?}");
        Ok(())
    }

    pub(crate) fn is_not_in_force(&self, text: &str) -> Result<()> {
        ensure!(self.failure(text)?.is_some(), "`{text}` should not be in force");
        Ok(())
    }

    /// The back end told that it failed to put this rule in force, or one that it waits for.
    pub(crate) fn has_failed(&self, text: &str) -> Result<()> {
        let failure = self.failure(text)?;
        ensure!(
            matches!(failure, Some(RuleFailure::Failed(_))),
            "`{text}` should have failed, and is told as {failure:?}"
        );
        Ok(())
    }

    /// The back end told that there is no room for this rule, or for one that it waits for.
    pub(crate) fn has_no_room(&self, text: &str) -> Result<()> {
        let failure = self.failure(text)?;
        ensure!(
            matches!(failure, Some(RuleFailure::OverCapacity(_))),
            "`{text}` should be over capacity, and is told as {failure:?}"
        );
        Ok(())
    }

    /// All rules are in force.
    pub(crate) fn all_in_force(&self) -> Result<()> {
        ensure!(self.applied.failures.is_empty(), "not in force: {:?}", self.applied.failures);
        Ok(())
    }

    /// The back end does to packets what the rules say that it says are in force, and drops none
    /// that all rules together would not.
    pub(crate) fn verify(&mut self) -> Result<()> {
        for (nlri, _) in &self.applied.failures {
            ensure!(self.wanted.contains_key(nlri), "a failure of a rule that is not wanted: {nlri}");
        }
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let packets = PROBES.iter().map(|&(port, to)| probe(port, to)).collect::<Result<Vec<_>>>()?;
        let arrived = wire.arrivals(&packets)?;
        let failed = |rule: &&Rule| self.applied.failures.iter().any(|(nlri, _)| **nlri == rule.nlri);
        let in_force: Vec<&Rule> = self.wanted.values().filter(|rule| !failed(rule)).collect();
        for ((octets, arrived), name) in packets.iter().zip(arrived).zip(PROBES) {
            let packet = Packet::from_ip(octets)?;
            let is_protected = self.protected.as_ref().is_some_and(|nlri| nlri.matches(&packet).is_ok());
            let drops = |rules: &[&Rule]| {
                let decision = flowspec::decide(rules.iter().copied(), &packet, Scope::Global);
                !is_protected && decision.effect.policing == Policing::Discard
            };
            let failures = || self.applied.failures.iter().map(|(nlri, why)| (nlri.to_string(), why));
            let state =
                || format!("{name:?}; of {} rules failed {:?}", self.wanted.len(), failures().collect::<Vec<_>>());
            ensure!(arrived != drops(&in_force), "it {} by {}", if arrived { "passes" } else { "is dropped" }, state());
            let all: Vec<&Rule> = self.wanted.values().collect();
            ensure!(arrived || drops(&all), "dropped, which all rules together would not do: {}", state());
        }
        Ok(())
    }

    /// Sends a probe so many times.
    pub(crate) fn send(&mut self, count: usize, port: u16, to: &str) -> Result<()> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        for _ in 0..count {
            wire.send(&probe(port, to)?)?;
        }
        // Behind them comes a packet that is waited for.
        wire.arrivals(&[])?;
        Ok(())
    }

    /// What a rule has counted.
    pub(crate) fn counter(&mut self, text: &str) -> Result<Counter> {
        let nlri = self.parse(text)?.0.nlri;
        let counters = self.plane.counters()?;
        let found = counters.iter().find(|(counted, _)| **counted == nlri);
        Ok(found.with_context(|| format!("no counter of {text} among {counters:?}"))?.1)
    }

    /// Counters are those of the rules in force, and a reading beside changes tells the same.
    pub(crate) fn counters_are_those_of_the_rules(&mut self) -> Result<()> {
        let counters: BTreeMap<Arc<Nlri>, Counter> = self.plane.counters()?.into_iter().collect();
        if !self.enforces() {
            ensure!(counters.is_empty(), "{counters:?}");
            return Ok(());
        }
        let failed: Vec<&Nlri> = self.applied.failures.iter().map(|(nlri, _)| &**nlri).collect();
        let in_force: Vec<&Nlri> = self.wanted.keys().filter(|nlri| !failed.contains(nlri)).collect();
        let counted: Vec<&Nlri> = counters.keys().map(|nlri| &**nlri).collect();
        ensure!(counted == in_force, "counted: {counted:?}, in force: {in_force:?}");
        if let Some(reading) = self.plane.reading() {
            let counts = reading()?;
            ensure!(!counts.disturbed, "nobody changed anything");
            for (nlri, counter) in &counters {
                let rule = &self.wanted[&**nlri];
                let read = counts.of(nlri.id(), &rule.effect().policing);
                ensure!(read == *counter, "{nlri}: {read:?}, {counter:?}");
            }
        }
        Ok(())
    }

    /// What was applied is found to be there.
    pub(crate) fn intact(&mut self) -> Result<()> {
        match self.plane.health()? {
            Health::Intact => Ok(()),
            other => bail!("{other:?}"),
        }
    }
}

fn probe(port: u16, to: &str) -> Result<Vec<u8>> {
    let to: IpAddr = to.parse()?;
    let from: IpAddr = if to.is_ipv4() { "198.51.100.1" } else { "2001:db8:1::1" }.parse()?;
    Ok(packet::udp(SocketAddr::new(from, port), SocketAddr::new(to, 9), &[7; 40]))
}
