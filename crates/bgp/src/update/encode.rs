//! Encodes UPDATEs: several routes with the same attributes in one message, up to its maximum
//! length.

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::{AS_TRANS, AsPath, PathAttributes};
use crate::message::{MessageType, begin_message, end_message};
use crate::route::{Destination, RouteKey};
use crate::update::attribute_type::{EXTENDED_LENGTH, OPTIONAL, TRANSITIVE, code, defined_flags};
use flowspec::PathId;
use ipnet::IpNet;
use std::net::IpAddr;

/// Parameters that the encoding depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    pub(crate) four_octet_as: bool,
    pub(crate) add_path: FamilySet,
    pub(crate) max_message: usize,
    /// Our AS number to prepend, for an eBGP peer.
    pub(crate) prepend: Option<u32>,
}

/// LOCAL_PREF if the attributes have none: RFC 4271 requires one, this is the usual default.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// Appends one UPDATE with as many of `routes`, from the first on, as fit; returns how many. 0: not
/// even one fits, and nothing was appended. All routes are of one family.
pub(crate) fn encode_announcements(
    encoding: &Encoding,
    next_hop: Option<IpAddr>,
    attributes: &PathAttributes,
    routes: &[RouteKey],
    out: &mut Vec<u8>,
) -> usize {
    let Some(family) = routes.first().map(RouteKey::family) else { return 0 };
    let legacy = family == AfiSafi::Ipv4Unicast;
    let start = begin_message(MessageType::Update, out);
    out.extend_from_slice(&[0; 4]);
    let attributes_at = out.len();
    let mut rest = Vec::new();
    encode_attributes(encoding, attributes, next_hop.filter(|_| legacy), &mut rest);
    let reserved = if legacy { 0 } else { rest.len() };
    let most = (start + encoding.max_message).saturating_sub(reserved);
    let taken;
    if legacy {
        out.extend_from_slice(&rest);
        fill_length(attributes_at, out);
        taken = encode_routes(encoding, routes, most, out);
    } else {
        let value_at = begin_multiprotocol(code::MP_REACH, family, out);
        match next_hop {
            None => out.push(0),
            Some(IpAddr::V4(address)) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                out.push(16);
                out.extend_from_slice(&address.octets());
            }
        }
        out.push(0);
        taken = encode_routes(encoding, routes, most, out);
        fill_length(value_at, out);
        out.extend_from_slice(&rest);
        fill_length(attributes_at, out);
    }
    finish(start, taken, out)
}

/// Appends one UPDATE that withdraws as many of `routes`, from the first on, as fit; returns how
/// many. All are of one family.
pub(crate) fn encode_withdrawals(encoding: &Encoding, routes: &[RouteKey], out: &mut Vec<u8>) -> usize {
    let Some(family) = routes.first().map(RouteKey::family) else { return 0 };
    let start = begin_message(MessageType::Update, out);
    let taken;
    if family == AfiSafi::Ipv4Unicast {
        out.extend_from_slice(&[0; 2]);
        let withdrawn_at = out.len();
        taken = encode_routes(encoding, routes, start + encoding.max_message - 2, out);
        fill_length(withdrawn_at, out);
        out.extend_from_slice(&[0; 2]);
    } else {
        out.extend_from_slice(&[0; 4]);
        let attributes_at = out.len();
        let value_at = begin_multiprotocol(code::MP_UNREACH, family, out);
        taken = encode_routes(encoding, routes, start + encoding.max_message, out);
        fill_length(value_at, out);
        fill_length(attributes_at, out);
    }
    finish(start, taken, out)
}

/// Appends an End-of-RIB marker (RFC 4724 §2).
pub(crate) fn encode_end_of_rib(family: AfiSafi, out: &mut Vec<u8>) {
    let start = begin_message(MessageType::Update, out);
    out.extend_from_slice(&[0; 4]);
    if family != AfiSafi::Ipv4Unicast {
        let attributes_at = out.len();
        out.extend_from_slice(&[OPTIONAL, code::MP_UNREACH, 3]);
        out.extend_from_slice(&family.afi().to_be_bytes());
        out.push(family.safi());
        fill_length(attributes_at, out);
    }
    end_message(start, out);
}

fn finish(start: usize, taken: usize, out: &mut Vec<u8>) -> usize {
    if taken == 0 {
        out.truncate(start);
    } else {
        end_message(start, out);
    }
    taken
}

/// Writes the number of octets from `at` to the end into the two octets before `at`.
fn fill_length(at: usize, out: &mut [u8]) {
    let len = ((out.len() - at) as u16).to_be_bytes();
    out[at - 2..at].copy_from_slice(&len);
}

/// Attribute header with an open two-octet length, AFI and SAFI; returns where the value starts.
fn begin_multiprotocol(kind: u8, family: AfiSafi, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, kind, 0, 0]);
    let value_at = out.len();
    out.extend_from_slice(&family.afi().to_be_bytes());
    out.push(family.safi());
    value_at
}

/// Appends routes while `out` stays within `most` octets.
fn encode_routes(encoding: &Encoding, routes: &[RouteKey], most: usize, out: &mut Vec<u8>) -> usize {
    let mut taken = 0;
    for route in routes {
        let before = out.len();
        if encoding.add_path.contains(route.family()) {
            out.extend_from_slice(&route.path_id.unwrap_or(PathId(0)).0.to_be_bytes());
        }
        match &route.destination {
            Destination::Flow(nlri) => nlri.encode_to(out),
            Destination::Unicast(net) => {
                out.push(net.prefix_len());
                let len = usize::from(net.prefix_len()).div_ceil(8);
                match net {
                    IpNet::V4(net) => out.extend_from_slice(&net.addr().octets()[..len]),
                    IpNet::V6(net) => out.extend_from_slice(&net.addr().octets()[..len]),
                }
            }
        }
        if out.len() > most {
            out.truncate(before);
            break;
        }
        taken += 1;
    }
    taken
}

/// Appends all attributes but the multiprotocol ones, in the order of their codes.
fn encode_attributes(encoding: &Encoding, attributes: &PathAttributes, next_hop: Option<IpAddr>, out: &mut Vec<u8>) {
    let internal = encoding.prepend.is_none();
    let mut put = |kind: u8, value: &[u8]| push_attribute(defined_flags(kind).unwrap_or_default(), kind, value, out);
    put(code::ORIGIN, &[attributes.origin as u8]);
    let mut path = attributes.as_path.clone();
    if let Some(number) = encoding.prepend {
        path.prepend(number);
    }
    let mut value = Vec::new();
    path.encode_to(encoding.four_octet_as, &mut value);
    put(code::AS_PATH, &value);
    if let Some(IpAddr::V4(address)) = next_hop {
        put(code::NEXT_HOP, &address.octets());
    }
    if let Some(med) = attributes.med {
        put(code::MED, &med.to_be_bytes());
    }
    if internal {
        put(code::LOCAL_PREF, &attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF).to_be_bytes());
    }
    if attributes.atomic_aggregate {
        put(code::ATOMIC_AGGREGATE, &[]);
    }
    let wide = |number: u32| number > u32::from(u16::MAX);
    if let Some((number, address)) = attributes.aggregator {
        let mut value = Vec::new();
        if encoding.four_octet_as {
            value.extend_from_slice(&number.to_be_bytes());
        } else {
            let number = if wide(number) { AS_TRANS } else { number };
            value.extend_from_slice(&(number as u16).to_be_bytes());
        }
        value.extend_from_slice(&address.octets());
        put(code::AGGREGATOR, &value);
    }
    let joined = |items: &mut dyn Iterator<Item = u32>| items.flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    if !attributes.communities.is_empty() {
        put(code::COMMUNITIES, &joined(&mut attributes.communities.iter().map(|community| community.0)));
    }
    if let Some(id) = attributes.originator_id.filter(|_| internal) {
        put(code::ORIGINATOR_ID, &id.octets());
    }
    if internal && !attributes.cluster_list.is_empty() {
        put(code::CLUSTER_LIST, &joined(&mut attributes.cluster_list.iter().map(|id| u32::from(*id))));
    }
    if !attributes.extended_communities.is_empty() {
        put(code::EXTENDED, attributes.extended_communities.as_flattened());
    }
    if !encoding.four_octet_as {
        let as4 = AsPath { segments: path.segments.into_iter().filter(|s| !s.kind.is_confed()).collect() };
        if as4.segments.iter().any(|segment| segment.numbers.iter().any(|number| wide(*number))) {
            let mut value = Vec::new();
            as4.encode_to(true, &mut value);
            put(code::AS4_PATH, &value);
        }
        if let Some((number, address)) = attributes.aggregator.filter(|(number, _)| wide(*number)) {
            put(code::AS4_AGGREGATOR, &[number.to_be_bytes(), address.octets()].concat());
        }
    }
    if !attributes.ipv6_extended_communities.is_empty() {
        put(code::IPV6_EXTENDED, attributes.ipv6_extended_communities.as_flattened());
    }
    if !attributes.large_communities.is_empty() {
        put(code::LARGE, &joined(&mut attributes.large_communities.iter().flatten().copied()));
    }
    // A transitive attribute that is forwarded without being understood gets the partial bit (RFC
    // 4271 §5); others are not forwarded.
    for raw in attributes.unknown.iter().filter(|raw| raw.flags & TRANSITIVE != 0) {
        push_attribute(raw.flags | PARTIAL, raw.kind, &raw.value, out);
    }
}

const PARTIAL: u8 = 0x20;

fn push_attribute(flags: u8, kind: u8, value: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(len) => out.extend_from_slice(&[flags & !EXTENDED_LENGTH, kind, len]),
        Err(_) => {
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, kind]);
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}
