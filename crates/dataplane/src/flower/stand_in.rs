//! A stand-in for the kernel and the driver of a switch, which is none: it takes, refuses and
//! leaves out what their sources say. For tests of what the back end makes of refusals, of
//! conditions that are left out without a word, and of a full table.

use super::backend::Flower;
use super::decode;
use super::devlink::Occupancy;
use super::driver::Driver;
use super::encode::filter_with_flags;
use super::filter::{Action, Filter, Place, Purpose};
use super::kernel::{Disturbance, Kernel, Refusal, Request};
use super::key::EtherType;
use super::pkt_cls::*;
use super::settings::Settings;
use crate::netlink::{Attributes, push, u32_at};
use crate::{Attachment, Dataplane, Health, RuleFailure};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::IpVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What the switch has, and how it behaves.
#[derive(Debug, Default)]
struct Switch {
    filters: BTreeMap<Place, Filter>,
    templates: BTreeSet<u32>,
    blocks: BTreeMap<u32, u32>,
    /// Filters that there is room for.
    room: usize,
    /// A field that the driver takes and does not compare.
    leaves_out_tos: bool,
    /// The driver takes filters and does not put them into the switch.
    not_in_hardware: bool,
    /// The most filters that there were at once.
    most: usize,
    /// The driver is prestera, and not mlxsw.
    prestera: bool,
    /// Flow counters that others use, where the driver tells.
    counters_of_others: Option<u64>,
}

#[derive(Clone, Debug)]
struct StandIn(Arc<Mutex<Switch>>);

impl StandIn {
    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.0.lock().expect("no test panics with it")
    }
}

impl Switch {
    fn new_filter(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let told = decode::filter(body).expect("a filter with a number");
        let mut filter = told.filter.expect("one that can be read");
        filter.purpose = told.purpose.expect("one of ours");
        assert!(filter.hardware && filter.key.ignored().is_none(), "{filter:?}");
        assert_eq!(filter.key.ether_type, EtherType::IpVersion, "a filter for every EtherType");
        if self.prestera {
            self.take_as_prestera(&mut filter)?;
        } else {
            self.take_as_mlxsw(&filter)?;
        }
        if !self.filters.contains_key(&filter.place()) && self.filters.len() >= self.room {
            return Err(Refusal { errno: libc::ENOSPC, words: None });
        }
        if self.leaves_out_tos {
            filter.key.tos = None;
        }
        self.filters.insert(filter.place(), filter);
        self.most = self.most.max(self.filters.len());
        Ok(())
    }

    /// What prestera refuses; what it leaves out without a word is left out.
    fn take_as_prestera(&self, filter: &mut Filter) -> Result<(), Refusal> {
        let refuse = |errno, words: &str| Err(Refusal { errno, words: Some(words.to_owned()) });
        if filter.key.tos.is_some() || filter.key.ttl.is_some() || filter.key.tcp_flags.is_some() {
            return refuse(libc::EOPNOTSUPP, "prestera: Unsupported key");
        }
        // It programs no IPv6 address, and before Linux 6.10 no kind of fragment.
        if filter.key.version == IpVersion::V6 {
            (filter.key.source, filter.key.destination) = (None, None);
        }
        filter.key.fragment = None;
        for action in &mut filter.actions {
            match action {
                // A limit in packets becomes one of no bytes.
                Action::Police { limit, .. } if !limit.bytes => limit.rate = 0,
                Action::Mark(_) | Action::Checksum | Action::Sample { .. } => {
                    return refuse(libc::EOPNOTSUPP, "prestera: Unsupported action");
                }
                Action::Goto(chain) if *chain <= filter.chain => {
                    return refuse(libc::EOPNOTSUPP, "prestera: Can only goto a later chain");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_as_mlxsw(&self, filter: &Filter) -> Result<(), Refusal> {
        let refuse = |errno, words: &str| Err(Refusal { errno, words: Some(words.to_owned()) });
        if filter.key.icmp_type.is_some() || filter.key.fragment.is_some() {
            return refuse(libc::EOPNOTSUPP, "mlxsw_spectrum: Unsupported key");
        }
        if filter.key.tcp_flags.is_some_and(|flags| flags.mask & 0xe00 != 0) {
            return refuse(libc::EINVAL, "mlxsw_spectrum: TCP flags match not supported on reserved bits");
        }
        for action in &filter.actions {
            match action {
                Action::Police { limit, .. } if !limit.bytes || limit.rate < 1000 => {
                    return refuse(libc::EOPNOTSUPP, "mlxsw_spectrum: QoS offload not support packets per second");
                }
                Action::Checksum | Action::Sample { .. } => {
                    return refuse(libc::EOPNOTSUPP, "mlxsw_spectrum: Unsupported action");
                }
                Action::Goto(chain) if !self.filters.keys().any(|place| place.0 == *chain) => {
                    return refuse(libc::EINVAL, "mlxsw_spectrum: Cannot go to an empty chain");
                }
                _ => {}
            }
        }
        if filter.chain != 0 && !self.templates.contains(&filter.chain) {
            return refuse(libc::EOPNOTSUPP, "the stand-in wants a template");
        }
        Ok(())
    }

    fn tell(&self, filter: &Filter) -> Vec<u8> {
        let placed = if self.not_in_hardware { 8 } else { TCA_CLS_FLAGS_IN_HW };
        filter_with_flags(filter, Settings::default().block, TCA_CLS_FLAGS_SKIP_SW | placed)
    }
}

fn chain_of(body: &[u8]) -> u32 {
    let value = Attributes(&body[TCMSG..]).find(TCA_CHAIN);
    value.and_then(|value| u32_at(value, 0)).unwrap_or(0)
}

impl Kernel for StandIn {
    fn execute(&mut self, requests: &[Request]) -> io::Result<Vec<Result<(), Refusal>>> {
        let mut switch = self.switch();
        let outcomes = requests.iter().map(|request| {
            let body = &request.body;
            match request.kind {
                RTM_NEWTFILTER => return switch.new_filter(body),
                RTM_DELTFILTER => {
                    let info = u32_at(body, 16).unwrap_or(0);
                    let place = (chain_of(body), (info >> 16) as u16, u32_at(body, 8).unwrap_or(0));
                    switch.filters.remove(&place);
                }
                RTM_NEWCHAIN => drop(switch.templates.insert(chain_of(body))),
                RTM_DELCHAIN => {
                    let chain = chain_of(body);
                    switch.filters.retain(|place, _| place.0 != chain);
                    switch.templates.remove(&chain);
                }
                RTM_NEWQDISC => {
                    let block = Attributes(&body[TCMSG..]).find(TCA_INGRESS_BLOCK).and_then(|value| u32_at(value, 0));
                    switch.blocks.insert(u32_at(body, 4).unwrap_or(0), block.unwrap_or(0));
                }
                other => panic!("request {other}"),
            }
            Ok(())
        });
        Ok(outcomes.collect())
    }

    fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let switch = self.switch();
        Ok(match kind {
            RTM_GETTFILTER => {
                let chain = chain_of(body);
                let there = switch.filters.values().filter(|filter| filter.chain == chain);
                there.map(|filter| switch.tell(filter)).collect()
            }
            RTM_GETCHAIN => {
                let with_filters = switch.filters.keys().map(|place| place.0);
                let chains: BTreeSet<u32> = switch.templates.iter().copied().chain(with_filters).collect();
                chains.into_iter().map(|chain| super::encode::chain(chain, 3970)).collect()
            }
            RTM_GETQDISC => switch
                .blocks
                .iter()
                .map(|(index, block)| {
                    let mut body = super::encode::tcmsg(*index, 0xffff_0000, TC_H_CLSACT, 0);
                    push(&mut body, TCA_INGRESS_BLOCK, &block.to_ne_bytes());
                    body
                })
                .collect(),
            _ => Vec::new(),
        })
    }

    fn get(&mut self, body: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let switch = self.switch();
        let info = u32_at(body, 16).unwrap_or(0);
        let place = (chain_of(body), (info >> 16) as u16, u32_at(body, 8).unwrap_or(0));
        Ok(switch.filters.get(&place).map(|filter| switch.tell(filter)))
    }

    fn links(&mut self) -> io::Result<Vec<crate::Link>> {
        let link = |index: u32, name: &str| crate::Link { index, name: name.to_owned(), kind: None, master: None };
        Ok(vec![link(1, "lo"), link(2, "eth0"), link(3, "swp1"), link(4, "swp2")])
    }

    fn driver(&mut self, interface: &str) -> Option<String> {
        let of_switch = if self.switch().prestera { "prestera" } else { "mlxsw_spectrum3" };
        Some(if interface == "eth0" { "igb" } else { of_switch }.to_owned())
    }

    fn flow_counters(&mut self, interface: &str) -> Option<Occupancy> {
        assert_eq!(interface, "swp1", "the first port of the switch");
        let switch = self.switch();
        let used = switch.counters_of_others? + 2 * switch.filters.len() as u64;
        Some(Occupancy { size: 2 * switch.room as u64 + switch.counters_of_others?, used })
    }

    fn disturbance(&mut self, _: u32) -> Disturbance {
        Disturbance { filters: true, links: false }
    }

    fn another(&self) -> io::Result<Box<dyn Kernel>> {
        Ok(Box::new(self.clone()))
    }
}

fn mlxsw(room: usize) -> (Flower, StandIn) {
    stand_in(Driver::Mlxsw, Switch { room, ..Switch::default() })
}

fn stand_in(driver: Driver, switch: Switch) -> (Flower, StandIn) {
    let stand_in = StandIn(Arc::new(Mutex::new(switch)));
    let interfaces = vec!["swp*".to_owned(), "eth0".to_owned()];
    let settings = Settings { driver, interfaces, ..Settings::default() };
    (Flower::with_kernel(settings, Box::new(stand_in.clone())).expect("settings that can be used"), stand_in)
}

fn compiled(plane: &Flower, texts: &[&str]) -> Vec<Arc<CompiledRule>> {
    let mut rules: Vec<Arc<CompiledRule>> = texts
        .iter()
        .map(|text| match compile(&text.parse().expect(text), &plane.capabilities()) {
            Verdict::Exact(rule) => Arc::new(rule),
            Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
        })
        .collect();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    rules
}

fn ruleset(plane: &Flower, texts: &[&str]) -> Ruleset {
    Ruleset { protected: Arc::default(), rules: compiled(plane, texts) }
}

#[test]
fn a_switch_gets_filters_in_chains_with_templates_and_only_on_its_ports() {
    let (mut plane, stand_in) = mlxsw(100);
    let rules = ["dst 192.0.2.1/32 proto udp dport 53 then discard", "dst 2001:db8::1/128 dscp 46 then rate 8mbps"];
    let applied = plane.replace(&ruleset(&plane, &rules)).expect("it is taken");
    assert!(applied.failures.is_empty(), "{applied:?}");
    let modes: Vec<_> = plane.condition().interfaces.into_iter().map(|port| (port.name, port.attachment)).collect();
    assert_eq!(modes[0], ("eth0".to_owned(), Attachment::None("its driver is igb, and not mlxsw".to_owned())));
    assert_eq!(modes[1].1, Attachment::Native);
    let switch = stand_in.switch();
    assert_eq!((switch.blocks.len(), switch.templates.len()), (2, 2));
    let of_rules = switch.filters.values().filter(|filter| matches!(filter.purpose, Purpose::Rule(_)));
    assert_eq!(of_rules.count(), 2);
    drop(switch);
    assert_eq!(plane.health().expect("a look"), Health::Intact);
    plane.replace(&ruleset(&plane, &rules[..1])).expect("it is taken");
    assert_eq!(stand_in.switch().templates.len(), 1, "old chains go");
}

#[test]
fn a_condition_that_is_silently_left_out_is_found() {
    let (mut plane, stand_in) = mlxsw(100);
    stand_in.switch().leaves_out_tos = true;
    let (marked, all) = ("dst 192.0.2.1/32 dscp 46 then accept", "dst 192.0.2.0/24 then discard");
    let other = "dst 198.51.100.1/32 then discard";
    for by_change in [false, true] {
        let applied = if by_change {
            plane.replace(&ruleset(&plane, &[all, other])).expect("it is taken");
            let plan = Plan { upsert: compiled(&plane, &[marked]), ..Plan::default() };
            plane.update(&plan).expect("it is taken")
        } else {
            plane.replace(&ruleset(&plane, &[marked, all, other])).expect("it is taken")
        };
        let words = format!("{:?}", applied.failures);
        assert_eq!(applied.failures.len(), 2, "by change: {by_change}: {words}");
        assert!(words.contains("the kernel has it otherwise") && words.contains("is not in force"), "{words}");
        let switch = stand_in.switch();
        let left = switch.filters.values().filter(|filter| matches!(filter.purpose, Purpose::Rule(_))).count();
        assert_eq!(left, 1, "the filter that matches more is gone, and the rule that needs it");
    }
}

#[test]
fn what_is_not_in_the_switch_is_not_in_force() {
    let (mut plane, stand_in) = mlxsw(100);
    stand_in.switch().not_in_hardware = true;
    let applied = plane.replace(&ruleset(&plane, &["dst 192.0.2.1/32 then discard"])).expect("it is taken");
    assert!(matches!(&applied.failures[..], [(_, RuleFailure::Failed(words))] if words.contains("has not taken it")));
}

#[test]
fn a_refusal_has_the_drivers_words() {
    let (mut plane, _) = mlxsw(100);
    // As if the compiler let it through.
    let software = super::capabilities(&Settings::default());
    let Verdict::Exact(icmp) = compile(&"dst 192.0.2.1/32 icmp-type 8 then discard".parse().unwrap(), &software) else {
        panic!("software can do it");
    };
    let mut rules = ruleset(&plane, &["dst 192.0.2.2/32 then discard"]);
    rules.rules.insert(0, Arc::new(icmp));
    let applied = plane.replace(&rules).expect("the other is taken");
    assert!(
        matches!(&applied.failures[..], [(_, RuleFailure::Failed(words))] if words.contains("mlxsw_spectrum: Unsupported key")),
        "{applied:?}"
    );
}

#[test]
fn without_room_for_two_sets_filters_change_one_by_one() {
    let (mut plane, stand_in) = mlxsw(12);
    let rule = |n: usize| format!("dst 192.0.2.{n}/32 then discard");
    let texts: Vec<String> = (1..=10).map(rule).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let applied = plane.replace(&ruleset(&plane, &texts[..8])).expect("it is taken");
    assert!(applied.failures.is_empty(), "{applied:?}");
    let applied = plane.replace(&ruleset(&plane, &texts[2..])).expect("it is taken");
    assert!(applied.failures.is_empty(), "{applied:?}");
    let switch = stand_in.switch();
    assert_eq!(switch.filters.values().filter(|filter| matches!(filter.purpose, Purpose::Rule(_))).count(), 8);
    assert!(switch.most <= 12);
    drop(switch);
    let many: Vec<String> = (20..40).map(rule).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let plan = Plan { upsert: compiled(&plane, &many), ..Plan::default() };
    let applied = plane.update(&plan).expect("some are taken");
    assert!(!applied.failures.is_empty());
    assert!(applied.failures.iter().all(|(_, failure)| matches!(failure, RuleFailure::OverCapacity(_))), "{applied:?}");
}

/// Compiled as if the kernel itself filtered: what the compiler for this driver would refuse.
fn compiled_for_software(texts: &[&str]) -> Vec<Arc<CompiledRule>> {
    let software = super::capabilities(&Settings::default());
    let rules = texts.iter().map(|text| match compile(&text.parse().expect(text), &software) {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
    });
    rules.collect()
}

#[test]
fn what_prestera_leaves_out_without_a_word_is_never_in_force() {
    let (mut plane, stand_in) = stand_in(Driver::Prestera, Switch { room: 100, prestera: true, ..Switch::default() });
    let rules = ["dst 192.0.2.1/32 icmp-type 8 then discard", "dst 192.0.2.1/32 proto udp dport 53 then rate 8mbps"];
    let applied = plane.replace(&ruleset(&plane, &rules)).expect("it is taken");
    assert!(applied.failures.is_empty(), "{applied:?}");
    for text in [
        "dst 2001:db8::1/128 then discard",
        "dst 192.0.2.3/32 then rate 1000pps",
        "dst 192.0.2.3/32 dscp 46 then discard",
        "dst 192.0.2.3/32 tcp-flags syn then discard",
        "dst 192.0.2.3/32 then mark 46",
    ] {
        let refused = compile(&text.parse().expect(text), &plane.capabilities());
        assert!(matches!(refused, Verdict::Refused(_)), "the compiler lets {text} through");
        // And if it did, what is read back, or the driver's word, would tell.
        let plan = Plan { upsert: compiled_for_software(&[text]), ..Plan::default() };
        let applied = plane.update(&plan);
        let failed = match &applied {
            Ok(applied) => !applied.failures.is_empty(),
            Err(_) => true,
        };
        assert!(failed, "{text}: {applied:?}");
        plane.replace(&ruleset(&plane, &rules)).expect("it is taken");
        let switch = stand_in.switch();
        let of_rules = switch.filters.values().filter(|filter| matches!(filter.purpose, Purpose::Rule(_)));
        assert_eq!(of_rules.count(), 2, "{text}");
    }
}

#[test]
fn the_driver_tells_how_many_filters_there_is_room_for() {
    let (mut plane, stand_in) = mlxsw(50);
    plane.replace(&ruleset(&plane, &["dst 192.0.2.1/32 then discard"])).expect("it is taken");
    assert_eq!(plane.usage().expect("a number").capacity, None, "it does not tell");
    stand_in.switch().counters_of_others = Some(17);
    let usage = plane.usage().expect("a number");
    assert_eq!(usage.capacity, Some(50), "{usage:?}");
    plane.settings.max_filters = Some(20);
    assert_eq!(plane.usage().expect("a number").capacity, Some(20), "what is set counts");
}
