//! A rule as filters that have no place yet; what is never filtered, and what sends packets to the
//! rules.

use super::driver::Driver;
use super::filter::{ALL_PROTOCOLS, Action, Limit, Purpose};
use super::key::{EtherType, Key, Unwritable};
use super::pkt_cls::{ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6};
use super::settings::Settings;
use engine::first_fragments::first_fragments_to_exempt;
use engine::hidden_protocol::hidden_packets_to_exempt;
use engine::mpls_in_ip::mpls_packets_to_exempt;
use engine::plan::CompiledRule;
use flowspec::space::{Condition, Fields};
use flowspec::{Effect, IpVersion, Policing, Space};

/// The first priority of protected packets in it. Each protocol has priorities of its own.
pub(super) const PROTECTED_PRIORITY: u16 = 10;
/// The first priority in it of filters that send packets to the rules.
pub(super) const DISPATCH_PRIORITY: u16 = 100;

/// Most octets that a packet has on its way here: several that the kernel has put together.
const LARGEST_PACKET: u64 = 1 << 16;
/// Nanoseconds of a tick, the kernel's unit of a burst.
const TICK: f64 = 64.0;
/// mlxsw's bursts: 64 bytes times a power of two, with exponents from 4 on.
const MLXSW_LEAST_BURST: u64 = 64 << 4;
const MLXSW_MOST_BURST: u64 = 64 << 25;

/// A filter of a rule, without its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleFilter {
    /// The packets, for the order.
    pub(super) space: Space,
    pub(super) key: Key,
    pub(super) actions: Vec<Action>,
    pub(super) purpose: Purpose,
}

/// The filters of a rule. `policer` gives a policer's number for a limit.
///
/// # Errors
/// The compiler let something through that no filter can say.
pub(super) fn rule_filters(
    rule: &CompiledRule,
    settings: &Settings,
    mut policer: impl FnMut(Limit) -> u32,
) -> Result<Vec<RuleFilter>, Unwritable> {
    let software = settings.driver == Driver::Software;
    let limits: Vec<(u32, Limit)> =
        limits(&rule.effect.policing, settings).into_iter().map(|limit| (policer(limit), limit)).collect();
    let actions = actions(rule, settings, &limits)?;
    let mut filters = Vec::with_capacity(rule.entries.len());
    for entry in &rule.entries {
        for key in Key::of(entry, software)? {
            if let Some(ignored) = key.ignored() {
                return Err(ignored);
            }
            let space = if software { seen(entry) } else { entry.clone() };
            filters.push(RuleFilter { space, key, actions: actions.clone(), purpose: Purpose::Rule(rule.id) });
        }
    }
    if software {
        for (space, key) in unseen(&rule.entries, &rule.effect)? {
            filters.push(RuleFilter { space, key, actions: vec![Action::Pass], purpose: Purpose::Exemption(rule.id) });
        }
    }
    Ok(filters)
}

/// What a rule has to exempt beside the packets of its filters, since the kernel does not see
/// whether they are its packets.
fn unseen(entries: &[Space], effect: &Effect) -> Result<Vec<(Space, Key)>, Unwritable> {
    let mut found = Vec::new();
    for space in first_fragments_to_exempt(entries, effect) {
        let key = Key::of_first_fragments(&space)?;
        found.push((space, key));
    }
    for space in hidden_packets_to_exempt(entries, effect) {
        found.extend(Key::of_hidden(&space)?.into_iter().map(|key| (space.clone(), key)));
    }
    for space in mpls_packets_to_exempt(entries, effect) {
        let key = Key::of_mpls(&space)?;
        found.push((space, key));
    }
    Ok(found)
}

/// The packets of an entry that its filter sees: whole ones only, where it asks for the upper-layer
/// header.
fn seen(entry: &Space) -> Space {
    if entry.fields().has_any(Fields::L4) && entry.fragment_is_implied() {
        entry.clone().narrowed(Condition::Fragment(super::capabilities::WHOLE))
    } else {
        entry.clone()
    }
}

/// The EtherType of the frames that filters of rules are compared with. The kernel's own classifier
/// finds the IP header behind tags.
pub(super) const fn protocol(settings: &Settings, version: IpVersion) -> u16 {
    match (settings.driver, version) {
        (Driver::Software, _) => ALL_PROTOCOLS,
        (_, IpVersion::V4) => ETH_P_IP,
        (_, IpVersion::V6) => ETH_P_IPV6,
    }
}

fn actions(rule: &CompiledRule, settings: &Settings, limits: &[(u32, Limit)]) -> Result<Vec<Action>, Unwritable> {
    let effect = &rule.effect;
    if effect.continues || effect.redirect.is_some() {
        return Err(Unwritable("an action that flower does not have"));
    }
    let mut actions = Vec::new();
    if effect.sample {
        actions.push(Action::Sample { group: settings.sample_group, octets: settings.sample_octets });
    }
    if effect.policing == Policing::Discard {
        actions.push(Action::Drop);
        return Ok(actions);
    }
    let (count, marks) = (limits.len(), effect.mark.is_some());
    for (at, &(index, limit)) in limits.iter().enumerate() {
        actions.push(Action::Police { index, limit, ends: at + 1 == count && !marks });
    }
    if let Some(dscp) = effect.mark {
        actions.push(Action::Mark(dscp));
        // The switch puts the checksum right by itself, and takes no action for it.
        if rule.nlri.family().version() == IpVersion::V4 && settings.driver == Driver::Software {
            actions.push(Action::Checksum);
        }
    }
    if count == 0 || marks {
        actions.push(Action::Pass);
    }
    Ok(actions)
}

/// The limits as the kernel counts them: never lower than asked for.
fn limits(policing: &Policing, settings: &Settings) -> Vec<Limit> {
    let Policing::Limit { bytes, packets } = policing else { return Vec::new() };
    let whole = |rate: &f32| (f64::from(*rate).ceil() as u64).max(1);
    let ticks =
        |amount: u64, rate: u64| (amount as f64 * 1e9 / rate as f64 / TICK).ceil().min(f64::from(u32::MAX)) as u64;
    let at_once = |rate: u64, least: u64| ((rate as f64 * settings.burst.as_secs_f64()).ceil() as u64).max(least);
    let of_bytes = bytes.as_ref().map(|rate| {
        let (rate, octets) = if settings.driver == Driver::Mlxsw {
            let rate = whole(rate).div_ceil(1000).saturating_mul(1000);
            let octets = at_once(rate, LARGEST_PACKET).clamp(MLXSW_LEAST_BURST, MLXSW_MOST_BURST);
            (rate, octets.next_power_of_two())
        } else {
            (whole(rate), at_once(whole(rate), LARGEST_PACKET))
        };
        Limit { bytes: true, rate, burst: ticks(octets, rate) }
    });
    let of_packets = packets.as_ref().map(|rate| {
        let rate = whole(rate);
        Limit { bytes: false, rate, burst: ticks(at_once(rate, 1), rate) }
    });
    of_bytes.into_iter().chain(of_packets).collect()
}

/// The keys of packets that are never filtered.
///
/// # Errors
/// The compiler let something through that no filter can say.
pub(super) fn protected_keys(protected: &[Space], settings: &Settings) -> Result<Vec<Key>, Unwritable> {
    let mut keys = Vec::new();
    for space in protected {
        for key in Key::of(space, settings.driver == Driver::Software)? {
            match key.ignored() {
                Some(ignored) => return Err(ignored),
                None => keys.push(key),
            }
        }
    }
    if settings.driver == Driver::Software {
        // What may be one of the packets is not filtered either.
        keys.extend(unseen(protected, &Effect::ACCEPT)?.into_iter().map(|(_, key)| key));
    }
    // Where packets begin, the chain does not tell the IP version.
    Ok(keys.into_iter().flat_map(Key::with_known_version).collect())
}

/// The keys of IPv6 neighbour discovery, which is never filtered: messages with hop limit 255.
pub(super) fn neighbor_discovery(settings: &Settings) -> Vec<Key> {
    let message = |icmp_type| Key { protocol: Some(58), icmp_type, ttl: Some(255), ..Key::all(IpVersion::V6) };
    match settings.driver {
        Driver::Software => (133..=137).map(|kind| message(Some(kind))).collect(),
        // It does not see types: all of ICMPv6 with this hop limit, which no router has passed on.
        Driver::Mlxsw => vec![message(None)],
        // They filter no IPv6.
        Driver::Prestera | Driver::Ocelot => Vec::new(),
    }
}

/// The filters that send packets of an IP version to its rules: EtherType, what is compared, offset
/// of the priority.
pub(super) fn dispatchers(version: IpVersion, settings: &Settings) -> Vec<(u16, Key, u16)> {
    let (eth_type, offset) = match version {
        IpVersion::V4 => (ETH_P_IP, 0),
        IpVersion::V6 => (ETH_P_IPV6, 1),
    };
    let all = Key::all(version);
    if settings.driver != Driver::Software {
        return vec![(eth_type, all, offset)];
    }
    let mut dispatchers = vec![(eth_type, Key { ether_type: EtherType::Any, ..all.clone() }, offset)];
    for (tag, offset) in [(ETH_P_8021Q, 2 + offset), (ETH_P_8021AD, 4 + offset)] {
        dispatchers.push((tag, Key { tag: Some(tag), ..all.clone() }, offset));
    }
    dispatchers
}

/// What all filters of a chain may compare, for drivers that want to know before the first of them.
pub(super) fn template(version: IpVersion, settings: &Settings) -> Option<Key> {
    use super::key::Masked;
    if settings.driver != Driver::Mlxsw {
        return None;
    }
    let address = match version {
        IpVersion::V4 => Masked { value: 0, mask: u128::from(u32::MAX) },
        IpVersion::V6 => Masked { value: 0, mask: u128::MAX },
    };
    let port = Masked { value: 0, mask: u16::MAX };
    Some(Key {
        destination: Some(address),
        source: Some(address),
        protocol: Some(super::key::TCP),
        destination_port: Some(port),
        source_port: Some(port),
        tcp_flags: Some(Masked { value: 0, mask: 0x01ff }),
        tos: Some(Masked { value: 0, mask: 0xfc }),
        ..Key::all(version)
    })
}
