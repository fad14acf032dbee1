//! The NLRI codec (RFC 8955 §4, RFC 8956 §3): validates in place, iterates without copying, keeps
//! the canonical octets.
//!
//! [`NlriRef`] is a validated NLRI that borrows what the peer sent. [`Nlri`] owns the canonical
//! form, in which reserved bits are zero: it is the key shared by an announcement and its
//! withdrawal.

use crate::component::{BitmaskOps, Component, ComponentType, NumericOps, ValueKind};
use crate::error::{NlriError, NlriErrorKind};
use crate::family::{Family, IpVersion, RouteDistinguisher};
use crate::op::{AND, END_OF_LIST, Width};
use crate::prefix::{Ipv6Pattern, Prefix};
use crate::rule_id::RuleId;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most octets of a rule after its length field.
pub const MAX_LEN: usize = 4095;
/// From this many octets on, the length takes two octets.
pub(crate) const TWO_OCTET_LENGTH: usize = 240;

/// A validated NLRI that borrows the octets a peer sent. Reserved bits may still be set.
#[derive(Clone, Copy, Debug)]
pub struct NlriRef<'a> {
    family: Family,
    value: &'a [u8],
}

impl<'a> NlriRef<'a> {
    /// Validates `value`, the octets behind the length field. Offsets in errors count from its
    /// start.
    ///
    /// # Errors
    /// Whatever makes a rule malformed (RFC 8955 §4.2, §10); see [`NlriErrorKind`].
    pub fn from_value(family: Family, value: &'a [u8]) -> Result<Self, NlriError> {
        if value.is_empty() {
            return Err(NlriError { kind: NlriErrorKind::Empty, offset: 0 });
        }
        if value.len() > MAX_LEN {
            return Err(NlriError { kind: NlriErrorKind::TooLong(value.len()), offset: MAX_LEN });
        }
        let flow_start = if family.is_vpn() { RouteDistinguisher::LEN } else { 0 };
        if value.len() < flow_start {
            return Err(NlriError { kind: NlriErrorKind::TruncatedRouteDistinguisher, offset: value.len() });
        }
        if value.len() == flow_start {
            return Err(NlriError { kind: NlriErrorKind::Empty, offset: flow_start });
        }
        let version = family.version();
        let mut at = flow_start;
        let mut previous = 0u8;
        while at < value.len() {
            let fail = |kind| Err(NlriError { kind, offset: at });
            let number = value[at];
            let Some(kind) = ComponentType::from_wire(number, version) else {
                return fail(NlriErrorKind::UnknownComponent(number));
            };
            if number <= previous {
                return fail(NlriErrorKind::ComponentOrder { previous, found: number });
            }
            previous = number;
            at = validate_component(kind, version, value, at + 1)?;
        }
        Ok(NlriRef { family, value })
    }

    /// The family it was decoded for.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The octets behind the length field, as received.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.value
    }

    /// The route distinguisher of a VPN rule.
    #[must_use]
    pub fn route_distinguisher(&self) -> Option<RouteDistinguisher> {
        let rd = if self.family.is_vpn() { self.value.first_chunk() } else { None };
        rd.copied().map(RouteDistinguisher)
    }

    /// The components, in wire order.
    #[must_use]
    pub fn components(&self) -> Components<'a> {
        Components { version: self.family.version(), octets: self.flow_octets() }
    }

    /// The components' octets, without route distinguisher.
    pub(crate) fn flow_octets(&self) -> &'a [u8] {
        let start = if self.family.is_vpn() { RouteDistinguisher::LEN } else { 0 };
        self.value.get(start..).unwrap_or_default()
    }

    /// The canonical form: reserved bits, prefix padding and the AND bit of a first operator are
    /// zero.
    #[must_use]
    pub fn to_canonical(&self) -> Nlri {
        let mut octets: Box<[u8]> = self.value.into();
        let start = if self.family.is_vpn() { RouteDistinguisher::LEN } else { 0 };
        clear_reserved(self.family.version(), &mut octets[start..]);
        Nlri { family: self.family, octets }
    }
}

/// Checks the component whose value starts at `at`; returns where it ends.
fn validate_component(kind: ComponentType, version: IpVersion, value: &[u8], at: usize) -> Result<usize, NlriError> {
    let truncated = |offset| NlriError { kind: NlriErrorKind::TruncatedComponent(kind), offset };
    if kind.value_kind() == ValueKind::Prefix {
        let &length = value.get(at).ok_or(truncated(at))?;
        let (octets, header) = match version {
            IpVersion::V4 => {
                if length > 32 {
                    return Err(NlriError { kind: NlriErrorKind::PrefixLength { length, max: 32 }, offset: at });
                }
                (usize::from(length).div_ceil(8), 1)
            }
            IpVersion::V6 => {
                if length > 128 {
                    return Err(NlriError { kind: NlriErrorKind::PrefixLength { length, max: 128 }, offset: at });
                }
                let &offset = value.get(at + 1).ok_or(truncated(at + 1))?;
                if offset >= length && (offset, length) != (0, 0) {
                    return Err(NlriError { kind: NlriErrorKind::PrefixOffset { offset, length }, offset: at + 1 });
                }
                (usize::from(length - offset).div_ceil(8), 2)
            }
        };
        let end = at + header + octets;
        return if end <= value.len() { Ok(end) } else { Err(truncated(value.len())) };
    }
    let max = kind.max_width();
    let mut at = at;
    loop {
        let Some(&operator) = value.get(at) else {
            return Err(NlriError { kind: NlriErrorKind::NoEndOfList(kind), offset: at });
        };
        let width = Width::from_operator(operator);
        if width > max {
            let (octets, max) = (width.octets() as u8, max.octets() as u8);
            return Err(NlriError { kind: NlriErrorKind::ValueWidth { component: kind, octets, max }, offset: at });
        }
        let end = at + 1 + width.octets();
        if end > value.len() {
            return Err(truncated(value.len()));
        }
        if operator & END_OF_LIST != 0 {
            return Ok(end);
        }
        at = end;
    }
}

/// Zeroes what is ignored on receipt, in the octets of validated components.
fn clear_reserved(version: IpVersion, octets: &mut [u8]) {
    let mut at = 0;
    while at < octets.len() {
        let Some(kind) = ComponentType::from_wire(octets[at], version) else { return };
        let start = at + 1;
        at = match kind.value_kind() {
            ValueKind::Prefix => {
                let (bits, header) = match version {
                    IpVersion::V4 => (octets[start], 1),
                    IpVersion::V6 => (octets[start] - octets[start + 1], 2),
                };
                let end = start + header + usize::from(bits).div_ceil(8);
                if bits % 8 != 0 {
                    octets[end - 1] &= 0xffu8 << (8 - bits % 8);
                }
                end
            }
            value_kind => {
                let defined: u8 = if value_kind == ValueKind::Numeric { 0xf7 } else { 0xf3 };
                let mut at = start;
                octets[at] &= !AND;
                loop {
                    octets[at] &= defined;
                    let operator = octets[at];
                    let end = at + 1 + Width::from_operator(operator).octets();
                    let mask = kind.value_mask(version).to_be_bytes();
                    for (octet, mask) in octets[at + 1..end].iter_mut().rev().zip(mask.iter().rev()) {
                        *octet &= mask;
                    }
                    at = end;
                    if operator & END_OF_LIST != 0 {
                        break at;
                    }
                }
            }
        };
    }
}

/// The components of a validated NLRI.
#[derive(Clone, Copy, Debug)]
pub struct Components<'a> {
    version: IpVersion,
    octets: &'a [u8],
}

impl<'a> Iterator for Components<'a> {
    type Item = Component<'a>;

    fn next(&mut self) -> Option<Component<'a>> {
        self.next_raw().map(|(component, _)| component)
    }
}

impl<'a> Components<'a> {
    /// The next component together with its octets, type octet included.
    pub(crate) fn next_raw(&mut self) -> Option<(Component<'a>, &'a [u8])> {
        let (&number, value) = self.octets.split_first()?;
        let kind = ComponentType::from_wire(number, self.version)?;
        let value_mask = kind.value_mask(self.version);
        let (component, len) = match kind.value_kind() {
            ValueKind::Prefix => {
                let (prefix, len) = read_prefix(self.version, value)?;
                (Component::Prefix(kind, prefix), len)
            }
            ValueKind::Numeric => {
                let octets = value.get(..list_len(value)?)?;
                (Component::Numeric(kind, NumericOps { octets, value_mask, first: true }), octets.len())
            }
            ValueKind::Bitmask => {
                let octets = value.get(..list_len(value)?)?;
                (Component::Bitmask(kind, BitmaskOps { octets, value_mask, first: true }), octets.len())
            }
        };
        let (raw, rest) = self.octets.split_at_checked(len + 1)?;
        self.octets = rest;
        Some((component, raw))
    }
}

fn list_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let operator = *octets.get(at)?;
        at += 1 + Width::from_operator(operator).octets();
        if operator & END_OF_LIST != 0 {
            return Some(at);
        }
    }
}

fn read_prefix(version: IpVersion, value: &[u8]) -> Option<(Prefix, usize)> {
    let length = *value.first()?;
    match version {
        IpVersion::V4 => {
            let octets = usize::from(length).div_ceil(8);
            let mut address = [0u8; 4];
            address.get_mut(..octets)?.copy_from_slice(value.get(1..1 + octets)?);
            let net = Ipv4Net::new(Ipv4Addr::from(address), length).ok()?.trunc();
            Some((Prefix::V4(net), 1 + octets))
        }
        IpVersion::V6 => {
            let offset = *value.get(1)?;
            let octets = usize::from(length.checked_sub(offset)?).div_ceil(8);
            let mut pattern = [0u8; 16];
            pattern.get_mut(..octets)?.copy_from_slice(value.get(2..2 + octets)?);
            // The pattern is left-shifted to its first octet (RFC 8956 §3.1); moved back to its
            // position in the address.
            let address = u128::from_be_bytes(pattern).checked_shr(u32::from(offset)).unwrap_or(0);
            Some((Prefix::V6(Ipv6Pattern::new(Ipv6Addr::from(address), offset, length)?), 2 + octets))
        }
    }
}

/// A rule's match part in canonical form: equal rules have equal octets, whatever the sender's
/// reserved bits and length form.
///
/// The width of a value is part of the rule, as on the wire: `=80` in one octet and in two are two
/// rules (RFC 8955 §5.1 compares the octets).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nlri {
    family: Family,
    octets: Box<[u8]>,
}

impl Nlri {
    /// Validates the octets behind a length field and makes them canonical.
    ///
    /// # Errors
    /// See [`NlriRef::from_value`].
    pub fn from_value(family: Family, value: &[u8]) -> Result<Self, NlriError> {
        NlriRef::from_value(family, value).map(|nlri| nlri.to_canonical())
    }

    /// A borrowed view, for everything that reads it.
    #[must_use]
    pub fn as_ref(&self) -> NlriRef<'_> {
        NlriRef { family: self.family, value: &self.octets }
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The canonical octets behind the length field.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// The route distinguisher of a VPN rule.
    #[must_use]
    pub fn route_distinguisher(&self) -> Option<RouteDistinguisher> {
        self.as_ref().route_distinguisher()
    }

    /// The components, in wire order.
    #[must_use]
    pub fn components(&self) -> Components<'_> {
        self.as_ref().components()
    }

    /// The destination prefix, if the rule has one.
    #[must_use]
    pub fn destination(&self) -> Option<Prefix> {
        match self.components().next() {
            Some(Component::Prefix(ComponentType::Destination, prefix)) => Some(prefix),
            _ => None,
        }
    }

    /// Octets on the wire, length field included, without add-path identifier.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.octets.len() + if self.octets.len() < TWO_OCTET_LENGTH { 1 } else { 2 }
    }

    /// Appends the wire form: length (one octet below 240, else two) and octets.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        let len = self.octets.len();
        if len < TWO_OCTET_LENGTH {
            out.push(len as u8);
        } else {
            out.extend_from_slice(&(0xf000 | len as u16).to_be_bytes());
        }
        out.extend_from_slice(&self.octets);
    }

    /// A short stable name of the rule: a hash of family, route distinguisher and canonical octets.
    #[must_use]
    pub fn id(&self) -> RuleId {
        RuleId::of(self.family, &self.octets)
    }
}
