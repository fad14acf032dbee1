//! The program in nft's language: for people, and for `nft -f`. Pure.

use super::changes::{Changes, Element, SetKind, SetSpec};
use super::field::{KeyPart, Value, unshifted};
use super::limit::{Limit, countable};
use super::options::Options;
use super::program::Program;
use super::statement::Rule;
use super::table::{BASE, PRIORITY, TABLE, family_name};
use crate::kernel::{Unenforced, VERSIONS};
use engine::plan::Ruleset;
use flowspec::{Exemption, IpVersion, Policing};
use std::fmt::{Result, Write};

/// The tables that [`Nftables`](super::Nftables) would create for these rules with its default
/// [`Options`], as text for `nft -f`. Refused rules are comments, with the reason.
///
/// The text cannot express two things that the netlink messages do: a source port, or an ICMP type,
/// exists only if the octets after it that belong to it exist; and an upper-layer header of IPv6
/// exists only where it begins, not in a later fragment.
pub fn render(rules: &Ruleset) -> String {
    let mut out = String::new();
    for version in VERSIONS {
        let mut unenforced = Unenforced::default();
        let (program, changes) = Program::build(version, Options::default(), 1, rules, &mut unenforced);
        for (nlri, failure) in unenforced.applied().failures {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# not in it: {}: {failure:?}", nlri.id());
        }
        let _ = table(&mut out, &program, &changes);
    }
    out
}

fn table(out: &mut String, program: &Program, changes: &Changes) -> Result {
    writeln!(out, "table {} {TABLE} {{", family_name(program.version()))?;
    for name in changes.new_counters.keys() {
        writeln!(out, "\tcounter {name} {{\n\t}}\n")?;
    }
    for spec in &changes.new_sets {
        set(out, spec, changes)?;
    }
    let is_limit = |rule: &&std::sync::Arc<engine::plan::CompiledRule>| {
        matches!(countable(rule.effect.policing), Policing::Limit { .. })
    };
    if program.rules().any(|rule| is_limit(&rule)) {
        writeln!(
            out,
            "\t# a limit in bytes lets one unit of time of its rate and the burst through at once, one in packets the burst"
        )?;
    }
    if program.version() == IpVersion::V6 {
        writeln!(out, "\t# accepted before any rule: {}", Exemption::NeighborDiscovery)?;
    }
    for (name, rules) in changes.rewrite.iter().filter_map(|name| program.chain(name)) {
        chain(out, &name, &rules)?;
    }
    writeln!(out, "}}")
}

fn chain(out: &mut String, name: &str, rules: &[Rule]) -> Result {
    writeln!(out, "\tchain {name} {{")?;
    if name == BASE {
        writeln!(out, "\t\ttype filter hook prerouting priority {PRIORITY}; policy accept;")?;
    }
    for rule in rules {
        let statements: Vec<_> = rule.iter().map(ToString::to_string).collect();
        writeln!(out, "\t\t{}", statements.join(" "))?;
    }
    writeln!(out, "\t}}\n")
}

fn set(out: &mut String, spec: &SetSpec, changes: &Changes) -> Result {
    let fields: Vec<_> = spec.key.iter().map(|part| part.field.name(spec.version)).collect();
    let fields = fields.join(" . ");
    match spec.kind {
        SetKind::Plain => writeln!(out, "\tset {} {{\n\t\ttypeof {fields}", spec.name)?,
        SetKind::Counted => writeln!(out, "\tset {} {{\n\t\ttypeof {fields}\n\t\tcounter", spec.name)?,
        SetKind::Limits(unit) => {
            let limit = Limit::new(unit, 1.0);
            writeln!(out, "\tset {} {{\n\t\ttypeof {fields}\n\t\tlimit rate over {limit}", spec.name)?;
        }
        SetKind::Verdicts => writeln!(out, "\tmap {} {{\n\t\ttypeof {fields} : verdict", spec.name)?,
        SetKind::Interfaces => writeln!(out, "\tset {} {{\n\t\ttype ifname", spec.name)?,
    }
    let mut elements: Vec<_> = changes.add.get(&spec.name).into_iter().flatten().collect();
    elements.sort_unstable_by_key(|(key, _)| *key);
    if !elements.is_empty() {
        let elements: Vec<_> = elements.into_iter().map(|(key, element)| element_text(spec, key, element)).collect();
        writeln!(out, "\t\telements = {{ {} }}", elements.join(",\n\t\t             "))?;
    }
    writeln!(out, "\t}}\n")
}

fn element_text(spec: &SetSpec, key: &[u8], element: &Element) -> String {
    let mut text = match spec.kind {
        SetKind::Interfaces => {
            format!("\"{}\"", String::from_utf8_lossy(key).trim_end_matches('\0'))
        }
        SetKind::Plain | SetKind::Counted | SetKind::Limits(_) | SetKind::Verdicts => {
            key_text(&spec.key, spec.version, key)
        }
    };
    text += &match element {
        Element::Plain => String::new(),
        Element::Verdict(verdict) => format!(" : {verdict}"),
        Element::Counted(rule, _) => format!(" comment \"{rule}\""),
        Element::OverLimit(limit) => format!(" limit rate over {limit}"),
    };
    text
}

fn key_text(parts: &[KeyPart], version: IpVersion, mut key: &[u8]) -> String {
    let mut values = Vec::new();
    for part in parts {
        let (value, rest) = key.split_at((part.register_octets(version) as usize).min(key.len()));
        let octets = &value[..part.field.octets(version) as usize];
        let raw = octets.iter().fold(0, |raw, &octet| raw << 8 | u128::from(octet));
        let raw = unshifted(part.field, version, raw);
        values.push(Value { field: part.field, version, raw }.to_string());
        key = rest;
    }
    values.join(" . ")
}
