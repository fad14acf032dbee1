//! Filters as the kernel tells them.

use super::encode::{fragment_flags, mark_octets};
use super::filter::{Action, Filter, Limit, Place, Purpose};
use super::key::{EtherType, FragmentKind, Key, Masked};
use super::numbers::version_of_chain;
use super::pkt_cls::*;
use crate::netlink::{Attributes, u16_at, u32_at, u64_at};
use flowspec::IpVersion;

/// A filter that is in the kernel.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) place: Place,
    /// The filter, where all of it is such that we could have made it. Its purpose and whether it
    /// is in hardware say nothing.
    pub(super) filter: Option<Filter>,
    pub(super) purpose: Option<Purpose>,
    pub(super) in_hardware: bool,
    /// What its actions have counted, in their order.
    pub(super) counts: Vec<ActionCount>,
}

/// What an action has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionCount {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) drops: u64,
}

/// Whether a message is about our block.
pub(super) fn is_of_block(body: &[u8], block: u32) -> bool {
    u32_at(body, 4) == Some(TCM_IFINDEX_MAGIC_BLOCK) && u32_at(body, 12) == Some(block)
}

/// Reads a message about a filter; `None` for what is none, as the head of a priority.
pub(super) fn filter(body: &[u8]) -> Option<Told> {
    let (handle, info) = (u32_at(body, 8)?, u32_at(body, 16)?);
    let (priority, protocol) = ((info >> 16) as u16, u16::from_be(info as u16));
    let attributes = Attributes(body.get(TCMSG..)?);
    let chain = attributes.find(TCA_CHAIN).and_then(|value| u32_at(value, 0)).unwrap_or(0);
    if handle == 0 {
        return None;
    }
    let is_flower = attributes.find(TCA_KIND) == Some(b"flower\0");
    // Not every classifier deletes single filters: of another one, the place is its whole priority.
    let place = (chain, priority, if is_flower { handle } else { 0 });
    let mut told = Told { place, filter: None, purpose: None, in_hardware: false, counts: Vec::new() };
    if !is_flower {
        return Some(told);
    }
    let options = attributes.inside(TCA_OPTIONS)?;
    let flags = options.find(TCA_FLOWER_FLAGS).and_then(|value| u32_at(value, 0)).unwrap_or(0);
    told.in_hardware = flags & TCA_CLS_FLAGS_IN_HW != 0;
    let key = key(options, chain, protocol);
    let version = key.as_ref().map(|key| key.version);
    let mut actions = Vec::new();
    let mut is_known = true;
    for (_, action) in options.inside(TCA_FLOWER_ACT).into_iter().flatten() {
        let action = Attributes(action);
        told.counts.push(count(action));
        if told.purpose.is_none() {
            told.purpose = action.find(TCA_ACT_COOKIE).and_then(Purpose::of_cookie);
        }
        match version.and_then(|version| one_action(action, version)) {
            Some(action) => actions.push(action),
            None => is_known = false,
        }
    }
    told.filter = key.filter(|_| is_known).map(|key| Filter {
        chain,
        priority,
        handle,
        protocol,
        key,
        actions,
        purpose: told.purpose.unwrap_or(Purpose::Protected),
        hardware: flags & TCA_CLS_FLAGS_SKIP_SW != 0,
    });
    Some(told)
}

/// What is compared; `None` if it is more than we ever ask for. The kernel does not tell the
/// EtherType of a tag: it is the one of the frames that are compared at all.
fn key(options: Attributes<'_>, chain: u32, protocol: u16) -> Option<Key> {
    let be16 = |value: &[u8]| Some(u16::from_be_bytes(value.try_into().ok()?));
    let be32 = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    let outer = options.find(TCA_FLOWER_KEY_ETH_TYPE).and_then(be16);
    let inner = options.find(TCA_FLOWER_KEY_VLAN_ETH_TYPE).and_then(be16);
    let (ether_type, version) = match inner.or(outer) {
        Some(ETH_P_MPLS_UC) => (EtherType::Mpls, implied_version(options, chain, protocol)?),
        Some(eth_type) => (EtherType::IpVersion, version_of(eth_type)?),
        None => (EtherType::Any, implied_version(options, chain, protocol)?),
    };
    let mut key = Key { ether_type, ..Key::all(version) };
    key.tag = inner.map(|_| protocol);
    let mut flags = (None, None);
    for (kind, value) in options {
        let octet = value.first().copied();
        match kind {
            TCA_FLOWER_ACT
            | TCA_FLOWER_FLAGS
            | TCA_FLOWER_IN_HW_COUNT
            | TCA_FLOWER_KEY_ETH_TYPE
            | TCA_FLOWER_KEY_VLAN_ETH_TYPE => {}
            TCA_FLOWER_KEY_IP_PROTO => key.protocol = octet,
            TCA_FLOWER_KEY_IPV4_SRC | TCA_FLOWER_KEY_IPV6_SRC => set(&mut key.source).value = wide(value)?,
            TCA_FLOWER_KEY_IPV4_SRC_MASK | TCA_FLOWER_KEY_IPV6_SRC_MASK => set(&mut key.source).mask = wide(value)?,
            TCA_FLOWER_KEY_IPV4_DST | TCA_FLOWER_KEY_IPV6_DST => set(&mut key.destination).value = wide(value)?,
            TCA_FLOWER_KEY_IPV4_DST_MASK | TCA_FLOWER_KEY_IPV6_DST_MASK => {
                set(&mut key.destination).mask = wide(value)?;
            }
            TCA_FLOWER_KEY_TCP_SRC | TCA_FLOWER_KEY_UDP_SRC => set(&mut key.source_port).value = be16(value)?,
            TCA_FLOWER_KEY_TCP_SRC_MASK | TCA_FLOWER_KEY_UDP_SRC_MASK => set(&mut key.source_port).mask = be16(value)?,
            TCA_FLOWER_KEY_TCP_DST | TCA_FLOWER_KEY_UDP_DST => set(&mut key.destination_port).value = be16(value)?,
            TCA_FLOWER_KEY_TCP_DST_MASK | TCA_FLOWER_KEY_UDP_DST_MASK => {
                set(&mut key.destination_port).mask = be16(value)?;
            }
            TCA_FLOWER_KEY_TCP_FLAGS => set(&mut key.tcp_flags).value = be16(value)?,
            TCA_FLOWER_KEY_TCP_FLAGS_MASK => set(&mut key.tcp_flags).mask = be16(value)?,
            TCA_FLOWER_KEY_ICMPV4_TYPE | TCA_FLOWER_KEY_ICMPV6_TYPE => key.icmp_type = octet,
            TCA_FLOWER_KEY_ICMPV4_CODE | TCA_FLOWER_KEY_ICMPV6_CODE => key.icmp_code = octet,
            TCA_FLOWER_KEY_IP_TOS => set(&mut key.tos).value = octet?,
            TCA_FLOWER_KEY_IP_TOS_MASK => set(&mut key.tos).mask = octet?,
            TCA_FLOWER_KEY_IP_TTL => key.ttl = octet,
            TCA_FLOWER_KEY_FLAGS => flags.0 = be32(value),
            TCA_FLOWER_KEY_FLAGS_MASK => flags.1 = be32(value),
            TCA_FLOWER_KEY_ICMPV4_TYPE_MASK
            | TCA_FLOWER_KEY_ICMPV4_CODE_MASK
            | TCA_FLOWER_KEY_ICMPV6_TYPE_MASK
            | TCA_FLOWER_KEY_ICMPV6_CODE_MASK
            | TCA_FLOWER_KEY_IP_TTL_MASK
                if octet == Some(u8::MAX) => {}
            _ => return None,
        }
    }
    if let (value, Some(mask)) = flags {
        let kinds = [FragmentKind::None, FragmentKind::First, FragmentKind::Later, FragmentKind::Any];
        let is = |kind: &FragmentKind| fragment_flags(*kind) == (value.unwrap_or(0), mask);
        key.fragment = Some(kinds.into_iter().find(is)?);
    }
    Some(key)
}

const fn version_of(eth_type: u16) -> Option<IpVersion> {
    match eth_type {
        ETH_P_IP => Some(IpVersion::V4),
        ETH_P_IPV6 => Some(IpVersion::V6),
        _ => None,
    }
}

/// The IP version of packets whose EtherType is not compared, or is that of MPLS: by the addresses
/// that are compared, by the chain, by the frames that are compared at all.
fn implied_version(options: Attributes<'_>, chain: u32, protocol: u16) -> Option<IpVersion> {
    let has = |kinds: [u16; 2]| kinds.into_iter().any(|kind| options.find(kind).is_some());
    if has([TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_DST]) {
        return Some(IpVersion::V4);
    }
    if has([TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_DST]) {
        return Some(IpVersion::V6);
    }
    version_of_chain(chain).or(version_of(protocol))
}

fn set<T: Default>(field: &mut Option<Masked<T>>) -> &mut Masked<T> {
    field.get_or_insert_with(|| Masked { value: T::default(), mask: T::default() })
}

/// An address of 4 or 16 octets.
fn wide(value: &[u8]) -> Option<u128> {
    let fits = matches!(value.len(), 4 | 16);
    fits.then(|| value.iter().fold(0, |number, octet| number << 8 | u128::from(*octet)))
}

fn one_action(action: Attributes<'_>, version: IpVersion) -> Option<Action> {
    let kind = action.find(TCA_ACT_KIND)?;
    let options = action.inside(TCA_ACT_OPTIONS)?;
    let then = |attribute: u16| options.find(attribute).and_then(|value| u32_at(value, 8));
    match kind.strip_suffix(&[0])? {
        b"gact" if options.find(TCA_GACT_PROB).is_none() => match then(TCA_GACT_PARMS)? {
            TC_ACT_OK => Some(Action::Pass),
            TC_ACT_SHOT => Some(Action::Drop),
            other if other & !TC_ACT_EXT_VAL_MASK == TC_ACT_GOTO_CHAIN => {
                Some(Action::Goto(other & TC_ACT_EXT_VAL_MASK))
            }
            _ => None,
        },
        b"police" => police(options),
        b"pedit" => mark(options, version),
        b"csum" => {
            let parameters = options.find(TCA_CSUM_PARMS)?;
            let wanted = (u32_at(parameters, 8)?, u32_at(parameters, 20)?);
            (wanted == (TC_ACT_PIPE, TCA_CSUM_UPDATE_FLAG_IPV4HDR)).then_some(Action::Checksum)
        }
        b"sample" => {
            let number = |attribute: u16| options.find(attribute).and_then(|value| u32_at(value, 0));
            let is_ours = then(TCA_SAMPLE_PARMS)? == TC_ACT_PIPE && number(TCA_SAMPLE_RATE)? == 1;
            let (group, octets) = (number(TCA_SAMPLE_PSAMPLE_GROUP)?, number(TCA_SAMPLE_TRUNC_SIZE)?);
            is_ours.then_some(Action::Sample { group, octets })
        }
        _ => None,
    }
}

/// The policer's number and limit, from a filter or from the list of policers.
pub(super) fn police(options: Attributes<'_>) -> Option<Action> {
    let parameters = options.find(TCA_POLICE_TBF)?;
    let wide = |attribute: u16| options.find(attribute).and_then(|value| u64_at(value, 0));
    let (index, exceed) = (u32_at(parameters, 0)?, u32_at(parameters, 4)?);
    let ends = match options.find(TCA_POLICE_RESULT).and_then(|value| u32_at(value, 0)).unwrap_or(TC_ACT_OK) {
        TC_ACT_OK => true,
        TC_ACT_PIPE => false,
        _ => return None,
    };
    if exceed != TC_ACT_SHOT {
        return None;
    }
    let limit = match wide(TCA_POLICE_PKTRATE64) {
        Some(rate) => Limit { bytes: false, rate, burst: wide(TCA_POLICE_PKTBURST64)? },
        None => {
            let rate = wide(TCA_POLICE_RATE64).unwrap_or(u64::from(u32_at(parameters, 28)?));
            Limit { bytes: true, rate, burst: u64::from(u32_at(parameters, 12)?) }
        }
    };
    Some(Action::Police { index, limit, ends })
}

fn mark(options: Attributes<'_>, version: IpVersion) -> Option<Action> {
    let selector = options.find(TCA_PEDIT_PARMS_EX)?;
    let header = match version {
        IpVersion::V4 => TCA_PEDIT_KEY_EX_HDR_TYPE_IP4,
        IpVersion::V6 => TCA_PEDIT_KEY_EX_HDR_TYPE_IP6,
    };
    let key = options.inside(TCA_PEDIT_KEYS_EX)?.inside(TCA_PEDIT_KEY_EX)?;
    let number = |attribute: u16| key.find(attribute).and_then(|value| u16_at(value, 0));
    let place = (number(TCA_PEDIT_KEY_EX_HTYPE)?, number(TCA_PEDIT_KEY_EX_CMD)?, selector.get(32..48)?);
    if u32_at(selector, 8)? != TC_ACT_PIPE || *selector.get(20)? != 1 || place != (header, 0, &[0; 16]) {
        return None;
    }
    let (keep, set) = (selector.get(24..28)?, selector.get(28..32)?);
    (0..64).find(|&dscp| mark_octets(dscp, version).0 == keep && mark_octets(dscp, version).1 == set).map(Action::Mark)
}

fn count(action: Attributes<'_>) -> ActionCount {
    let Some(stats) = action.inside(TCA_ACT_STATS) else { return ActionCount::default() };
    let basic = stats.find(TCA_STATS_BASIC).unwrap_or_default();
    let packets = stats.find(TCA_STATS_PKT64).and_then(|value| u64_at(value, 0));
    ActionCount {
        bytes: u64_at(basic, 0).unwrap_or_default(),
        packets: packets.or(u32_at(basic, 8).map(u64::from)).unwrap_or_default(),
        drops: stats.find(TCA_STATS_QUEUE).and_then(|value| u32_at(value, 8)).map(u64::from).unwrap_or_default(),
    }
}
