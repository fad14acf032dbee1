//! What SONiC's ACL tables match and do exactly.

use super::release::{MASKS, POLICERS};
use super::settings::{Database, Settings};
use engine::capability::{Ability, ActionAbility, Capabilities, EntryCost, Limitations};
use engine::let_through::LetThrough;
use flowspec::{ComponentType, IpVersion};

/// The TCP flags that a rule can have: FIN, SYN, RST, PSH, ACK, URG.
const TCP_FLAG_BITS: u16 = 0x3f;

/// Ranges of up to this many ports are expanded: the ASIC has some 16 ranges for all rules of the
/// switch.
const SHORT_RANGE: u64 = 8;

/// What this switch can enforce exactly.
pub fn capabilities(settings: &Settings) -> Capabilities {
    let is_config = settings.database == Database::Config;
    let ports = if settings.ranges { Ability::Range } else { Ability::Value };
    let dscp = match (settings.dscp, settings.database) {
        (false, _) => Ability::Unsupported,
        (true, Database::Appl) => Ability::Masked,
        // SONiC's YANG model of CONFIG_DB has no mask.
        (true, Database::Config) => Ability::Value,
    };
    let no_fields = Capabilities { fields: [Ability::Unsupported; 13], ..Capabilities::everything("sonic") };
    let fields = [
        (ComponentType::Destination, Ability::Masked),
        (ComponentType::Source, Ability::Masked),
        (ComponentType::Protocol, Ability::Value),
        (ComponentType::DestinationPort, ports),
        (ComponentType::SourcePort, ports),
        (ComponentType::IcmpType, Ability::Value),
        (ComponentType::IcmpCode, Ability::Value),
        (ComponentType::TcpFlags, Ability::Masked),
        (ComponentType::Dscp, dscp),
    ];
    let capabilities = fields.into_iter().fold(no_fields, |all, (field, ability)| all.with_field(field, ability));
    let policers = settings.has_policers();
    Capabilities {
        tcp_flag_bits: TCP_FLAG_BITS,
        fragment_sets: Vec::new(),
        ipv6_offset: MASKS.is_in(settings.release),
        // SONiC's YANG model of CONFIG_DB has no leaf for the next header, without which not even
        // neighbour discovery could be accepted.
        ipv6: settings.ipv6 && !is_config,
        actions: ActionAbility {
            discard: true,
            rate_bytes: policers,
            rate_packets: policers,
            shared_policer: false,
            mark: false,
            sample: false,
            redirect_address: false,
            copy_address: false,
            redirect_vrf: false,
            continues: false,
            mark_continues: false,
        },
        max_entries_per_rule: settings.max_entries_per_rule,
        cost: EntryCost::default(),
        overlap: true,
        limitations: Limitations {
            values: if is_config { unmodelled_values(settings.ranges) } else { Vec::new() },
            needs_l4_values: true,
            one_action: true,
            // No match on the hop limit.
            lets_through: Some(LetThrough::AnyHopLimit),
            strict: settings.strict,
            short_ranges: if settings.ranges { SHORT_RANGE } else { 0 },
            ..Limitations::default()
        },
        ..capabilities
    }
}

/// Values that SONiC's YANG model of CONFIG_DB rejects: one of them in CONFIG_DB prevents every
/// later change of the switch's configuration.
fn unmodelled_values(ranges: bool) -> Vec<(IpVersion, ComponentType, u32)> {
    let protocols = std::iter::once(0).chain(144..=255).map(|number| (IpVersion::V4, ComponentType::Protocol, number));
    // A range from port 0.
    let ports = [ComponentType::SourcePort, ComponentType::DestinationPort, ComponentType::Port];
    protocols.chain(ports.into_iter().filter(|_| ranges).map(|field| (IpVersion::V4, field, 0))).collect()
}

impl Settings {
    /// Rates can be limited.
    pub(super) fn has_policers(&self) -> bool {
        // SONiC's YANG model does not know the field of a rule in CONFIG_DB.
        self.policers && self.database == Database::Appl && POLICERS.is_in(self.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::compile::{Verdict, compile};

    fn settings(release: &str) -> Settings {
        Settings { release: release.parse().unwrap(), ..Settings::default() }
    }

    /// The number of entries, or the name of the refusal.
    fn compiled(text: &str, settings: &Settings) -> Result<usize, &'static str> {
        match compile(&text.parse().expect(text), &capabilities(settings)) {
            Verdict::Exact(rule) => Ok(rule.entries.len()),
            Verdict::Refused(refusal) => Err(refusal.kind.name()),
        }
    }

    /// The table of components of the manual's page.
    #[test]
    fn components() {
        let plain = settings("202305");
        for (rule, expected) in [
            ("dst 192.0.2.0/24 src 198.51.100.7/32 then discard", Ok(1)),
            ("dst 2001:db8::/32 src 2001:db8:1::/48 then discard", Ok(1)),
            ("dst ::1:0:0:0:0/64-80 then discard", Err("offset")),
            ("dst 192.0.2.0/24 proto 0 then discard", Ok(1)),
            ("dst 192.0.2.0/24 proto 6,17,47 then discard", Ok(3)),
            ("dst 192.0.2.0/24 proto !=6 then discard", Ok(255)),
            ("dst 2001:db8::/32 proto 58 then discard", Ok(1)),
            // Either port, and both protocols.
            ("dst 192.0.2.0/24 port 53 then discard", Ok(4)),
            ("dst 192.0.2.0/24 dport 53 then discard", Ok(2)),
            ("dst 192.0.2.0/24 proto udp sport 53,123 dport 1000-1003 then discard", Ok(8)),
            ("dst 192.0.2.0/24 proto udp dport >=1024 then discard", Err("too-many-entries")),
            ("dst 192.0.2.0/24 proto udp dport >=0 then discard", Err("any-value")),
            ("dst 192.0.2.0/24 icmp-type 8,0 then discard", Ok(2)),
            ("dst 192.0.2.0/24 icmp-code 1 then discard", Ok(1)),
            ("dst 2001:db8::/32 icmp-type 128 icmp-code 0 then discard", Ok(1)),
            ("dst 192.0.2.0/24 tcp-flags syn&!ack then discard", Ok(1)),
            ("dst 192.0.2.0/24 tcp-flags syn,fin then discard", Ok(2)),
            ("dst 192.0.2.0/24 tcp-flags 0x40 then discard", Err("tcp-flag-bits")),
            ("dst 192.0.2.0/24 length 100 then discard", Err("field")),
            ("dst 192.0.2.0/24 dscp 46 then discard", Err("field")),
            ("dst 192.0.2.0/24 fragment is-fragment then discard", Err("field")),
            ("dst 192.0.2.0/24 fragment dont-fragment then discard", Err("field")),
            // Only that there is a UDP header.
            ("dst 192.0.2.0/24 proto udp dport 53 fragment !is-fragment then discard", Ok(1)),
            ("dst 192.0.2.0/24 proto udp dport 53 fragment first-fragment then discard", Err("field")),
            ("dst 2001:db8::/32 flow-label 7 then discard", Err("field")),
        ] {
            assert_eq!(compiled(rule, &plain), expected, "{rule}");
        }
        let strict = Settings { strict: true, ..plain.clone() };
        for (rule, expected) in [
            ("dst 2001:db8::/32 then discard", Err("let-through")),
            ("dst 2001:db8::/32 proto udp then discard", Ok(1)),
            ("dst 192.0.2.0/24 then discard", Ok(1)),
        ] {
            assert_eq!(compiled(rule, &strict), expected, "{rule}");
        }
        let wide = Settings { ranges: true, dscp: true, ..settings("2026-07-06") };
        for (rule, expected) in [
            ("dst ::1:0:0:0:0/64-80 then discard", Ok(1)),
            ("dst 192.0.2.0/24 proto udp dport >=1024 then discard", Ok(1)),
            ("dst 192.0.2.0/24 dport 1000-1009 then discard", Ok(2)),
            // Ranges are scarce, and short ones are not worth one.
            ("dst 192.0.2.0/24 proto udp dport 1000-1007 then discard", Ok(8)),
            ("dst 192.0.2.0/24 dscp 46 then discard", Ok(1)),
            ("dst 192.0.2.0/24 dscp 8-15 then discard", Ok(1)),
            ("dst 192.0.2.0/24 length 100 then discard", Err("field")),
        ] {
            assert_eq!(compiled(rule, &wide), expected, "{rule}");
        }
        let config = Settings { database: Database::Config, ..wide };
        for (rule, expected) in [
            ("dst 2001:db8::/32 then discard", Err("ipv6")),
            ("dst 192.0.2.0/24 proto 0 then discard", Err("value")),
            ("dst 192.0.2.0/24 proto 143 then discard", Ok(1)),
            ("dst 192.0.2.0/24 proto 144 then discard", Err("value")),
            ("dst 192.0.2.0/24 dscp 8-15 then discard", Ok(8)),
            ("dst 192.0.2.0/24 proto udp dport 0-100 then discard", Err("value")),
            ("dst 192.0.2.0/24 proto udp dport 1-100 then discard", Ok(1)),
        ] {
            assert_eq!(compiled(rule, &config), expected, "{rule}");
        }
        assert_eq!(compiled("dst 2001:db8::/32 then discard", &Settings { ipv6: false, ..plain }), Err("ipv6"));
    }

    /// The table of actions of the manual's page.
    #[test]
    fn actions() {
        let plain = settings("202305");
        for (actions, expected) in [
            ("discard", Ok(1)),
            ("accept", Ok(1)),
            ("rate 1mbps", Err("action")),
            ("rate 1000pps", Err("action")),
            ("mark 46", Err("action")),
            ("sample", Err("action")),
            ("redirect 203.0.113.1", Err("action")),
            ("copy 203.0.113.1", Err("action")),
            ("redirect 65000:1", Err("action")),
            ("continue", Err("action")),
        ] {
            assert_eq!(compiled(&format!("dst 192.0.2.0/24 then {actions}"), &plain), expected, "{actions}");
        }
        let asked = Settings { policers: true, ..settings("2026-07-19") };
        assert_eq!(compiled("dst 192.0.2.0/24 then rate 1mbps", &asked), Err("action"), "it came the day after");
        let policers = Settings { policers: true, ..settings("2026-07-20") };
        for (rule, expected) in [
            ("dst 192.0.2.0/24 then rate 1mbps", Ok(1)),
            ("dst 192.0.2.0/24 then rate 1000pps", Ok(1)),
            ("dst 192.0.2.0/24 then rate 1mbps rate 1000pps", Err("several-actions")),
            ("dst 192.0.2.0/24 proto 6,17 then rate 1mbps", Err("shared-policer")),
        ] {
            assert_eq!(compiled(rule, &policers), expected, "{rule}");
        }
        let config = Settings { database: Database::Config, ..policers };
        assert_eq!(compiled("dst 192.0.2.0/24 then rate 1mbps", &config), Err("action"));
    }
}
