//! Rules as generated code, for comparison: what a generator with this back end's packet key would
//! write, one condition a rule, in order.

use super::layout::{LANE_DESTINATION, LANE_LENGTH, LANE_SOURCE, LENGTH_LANE, PORT_LANE};
use super::record::records;
use engine::plan::Ruleset;
use flowspec::{IpVersion, RuleId};
use std::fmt::Write;

/// Rules of one function. The verifier checks each function separately, and the number of paths
/// through one multiplies; there can be 255 functions.
const PART: usize = 64;

/// Why a rule cannot be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGenerated {
    /// Its packets are of another IP version.
    #[error("rule {0} is not of IPv4")]
    Version(RuleId),
    /// It needs lists.
    #[error("rule {0} compares lists")]
    Lists(RuleId),
}

/// The C source of a program `generated` that drops what these rules match; compiled together with
/// `bpf/harness.c`. All rules must be IPv4 discard rules without lists.
///
/// # Errors
/// A rule is of another kind.
pub fn as_code(rules: &Ruleset) -> Result<String, NotGenerated> {
    let mut text = String::from("#include \"harness.c\"\n\n");
    let parts = rules.rules.chunks(PART);
    let calls: String = (0..parts.len()).map(|n| format!("\tif (!found)\n\t\tfound = part{n}(key);\n")).collect();
    for (n, part) in parts.enumerate() {
        let _ = writeln!(text, "__noinline __u32 part{n}(const struct key *key)\n{{\n\t__u64 k, t;\n\t__u32 d;\n");
        text += "\tif (!key)\n\t\treturn 0;\n\tk = key->k;\n\tt = key->t;\n\td = key->destination_lo;\n";
        for (at, rule) in part.iter().enumerate() {
            let number = n * PART + at;
            for space in &rule.entries {
                if space.version() != IpVersion::V4 {
                    return Err(NotGenerated::Version(rule.id));
                }
                let found = records(space, false);
                if found.extra.is_some() {
                    return Err(NotGenerated::Lists(rule.id));
                }
                for record in &found.records {
                    let mut conditions = Vec::new();
                    if let Some(network) = found.bucket.filter(|network| network.length > 0) {
                        let mask = u32::MAX << (32 - u32::from(network.length));
                        conditions.push(format!("(d & {mask:#x}U) == {:#x}U", (network.bits >> 96) as u32));
                    }
                    if record.mask != 0 {
                        conditions.push(format!("(t & {:#x}ULL) == {:#x}ULL", record.mask, record.value));
                    }
                    if record.lo != 0 || record.hi & ALL_LANES != ALL_LANES {
                        conditions.push(format!("within(k, {:#x}ULL, {:#x}ULL)", record.lo, record.hi));
                    }
                    let condition = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" && ") };
                    let _ = writeln!(text, "\tif ({condition})\n\t\treturn META_FOUND | {number};");
                }
            }
        }
        text += "\treturn 0;\n}\n\n";
    }
    let _ = write!(
        text,
        "SEC(\"xdp\")\nint generated(struct xdp_md *ctx)\n{{\n\tstruct key *key = at(&keys, 0);\n\t__u32 found = 0;\n\n\
         \tif (!key || !take_next(ctx) || parse(ctx, key).outcome != 4)\n\t\treturn XDP_PASS;\n{calls}\
         \tif (!found)\n\t\treturn XDP_PASS;\n\tcount(found & META_RULE, key->length, 1);\n\treturn XDP_DROP;\n}}\n"
    );
    Ok(text)
}

const ALL_LANES: u64 = PORT_LANE << LANE_SOURCE | PORT_LANE << LANE_DESTINATION | LENGTH_LANE << LANE_LENGTH;
