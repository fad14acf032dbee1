//! Decides which rules can redirect, and keeps their neighbours resolved.
//!
//! A rule is put in force only if the kernel has a route to its target from every filtered
//! interface, over an interface that can send the packets. That may change at any time; the back
//! end checks again once a second. Packets that the program cannot redirect in between, it passes.

use super::devices::{Device, Devices};
use super::effect::effective_redirect;
use super::neighbours::{Neighbour, Neighbours};
use super::program::map_fd;
use super::routes::{RouteLookup, Routes};
use crate::DataplaneError;
use aya::Ebpf;
use engine::plan::{CompiledRule, RuleFailure};
use flowspec::Nlri;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A filtered interface: its index, and whether it is in native mode; `None` if that is not known
/// yet.
pub(super) type Ingress = (u32, Option<bool>);

/// How long a neighbour may not answer before that is reported.
const PATIENCE: Duration = Duration::from_secs(3);

/// The rules that redirect.
#[derive(Debug)]
pub(super) struct Redirects {
    routes: Routes,
    /// `None` until a rule needs it.
    devices: Option<Devices>,
    neighbours: Neighbours,
    /// Wanted rules, in force or not, and their targets.
    wanted: BTreeMap<Arc<Nlri>, IpAddr>,
    /// Targets that cannot be reached, and why.
    unenforceable: BTreeMap<IpAddr, Unreachable>,
    /// The targets of the last check.
    known: BTreeSet<IpAddr>,
    /// Targets whose neighbour does not answer, and since when.
    silent: BTreeMap<IpAddr, (Neighbour, Instant)>,
    names: BTreeMap<u32, String>,
}

impl Redirects {
    /// For the program with these tables.
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        Ok(Redirects {
            routes: Routes::load(ebpf)?,
            devices: None,
            neighbours: Neighbours::default(),
            wanted: BTreeMap::new(),
            unenforceable: BTreeMap::new(),
            known: BTreeSet::new(),
            silent: BTreeMap::new(),
            names: BTreeMap::new(),
        })
    }

    /// Exactly these rules are wanted.
    pub(super) fn replace(&mut self, rules: &[Arc<CompiledRule>]) {
        self.wanted.clear();
        self.change(rules, &[]);
    }

    /// Applies a change of the wanted rules; true if another check is needed.
    pub(super) fn change(&mut self, upsert: &[Arc<CompiledRule>], remove: &[Arc<Nlri>]) -> bool {
        let mut changed = false;
        for nlri in remove {
            changed |= self.wanted.remove(nlri).is_some();
        }
        for rule in upsert {
            let target = effective_redirect(&rule.effect);
            let before = match target {
                Some(target) => self.wanted.insert(rule.nlri.clone(), target),
                None => self.wanted.remove(&rule.nlri),
            };
            changed |= before != target;
        }
        changed || self.wanted.values().any(|target| !self.known.contains(target))
    }

    /// Checks which targets can be reached from these interfaces; true if the result has changed
    /// for one of the targets of the last check.
    pub(super) fn probe(&mut self, ebpf: &mut Ebpf, ingress: &[Ingress]) -> Result<bool, DataplaneError> {
        let io = |source| DataplaneError::Io { context: "look up redirect targets".into(), source };
        let targets: BTreeSet<IpAddr> = self.wanted.values().copied().collect();
        if targets.is_empty() && self.devices.is_none() {
            // An earlier run may have kept neighbours that are no longer needed.
            self.neighbours.keep(BTreeSet::new(), &BTreeSet::new()).map_err(io)?;
            return Ok(false);
        }
        if self.devices.is_none() {
            self.devices = Some(Devices::follow(map_fd(ebpf, "devices")?).map_err(io)?);
        }
        let Some(followed) = &self.devices else { return Ok(false) };
        let is_generic = |(_, native): &&Ingress| *native == Some(false);
        let devices = followed.refresh(ingress.iter().filter(is_generic).map(|(index, _)| *index).collect());
        let devices = devices.map_err(io)?;
        let is_native = |(index, native): &Ingress| {
            (*index, native.unwrap_or_else(|| devices.get(index).is_some_and(Device::takes_programs)))
        };
        let ingress: Vec<(u32, bool)> = ingress.iter().map(is_native).collect();
        let questions: Vec<((u32, bool), IpAddr)> =
            targets.iter().flat_map(|target| ingress.iter().map(|from| (*from, *target))).collect();
        let asked: Vec<(u32, IpAddr)> = questions.iter().map(|((from, _), target)| (*from, *target)).collect();
        let ways = self.routes.ask(ebpf, &asked)?;

        let (mut unenforceable, mut silent) = (BTreeMap::new(), BTreeMap::new());
        let (mut needed, mut unresolved) = (BTreeSet::new(), BTreeSet::new());
        for ((from, target), way) in questions.into_iter().zip(ways) {
            match usable_neighbour(from, target, way, &devices) {
                Ok((neighbour, resolved)) => {
                    needed.insert(neighbour);
                    if !resolved {
                        unresolved.insert(neighbour);
                        let since = self.silent.get(&target).map_or_else(Instant::now, |(_, since)| *since);
                        silent.insert(target, (neighbour, since));
                    }
                }
                Err(why) => drop(unenforceable.entry(target).or_insert(why)),
            }
        }
        self.neighbours.keep(needed, &unresolved).map_err(io)?;
        self.names = devices.into_iter().map(|(index, device)| (index, device.name)).collect();
        self.silent = silent;
        let changed =
            self.known.intersection(&targets).any(|target| unenforceable.get(target) != self.unenforceable.get(target));
        (self.unenforceable, self.known) = (unenforceable, targets);
        Ok(changed)
    }

    /// Why a rule cannot be in force because of its redirect.
    pub(super) fn refuses(&self, rule: &CompiledRule) -> Option<RuleFailure> {
        let target = effective_redirect(&rule.effect)?;
        let why = match self.unenforceable.get(&target) {
            Some(why) => why.to_string(),
            None if self.known.contains(&target) => return None,
            None => "the way there is not known yet".to_owned(),
        };
        Some(RuleFailure::Failed(format!("XDP cannot redirect to {target}: {why}")))
    }

    /// Rules in force whose packets are passed, since the neighbour does not answer.
    pub(super) fn warnings(&self) -> Vec<String> {
        let is_told = |(target, (_, since)): &(&IpAddr, &(Neighbour, Instant))| {
            since.elapsed() > PATIENCE && !self.unenforceable.contains_key(target)
        };
        let say = |(target, ((interface, next), _)): (&IpAddr, &(Neighbour, Instant))| {
            let interface = self.names.get(interface).map_or("?", String::as_str);
            format!("packets to be redirected to {target} are passed: {next} on {interface} does not answer")
        };
        self.silent.iter().filter(is_told).map(say).collect()
    }
}

/// Why packets cannot be redirected to a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unreachable {
    /// The interface to the neighbour cannot send them.
    #[error("{device}, the egress interface, {why}")]
    CannotSend {
        /// Its name.
        device: String,
        /// A clause without its subject.
        why: &'static str,
    },
    /// The interface to the neighbour is gone.
    #[error("{device}, the egress interface, is gone")]
    Gone {
        /// Its name, or number.
        device: String,
    },
    /// The kernel has no usable route.
    #[error("{}", RouteLookup::unreachable_reason(*outcome, ingress, *target))]
    NoRoute {
        /// The kernel's result code.
        outcome: i32,
        /// The interface that receives the packets.
        ingress: String,
        /// Their target.
        target: IpAddr,
    },
}

/// The neighbour to send to and whether its address is known, or why packets cannot be sent.
fn usable_neighbour(
    (ingress, native): (u32, bool),
    target: IpAddr,
    way: RouteLookup,
    devices: &BTreeMap<u32, Device>,
) -> Result<(Neighbour, bool), Unreachable> {
    let name = |index: u32| devices.get(&index).map_or_else(|| format!("interface {index}"), |d| d.name.clone());
    match way {
        RouteLookup::To { egress, next, resolved } => {
            match devices.get(&egress).map(|device| device.cannot_send(native)) {
                Some(None) => Ok(((egress, next), resolved)),
                Some(Some(why)) => Err(Unreachable::CannotSend { device: name(egress), why }),
                None => Err(Unreachable::Gone { device: name(egress) }),
            }
        }
        RouteLookup::None(outcome) => Err(Unreachable::NoRoute { outcome, ingress: name(ingress), target }),
    }
}
