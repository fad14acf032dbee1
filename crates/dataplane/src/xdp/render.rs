//! A rule set as text for people: where each rule is found, and what is compared.

use super::effect;
use super::layout::{LANE_DESTINATION, LANE_LENGTH, LANE_SOURCE, LENGTH_LANE, PORT_LANE, Record, flag};
use super::record::{Network, records};
use engine::plan::Ruleset;
use flowspec::IpVersion;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The rules in order: the bucket that each is found in, its records, and its actions. For
/// `floodgate compile`.
pub fn render(rules: &Ruleset) -> String {
    let mut text = String::from("# rule: bucket of the hash table; what is compared; what is done\n");
    let exempt = flowspec::Exemption::NeighborDiscovery;
    let _ = writeln!(text, "# passed before any rule: {exempt}");
    for rule in &rules.rules {
        let _ = writeln!(text, "{}:", rule.id);
        if rule.entries.is_empty() {
            let _ = writeln!(text, "    never matches: takes no place");
        }
        for space in &rule.entries {
            let ipv6 = space.version() == IpVersion::V6;
            let parts = records(space, false);
            let bucket = parts.bucket.map_or_else(|| "rules without destination".to_owned(), |net| address(net, ipv6));
            let _ = writeln!(text, "    bucket {bucket}");
            for record in &parts.records {
                let _ = writeln!(text, "    record {}", compared(record, ipv6));
            }
            for (field, list) in parts.extra.iter().flat_map(|extra| &extra.lists) {
                let _ = writeln!(text, "    and {field:?} in a list of {} intervals", list.len());
            }
            if parts.extra.as_ref().is_some_and(|extra| extra.destination_mask != [0; 2]) {
                let _ = writeln!(text, "    and the destination under a mask");
            }
            if parts.extra.as_ref().is_some_and(|extra| extra.source_mask != [0; 2]) {
                let _ = writeln!(text, "    and the source under a mask");
            }
        }
        let _ = writeln!(text, "    then {}", actions(effect::line(&rule.effect).flags));
    }
    text
}

fn address(network: Network, ipv6: bool) -> String {
    if ipv6 {
        format!("{}/{}", Ipv6Addr::from_bits(network.bits), network.length)
    } else {
        format!("{}/{}", Ipv4Addr::from_bits((network.bits >> 96) as u32), network.length)
    }
}

fn compared(record: &Record, ipv6: bool) -> String {
    let mut words = Vec::new();
    for (name, lane, all) in [
        ("source", LANE_SOURCE, PORT_LANE),
        ("destination", LANE_DESTINATION, PORT_LANE),
        ("length", LANE_LENGTH, LENGTH_LANE),
    ] {
        let (first, last) = (record.lo >> lane & all, record.hi >> lane & all);
        if (first, last) != (0, all) {
            words.push(format!("{name} {}", bounds(first, last)));
        }
    }
    if record.mask != 0 {
        words.push(format!("facts {:#x}/{:#x}", record.value, record.mask));
    }
    if ipv6 && record.source_length > 0 {
        let [hi, lo] = record.source.map(u128::from);
        words.push(format!("source address {}/{}", Ipv6Addr::from_bits(hi << 64 | lo), record.source_length));
    }
    if words.is_empty() { "any".to_owned() } else { words.join(", ") }
}

/// Bounds of a lane, in which ICMP types and codes are above the ports.
fn bounds(first: u64, last: u64) -> String {
    match (first >> 16, last >> 16) {
        (1, 1) => format!("ICMP {}-{}", first & 0xffff, last & 0xffff),
        _ => format!("{first}-{last}"),
    }
}

fn actions(flags: u32) -> String {
    let names = [
        (flag::SAMPLE, "sample"),
        (flag::DISCARD, "discard"),
        (flag::RATE_BYTES, "rate in bytes"),
        (flag::RATE_PACKETS, "rate in packets"),
        (flag::MARK, "mark"),
        (flag::REDIRECT, "redirect"),
        (flag::CONTINUE, "continue"),
    ];
    let said: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if said.is_empty() { "accept".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::plan::CompiledRule;
    use flowspec::Rule;
    use flowspec::space::Space;
    use std::sync::Arc;

    #[test]
    fn a_rule_is_shown_with_its_bucket_and_records() {
        let rule: Rule = "dst 192.0.2.0/24 proto udp sport 53,123 then discard".parse().unwrap();
        let id = rule.nlri.id();
        let effect = rule.effect();
        let entries = vec![Space::of(&rule.nlri)];
        let compiled = CompiledRule { id, effect, entries, nlri: Arc::new(rule.nlri) };
        let text = render(&Ruleset { protected: Arc::default(), rules: vec![Arc::new(compiled)] });
        assert!(text.contains("bucket 192.0.2.0/24\n"), "{text}");
        assert!(text.contains("record source 53-53, "), "{text}");
        assert!(text.contains("record source 123-123, "), "{text}");
        assert!(text.ends_with("then discard\n"), "{text}");
    }
}
