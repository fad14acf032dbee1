//! Spaces against the oracle, and against each other: whatever a space claims must show on packets.

use flowspec::space::{Fields, FragmentPosition, IntervalSet};
use flowspec::testing::{PacketShape, Seed, Shape, random_draft_for, random_nlri};
use flowspec::{BitmaskOp, Comparison, ComponentType, Family, IpVersion, Nlri, NumericOp, Packet, Prefix, Space};
use std::collections::HashSet;

const VERSIONS: [IpVersion; 2] = [IpVersion::V4, IpVersion::V6];

fn packet_for(seed: &mut Seed, version: IpVersion, rules: &[&Nlri]) -> Packet {
    let draft = random_draft_for(seed, version, rules.iter().copied(), &PacketShape::everything());
    Packet::from_ip(&draft.to_ip()).unwrap()
}

#[test]
fn a_space_agrees_with_the_oracle_on_every_packet() {
    let mut hits = 0;
    let mut refused_by = HashSet::new();
    for number in 0..40_000 {
        let mut seed = Seed::new(number);
        let version = VERSIONS[seed.below(2) as usize];
        let nlri = random_nlri(&mut seed, version, &Shape::everything());
        let space = Space::of(&nlri);
        for _ in 0..8 {
            let packet = packet_for(&mut seed, version, &[&nlri]);
            let verdict = nlri.matches(&packet);
            assert_eq!(space.matches(&packet), verdict.is_ok(), "seed {number}: {nlri:?}\n{packet:?}\n{space:?}");
            assert!(verdict.is_err() || !space.is_empty(), "seed {number}: an empty space has a packet");
            match verdict {
                Ok(()) => hits += 1,
                Err(mismatch) => _ = refused_by.insert((version, mismatch.component_type())),
            }
        }
    }
    assert!(hits > 60_000, "of 320,000 packets only {hits} matched: the generator misses");
    assert_eq!(refused_by.len(), 12 + 13, "every component must have refused some packet: {refused_by:?}");
}

#[test]
fn most_rules_that_can_match_are_hit_by_a_few_packets() {
    let (mut possible, mut hit) = (0, 0);
    for number in 0..5_000 {
        let mut seed = Seed::new(number);
        let version = VERSIONS[seed.below(2) as usize];
        let nlri = random_nlri(&mut seed, version, &Shape::everything());
        if !Space::of(&nlri).is_empty() {
            possible += 1;
            hit += u32::from((0..40).any(|_| nlri.matches(&packet_for(&mut seed, version, &[&nlri])).is_ok()));
        }
    }
    assert!(possible > 2_000, "{possible}");
    assert!(hit * 100 > possible * 90, "{hit} of {possible}");
}

#[test]
fn covers_and_overlaps_hold_on_packets() {
    let (mut covered, mut apart) = (0, 0);
    for number in 0..60_000 {
        let mut seed = Seed::new(number);
        let version = VERSIONS[seed.below(2) as usize];
        let shape = Shape { max_components: 3, max_ops: 3, ..Shape::everything() };
        let (a, b) = (random_nlri(&mut seed, version, &shape), random_nlri(&mut seed, version, &shape));
        let (space_a, space_b) = (Space::of(&a), Space::of(&b));
        assert!(space_a.covers(&space_a) && (space_a.is_empty() || space_a.overlaps(&space_a)), "{a:?}");
        let covers = space_a.covers(&space_b);
        let overlaps = space_a.overlaps(&space_b);
        assert_eq!(overlaps, space_b.overlaps(&space_a));
        assert!(!covers || overlaps || space_b.is_empty(), "{a:?} {b:?}");
        covered += u32::from(covers && !space_b.is_empty());
        apart += u32::from(!overlaps && !space_b.is_empty() && !space_a.is_empty());
        for _ in 0..6 {
            let packet = packet_for(&mut seed, version, &[&a, &b]);
            let (in_a, in_b) = (space_a.matches(&packet), space_b.matches(&packet));
            assert!(!covers || !in_b || in_a, "seed {number}: not covered\n{space_a:?}\n{space_b:?}\n{packet:?}");
            assert!(overlaps || !in_a || !in_b, "seed {number}: overlaps\n{space_a:?}\n{space_b:?}\n{packet:?}");
        }
    }
    assert!(covered > 500 && apart > 5_000, "{covered} {apart}");
}

/// With every combination of ports that the operators can tell apart, `covers` and `overlaps` must
/// be exact, not only sound.
#[test]
fn port_relations_are_exact() {
    let kinds = [ComponentType::Port, ComponentType::DestinationPort, ComponentType::SourcePort];
    let random = |seed: &mut Seed| {
        let mut builder = Nlri::builder(Family::Ipv4);
        let mut cuts = vec![0];
        let all = seed.percent(30);
        let kinds: Vec<_> = kinds.into_iter().filter(|_| all || seed.percent(50)).collect();
        for kind in if kinds.is_empty() { vec![ComponentType::Port] } else { kinds } {
            let ops: Vec<_> = (0..seed.within(1, 2))
                .map(|_| {
                    let value = seed.within(1, 4);
                    cuts.extend([value as u16, value as u16 + 1]);
                    NumericOp::new(Comparison::from_operator(seed.within(1, 7) as u8), value)
                })
                .collect();
            builder = builder.numeric(kind, &ops);
        }
        (builder.build().unwrap(), cuts)
    };
    let udp = |sport: u16, dport: u16| {
        let mut draft = flowspec::testing::Draft::new(17, [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        (draft.source_port, draft.destination_port) = (sport, dport);
        Packet::from_ip(&draft.to_ip()).unwrap()
    };
    for number in 0..4_000 {
        let mut seed = Seed::new(number);
        let ((a, mut cuts), (b, more)) = (random(&mut seed), random(&mut seed));
        cuts.extend(more);
        cuts.sort_unstable();
        cuts.dedup();
        let (space_a, space_b) = (Space::of(&a), Space::of(&b));
        let pairs: Vec<_> = cuts.iter().flat_map(|&s| cuts.iter().map(move |&d| udp(s, d))).collect();
        let covers = pairs.iter().all(|packet| b.matches(packet).is_err() || a.matches(packet).is_ok());
        let overlaps = pairs.iter().any(|packet| b.matches(packet).is_ok() && a.matches(packet).is_ok());
        assert_eq!(space_a.covers(&space_b), covers, "seed {number}: {space_a:?} {space_b:?}");
        assert_eq!(space_a.overlaps(&space_b), overlaps, "seed {number}: {space_a:?} {space_b:?}");
        assert_eq!(space_a.is_empty(), pairs.iter().all(|packet| a.matches(packet).is_err()), "seed {number}");
    }
}

fn v4(build: impl FnOnce(flowspec::NlriBuilder) -> flowspec::NlriBuilder) -> Space {
    Space::of(&build(Nlri::builder(Family::Ipv4)).build().unwrap())
}

fn equal(value: u64) -> NumericOp {
    NumericOp::new(Comparison::Equal, value)
}

#[test]
fn upper_layer_fields_imply_their_protocol_and_no_later_fragment() {
    let dport = v4(|rule| rule.numeric(ComponentType::DestinationPort, &[equal(80)]));
    assert_eq!(dport.protocol().unwrap().iter().collect::<Vec<_>>(), [6, 17]);
    assert!(dport.fragment_is_implied());
    assert!(!dport.fragment().unwrap().contains(true, FragmentPosition::Last));
    let flags = v4(|rule| rule.bitmask(ComponentType::TcpFlags, &[BitmaskOp::new(true, 2)]));
    assert_eq!(flags.protocol().unwrap().single(), Some(6));
    assert_eq!(flags.tcp_flags().unwrap().cubes().len(), 1);
    let icmp = v4(|rule| rule.numeric(ComponentType::IcmpType, &[NumericOp::new(Comparison::True, 0)]));
    assert_eq!(icmp.protocol().unwrap().single(), Some(1));
    assert!(icmp.fields().has(ComponentType::IcmpType), "`true` still needs an ICMP header");
}

#[test]
fn what_accepts_everything_is_no_constraint() {
    let space = v4(|rule| {
        rule.prefix(ComponentType::Destination, Prefix::V4("0.0.0.0/0".parse().unwrap()))
            .numeric(ComponentType::Protocol, &[NumericOp::new(Comparison::Less, 70000)])
            .numeric(ComponentType::PacketLength, &[NumericOp::new(Comparison::GreaterOrEqual, 20)])
            .numeric(ComponentType::Dscp, &[NumericOp::new(Comparison::True, 0)])
            .bitmask(ComponentType::Fragment, &[BitmaskOp::new(true, 0)])
    });
    assert_eq!(space, Space::all(IpVersion::V4));
    assert_eq!(space.fields(), Fields::NONE);
}

#[test]
fn contradictions_are_empty() {
    let never = [
        v4(|rule| rule.numeric(ComponentType::DestinationPort, &[equal(70000)])),
        v4(|rule| {
            rule.numeric(ComponentType::Protocol, &[equal(1)]).numeric(ComponentType::DestinationPort, &[equal(80)])
        }),
        v4(|rule| {
            rule.numeric(ComponentType::Port, &[equal(1)])
                .numeric(ComponentType::DestinationPort, &[equal(2)])
                .numeric(ComponentType::SourcePort, &[equal(3)])
        }),
        v4(|rule| {
            rule.numeric(ComponentType::IcmpType, &[equal(8)])
                .bitmask(ComponentType::Fragment, &[BitmaskOp::new(true, 2)])
        }),
        v4(|rule| rule.numeric(ComponentType::PacketLength, &[NumericOp::new(Comparison::Less, 20)])),
        v4(|rule| {
            rule.numeric(ComponentType::PacketLength, &[equal(23)]).numeric(ComponentType::SourcePort, &[equal(1)])
        }),
        v4(|rule| rule.bitmask(ComponentType::TcpFlags, &[BitmaskOp::new(false, 0)])),
        v4(|rule| rule.bitmask(ComponentType::TcpFlags, &[BitmaskOp::new(true, 0x1002)])),
    ];
    for space in never {
        assert!(space.is_empty(), "{space:?}");
        assert!(Space::all(IpVersion::V4).covers(&space) && !space.overlaps(&Space::all(IpVersion::V4)));
    }
}

#[test]
fn a_space_is_small() {
    assert!(size_of::<Space>() <= 200, "{}", size_of::<Space>());
    assert_eq!(size_of::<IntervalSet>(), 16);
}
