//! What the hardware matches and does, as documented by the vendor.

use super::release;
use super::settings::Settings;
use engine::capability::{Ability, ActionAbility, Capabilities, Limitations};
use flowspec::space::FragmentSet;
use flowspec::{ComponentType, IpVersion};

/// The six TCP flags that netfilter's syntax has names for.
const TCP_FLAG_BITS: u16 = 0x3f;

/// ECE and CWR, which netfilter matches with a separate match (`-m ecn`).
pub(super) const ECN_FLAGS: u16 = 0xc0;

/// Non-first fragments: the only kind of fragment that can be matched without an inverse match.
pub(super) const NON_FIRST: FragmentSet = FragmentSet(0xcc);

/// What this switch can enforce exactly.
pub fn capabilities(settings: &Settings) -> Capabilities {
    // Each named interface takes an entry of its own, with a policer of its own.
    let one_policer = settings.interfaces.len() == 1;
    let no_fields = Capabilities { fields: [Ability::Unsupported; 13], ..Capabilities::everything("cumulus") };
    let fragments = if release::FRAGMENTS.is_in(settings.release) { Ability::Value } else { Ability::Unsupported };
    let ecn_flags = if release::ECN_FLAGS.is_in(settings.release) { ECN_FLAGS } else { 0 };
    let fields = [
        (ComponentType::Destination, Ability::Masked),
        (ComponentType::Source, Ability::Masked),
        (ComponentType::Protocol, Ability::Value),
        (ComponentType::DestinationPort, Ability::Range),
        (ComponentType::SourcePort, Ability::Range),
        (ComponentType::IcmpType, Ability::Value),
        (ComponentType::IcmpCode, Ability::Value),
        (ComponentType::TcpFlags, Ability::Masked),
        (ComponentType::Dscp, Ability::Value),
        (ComponentType::Fragment, fragments),
    ];
    let capabilities = fields.into_iter().fold(no_fields, |all, (field, ability)| all.with_field(field, ability));
    Capabilities {
        tcp_flag_bits: TCP_FLAG_BITS | ecn_flags,
        fragment_sets: vec![NON_FIRST],
        ipv6_offset: false,
        ipv6: settings.budget().1 > 0,
        actions: ActionAbility {
            discard: true,
            rate_bytes: one_policer,
            rate_packets: one_policer,
            shared_policer: false,
            mark: settings.release.filters_before_routing(),
            sample: false,
            redirect_address: false,
            copy_address: false,
            redirect_vrf: false,
            continues: false,
            mark_continues: false,
        },
        max_entries_per_rule: settings.max_entries_per_rule,
        cost: settings.entry_cost(),
        overlap: true,
        limitations: Limitations {
            // Netfilter reads these two as "any".
            values: vec![(IpVersion::V4, ComponentType::Protocol, 0), (IpVersion::V4, ComponentType::IcmpType, 255)],
            icmp_code_needs_type: true,
            needs_l4_values: true,
            no_ipv6_fragments: true,
            one_action: true,
            highest_rates: None,
            short_ranges: settings.asic.short_range(),
            // The documented example lists inverse matches as unsupported.
            set_only_flags: ecn_flags,
            no_ipv6_flags: ecn_flags,
            fields_since: release::FRAGMENTS
                .later_than(settings.release)
                .map(|first| (ComponentType::Fragment, format!("{first} (IPv4)")))
                .into_iter()
                .collect(),
            ipv6_fragment_sets: None,
            whole_packets_only: false,
            mpls_in_ip_hides_header: false,
            lets_through: None,
            ipv6_headers_hide_protocol: false,
            strict: false,
            byte_rate_unit: None,
            marks_since: release::PREROUTING.later_than(settings.release).map(|first| first.to_string()),
        },
        ..capabilities
    }
}
