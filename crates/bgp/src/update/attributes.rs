//! Splits an UPDATE into its fields and decodes each path attribute with the checks of RFC 7606 §7.

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::{AsPath, AsPathError, Origin, PathAttributes, RawAttribute, StandardCommunity};
use crate::message::{FamilyNumbers, HEADER_LEN};
use crate::update::attribute_type::{EXTENDED_LENGTH, OPTIONAL, TRANSITIVE, code, defined_flags};
use crate::update::error::{UpdateError, UpdateErrorKind};
use crate::update::field::NlriField;
use flowspec::{Action, Community, CommunityError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Negotiated parameters that decide how an UPDATE is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) four_octet_as: bool,
    pub(crate) families: FamilySet,
    pub(crate) add_path: FamilySet,
    /// From an eBGP peer: LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are left out (RFC 7606 §7.5,
    /// §7.9, §7.10).
    pub(crate) external: bool,
    /// From an iBGP peer: LOCAL_PREF is mandatory (RFC 4271 §5).
    pub(crate) internal: bool,
    /// Confederation segments are malformed (RFC 5065 §5).
    pub(crate) refuse_confed: bool,
}

/// The fields of an UPDATE; NLRIs are not decoded yet.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) attributes: PathAttributes,
    pub(crate) reach: Option<NlriField<'a>>,
    pub(crate) unreach: Option<NlriField<'a>>,
    pub(crate) withdrawn: NlriField<'a>,
    pub(crate) announced: NlriField<'a>,
    pub(crate) errors: Vec<UpdateError>,
    pub(crate) end_of_rib: Option<AfiSafi>,
    /// It announces routes, of whatever family.
    pub(crate) reachable: bool,
}

/// Splits the body of an UPDATE. Offsets in errors count from the start of the message.
pub(crate) fn split_update<'a>(body: &'a [u8], context: &Context) -> Parts<'a> {
    let ipv4 = |octets, offset| NlriField { family: AfiSafi::Ipv4Unicast, next_hop: None, octets, offset };
    let Some((withdrawn, attributes, announced)) = fields(body) else {
        let nothing = ipv4(&[], HEADER_LEN);
        return Parts {
            attributes: PathAttributes::default(),
            reach: None,
            unreach: None,
            withdrawn: nothing,
            announced: nothing,
            errors: vec![UpdateError { kind: UpdateErrorKind::FieldLengths, offset: HEADER_LEN }],
            end_of_rib: None,
            reachable: false,
        };
    };
    let attributes_at = HEADER_LEN + 4 + withdrawn.len();
    let announced_at = attributes_at + attributes.len();
    let mut reader = Reader {
        context,
        parts: Parts {
            attributes: PathAttributes::default(),
            reach: None,
            unreach: None,
            withdrawn: ipv4(withdrawn, HEADER_LEN + 2),
            announced: ipv4(announced, announced_at),
            errors: Vec::new(),
            end_of_rib: None,
            reachable: false,
        },
        seen: [0; 4],
        as4_path: None,
        as4_aggregator: None,
        next_hop: None,
    };
    reader.read_all(attributes, attributes_at);
    reader.finish(attributes_at)
}

/// Withdrawn routes, attributes and IPv4 unicast NLRIs.
fn fields(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let (withdrawn, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (attributes, announced) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((withdrawn, attributes, announced))
}

struct Reader<'a, 'c> {
    context: &'c Context,
    parts: Parts<'a>,
    seen: [u64; 4],
    as4_path: Option<AsPath>,
    as4_aggregator: Option<(u32, Ipv4Addr)>,
    next_hop: Option<Ipv4Addr>,
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, kind: UpdateErrorKind, offset: usize) {
        self.parts.errors.push(UpdateError { kind, offset });
    }

    fn has(&self, kind: u8) -> bool {
        self.seen[usize::from(kind >> 6)] & 1 << (kind & 63) != 0
    }

    fn read_all(&mut self, octets: &'a [u8], start: usize) {
        let mut rest = octets;
        while !rest.is_empty() {
            let offset = start + octets.len() - rest.len();
            let Some((flags, kind, value, after)) = split_attribute(rest) else {
                self.error(UpdateErrorKind::AttributesOverrun, offset);
                return;
            };
            let raw = &rest[..rest.len() - after.len()];
            rest = after;
            if self.has(kind) {
                let repeated = match kind {
                    code::MP_REACH | code::MP_UNREACH => UpdateErrorKind::RepeatedMultiprotocol(kind),
                    _ => UpdateErrorKind::Repeated(kind),
                };
                self.error(repeated, offset);
                continue;
            }
            self.seen[usize::from(kind >> 6)] |= 1 << (kind & 63);
            // Between speakers that both have 4-octet AS numbers these two are discarded, valid or
            // not (RFC 6793 §6).
            if self.context.four_octet_as && matches!(kind, code::AS4_PATH | code::AS4_AGGREGATOR) {
                continue;
            }
            let internal = matches!(kind, code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST);
            if self.context.external && internal {
                continue;
            }
            match defined_flags(kind) {
                Some(defined) if flags & (OPTIONAL | TRANSITIVE) != defined => {
                    self.error(UpdateErrorKind::Flags { attribute: kind, flags }, offset);
                    // The routes must be found nevertheless: they have to be withdrawn.
                    if !matches!(kind, code::MP_REACH | code::MP_UNREACH) {
                        continue;
                    }
                }
                None if flags & OPTIONAL == 0 => {
                    self.error(UpdateErrorKind::Unrecognized(kind), offset);
                    continue;
                }
                _ => {}
            }
            let value_at = offset + raw.len() - value.len();
            if let Err(kind) = self.read(flags, kind, value, value_at) {
                self.error(kind, offset);
            }
        }
    }

    fn read(&mut self, flags: u8, kind: u8, value: &'a [u8], at: usize) -> Result<(), UpdateErrorKind> {
        let wrong_length = UpdateErrorKind::Length { attribute: kind, length: value.len() };
        let four = <[u8; 4]>::try_from(value);
        let attributes = &mut self.parts.attributes;
        match kind {
            code::ORIGIN => {
                attributes.origin = match *value {
                    [0] => Origin::Igp,
                    [1] => Origin::Egp,
                    [2] => Origin::Incomplete,
                    [other] => return Err(UpdateErrorKind::Origin(other)),
                    _ => return Err(wrong_length),
                };
            }
            code::AS_PATH => {
                let path = AsPath::decode(value, self.context.four_octet_as).map_err(UpdateErrorKind::AsPath)?;
                if self.context.refuse_confed && path.has_confed() {
                    return Err(UpdateErrorKind::AsPath(AsPathError::UnexpectedConfed));
                }
                attributes.as_path = path;
            }
            code::NEXT_HOP => self.next_hop = Some(Ipv4Addr::from(four.map_err(|_| wrong_length)?)),
            code::MED => attributes.med = Some(u32::from_be_bytes(four.map_err(|_| wrong_length)?)),
            code::LOCAL_PREF => attributes.local_pref = Some(u32::from_be_bytes(four.map_err(|_| wrong_length)?)),
            code::ATOMIC_AGGREGATE if value.is_empty() => attributes.atomic_aggregate = true,
            code::ATOMIC_AGGREGATE => return Err(wrong_length),
            code::AGGREGATOR => {
                attributes.aggregator = Some(aggregator(value, self.context.four_octet_as, wrong_length)?)
            }
            code::COMMUNITIES => {
                let all = multiples::<4>(value).ok_or(wrong_length)?;
                attributes.communities = all.iter().map(|c| StandardCommunity(u32::from_be_bytes(*c))).collect();
            }
            code::ORIGINATOR_ID => attributes.originator_id = Some(Ipv4Addr::from(four.map_err(|_| wrong_length)?)),
            code::CLUSTER_LIST => {
                let all = multiples::<4>(value).ok_or(wrong_length)?;
                attributes.cluster_list = all.iter().map(|id| Ipv4Addr::from(*id)).collect();
            }
            code::EXTENDED => {
                let wrong = CommunityError::Length { found: value.len(), unit: 8 };
                let all = multiples::<8>(value).ok_or(UpdateErrorKind::Community(wrong))?;
                for octets in all {
                    // A rate that is NaN is the only error; any other value decodes to an action.
                    Action::decode(Community::Extended(*octets)).map_err(UpdateErrorKind::Community)?;
                }
                attributes.extended_communities = all.to_vec();
            }
            code::IPV6_EXTENDED => {
                let wrong = CommunityError::Length { found: value.len(), unit: 20 };
                let all = multiples::<20>(value).ok_or(UpdateErrorKind::Community(wrong))?;
                attributes.ipv6_extended_communities = all.to_vec();
            }
            code::LARGE => {
                let word = |c: &[u8; 12], at: usize| u32::from_be_bytes([c[at], c[at + 1], c[at + 2], c[at + 3]]);
                let all = multiples::<12>(value).ok_or(wrong_length)?;
                attributes.large_communities = all.iter().map(|c| [word(c, 0), word(c, 4), word(c, 8)]).collect();
            }
            code::AS4_PATH => self.as4_path = Some(AsPath::decode(value, true).map_err(UpdateErrorKind::As4Path)?),
            code::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, true, wrong_length)?),
            code::MP_REACH => self.read_reach(value, at)?,
            code::MP_UNREACH => self.read_unreach(value, at)?,
            _ => {
                let flags = flags & !EXTENDED_LENGTH;
                attributes.unknown.push(RawAttribute { flags, kind, value: value.to_vec() });
            }
        }
        Ok(())
    }

    fn read_reach(&mut self, value: &'a [u8], at: usize) -> Result<(), UpdateErrorKind> {
        let too_short = UpdateErrorKind::MultiprotocolLength { attribute: code::MP_REACH, length: value.len() };
        let Some((&[a, b, safi, hop_len], rest)) = value.split_first_chunk::<4>() else { return Err(too_short) };
        // Routes of another family may be announced here: an error elsewhere in the message is no
        // reason to reset the session.
        let family = match self.negotiated(a, b, safi) {
            Ok(family) => family,
            Err(error) => {
                self.parts.reachable = true;
                return Err(error);
            }
        };
        let wrong_hop = UpdateErrorKind::NextHop { family, length: usize::from(hop_len) };
        let Some((hop, rest)) = rest.split_at_checked(usize::from(hop_len)) else { return Err(wrong_hop) };
        // One reserved octet, in former times a count of SNPAs (RFC 4760 §3).
        let Some((_, octets)) = rest.split_first() else { return Err(too_short) };
        let next_hop = next_hop(family, hop).ok_or(wrong_hop)?;
        let offset = at + value.len() - octets.len();
        self.parts.reach = Some(NlriField { family, next_hop, octets, offset });
        Ok(())
    }

    fn read_unreach(&mut self, value: &'a [u8], at: usize) -> Result<(), UpdateErrorKind> {
        let Some((&[a, b, safi], octets)) = value.split_first_chunk::<3>() else {
            return Err(UpdateErrorKind::MultiprotocolLength { attribute: code::MP_UNREACH, length: value.len() });
        };
        let family = self.negotiated(a, b, safi)?;
        self.parts.unreach = Some(NlriField { family, next_hop: None, octets, offset: at + 3 });
        Ok(())
    }

    fn negotiated(&self, a: u8, b: u8, safi: u8) -> Result<AfiSafi, UpdateErrorKind> {
        let numbers = FamilyNumbers { afi: u16::from_be_bytes([a, b]), safi };
        let known = numbers.known().filter(|family| self.context.families.contains(*family));
        known.ok_or(UpdateErrorKind::NotNegotiated(numbers))
    }

    fn finish(mut self, attributes_at: usize) -> Parts<'a> {
        self.merge_four_octet();
        let legacy = !self.parts.announced.octets.is_empty();
        self.parts.reachable |= legacy || self.parts.reach.is_some_and(|field| !field.octets.is_empty());
        if legacy || self.parts.reach.is_some() {
            let local_pref = self.context.internal.then_some(code::LOCAL_PREF);
            for kind in [code::ORIGIN, code::AS_PATH].into_iter().chain(local_pref) {
                if !self.has(kind) {
                    self.error(UpdateErrorKind::Missing(kind), attributes_at);
                }
            }
        }
        if legacy {
            self.parts.announced.next_hop = self.next_hop.map(IpAddr::V4);
            if !self.has(code::NEXT_HOP) {
                self.error(UpdateErrorKind::Missing(code::NEXT_HOP), attributes_at);
            }
        }
        let only_unreach = {
            let mut seen = [0u64; 4];
            seen[0] = 1 << code::MP_UNREACH;
            self.seen == seen
        };
        let no_routes = !legacy && self.parts.withdrawn.octets.is_empty() && self.parts.errors.is_empty();
        self.parts.end_of_rib = match self.parts.unreach {
            Some(field) if no_routes && only_unreach && field.octets.is_empty() => Some(field.family),
            None if no_routes && self.seen == [0; 4] => Some(AfiSafi::Ipv4Unicast),
            _ => None,
        };
        self.parts
    }

    /// RFC 6793 §4.2.3: an AGGREGATOR that is not AS_TRANS means that the 4-octet attributes are
    /// out of date.
    fn merge_four_octet(&mut self) {
        let attributes = &mut self.parts.attributes;
        let stale = matches!((attributes.aggregator, self.as4_aggregator),
            (Some((number, _)), Some(_)) if number != crate::attribute::AS_TRANS);
        if stale {
            return;
        }
        if attributes.aggregator.is_some() && self.as4_aggregator.is_some() {
            attributes.aggregator = self.as4_aggregator;
        }
        if let Some(as4) = self.as4_path.take() {
            attributes.as_path = std::mem::take(&mut attributes.as_path).merge(as4);
        }
    }
}

/// The octets of the attribute that an error refers to: flags, type, length and value. `body` is
/// the UPDATE without header.
pub(crate) fn attribute_at<'a>(body: &'a [u8], error: &UpdateError) -> Option<&'a [u8]> {
    let octets = body.get(error.offset.checked_sub(HEADER_LEN)?..)?;
    let (.., after) = split_attribute(octets)?;
    octets.get(..octets.len() - after.len())
}

/// Flags, type, value and what follows.
fn split_attribute(octets: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let (&[flags, kind], rest) = octets.split_first_chunk::<2>()?;
    let (len, rest) = if flags & EXTENDED_LENGTH != 0 {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_be_bytes(*len)), rest)
    } else {
        let (&len, rest) = rest.split_first()?;
        (usize::from(len), rest)
    };
    let (value, rest) = rest.split_at_checked(len)?;
    Some((flags, kind, value, rest))
}

/// `value` as items of `N` octets; `None` if it is empty or has a remainder.
fn multiples<const N: usize>(value: &[u8]) -> Option<&[[u8; N]]> {
    let (items, remainder) = value.as_chunks::<N>();
    (!items.is_empty() && remainder.is_empty()).then_some(items)
}

fn aggregator(value: &[u8], four: bool, wrong: UpdateErrorKind) -> Result<(u32, Ipv4Addr), UpdateErrorKind> {
    let (number, address) = match (four, value) {
        (true, &[a, b, c, d, ref address @ ..]) => (u32::from_be_bytes([a, b, c, d]), address),
        (false, &[a, b, ref address @ ..]) => (u32::from(u16::from_be_bytes([a, b])), address),
        _ => return Err(wrong),
    };
    let address = <[u8; 4]>::try_from(address).map_err(|_| wrong)?;
    if number == 0 {
        return Err(UpdateErrorKind::ZeroAggregator);
    }
    Ok((number, Ipv4Addr::from(address)))
}

/// The next hop of an MP_REACH_NLRI, the global one of two; the outer `None`: a length that the
/// family does not have. FlowSpec ignores the next hop (RFC 8955 §4), so there every length is
/// right; it is an address only in the forms that redirect to next hop can use: an address, two
/// IPv6 addresses, or (VPN) these after route distinguishers.
fn next_hop(family: AfiSafi, octets: &[u8]) -> Option<Option<IpAddr>> {
    let v4 = |at: usize| octets.get(at..at + 4)?.try_into().ok().map(|o: [u8; 4]| IpAddr::V4(Ipv4Addr::from(o)));
    let v6 = |at: usize| octets.get(at..at + 16)?.try_into().ok().map(|o: [u8; 16]| IpAddr::V6(Ipv6Addr::from(o)));
    match (family, octets.len()) {
        (AfiSafi::Flow(_) | AfiSafi::Ipv4Unicast, 4) => Some(v4(0)),
        (AfiSafi::Flow(_) | AfiSafi::Ipv6Unicast, 16 | 32) => Some(v6(0)),
        (AfiSafi::Flow(family), 12) if family.is_vpn() => Some(v4(8)),
        (AfiSafi::Flow(family), 24 | 48) if family.is_vpn() => Some(v6(8)),
        (AfiSafi::Flow(_), _) => Some(None),
        _ => None,
    }
}
