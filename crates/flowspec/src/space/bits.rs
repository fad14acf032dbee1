//! Small sets as bits: IP protocols, DSCPs and kinds of fragment.

use super::interval::IntervalSet;
use crate::component::{BitmaskOps, NumericOps};
use crate::family::IpVersion;
use crate::op::BitmaskOp;
use crate::protocol;

/// A set of IP protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProtocolSet([u64; 4]);

impl ProtocolSet {
    /// No protocol.
    pub const EMPTY: ProtocolSet = ProtocolSet([0; 4]);
    /// All 256.
    pub const FULL: ProtocolSet = ProtocolSet([u64::MAX; 4]);
    /// TCP and UDP, the protocols with ports.
    pub const WITH_PORTS: ProtocolSet = ProtocolSet::of(&[protocol::TCP, protocol::UDP]);

    /// These protocols.
    #[must_use]
    pub const fn of(protocols: &[u8]) -> Self {
        let mut words = [0u64; 4];
        let mut at = 0;
        while at < protocols.len() {
            words[(protocols[at] >> 6) as usize] |= 1 << (protocols[at] & 63);
            at += 1;
        }
        ProtocolSet(words)
    }

    /// What the protocol of a packet can be: anything for IPv4, anything but an extension header
    /// for IPv6.
    #[must_use]
    pub const fn possible(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => ProtocolSet::FULL,
            IpVersion::V6 => ProtocolSet::of(&protocol::EXTENSION_HEADERS).complement(),
        }
    }

    /// The protocols that the list accepts.
    #[must_use]
    pub fn from_ops(ops: NumericOps<'_>) -> Self {
        IntervalSet::from_ops(ops, u32::from(u8::MAX))
            .iter()
            .flat_map(|(first, last)| first..=last)
            .fold(ProtocolSet::EMPTY, |set, protocol| set.union(ProtocolSet::of(&[protocol as u8])))
    }

    /// Whether `protocol` is in it.
    #[must_use]
    pub const fn contains(self, protocol: u8) -> bool {
        self.0[(protocol >> 6) as usize] >> (protocol & 63) & 1 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is all 256.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.len() == 256
    }

    /// Number of protocols.
    #[must_use]
    pub const fn len(self) -> u32 {
        let [a, b, c, d] = self.0;
        a.count_ones() + b.count_ones() + c.count_ones() + d.count_ones()
    }

    /// The only protocol, if there is exactly one.
    #[must_use]
    pub fn single(self) -> Option<u8> {
        if self.len() == 1 { self.iter().next() } else { None }
    }

    /// Protocols of both.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        ProtocolSet([a & e, b & f, c & g, d & h])
    }

    /// Protocols of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        self.complement().intersect(other.complement()).complement()
    }

    /// Protocols that are not in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        let [a, b, c, d] = self.0;
        ProtocolSet([!a, !b, !c, !d])
    }

    /// Whether every protocol of `other` is in `self`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.intersect(self.complement()).is_empty()
    }

    /// The protocols, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&protocol| self.contains(protocol))
    }

    /// The same set as intervals.
    #[must_use]
    pub fn to_intervals(self) -> IntervalSet {
        self.iter().map(|protocol| (u32::from(protocol), u32::from(protocol))).collect()
    }
}

/// A set of DSCPs, 0 to 63: bit n is DSCP n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DscpSet(pub u64);

impl DscpSet {
    /// All 64.
    pub const FULL: DscpSet = DscpSet(u64::MAX);

    /// The DSCPs that the list accepts.
    #[must_use]
    pub fn from_ops(ops: NumericOps<'_>) -> Self {
        let set = IntervalSet::from_ops(ops, 63);
        DscpSet(set.iter().flat_map(|(first, last)| first..=last).fold(0, |bits, dscp| bits | 1 << dscp))
    }

    /// Whether `dscp` is in it.
    #[must_use]
    pub const fn contains(self, dscp: u8) -> bool {
        dscp < 64 && self.0 >> dscp & 1 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is all 64.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 == u64::MAX
    }

    /// Number of DSCPs.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// DSCPs of both.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        DscpSet(self.0 & other.0)
    }

    /// Whether every DSCP of `other` is in `self`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The DSCPs, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |&dscp| self.contains(dscp))
    }

    /// The same set as intervals.
    #[must_use]
    pub fn to_intervals(self) -> IntervalSet {
        self.iter().map(|dscp| (u32::from(dscp), u32::from(dscp))).collect()
    }
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FragmentPosition {
    /// All of it: offset 0 and no more fragments. An IPv6 atomic fragment (RFC 6946) is one.
    Whole = 0,
    /// The first of several: offset 0, more fragments.
    First = 1,
    /// Neither first nor last: offset not 0, more fragments.
    Middle = 2,
    /// The last of several: offset not 0, no more fragments.
    Last = 3,
}

impl FragmentPosition {
    /// Every position.
    pub const ALL: [FragmentPosition; 4] =
        [FragmentPosition::Whole, FragmentPosition::First, FragmentPosition::Middle, FragmentPosition::Last];

    /// The position by fragment offset and more-fragments bit.
    #[must_use]
    pub const fn of(offset: u16, more_fragments: bool) -> Self {
        match (offset, more_fragments) {
            (0, false) => FragmentPosition::Whole,
            (0, true) => FragmentPosition::First,
            (_, true) => FragmentPosition::Middle,
            (_, false) => FragmentPosition::Last,
        }
    }
}

/// A set of kinds of fragment. A kind is the don't-fragment bit and a position; bit `4 * df +
/// position` stands for it. IPv6 has only the four kinds without don't-fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentSet(pub u8);

impl FragmentSet {
    /// All eight kinds.
    pub const FULL: FragmentSet = FragmentSet(0xff);
    /// Whole packets and first fragments: those that have the beginning of the upper-layer header.
    pub const WITH_L4_HEADER: FragmentSet = FragmentSet(0x33);

    /// All kinds that packets of `version` can have.
    #[must_use]
    pub const fn possible(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => FragmentSet::FULL,
            IpVersion::V6 => FragmentSet(0x0f),
        }
    }

    /// The kinds that the list accepts (RFC 8955 §4.2.2.12, RFC 8956 §3.6).
    #[must_use]
    pub fn from_ops(ops: BitmaskOps<'_>, version: IpVersion) -> Self {
        let kinds = FragmentSet::possible(version).iter();
        kinds
            .filter(|&(df, position)| accepts(ops, fragment_bits(df, position)))
            .fold(FragmentSet(0), |set, (df, position)| FragmentSet(set.0 | 1 << (4 * u8::from(df) + position as u8)))
    }

    /// Whether a packet of this kind is in it.
    #[must_use]
    pub const fn contains(self, df: bool, position: FragmentPosition) -> bool {
        self.0 >> (4 * df as u8 + position as u8) & 1 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is all that packets of `version` can have.
    #[must_use]
    pub const fn is_full(self, version: IpVersion) -> bool {
        self.covers(FragmentSet::possible(version))
    }

    /// Number of kinds.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Kinds of both.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        FragmentSet(self.0 & other.0)
    }

    /// Whether every kind of `other` is in `self`.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The kinds: don't-fragment bit and position.
    pub fn iter(self) -> impl Iterator<Item = (bool, FragmentPosition)> {
        [false, true]
            .into_iter()
            .flat_map(|df| FragmentPosition::ALL.map(|position| (df, position)))
            .filter(move |&(df, position)| self.contains(df, position))
    }
}

/// The bits that a fragment component compares: DF 1, IsF 2, FF 4, LF 8.
const fn fragment_bits(df: bool, position: FragmentPosition) -> u64 {
    df as u64
        | match position {
            FragmentPosition::Whole => 0,
            FragmentPosition::First => 4,
            FragmentPosition::Middle => 2,
            FragmentPosition::Last => 2 | 8,
        }
}

/// Whether `data` satisfies the list; AND binds tighter than OR.
pub(super) fn accepts(ops: impl IntoIterator<Item = BitmaskOp>, data: u64) -> bool {
    let mut accepted = false;
    let mut group = false;
    for op in ops {
        if op.and {
            group &= op.holds(data);
        } else {
            accepted |= group;
            group = op.holds(data);
        }
    }
    accepted || group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Component, ComponentType};
    use crate::family::Family;
    use crate::nlri::Nlri;

    #[test]
    fn fragment_lists_are_tables_of_eight_kinds() {
        // One operator pair each: value, and the kinds that it accepts as `all`, bit 4 * df +
        // position.
        let dont_fragment = 0b1111_0000;
        let (whole, first, middle, last) = (0b0001_0001, 0b0010_0010, 0b0100_0100, 0b1000_1000);
        for (value, kinds) in [
            (0, 0xff),
            (1, dont_fragment),
            (2, middle | last),
            (4, first),
            (8, last),
            (2 | 8, last),
            (1 | 4, first & dont_fragment),
            (2 | 4, 0),
        ] {
            let set = |op: BitmaskOp, family| {
                let nlri = Nlri::builder(family).bitmask(ComponentType::Fragment, &[op]).build().unwrap();
                let Some(Component::Bitmask(_, ops)) = nlri.components().next() else { panic!("{nlri:?}") };
                FragmentSet::from_ops(ops, nlri.family().version()).0
            };
            let op = BitmaskOp::new(true, value);
            assert_eq!(set(op, Family::Ipv4), kinds, "{value}");
            assert_eq!(set(op.negated(), Family::Ipv4), !kinds, "{value}");
            if value & 1 == 0 {
                assert_eq!(set(op, Family::Ipv6), kinds & 0x0f, "{value}");
            }
        }
        assert_eq!(FragmentSet::WITH_L4_HEADER.0, whole | first);
    }

    #[test]
    fn protocol_sets() {
        let set = ProtocolSet::of(&[0, 63, 64, 255]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert_eq!((set.len(), set.complement().len()), (4, 252));
        assert!(set.covers(ProtocolSet::of(&[64])) && !set.covers(ProtocolSet::of(&[65])));
        assert!(set.union(set.complement()).is_full() && set.intersect(set.complement()).is_empty());
        assert_eq!(set.to_intervals().len(), 3);
        assert_eq!(ProtocolSet::possible(IpVersion::V6).len(), 248);
    }
}
