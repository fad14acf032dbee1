//! What a data plane can match and do: the model through which rules are compiled, so that a rule
//! is enforced exactly or refused with a reason.

use crate::first_fragments::{first_fragments_to_exempt, is_whole_or_first};
use crate::hidden_protocol::hidden_packets_to_exempt;
use crate::let_through::LetThrough;
use crate::mpls_in_ip::{is_mpls_of_any_kind, mpls_packets_to_exempt};
use flowspec::space::FragmentSet;
use flowspec::{ComponentType, Effect, IpVersion, Policing, Space};

/// How much of a field's values one entry of a data plane can express.
///
/// Addresses are prefixes: `Masked` or more holds any prefix, `Value` only a whole address. TCP
/// flags are a value under a mask: with `Value`, `Range` or `Ranges` an entry holds one value of
/// all twelve bits. For kinds of fragment see [`Capabilities::fragment_sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// The field cannot be matched at all.
    Unsupported,
    /// One value.
    Value,
    /// One value under a mask: a prefix, or a ternary cube.
    Masked,
    /// One contiguous range.
    Range,
    /// Up to this many ranges; a single value counts as one.
    Ranges(u16),
    /// Any set of values.
    Set,
}

/// Which of the actions a data plane can carry out exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionAbility {
    /// Drop.
    pub discard: bool,
    /// Limit to bytes a second, one policer for all entries of a rule.
    pub rate_bytes: bool,
    /// Limit to packets a second, one policer for all entries of a rule.
    pub rate_packets: bool,
    /// The policer can be shared by several entries; otherwise a rule with a rate must compile to
    /// one entry.
    pub shared_policer: bool,
    /// Set the DSCP.
    pub mark: bool,
    /// Sample.
    pub sample: bool,
    /// Redirect to an IP address.
    pub redirect_address: bool,
    /// Copy to an IP address.
    pub copy_address: bool,
    /// Redirect to a VRF.
    pub redirect_vrf: bool,
    /// Continue with the next rule after acting (T bit).
    pub continues: bool,
    /// Set the DSCP and continue with the next rule, which still compares the packet's original
    /// DSCP.
    pub mark_continues: bool,
}

/// Restrictions beyond a data plane's abilities. The default has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limitations {
    /// Values that no entry can match: where the data plane uses a number for something else, such
    /// as protocol 0 for any protocol.
    pub values: Vec<(IpVersion, ComponentType, u32)>,
    /// An ICMP code can be matched only together with one ICMP type.
    pub icmp_code_needs_type: bool,
    /// The existence of an upper-layer header cannot be tested without testing some of its values.
    pub needs_l4_values: bool,
    /// Kinds of IPv6 fragment cannot be matched; those of IPv4 according to the abilities.
    pub no_ipv6_fragments: bool,
    /// A rule can have one of these, not several: a limit in bytes, a limit in packets, a mark.
    pub one_action: bool,
    /// The highest limits that it can count, in bytes and in packets a second. A higher one counts
    /// as no limit: no traffic comes near it.
    pub highest_rates: Option<(f32, f32)>,
    /// Ranges of up to this many ports are expanded, one port an entry, because ranges are scarce.
    pub short_ranges: u64,
    /// TCP flags that an entry can only require to be set.
    pub set_only_flags: u16,
    /// TCP flags that cannot be matched in IPv6.
    pub no_ipv6_flags: u16,
    /// Fields that only a later release of the data plane can match, and which release, for people.
    pub fields_since: Vec<(ComponentType, String)>,
    /// The later release that can mark.
    pub marks_since: Option<String>,
    /// What one entry can match of fragments of IPv6, if that differs from
    /// [`Capabilities::fragment_sets`].
    pub ipv6_fragment_sets: Option<Vec<FragmentSet>>,
    /// An entry with an upper-layer field sees it in whole packets only, not in first fragments
    /// (nor, in IPv6, after any fragment header). A rule that would miss packets because of that is
    /// enforced for the others, and [`limits`](crate::limits::limits) reports it.
    pub whole_packets_only: bool,
    /// The walk along IPv6 extension headers may end at one of them, which is then taken for the
    /// protocol. A rule that asks for what is behind misses such packets, and
    /// [`limits`](crate::limits::limits) tells.
    pub ipv6_headers_hide_protocol: bool,
    /// Of a whole packet with MPLS inside (protocol 137), only the addresses are seen. A rule that
    /// asks for more of such packets misses them, and [`limits`](crate::limits::limits) tells.
    pub mpls_in_ip_hides_header: bool,
    /// What is let through, whatever the rules, beside what IPv6 needs;
    /// [`limits`](crate::limits::limits) tells of each rule that may match it.
    pub lets_through: Option<LetThrough>,
    /// A rule that would miss some of its packets is refused.
    pub strict: bool,
    /// The lowest limit in bytes a second, and its unit: limits are integer multiples of it.
    pub byte_rate_unit: Option<f32>,
}

/// What an entry takes of a data plane's table. The default: one table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryCost {
    /// How often each entry is installed, such as once for each interface.
    pub copies: u64,
    /// Each range of ports takes an entry of its own, so that one with a range of source ports and
    /// one of destination ports takes two.
    pub port_ranges: bool,
    /// Additional entries for a limit.
    pub limit: u64,
    /// An entry for whole packets and first fragments without upper-layer fields is installed as
    /// two; and a rule that [exempts](crate::first_fragments::first_fragments_to_exempt) first
    /// fragments takes entries for them.
    pub fragments: bool,
    /// A rule that [exempts](crate::hidden_protocol::hidden_packets_to_exempt) IPv6 packets whose
    /// protocol is not found takes entries for them, one for each extension header.
    pub hidden_protocols: bool,
    /// Whole packets with MPLS inside take an entry of their own where their protocol is asked for,
    /// and where a rule [exempts](crate::mpls_in_ip::mpls_packets_to_exempt) those that it does not
    /// see.
    pub mpls_in_ip: bool,
}

impl Default for EntryCost {
    fn default() -> Self {
        EntryCost {
            copies: 1,
            port_ranges: false,
            limit: 0,
            fragments: false,
            hidden_protocols: false,
            mpls_in_ip: false,
        }
    }
}

impl EntryCost {
    /// What these entries of one rule take together.
    pub fn of(&self, entries: &[Space], effect: &Effect) -> u64 {
        let rules = if matches!(effect.policing, Policing::Limit { .. }) { 1 + self.limit } else { 1 };
        let one = |entry: &Space| {
            let of_two_kinds = self.fragments && is_whole_or_first(entry);
            let kinds = if of_two_kinds || self.mpls_in_ip && is_mpls_of_any_kind(entry) { 2 } else { 1 };
            if self.port_ranges { ranges(entry).max(1) * kinds } else { kinds }
        };
        let exempted = if self.fragments { first_fragments_to_exempt(entries, effect).len() as u64 } else { 0 };
        let headers = if self.hidden_protocols { flowspec::EXTENSION_HEADERS.len() } else { 0 };
        let hidden = if headers > 0 { hidden_packets_to_exempt(entries, effect).len() * headers } else { 0 } as u64;
        let mpls = if self.mpls_in_ip { mpls_packets_to_exempt(entries, effect).len() as u64 } else { 0 };
        (entries.iter().map(one).sum::<u64>() + exempted + hidden + mpls)
            .saturating_mul(rules)
            .saturating_mul(self.copies)
    }
}

fn ranges(entry: &Space) -> u64 {
    let ports = [entry.source_port(), entry.destination_port()];
    ports.into_iter().flatten().filter(|set| set.single().is_none()).count() as u64
}

/// A data plane's abilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// The name of the back end or profile, for messages.
    pub name: String,
    /// Indexed by component type number - 1; see [`Capabilities::field`].
    pub fields: [Ability; 13],
    /// The TCP flags that can be matched at all, as bits of the header's octets 12 and 13: 0x0fff
    /// for all, 0x003f without ECE, CWR and those of octet 12.
    pub tcp_flag_bits: u16,
    /// What one entry can match of fragments, if the field's ability is neither [`Ability::Set`]
    /// nor [`Ability::Unsupported`]: one of these sets. A match on an upper-layer field excludes
    /// non-first fragments by itself.
    pub fragment_sets: Vec<FragmentSet>,
    /// IPv6 prefixes with an offset (an address under any mask).
    pub ipv6_offset: bool,
    /// Whether IPv6 is filtered at all.
    pub ipv6: bool,
    /// What it can do with a packet.
    pub actions: ActionAbility,
    /// Most entries of the table for one rule.
    pub max_entries_per_rule: u64,
    /// The cost of each entry.
    pub cost: EntryCost,
    /// Entries of one rule may overlap, since only the first matching entry acts on a packet.
    pub overlap: bool,
    /// Further restrictions.
    pub limitations: Limitations,
}

impl Capabilities {
    /// A data plane that can do everything: to show rules without installing them.
    pub fn everything(name: &str) -> Self {
        Capabilities {
            name: name.to_owned(),
            fields: [Ability::Set; 13],
            tcp_flag_bits: 0x0fff,
            fragment_sets: Vec::new(),
            ipv6_offset: true,
            ipv6: true,
            actions: ActionAbility {
                discard: true,
                rate_bytes: true,
                rate_packets: true,
                shared_policer: true,
                mark: true,
                sample: true,
                redirect_address: true,
                copy_address: true,
                redirect_vrf: true,
                continues: true,
                mark_continues: true,
            },
            max_entries_per_rule: u64::MAX,
            cost: EntryCost::default(),
            overlap: false,
            limitations: Limitations::default(),
        }
    }

    /// How much of a component's values one entry can express.
    pub const fn field(&self, component: ComponentType) -> Ability {
        self.fields[component as usize - 1]
    }

    /// The same, with another ability for one component.
    pub fn with_field(mut self, component: ComponentType, ability: Ability) -> Self {
        self.fields[component as usize - 1] = ability;
        self
    }
}
