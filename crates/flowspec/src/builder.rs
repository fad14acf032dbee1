//! Builds a rule's match part from components, in canonical form.

use crate::component::{ComponentType, ValueKind};
use crate::error::{NlriError, NlriErrorKind};
use crate::family::{Family, IpVersion, RouteDistinguisher};
use crate::nlri::{MAX_LEN, Nlri};
use crate::op::{BitmaskOp, END_OF_LIST, NumericOp, Width};
use crate::prefix::Prefix;

/// Builds a rule's match part; components may come in any order, and setting one again replaces it.
///
/// A value that cannot be encoded exactly is refused by [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NlriBuilder {
    family: Family,
    rd: Option<RouteDistinguisher>,
    components: [Slot; ComponentType::ALL.len()],
}

/// What was set for one component type.
#[derive(Clone, Debug, Default)]
enum Slot {
    #[default]
    Absent,
    /// Its octets, type octet included.
    Set(Vec<u8>),
    /// The octets would have another meaning than the caller's value.
    Unencodable,
}

impl Nlri {
    /// Starts a match part without components.
    pub fn builder(family: Family) -> NlriBuilder {
        NlriBuilder { family, rd: None, components: Default::default() }
    }
}

impl NlriBuilder {
    /// Sets the route distinguisher; needed for VPN families, ignored by the others.
    pub fn route_distinguisher(mut self, rd: RouteDistinguisher) -> Self {
        self.rd = Some(rd);
        self
    }

    /// Sets a destination or source prefix. A prefix of the other IP version is refused by
    /// [`build`](Self::build).
    pub fn prefix(self, kind: ComponentType, prefix: Prefix) -> Self {
        let slot = match (prefix, self.family.version()) {
            _ if kind.value_kind() != ValueKind::Prefix => Slot::Unencodable,
            (Prefix::V4(net), IpVersion::V4) => {
                let len = usize::from(net.prefix_len()).div_ceil(8);
                let address = net.trunc().addr().octets();
                Slot::Set([&[kind as u8, net.prefix_len()], &address[..len]].concat())
            }
            (Prefix::V6(pattern), IpVersion::V6) => {
                let len = usize::from(pattern.length() - pattern.offset()).div_ceil(8);
                // The pattern goes left-shifted to its first octet (RFC 8956 §3.1).
                let shifted = pattern.bits().checked_shl(u32::from(pattern.offset())).unwrap_or(0).to_be_bytes();
                Slot::Set([&[kind as u8, pattern.length(), pattern.offset()], &shifted[..len]].concat())
            }
            (Prefix::V4(_), IpVersion::V6) | (Prefix::V6(_), IpVersion::V4) => Slot::Unencodable,
        };
        self.with(kind, slot)
    }

    /// Sets a numeric component. An empty list, a component that is not numeric, and a value too
    /// large for its [width](NumericOp::width) are refused by [`build`](Self::build).
    pub fn numeric(self, kind: ComponentType, ops: &[NumericOp]) -> Self {
        let pairs = ops.iter().map(|op| (op.operator_octet(), op.value, op.width));
        let slot = if kind.value_kind() == ValueKind::Numeric { encode_list(kind, pairs) } else { Slot::Unencodable };
        self.with(kind, slot)
    }

    /// Sets a bitmask component. An empty list, a component that is no bitmask, and a value too
    /// large for its [width](BitmaskOp::width) are refused by [`build`](Self::build).
    pub fn bitmask(self, kind: ComponentType, ops: &[BitmaskOp]) -> Self {
        let pairs = ops.iter().map(|op| (op.operator_octet(), op.value, op.width));
        let slot = if kind.value_kind() == ValueKind::Bitmask { encode_list(kind, pairs) } else { Slot::Unencodable };
        self.with(kind, slot)
    }

    /// Whether a component of this type was set.
    #[must_use]
    pub fn has(&self, kind: ComponentType) -> bool {
        !matches!(self.components[kind as usize - 1], Slot::Absent)
    }

    /// Validates everything and makes it canonical.
    ///
    /// # Errors
    /// As a receiver would find them: no component at all, a VPN rule without route distinguisher,
    /// a component that the family does not define, a value too wide, more than 4095 octets.
    /// [`NlriErrorKind::Unencodable`] for what the octets cannot say.
    pub fn build(self) -> Result<Nlri, NlriError> {
        let mut value = Vec::new();
        if self.family.is_vpn() {
            match self.rd {
                Some(rd) => value.extend_from_slice(&rd.0),
                None => return Err(NlriError { kind: NlriErrorKind::TruncatedRouteDistinguisher, offset: 0 }),
            }
        }
        for (kind, slot) in ComponentType::ALL.into_iter().zip(&self.components) {
            match slot {
                Slot::Absent => {}
                Slot::Set(octets) => value.extend_from_slice(octets),
                Slot::Unencodable => {
                    return Err(NlriError { kind: NlriErrorKind::Unencodable(kind), offset: value.len() });
                }
            }
        }
        if value.len() > MAX_LEN {
            return Err(NlriError { kind: NlriErrorKind::TooLong(value.len()), offset: MAX_LEN });
        }
        Nlri::from_value(self.family, &value)
    }

    fn with(mut self, kind: ComponentType, slot: Slot) -> Self {
        self.components[kind as usize - 1] = slot;
        self
    }
}

fn encode_list(kind: ComponentType, pairs: impl Iterator<Item = (u8, u64, Width)>) -> Slot {
    let mut octets = vec![kind as u8];
    let mut last = None;
    for (operator, value, width) in pairs {
        if Width::for_value(value) > width {
            return Slot::Unencodable;
        }
        last = Some(octets.len());
        octets.push(operator);
        octets.extend_from_slice(&value.to_be_bytes()[8 - width.octets()..]);
    }
    let Some(last) = last else { return Slot::Unencodable };
    octets[last] |= END_OF_LIST;
    Slot::Set(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Comparison;
    use crate::prefix::Ipv6Pattern;

    fn unencodable(kind: ComponentType, offset: usize) -> Result<Nlri, NlriError> {
        Err(NlriError { kind: NlriErrorKind::Unencodable(kind), offset })
    }

    #[test]
    fn a_prefix_of_the_other_version_is_refused() {
        // As octets, 01 18 0a 00 00 is a valid IPv6 pattern: length 24, offset 10.
        let v4 = Prefix::V4("10.0.0.0/24".parse().unwrap());
        let built = Nlri::builder(Family::Ipv6).prefix(ComponentType::Destination, v4).build();
        assert_eq!(built, unencodable(ComponentType::Destination, 0));
        let v6 = Prefix::V6(Ipv6Pattern::ANY);
        let built = Nlri::builder(Family::Ipv4).prefix(ComponentType::Source, v6).build();
        assert_eq!(built, unencodable(ComponentType::Source, 0));
    }

    #[test]
    fn a_value_is_never_cut_to_its_width() {
        let wide = NumericOp { width: Width::One, ..NumericOp::new(Comparison::Equal, 0x1150) };
        let built = Nlri::builder(Family::Ipv4).numeric(ComponentType::Port, &[wide]).build();
        assert_eq!(built, unencodable(ComponentType::Port, 0), "=4432 must not become =80");
    }

    #[test]
    fn a_component_takes_only_its_own_kind_of_value() {
        let numeric = [NumericOp::new(Comparison::Equal, 2)];
        let bitmask = [BitmaskOp::new(true, 2)];
        let any = Prefix::V4("0.0.0.0/0".parse().unwrap());
        for kind in ComponentType::ALL {
            let builder = || Nlri::builder(Family::Ipv4);
            let refused = |built: Result<Nlri, NlriError>| built == unencodable(kind, 0);
            assert_eq!(refused(builder().numeric(kind, &numeric).build()), kind.value_kind() != ValueKind::Numeric);
            assert_eq!(refused(builder().bitmask(kind, &bitmask).build()), kind.value_kind() != ValueKind::Bitmask);
            assert_eq!(refused(builder().prefix(kind, any).build()), kind.value_kind() != ValueKind::Prefix);
            assert!(refused(builder().numeric(kind, &[]).build()), "an empty list is not `no condition`");
            assert!(refused(builder().bitmask(kind, &[]).build()));
        }
    }

    #[test]
    fn a_vpn_rule_needs_its_route_distinguisher() {
        let builder = Nlri::builder(Family::Vpnv4).bitmask(ComponentType::Fragment, &[BitmaskOp::new(false, 2)]);
        assert_eq!(builder.clone().build().unwrap_err().kind, NlriErrorKind::TruncatedRouteDistinguisher);
        let nlri = builder.route_distinguisher("65000:1".parse().unwrap()).build().unwrap();
        assert_eq!(nlri.as_bytes(), [0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 0x0c, 0x80, 0x02]);
    }

    #[test]
    fn four_thousand_operators_do_not_fit_and_say_so() {
        // Type octet and two octets for each pair: 1 + 2 * 2047 = 4095 is the most.
        let ops = |n: usize| vec![NumericOp::new(Comparison::Equal, 80); n];
        let build = |n| Nlri::builder(Family::Ipv4).numeric(ComponentType::Port, &ops(n)).build();
        assert_eq!(build(2047).unwrap().as_bytes().len(), MAX_LEN);
        assert_eq!(build(2048), Err(NlriError { kind: NlriErrorKind::TooLong(4097), offset: MAX_LEN }));
        assert_eq!(build(4000), Err(NlriError { kind: NlriErrorKind::TooLong(8001), offset: MAX_LEN }));
    }
}
