//! The statements of an nf_tables rule: tests, lookups, counters, limits, verdicts; as messages and
//! as nft text.

use super::field::{Field, KeyPart, Place, Test};
use super::limit::Limit;
use super::nf_tables::*;
use super::wire::Writer;
use flowspec::IpVersion;
use std::fmt;

/// The register for keys and values: the first of 16 registers of 4 octets.
const REGISTER: u32 = NFT_REG32_00;

/// The verdict of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verdict {
    Drop,
    Accept,
    /// To a chain, and back after this rule when that chain ends.
    Jump(String),
    /// To a chain, and back to the caller of this one.
    Goto(String),
}

/// One statement; a rule is a list of them, evaluated while each matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statement {
    /// The packet was received on the loopback interface.
    FromLoopback,
    /// The packet traverses the hook a second time, now as one of a VRF: it was filtered at
    /// ingress.
    FromVrf,
    /// The packet was received on an interface whose name is not in this set.
    FromOther {
        set: String,
    },
    /// IPv6: the packet is a message of neighbour discovery
    /// ([`flowspec::Packet::is_neighbor_discovery`]).
    NeighborDiscovery,
    Test(IpVersion, Test),
    /// The key is in the set; the counter of its element counts.
    Lookup {
        version: IpVersion,
        key: Vec<KeyPart>,
        set: String,
    },
    /// The key's element has the verdict; without an element the rule does not match.
    VerdictMap {
        version: IpVersion,
        key: Vec<KeyPart>,
        map: String,
    },
    /// A named counter.
    Counter(String),
    /// The rate is over the limit.
    OverLimit(Limit),
    SetDscp(IpVersion, u8),
    /// To this nflog group.
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

/// Writes an expression: its name and the attributes that `body` writes.
pub(super) fn expression(w: &mut Writer, item: u16, name: &str, body: impl FnOnce(&mut Writer)) {
    w.nest(item, |w| {
        w.str(NFTA_EXPR_NAME, name);
        w.nest(NFTA_EXPR_DATA, body);
    });
}

impl Statement {
    /// Writes its expressions.
    fn encode(&self, w: &mut Writer) {
        match self {
            Statement::FromLoopback => {
                meta(w, NFT_META_IIF);
                // Its index is 1 in every network namespace.
                compare(w, NFT_CMP_EQ, &1u32.to_ne_bytes());
            }
            Statement::FromVrf => {
                // If the interface has no kind, as a network card, the rule ends without a match.
                meta(w, NFT_META_IIFKIND);
                let mut kind = [0; 16];
                kind[..3].copy_from_slice(b"vrf");
                compare(w, NFT_CMP_EQ, &kind);
            }
            Statement::FromOther { set } => {
                meta(w, NFT_META_IIFNAME);
                expression(w, NFTA_LIST_ELEM, "lookup", |w| {
                    w.str(NFTA_LOOKUP_SET, set);
                    w.u32(NFTA_LOOKUP_SREG, REGISTER);
                    w.u32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
                });
            }
            Statement::NeighborDiscovery => {
                // Next Header ICMPv6 and hop limit 255: two adjacent octets, which no other packet
                // has.
                payload(w, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, REGISTER);
                compare(w, NFT_CMP_EQ, &[58, 255]);
                // Type and code; if one is missing, the rule ends without a match.
                payload(w, NFT_PAYLOAD_TRANSPORT_HEADER, 1, 1, REGISTER);
                compare(w, NFT_CMP_EQ, &[0]);
                payload(w, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, REGISTER);
                expression(w, NFTA_LIST_ELEM, "range", |w| {
                    w.u32(NFTA_RANGE_SREG, REGISTER);
                    w.u32(NFTA_RANGE_OP, NFT_RANGE_EQ);
                    w.nest(NFTA_RANGE_FROM_DATA, |w| w.bytes(NFTA_DATA_VALUE, &[133]));
                    w.nest(NFTA_RANGE_TO_DATA, |w| w.bytes(NFTA_DATA_VALUE, &[137]));
                });
            }
            Statement::Test(version, test) => encode_test(w, *version, test),
            Statement::Lookup { version, key, set } => {
                load_key(w, *version, key);
                expression(w, NFTA_LIST_ELEM, "lookup", |w| {
                    w.str(NFTA_LOOKUP_SET, set);
                    w.u32(NFTA_LOOKUP_SREG, REGISTER);
                });
            }
            Statement::VerdictMap { version, key, map } => {
                load_key(w, *version, key);
                expression(w, NFTA_LIST_ELEM, "lookup", |w| {
                    w.str(NFTA_LOOKUP_SET, map);
                    w.u32(NFTA_LOOKUP_SREG, REGISTER);
                    w.u32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
                });
            }
            Statement::Counter(name) => expression(w, NFTA_LIST_ELEM, "objref", |w| {
                w.u32(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
                w.str(NFTA_OBJREF_IMM_NAME, name);
            }),
            Statement::OverLimit(limit) => expression(w, NFTA_LIST_ELEM, "limit", |w| limit.encode(w)),
            Statement::SetDscp(version, dscp) => set_dscp(w, *version, *dscp),
            Statement::Log { group, octets } => expression(w, NFTA_LIST_ELEM, "log", |w| {
                w.bytes(NFTA_LOG_GROUP, &group.to_be_bytes());
                w.u32(NFTA_LOG_SNAPLEN, *octets);
            }),
            Statement::Verdict(verdict) => expression(w, NFTA_LIST_ELEM, "immediate", |w| {
                w.u32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                w.nest(NFTA_IMMEDIATE_DATA, |w| verdict.encode(w));
            }),
        }
    }
}

impl Verdict {
    /// Its number, which the kernel reads as signed.
    pub(super) const fn code(&self) -> u32 {
        (match self {
            Verdict::Drop => NF_DROP,
            Verdict::Accept => NF_ACCEPT,
            Verdict::Jump(_) => NFT_JUMP,
            Verdict::Goto(_) => NFT_GOTO,
        }) as u32
    }

    /// The target chain.
    pub(super) fn chain(&self) -> Option<&str> {
        match self {
            Verdict::Drop | Verdict::Accept => None,
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
        }
    }

    /// Writes it as data.
    pub(super) fn encode(&self, w: &mut Writer) {
        w.nest(NFTA_DATA_VERDICT, |w| {
            w.u32(NFTA_VERDICT_CODE, self.code());
            if let Some(chain) = self.chain() {
                w.str(NFTA_VERDICT_CHAIN, chain);
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

/// IPPROTO_FRAGMENT.
const FRAGMENT_HEADER: u8 = 44;

fn meta(w: &mut Writer, key: u32) {
    meta_into(w, key, REGISTER);
}

fn meta_into(w: &mut Writer, key: u32, register: u32) {
    expression(w, NFTA_LIST_ELEM, "meta", |w| {
        w.u32(NFTA_META_KEY, key);
        w.u32(NFTA_META_DREG, register);
    });
}

fn compare(w: &mut Writer, operator: u32, value: &[u8]) {
    expression(w, NFTA_LIST_ELEM, "cmp", |w| {
        w.u32(NFTA_CMP_SREG, REGISTER);
        w.u32(NFTA_CMP_OP, operator);
        w.nest(NFTA_CMP_DATA, |w| w.bytes(NFTA_DATA_VALUE, value));
    });
}

fn payload(w: &mut Writer, base: u32, offset: u32, octets: u32, register: u32) {
    expression(w, NFTA_LIST_ELEM, "payload", |w| {
        w.u32(NFTA_PAYLOAD_DREG, register);
        w.u32(NFTA_PAYLOAD_BASE, base);
        w.u32(NFTA_PAYLOAD_OFFSET, offset);
        w.u32(NFTA_PAYLOAD_LEN, octets);
    });
}

fn bitwise(w: &mut Writer, register: u32, mask: &[u8], xor: &[u8]) {
    expression(w, NFTA_LIST_ELEM, "bitwise", |w| {
        w.u32(NFTA_BITWISE_SREG, register);
        w.u32(NFTA_BITWISE_DREG, register);
        w.u32(NFTA_BITWISE_LEN, mask.len() as u32); // at most 16
        w.u32(NFTA_BITWISE_OP, NFT_BITWISE_MASK_XOR);
        w.nest(NFTA_BITWISE_MASK, |w| w.bytes(NFTA_DATA_VALUE, mask));
        w.nest(NFTA_BITWISE_XOR, |w| w.bytes(NFTA_DATA_VALUE, xor));
    });
}

/// Reads octets of a header of an IPv6 packet, or whether there is one. The kernel searches the
/// extension headers for it, and finds an upper-layer header, too: only where it begins, not in
/// later fragments.
fn header_of_v6(w: &mut Writer, header: u8, offset: u32, octets: u32, present: bool) {
    expression(w, NFTA_LIST_ELEM, "exthdr", |w| {
        w.u32(NFTA_EXTHDR_DREG, REGISTER);
        w.bytes(NFTA_EXTHDR_TYPE, &[header]);
        w.u32(NFTA_EXTHDR_OFFSET, offset);
        w.u32(NFTA_EXTHDR_LEN, octets);
        w.u32(NFTA_EXTHDR_FLAGS, if present { NFT_EXTHDR_F_PRESENT } else { 0 });
    });
}

/// Reads a field and leaves its bits under `mask` in the register.
fn load(w: &mut Writer, version: IpVersion, field: Field, mask: u128, register: u32) {
    match field.place(version) {
        Place::Network { offset, octets } => payload(w, NFT_PAYLOAD_NETWORK_HEADER, offset, octets, register),
        Place::Upper { offset, octets, needs } => {
            if let Some((offset, octets)) = needs {
                payload(w, NFT_PAYLOAD_TRANSPORT_HEADER, offset, octets, register);
            }
            payload(w, NFT_PAYLOAD_TRANSPORT_HEADER, offset, octets, register);
        }
        Place::Protocol => meta_into(w, NFT_META_L4PROTO, register),
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
            return compare(w, NFT_CMP_EQ, &[0]);
        }
        Test::UpperHeader(protocol) => {
            header_of_v6(w, protocol, 0, 1, true);
            return compare(w, NFT_CMP_EQ, &[1]);
        }
    };
    load(w, version, field, mask, REGISTER);
    let octets = field.octets(version) as usize;
    let data = |value: u128| value.to_be_bytes()[16 - octets..].to_vec();
    let max = mask & (u128::MAX >> (128 - 8 * octets));
    match (first, last) {
        _ if first == last => compare(w, NFT_CMP_EQ, &data(first)),
        // Only that the field exists.
        (0, _) if last >= max => {}
        (1, _) if last >= max => compare(w, NFT_CMP_NEQ, &data(0)),
        (0, _) => compare(w, NFT_CMP_LTE, &data(last)),
        _ if last >= max => compare(w, NFT_CMP_GTE, &data(first)),
        _ => expression(w, NFTA_LIST_ELEM, "range", |w| {
            w.u32(NFTA_RANGE_SREG, REGISTER);
            w.u32(NFTA_RANGE_OP, NFT_RANGE_EQ);
            w.nest(NFTA_RANGE_FROM_DATA, |w| w.bytes(NFTA_DATA_VALUE, &data(first)));
            w.nest(NFTA_RANGE_TO_DATA, |w| w.bytes(NFTA_DATA_VALUE, &data(last)));
        }),
    }
}

/// Two octets are written, also for IPv4, so that the checksum is updated for a whole word.
fn set_dscp(w: &mut Writer, version: IpVersion, dscp: u8) {
    payload(w, NFT_PAYLOAD_NETWORK_HEADER, 0, 2, REGISTER);
    let (mask, value) = match version {
        IpVersion::V4 => (0xff03u16, u16::from(dscp) << 2),
        IpVersion::V6 => (0xf03f, u16::from(dscp) << 6),
    };
    bitwise(w, REGISTER, &mask.to_be_bytes(), &value.to_be_bytes());
    expression(w, NFTA_LIST_ELEM, "payload", |w| {
        w.u32(NFTA_PAYLOAD_SREG, REGISTER);
        w.u32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
        w.u32(NFTA_PAYLOAD_OFFSET, 0);
        w.u32(NFTA_PAYLOAD_LEN, 2);
        if version == IpVersion::V4 {
            w.u32(NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
            w.u32(NFTA_PAYLOAD_CSUM_OFFSET, 10); // of an IPv4 header
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
            Statement::OverLimit(limit) => write!(f, "limit rate over {limit}"),
            Statement::SetDscp(IpVersion::V4, dscp) => write!(f, "ip dscp set {dscp}"),
            Statement::SetDscp(IpVersion::V6, dscp) => write!(f, "ip6 dscp set {dscp}"),
            Statement::Log { group, octets } => write!(f, "log group {group} snaplen {octets}"),
            Statement::Verdict(verdict) => verdict.fmt(f),
        }
    }
}
