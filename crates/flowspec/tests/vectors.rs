//! The test vectors, both ways: the codec gives each the verdict of the RFCs, and what it accepts
//! survives decode -> canonical -> encode -> decode and a rebuild from its components.
//!
//! `tests/data` holds the vectors that may be copied; those of other projects are read from
//! `../shared/vectors` beside the workspace, and skipped where that folder is not.

use flowspec::{
    Action, BitmaskOp, Communities, Community, Component, ComponentType, Family, Nlri, NlriErrorKind, NlriIter,
    NlriRef, NumericOp, Prefix,
};
use std::path::{Path, PathBuf};

struct Vector {
    name: String,
    kind: String,
    octets: Vec<u8>,
    valid: bool,
}

fn read(path: &Path) -> Vec<Vector> {
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |v: &serde_json::Value, key: &str| v[key].as_str().unwrap().to_owned();
    json.as_array()
        .unwrap()
        .iter()
        .map(|v| Vector {
            name: text(v, "name"),
            kind: text(v, "kind"),
            octets: unhex(&text(v, "hex")),
            valid: v["valid"].as_bool().unwrap(),
        })
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    flowspec::hex::decode(hex).unwrap_or_else(|| panic!("{hex}"))
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn vector(file: &str, name: &str) -> Vector {
    read(&data(file)).into_iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no vector {name} in {file}"))
}

/// Vectors whose NLRIs and communities are all right, and only the UPDATE around them is not: the
/// verdict is that of the UPDATE parser (crate `bgp`), and the codec alone accepts them.
const INVALID_AS_UPDATE_ONLY: [&str; 2] = [
    // MP_REACH_NLRI without ORIGIN and AS_PATH: treat-as-withdraw (RFC 7606 §3 d).
    "CVE-2023-41909-no-attributes",
    // ORIGIN of length 0: treat-as-withdraw (RFC 7606 §7.1).
    "CVE-2023-41909-malformed-origin",
];

/// Checks every vector of a file; returns how many there were.
fn check_file(path: &Path) -> usize {
    let vectors = read(path);
    for v in &vectors {
        let found = match v.kind.as_str() {
            "nlri-v4" => check_field(Family::Ipv4, &v.octets),
            "nlri-v6" => check_field(Family::Ipv6, &v.octets),
            "nlri-vpn4" => check_field(Family::Vpnv4, &v.octets),
            "nlri-vpn6" => check_field(Family::Vpnv6, &v.octets),
            "extcomm" => check_community(&v.octets),
            "update" => check_update(&v.octets),
            other => panic!("{}: unknown kind {other}", v.name),
        };
        let expected = v.valid || INVALID_AS_UPDATE_ONLY.contains(&v.name.as_str());
        assert_eq!(found.is_ok(), expected, "{} in {}: {found:?}", v.name, path.display());
    }
    vectors.len()
}

/// Valid if every NLRI of the field is.
fn check_field(family: Family, field: &[u8]) -> Result<(), String> {
    for entry in NlriIter::new(family, false, field) {
        let nlri = entry.nlri.map_err(|error| error.to_string())?;
        check_both_ways(nlri, entry.raw);
    }
    Ok(())
}

fn check_both_ways(received: NlriRef<'_>, raw: &[u8]) {
    let canonical = received.to_canonical();
    let family = received.family();

    let mut wire = Vec::new();
    canonical.encode_to(&mut wire);
    assert_eq!(wire.len(), canonical.wire_len());
    let mut walk = NlriIter::new(family, false, &wire);
    assert_eq!(walk.next().unwrap().nlri.unwrap().to_canonical(), canonical);
    assert!(walk.next().is_none());

    // Whatever was cleared meant nothing, and was all that changed.
    assert_eq!(meaning(received), meaning(canonical.as_ref()));
    assert_eq!(received.as_bytes().len(), canonical.as_bytes().len());
    if received.as_bytes() == canonical.as_bytes() && raw.len() == wire.len() {
        assert_eq!(wire, raw);
    }
    assert_eq!(rebuild(received), canonical);
}

#[derive(Debug, PartialEq)]
enum Meaning {
    Prefix(ComponentType, Prefix),
    Numeric(ComponentType, Vec<NumericOp>),
    Bitmask(ComponentType, Vec<BitmaskOp>),
}

fn meaning(nlri: NlriRef<'_>) -> Vec<Meaning> {
    nlri.components()
        .map(|component| match component {
            Component::Prefix(kind, prefix) => Meaning::Prefix(kind, prefix),
            Component::Numeric(kind, ops) => Meaning::Numeric(kind, ops.collect()),
            Component::Bitmask(kind, ops) => Meaning::Bitmask(kind, ops.collect()),
        })
        .collect()
}

fn rebuild(nlri: NlriRef<'_>) -> Nlri {
    let mut builder = Nlri::builder(nlri.family());
    if let Some(rd) = nlri.route_distinguisher() {
        builder = builder.route_distinguisher(rd);
    }
    for component in meaning(nlri).into_iter().rev() {
        builder = match component {
            Meaning::Prefix(kind, prefix) => builder.prefix(kind, prefix),
            Meaning::Numeric(kind, ops) => builder.numeric(kind, &ops),
            Meaning::Bitmask(kind, ops) => builder.bitmask(kind, &ops),
        };
    }
    builder.build().unwrap()
}

fn check_community(octets: &[u8]) -> Result<(), String> {
    let communities = match octets.len() {
        8 => Communities::extended(octets),
        20 => Communities::ipv6(octets),
        other => panic!("a community of {other} octets"),
    };
    check_communities(communities.unwrap())
}

fn check_communities(communities: Communities<'_>) -> Result<(), String> {
    for community in communities {
        let action = Action::decode(community).map_err(|error| error.to_string())?;
        let sent = action.encode();
        assert_eq!(Action::decode(sent), Ok(action), "{community:x?}");
        assert_eq!(Action::decode(sent).unwrap().encode(), sent);
    }
    Ok(())
}

/// Finds the FlowSpec NLRIs and the communities of an UPDATE whose framing is intact; the real
/// parser is in crate `bgp`.
fn check_update(message: &[u8]) -> Result<(), String> {
    assert_eq!(message[..16], [0xff; 16]);
    assert_eq!(usize::from(be16(&message[16..])), message.len());
    assert_eq!(message[18], 2, "an UPDATE");
    assert_eq!(be16(&message[19..]), 0, "no withdrawn unicast routes");
    let (attributes, nlri) = message[23..].split_at(be16(&message[21..]).into());
    assert!(nlri.is_empty());
    for (code, value) in Attributes(attributes) {
        match code {
            14 => {
                let family = Family::from_afi_safi(be16(value), value[2]).unwrap();
                let next_hop = usize::from(value[3]);
                check_field(family, &value[4 + next_hop + 1..])?;
            }
            15 => check_field(Family::from_afi_safi(be16(value), value[2]).unwrap(), &value[3..])?,
            16 => check_communities(Communities::extended(value).map_err(|error| error.to_string())?)?,
            25 => check_communities(Communities::ipv6(value).map_err(|error| error.to_string())?)?,
            _ => {}
        }
    }
    Ok(())
}

fn be16(octets: &[u8]) -> u16 {
    u16::from_be_bytes([octets[0], octets[1]])
}

/// Code and value of each path attribute.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&flags, _) = self.0.split_first()?;
        let code = self.0[1];
        let (start, len) = if flags & 0x10 == 0 { (3, self.0[2].into()) } else { (4, usize::from(be16(&self.0[2..]))) };
        let (value, rest) = self.0[start..].split_at(len);
        self.0 = rest;
        Some((code, value))
    }
}

#[test]
fn rfc() {
    assert_eq!(check_file(&data("rfc.json")), 6);
}

#[test]
fn live() {
    assert_eq!(check_file(&data("live.json")), 41);
}

#[test]
fn cve() {
    assert_eq!(check_file(&data("cve.json")), 49);
}

#[test]
fn other_projects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    if !folder.is_dir() {
        println!("skipped: no folder ../shared/vectors beside the workspace");
        return;
    }
    for (file, count) in
        [("exabgp.json", 114), ("odl.json", 17), ("yabgp.json", 13), ("bgpkit.json", 16), ("misc.json", 5)]
    {
        assert_eq!(check_file(&folder.join(file)), count, "{file}");
    }
}

/// Our own senders' bytes come back unchanged, but for these.
#[test]
fn only_these_are_not_canonical() {
    let mut changed = Vec::new();
    for file in ["rfc.json", "cve.json"] {
        for v in read(&data(file)).into_iter().filter(|v| v.valid) {
            let family = match v.kind.as_str() {
                "nlri-v4" => Family::Ipv4,
                "nlri-v6" => Family::Ipv6,
                _ => continue,
            };
            let mut wire = Vec::new();
            for entry in NlriIter::new(family, false, &v.octets) {
                entry.nlri.unwrap().to_canonical().encode_to(&mut wire);
            }
            if wire != v.octets {
                changed.push(v.name);
            }
        }
    }
    assert_eq!(changed, ["length-non-minimal"]);
}

#[test]
fn each_refused_nlri_says_what_and_where() {
    use NlriErrorKind::*;
    let table = [
        ("CVE-2023-38406-zero-length-extended", Empty, 2),
        ("bird-zero-length-then-dst-type", Empty, 1),
        ("frr-ext-length-second-octet-missing", Truncated { needed: 1 }, 1),
        ("frr-prefix-length-missing", TruncatedComponent(ComponentType::Destination), 2),
        ("frr-v6-offset-missing", TruncatedComponent(ComponentType::Destination), 3),
        ("frr-operator-missing", NoEndOfList(ComponentType::Port), 2),
        ("frr-value-overrun", TruncatedComponent(ComponentType::Port), 4),
        ("frr-no-end-of-list", NoEndOfList(ComponentType::Port), 4),
        ("frr-unknown-type", UnknownComponent(14), 1),
        ("frr-flowlabel-in-v4", UnknownComponent(13), 1),
        ("gobgp-2326-prefix-length", PrefixLength { length: 255, max: 32 }, 2),
        ("fastnetmon-CVE-2026-48686", PrefixLength { length: 255, max: 32 }, 2),
        ("v6-offset-equals-length", PrefixOffset { offset: 64, length: 64 }, 3),
        ("tcp-flags-4-octets", ValueWidth { component: ComponentType::TcpFlags, octets: 4, max: 2 }, 2),
    ];
    for (name, kind, offset) in table {
        let v = vector("cve.json", name);
        let family = if v.kind == "nlri-v6" { Family::Ipv6 } else { Family::Ipv4 };
        let error = NlriIter::new(family, false, &v.octets).next().unwrap().nlri.unwrap_err();
        assert_eq!((error.kind, error.offset), (kind, offset), "{name}");
    }
    let refused = read(&data("cve.json")).into_iter().filter(|v| !v.valid && v.kind.starts_with("nlri")).count();
    assert_eq!(refused, table.len());
}

#[test]
fn both_length_forms_are_one_rule() {
    let short = [0x05, 0x01, 0x18, 0x0a, 0x00, 0x00];
    let long = vector("cve.json", "length-non-minimal").octets;
    let key = |field: &[u8]| NlriIter::new(Family::Ipv4, false, field).next().unwrap().nlri.unwrap().to_canonical();
    assert_eq!(key(&short), key(&long));
    assert_eq!(key(&short).id(), key(&long).id());
}

#[test]
fn the_length_takes_two_octets_from_240_on() {
    for (name, len, head) in [
        ("length-239-boundary", 239, [0xef, 0x05]),
        ("length-240-boundary", 240, [0xf0, 0xf0]),
        ("gobgp-3596-extended-length", 274, [0xf1, 0x12]),
        ("length-4095-maximum", 4095, [0xff, 0xff]),
    ] {
        let octets = vector("cve.json", name).octets;
        let nlri = NlriIter::new(Family::Ipv4, false, &octets).next().unwrap().nlri.unwrap().to_canonical();
        assert_eq!(nlri.as_bytes().len(), len, "{name}");
        let mut wire = Vec::new();
        nlri.encode_to(&mut wire);
        assert_eq!(wire[..2], head, "{name}");
        assert_eq!(wire, octets, "{name}");
    }
}

#[test]
fn ipv6_offsets_as_in_rfc_8956_3_8() {
    let source = |name| {
        let octets = vector("rfc.json", name).octets;
        let nlri = NlriIter::new(Family::Ipv6, false, &octets).next().unwrap().nlri.unwrap().to_canonical();
        nlri.components().nth(1).map(|c| match c {
            Component::Prefix(ComponentType::Source, prefix) => prefix.to_string(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(source("rfc8956-3.8.1").unwrap(), "::1234:5678:9a00:0/64-104");
    assert_eq!(source("rfc8956-3.8.2").unwrap(), "::1234:5678:9a00:0/65-104");
}

/// GoBGP's 800b in attribute 16 has 8 octets, not 20: an unknown community, kept as it is.
#[test]
fn cve_2025_43972_is_a_valid_update() {
    let v = vector("cve.json", "CVE-2025-43972");
    let community = Community::Extended([0x80, 0x0b, 0x20, 0x01, 0x0d, 0xb8, 0, 0]);
    assert!(v.octets.windows(8).any(|octets| octets == community.as_bytes()));
    assert_eq!(Action::decode(community), Ok(Action::Other(community)));
}
