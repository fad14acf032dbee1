//! Rules as BIRD, Junos and IOS XR print them, by their sources and documents: what is printed is
//! read back octet for octet.

use super::{Entry, Form, read};
use flowspec::testing::{Seed, Shape, random_nlri};
use flowspec::{BitmaskOp, Comparison, Component, ComponentType, IpVersion, Nlri, NumericOp};

/// A list: each item as the form has it, with the words between them. `None` where the form has no
/// text for it.
fn list<T>(
    items: impl Iterator<Item = T>,
    and: impl Fn(&T) -> bool,
    text: impl Fn(&T) -> Option<String>,
    (joined_and, joined_or): (&str, &str),
) -> Option<String> {
    let mut all = String::new();
    for item in items {
        if !all.is_empty() {
            all += if and(&item) { joined_and } else { joined_or };
        }
        all += &text(&item)?;
    }
    Some(all)
}

fn operator(comparison: Comparison) -> Option<&'static str> {
    match comparison {
        Comparison::Equal => Some("="),
        Comparison::NotEqual => Some("!="),
        Comparison::Less => Some("<"),
        Comparison::LessOrEqual => Some("<="),
        Comparison::Greater => Some(">"),
        Comparison::GreaterOrEqual => Some(">="),
        Comparison::True | Comparison::False => None,
    }
}

fn fragment(value: u64) -> Option<[&'static str; 2]> {
    match value {
        1 => Some(["dont_fragment", "DF"]),
        2 => Some(["is_fragment", "IsF"]),
        4 => Some(["first_fragment", "FF"]),
        8 => Some(["last_fragment", "LF"]),
        _ => None,
    }
}

fn bird(nlri: &Nlri) -> Option<String> {
    let v6 = nlri.family().version() == IpVersion::V6;
    let mut text = format!("flow{} {{ ", if v6 { 6 } else { 4 });
    for component in nlri.components() {
        let name = match component.component_type() {
            ComponentType::Destination => "dst",
            ComponentType::Source => "src",
            ComponentType::Protocol if v6 => "next header",
            ComponentType::Protocol => "proto",
            ComponentType::Port => "port",
            ComponentType::DestinationPort => "dport",
            ComponentType::SourcePort => "sport",
            ComponentType::IcmpType => "icmp type",
            ComponentType::IcmpCode => "icmp code",
            ComponentType::TcpFlags => "tcp flags",
            ComponentType::PacketLength => "length",
            ComponentType::Dscp => "dscp",
            ComponentType::Fragment => "fragment",
            ComponentType::FlowLabel => "label",
        };
        let values = match component {
            Component::Prefix(_, prefix) => {
                let shown = prefix.to_string();
                match shown.split_once('/').and_then(|(address, length)| Some((address, length.split_once('-')?))) {
                    Some((address, (offset, length))) => format!("{address}/{length} offset {offset}"),
                    None => shown,
                }
            }
            Component::Numeric(_, ops) => {
                let item = |op: &NumericOp| match op.comparison {
                    Comparison::Equal => Some(op.value.to_string()),
                    Comparison::True => Some(format!("true {}", op.value)),
                    Comparison::False => Some(format!("false {}", op.value)),
                    other => Some(format!("{} {}", operator(other)?, op.value)),
                };
                list(ops, |op| op.and, item, (" && ", " || "))?
            }
            Component::Bitmask(kind, ops) => {
                let item = |op: &BitmaskOp| match (kind, fragment(op.value), op.not, op.all) {
                    (_, _, true, true) if kind == ComponentType::Fragment => None,
                    (ComponentType::Fragment, Some([name, _]), false, true) => Some(name.to_owned()),
                    (ComponentType::Fragment, Some([name, _]), false, false) => Some(format!("!!{name}")),
                    (ComponentType::Fragment, Some([name, _]), true, false) => Some(format!("!{name}")),
                    (_, _, false, false) => Some(format!("!0x0/{:#x}", op.value)),
                    (_, _, false, true) => Some(format!("{0:#x}/{0:#x}", op.value)),
                    (_, _, true, false) => Some(format!("0x0/{:#x}", op.value)),
                    (_, _, true, true) => Some(format!("!{0:#x}/{0:#x}", op.value)),
                };
                list(ops, |op| op.and, |op| item(op).filter(|_| op.value != 0), (" && ", " || "))?
            }
        };
        text += &format!("{name} {values}; ");
    }
    // As `show route` has it: what stands in a configuration is another matter for labels.
    Some(text + "} [f 12:00:00.000] * (200)")
}

fn junos(nlri: &Nlri) -> Option<String> {
    let (mut prefixes, mut text) = (["*".to_owned(), "*".to_owned()], String::new());
    for component in nlri.components() {
        let name = match component.component_type() {
            ComponentType::Destination | ComponentType::Source => "",
            ComponentType::Protocol => "proto",
            ComponentType::Port => "port",
            ComponentType::DestinationPort => "dstport",
            ComponentType::SourcePort => "srcport",
            ComponentType::IcmpType => "icmp-type",
            ComponentType::IcmpCode => "icmp-code",
            ComponentType::TcpFlags => "tcp-flag",
            ComponentType::PacketLength => "len",
            ComponentType::Dscp => "dscp",
            ComponentType::Fragment => "frag",
            _ => return None,
        };
        match component {
            Component::Prefix(ComponentType::Destination, prefix) => prefixes[0] = prefix.to_string(),
            Component::Prefix(_, prefix) => prefixes[1] = prefix.to_string(),
            Component::Numeric(_, ops) => {
                let item = |op: &NumericOp| Some(format!("{}{}", operator(op.comparison)?, op.value));
                text += &format!(",{name}{}", list(ops, |op| op.and, item, ("&", ","))?);
            }
            Component::Bitmask(_, ops) => {
                let item = |op: &BitmaskOp| {
                    let (not, all) = (if op.not { "!" } else { "" }, if op.all { "=" } else { ":" });
                    Some(format!("{not}{all}{:02x}", op.value))
                };
                text += &format!(",{name}{}", list(ops, |op| op.and, item, ("&", ","))?);
            }
        }
    }
    // Its prefixes have no offset.
    let [dst, src] = prefixes;
    (!dst.contains('-') && !src.contains('-')).then(|| format!("{dst},{src}{text}/term:7 (1 entry, 1 announced)"))
}

fn ios_xr(nlri: &Nlri) -> Option<String> {
    let mut parts = Vec::new();
    for component in nlri.components() {
        let name = match component.component_type() {
            ComponentType::Destination => "Dest",
            ComponentType::Source => "Source",
            ComponentType::Protocol => "Proto",
            ComponentType::Port => "Port",
            ComponentType::DestinationPort => "DPort",
            ComponentType::SourcePort => "SPort",
            ComponentType::IcmpType => "ICMPType",
            ComponentType::IcmpCode => "ICMPCode",
            ComponentType::TcpFlags => "TCPFlags",
            ComponentType::PacketLength => "Length",
            ComponentType::Dscp => "DSCP",
            ComponentType::Fragment => "Frag",
            _ => return None,
        };
        let values = match component {
            Component::Prefix(_, prefix) => Some(prefix.to_string()).filter(|text| !text.contains('-'))?,
            Component::Numeric(_, ops) => {
                let item = |op: &NumericOp| Some(format!("{}{}", operator(op.comparison)?, op.value));
                list(ops, |op| op.and, item, ("&", "|"))?
            }
            Component::Bitmask(kind, ops) => {
                let item = |op: &BitmaskOp| {
                    let (not, all) = (if op.not { "!" } else { "" }, if op.all { "=" } else { "~" });
                    let mask = match kind {
                        ComponentType::Fragment => fragment(op.value)?[1].to_owned(),
                        _ => format!("{:#04x}", op.value),
                    };
                    Some(format!("{not}{all}{mask}"))
                };
                list(ops, |op| op.and, item, ("&", "|"))?
            }
        };
        parts.push(format!("{name}:{values}"));
    }
    Some(format!("  Flow           :{}\n    Actions      :transmit  (bgp.1)", parts.join(",")))
}

#[test]
fn what_is_printed_is_read_back_octet_for_octet() {
    let mut seed = Seed::new(7);
    let mut counts = [0; 3];
    for number in 0..6000 {
        let version = if number % 3 == 0 { IpVersion::V6 } else { IpVersion::V4 };
        let nlri = random_nlri(&mut seed, version, &Shape { wild_values: false, ..Shape::everything() });
        // A number that is not in its smallest width is shown in hex; these forms have no width.
        if nlri.to_string().contains("0x") {
            continue;
        }
        let forms = [(Form::Bird, bird(&nlri)), (Form::Junos, junos(&nlri)), (Form::IosXr, ios_xr(&nlri))];
        for (index, (form, text)) in forms.into_iter().enumerate() {
            let Some(text) = text else { continue };
            let entries = read(&text);
            let [Entry::Rule { rule, .. }] = entries.as_slice() else {
                // Without a prefix nothing says that it is a rule of IPv6.
                assert!(version == IpVersion::V6 && form != Form::Bird, "{nlri}\n{text}\n{entries:?}");
                continue;
            };
            if rule.nlri.family() != nlri.family() && form != Form::Bird {
                continue;
            }
            assert_eq!((rule.form, &rule.nlri), (form, &nlri), "{text}");
            counts[index] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
}
