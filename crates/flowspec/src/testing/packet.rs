//! Random packets that hit or just miss given rules.

use super::draft::{Draft, Extension};
use super::seed::Seed;
use crate::component::ComponentType;
use crate::family::IpVersion;
use crate::nlri::Nlri;
use crate::prefix::Prefix;
use crate::protocol::{ICMPV6, icmp_of};
use crate::space::{
    FragmentPosition, FragmentSet, IntervalSet, MAX_ICMP, MAX_LABEL, MAX_PORT, ProtocolSet, Space, TcpFlagSet,
};
use std::net::IpAddr;

/// What random packets may be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketShape {
    /// The longest, in octets.
    pub max_length: u32,
    /// IPv4 options.
    pub options: bool,
    /// The most IPv6 extension headers, the fragment header aside.
    pub max_extensions: usize,
    /// Mobility, HIP and Shim6 among the extension headers, which few know as such.
    pub rare_extensions: bool,
    /// Fragments, and atomic ones.
    pub fragments: bool,
    /// Packets that end within the upper-layer header.
    pub truncated: bool,
    /// Messages of IPv6 neighbour discovery, and packets that differ from them in one thing.
    pub neighbor_discovery: bool,
}

impl PacketShape {
    /// Everything, within the usual MTU.
    #[must_use]
    pub const fn everything() -> Self {
        PacketShape {
            max_length: 1500,
            options: true,
            max_extensions: 4,
            rare_extensions: true,
            fragments: true,
            truncated: true,
            neighbor_discovery: true,
        }
    }

    /// Whole packets with a whole upper-layer header right behind the IP header.
    #[must_use]
    pub const fn plain() -> Self {
        PacketShape {
            max_length: 1500,
            options: false,
            max_extensions: 0,
            rare_extensions: false,
            fragments: false,
            truncated: false,
            neighbor_discovery: false,
        }
    }
}

/// A packet of the version, from its IP header on: see [`random_draft_for`].
pub fn random_packet_for<'a>(
    seed: &mut Seed,
    version: IpVersion,
    rules: impl ExactSizeIterator<Item = &'a Nlri>,
    shape: &PacketShape,
) -> Vec<u8> {
    random_draft_for(seed, version, rules, shape).to_ip()
}

/// A packet aimed at one of the rules. About half are meant to match it, with values at the ends of
/// what it accepts; most of the others have one field just outside; some are not aimed at all. A
/// rule of the other version is as good as none.
pub fn random_draft_for<'a>(
    seed: &mut Seed,
    version: IpVersion,
    mut rules: impl ExactSizeIterator<Item = &'a Nlri>,
    shape: &PacketShape,
) -> Draft {
    let at = seed.below(rules.len() as u64) as usize;
    let aim = rules.nth(at).filter(|_| seed.percent(95)).map(Space::of).filter(|space| space.version() == version);
    let aim = aim.unwrap_or_else(|| Space::all(version));
    let mut draft = aimed(seed, &aim, shape);
    if seed.percent(45) {
        miss(seed, &mut draft, &aim, shape);
    }
    if seed.percent(10) {
        miss(seed, &mut draft, &aim, shape);
    }
    if shape.neighbor_discovery && version == IpVersion::V6 && seed.percent(8) {
        neighbor_discovery(seed, &mut draft);
    }
    draft
}

/// A message of neighbour discovery, or one that is none by its hop limit, type, code, protocol or
/// an extension header.
fn neighbor_discovery(seed: &mut Seed, draft: &mut Draft) {
    (draft.protocol, draft.hop_limit, draft.icmp_code, draft.truncate) = (ICMPV6, 255, 0, None);
    draft.icmp_type = seed.within(133, 137) as u8;
    (draft.fragment_offset, draft.more_fragments) = (0, false);
    if !seed.percent(25) {
        draft.extensions.clear();
        draft.inner_extensions.clear();
        draft.atomic = false;
    }
    match seed.below(10) {
        0 => draft.hop_limit = seed.pick(&[254, 64, 1, 0]).unwrap_or(64),
        1 => draft.icmp_type = seed.pick(&[132, 138, 128, 1]).unwrap_or(128),
        2 => draft.icmp_code = seed.pick(&[1, 255]).unwrap_or(1),
        3 => draft.protocol = 17,
        4 => draft.truncate = seed.pick(&[1, 2]),
        _ => {}
    }
}

/// A packet that matches `aim`, as far as the shape lets it.
fn aimed(seed: &mut Seed, aim: &Space, shape: &PacketShape) -> Draft {
    let version = aim.version();
    let protocol = protocol(seed, aim);
    let mut draft =
        Draft::new(protocol, address(seed, version, aim.source()), address(seed, version, aim.destination()));
    draft.source_port = number(seed, aim.source_port(), MAX_PORT) as u16;
    draft.destination_port = number(seed, aim.destination_port(), MAX_PORT) as u16;
    if let Some(either) = aim.port() {
        let port = number(seed, Some(either), MAX_PORT);
        let source_may = aim.source_port().is_none_or(|set| set.contains(port));
        let destination_may = aim.destination_port().is_none_or(|set| set.contains(port));
        if source_may && (!destination_may || seed.percent(50)) {
            draft.source_port = port as u16;
        } else if destination_may {
            draft.destination_port = port as u16;
        }
    }
    draft.icmp_type = number(seed, aim.icmp_type(), MAX_ICMP) as u8;
    draft.icmp_code = number(seed, aim.icmp_code(), MAX_ICMP) as u8;
    draft.tcp_flags = tcp_flags(seed, aim.tcp_flags());
    draft.dscp = match aim.dscp() {
        Some(set) => number(seed, Some(&set.to_intervals()), 63) as u8,
        None => seed.below(64) as u8,
    };
    draft.flow_label = number(seed, aim.label(), MAX_LABEL);
    draft.length = match aim.length() {
        Some(set) => {
            let possible = IntervalSet::range(20, shape.max_length);
            number(seed, Some(&set.intersect(&possible)), shape.max_length)
        }
        None if seed.percent(70) => seed.within(20, 128) as u32,
        None => seed.within(20, shape.max_length.into()) as u32,
    };
    if shape.options && seed.percent(20) {
        draft.option_words = seed.within(1, 10) as u8;
    }
    draft.extensions = extensions(seed, shape, true);
    draft.inner_extensions = extensions(seed, shape, false);
    let kinds = aim.fragment().unwrap_or(FragmentSet::possible(version));
    fragment(seed, &mut draft, kinds, shape, if aim.fragment().is_some() { 60 } else { 25 });
    draft
}

/// Moves one field of the packet to just outside of what `aim` accepts, or to anything else.
fn miss(seed: &mut Seed, draft: &mut Draft, aim: &Space, shape: &PacketShape) {
    let version = aim.version();
    let constrained: Vec<ComponentType> = aim.fields().iter().collect();
    let field = if seed.percent(80) { seed.pick(&constrained) } else { seed.pick(&ComponentType::ALL) };
    let beside = |seed: &mut Seed, set: Option<&IntervalSet>, max: u32| {
        number(seed, set.map(|set| set.complement(max)).as_ref(), max)
    };
    match field.unwrap_or(ComponentType::Protocol) {
        ComponentType::Destination => draft.destination = beside_prefix(seed, draft.destination, aim.destination()),
        ComponentType::Source => draft.source = beside_prefix(seed, draft.source, aim.source()),
        ComponentType::Protocol => {
            let others = [1, 6, 17, 58, 132, 136, 33, 0, 59, 255, seed.below(256) as u8];
            let others: Vec<u8> = others.into_iter().filter(|&p| ProtocolSet::possible(version).contains(p)).collect();
            draft.protocol = seed.pick(&others).unwrap_or(6);
        }
        ComponentType::Port => {
            draft.source_port = beside(seed, aim.port(), MAX_PORT) as u16;
            draft.destination_port = beside(seed, aim.port(), MAX_PORT) as u16;
        }
        ComponentType::DestinationPort => {
            draft.destination_port = beside(seed, aim.destination_port(), MAX_PORT) as u16;
        }
        ComponentType::SourcePort => draft.source_port = beside(seed, aim.source_port(), MAX_PORT) as u16,
        ComponentType::IcmpType => draft.icmp_type = beside(seed, aim.icmp_type(), MAX_ICMP) as u8,
        ComponentType::IcmpCode => draft.icmp_code = beside(seed, aim.icmp_code(), MAX_ICMP) as u8,
        ComponentType::TcpFlags => draft.tcp_flags ^= 1 << seed.below(12),
        ComponentType::PacketLength => {
            let set =
                aim.length().map(|set| set.complement(shape.max_length).intersect(&IntervalSet::range(20, u32::MAX)));
            draft.length = number(seed, set.as_ref(), shape.max_length);
        }
        ComponentType::Dscp => draft.dscp = beside(seed, aim.dscp().map(|set| set.to_intervals()).as_ref(), 63) as u8,
        ComponentType::Fragment => fragment(seed, draft, FragmentSet::possible(version), shape, 100),
        ComponentType::FlowLabel => draft.flow_label = beside(seed, aim.label(), MAX_LABEL),
    }
    if shape.truncated && seed.percent(15) {
        draft.truncate = Some(seed.pick(&[0, 1, 2, 3, 4, 8, 12, 13, 14, 19]).unwrap_or(0));
    }
}

/// A number of the set, mostly at the end of an interval; any number of `0..=max` where the set is
/// absent or empty.
fn number(seed: &mut Seed, set: Option<&IntervalSet>, max: u32) -> u32 {
    let at = seed.below(set.map_or(0, |set| set.len() as u64)) as usize;
    let Some((first, last)) = set.and_then(|set| set.iter().nth(at)) else {
        return seed.within(0, max.into()) as u32;
    };
    match seed.below(10) {
        0..=3 => first,
        4..=7 => last,
        _ => seed.within(first.into(), last.into()) as u32,
    }
}

fn protocol(seed: &mut Seed, aim: &Space) -> u8 {
    let possible = ProtocolSet::possible(aim.version());
    let wanted = aim.protocol().map(|set| set.intersect(possible)).filter(|set| !set.is_empty());
    let common = [6, 17, icmp_of(aim.version()), 6, 17, 132, 47];
    match wanted {
        None if seed.percent(85) => seed.pick(&common).unwrap_or(6),
        None => number(seed, Some(&possible.to_intervals()), 255) as u8,
        Some(set) => {
            let common: Vec<u8> = common.into_iter().filter(|&protocol| set.contains(protocol)).collect();
            let common = seed.pick(&common).filter(|_| seed.percent(60));
            common.unwrap_or_else(|| number(seed, Some(&set.to_intervals()), 255) as u8)
        }
    }
}

fn tcp_flags(seed: &mut Seed, set: Option<&TcpFlagSet>) -> u16 {
    let cubes = set.map(TcpFlagSet::cubes).unwrap_or_default();
    let any = seed.below(0x1000) as u16;
    match seed.pick(&cubes) {
        Some(cube) => cube.value | any & !cube.mask,
        None => seed.pick(&[0x02, 0x10, 0x12, 0x18, 0x04, 0x11, any]).unwrap_or(any),
    }
}

/// An address with the prefix; the other bits are zeros, ones or anything.
fn address(seed: &mut Seed, version: IpVersion, prefix: Option<Prefix>) -> IpAddr {
    let fill = match seed.below(4) {
        0 => 0,
        1 => u128::MAX,
        _ => u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64()),
    };
    match prefix {
        Some(Prefix::V4(net)) => {
            let mask = u32::from(net.netmask());
            IpAddr::V4((u32::from(net.addr()) | fill as u32 & !mask).into())
        }
        Some(Prefix::V6(pattern)) => {
            // Bits that are not asked for: those of a usual address, so that routers take the
            // packet.
            let usual = 0x2001_0db8u128 << 96;
            let open = !pattern.mask();
            let top = !(u128::MAX >> 32);
            IpAddr::V6((pattern.bits() | open & (usual & top | fill & !top)).into())
        }
        None if version == IpVersion::V4 => IpAddr::V4((0x0a00_0000 | fill as u32 & 0x00ff_ffff).into()),
        None => IpAddr::V6((0x2001_0db8u128 << 96 | fill >> 32).into()),
    }
}

/// The address with one of the bits flipped that the prefix asks for: mostly the last.
fn beside_prefix(seed: &mut Seed, address: IpAddr, prefix: Option<Prefix>) -> IpAddr {
    let (offset, length) = match prefix {
        Some(Prefix::V4(net)) => (0, net.prefix_len()),
        Some(Prefix::V6(pattern)) => (pattern.offset(), pattern.length()),
        None => (0, if address.is_ipv4() { 32 } else { 128 }),
    };
    let bit = match seed.below(4) {
        0 => offset,
        1 => seed.within(offset.into(), u64::from(length) - 1) as u8,
        _ => length - 1,
    };
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) ^ 1u32 << (31 - u32::from(bit.min(31)))).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) ^ 1u128 << (127 - u32::from(bit.min(127)))).into()),
    }
}

/// Makes the packet one of these kinds; a whole one in all but `chance` of a hundred cases where it
/// may be.
fn fragment(seed: &mut Seed, draft: &mut Draft, kinds: FragmentSet, shape: &PacketShape, chance: u64) {
    let mut kinds: Vec<(bool, FragmentPosition)> = kinds.iter().collect();
    let whole: Vec<_> = kinds.iter().copied().filter(|kind| kind.1 == FragmentPosition::Whole).collect();
    if !whole.is_empty() && (!shape.fragments || !seed.percent(chance)) {
        kinds = whole;
    }
    let (df, position) = seed
        .pick(&kinds)
        .filter(|kind| shape.fragments || kind.1 == FragmentPosition::Whole)
        .unwrap_or((false, FragmentPosition::Whole));
    let non_first = [1, 2, 185, seed.within(1, 6000) as u16];
    let non_first = seed.pick(&non_first).unwrap_or(1);
    draft.dont_fragment = df;
    (draft.fragment_offset, draft.more_fragments) = match position {
        FragmentPosition::Whole => (0, false),
        FragmentPosition::First => (0, true),
        FragmentPosition::Middle => (non_first, true),
        FragmentPosition::Last => (non_first, false),
    };
    draft.atomic = shape.fragments && seed.percent(10);
}

fn extensions(seed: &mut Seed, shape: &PacketShape, outer: bool) -> Vec<Extension> {
    if shape.max_extensions == 0 || !seed.percent(if outer { 30 } else { 15 }) {
        return Vec::new();
    }
    let most = if outer { shape.max_extensions.div_ceil(2) } else { shape.max_extensions / 2 };
    let count = if most == 0 { 0 } else { seed.within(1, most as u64) };
    let mut headers = Vec::new();
    for n in 0..count {
        let header = match (outer, n) {
            // Hop-by-hop options stand only at the very front.
            (true, 0) if seed.percent(40) => 0,
            _ if shape.rare_extensions && seed.percent(10) => seed.pick(&[135, 139, 140]).unwrap_or(140),
            _ => seed.pick(&[60, 43, 51, 60]).unwrap_or(60),
        };
        headers.push(Extension { header, units: seed.within(1, 4) as u8 });
    }
    headers
}
