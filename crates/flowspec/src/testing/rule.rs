//! Random rules of every component type and operator form.

use super::seed::Seed;
use crate::action::{Action, Rate};
use crate::component::{ComponentType, ValueKind};
use crate::family::{Family, IpVersion};
use crate::nlri::Nlri;
use crate::op::{BitmaskOp, Comparison, NumericOp, Width};
use crate::prefix::{Ipv6Pattern, Prefix};
use crate::rule::Rule;
use crate::space::Fields;
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What random rules may be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Component types that may come.
    pub fields: Fields,
    /// The most components a rule has; at least 1.
    pub max_components: usize,
    /// The most operators a list has; at least 1.
    pub max_ops: usize,
    /// IPv6 prefixes with an offset.
    pub offsets: bool,
    /// Values beyond the field's domain and in wider octets than needed; bits of TCP's data offset.
    pub wild_values: bool,
    /// Action lists, one of which a rule gets. Empty means that all rules discard.
    pub actions: Vec<Vec<Action>>,
}

impl Shape {
    /// Everything that the RFCs allow, and every action of a data plane.
    #[must_use]
    pub fn everything() -> Self {
        Shape {
            fields: ComponentType::ALL.into_iter().collect(),
            max_components: 6,
            max_ops: 6,
            offsets: true,
            wild_values: true,
            actions: actions(),
        }
    }

    /// Every component, short lists, plain values, discard or accept only: what simple data planes
    /// can do.
    #[must_use]
    pub fn plain() -> Self {
        Shape {
            max_components: 4,
            max_ops: 2,
            offsets: false,
            wild_values: false,
            actions: vec![vec![discard()], vec![discard()], vec![]],
            ..Shape::everything()
        }
    }
}

fn discard() -> Action {
    Action::RateBytes { asn: 0, rate: rate(0.0) }
}

fn rate(rate: f32) -> Rate {
    Rate::new(rate).expect("only called with numbers")
}

fn actions() -> Vec<Vec<Action>> {
    let go_on = Action::TrafficAction { sample: false, continues: true };
    let sample = Action::TrafficAction { sample: true, continues: false };
    let bytes = Action::RateBytes { asn: 65000, rate: rate(1e6) };
    let packets = Action::RatePackets { asn: 0, rate: rate(1e3) };
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    vec![
        vec![discard()],
        vec![discard()],
        vec![discard()],
        vec![],
        vec![],
        vec![go_on],
        vec![Action::Mark(46), go_on],
        vec![Action::Mark(8)],
        vec![sample],
        vec![bytes],
        vec![packets],
        vec![bytes, go_on],
        vec![bytes, packets],
        vec![Action::RedirectIp { address, copy: false }],
        vec![Action::RedirectIp { address, copy: true }, go_on],
        vec![Action::RedirectAs2 { asn: 65000, local: 100 }],
        vec![discard(), Action::Mark(1)],
    ]
}

/// This many different rules, in enforcement order. Fewer if the shape does not have that many.
pub fn random_rules(seed: &mut Seed, version: IpVersion, shape: &Shape, count: usize) -> Vec<Rule> {
    let mut rules: Vec<Rule> = (0..count).map(|_| random_rule(seed, version, shape)).collect();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    rules.dedup_by(|a, b| a.nlri == b.nlri);
    rules
}

/// A rule of the shape, without route distinguisher.
pub fn random_rule(seed: &mut Seed, version: IpVersion, shape: &Shape) -> Rule {
    let nlri = random_nlri(seed, version, shape);
    let count = shape.actions.len() as u64;
    let actions = shape.actions.get(seed.below(count) as usize).cloned().unwrap_or_else(|| vec![discard()]);
    Rule::new(nlri, actions)
}

/// The match part of a rule of the shape. Values are chosen from few, so that rules overlap; most
/// lists make sense and some do not.
pub fn random_nlri(seed: &mut Seed, version: IpVersion, shape: &Shape) -> Nlri {
    let family = if version == IpVersion::V4 { Family::Ipv4 } else { Family::Ipv6 };
    loop {
        let mut kinds: Vec<ComponentType> =
            shape.fields.iter().filter(|&kind| ComponentType::from_wire(kind as u8, version).is_some()).collect();
        let count = seed.within(1, shape.max_components.min(kinds.len()) as u64);
        while kinds.len() as u64 > count {
            kinds.swap_remove(seed.below(kinds.len() as u64) as usize);
        }
        if seed.percent(80) {
            // Mostly upper-layer components that can come together.
            let upper = [Fields::PORTS, Fields::ICMP, Fields::of(ComponentType::TcpFlags)];
            let keep = if seed.percent(30) { Fields::ICMP } else { Fields::PORTS.and(ComponentType::TcpFlags) };
            if upper.iter().any(|&group| kinds.iter().any(|&kind| keep.has(kind) && group.has(kind))) {
                kinds.retain(|&kind| keep.has(kind) || !Fields::L4.has(kind));
            }
        }
        let mut builder = Nlri::builder(family);
        for &kind in &kinds {
            builder = match kind.value_kind() {
                ValueKind::Prefix => builder.prefix(kind, prefix(seed, version, kind, shape)),
                ValueKind::Numeric => {
                    let ops = numeric_list(seed, kind, &kinds, version, shape);
                    builder.numeric(kind, &ops)
                }
                ValueKind::Bitmask => {
                    let ops: Vec<_> = (0..list_len(seed, shape)).map(|n| bitmask(seed, kind, shape, n > 0)).collect();
                    builder.bitmask(kind, &ops)
                }
            };
        }
        // Nothing made here is malformed, save that the shape may have no type for this version.
        match builder.build() {
            Ok(nlri) => return nlri,
            Err(_) if kinds.is_empty() => {
                let any = NumericOp::new(Comparison::Equal, 6);
                if let Ok(nlri) = Nlri::builder(family).numeric(ComponentType::Protocol, &[any]).build() {
                    return nlri;
                }
            }
            Err(_) => {}
        }
    }
}

fn list_len(seed: &mut Seed, shape: &Shape) -> usize {
    if seed.percent(50) { 1 } else { seed.within(1, shape.max_ops as u64) as usize }
}

/// Networks in which all addresses of a test are.
const NETS4: [u32; 4] = [0x0a00_0000, 0x0a01_0200, 0xc633_6400, 0xcb00_7100];
const NETS6: [u128; 4] = [
    0x2001_0db8_0000_0000_0000_0000_0000_0000,
    0x2001_0db8_0001_0000_1234_5678_9abc_def0,
    0x2001_0db8_ffff_0001_0000_0000_0000_0001,
    0x2a00_0001_0002_0003_0004_0005_0006_0007,
];

fn prefix(seed: &mut Seed, version: IpVersion, kind: ComponentType, shape: &Shape) -> Prefix {
    let net = seed.below(4) as usize;
    // Few different host bits: prefixes are to be inside of each other.
    let host = seed.below(8);
    // Destinations and sources have lengths of their own, with the common ones more often.
    let common: &[u8] = match (version, kind) {
        (IpVersion::V4, ComponentType::Destination) => &[32, 32, 24, 25, 31, 16, 8, 0],
        (IpVersion::V4, _) => &[32, 24, 16, 8, 1, 0],
        (IpVersion::V6, ComponentType::Destination) => &[128, 128, 64, 48, 56, 127, 32, 0],
        (IpVersion::V6, _) => &[128, 64, 48, 32, 3, 0],
    };
    match version {
        IpVersion::V4 => {
            let length = if seed.percent(70) { seed.pick(common).unwrap_or(32) } else { seed.within(0, 32) as u8 };
            let address = Ipv4Addr::from(NETS4[net] | host as u32);
            let net = Ipv4Net::new(address, length).or(Ipv4Net::new(address, 32)).map(|net| net.trunc());
            Prefix::V4(net.unwrap_or_default())
        }
        IpVersion::V6 => {
            let length = if seed.percent(70) { seed.pick(common).unwrap_or(128) } else { seed.within(0, 128) as u8 };
            let address = Ipv6Addr::from(NETS6[net] | u128::from(host));
            let offset = if shape.offsets && seed.percent(30) {
                let aligned = seed.pick(&[1u8, 7, 8, 16, 64, 65, 127]).unwrap_or(0);
                if seed.percent(50) { aligned } else { seed.below(128) as u8 }
            } else {
                0
            };
            let pattern = Ipv6Pattern::new(address, offset, length).or(Ipv6Pattern::new(address, 0, length));
            Prefix::V6(pattern.unwrap_or(Ipv6Pattern::ANY))
        }
    }
}

/// Values that matter: ends of the domain, well-known numbers and their neighbours.
fn values(kind: ComponentType, version: IpVersion) -> &'static [u64] {
    match (kind, version) {
        (ComponentType::Protocol, IpVersion::V4) => &[0, 1, 6, 17, 2, 47, 50, 51, 58, 132, 136, 255],
        (ComponentType::Protocol, IpVersion::V6) => &[0, 6, 17, 58, 1, 43, 44, 47, 50, 51, 59, 60, 132, 135, 255],
        (ComponentType::IcmpType, _) => &[0, 3, 8, 11, 128, 129, 135, 254, 255],
        (ComponentType::IcmpCode, _) => &[0, 1, 3, 4, 254, 255],
        (ComponentType::PacketLength, _) => {
            &[0, 19, 20, 28, 40, 48, 60, 61, 64, 100, 512, 1000, 1280, 1499, 1500, 65535]
        }
        (ComponentType::Dscp, _) => &[0, 1, 8, 10, 26, 31, 32, 46, 62, 63],
        (ComponentType::FlowLabel, _) => &[0, 1, 74565, 0x80000, 0xffffe, 0xfffff],
        _ => &[0, 1, 22, 53, 80, 123, 443, 1023, 1024, 8080, 32767, 32768, 65534, 65535],
    }
}

fn max_value(kind: ComponentType, version: IpVersion) -> u64 {
    u64::from(match kind {
        ComponentType::Protocol | ComponentType::IcmpType | ComponentType::IcmpCode => 255,
        ComponentType::Dscp => 63,
        ComponentType::FlowLabel => crate::space::MAX_LABEL,
        ComponentType::PacketLength => crate::space::max_length(version).min(2000),
        _ => crate::space::MAX_PORT,
    })
}

fn value(seed: &mut Seed, kind: ComponentType, version: IpVersion, shape: &Shape) -> u64 {
    let known = seed.pick(values(kind, version)).unwrap_or(0);
    match seed.below(100) {
        0..=74 => known,
        75..=91 => seed.within(0, max_value(kind, version)),
        _ if !shape.wild_values => known,
        // One beyond the domain; what a truncating reader takes for a small number; the largest.
        92..=93 => max_value(kind, version) + 1,
        94..=95 => known + 0x1_0000,
        96..=97 => known + 0x1_0000_0000,
        _ => seed.pick(&[0xffff, 0xffff_ffff, u64::MAX, 70_000, 256]).unwrap_or(0),
    }
}

fn numeric(seed: &mut Seed, kind: ComponentType, comparison: Comparison, value: u64, shape: &Shape) -> NumericOp {
    let value = if kind == ComponentType::Dscp { value & 0x3f } else { value };
    let wider = if shape.wild_values && seed.percent(15) {
        seed.pick(&[Width::One, Width::Two, Width::Four, Width::Eight]).unwrap_or(Width::One)
    } else {
        Width::One
    };
    let width = kind.width_for(value).max(wider).min(kind.max_width());
    NumericOp { and: false, comparison, value, width }
}

fn numeric_list(
    seed: &mut Seed,
    kind: ComponentType,
    together: &[ComponentType],
    version: IpVersion,
    shape: &Shape,
) -> Vec<NumericOp> {
    let count = list_len(seed, shape);
    let mut ops: Vec<NumericOp> = Vec::new();
    // With upper-layer components beside it, mostly a protocol that has them.
    if kind == ComponentType::Protocol && seed.percent(75) {
        let has = |fields: Fields| together.iter().any(|&kind| fields.has(kind));
        let icmp = u64::from(crate::protocol::icmp_of(version));
        let protocol = if has(Fields::of(ComponentType::TcpFlags)) {
            Some(6)
        } else if has(Fields::PORTS) {
            seed.pick(&[6, 17])
        } else if has(Fields::ICMP) {
            Some(icmp)
        } else {
            None
        };
        ops.extend(protocol.map(|protocol| numeric(seed, kind, Comparison::Equal, protocol, shape)));
    }
    while ops.len() < count {
        let a = value(seed, kind, version, shape);
        match seed.below(100) {
            0..=34 => ops.push(numeric(seed, kind, Comparison::Equal, a, shape)),
            35..=64 if ops.len() + 2 <= count.max(2) => {
                let b = value(seed, kind, version, shape);
                let (low, high) = if seed.percent(90) { (a.min(b), a.max(b)) } else { (a.max(b), a.min(b)) };
                let (from, to) = if seed.percent(50) {
                    (Comparison::GreaterOrEqual, Comparison::LessOrEqual)
                } else {
                    (Comparison::Greater, Comparison::Less)
                };
                ops.push(numeric(seed, kind, from, low, shape));
                ops.push(numeric(seed, kind, to, high, shape).and());
                if seed.percent(20) {
                    let hole = value(seed, kind, version, shape);
                    ops.push(numeric(seed, kind, Comparison::NotEqual, hole, shape).and());
                }
            }
            _ => {
                // Any comparison, true and false too, though seldom.
                let comparison = match seed.below(16) {
                    0 => Comparison::True,
                    1 => Comparison::False,
                    n => Comparison::from_operator(1 + (n % 6) as u8),
                };
                let and = !ops.is_empty() && seed.percent(40);
                ops.push(NumericOp { and, ..numeric(seed, kind, comparison, a, shape) });
            }
        }
    }
    ops
}

fn bitmask(seed: &mut Seed, kind: ComponentType, shape: &Shape, may_and: bool) -> BitmaskOp {
    let (value, width) = if kind == ComponentType::TcpFlags {
        let value = match seed.below(100) {
            0..=59 => seed.pick(&[0x02, 0x10, 0x12, 0x04, 0x01, 0x29, 0x3f, 0x00, 0xc2, 0xff]).unwrap_or(0),
            60..=84 => seed.below(256),
            85..=94 => seed.below(0x1000),
            _ if shape.wild_values => seed.below(0x1_0000),
            _ => 0x08,
        };
        (value, if seed.percent(25) { Width::Two } else { Width::for_value(value) })
    } else {
        (if seed.percent(70) { 1 << seed.below(4) } else { seed.below(16) }, Width::One)
    };
    BitmaskOp { and: may_and && seed.percent(50), not: seed.percent(35), all: seed.percent(60), value, width }
}
