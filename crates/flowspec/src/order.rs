//! The order in which rules are enforced (RFC 8955 §5.1, RFC 8956 §4), compared on canonical octets
//! without allocation.
//!
//! **Less means higher precedence, enforced earlier.** Sorting a `Vec<Nlri>` ascending gives the
//! order in which a data plane tries the rules. (The sample code of RFC 8955 appendix A names the
//! winner instead, and its caller there sorts the lowest precedence first.)

use crate::component::{ComponentType, ValueKind};
use crate::family::IpVersion;
use crate::nlri::Nlri;
use crate::op::{END_OF_LIST, Width};
use std::cmp::Ordering;

/// `Less` = higher precedence = enforced earlier (RFC 8955 §5.1, RFC 8956 §4).
///
/// IPv4 rules come before IPv6 rules; they never compete for a packet. Among rules with equal
/// components, the one without route distinguisher comes first, then the lower route distinguisher:
/// that only makes the order total, the RFC does not compare them. `Equal` exactly if `==` holds.
impl Ord for Nlri {
    fn cmp(&self, other: &Self) -> Ordering {
        let version = self.family().version();
        version
            .cmp(&other.family().version())
            .then_with(|| compare_flow(version, self.as_ref().flow_octets(), other.as_ref().flow_octets()))
            .then_with(|| self.route_distinguisher().cmp(&other.route_distinguisher()))
    }
}

impl PartialOrd for Nlri {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares the components of two canonical rules of one IP version.
fn compare_flow(version: IpVersion, mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (type_a, type_b) = match (a.split_first(), b.split_first()) {
            (Some((type_a, rest_a)), Some((type_b, rest_b))) => {
                (a, b) = (rest_a, rest_b);
                (type_a, type_b)
            }
            // A present component has precedence over an absent one.
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
        };
        if type_a != type_b {
            return type_a.cmp(type_b);
        }
        let prefix =
            ComponentType::from_wire(*type_a, version).is_some_and(|kind| kind.value_kind() == ValueKind::Prefix);
        let (ordering, len) = match (prefix, version) {
            (false, _) => compare_list(a, b),
            (true, IpVersion::V4) => compare_ipv4(a, b),
            (true, IpVersion::V6) => compare_ipv6(a, b),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
        // Equal components have equal length.
        (a, b) = (a.get(len..).unwrap_or_default(), b.get(len..).unwrap_or_default());
    }
}

/// Operator lists: `memcmp`, lower first. A list ends at its end-of-list bit, so none is the
/// beginning of another and the first difference lies within both; the RFC's "longer first" can
/// never decide.
fn compare_list(a: &[u8], b: &[u8]) -> (Ordering, usize) {
    let mut len = 0;
    while let Some(&operator) = a.get(len) {
        len += 1 + Width::from_operator(operator).octets();
        if operator & END_OF_LIST != 0 {
            break;
        }
    }
    let end = len.min(a.len());
    (a[..end].cmp(&b[..end.min(b.len())]), len)
}

/// IPv4 prefixes: by last address, then the longer first. That is "the more specific of nested
/// prefixes, else the lower address": of two nested prefixes the inner one ends no later, and of
/// two disjoint ones the lower ends first.
fn compare_ipv4(a: &[u8], b: &[u8]) -> (Ordering, usize) {
    let read = |octets: &[u8]| {
        let length = octets.first().copied().unwrap_or(0);
        let last = left_aligned::<4>(octets.get(1..).unwrap_or_default(), usize::from(length).div_ceil(8));
        (u32::from_be_bytes(last) | u32::MAX.checked_shr(u32::from(length)).unwrap_or(0), length)
    };
    let ((last_a, length_a), (last_b, length_b)) = (read(a), read(b));
    (last_a.cmp(&last_b).then(length_b.cmp(&length_a)), 1 + usize::from(length_a).div_ceil(8))
}

/// IPv6 patterns: the lower offset first, then as IPv4 on the pattern, which is left-shifted by the
/// offset (RFC 8956 §3.1, §4).
fn compare_ipv6(a: &[u8], b: &[u8]) -> (Ordering, usize) {
    // The usual case: the same bits are compared, so the lower octets are the lower pattern, and
    // padding is zero.
    if let ([length_a, offset_a, a @ ..], [length_b, offset_b, b @ ..]) = (a, b)
        && (length_a, offset_a) == (length_b, offset_b)
    {
        let len = usize::from(length_a.saturating_sub(*offset_a)).div_ceil(8);
        return (a[..len.min(a.len())].cmp(&b[..len.min(b.len())]), 2 + len);
    }
    let read = |octets: &[u8]| {
        let (length, offset) = match octets {
            [length, offset, ..] => (*length, *offset),
            _ => (0, 0),
        };
        let bits = length.saturating_sub(offset);
        let last = left_aligned::<16>(octets.get(2..).unwrap_or_default(), usize::from(bits).div_ceil(8));
        (u128::from_be_bytes(last) | u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0), offset, bits)
    };
    let ((last_a, offset_a, bits_a), (last_b, offset_b, bits_b)) = (read(a), read(b));
    let ordering = offset_a.cmp(&offset_b).then(last_a.cmp(&last_b)).then(bits_b.cmp(&bits_a));
    (ordering, 2 + usize::from(bits_a).div_ceil(8))
}

/// The first `len` octets, followed by zeros.
fn left_aligned<const N: usize>(octets: &[u8], len: usize) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(octets.iter().take(len)) {
        *to = *from;
    }
    out
}
