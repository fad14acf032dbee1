//! What a rule of nf_tables is made of: tests, lookups, counters, limits, verdicts; as messages and as nft text.

use super::field::{Field, KeyPart, Place, Test};
use super::limit::Limit;
use super::wire::Writer;
use flowspec::IpVersion;
use std::fmt;

/// First of the 16 registers of 4 octets.
const REGISTER: u32 = 8;
/// The register in which a verdict is left.
const VERDICT_REGISTER: u32 = 0;
/// Attribute that holds one item of a list.
pub(super) const LIST_ITEM: u16 = 1;

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verdict {
    Drop,
    Accept,
    /// To a chain, and back behind this rule when that chain ends.
    Jump(String),
    /// To a chain, and back to where this one was jumped to from.
    Goto(String),
}

/// One statement; a rule is a list of them, worked through while each matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statement {
    /// The packet came in on the loopback interface.
    FromLoopback,
    /// The packet comes along a second time, now as one of a VRF: it was filtered where it came in.
    FromVrf,
    /// The packet came in on an interface whose name is not in this set.
    FromOther {
        set: String,
    },
    /// IPv6: the packet is a message of neighbour discovery ([`flowspec::Packet::is_neighbor_discovery`]).
    NeighborDiscovery,
    Test(IpVersion, Test),
    /// The key is in the set; the counter of its element counts.
    Lookup {
        version: IpVersion,
        key: Vec<KeyPart>,
        set: String,
    },
    /// The key's element tells the verdict; without element the rule does not match.
    VerdictMap {
        version: IpVersion,
        key: Vec<KeyPart>,
        map: String,
    },
    /// A named counter.
    Counter(String),
    /// More than the limit allows.
    Over(Limit),
    SetDscp(IpVersion, u8),
    /// To listeners of this group of the kernel's packet log.
    Log {
        group: u16,
        octets: u32,
    },
    Verdict(Verdict),
}

/// One rule.
pub(super) type Rule = Vec<Statement>;

/// Writes a rule's expressions.
pub(super) fn encode(w: &mut Writer, rule: &Rule) {
    rule.iter().for_each(|statement| statement.encode(w));
}

/// Writes an expression: its name and what `body` puts in.
pub(super) fn expression(w: &mut Writer, item: u16, name: &str, body: impl FnOnce(&mut Writer)) {
    w.nest(item, |w| {
        w.str(1, name);
        w.nest(2, body);
    });
}

impl Statement {
    /// Writes the expressions that carry it out.
    fn encode(&self, w: &mut Writer) {
        match self {
            Statement::FromLoopback => {
                meta(w, META_IIF);
                // Its index is 1 in every network namespace.
                compare(w, EQUAL, &1u32.to_ne_bytes());
            }
            Statement::FromVrf => {
                // Where the interface is of no kind, as a network card, the rule ends without a match.
                meta(w, META_IIFKIND);
                let mut kind = [0; 16];
                kind[..3].copy_from_slice(b"vrf");
                compare(w, EQUAL, &kind);
            }
            Statement::FromOther { set } => {
                meta(w, META_IIFNAME);
                expression(w, LIST_ITEM, "lookup", |w| {
                    w.str(1, set);
                    w.u32(2, REGISTER);
                    w.u32(5, 1);
                });
            }
            Statement::NeighborDiscovery => {
                // Next Header ICMPv6 and hop limit 255: two octets side by side, which no other packet passes.
                payload(w, NETWORK, 6, 2, REGISTER);
                compare(w, EQUAL, &[58, 255]);
                // Type and code; one that is not there ends the rule without a match.
                payload(w, UPPER, 1, 1, REGISTER);
                compare(w, EQUAL, &[0]);
                payload(w, UPPER, 0, 1, REGISTER);
                expression(w, LIST_ITEM, "range", |w| {
                    w.u32(1, REGISTER);
                    w.u32(2, EQUAL);
                    w.nest(3, |w| w.bytes(1, &[133]));
                    w.nest(4, |w| w.bytes(1, &[137]));
                });
            }
            Statement::Test(version, test) => encode_test(w, *version, test),
            Statement::Lookup { version, key, set } => {
                load_key(w, *version, key);
                expression(w, LIST_ITEM, "lookup", |w| {
                    w.str(1, set);
                    w.u32(2, REGISTER);
                });
            }
            Statement::VerdictMap { version, key, map } => {
                load_key(w, *version, key);
                expression(w, LIST_ITEM, "lookup", |w| {
                    w.str(1, map);
                    w.u32(2, REGISTER);
                    w.u32(3, VERDICT_REGISTER);
                });
            }
            Statement::Counter(name) => expression(w, LIST_ITEM, "objref", |w| {
                w.u32(1, OBJECT_COUNTER);
                w.str(2, name);
            }),
            Statement::Over(limit) => expression(w, LIST_ITEM, "limit", |w| limit.encode(w)),
            Statement::SetDscp(version, dscp) => set_dscp(w, *version, *dscp),
            Statement::Log { group, octets } => expression(w, LIST_ITEM, "log", |w| {
                w.bytes(1, &group.to_be_bytes());
                w.u32(3, *octets);
            }),
            Statement::Verdict(verdict) => expression(w, LIST_ITEM, "immediate", |w| {
                w.u32(1, VERDICT_REGISTER);
                w.nest(2, |w| verdict.encode(w));
            }),
        }
    }
}

impl Verdict {
    /// Its number, which the kernel reads as signed.
    pub(super) const fn code(&self) -> u32 {
        (match self {
            Verdict::Drop => 0i32,
            Verdict::Accept => 1,
            Verdict::Jump(_) => -3,
            Verdict::Goto(_) => -4,
        }) as u32
    }

    /// The chain that it leads to.
    pub(super) fn chain(&self) -> Option<&str> {
        match self {
            Verdict::Drop | Verdict::Accept => None,
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
        }
    }

    /// Writes it as data.
    pub(super) fn encode(&self, w: &mut Writer) {
        w.nest(2, |w| {
            w.u32(1, self.code());
            if let Some(chain) = self.chain() {
                w.str(2, chain);
            }
        });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Drop => f.write_str("drop"),
            Verdict::Accept => f.write_str("accept"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

pub(super) const OBJECT_COUNTER: u32 = 1;
const META_IIF: u32 = 4;
const META_IIFNAME: u32 = 6;
const META_L4PROTO: u32 = 16;
const META_IIFKIND: u32 = 26;
const NETWORK: u32 = 1;
const UPPER: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const FRAGMENT_HEADER: u8 = 44;

fn meta(w: &mut Writer, key: u32) {
    meta_into(w, key, REGISTER);
}

fn meta_into(w: &mut Writer, key: u32, register: u32) {
    expression(w, LIST_ITEM, "meta", |w| {
        w.u32(2, key);
        w.u32(1, register);
    });
}

fn compare(w: &mut Writer, operator: u32, value: &[u8]) {
    expression(w, LIST_ITEM, "cmp", |w| {
        w.u32(1, REGISTER);
        w.u32(2, operator);
        w.nest(3, |w| w.bytes(1, value));
    });
}

fn payload(w: &mut Writer, base: u32, offset: u32, octets: u32, register: u32) {
    expression(w, LIST_ITEM, "payload", |w| {
        w.u32(1, register);
        w.u32(2, base);
        w.u32(3, offset);
        w.u32(4, octets);
    });
}

fn bitwise(w: &mut Writer, register: u32, mask: &[u8], xor: &[u8]) {
    expression(w, LIST_ITEM, "bitwise", |w| {
        w.u32(1, register);
        w.u32(2, register);
        w.u32(3, mask.len() as u32); // at most 16
        w.u32(6, 0);
        w.nest(4, |w| w.bytes(1, mask));
        w.nest(5, |w| w.bytes(1, xor));
    });
}

/// Reads octets of a header of an IPv6 packet, or whether there is one. The kernel looks for it along the extension headers, and finds an
/// upper-layer header, too: only where it begins, not in later fragments.
fn header_of_v6(w: &mut Writer, header: u8, offset: u32, octets: u32, present: bool) {
    expression(w, LIST_ITEM, "exthdr", |w| {
        w.u32(1, REGISTER);
        w.bytes(2, &[header]);
        w.u32(3, offset);
        w.u32(4, octets);
        w.u32(5, u32::from(present));
    });
}

/// Reads a field and leaves its bits under `mask` in the register.
fn load(w: &mut Writer, version: IpVersion, field: Field, mask: u128, register: u32) {
    match field.place(version) {
        Place::Network { offset, octets } => payload(w, NETWORK, offset, octets, register),
        Place::Upper { offset, octets, needs } => {
            if let Some((offset, octets)) = needs {
                payload(w, UPPER, offset, octets, register);
            }
            payload(w, UPPER, offset, octets, register);
        }
        Place::Protocol => meta_into(w, META_L4PROTO, register),
        Place::FragmentHeader => {
            header_of_v6(w, FRAGMENT_HEADER, 4, 4, false);
            header_of_v6(w, FRAGMENT_HEADER, 2, 2, false);
        }
    }
    let octets = field.octets(version) as usize;
    let all = u128::MAX >> (128 - 8 * octets);
    if mask & all != all {
        bitwise(w, register, &mask.to_be_bytes()[16 - octets..], &vec![0; octets]);
    }
}

fn load_key(w: &mut Writer, version: IpVersion, key: &[KeyPart]) {
    let mut register = REGISTER;
    for part in key {
        load(w, version, part.field, part.mask, register);
        register += part.register_octets(version) / 4;
    }
}

fn encode_test(w: &mut Writer, version: IpVersion, test: &Test) {
    let (field, mask, first, last) = match *test {
        Test::Within { field, mask, first, last } => (field, mask, first, last),
        Test::NoFragmentHeader => {
            header_of_v6(w, FRAGMENT_HEADER, 0, 1, true);
            return compare(w, EQUAL, &[0]);
        }
        Test::UpperHeader(protocol) => {
            header_of_v6(w, protocol, 0, 1, true);
            return compare(w, EQUAL, &[1]);
        }
    };
    load(w, version, field, mask, REGISTER);
    let octets = field.octets(version) as usize;
    let data = |value: u128| value.to_be_bytes()[16 - octets..].to_vec();
    let max = mask & (u128::MAX >> (128 - 8 * octets));
    match (first, last) {
        _ if first == last => compare(w, EQUAL, &data(first)),
        // Only that the field is there.
        (0, _) if last >= max => {}
        (1, _) if last >= max => compare(w, NOT_EQUAL, &data(0)),
        (0, _) => compare(w, AT_MOST, &data(last)),
        _ if last >= max => compare(w, AT_LEAST, &data(first)),
        _ => expression(w, LIST_ITEM, "range", |w| {
            w.u32(1, REGISTER);
            w.u32(2, EQUAL);
            w.nest(3, |w| w.bytes(1, &data(first)));
            w.nest(4, |w| w.bytes(1, &data(last)));
        }),
    }
}

/// Two octets are written, also for IPv4, so that the checksum is updated for a whole word.
fn set_dscp(w: &mut Writer, version: IpVersion, dscp: u8) {
    const CHECKSUM_INET: u32 = 1;
    payload(w, NETWORK, 0, 2, REGISTER);
    let (mask, value) = match version {
        IpVersion::V4 => (0xff03u16, u16::from(dscp) << 2),
        IpVersion::V6 => (0xf03f, u16::from(dscp) << 6),
    };
    bitwise(w, REGISTER, &mask.to_be_bytes(), &value.to_be_bytes());
    expression(w, LIST_ITEM, "payload", |w| {
        w.u32(5, REGISTER);
        w.u32(2, NETWORK);
        w.u32(3, 0);
        w.u32(4, 2);
        if version == IpVersion::V4 {
            w.u32(6, CHECKSUM_INET);
            w.u32(7, 10);
        }
    });
}

/// nft's language.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_text =
            |key: &[KeyPart], version| key.iter().map(|part| part.text(version)).collect::<Vec<_>>().join(" . ");
        match self {
            Statement::FromLoopback => f.write_str("iif \"lo\""),
            Statement::FromVrf => f.write_str("meta iifkind \"vrf\""),
            Statement::FromOther { set } => write!(f, "iifname != @{set}"),
            Statement::NeighborDiscovery => {
                f.write_str("ip6 nexthdr 58 ip6 hoplimit 255 @th,8,8 0 icmpv6 type 133-137")
            }
            Statement::Test(version, test) => f.write_str(&test.text(*version)),
            Statement::Lookup { version, key, set } => write!(f, "{} @{set}", key_text(key, *version)),
            Statement::VerdictMap { version, key, map } => write!(f, "{} vmap @{map}", key_text(key, *version)),
            Statement::Counter(name) => write!(f, "counter name \"{name}\""),
            Statement::Over(limit) => write!(f, "limit rate over {limit}"),
            Statement::SetDscp(IpVersion::V4, dscp) => write!(f, "ip dscp set {dscp}"),
            Statement::SetDscp(IpVersion::V6, dscp) => write!(f, "ip6 dscp set {dscp}"),
            Statement::Log { group, octets } => write!(f, "log group {group} snaplen {octets}"),
            Statement::Verdict(verdict) => verdict.fmt(f),
        }
    }
}
