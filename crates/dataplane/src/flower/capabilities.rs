//! What the kernel, or a driver, matches and does, as its source says: Linux 6.1 and 6.12.

use super::driver::Driver;
use super::settings::Settings;
use engine::capability::{Ability, ActionAbility, Capabilities, EntryCost, Limitations};
use engine::let_through::LetThrough;
use flowspec::ComponentType::{
    self, Destination, DestinationPort, Dscp, Fragment, IcmpCode, IcmpType, Protocol, Source, SourcePort, TcpFlags,
};
use flowspec::space::FragmentSet;

/// Whole packets.
pub(super) const WHOLE: FragmentSet = FragmentSet(0x11);
/// First fragments.
pub(super) const FIRST: FragmentSet = FragmentSet(0x22);
/// All fragments but first ones.
pub(super) const LATER: FragmentSet = FragmentSet(0xcc);
/// All fragments.
pub(super) const ANY: FragmentSet = FragmentSet(0xee);

/// mlxsw counts limits in whole thousands of bytes a second.
const MLXSW_RATE_UNIT: f32 = 1000.0;

/// What can be enforced exactly with this driver.
pub fn capabilities(settings: &Settings) -> Capabilities {
    let everything = Capabilities::everything("flower");
    let none = ActionAbility {
        discard: true,
        rate_bytes: true,
        rate_packets: false,
        shared_policer: false,
        mark: false,
        sample: false,
        redirect_address: false,
        copy_address: false,
        redirect_vrf: false,
        continues: false,
        mark_continues: false,
    };
    let driver = settings.driver;
    let abilities: &[(ComponentType, Ability)] = match driver {
        Driver::Software => &[
            (IcmpType, Ability::Value),
            (IcmpCode, Ability::Value),
            (TcpFlags, Ability::Masked),
            (Dscp, Ability::Masked),
            (Fragment, Ability::Value),
        ],
        Driver::Mlxsw => &[(TcpFlags, Ability::Masked), (Dscp, Ability::Masked)],
        Driver::Prestera => &[(IcmpType, Ability::Value), (IcmpCode, Ability::Value)],
        Driver::Ocelot => &[],
    };
    let common = [
        (Destination, Ability::Masked),
        (Source, Ability::Masked),
        (Protocol, Ability::Value),
        // A range is compared one by one with each packet; a value under a mask is found by a hash.
        (DestinationPort, Ability::Masked),
        (SourcePort, Ability::Masked),
    ];
    let no_fields = Capabilities { fields: [Ability::Unsupported; 13], ..everything };
    let fields = common.iter().chain(abilities);
    let capabilities = fields.fold(no_fields, |all, &(field, ability)| all.with_field(field, ability));
    let software = driver == Driver::Software;
    Capabilities {
        name: if software { "flower".to_owned() } else { format!("flower on {driver}") },
        tcp_flag_bits: if driver == Driver::Mlxsw { 0x01ff } else { 0x0fff },
        fragment_sets: vec![ANY, LATER, FragmentSet::WITH_L4_HEADER, WHOLE, FIRST],
        ipv6_offset: true,
        ipv6: matches!(driver, Driver::Software | Driver::Mlxsw),
        actions: match driver {
            Driver::Software => {
                ActionAbility { rate_packets: true, shared_policer: true, mark: true, sample: true, ..none }
            }
            Driver::Mlxsw => ActionAbility { shared_policer: true, mark: true, ..none },
            Driver::Prestera | Driver::Ocelot => none,
        },
        max_entries_per_rule: settings.max_entries_per_rule,
        cost: EntryCost {
            fragments: software,
            hidden_protocols: software,
            mpls_in_ip: software,
            ..EntryCost::default()
        },
        // A packet meets the first of them that it matches, and no other.
        overlap: true,
        limitations: Limitations {
            // Behind a fragment header, a whole packet is a first fragment to the kernel.
            ipv6_fragment_sets: Some(vec![LATER, FragmentSet::WITH_L4_HEADER]),
            whole_packets_only: software,
            // It walks along hop-by-hop options, routing and destination options, and not further
            // than to a fragment header.
            ipv6_headers_hide_protocol: software,
            mpls_in_ip_hides_header: software,
            strict: settings.strict,
            // It does not compare types.
            lets_through: (driver == Driver::Mlxsw).then_some(LetThrough::AllIcmpv6),
            byte_rate_unit: (driver == Driver::Mlxsw).then_some(MLXSW_RATE_UNIT),
            ..Limitations::default()
        },
        ..capabilities
    }
}

/// The same for what is never filtered: it may be more than what was asked for.
pub fn protection_capabilities(settings: &Settings) -> Capabilities {
    capabilities(&Settings { strict: false, ..settings.clone() })
}

/// What only somebody with the hardware can tell.
pub const fn unknown(driver: Driver) -> &'static [&'static str] {
    match driver {
        Driver::Software => &[],
        Driver::Mlxsw => &[
            "what ports, TCP flags and protocol are compared with in fragments after the first",
            "which protocol is compared after IPv6 extension headers",
            "whether frames with a VLAN tag are compared",
            "how long packets meet neither filter while the switch moves its entries",
            "whether there is room for two sets of filters side by side",
        ],
        Driver::Prestera | Driver::Ocelot => &[
            "what ports are compared with in fragments after the first",
            "whether frames with a VLAN tag are compared",
            "how many filters there is room for",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::compile::{Verdict, compile};

    /// What becomes of a rule with each driver: entries, or the name of the refusal.
    fn compiled(text: &str) -> [String; 4] {
        Driver::ALL.map(|driver| {
            let capabilities = capabilities(&Settings { driver, ..Settings::default() });
            match compile(&text.parse().expect(text), &capabilities) {
                Verdict::Exact(rule) => capabilities.cost.of(&rule.entries, &rule.effect).to_string(),
                Verdict::Refused(refusal) => refusal.kind.name().to_owned(),
            }
        })
    }

    /// What each driver can match and do, component by component and action by action: software,
    /// mlxsw, prestera, ocelot.
    #[test]
    fn components_and_actions_of_each_driver() {
        for (rule, expected) in [
            ("dst 192.0.2.0/24 then discard", ["1", "1", "1", "1"]),
            ("dst 192.0.2.0/24 src 198.51.100.0/25 then discard", ["1", "1", "1", "1"]),
            ("dst 2001:db8::/32 then discard", ["1", "1", "ipv6", "ipv6"]),
            ("dst 0:0:db8::/64/32 then discard", ["1", "1", "ipv6", "ipv6"]),
            ("dst 192.0.2.1/32 proto 47 then discard", ["1", "1", "1", "1"]),
            ("dst 192.0.2.1/32 proto 6,17,47 then discard", ["3", "3", "3", "3"]),
            ("dst 2001:db8::1/128 proto 6,17 then discard", ["2", "2", "ipv6", "ipv6"]),
            ("dst 192.0.2.1/32 proto udp port 53 then discard", ["2", "2", "2", "2"]),
            ("dst 192.0.2.1/32 proto udp dport 53 then discard", ["1", "1", "1", "1"]),
            ("dst 192.0.2.1/32 dport 53 then discard", ["2", "2", "2", "2"]),
            ("dst 192.0.2.1/32 proto udp dport 1024-2047 then discard", ["1", "1", "1", "1"]),
            ("dst 192.0.2.1/32 proto udp sport 1-65534 then discard", ["30", "30", "30", "30"]),
            ("dst 192.0.2.1/32 icmp-type 8 then discard", ["1", "field", "1", "field"]),
            ("dst 192.0.2.1/32 icmp-type 3 icmp-code 1,3 then discard", ["2", "field", "2", "field"]),
            ("dst 192.0.2.1/32 icmp-code 4 then discard", ["1", "field", "1", "field"]),
            ("dst 192.0.2.1/32 tcp-flags syn&!ack then discard", ["1", "1", "field", "field"]),
            ("dst 192.0.2.1/32 tcp-flags 0x100 then discard", ["1", "1", "field", "field"]),
            ("dst 192.0.2.1/32 tcp-flags 0x800 then discard", ["1", "tcp-flag-bits", "field", "field"]),
            ("dst 192.0.2.1/32 length 100-200 then discard", ["field", "field", "field", "field"]),
            ("dst 192.0.2.1/32 dscp 46 then discard", ["1", "1", "field", "field"]),
            ("dst 192.0.2.1/32 dscp 8,9,10,11 then discard", ["1", "1", "field", "field"]),
            ("dst 192.0.2.1/32 fragment is-fragment then discard", ["1", "field", "field", "field"]),
            ("dst 192.0.2.1/32 fragment first-fragment then discard", ["1", "field", "field", "field"]),
            ("dst 192.0.2.1/32 fragment is-fragment,first-fragment then discard", ["1", "field", "field", "field"]),
            ("dst 192.0.2.1/32 fragment !is-fragment then discard", ["2", "field", "field", "field"]),
            ("dst 192.0.2.1/32 fragment last-fragment then discard", ["fragment-kinds", "field", "field", "field"]),
            ("dst 192.0.2.1/32 fragment dont-fragment then discard", ["fragment-kinds", "field", "field", "field"]),
            ("dst 2001:db8::1/128 fragment is-fragment then discard", ["1", "field", "ipv6", "ipv6"]),
            ("dst 2001:db8::1/128 fragment first-fragment then discard", ["fragment-kinds", "field", "ipv6", "ipv6"]),
            ("dst 2001:db8::1/128 fragment !is-fragment then discard", ["fragment-kinds", "field", "ipv6", "ipv6"]),
            ("dst 2001:db8::1/128 proto 6 fragment !is-fragment then discard", ["2", "field", "ipv6", "ipv6"]),
            ("dst 2001:db8::1/128 proto 6 then accept", ["9", "1", "ipv6", "ipv6"]),
            ("dst 2001:db8::1/128 proto 51 then discard", ["0", "0", "ipv6", "ipv6"]),
            ("dst 192.0.2.1/32 proto 137 then discard", ["2", "1", "1", "1"]),
            ("dst 192.0.2.1/32 dscp 46 then accept", ["2", "1", "field", "field"]),
            ("dst 2001:db8::1/128 flow-label 5 then discard", ["field", "field", "ipv6", "ipv6"]),
            ("dst 192.0.2.1/32 then accept", ["1", "1", "1", "1"]),
            ("dst 192.0.2.1/32 proto udp dport 53 then accept", ["2", "1", "1", "1"]),
            ("dst 192.0.2.1/32 then rate 8mbps", ["1", "1", "1", "1"]),
            ("dst 192.0.2.1/32 then rate 7kbps", ["1", "low-rate", "1", "1"]),
            ("dst 192.0.2.1/32 proto 6,17 then rate 8mbps", ["2", "2", "shared-policer", "shared-policer"]),
            ("dst 192.0.2.1/32 then rate 1000pps", ["1", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then rate 8mbps rate 1000pps", ["1", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then mark 46", ["1", "1", "action", "action"]),
            ("dst 192.0.2.1/32 then sample discard", ["1", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then redirect 198.51.100.1", ["action", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then copy 198.51.100.1", ["action", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then redirect 65000:1", ["action", "action", "action", "action"]),
            ("dst 192.0.2.1/32 then rate 8mbps continue", ["action", "action", "action", "action"]),
            ("vpnv4 rd 65000:1 dst 192.0.2.1/32 then discard", ["vpn", "vpn", "vpn", "vpn"]),
        ] {
            assert_eq!(compiled(rule), expected, "{rule}");
        }
    }

    /// What the compiler counts is what the rule takes.
    #[test]
    fn rules_take_as_many_filters_as_are_counted() {
        use super::super::render::rule_filters;
        use flowspec::testing::{Seed, Shape, random_rules};
        let mut seed = Seed::new(7);
        let mut counted = 0;
        for driver in Driver::ALL {
            let settings = Settings { driver, ..Settings::default() };
            let capabilities = capabilities(&settings);
            for version in [flowspec::IpVersion::V4, flowspec::IpVersion::V6] {
                let fields = [Destination, Source, Protocol, DestinationPort, IcmpType, TcpFlags, Dscp, Fragment];
                let shape = Shape { fields: fields.into_iter().collect(), max_ops: 2, ..Shape::everything() };
                for mut rule in random_rules(&mut seed, version, &shape, 400) {
                    if seed.percent(20) {
                        let text = if seed.percent(50) { "proto 137 then accept" } else { "dscp 1 then accept" };
                        let text =
                            if version == flowspec::IpVersion::V6 { format!("ipv6 {text}") } else { text.into() };
                        rule = text.parse().expect(&text);
                    }
                    let Verdict::Exact(rule) = compile(&rule, &capabilities) else { continue };
                    let mut next = 0;
                    let policer = |_| {
                        next += 1;
                        next
                    };
                    let filters = rule_filters(&rule, &settings, policer).expect("what was compiled can be written");
                    assert_eq!(
                        filters.len() as u64,
                        capabilities.cost.of(&rule.entries, &rule.effect),
                        "{}",
                        rule.nlri
                    );
                    counted += filters.len();
                }
            }
        }
        assert!(counted > 1000, "{counted}");
    }

    #[test]
    fn strict_refuses_rules_that_would_miss_packets() {
        for (rule, expected) in [
            ("dst 192.0.2.1/32 proto udp dport 53 then discard", Err("first-fragments")),
            ("dst 192.0.2.1/32 icmp-type 8 then discard", Err("first-fragments")),
            ("dst 192.0.2.1/32 proto udp then discard", Ok(1)),
            // What asks for ports without a value is said by the kinds of fragment that have them.
            ("dst 192.0.2.1/32 proto udp dport >=0 then discard", Ok(1)),
            ("dst 2001:db8::1/128 proto udp dport >=0 then discard", Err("hidden-protocol")),
            ("dst 192.0.2.1/32 dscp 46 then discard", Err("mpls-in-ip")),
            ("dst 2001:db8::1/128 then discard", Ok(1)),
        ] {
            let capabilities = capabilities(&Settings { strict: true, ..Settings::default() });
            let verdict = match compile(&rule.parse().expect(rule), &capabilities) {
                Verdict::Exact(rule) => Ok(rule.entries.len()),
                Verdict::Refused(refusal) => Err(refusal.kind.name()),
            };
            assert_eq!(verdict, expected, "{rule}");
        }
    }
}
