//! Restrictions of a data plane beyond the abilities of its fields.

use super::refusal::RefusalKind;
use crate::capability::Capabilities;
use crate::first_fragments::{FIRST, misses_first_fragments};
use crate::hidden_protocol::asks_behind_fixed_header;
use crate::mpls_in_ip::misses_mpls;
use flowspec::space::{Condition, Fields, FragmentSet, IntervalSet, MAX_ICMP, MAX_PORT};
use flowspec::{ComponentType, IpVersion, Space};

/// The same packets, in a form whose fields can be split one by one.
pub(super) fn check(space: Space, capabilities: &Capabilities) -> Result<Space, RefusalKind> {
    let limitations = &capabilities.limitations;
    let version = space.version();
    if limitations.needs_l4_values
        && let Some(field) = space.fields().iter().find(|&field| asks_for_presence(&space, field))
    {
        return Err(RefusalKind::AnyValue(field));
    }
    if limitations.no_ipv6_fragments
        && version == IpVersion::V6
        && space.fields().has(ComponentType::Fragment)
        && !space.fragment_is_implied()
    {
        return Err(RefusalKind::Field(ComponentType::Fragment));
    }
    let space = if limitations.icmp_code_needs_type && space.icmp_code().is_some() && space.icmp_type().is_none() {
        space.narrowed(Condition::IcmpType(IntervalSet::full(MAX_ICMP)))
    } else {
        space
    };
    let space = if limitations.whole_packets_only { whole_packets(space, limitations.strict)? } else { space };
    if limitations.ipv6_headers_hide_protocol {
        check_hidden(&space, limitations.strict)?;
    }
    if limitations.mpls_in_ip_hides_header && limitations.strict && misses_mpls(&space) {
        return Err(RefusalKind::MplsInIp);
    }
    let missing = limitations.values.iter().find(|&&(of, field, value)| of == version && accepts(&space, field, value));
    match missing {
        Some(&(_, field, value)) => Err(RefusalKind::Value(field, value)),
        None => Ok(space),
    }
}

/// The same, for entries that see the upper-layer header of whole packets only. A space that only
/// requires the header is expressed without its fields; one with first fragments alone is not
/// possible.
fn whole_packets(space: Space, strict: bool) -> Result<Space, RefusalKind> {
    let fields = space.fields();
    if !fields.has_any(Fields::L4) {
        return Ok(space);
    }
    if fields.iter().all(|field| !Fields::L4.has(field) || asks_for_presence(&space, field)) {
        return Ok(space.without_upper_layer_fields());
    }
    let only_first = FIRST.covers(space.fragment().unwrap_or(FragmentSet::FULL));
    if only_first || strict && misses_first_fragments(&space) { Err(RefusalKind::FirstFragments) } else { Ok(space) }
}

/// A packet whose protocol is found was walked along to its end, so that all of it is known. One
/// whose protocol is not found may be a later fragment and look like none.
fn check_hidden(space: &Space, strict: bool) -> Result<(), RefusalKind> {
    if strict && asks_behind_fixed_header(space) {
        return Err(RefusalKind::HiddenProtocol);
    }
    let asks_for_kinds =
        space.version() == IpVersion::V6 && space.fields().has(ComponentType::Fragment) && !space.fragment_is_implied();
    let takes_whole = space.fragment().is_some_and(|kinds| !kinds.intersect(FragmentSet::WITH_L4_HEADER).is_empty());
    let has_protocol = space.fields().has_any(Fields::L4.and(ComponentType::Protocol));
    if asks_for_kinds && takes_whole && !has_protocol { Err(RefusalKind::FragmentKinds) } else { Ok(()) }
}

/// Whether the field is constrained to values of which `value` is one.
fn accepts(space: &Space, field: ComponentType, value: u32) -> bool {
    let octet = u8::try_from(value).ok();
    match field {
        ComponentType::Protocol => {
            space.protocol().is_some_and(|set| octet.is_some_and(|protocol| set.contains(protocol)))
        }
        ComponentType::Dscp => space.dscp().is_some_and(|set| octet.is_some_and(|dscp| set.contains(dscp))),
        _ => space.numbers(field).is_some_and(|set| set.contains(value)),
    }
}

/// Whether the field is one of an upper-layer header and accepts every value.
fn asks_for_presence(space: &Space, field: ComponentType) -> bool {
    let full = |max| space.numbers(field).is_some_and(|set| set.is_full(max));
    match field {
        ComponentType::TcpFlags => space.tcp_flags().is_some_and(|set| set.is_full()),
        _ if Fields::PORTS.has(field) => full(MAX_PORT),
        _ if Fields::ICMP.has(field) => full(MAX_ICMP),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, compile};
    use super::*;
    use crate::capability::{Ability, Limitations};

    fn narrow() -> Capabilities {
        Capabilities {
            limitations: Limitations {
                values: vec![
                    (IpVersion::V4, ComponentType::Protocol, 0),
                    (IpVersion::V4, ComponentType::IcmpType, 255),
                ],
                icmp_code_needs_type: true,
                needs_l4_values: true,
                no_ipv6_fragments: true,
                one_action: true,
                ..Limitations::default()
            },
            ..Capabilities::everything("narrow")
        }
        .with_field(ComponentType::IcmpType, Ability::Value)
    }

    /// The entries, or the name of the refusal.
    fn compiled(text: &str) -> Result<usize, &'static str> {
        match compile(&text.parse().expect(text), &narrow()) {
            Verdict::Exact(rule) => Ok(rule.entries.len()),
            Verdict::Refused(refusal) => Err(refusal.kind.name()),
        }
    }

    #[test]
    fn what_no_entry_can_hold_is_refused() {
        for (rule, expected) in [
            ("dst 192.0.2.0/24 proto 0 then discard", Err("value")),
            ("dst 192.0.2.0/24 proto !=17 then discard", Err("value")),
            ("dst 192.0.2.0/24 proto 17 then discard", Ok(1)),
            ("dst 192.0.2.0/24 then discard", Ok(1)),
            ("dst 192.0.2.0/24 icmp-type !=8 then discard", Err("value")),
            ("dst 192.0.2.0/24 icmp-type 8 then discard", Ok(1)),
            ("dst 192.0.2.0/24 icmp-code 1 then discard", Err("value")),
            ("dst 2001:db8::/32 icmp-code 1 then discard", Ok(256)),
            ("dst 192.0.2.0/24 dport >=0 then discard", Err("any-value")),
            ("dst 192.0.2.0/24 tcp-flags !0x0 then discard", Ok(0)),
            ("dst 192.0.2.0/24 fragment is-fragment then discard", Ok(1)),
            ("dst 2001:db8::/32 fragment is-fragment then discard", Err("field")),
            ("dst 2001:db8::/32 dport 53 fragment !is-fragment then discard", Ok(1)),
            ("dst 192.0.2.0/24 then rate 1mbps mark 46", Err("several-actions")),
            ("dst 192.0.2.0/24 then rate 1mbps rate 1000pps", Err("several-actions")),
            ("dst 192.0.2.0/24 then rate 1mbps rate 2mbps", Ok(1)),
        ] {
            assert_eq!(compiled(rule), expected, "{rule}");
        }
    }
}
