//! `Arbitrary` where not every combination of fields is a value that a decoder could have made.

pub(crate) mod path_id;

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::{AsPath, Segment};
use crate::route::Destination;
use ::arbitrary::{Arbitrary, Error, Result, Unstructured};
use flowspec::{Comparison, ComponentType, Family, Nlri, NumericOp, RouteDistinguisher};
use ipnet::IpNet;
use std::net::IpAddr;

/// AS numbers of one segment at most (RFC 4271 §4.3: the count is one octet).
const MAX_NUMBERS: usize = 255;

impl<'a> Arbitrary<'a> for AfiSafi {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&AfiSafi::ALL).copied()
    }
}

impl<'a> Arbitrary<'a> for FamilySet {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let wanted: u8 = u.arbitrary()?;
        Ok(AfiSafi::ALL.into_iter().enumerate().filter(|(bit, _)| wanted >> bit & 1 != 0).map(|(_, f)| f).collect())
    }
}

/// Not empty, and without AS number 0.
impl<'a> Arbitrary<'a> for Segment {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let count = u.int_in_range(1..=MAX_NUMBERS)?;
        let numbers = (0..count).map(|_| u.int_in_range(1..=u32::MAX)).collect::<Result<_>>()?;
        Ok(Segment { kind: u.arbitrary()?, numbers })
    }
}

impl<'a> Arbitrary<'a> for AsPath {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(AsPath { segments: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for Destination {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? {
            return nlri(u).map(Destination::Flow);
        }
        let address: IpAddr = u.arbitrary()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let net = IpNet::new(address, u.int_in_range(0..=longest)?).map_err(|_| Error::IncorrectFormat)?;
        Ok(Destination::Unicast(net.trunc()))
    }
}

/// A match part with one to three numeric components, in any family.
fn nlri(u: &mut Unstructured<'_>) -> Result<Nlri> {
    let family = *u.choose(&Family::ALL)?;
    let mut builder = Nlri::builder(family).route_distinguisher(RouteDistinguisher(u.arbitrary()?));
    for kind in [ComponentType::Protocol, ComponentType::DestinationPort, ComponentType::PacketLength] {
        if kind == ComponentType::Protocol || u.arbitrary()? {
            let comparison = Comparison::from_operator(u.arbitrary()?);
            builder = builder.numeric(kind, &[NumericOp::new(comparison, u.arbitrary::<u8>()?.into())]);
        }
    }
    builder.build().map_err(|_| Error::IncorrectFormat)
}
