//! A space as the product of its fields' parts.

use super::refusal::RefusalKind;
use crate::capability::{Ability, Capabilities};
use flowspec::space::{Condition, Cube, DscpSet, Fields, FragmentSet, IntervalSet, ProtocolSet, TcpFlagSet};
use flowspec::{ComponentType, IpVersion, Space};

/// Every combination of TCP flags.
const TCP_FLAGS: u16 = 0x0fff;

/// Splits a space that is not empty.
pub(super) fn split(space: Space, capabilities: &Capabilities) -> Result<Vec<Space>, RefusalKind> {
    let port_is_split = space.port().is_some_and(|ports| !holds(capabilities.field(ComponentType::Port), ports));
    let all_flags = capabilities.tcp_flag_bits & TCP_FLAGS == TCP_FLAGS || space.tcp_flags().is_none();
    if !port_is_split && all_flags && space.fields().iter().all(|field| capabilities.field(field) == Ability::Set) {
        return Ok(vec![space]);
    }
    let arms = match (port_is_split, capabilities.overlap) {
        (false, _) => vec![space],
        (true, false) => space.split_port(),
        (true, true) => space.cover_port(),
    };
    let plans = arms.iter().map(|arm| fields_to_split(arm, capabilities)).collect::<Result<Vec<_>, _>>()?;
    let needed = plans
        .iter()
        .map(|plan| plan.iter().map(|field| field.parts).fold(1, u64::saturating_mul))
        .fold(0, u64::saturating_add);
    if needed > capabilities.max_entries_per_rule {
        return Err(RefusalKind::TooManyEntries { needed, limit: capabilities.max_entries_per_rule });
    }
    if plans.iter().all(Vec::is_empty) {
        return Ok(arms);
    }
    let mut entries = Vec::with_capacity(usize::try_from(needed).unwrap_or(0));
    for (arm, plan) in arms.into_iter().zip(plans) {
        let mut parts = vec![arm];
        for field in plan {
            let conditions = (field.make)(&parts[0]);
            parts = parts
                .iter()
                .flat_map(|part| conditions.iter().map(|condition| part.clone().narrowed(condition.clone())))
                .filter(|part| !part.is_empty())
                .collect();
            if parts.is_empty() {
                break;
            }
        }
        entries.extend(parts);
    }
    Ok(entries)
}

/// Whether one entry holds the whole set.
fn holds(ability: Ability, set: &IntervalSet) -> bool {
    match ability {
        Ability::Unsupported => false,
        Ability::Set => true,
        Ability::Value => set.single().is_some(),
        Ability::Masked => set.masked_len() == 1,
        Ability::Range => set.len() == 1,
        Ability::Ranges(most) => set.len() <= usize::from(most),
    }
}

type Make<'a> = dyn Fn(&Space) -> Vec<Condition> + 'a;

/// A field that takes more than one entry.
struct FieldSplit<'a> {
    /// How many it takes.
    parts: u64,
    /// Makes them, for a space in which the field is still whole.
    make: Box<Make<'a>>,
}

/// The fields of a space that one entry does not hold. `port` is not among them: it is split
/// before.
fn fields_to_split<'a>(space: &Space, capabilities: &'a Capabilities) -> Result<Vec<FieldSplit<'a>>, RefusalKind> {
    let mut splits = Vec::new();
    for field in space.fields().iter() {
        let ability = capabilities.field(field);
        match ability {
            Ability::Set if field != ComponentType::TcpFlags => continue,
            // What an upper-layer field implies of fragments needs no ability.
            Ability::Unsupported if !matches!(field, ComponentType::Port | ComponentType::Fragment) => {
                return Err(RefusalKind::Field(field));
            }
            _ => {}
        }
        let numbers = match field {
            // Prefixes are checked before, port is split before.
            ComponentType::Destination | ComponentType::Source | ComponentType::Port => continue,
            ComponentType::TcpFlags => {
                splits.extend(split_tcp_flags(space, capabilities)?);
                continue;
            }
            ComponentType::Fragment => {
                splits.extend(split_fragments(space, capabilities)?);
                continue;
            }
            ComponentType::Protocol
            | ComponentType::DestinationPort
            | ComponentType::SourcePort
            | ComponentType::IcmpType
            | ComponentType::IcmpCode
            | ComponentType::PacketLength
            | ComponentType::Dscp
            | ComponentType::FlowLabel => numbers(space, field),
        };
        let short = if Fields::PORTS.has(field) { capabilities.limitations.short_ranges } else { 0 };
        if !holds(ability, &numbers) || numbers.iter().any(|range| is_short(range, short)) {
            let parts = count(ability, &numbers, short);
            splits.push(FieldSplit {
                parts,
                make: Box::new(move |space| {
                    split_numbers(ability, &self::numbers(space, field), bits(field), short)
                        .into_iter()
                        .filter_map(|part| condition(field, part))
                        .collect()
                }),
            });
        }
    }
    Ok(splits)
}

/// The values of a field of numbers.
fn numbers(space: &Space, field: ComponentType) -> IntervalSet {
    match field {
        ComponentType::Protocol => space.protocol().unwrap_or_default().to_intervals(),
        ComponentType::Dscp => space.dscp().unwrap_or_default().to_intervals(),
        _ => space.numbers(field).cloned().unwrap_or_default(),
    }
}

/// Bits of a field of numbers, for values under a mask. An IPv6 packet may be longer than 16 bits
/// can say.
const fn bits(field: ComponentType) -> u32 {
    match field {
        ComponentType::Port | ComponentType::DestinationPort | ComponentType::SourcePort => 16,
        ComponentType::PacketLength => 17,
        ComponentType::Dscp => 6,
        ComponentType::FlowLabel => 20,
        ComponentType::Protocol
        | ComponentType::IcmpType
        | ComponentType::IcmpCode
        | ComponentType::Destination
        | ComponentType::Source
        | ComponentType::TcpFlags
        | ComponentType::Fragment => 8,
    }
}

/// The condition that a field of numbers has one of these values.
fn condition(field: ComponentType, set: IntervalSet) -> Option<Condition> {
    let values = || set.iter().flat_map(|(first, last)| first..=last);
    Some(match field {
        ComponentType::Protocol => {
            let one = |protocol| ProtocolSet::of(&[protocol]);
            let protocols = values().filter_map(|value| u8::try_from(value).ok());
            Condition::Protocol(protocols.map(one).fold(ProtocolSet::EMPTY, ProtocolSet::union))
        }
        ComponentType::Dscp => {
            Condition::Dscp(DscpSet(values().filter(|&value| value < 64).fold(0, |bits, value| bits | 1 << value)))
        }
        ComponentType::DestinationPort => Condition::DestinationPort(set),
        ComponentType::SourcePort => Condition::SourcePort(set),
        ComponentType::IcmpType => Condition::IcmpType(set),
        ComponentType::IcmpCode => Condition::IcmpCode(set),
        ComponentType::PacketLength => Condition::Length(set),
        ComponentType::FlowLabel => Condition::Label(set),
        ComponentType::Destination
        | ComponentType::Source
        | ComponentType::Port
        | ComponentType::TcpFlags
        | ComponentType::Fragment => return None,
    })
}

/// Whether a range is expanded: it has more than one value, and no more than `most`.
fn is_short((first, last): (u32, u32), most: u64) -> bool {
    first < last && u64::from(last - first) < most
}

/// Entries that a set takes; ranges of at most `short` values are expanded.
fn count(ability: Ability, set: &IntervalSet, short: u64) -> u64 {
    match ability {
        Ability::Unsupported => 0,
        Ability::Set => 1,
        Ability::Value => set.values(),
        Ability::Masked => set.masked_len(),
        Ability::Range => {
            let entries = |range: (u32, u32)| if is_short(range, short) { u64::from(range.1 - range.0) + 1 } else { 1 };
            set.iter().map(entries).sum()
        }
        Ability::Ranges(most) => set.len().div_ceil(usize::from(most).max(1)) as u64,
    }
}

/// The sets that the entries hold, as many as [`count`] says.
fn split_numbers(ability: Ability, set: &IntervalSet, bits: u32, short: u64) -> Vec<IntervalSet> {
    match ability {
        Ability::Unsupported => Vec::new(),
        Ability::Set => vec![set.clone()],
        Ability::Value => {
            let values = set.iter().flat_map(|(first, last)| first..=last);
            values.map(|value| IntervalSet::range(value, value)).collect()
        }
        Ability::Masked => {
            let field = u32::MAX >> (32 - bits);
            set.masked(bits).map(|(value, mask)| IntervalSet::range(value, value | (!mask & field))).collect()
        }
        Ability::Range => {
            let parts = |(first, last): (u32, u32)| {
                if is_short((first, last), short) { (first..=last, 0) } else { (first..=first, last - first) }
            };
            set.iter()
                .map(parts)
                .flat_map(|(firsts, more)| firsts.map(move |first| IntervalSet::range(first, first + more)))
                .collect()
        }
        Ability::Ranges(most) => {
            let intervals: Vec<_> = set.iter().collect();
            intervals.chunks(usize::from(most).max(1)).map(|chunk| chunk.iter().copied().collect()).collect()
        }
    }
}

fn split_tcp_flags<'a>(space: &Space, capabilities: &'a Capabilities) -> Result<Option<FieldSplit<'a>>, RefusalKind> {
    let Some(set) = space.tcp_flags() else { return Ok(None) };
    let ability = capabilities.field(ComponentType::TcpFlags);
    let hidden = if space.version() == IpVersion::V6 { capabilities.limitations.no_ipv6_flags } else { 0 };
    let seen = capabilities.tcp_flag_bits & !hidden;
    let set_only = capabilities.limitations.set_only_flags;
    let single_values = !matches!(ability, Ability::Set | Ability::Masked);
    if ability == Ability::Unsupported {
        return Err(RefusalKind::Field(ComponentType::TcpFlags));
    }
    if set.support() & !seen != 0 || (single_values && seen & TCP_FLAGS != TCP_FLAGS) {
        return Err(RefusalKind::TcpFlagBits);
    }
    if set_only & set.support() != 0 {
        let cubes: Option<Vec<Cube>> = set.cubes().into_iter().map(|cube| without_zeros(cube, set, set_only)).collect();
        let cubes = cubes.ok_or(RefusalKind::TcpFlagBits)?;
        let parts = cubes.len() as u64;
        let make = move |_: &Space| cubes.iter().map(|&cube| Condition::TcpFlags(cube.into())).collect();
        return Ok((parts > 1).then(|| FieldSplit { parts, make: Box::new(make) }));
    }
    let (parts, cubes): (u64, fn(&Space) -> Vec<Cube>) = match ability {
        Ability::Unsupported | Ability::Set => return Ok(None),
        Ability::Masked => (set.cubes_len(), |space| space.tcp_flags().map(|set| set.cubes()).unwrap_or_default()),
        Ability::Value | Ability::Range | Ability::Ranges(_) => (u64::from(set.values()), |space| {
            let contained = |flags: &u16| space.tcp_flags().is_some_and(|set| set.contains(*flags));
            (0..=TCP_FLAGS).filter(contained).map(|value| Cube { value, mask: TCP_FLAGS }).collect()
        }),
    };
    let make = move |space: &Space| cubes(space).into_iter().map(|cube| Condition::TcpFlags(cube.into())).collect();
    Ok((parts > 1).then(|| FieldSplit { parts, make: Box::new(make) }))
}

/// A cube of the set that does not require any of these flags to be unset; entries may overlap.
/// `None` if there is none around `cube`.
fn without_zeros(cube: Cube, set: &TcpFlagSet, flags: u16) -> Option<Cube> {
    let mask = cube.mask & !(flags & !cube.value);
    let within = |flags: u16| flags & mask != cube.value || set.contains(flags);
    (mask == cube.mask || (0..=TCP_FLAGS).all(within)).then_some(Cube { value: cube.value, mask })
}

fn split_fragments<'a>(space: &Space, capabilities: &'a Capabilities) -> Result<Option<FieldSplit<'a>>, RefusalKind> {
    let Some(wanted) = space.fragment() else { return Ok(None) };
    if space.fragment_is_implied() {
        return Ok(None);
    }
    match capabilities.field(ComponentType::Fragment) {
        Ability::Unsupported => return Err(RefusalKind::Field(ComponentType::Fragment)),
        Ability::Set => return Ok(None),
        Ability::Value | Ability::Masked | Ability::Range | Ability::Ranges(_) => {}
    }
    let mut seen = FragmentSet::possible(space.version());
    if space.fields().has_any(Fields::L4) {
        seen = seen.intersect(FragmentSet::WITH_L4_HEADER);
    }
    let of_ipv6 = capabilities.limitations.ipv6_fragment_sets.as_ref().filter(|_| space.version() == IpVersion::V6);
    let sets: Vec<_> = of_ipv6.unwrap_or(&capabilities.fragment_sets).iter().map(|set| set.intersect(seen)).collect();
    let parts = exact_cover(wanted, &sets).ok_or(RefusalKind::FragmentKinds)?;
    let count = parts.len() as u64;
    let make = move |_: &Space| parts.iter().map(|&part| Condition::Fragment(part)).collect();
    Ok((count > 1).then(|| FieldSplit { parts: count, make: Box::new(make) }))
}

/// `wanted` as few disjoint sets out of `sets`: those that cover the most are tried first.
fn exact_cover(wanted: FragmentSet, sets: &[FragmentSet]) -> Option<Vec<FragmentSet>> {
    if wanted.is_empty() {
        return Some(Vec::new());
    }
    let first = FragmentSet(1 << wanted.0.trailing_zeros());
    let mut fitting: Vec<_> = sets.iter().copied().filter(|&set| set.covers(first) && wanted.covers(set)).collect();
    fitting.sort_by_key(|set| std::cmp::Reverse(set.len()));
    fitting.into_iter().find_map(|set| {
        let mut cover = exact_cover(FragmentSet(wanted.0 & !set.0), sets)?;
        cover.push(set);
        Some(cover)
    })
}
