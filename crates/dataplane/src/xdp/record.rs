//! Converts a space to records of the classifier, exactly.
//!
//! A record has bounds for ports (or ICMP type and code) and length, and one masked comparison for
//! everything else. If a field has few values or intervals, a space becomes a few records. If it
//! has many, the one record is as narrow as possible, and an extra record has the lists that
//! confirm a match.

use super::layout::{
    Field, ICMP, LANE_DESTINATION, LANE_LENGTH, LANE_SOURCE, LENGTH_LANE, PORT_LANE, Record, T_DF, T_DSCP,
    T_FLAGS_PRESENT, T_LABEL, T_NO_PROTOCOL, T_POSITION, T_PROTOCOL, T_SOURCE4,
};
use engine::plan::CompiledRule;
use flowspec::space::{Cube, Fields, FragmentSet, IntervalSet, MAX_PORT, ProtocolSet, Space, max_length};
use flowspec::{ComponentType, IpVersion, Nlri, Prefix};
use std::borrow::Cow;

/// The most records for a space before lists are used.
const RECORDS_MAX: usize = 4;

/// A prefix without offset: its bits left-aligned, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Network {
    pub(super) bits: u128,
    pub(super) length: u8,
}

impl Network {
    pub(super) fn truncated(bits: u128, length: u8) -> Self {
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) };
        Network { bits: bits & mask, length }
    }

    /// Whether another network is inside of it, or equal.
    pub(super) fn contains(self, other: Self) -> bool {
        self.length <= other.length && Network::truncated(other.bits, self.length).bits == self.bits
    }

    /// The last address.
    pub(super) fn last(self) -> u128 {
        if self.length >= 128 { self.bits } else { self.bits | u128::MAX >> self.length }
    }
}

/// The part of a match that a record cannot express.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// Destination under a mask: high and low 64 bits of an IPv6 address; of an IPv4 address the
    /// low 32 bits of the second.
    pub(super) destination_value: [u64; 2],
    pub(super) destination_mask: [u64; 2],
    /// An IPv6 source with an offset, likewise.
    pub(super) source_value: [u64; 2],
    pub(super) source_mask: [u64; 2],
    /// Sorted disjoint intervals, all of which must contain the packet's value.
    pub(super) lists: Vec<(Field, Vec<(u32, u32)>)>,
}

/// A space as records. A packet is in the space if one of them matches it, and the extra part, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// The destination, if it is a plain prefix: it is looked up rather than compared.
    pub(super) bucket: Option<Network>,
    pub(super) records: Vec<Record>,
    pub(super) extra: Option<Extra>,
}

impl Records {
    /// Whether the rule is among those without destination though it has one, which its record does
    /// not look up: before rules with a source.
    pub(super) fn is_early(&self, rule: &Nlri) -> bool {
        self.bucket.is_none()
            && rule.components().any(|component| component.component_type() == ComponentType::Destination)
    }
}

/// The packets of a rule, if there are any. The compiler's parts are merged again, since this back
/// end can express every rule as one.
pub(super) fn space(rule: &CompiledRule) -> Option<Cow<'_, Space>> {
    let space = match &rule.entries[..] {
        [] => return None,
        [one] => Cow::Borrowed(one),
        [_, ..] => Cow::Owned(Space::of(&rule.nlri)),
    };
    (!space.is_empty()).then_some(space)
}

/// Intermediate state of the conversion.
struct Draft {
    ipv6: bool,
    value: u64,
    mask: u64,
    source: [u64; 2],
    source_length: u64,
    /// Alternatives for the lanes of source port, destination port and length: each is inclusive
    /// bounds.
    lanes: [Vec<(u32, u32)>; 3],
    protocols: Vec<Option<u8>>,
    extra: Extra,
}

/// The records of a space. With `compare_destination` the destination is compared instead of looked
/// up.
pub(super) fn records(space: &Space, compare_destination: bool) -> Records {
    let ipv6 = space.version() == IpVersion::V6;
    let mut draft = Draft {
        ipv6,
        value: 0,
        mask: 0,
        source: [0; 2],
        source_length: 0,
        lanes: [vec![(0, PORT_LANE as u32)], vec![(0, PORT_LANE as u32)], vec![(0, LENGTH_LANE as u32)]],
        protocols: vec![None],
        extra: Extra::default(),
    };
    let mut bucket = None;
    if let Some(prefix) = space.destination() {
        match network(prefix) {
            Some(network) if !compare_destination => bucket = Some(network),
            _ => (draft.extra.destination_value, draft.extra.destination_mask) = words(prefix),
        }
    }
    draft.source(space.source());
    draft.fragment(space);
    draft.dscp(space);
    draft.tcp_flags(space);
    draft.label(space);
    draft.protocol(space);
    draft.length(space);
    let either = draft.ports(space);
    let records = draft.finish(either);
    let extra = (draft.extra != Extra::default()).then_some(draft.extra);
    Records { bucket, records, extra }
}

fn network(prefix: Prefix) -> Option<Network> {
    match prefix {
        Prefix::V4(net) => Some(Network::truncated(u128::from(u32::from(net.network())) << 96, net.prefix_len())),
        Prefix::V6(pattern) if pattern.offset() == 0 => Some(Network::truncated(pattern.bits(), pattern.length())),
        Prefix::V6(_) => None,
    }
}

/// Value and mask of a prefix, as words of the key.
fn words(prefix: Prefix) -> ([u64; 2], [u64; 2]) {
    let split = |bits: u128| [(bits >> 64) as u64, bits as u64];
    match prefix {
        Prefix::V4(net) => ([0, u64::from(u32::from(net.network()))], [0, u64::from(u32::from(net.netmask()))]),
        Prefix::V6(pattern) => (split(pattern.bits()), split(pattern.mask())),
    }
}

fn intervals(set: &IntervalSet) -> Vec<(u32, u32)> {
    set.iter().collect()
}

impl Draft {
    fn want(&mut self, value: u64, mask: u64) {
        self.value |= value;
        self.mask |= mask;
    }

    fn source(&mut self, prefix: Option<Prefix>) {
        let Some(prefix) = prefix else { return };
        let (value, mask) = words(prefix);
        match (self.ipv6, network(prefix)) {
            (false, _) => self.want(value[1] << T_SOURCE4, mask[1] << T_SOURCE4),
            (true, Some(network)) => (self.source, self.source_length) = (value, u64::from(network.length)),
            (true, None) => (self.extra.source_value, self.extra.source_mask) = (value, mask),
        }
    }

    /// A set of kinds is a set of positions for each state of the don't-fragment bit; in one record
    /// if one of the two is empty, or both are equal.
    fn fragment(&mut self, space: &Space) {
        let Some(set) = space.fragment() else { return };
        // An upper-layer header exists only in whole packets and first fragments, so a constraint
        // on it implies that.
        let upper = space.fields().has_any(Fields::L4);
        let possible = FragmentSet::possible(space.version());
        if upper && set.covers(FragmentSet::WITH_L4_HEADER.intersect(possible)) {
            return;
        }
        let (without, with) = (set.0 & 0x0f, set.0 >> 4);
        let refused = |positions: u8| u64::from(!positions & 0x0f) << T_POSITION;
        if self.ipv6 {
            self.want(0, refused(without));
        } else if without == with {
            self.want(0, refused(with));
        } else if without == 0 {
            self.want(1 << T_DF, 1 << T_DF | refused(with));
        } else if with == 0 {
            self.want(0, 1 << T_DF | refused(without));
        } else {
            self.want(0, refused(with | without));
            self.extra.lists.push((Field::Fragment, bit_intervals(u64::from(set.0), 8)));
        }
    }

    fn dscp(&mut self, space: &Space) {
        let Some(set) = space.dscp() else { return };
        // The smallest cube around the set; and a list if the set is not all of it.
        let all = set.iter().fold(0x3f, |all, dscp| all & dscp);
        let any = set.iter().fold(0, |any, dscp| any | dscp);
        let same = u64::from(!(all ^ any) & 0x3f);
        self.want((u64::from(all) & same) << T_DSCP, same << T_DSCP);
        if set.len() != 1 << (6 - same.count_ones()) {
            self.extra.lists.push((Field::Dscp, bit_intervals(set.0, 64)));
        }
    }

    fn tcp_flags(&mut self, space: &Space) {
        let Some(set) = space.tcp_flags() else { return };
        let present = 1 << T_FLAGS_PRESENT;
        self.want(present, present);
        let cubes = set.cubes();
        if let [Cube { value, mask }] = cubes[..] {
            self.want(u64::from(value), u64::from(mask));
        } else {
            let accepted: IntervalSet = (0..0x1000)
                .filter(|&flags| set.contains(flags))
                .map(|flags| (u32::from(flags), u32::from(flags)))
                .collect();
            // The packet's value has the bit that says that there are flags.
            let list = accepted.iter().map(|(first, last)| (first | present as u32, last | present as u32)).collect();
            self.extra.lists.push((Field::TcpFlags, list));
        }
    }

    fn label(&mut self, space: &Space) {
        let Some(set) = space.label() else { return };
        match set.single() {
            Some(label) => self.want(u64::from(label) << T_LABEL, 0xf_ffff << T_LABEL),
            None => self.extra.lists.push((Field::Label, intervals(set))),
        }
    }

    fn protocol(&mut self, space: &Space) {
        let Some(set) = space.protocol() else { return };
        let set = set.intersect(ProtocolSet::possible(space.version()));
        let fields = space.fields();
        // What a port, an ICMP type or a flag implies needs no test.
        let implied =
            (fields.has_any(Fields::PORTS) && set.covers(ProtocolSet::WITH_PORTS)) || fields.has_any(Fields::ICMP);
        if implied {
            return;
        }
        if self.ipv6 {
            self.want(0, 1 << T_NO_PROTOCOL);
        }
        if set == ProtocolSet::possible(space.version()) {
            return;
        }
        if set.len() as usize <= RECORDS_MAX {
            self.protocols = set.iter().map(Some).collect();
        } else {
            self.extra.lists.push((Field::Protocol, intervals(&set.to_intervals())));
        }
    }

    fn length(&mut self, space: &Space) {
        let Some(set) = space.length() else { return };
        let cap = LENGTH_LANE as u32;
        let lengths = intervals(&set.intersect(&IntervalSet::range(0, max_length(space.version()))));
        // Lengths above the lane's maximum are one value of it; a set that distinguishes them is a
        // list.
        let above = max_length(space.version());
        let exact =
            above <= cap || set.intersect(&IntervalSet::range(cap, above)).values() % u64::from(above - cap + 1) == 0;
        let lane: IntervalSet = lengths.iter().map(|&(first, last)| (first.min(cap), last.min(cap))).collect();
        self.lanes[2] = intervals(&lane);
        if !exact {
            self.extra.lists.push((Field::Length, lengths));
        }
    }

    /// Bounds of the first two lanes. Returns the ports either of which may match, if the rule
    /// requires that.
    fn ports(&mut self, space: &Space) -> Option<Vec<(u32, u32)>> {
        let icmp = |set: &IntervalSet| set.iter().map(|(first, last)| (first + ICMP, last + ICMP)).collect();
        if let Some(set) = space.source_port() {
            self.lanes[0] = intervals(set);
        } else if let Some(set) = space.icmp_type() {
            self.lanes[0] = icmp(set);
        }
        if let Some(set) = space.destination_port() {
            self.lanes[1] = intervals(set);
        } else if let Some(set) = space.icmp_code() {
            self.lanes[1] = icmp(set);
        }
        space.port().map(intervals)
    }

    fn finish(&mut self, either: Option<Vec<(u32, u32)>>) -> Vec<Record> {
        let [sources, destinations, lengths] = &self.lanes;
        // Pairs of bounds for the two port lanes.
        let mut pairs: Vec<[(u32, u32); 2]> = Vec::new();
        let cross = |a: &[(u32, u32)], b: &[(u32, u32)], pairs: &mut Vec<[(u32, u32); 2]>| {
            // Many become a list in any case; the product of long lists is not needed for that.
            for &source in a.iter().take(RECORDS_MAX + 1) {
                for &destination in b.iter().take(RECORDS_MAX + 1) {
                    pairs.push([source, destination]);
                }
            }
        };
        match &either {
            None => cross(sources, destinations, &mut pairs),
            Some(ports) => {
                let both = |lane: &[(u32, u32)]| -> Vec<(u32, u32)> {
                    let lane: IntervalSet = lane.iter().copied().collect();
                    let ports: IntervalSet = ports.iter().copied().collect();
                    intervals(&lane.intersect(&ports))
                };
                let present = |lane: &[(u32, u32)]| -> Vec<(u32, u32)> {
                    let lane: IntervalSet = lane.iter().copied().collect();
                    intervals(&lane.intersect(&IntervalSet::range(0, MAX_PORT)))
                };
                // The same packet may match twice; that is harmless within one rule.
                cross(&both(sources), &present(destinations), &mut pairs);
                cross(&present(sources), &both(destinations), &mut pairs);
            }
        }
        if pairs.is_empty() || pairs.len() * lengths.len() * self.protocols.len() <= RECORDS_MAX {
            let mut records = Vec::new();
            for &pair in &pairs {
                for &length in lengths {
                    for &protocol in &self.protocols {
                        records.push(self.record(pair, length, protocol));
                    }
                }
            }
            return records;
        }
        let hull = |lane: &[(u32, u32)]| match (lane.first(), lane.last()) {
            (Some(first), Some(last)) => (first.0, last.1),
            _ => (1, 0),
        };
        let record = self.record([hull(sources), hull(destinations)], hull(lengths), None);
        let lists = [(Field::SourcePort, sources), (Field::DestinationPort, destinations), (Field::Length, lengths)];
        for (field, list) in lists {
            // A list of true lengths is better than the lane's, and exists already.
            if list.len() > 1 && self.extra.lists.iter().all(|(there, _)| *there != field) {
                self.extra.lists.push((field, list.clone()));
            }
        }
        if let Some(ports) = either {
            self.extra.lists.push((Field::EitherPort, ports));
        }
        if let [Some(_), ..] = self.protocols[..] {
            let list = self.protocols.iter().flatten().map(|&protocol| (u32::from(protocol), u32::from(protocol)));
            self.extra.lists.push((Field::Protocol, list.collect()));
        }
        vec![record]
    }

    fn record(&self, ports: [(u32, u32); 2], length: (u32, u32), protocol: Option<u8>) -> Record {
        let [source, destination] = ports;
        let word = |source: u32, destination: u32, length: u32| {
            u64::from(source) << LANE_SOURCE
                | u64::from(destination) << LANE_DESTINATION
                | u64::from(length) << LANE_LENGTH
        };
        Record {
            lo: word(source.0, destination.0, length.0),
            hi: word(source.1, destination.1, length.1),
            value: self.value | protocol.map_or(0, |protocol| u64::from(protocol) << T_PROTOCOL),
            mask: self.mask | protocol.map_or(0, |_| 0xff << T_PROTOCOL),
            source: self.source,
            source_length: self.source_length,
        }
    }
}

/// The bits that are set, as intervals of their positions.
fn bit_intervals(bits: u64, width: u32) -> Vec<(u32, u32)> {
    let set: IntervalSet = (0..width).filter(|bit| bits >> bit & 1 != 0).map(|bit| (bit, bit)).collect();
    intervals(&set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::{ComponentType, Family, Nlri, NlriBuilder, NumericOp};

    fn space(build: impl FnOnce(NlriBuilder) -> NlriBuilder) -> Space {
        Space::of(&build(Nlri::builder(Family::Ipv4)).build().unwrap())
    }

    fn equal(values: &[u64]) -> Vec<NumericOp> {
        values.iter().map(|&value| NumericOp::new(flowspec::Comparison::Equal, value)).collect()
    }

    #[test]
    fn few_values_are_records_and_many_a_list() {
        let few = records(&space(|b| b.numeric(ComponentType::DestinationPort, &equal(&[80, 443]))), false);
        assert_eq!((few.records.len(), few.extra), (2, None));
        let many = records(&space(|b| b.numeric(ComponentType::DestinationPort, &equal(&[1, 3, 5, 7, 9]))), false);
        assert_eq!(many.records.len(), 1);
        let lists = many.extra.unwrap().lists;
        assert_eq!(lists, [(Field::DestinationPort, vec![(1, 1), (3, 3), (5, 5), (7, 7), (9, 9)])]);
    }

    #[test]
    fn a_port_of_either_side_is_two_records() {
        let port = records(&space(|b| b.numeric(ComponentType::Port, &equal(&[53]))), false);
        assert_eq!((port.records.len(), port.extra), (2, None));
        assert_eq!(port.records[0].mask, 0, "the lanes say that there are ports");
    }

    #[test]
    fn the_guards_of_upper_layer_fields_are_in_the_lanes() {
        let icmp = records(&space(|b| b.numeric(ComponentType::IcmpType, &equal(&[8]))), false);
        assert_eq!((icmp.records.len(), icmp.records[0].mask), (1, 0));
        assert_eq!(icmp.records[0].lo & PORT_LANE, 0x1_0008);
    }

    #[test]
    fn destinations_are_looked_up_or_compared() {
        let nlri = Nlri::builder(Family::Ipv4)
            .prefix(ComponentType::Destination, Prefix::V4("192.0.2.0/24".parse().unwrap()))
            .build()
            .unwrap();
        let looked_up = records(&Space::of(&nlri), false);
        assert_eq!(looked_up.bucket, Some(Network { bits: 0xc000_0200 << 96, length: 24 }));
        assert_eq!(looked_up.extra, None);
        let compared = records(&Space::of(&nlri), true);
        assert_eq!(compared.bucket, None);
        assert_eq!(compared.extra.unwrap().destination_mask, [0, 0xffff_ff00]);
    }
}
