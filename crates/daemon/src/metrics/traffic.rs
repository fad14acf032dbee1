//! Metrics of what rules match: together, and of single rules where the configuration asks for
//! them.

use crate::busiest::BusyRule;
use api::{Named, TrafficView, Verdict};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

type Count = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    peer: String,
    action: String,
    family: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Id {
    id: String,
}

/// The sums by peer, action and family. What the data plane does not tell has no series.
pub(super) fn register_sums(registry: &mut Registry, traffic: &[TrafficView]) {
    let in_force = Family::<Kind, Gauge>::default();
    let [matched, matched_bytes, dropped, dropped_bytes, passed, passed_bytes] =
        std::array::from_fn(|_| Family::<Kind, Count>::default());
    for view in traffic {
        let (Some(peer), Some(action), Some(family)) = (&view.peer, &view.action, &view.family) else { continue };
        let (action, family) = (action.name(), family.name());
        let kind = Kind { peer: peer.clone(), action: action.to_owned(), family: family.to_owned() };
        in_force.get_or_create(&kind).set(i64::try_from(view.rules).unwrap_or(i64::MAX));
        let has_policer = action == Verdict::Rate.name();
        let drops = has_policer || action == Verdict::Discard.name();
        for (counter, value, has_it) in [
            (&matched, Some(view.packets), true),
            (&matched_bytes, Some(view.bytes), true),
            (&dropped, view.dropped, drops),
            (&dropped_bytes, view.dropped_bytes, drops),
            (&passed, view.passed, has_policer),
            (&passed_bytes, view.passed_bytes, has_policer),
        ] {
            if let Some(value) = value.filter(|_| has_it) {
                counter.get_or_create(&kind).inc_by(value);
            }
        }
    }
    registry.register("rules_in_force", "Rules in force, by whose they are, what they do and their family", in_force);
    for (name, help, counter) in [
        ("matched_packets", "Packets that rules matched", matched),
        ("matched_bytes", "Octets of packets that rules matched", matched_bytes),
        ("dropped_packets", "Packets that rules dropped", dropped),
        ("dropped_bytes", "Octets of packets that rules dropped", dropped_bytes),
        ("passed_packets", "Packets that a rule with a rate let pass", passed),
        ("passed_bytes", "Octets of packets that a rule with a rate let pass", passed_bytes),
    ] {
        registry.register(name, help, counter);
    }
}

/// Single rules, and how many have no series.
pub(super) fn register_rules(registry: &mut Registry, rules: &[BusyRule], left_out: u64) {
    let [matched, matched_bytes, dropped] = std::array::from_fn(|_| Family::<Id, Count>::default());
    for rule in rules {
        let id = Id { id: rule.id.to_string() };
        matched.get_or_create(&id).inc_by(rule.counter.packets);
        matched_bytes.get_or_create(&id).inc_by(rule.counter.bytes);
        if let Some(packets) = rule.counter.dropped_packets {
            dropped.get_or_create(&id).inc_by(packets);
        }
    }
    registry.register("rule_matched_packets", "Packets that the rule matched since it was installed", matched);
    registry.register("rule_matched_bytes", "Octets of packets that the rule matched", matched_bytes);
    registry.register("rule_dropped_packets", "Packets that the rule dropped", dropped);
    let without = Gauge::<i64>::default();
    without.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    registry.register("rules_without_series", "Rules with counters that have no series of their own", without);
}
