//! `Arbitrary` (feature `arbitrary`): values out of a fuzzer's octets. Everything that is made is
//! valid.

use crate::action::{Action, Rate};
use crate::community::Community;
use crate::component::{ComponentType, ValueKind};
use crate::family::{Family, IpVersion, RouteDistinguisher};
use crate::nlri::Nlri;
use crate::op::{BitmaskOp, Comparison, NumericOp, Width};
use crate::prefix::{Ipv6Pattern, Prefix};
use crate::rule::Rule;
use arbitrary::{Arbitrary, Error, Result, Unstructured};
use std::net::IpAddr;

/// Most operators of a list.
const MOST_OPS: usize = 8;

#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for Family {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&Family::ALL).copied()
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for RouteDistinguisher {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(RouteDistinguisher)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for Community {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? { u.arbitrary().map(Community::Extended) } else { u.arbitrary().map(Community::Ipv6) }
    }
}

/// Any community can come from the wire; those that FlowSpec knows come more often than by chance.
#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for Action {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let rate = |u: &mut Unstructured<'a>| u.arbitrary().map(|rate| Rate::new(rate).unwrap_or(Rate::ZERO));
        Ok(match u.int_in_range(0..=6)? {
            0 => Action::RateBytes { asn: u.arbitrary()?, rate: rate(u)? },
            1 => Action::RatePackets { asn: u.arbitrary()?, rate: rate(u)? },
            2 => Action::TrafficAction { sample: u.arbitrary()?, continues: u.arbitrary()? },
            3 => Action::Mark(u.int_in_range(0..=63)?),
            4 => Action::RedirectAs2 { asn: u.arbitrary()?, local: u.arbitrary()? },
            5 => Action::RedirectIp { address: u.arbitrary()?, copy: u.arbitrary()? },
            _ => Action::decode(u.arbitrary()?).unwrap_or(Action::Mark(0)),
        })
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for Nlri {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let family: Family = u.arbitrary()?;
        let version = family.version();
        let mut builder = Nlri::builder(family);
        if family.is_vpn() {
            builder = builder.route_distinguisher(u.arbitrary()?);
        }
        // One component always, each of the others in one case of four.
        let kinds: Vec<_> = ComponentType::ALL
            .into_iter()
            .filter(|&kind| ComponentType::from_wire(kind as u8, version).is_some())
            .collect();
        let first = *u.choose(&kinds)?;
        for kind in kinds {
            if kind == first || u.ratio(1, 4)? {
                builder = match kind.value_kind() {
                    ValueKind::Prefix => builder.prefix(kind, prefix(u, version)?),
                    ValueKind::Numeric => {
                        let ops: Vec<_> = list(u, |u| numeric(u, kind))?;
                        builder.numeric(kind, &ops)
                    }
                    ValueKind::Bitmask => {
                        let ops: Vec<_> = list(u, |u| bitmask(u, kind))?;
                        builder.bitmask(kind, &ops)
                    }
                };
            }
        }
        builder.build().map_err(|_| Error::IncorrectFormat)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "arbitrary")))]
impl<'a> Arbitrary<'a> for Rule {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let rule = Rule::new(u.arbitrary()?, list(u, |u| u.arbitrary())?);
        Ok(Rule { next_hop: u.arbitrary::<Option<IpAddr>>()?, ..rule })
    }
}

fn list<'a, T>(u: &mut Unstructured<'a>, mut item: impl FnMut(&mut Unstructured<'a>) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(1..=MOST_OPS)?).map(|_| item(u)).collect()
}

fn prefix(u: &mut Unstructured<'_>, version: IpVersion) -> Result<Prefix> {
    let prefix = match version {
        IpVersion::V4 => {
            let length = u.int_in_range(0..=32)?;
            ipnet::Ipv4Net::new(u.arbitrary()?, length).ok().map(|net| Prefix::V4(net.trunc()))
        }
        IpVersion::V6 => {
            let length = u.int_in_range(0..=128)?;
            let offset = if length > 0 && u.ratio(1, 4)? { u.int_in_range(0..=length - 1)? } else { 0 };
            Ipv6Pattern::new(u.arbitrary()?, offset, length).map(Prefix::V6)
        }
    };
    prefix.ok_or(Error::IncorrectFormat)
}

/// A value, and a width that holds it and that the component may have.
fn value(u: &mut Unstructured<'_>, kind: ComponentType) -> Result<(u64, Width)> {
    let width = [Width::One, Width::Two, Width::Four, Width::Eight][u.int_in_range(0..=3)?].min(kind.max_width());
    Ok((u.arbitrary::<u64>()? >> (64 - 8 * width.octets()), width))
}

fn numeric(u: &mut Unstructured<'_>, kind: ComponentType) -> Result<NumericOp> {
    let (value, width) = value(u, kind)?;
    Ok(NumericOp { and: u.arbitrary()?, comparison: Comparison::from_operator(u.arbitrary()?), value, width })
}

fn bitmask(u: &mut Unstructured<'_>, kind: ComponentType) -> Result<BitmaskOp> {
    let (value, width) = value(u, kind)?;
    Ok(BitmaskOp { and: u.arbitrary()?, not: u.arbitrary()?, all: u.arbitrary()?, value, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the octets, what is made is a rule that the wire and the text give back.
    #[test]
    fn what_is_made_is_valid_and_mostly_something_is() {
        let (mut made, mut octets) = (0, Vec::new());
        let mut seed = crate::testing::Seed::new(1);
        for round in 0..2000u64 {
            octets.clear();
            octets.extend((0..round % 400).map(|_| seed.below(256) as u8));
            let Ok(rule) = Rule::arbitrary(&mut Unstructured::new(&octets)) else { continue };
            made += 1;
            let mut wire = Vec::new();
            rule.nlri.encode_to(&mut wire);
            let again = crate::NlriIter::new(rule.nlri.family(), false, &wire).next().unwrap().nlri.unwrap();
            assert_eq!(again.to_canonical(), rule.nlri);
            assert_eq!(rule.nlri.to_string().parse::<Nlri>().as_ref(), Ok(&rule.nlri), "{rule}");
        }
        assert!(made > 1500, "{made}");
    }
}
