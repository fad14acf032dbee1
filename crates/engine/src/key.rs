//! The key of a rule in the ordered table: its NLRI, with a number for the beginning of the order.

use flowspec::{Component, ComponentType, IpVersion, Nlri, Prefix, RouteDistinguisher};
use std::cmp::Ordering;
use std::sync::Arc;

/// Orders as [`Nlri`] does. Most comparisons end at the number, without an access to other memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleKey {
    hint: u64,
    /// `None` only in bounds of a range: sorts before all rules of its hint.
    nlri: Option<Arc<Nlri>>,
}

impl RuleKey {
    pub(crate) fn new(nlri: Arc<Nlri>) -> Self {
        RuleKey { hint: hint(&nlri), nlri: Some(nlri) }
    }

    /// The rule. `None` for the bound of a range.
    pub(crate) fn nlri(&self) -> Option<&Arc<Nlri>> {
        self.nlri.as_ref()
    }

    /// Sorts before every rule of the version.
    pub(crate) fn start(version: IpVersion) -> Self {
        RuleKey { hint: u64::from(version == IpVersion::V6) << 63, nlri: None }
    }

    /// Sorts before every rule whose destination is `prefix` or within it, and after few others.
    /// IPv6 prefixes with an offset are elsewhere.
    pub(crate) fn start_within(prefix: &Prefix) -> Self {
        // The smallest last address within it is the first address; of equal last addresses the
        // longest prefix comes first.
        let first = match prefix {
            Prefix::V4(net) => v4_hint(u32::from(net.trunc().addr()), 32),
            Prefix::V6(pattern) => v6_hint(0, pattern.bits()),
        };
        RuleKey { hint: first | destination_class(prefix), nlri: None }
    }

    /// Sorts after every rule whose destination is `prefix` or within it, and before few others.
    pub(crate) fn end_within(prefix: &Prefix) -> Self {
        let last = match prefix {
            Prefix::V4(net) => v4_hint(u32::from(net.broadcast()), net.prefix_len()),
            Prefix::V6(pattern) => v6_hint(0, pattern.bits() | low_ones(pattern.length())),
        };
        RuleKey { hint: (last | destination_class(prefix)) + 1, nlri: None }
    }

    /// Bounds of the rules whose destination is `prefix`, and few others.
    pub(crate) fn around(prefix: &Prefix) -> (Self, Self) {
        let hint = destination_class(prefix)
            | match prefix {
                Prefix::V4(net) => v4_hint(u32::from(net.broadcast()), net.prefix_len()),
                Prefix::V6(pattern) => v6_hint(0, pattern.bits() | low_ones(pattern.length())),
            };
        (RuleKey { hint, nlri: None }, RuleKey { hint: hint + 1, nlri: None })
    }
}

impl Ord for RuleKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hint.cmp(&other.hint).then_with(|| match (&self.nlri, &other.nlri) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (a, b) => a.cmp(b),
        })
    }
}

impl PartialOrd for RuleKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

const VERSION_BIT: u32 = 63;
const TYPE_BIT: u32 = 59;

/// If `a < b` then `hint(a) <= hint(b)`: IP version, type of the first component, and as much of
/// its value as fits.
fn hint(nlri: &Nlri) -> u64 {
    let version = u64::from(nlri.family().version() == IpVersion::V6) << VERSION_BIT;
    let Some(component) = nlri.components().next() else { return version };
    let class = version | (component.component_type() as u64) << TYPE_BIT;
    class
        | match component {
            Component::Prefix(_, Prefix::V4(net)) => v4_hint(u32::from(net.broadcast()), net.prefix_len()),
            Component::Prefix(_, Prefix::V6(pattern)) => {
                let bits = pattern.length() - pattern.offset();
                v6_hint(pattern.offset(), (pattern.bits() << (pattern.offset() % 128)) | low_ones(bits))
            }
            Component::Numeric(..) | Component::Bitmask(..) => {
                // After a list only lists follow, so plain octets decide; the end of the rule sorts
                // after every component.
                let flow = if nlri.family().is_vpn() { RouteDistinguisher::LEN } else { 0 };
                let octets = nlri.as_bytes().get(flow + 1..).unwrap_or_default();
                let padded = octets.iter().copied().chain(std::iter::repeat(0xff));
                padded.take(7).fold(0, |hint, octet| hint << 8 | u64::from(octet)) << 3
            }
        }
}

/// By last address, then the longer first.
fn v4_hint(last: u32, length: u8) -> u64 {
    u64::from(last) << 27 | u64::from(32 - length.min(32)) << 21
}

/// By offset, then by the last address of the pattern, which is left-shifted by the offset.
fn v6_hint(offset: u8, last: u128) -> u64 {
    u64::from(offset) << 52 | (last >> 76) as u64
}

fn low_ones(length: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(length)).unwrap_or(0)
}

fn destination_class(prefix: &Prefix) -> u64 {
    u64::from(matches!(prefix, Prefix::V6(_))) << VERSION_BIT | (ComponentType::Destination as u64) << TYPE_BIT
}

/// Whether it is an IPv6 prefix with an offset. Such rules are elsewhere in the order than other
/// prefixes.
pub(crate) fn has_offset(prefix: &Prefix) -> bool {
    matches!(prefix, Prefix::V6(pattern) if pattern.offset() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::testing::{Seed, Shape, random_nlri};

    /// Random rules of both versions; many share beginnings.
    fn keys(number: u64) -> Vec<RuleKey> {
        let mut seed = Seed::new(number);
        let mut key = |n: usize| {
            let version = if n.is_multiple_of(2) { IpVersion::V4 } else { IpVersion::V6 };
            RuleKey::new(Arc::new(random_nlri(&mut seed, version, &Shape::everything())))
        };
        (0..400).map(&mut key).collect()
    }

    #[test]
    fn keys_order_as_rules_do() {
        for a in keys(1) {
            for b in keys(2) {
                assert_eq!(a.cmp(&b), a.nlri().cmp(&b.nlri()), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn bounds_hold_all_destinations_within() {
        let destination = |key: &RuleKey| {
            let destination = key.nlri().and_then(|nlri| nlri.destination());
            destination.filter(|prefix| !has_offset(prefix))
        };
        let keys = keys(3);
        let mut inside = 0;
        for outer in keys.iter().filter_map(destination) {
            let within = RuleKey::start_within(&outer)..RuleKey::end_within(&outer);
            let (start, end) = RuleKey::around(&outer);
            let exact = start..end;
            for key in &keys {
                let Some(inner) = destination(key) else { continue };
                if outer.covers(&inner) {
                    inside += 1;
                    assert!(within.contains(key), "{inner} in {outer}");
                }
                assert!(inner != outer || exact.contains(key), "{inner}");
            }
        }
        assert!(inside > 500, "{inside}");
    }
}
