//! Builders shared by the integration tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use flowspec::{
    Action, BitmaskOp, Community, Comparison, ComponentType, Family, IpVersion, Ipv6Pattern, Nlri, NumericOp, Prefix,
    RouteDistinguisher, ValueKind, Width,
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// The octets of a hex string.
pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    flowspec::hex::decode(hex).unwrap_or_else(|| panic!("{hex}"))
}

/// The octets as hex.
pub(crate) fn to_hex(octets: &[u8]) -> String {
    flowspec::hex::Hex(octets).to_string()
}

/// One component as the builder takes it.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Prefix(Prefix),
    Numeric(Vec<NumericOp>),
    Bitmask(Vec<BitmaskOp>),
}

const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

/// Any value in any width that the type allows, the least one most often. `few` draws from a
/// handful of values.
fn value(kind: ComponentType, few: bool) -> BoxedStrategy<(u64, Width)> {
    let max = kind.max_width();
    let values = if few {
        (0u64..3).boxed()
    } else {
        prop_oneof![0u64..300, Just(0x01bb), any::<u32>().prop_map(u64::from), any::<u64>()].boxed()
    };
    (values, 0usize..8)
        .prop_map(move |(value, pick)| {
            let width = WIDTHS.get(pick).copied().unwrap_or(Width::for_value(value)).min(max);
            (value & (u64::MAX >> (64 - 8 * width.octets())), width)
        })
        .boxed()
}

fn part(version: IpVersion, kind: ComponentType, few: bool) -> BoxedStrategy<Part> {
    let count = if few { 1..3usize } else { 1..6usize };
    match kind.value_kind() {
        ValueKind::Prefix => prefix(version, few).prop_map(Part::Prefix).boxed(),
        ValueKind::Numeric => {
            let op = (any::<bool>(), 0u8..8, value(kind, few)).prop_map(|(and, comparison, (value, width))| {
                NumericOp { and, comparison: Comparison::from_operator(comparison), value, width }
            });
            prop::collection::vec(op, count).prop_map(Part::Numeric).boxed()
        }
        ValueKind::Bitmask => {
            let op = (any::<bool>(), any::<bool>(), any::<bool>(), value(kind, few))
                .prop_map(|(and, not, all, (value, width))| BitmaskOp { and, not, all, value, width });
            prop::collection::vec(op, count).prop_map(Part::Bitmask).boxed()
        }
    }
}

fn prefix(version: IpVersion, few: bool) -> BoxedStrategy<Prefix> {
    match version {
        IpVersion::V4 => {
            let bits = if few {
                prop_oneof![Just(0x0a00_0000u32), Just(0x0a01_0203), Just(0xffff_ffff)].boxed()
            } else {
                any::<u32>().boxed()
            };
            (bits, 0u8..=32)
                .prop_map(|(bits, length)| {
                    Prefix::V4(ipnet::Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc())
                })
                .boxed()
        }
        IpVersion::V6 => {
            let bits = if few {
                prop_oneof![Just(0x2001_0db8u128 << 96), Just(0x2001_0db8u128 << 96 | 0x1234), Just(u128::MAX)].boxed()
            } else {
                any::<u128>().boxed()
            };
            (bits, 0u8..=128, prop_oneof![Just(0u8), 0u8..128])
                .prop_map(|(bits, length, offset)| {
                    let pattern = Ipv6Pattern::new(bits.into(), offset, length);
                    Prefix::V6(pattern.or(Ipv6Pattern::new(bits.into(), 0, length)).unwrap())
                })
                .boxed()
        }
    }
}

fn nlri_of(family: Family, few: bool) -> BoxedStrategy<Nlri> {
    let version = family.version();
    let chance = if few { 0.3 } else { 0.35 };
    let parts: Vec<_> = ComponentType::ALL
        .into_iter()
        .filter(|kind| ComponentType::from_wire(*kind as u8, version).is_some())
        .map(|kind| prop::option::weighted(chance, part(version, kind, few)).prop_map(move |part| (kind, part)))
        .collect();
    let rd = if few {
        Just(RouteDistinguisher([0; 8])).boxed()
    } else {
        any::<[u8; 8]>().prop_map(RouteDistinguisher).boxed()
    };
    (parts, rd, part(version, ComponentType::Protocol, few))
        .prop_map(move |(parts, rd, fallback)| {
            let mut builder = Nlri::builder(family).route_distinguisher(rd);
            let mut empty = true;
            for (kind, part) in parts {
                let Some(part) = part else { continue };
                empty = false;
                builder = match part {
                    Part::Prefix(prefix) => builder.prefix(kind, prefix),
                    Part::Numeric(ops) => builder.numeric(kind, &ops),
                    Part::Bitmask(ops) => builder.bitmask(kind, &ops),
                };
            }
            if let (true, Part::Numeric(ops)) = (empty, fallback) {
                builder = builder.numeric(ComponentType::Protocol, &ops);
            }
            builder.build().unwrap()
        })
        .boxed()
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

/// Any canonical NLRI: every family, component, operator, width, reserved bits zero.
pub(crate) fn any_nlri() -> impl Strategy<Value = Nlri> {
    family().prop_flat_map(|family| nlri_of(family, false))
}

/// An NLRI of few different values, so that two of them often share components.
pub(crate) fn small_nlri() -> impl Strategy<Value = Nlri> {
    family().prop_flat_map(|family| nlri_of(family, true))
}

/// Two NLRIs, mostly of one family and alike.
pub(crate) fn similar_nlris() -> impl Strategy<Value = (Nlri, Nlri)> {
    prop_oneof![
        6 => family().prop_flat_map(|family| (nlri_of(family, true), nlri_of(family, true))),
        1 => (small_nlri(), small_nlri()),
        1 => (any_nlri(), any_nlri()),
        1 => small_nlri().prop_map(|nlri| (nlri.clone(), nlri)),
    ]
}

/// Any action that a community can carry, in the form in which it is decoded; for the most part
/// those with a text form.
pub(crate) fn any_action() -> impl Strategy<Value = Action> {
    let flowspec = (
        prop::sample::select(vec![
            0x8006u16, 0x800c, 0x8007, 0x8009, 0x8008, 0x8108, 0x8208, 0x0800, 0x010c, 0x0702, 0x4702,
        ]),
        prop_oneof![Just(0u16), any::<u16>()],
        prop_oneof![0u32..4, (0u32..100_000).prop_map(|n| (n as f32 * 125.0).to_bits()), any::<u32>()],
    )
        .prop_map(|(code, first, last)| {
            let [c0, c1] = code.to_be_bytes();
            let [f0, f1] = first.to_be_bytes();
            let [l0, l1, l2, l3] = last.to_be_bytes();
            Community::Extended([c0, c1, f0, f1, l0, l1, l2, l3])
        });
    let ipv6 = (prop::sample::select(vec![0x000cu16, 0x000d, 0x0002]), any::<[u8; 16]>(), any::<u16>()).prop_map(
        |(code, address, last)| {
            let mut octets = [0; 20];
            octets[..2].copy_from_slice(&code.to_be_bytes());
            octets[2..18].copy_from_slice(&address);
            octets[18..].copy_from_slice(&last.to_be_bytes());
            Community::Ipv6(octets)
        },
    );
    let community = prop_oneof![8 => flowspec, 2 => ipv6, 1 => any::<[u8; 8]>().prop_map(Community::Extended)];
    community.prop_filter_map("a rate that is not a number", |community| Action::decode(community).ok())
}
