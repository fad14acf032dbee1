//! Converts a match set to conjunctions of tests, which single rules of nf_tables can express.

use super::field::{Field, Place, Test};
use flowspec::space::{FragmentPosition, FragmentSet, IntervalSet, MAX_PORT, ProtocolSet, Space};
use flowspec::{IpVersion, Prefix};

/// Tests that must all hold; in the order of [`Field`].
pub(super) type Conjunction = Vec<Test>;

/// The packets of `space` as the union of pairwise disjoint conjunctions.
pub(super) fn conjunctions(space: &Space) -> Vec<Conjunction> {
    if space.is_empty() {
        return Vec::new();
    }
    let version = space.version();
    let mut product = vec![Conjunction::with_capacity(6)];
    let addresses = [(Field::Destination, space.destination()), (Field::Source, space.source())];
    for (field, prefix) in addresses {
        if let Some(prefix) = prefix {
            let (mask, value) = mask_and_value(prefix);
            multiply_each(&mut product, [Test::masked(field, mask, value)].into_iter());
        }
    }
    if let Some(set) = space.protocol() {
        multiply_each(&mut product, protocols(version, set).into_iter());
    }
    multiply_ports(&mut product, space);
    let length = space.length().map(|set| within_header(version, set));
    let dscp = space.dscp().map(|set| set.to_intervals());
    let numbers = [
        (Field::IcmpType, space.icmp_type()),
        (Field::IcmpCode, space.icmp_code()),
        (Field::Length, length.as_ref()),
        (Field::Dscp, dscp.as_ref()),
        (Field::Label, space.label()),
    ];
    for (field, set) in numbers {
        if let Some(set) = set {
            multiply_each(&mut product, ranges(version, field, set));
        }
    }
    if let Some(set) = space.tcp_flags() {
        let cubes = set.cubes().into_iter();
        let tests: Vec<_> = cubes
            .map(|cube| match cube.mask {
                // Every value, but the header must exist.
                0 => Test::range(version, Field::TcpFlags, 0, 0x0fff),
                mask => Test::masked(Field::TcpFlags, mask.into(), cube.value.into()),
            })
            .collect();
        multiply_each(&mut product, tests.into_iter());
    }
    // An upper-layer field can only be read if the packet contains the header, so it adds its own
    // guard.
    if let (Some(set), false) = (space.fragment(), space.fragment_is_implied()) {
        multiply(&mut product, &fragments(version, set));
    }
    for conjunction in &mut product {
        guard_upper_fields(version, conjunction);
        conjunction.sort_by_key(Test::field);
    }
    product
}

/// A test on an upper-layer field is preceded by one that its header begins in the packet: in a
/// later fragment, the kernel (6.18) reads the data at its position, for IPv6 even at the wrong
/// offset.
fn guard_upper_fields(version: IpVersion, conjunction: &mut Conjunction) {
    if !conjunction.iter().any(|test| matches!(test.field().place(version), Place::Upper { .. })) {
        return;
    }
    match version {
        // A test on the fragment bits, if there is one, excludes later fragments as well.
        IpVersion::V4 if conjunction.iter().any(|test| test.field() == Field::Fragment) => {}
        IpVersion::V4 => conjunction.push(Test::masked(Field::Fragment, OFFSET, 0)),
        IpVersion::V6 => {
            let protocol = conjunction.iter().find_map(|test| match *test {
                Test::Within { field: Field::Protocol, first, last, .. } if first == last => Some(first as u8), // 8 bits
                _ => None,
            });
            conjunction.extend(protocol.map(Test::UpperHeader));
        }
    }
}

fn multiply(product: &mut Vec<Conjunction>, factor: &[Conjunction]) {
    if let [one] = factor {
        product.iter_mut().for_each(|tests| tests.extend(one));
        return;
    }
    *product = product.iter().flat_map(|left| factor.iter().map(|right| [&left[..], right].concat())).collect();
}

/// The same for conjunctions of one test each.
fn multiply_each(product: &mut Vec<Conjunction>, tests: impl Iterator<Item = Test> + Clone) {
    let mut first_two = tests.clone();
    if let (Some(only), None) = (first_two.next(), first_two.next()) {
        product.iter_mut().for_each(|conjunction| conjunction.push(only));
        return;
    }
    let with = |left: &Conjunction, right| left.iter().copied().chain([right]).collect();
    *product = product.iter().flat_map(|left| tests.clone().map(|right| with(left, right))).collect();
}

/// The prefix as the address's octets.
pub(super) fn mask_and_value(prefix: Prefix) -> (u128, u128) {
    match prefix {
        Prefix::V4(net) => (u32::from(net.netmask()).into(), u32::from(net.network()).into()),
        Prefix::V6(pattern) => (pattern.mask(), pattern.bits()),
    }
}

fn ranges(version: IpVersion, field: Field, set: &IntervalSet) -> impl Iterator<Item = Test> + Clone {
    set.iter().map(move |(first, last)| Test::range(version, field, first, last))
}

/// Possible values of the length: an IPv6 packet has at least 40 octets.
fn within_header(version: IpVersion, set: &IntervalSet) -> IntervalSet {
    match version {
        IpVersion::V4 => set.clone(),
        IpVersion::V6 => set.intersect(&IntervalSet::range(40, 40 + 0xffff)),
    }
}

/// Authentication, mobility, HIP and Shim6: extension headers in FlowSpec, the end of the chain in
/// nf_tables, which does not see what follows. So a packet with one matches no test on its
/// protocol.
const CHAIN_ENDING_HEADERS: [u8; 4] = [51, 135, 139, 140];

fn protocols(version: IpVersion, set: ProtocolSet) -> Vec<Test> {
    let set = match version {
        IpVersion::V4 => set,
        // The kernel never reports the number of a header that it skips, so those may be included
        // or not: including them makes fewer intervals.
        IpVersion::V6 => set
            .intersect(ProtocolSet::possible(version))
            .union(ProtocolSet::possible(version).complement())
            .intersect(ProtocolSet::of(&CHAIN_ENDING_HEADERS).complement()),
    };
    let intervals = set.to_intervals();
    let walked = ProtocolSet::possible(IpVersion::V6).complement();
    let meaningful = |&(first, last): &(u32, u32)| {
        version == IpVersion::V4 || (first..=last).any(|protocol| !walked.contains(protocol as u8)) // at most 255
    };
    intervals
        .iter()
        .filter(meaningful)
        .map(|(first, last)| Test::range(version, Field::Protocol, first, last))
        .collect()
}

/// Source and destination ports; `port` is either of them.
fn multiply_ports(product: &mut Vec<Conjunction>, space: &Space) {
    let version = space.version();
    let (destination, source) = (space.destination_port(), space.source_port());
    let pair = |product: &mut Vec<Conjunction>, destination: Option<&IntervalSet>, source: Option<&IntervalSet>| {
        for (field, set) in [(Field::DestinationPort, destination), (Field::SourcePort, source)] {
            if let Some(set) = set {
                multiply_each(product, ranges(version, field, set));
            }
        }
    };
    let Some(either) = space.port() else { return pair(product, destination, source) };
    let of = |set: Option<&IntervalSet>, with: &IntervalSet| set.map_or(with.clone(), |set| set.intersect(with));
    let mut found = vec![Conjunction::new()];
    pair(&mut found, Some(&of(destination, either)), source);
    let others = IntervalSet::full(MAX_PORT).difference(either);
    let mut by_source = vec![Conjunction::new()];
    pair(&mut by_source, Some(&of(destination, &others)), Some(&of(source, either)));
    found.extend(by_source);
    multiply(product, &found);
}

fn fragments(version: IpVersion, set: FragmentSet) -> Vec<Conjunction> {
    match version {
        IpVersion::V4 => fragments_v4(set),
        IpVersion::V6 => fragments_v6(set),
    }
}

const DONT: u128 = 0x4000;
const MORE: u128 = 0x2000;
const OFFSET: u128 = 0x1fff;

/// One interval of the flags-and-offset word for each run of kinds, under the mask that needs the
/// fewest.
fn fragments_v4(set: FragmentSet) -> Vec<Conjunction> {
    let kinds = || [false, true].into_iter().flat_map(|dont| FragmentPosition::ALL.map(|position| (dont, position)));
    let span = |mask: u128, dont: bool, position: FragmentPosition| {
        let (more, later) = match position {
            FragmentPosition::Whole => (false, false),
            FragmentPosition::First => (true, false),
            FragmentPosition::Middle => (true, true),
            FragmentPosition::Last => (false, true),
        };
        let base = mask & (if dont { DONT } else { 0 } | if more { MORE } else { 0 });
        let (first, last) = if later { (1, OFFSET) } else { (0, 0) };
        (base | first & mask, base | last & mask)
    };
    let masks = [MORE, DONT, OFFSET, OFFSET | MORE, OFFSET | DONT, MORE | DONT, OFFSET | MORE | DONT];
    let candidates = masks.into_iter().filter_map(|mask| {
        // A mask that hides a difference would map a wanted and an unwanted kind to the same value.
        let clash = kinds().filter(|&(dont, position)| !set.contains(dont, position)).any(|(dont, position)| {
            kinds().any(|(d, p)| set.contains(d, p) && span(mask, d, p) == span(mask, dont, position))
        });
        let mut spans: Vec<_> = kinds().filter(|&(d, p)| set.contains(d, p)).map(|(d, p)| span(mask, d, p)).collect();
        spans.sort_unstable();
        spans.dedup();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (first, last) in spans {
            match joined.last_mut() {
                Some(before) if before.1 + 1 == first => before.1 = last,
                _ => joined.push((first, last)),
            }
        }
        (!clash).then_some((mask, joined))
    });
    let best = candidates.min_by_key(|(_, spans)| spans.len());
    best.into_iter()
        .flat_map(|(mask, spans)| {
            spans.into_iter().map(move |(first, last)| vec![Test::Within { field: Field::Fragment, mask, first, last }])
        })
        .collect()
}

/// In the second word of the fragment header, the offset is above two reserved bits and the
/// more-fragments bit.
fn fragments_v6(set: FragmentSet) -> Vec<Conjunction> {
    const MORE: u128 = 0x0001;
    const OFFSET: u128 = 0xfff8;
    let first = Test::masked(Field::Fragment, OFFSET, 0);
    let later = Test::Within { field: Field::Fragment, mask: OFFSET, first: 1, last: OFFSET };
    let more = |bit| Test::masked(Field::Fragment, MORE, bit);
    let has = |position| set.contains(false, position);
    let side = |begin: Test, without_more, with_more| match (without_more, with_more) {
        (true, true) => Some(vec![begin]),
        (true, false) => Some(vec![begin, more(0)]),
        (false, true) => Some(vec![begin, more(1)]),
        (false, false) => None,
    };
    let none = has(FragmentPosition::Whole).then(|| vec![Test::NoFragmentHeader]);
    let starts = side(first, has(FragmentPosition::Whole), has(FragmentPosition::First));
    let laters = side(later, has(FragmentPosition::Last), has(FragmentPosition::Middle));
    [none, starts, laters].into_iter().flatten().collect()
}
