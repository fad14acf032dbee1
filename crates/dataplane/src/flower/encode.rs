//! Filters as netlink messages.

use super::filter::{Action, Filter, Limit};
use super::key::{EtherType, FragmentKind, Key, Masked, TCP};
use super::pkt_cls::*;
use crate::netlink::push;
use flowspec::IpVersion;

/// A `struct tcmsg` for the block.
pub(super) fn header(block: u32, handle: u32, priority: u16, protocol: u16) -> Vec<u8> {
    tcmsg(TCM_IFINDEX_MAGIC_BLOCK, handle, block, info(priority, protocol))
}

/// A `struct tcmsg`.
pub(super) fn tcmsg(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.extend([0; 4]);
    for number in [interface, handle, parent, info] {
        body.extend(number.to_ne_bytes());
    }
    body
}

/// Priority, and the EtherType in network byte order.
fn info(priority: u16, protocol: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(protocol.to_be())
}

/// A request to make the filter, or to put it in the place of the one that has its place.
pub(super) fn new_filter(filter: &Filter, block: u32) -> Vec<u8> {
    let flags = if filter.hardware { TCA_CLS_FLAGS_SKIP_SW } else { TCA_CLS_FLAGS_SKIP_HW };
    filter_with_flags(filter, block, flags)
}

/// The same with other flags.
pub(super) fn filter_with_flags(filter: &Filter, block: u32, flags: u32) -> Vec<u8> {
    let mut body = header(block, filter.handle, filter.priority, filter.protocol);
    push(&mut body, TCA_KIND, b"flower\0");
    push(&mut body, TCA_CHAIN, &filter.chain.to_ne_bytes());
    nest(&mut body, TCA_OPTIONS, |body| {
        keys(body, &filter.key);
        push(body, TCA_FLOWER_FLAGS, &flags.to_ne_bytes());
        nest(body, TCA_FLOWER_ACT, |body| {
            for (number, action) in (1..).zip(&filter.actions) {
                nest(body, number, |body| one_action(body, action, filter));
            }
        });
    });
    body
}

/// A request to name the filter: to remove it, or to have it told.
pub(super) fn name_filter(filter: &Filter, block: u32) -> Vec<u8> {
    let mut body = header(block, filter.handle, filter.priority, filter.protocol);
    push(&mut body, TCA_KIND, b"flower\0");
    push(&mut body, TCA_CHAIN, &filter.chain.to_ne_bytes());
    body
}

/// A request about a chain.
pub(super) fn chain(number: u32, block: u32) -> Vec<u8> {
    let mut body = header(block, 0, 0, 0);
    push(&mut body, TCA_CHAIN, &number.to_ne_bytes());
    body
}

/// A request to make a chain whose filters compare these fields and no others, so that a switch
/// gives all of them one region.
pub(super) fn chain_with_template(number: u32, block: u32, template: &Key) -> Vec<u8> {
    let mut body = chain(number, block);
    push(&mut body, TCA_KIND, b"flower\0");
    nest(&mut body, TCA_OPTIONS, |body| keys(body, template));
    body
}

/// Adds an attribute that holds attributes.
pub(super) fn nest(body: &mut Vec<u8>, kind: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    let start = body.len();
    body.extend([0; 2]);
    body.extend(kind.to_ne_bytes());
    inside(body);
    // No filter is longer than some hundred octets, but for the table of rates.
    let length = u16::try_from(body.len() - start).unwrap_or(u16::MAX);
    body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

fn keys(body: &mut Vec<u8>, key: &Key) {
    let eth_type = match key.version {
        IpVersion::V4 => ETH_P_IP,
        IpVersion::V6 => ETH_P_IPV6,
    };
    match key.ether_type {
        // Without it, drivers would take the filter for one of every protocol.
        EtherType::IpVersion => push(body, TCA_FLOWER_KEY_ETH_TYPE, &key.tag.unwrap_or(eth_type).to_be_bytes()),
        EtherType::Mpls => push(body, TCA_FLOWER_KEY_ETH_TYPE, &ETH_P_MPLS_UC.to_be_bytes()),
        EtherType::Any => {}
    }
    if key.tag.is_some() {
        push(body, TCA_FLOWER_KEY_VLAN_ETH_TYPE, &eth_type.to_be_bytes());
    }
    if let Some(protocol) = key.protocol {
        push(body, TCA_FLOWER_KEY_IP_PROTO, &[protocol]);
    }
    let (source, destination) = match key.version {
        IpVersion::V4 => (
            [TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK],
            [TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK],
        ),
        IpVersion::V6 => (
            [TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK],
            [TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK],
        ),
    };
    for (masked, [value, mask]) in [(key.source, source), (key.destination, destination)] {
        if let Some(masked) = masked {
            let skip = if key.version == IpVersion::V4 { 12 } else { 0 };
            push(body, value, &masked.value.to_be_bytes()[skip..]);
            push(body, mask, &masked.mask.to_be_bytes()[skip..]);
        }
    }
    let (source, destination) = if key.protocol == Some(TCP) {
        ([TCA_FLOWER_KEY_TCP_SRC, TCA_FLOWER_KEY_TCP_SRC_MASK], [TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_TCP_DST_MASK])
    } else {
        ([TCA_FLOWER_KEY_UDP_SRC, TCA_FLOWER_KEY_UDP_SRC_MASK], [TCA_FLOWER_KEY_UDP_DST, TCA_FLOWER_KEY_UDP_DST_MASK])
    };
    u16_under_mask(body, key.source_port, source);
    u16_under_mask(body, key.destination_port, destination);
    u16_under_mask(body, key.tcp_flags, [TCA_FLOWER_KEY_TCP_FLAGS, TCA_FLOWER_KEY_TCP_FLAGS_MASK]);
    let (kind, code) = match key.version {
        IpVersion::V4 => (
            [TCA_FLOWER_KEY_ICMPV4_TYPE, TCA_FLOWER_KEY_ICMPV4_TYPE_MASK],
            [TCA_FLOWER_KEY_ICMPV4_CODE, TCA_FLOWER_KEY_ICMPV4_CODE_MASK],
        ),
        IpVersion::V6 => (
            [TCA_FLOWER_KEY_ICMPV6_TYPE, TCA_FLOWER_KEY_ICMPV6_TYPE_MASK],
            [TCA_FLOWER_KEY_ICMPV6_CODE, TCA_FLOWER_KEY_ICMPV6_CODE_MASK],
        ),
    };
    let whole = |value: Option<u8>| value.map(|value| Masked { value, mask: u8::MAX });
    u8_under_mask(body, whole(key.icmp_type), kind);
    u8_under_mask(body, whole(key.icmp_code), code);
    u8_under_mask(body, key.tos, [TCA_FLOWER_KEY_IP_TOS, TCA_FLOWER_KEY_IP_TOS_MASK]);
    u8_under_mask(body, whole(key.ttl), [TCA_FLOWER_KEY_IP_TTL, TCA_FLOWER_KEY_IP_TTL_MASK]);
    if let Some(kind) = key.fragment {
        let (value, mask) = fragment_flags(kind);
        push(body, TCA_FLOWER_KEY_FLAGS, &value.to_be_bytes());
        push(body, TCA_FLOWER_KEY_FLAGS_MASK, &mask.to_be_bytes());
    }
}

/// The flags of a kind of fragment, and which of them are compared.
pub(super) const fn fragment_flags(kind: FragmentKind) -> (u32, u32) {
    let (any, first) = (TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT, TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST);
    match kind {
        FragmentKind::None => (0, any),
        FragmentKind::First => (any | first, any | first),
        FragmentKind::Later => (any, any | first),
        FragmentKind::Any => (any, any),
    }
}

fn u16_under_mask(body: &mut Vec<u8>, masked: Option<Masked<u16>>, [value, mask]: [u16; 2]) {
    if let Some(masked) = masked {
        push(body, value, &masked.value.to_be_bytes());
        push(body, mask, &masked.mask.to_be_bytes());
    }
}

fn u8_under_mask(body: &mut Vec<u8>, masked: Option<Masked<u8>>, [value, mask]: [u16; 2]) {
    if let Some(masked) = masked {
        push(body, value, &[masked.value]);
        push(body, mask, &[masked.mask]);
    }
}

/// The name of the kernel's module for an action.
pub(super) const fn kind_of(action: &Action) -> &'static str {
    match action {
        Action::Pass | Action::Drop | Action::Goto(_) => "gact",
        Action::Police { .. } => "police",
        Action::Mark(_) => "pedit",
        Action::Checksum => "csum",
        Action::Sample { .. } => "sample",
    }
}

fn one_action(body: &mut Vec<u8>, action: &Action, filter: &Filter) {
    let mut kind = kind_of(action).as_bytes().to_vec();
    kind.push(0);
    push(body, TCA_ACT_KIND, &kind);
    push(body, TCA_ACT_COOKIE, &filter.purpose.cookie());
    nest(body, TCA_ACT_OPTIONS, |body| match *action {
        Action::Pass => push(body, TCA_GACT_PARMS, &tc_gen(0, TC_ACT_OK)),
        Action::Drop => push(body, TCA_GACT_PARMS, &tc_gen(0, TC_ACT_SHOT)),
        Action::Goto(chain) => push(body, TCA_GACT_PARMS, &tc_gen(0, TC_ACT_GOTO_CHAIN | chain)),
        Action::Police { index, limit, ends } => police(body, index, limit, ends),
        Action::Mark(dscp) => mark(body, dscp, filter.key.version),
        Action::Checksum => {
            let mut parameters = tc_gen(0, TC_ACT_PIPE).to_vec();
            parameters.extend(TCA_CSUM_UPDATE_FLAG_IPV4HDR.to_ne_bytes());
            push(body, TCA_CSUM_PARMS, &parameters);
        }
        Action::Sample { group, octets } => {
            push(body, TCA_SAMPLE_PARMS, &tc_gen(0, TC_ACT_PIPE));
            push(body, TCA_SAMPLE_RATE, &1u32.to_ne_bytes());
            push(body, TCA_SAMPLE_PSAMPLE_GROUP, &group.to_ne_bytes());
            push(body, TCA_SAMPLE_TRUNC_SIZE, &octets.to_ne_bytes());
        }
    });
}

/// What each action's parameters begin with: its number, capabilities, what follows it, two counts
/// of users.
fn tc_gen(index: u32, then: u32) -> [u8; 20] {
    let mut octets = [0; 20];
    octets[..4].copy_from_slice(&index.to_ne_bytes());
    octets[8..12].copy_from_slice(&then.to_ne_bytes());
    octets
}

fn police(body: &mut Vec<u8>, index: u32, limit: Limit, ends: bool) {
    // Longer packets than any: the kernel would otherwise take those of more than 2,040 octets for
    // too much.
    const MTU: u32 = 1 << 30;
    let mut parameters = Vec::with_capacity(56);
    let (rate, burst) = if limit.bytes {
        (u32::try_from(limit.rate).unwrap_or(u32::MAX), u32::try_from(limit.burst).unwrap_or(u32::MAX))
    } else {
        (0, 0)
    };
    for number in [index, TC_ACT_SHOT, 0, burst, if limit.bytes { MTU } else { 0 }] {
        parameters.extend(number.to_ne_bytes());
    }
    // struct tc_ratespec: cells of 8 octets, Ethernet, no overhead.
    parameters.extend([3, 1, 0, 0, 0, 0, 0, 0]);
    parameters.extend(rate.to_ne_bytes());
    parameters.resize(56, 0);
    push(body, TCA_POLICE_TBF, &parameters);
    if limit.bytes {
        push(body, TCA_POLICE_RATE, &[0; TC_RTAB_SIZE]);
        if limit.rate > u64::from(u32::MAX) {
            push(body, TCA_POLICE_RATE64, &limit.rate.to_ne_bytes());
        }
    } else {
        push(body, TCA_POLICE_PKTRATE64, &limit.rate.to_ne_bytes());
        push(body, TCA_POLICE_PKTBURST64, &limit.burst.to_ne_bytes());
    }
    push(body, TCA_POLICE_RESULT, &(if ends { TC_ACT_OK } else { TC_ACT_PIPE }).to_ne_bytes());
}

/// The bits of the first four octets of the IP header that stay, and those that are set.
pub(super) const fn mark_octets(dscp: u8, version: IpVersion) -> ([u8; 4], [u8; 4]) {
    match version {
        IpVersion::V4 => ([0xff, 0x03, 0xff, 0xff], [0, dscp << 2, 0, 0]),
        IpVersion::V6 => ([0xf0, 0x3f, 0xff, 0xff], [dscp >> 2, dscp << 6, 0, 0]),
    }
}

fn mark(body: &mut Vec<u8>, dscp: u8, version: IpVersion) {
    let (keep, set) = mark_octets(dscp, version);
    let mut selector = tc_gen(0, TC_ACT_PIPE).to_vec();
    // One key, no flags.
    selector.extend([1, 0, 0, 0]);
    selector.extend(keep);
    selector.extend(set);
    // At the header's beginning, without a computed place.
    selector.extend([0; 16]);
    push(body, TCA_PEDIT_PARMS_EX, &selector);
    let header = match version {
        IpVersion::V4 => TCA_PEDIT_KEY_EX_HDR_TYPE_IP4,
        IpVersion::V6 => TCA_PEDIT_KEY_EX_HDR_TYPE_IP6,
    };
    nest(body, TCA_PEDIT_KEYS_EX, |body| {
        nest(body, TCA_PEDIT_KEY_EX, |body| {
            push(body, TCA_PEDIT_KEY_EX_HTYPE, &header.to_ne_bytes());
            push(body, TCA_PEDIT_KEY_EX_CMD, &0u16.to_ne_bytes());
        });
    });
}
