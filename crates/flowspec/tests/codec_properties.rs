//! Properties of the codec on random rules and random octets.

use flowspec::{
    Action, BitmaskOp, Communities, Comparison, Component, ComponentType, Disposition, Family, IpVersion, Ipv6Pattern,
    MAX_LEN, Nlri, NlriErrorKind, NlriIter, NumericOp, PathId, Prefix, RouteDistinguisher, Rule, ValueKind, Width,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/codec_properties.txt"
        )))),
        ..ProptestConfig::default()
    }
}

/// A component as it is given to the builder.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Prefix(ComponentType, Prefix),
    Numeric(ComponentType, Vec<NumericOp>),
    Bitmask(ComponentType, Vec<BitmaskOp>),
}

/// A rule as it is given to the builder; its components in wire order.
#[derive(Clone, Debug)]
struct Plan {
    family: Family,
    rd: RouteDistinguisher,
    parts: Vec<Part>,
}

impl Plan {
    fn build(&self) -> Nlri {
        let builder = Nlri::builder(self.family).route_distinguisher(self.rd);
        let add = |builder: flowspec::NlriBuilder, part: &Part| match part {
            Part::Prefix(kind, prefix) => builder.prefix(*kind, *prefix),
            Part::Numeric(kind, ops) => builder.numeric(*kind, ops),
            Part::Bitmask(kind, ops) => builder.bitmask(*kind, ops),
        };
        self.parts.iter().rev().fold(builder, add).build().unwrap()
    }
}

fn parts(nlri: &Nlri) -> Vec<Part> {
    nlri.components()
        .map(|component| match component {
            Component::Prefix(kind, prefix) => Part::Prefix(kind, prefix),
            Component::Numeric(kind, ops) => Part::Numeric(kind, ops.collect()),
            Component::Bitmask(kind, ops) => Part::Bitmask(kind, ops.collect()),
        })
        .collect()
}

fn plan() -> impl Strategy<Value = Plan> {
    (prop::sample::select(&Family::ALL[..]), any::<[u8; 8]>(), 1u16..0x2000).prop_flat_map(|(family, rd, present)| {
        let kinds: Vec<_> = ComponentType::ALL
            .into_iter()
            .filter(|&kind| present >> (kind as u16 - 1) & 1 != 0)
            .filter_map(|kind| ComponentType::from_wire(kind as u8, family.version()))
            .collect();
        let kinds = if kinds.is_empty() { vec![ComponentType::Destination] } else { kinds };
        let parts: Vec<_> = kinds.into_iter().map(|kind| part(family.version(), kind)).collect();
        parts.prop_map(move |parts| Plan { family, rd: RouteDistinguisher(rd), parts })
    })
}

fn part(version: IpVersion, kind: ComponentType) -> BoxedStrategy<Part> {
    match kind.value_kind() {
        ValueKind::Prefix => prefix(version).prop_map(move |prefix| Part::Prefix(kind, prefix)).boxed(),
        ValueKind::Numeric => vec((value(version, kind), any::<bool>(), 0u8..8), 1..6)
            .prop_map(move |ops| {
                let op = |(at, ((value, width), and, comparison)): (usize, ((u64, Width), bool, u8))| NumericOp {
                    and: and && at > 0,
                    comparison: Comparison::from_operator(comparison),
                    value,
                    width,
                };
                Part::Numeric(kind, ops.into_iter().enumerate().map(op).collect())
            })
            .boxed(),
        ValueKind::Bitmask => vec((value(version, kind), any::<[bool; 3]>()), 1..6)
            .prop_map(move |ops| {
                let op = |(at, ((value, width), [and, not, all])): (usize, ((u64, Width), [bool; 3]))| BitmaskOp {
                    and: and && at > 0,
                    not,
                    all,
                    value,
                    width,
                };
                Part::Bitmask(kind, ops.into_iter().enumerate().map(op).collect())
            })
            .boxed(),
    }
}

/// A value without reserved bits, in some width that holds it.
fn value(version: IpVersion, kind: ComponentType) -> impl Strategy<Value = (u64, Width)> + use<> {
    let widths = [Width::One, Width::Two, Width::Four, Width::Eight];
    let allowed: Vec<_> = widths.into_iter().filter(|&width| width <= kind.max_width()).collect();
    (any::<u64>(), prop::sample::select(allowed)).prop_map(move |(random, width)| {
        let defined = match (kind, version) {
            (ComponentType::Dscp, _) => 0x3f,
            (ComponentType::Fragment, IpVersion::V4) => 0x0f,
            (ComponentType::Fragment, IpVersion::V6) => 0x0e,
            _ => u64::MAX,
        };
        (random >> (64 - 8 * width.octets()) & defined, width)
    })
}

fn prefix(version: IpVersion) -> BoxedStrategy<Prefix> {
    match version {
        IpVersion::V4 => (any::<u32>(), 0u8..=32)
            .prop_map(|(address, len)| Prefix::V4(ipnet::Ipv4Net::new(address.into(), len).unwrap().trunc()))
            .boxed(),
        IpVersion::V6 => (any::<u128>(), 0u8..128, 0u8..=128)
            .prop_map(|(address, offset, length)| {
                let pattern = Ipv6Pattern::new(address.into(), offset, length);
                Prefix::V6(pattern.or_else(|| Ipv6Pattern::new(address.into(), 0, length)).unwrap())
            })
            .boxed(),
    }
}

fn wire(nlri: &Nlri) -> Vec<u8> {
    let mut wire = Vec::new();
    nlri.encode_to(&mut wire);
    wire
}

/// Which bits of the octets behind the length are ignored on receipt. Written from the RFCs'
/// pictures, apart from the codec.
fn reserved_bits(nlri: &Nlri) -> Vec<u8> {
    let octets = nlri.as_bytes();
    let version = nlri.family().version();
    let mut reserved = vec![0u8; octets.len()];
    let mut at = if nlri.family().is_vpn() { 8 } else { 0 };
    while at < octets.len() {
        let kind = octets[at];
        at += 1;
        if kind <= 2 {
            let (bits, head) =
                if version == IpVersion::V4 { (octets[at], 1) } else { (octets[at] - octets[at + 1], 2) };
            at += head + usize::from(bits.div_ceil(8));
            if bits % 8 != 0 {
                reserved[at - 1] = (1 << (8 - bits % 8)) - 1;
            }
            continue;
        }
        let bitmask = kind == 9 || kind == 12;
        let mut first = true;
        loop {
            let operator = octets[at];
            // e a len len 0 lt gt eq, and e a len len 0 0 not m
            reserved[at] = if bitmask { 0b0000_1100 } else { 0b0000_1000 } | if first { 0b0100_0000 } else { 0 };
            first = false;
            let width = 1 << (operator >> 4 & 3);
            match (kind, version) {
                (11, _) => reserved[at + 1] = 0b1100_0000,
                (12, IpVersion::V4) => reserved[at + 1] = 0b1111_0000,
                (12, IpVersion::V6) => reserved[at + 1] = 0b1111_0001,
                _ => {}
            }
            at += 1 + width;
            if operator & 0x80 != 0 {
                break;
            }
        }
    }
    reserved
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_built_rule_comes_back_from_the_wire(plan in plan()) {
        let nlri = plan.build();
        prop_assert_eq!(parts(&nlri), plan.parts.clone());
        prop_assert_eq!(nlri.route_distinguisher(), plan.family.is_vpn().then_some(plan.rd));
        let wire = wire(&nlri);
        prop_assert_eq!(wire.len(), nlri.wire_len());
        let mut walk = NlriIter::new(plan.family, false, &wire);
        let entry = walk.next().unwrap();
        prop_assert_eq!(entry.raw, &wire[..]);
        prop_assert_eq!(entry.nlri.unwrap().as_bytes(), nlri.as_bytes());
        prop_assert_eq!(entry.nlri.unwrap().to_canonical(), nlri);
        prop_assert!(walk.next().is_none());
    }

    /// The announcement of one sender and the withdrawal of another meet under one key.
    #[test]
    fn reserved_bits_and_length_form_never_change_the_key(plan in plan(), noise in any::<[u8; 64]>(), long: bool) {
        let announced = plan.build();
        let reserved = reserved_bits(&announced);
        let mut octets = announced.as_bytes().to_vec();
        for (at, (octet, reserved)) in octets.iter_mut().zip(&reserved).enumerate() {
            *octet ^= reserved & noise[at % noise.len()];
        }
        let mut field = if long || octets.len() >= 240 {
            (0xf000 | octets.len() as u16).to_be_bytes().to_vec()
        } else {
            vec![octets.len() as u8]
        };
        field.extend_from_slice(&octets);
        let received = NlriIter::new(plan.family, false, &field).next().unwrap().nlri.unwrap();
        let withdrawn = received.to_canonical();
        prop_assert_eq!(withdrawn.id(), announced.id());
        prop_assert_eq!(parts(&withdrawn), plan.parts);
        prop_assert_eq!(received.components().count(), withdrawn.components().count());
        prop_assert_eq!(withdrawn, announced);
    }

    /// Every bit that is not reserved is part of the key, or makes the rule malformed.
    #[test]
    fn every_other_bit_changes_the_key(plan in plan(), bit: prop::sample::Index) {
        let nlri = plan.build();
        let reserved = reserved_bits(&nlri);
        let bit = bit.index(nlri.as_bytes().len() * 8);
        let flipped = 1u8 << (bit % 8);
        prop_assume!(reserved[bit / 8] & flipped == 0);
        let mut octets = nlri.as_bytes().to_vec();
        octets[bit / 8] ^= flipped;
        if let Ok(other) = Nlri::from_value(plan.family, &octets) {
            prop_assert_ne!(other, nlri);
        }
    }

    #[test]
    fn add_path_identifiers_stand_before_each_length(plans in vec(plan(), 1..5), ids in any::<[u32; 5]>()) {
        let family = plans[0].family;
        let rules: Vec<_> = plans.iter().filter(|plan| plan.family == family).map(Plan::build).collect();
        let mut field = Vec::new();
        for (nlri, id) in rules.iter().zip(ids) {
            field.extend_from_slice(&id.to_be_bytes());
            nlri.encode_to(&mut field);
        }
        let found: Vec<_> =
            NlriIter::new(family, true, &field).map(|e| (e.path_id.unwrap(), e.nlri.unwrap().to_canonical())).collect();
        let expected: Vec<_> = ids.map(PathId).into_iter().zip(rules).collect();
        prop_assert_eq!(found, expected);
    }

    /// A field cut anywhere gives the NLRIs before the cut, and says that the framing is lost if
    /// the cut is inside one.
    #[test]
    fn a_cut_field_gives_what_is_whole(plans in vec(plan(), 1..5), add_path: bool, cut: prop::sample::Index) {
        let family = plans[0].family;
        let mut field = Vec::new();
        let mut ends = vec![0];
        for plan in plans.iter().filter(|plan| plan.family == family) {
            if add_path {
                field.extend_from_slice(&[0; 4]);
            }
            plan.build().encode_to(&mut field);
            ends.push(field.len());
        }
        let cut = cut.index(field.len() + 1);
        let whole = ends.iter().filter(|&&end| end <= cut).count() - 1;
        let entries: Vec<_> = NlriIter::new(family, add_path, &field[..cut]).collect();
        prop_assert!(entries[..whole].iter().all(|entry| entry.nlri.is_ok()));
        if ends.contains(&cut) {
            prop_assert_eq!(entries.len(), whole);
        } else {
            prop_assert_eq!(entries.len(), whole + 1);
            let error = entries[whole].nlri.unwrap_err();
            prop_assert_eq!(error.kind.disposition(), Disposition::DisableFamily);
        }
    }

    /// Random octets: no panic, entries cover the field without gap or overlap, errors point into
    /// it, and what is accepted is accepted again in its canonical form.
    #[test]
    fn random_octets_are_walked_to_their_end(
        family in prop::sample::select(&Family::ALL[..]),
        add_path: bool,
        field in vec(prop_oneof![any::<u8>(), 0u8..16, 0x80u8..0x92], 0..300),
    ) {
        let mut covered = 0;
        for entry in NlriIter::new(family, add_path, &field) {
            prop_assert!(!entry.raw.is_empty());
            prop_assert_eq!(entry.raw, &field[covered..covered + entry.raw.len()]);
            covered += entry.raw.len();
            match entry.nlri {
                Ok(nlri) => {
                    let canonical = nlri.to_canonical();
                    prop_assert_eq!(Nlri::from_value(family, canonical.as_bytes()), Ok(canonical));
                }
                Err(error) => {
                    prop_assert!(error.offset <= field.len());
                    let lost = error.kind.disposition() == Disposition::DisableFamily;
                    prop_assert!(!lost || covered == field.len());
                }
            }
        }
        prop_assert_eq!(covered, field.len());
    }

    #[test]
    fn random_communities_keep_their_meaning(value in vec(any::<u8>(), 0..100), code in any::<(u8, u8)>()) {
        let mut value = value;
        if let [first, second, ..] = &mut value[..] {
            (*first, *second) = code;
        }
        for communities in [Communities::extended(&value), Communities::ipv6(&value)].into_iter().flatten() {
            for community in communities {
                if let Ok(action) = Action::decode(community) {
                    prop_assert_eq!(Action::decode(action.encode()), Ok(action));
                }
            }
        }
    }
}

/// 4095 octets are 1 type octet and 2047 pairs of two octets: the most operators that one component
/// can hold on the wire. 4000 would take 8001 octets, which no NLRI has; a sender of them is told
/// so.
#[test]
fn the_longest_list() {
    let ops = |n| vec![NumericOp::new(Comparison::Equal, 80); n];
    let build = |n| Nlri::builder(Family::Ipv4).numeric(ComponentType::Port, &ops(n)).build();
    let nlri = build(2047).unwrap();
    assert_eq!(nlri.as_bytes().len(), MAX_LEN);
    let field = wire(&nlri);
    assert_eq!(field[..2], [0xff, 0xff]);
    let received = NlriIter::new(Family::Ipv4, false, &field).next().unwrap().nlri.unwrap();
    let Some(Component::Numeric(ComponentType::Port, received)) = received.components().next() else { panic!() };
    assert_eq!(received.count(), 2047);
    assert_eq!(build(4000).unwrap_err().kind, NlriErrorKind::TooLong(8001));
}

/// A length of 4096 octets or more cannot be written, so no rule has it, however its octets came
/// here.
#[test]
fn no_rule_is_longer_than_the_length_field_can_say() {
    let mut octets = vec![4u8];
    octets.extend([0x01, 0x50].repeat(2046));
    octets.extend([0x91, 0x00, 0x50]);
    assert_eq!(octets.len(), MAX_LEN + 1);
    assert_eq!(Nlri::from_value(Family::Ipv4, &octets).unwrap_err().kind, NlriErrorKind::TooLong(MAX_LEN + 1));
}

#[test]
fn text_of_four_thousand_operators_is_refused_and_that_of_2047_comes_back() {
    let text = |n: usize| format!("port {} then discard", vec!["80"; n].join(","));
    let rule: Rule = text(2047).parse().unwrap();
    assert_eq!(rule.nlri.as_bytes().len(), MAX_LEN);
    assert_eq!(rule.to_string().parse(), Ok(rule));
    let error = text(4000).parse::<Rule>().unwrap_err();
    assert!(error.to_string().contains("8001"), "{error}");
}
