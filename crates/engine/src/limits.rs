//! Reports in which cases a rule is enforced for fewer packets than it matches: if a data plane
//! does not see all of a packet.
//!
//! Never for more packets, and never so that a later rule acts on a packet that an earlier one
//! exempts.

use crate::capability::Capabilities;
use crate::first_fragments::{exempts, misses_first_fragments};
use crate::hidden_protocol::asks_behind_fixed_header;
use crate::mpls_in_ip::misses_mpls;
use flowspec::space::{IntervalSet, MAX_ICMP, MAX_PORT, TcpFlagSet};
use flowspec::{Effect, IpVersion, Nlri, Policing, Space};

/// Sentences about a rule that is enforced; none if it is enforced for all of its packets.
pub fn limits(nlri: &Nlri, effect: &Effect, capabilities: &Capabilities) -> Vec<String> {
    let limitations = &capabilities.limitations;
    let (mut limits, name) = (Vec::new(), &capabilities.name);
    let then = if exempts(effect) { ": they pass, and no later rule acts on them" } else { "" };
    if limitations.whole_packets_only {
        let space = Space::of(nlri);
        if asks_for_values(&space) && misses_first_fragments(&space) {
            let packets = match nlri.family().version() {
                IpVersion::V4 => "first fragments are",
                IpVersion::V6 => "first fragments and other packets with a fragment header are",
            };
            limits.push(format!("{packets} not matched, since {name} does not see their upper-layer header{then}"));
        }
    }
    if limitations.ipv6_headers_hide_protocol && asks_behind_fixed_header(&Space::of(nlri)) {
        limits.push(format!(
            "packets with an authentication, mobility, HIP or Shim6 header, or with an extension header behind a fragment header, are not \
             matched, since {name} does not see what is behind it{then}"
        ));
    }
    if limitations.mpls_in_ip_hides_header && misses_mpls(&Space::of(nlri)) {
        limits.push(format!(
            "whole packets with MPLS inside (protocol 137) are not matched, since {name} sees nothing of them but their addresses{then}"
        ));
    }
    if let Some(which) = limitations.lets_through
        && *effect != Effect::ACCEPT
        && which.meets(&Space::of(nlri))
    {
        limits.push(format!("{} pass, since {name} cannot tell them from neighbour discovery", which.packets()));
    }
    if let (Policing::Limit { bytes: Some(rate), .. }, Some(unit)) = (effect.policing, limitations.byte_rate_unit) {
        let counted = (rate / unit).ceil() * unit;
        if counted > rate {
            limits.push(format!("its rate is counted in steps of {unit} bytes/s: it is {counted} bytes/s"));
        }
    }
    limits
}

/// Whether an upper-layer field is constrained to values, and not only to exist.
fn asks_for_values(space: &Space) -> bool {
    let is_full = |set: Option<&IntervalSet>, max| set.is_none_or(|set| set.is_full(max));
    let ports = [space.port(), space.source_port(), space.destination_port()];
    let icmp = [space.icmp_type(), space.icmp_code()];
    !(ports.into_iter().all(|set| is_full(set, MAX_PORT))
        && icmp.into_iter().all(|set| is_full(set, MAX_ICMP))
        && space.tcp_flags().is_none_or(TcpFlagSet::is_full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Verdict, compile};

    fn half_blind(strict: bool) -> Capabilities {
        let mut capabilities = Capabilities::everything("test");
        capabilities.limitations.whole_packets_only = true;
        capabilities.limitations.ipv6_headers_hide_protocol = true;
        capabilities.limitations.mpls_in_ip_hides_header = true;
        capabilities.limitations.strict = strict;
        capabilities.cost.fragments = true;
        capabilities.cost.hidden_protocols = true;
        capabilities.cost.mpls_in_ip = true;
        capabilities
    }

    #[test]
    fn what_is_let_through_is_told_of_rules_that_may_match_it() {
        use crate::let_through::LetThrough::{AllIcmpv6, AnyHopLimit};
        for (rule, expected) in [
            ("dst 2001:db8::1/128 then discard", [1, 1]),
            ("dst 2001:db8::1/128 then mark 46", [1, 1]),
            ("dst 2001:db8::1/128 then accept", [0, 0]),
            ("dst 2001:db8::1/128 proto udp then discard", [0, 0]),
            ("dst 2001:db8::1/128 icmp-type 128 then discard", [0, 1]),
            ("dst 2001:db8::1/128 icmp-type 128,135 then discard", [1, 1]),
            ("dst 192.0.2.1/32 then discard", [0, 0]),
        ] {
            let told = [AnyHopLimit, AllIcmpv6].map(|which| {
                let mut capabilities = Capabilities::everything("test");
                capabilities.limitations.lets_through = Some(which);
                let rule: flowspec::Rule = rule.parse().expect(rule);
                let lenient = compile(&rule, &capabilities);
                assert!(matches!(lenient, Verdict::Exact(_)), "{lenient:?}");
                capabilities.limitations.strict = true;
                let told = limits(&rule.nlri, &rule.effect(), &capabilities).len();
                assert_eq!(matches!(compile(&rule, &capabilities), Verdict::Refused(_)), told > 0, "{}", rule.nlri);
                told
            });
            assert_eq!(told, expected, "{rule}");
        }
    }

    fn told(text: &str) -> usize {
        let rule: flowspec::Rule = text.parse().expect(text);
        limits(&rule.nlri, &rule.effect(), &half_blind(false)).len()
    }

    #[test]
    fn what_is_missed_is_reported() {
        for (rule, expected) in [
            ("dst 192.0.2.1/32 proto udp dport 53 then discard", 1),
            ("dst 192.0.2.1/32 proto udp then discard", 0),
            ("dst 192.0.2.1/32 dport >=0 then discard", 0),
            ("dst 192.0.2.1/32 tcp-flags syn then discard", 1),
            ("dst 192.0.2.1/32 icmp-type 8 then discard", 1),
            ("dst 2001:db8::1/128 proto udp dport 53 then discard", 2),
            ("dst 2001:db8::1/128 proto udp then discard", 1),
            ("dst 2001:db8::1/128 fragment is-fragment then discard", 1),
            ("dst 2001:db8::1/128 then discard", 0),
            ("dst 192.0.2.1/32 fragment is-fragment then discard", 0),
            ("dst 192.0.2.1/32 proto 137 then discard", 0),
            ("dst 192.0.2.1/32 dscp 46 then discard", 1),
            ("dst 192.0.2.1/32 dscp 46 proto 137 then discard", 1),
            ("dst 192.0.2.1/32 dscp 46 proto 6,17 then discard", 0),
            ("dst 192.0.2.1/32 dscp 46 fragment is-fragment then discard", 0),
        ] {
            assert_eq!(told(rule), expected, "{rule}");
        }
    }

    #[test]
    fn strict_refuses_what_would_miss_packets() {
        for (rule, lenient, strict) in [
            ("dst 192.0.2.1/32 proto udp dport 53 then discard", true, false),
            ("dst 192.0.2.1/32 dport >=0 then discard", true, true),
            ("dst 192.0.2.1/32 proto udp then discard", true, true),
            ("dst 192.0.2.1/32 proto udp dport 53 fragment first-fragment then discard", false, false),
            ("dst 2001:db8::1/128 proto udp then discard", true, false),
            ("dst 2001:db8::1/128 fragment is-fragment then discard", true, false),
            ("dst 2001:db8::1/128 then discard", true, true),
            // A later fragment behind an authentication header is no fragment to it.
            ("dst 2001:db8::1/128 fragment !is-fragment then discard", false, false),
            ("dst 2001:db8::1/128 proto udp fragment !is-fragment then discard", true, false),
            ("dst 192.0.2.1/32 fragment !is-fragment then discard", true, true),
            ("dst 192.0.2.1/32 dscp 46 then discard", true, false),
            ("dst 192.0.2.1/32 dscp 46 proto tcp then discard", true, true),
        ] {
            let exact = |strict| matches!(compile(&rule.parse().expect(rule), &half_blind(strict)), Verdict::Exact(_));
            assert_eq!((exact(false), exact(true)), (lenient, strict), "{rule}");
        }
    }

    #[test]
    fn exempted_packets_are_counted_once() {
        let capabilities = Capabilities {
            max_entries_per_rule: 100,
            ..half_blind(false).with_field(flowspec::ComponentType::DestinationPort, crate::capability::Ability::Value)
        };
        for (rule, entries) in [
            ("dst 192.0.2.1/32 proto udp dport 53,80 then accept", 3),
            ("dst 192.0.2.1/32 proto udp dport 53,80 then discard", 2),
            ("dst 192.0.2.1/32 proto udp dport >=0 then accept", 2),
            ("dst 192.0.2.1/32 proto udp then accept", 1),
            ("dst 2001:db8::1/128 proto udp dport 53,80 then accept", 11),
            ("dst 2001:db8::1/128 proto udp dport 53,80 then discard", 2),
            ("dst 2001:db8::1/128 proto udp then accept", 9),
            ("dst 2001:db8::1/128 then accept", 1),
            ("dst 192.0.2.1/32 proto 137 then accept", 2),
            ("dst 192.0.2.1/32 proto 137 fragment is-fragment then accept", 1),
            ("dst 192.0.2.1/32 dscp 46 then accept", 2),
            ("dst 192.0.2.1/32 dscp 46 then discard", 1),
        ] {
            let Verdict::Exact(rule) = compile(&rule.parse().expect(rule), &capabilities) else { panic!("{rule}") };
            assert_eq!(capabilities.cost.of(&rule.entries, &rule.effect), entries, "{}", rule.nlri);
        }
    }
}
