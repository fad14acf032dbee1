//! A random rule, printed as ExaBGP 4.2.21 and 5.0.15 print it (written from their source), is
//! parsed as the same rule, or refused if they print something ambiguous.

use bgp::{Destination, RouteKey};
use exabgp::{Message, read};
use flowspec::testing::{Seed, Shape, random_nlri, random_rule};
use flowspec::{BitmaskOp, Community, Comparison, Component, ComponentType, IpVersion, Nlri, NumericOp, Prefix, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exabgp {
    V4,
    V5,
}

/// A component as ExaBGP has it: its name, and its JSON items and text.
struct Printed {
    name: &'static str,
    json: String,
    text: String,
}

fn name(kind: ComponentType, version: IpVersion) -> &'static str {
    let v6 = version == IpVersion::V6;
    match kind {
        ComponentType::Destination => {
            if v6 {
                "destination-ipv6"
            } else {
                "destination-ipv4"
            }
        }
        ComponentType::Source => {
            if v6 {
                "source-ipv6"
            } else {
                "source-ipv4"
            }
        }
        ComponentType::Protocol => {
            if v6 {
                "next-header"
            } else {
                "protocol"
            }
        }
        ComponentType::Port => "port",
        ComponentType::DestinationPort => "destination-port",
        ComponentType::SourcePort => "source-port",
        ComponentType::IcmpType => "icmp-type",
        ComponentType::IcmpCode => "icmp-code",
        ComponentType::TcpFlags => "tcp-flags",
        ComponentType::PacketLength => "packet-length",
        ComponentType::Dscp => {
            if v6 {
                "traffic-class"
            } else {
                "dscp"
            }
        }
        ComponentType::Fragment => "fragment",
        ComponentType::FlowLabel => "flow-label",
    }
}

fn number(exabgp: Exabgp, kind: ComponentType, value: u64) -> String {
    let named = match (kind, value) {
        (ComponentType::Protocol, 1) => "icmp",
        (ComponentType::Protocol, 6) => "tcp",
        (ComponentType::Protocol, 17) => "udp",
        (ComponentType::Protocol, 94) => "ipip",
        (ComponentType::IcmpType, 0) => "echo-reply",
        (ComponentType::IcmpType, 8) => "echo-request",
        (ComponentType::Protocol, _) if exabgp == Exabgp::V4 => return format!("unknown protocol type {value}"),
        (ComponentType::IcmpType, _) if exabgp == Exabgp::V4 => return format!("unknown icmp type type {value}"),
        _ => return value.to_string(),
    };
    named.to_owned()
}

/// NumericString.__str__.
fn numeric(exabgp: Exabgp, kind: ComponentType, op: NumericOp) -> String {
    let sign = match op.comparison {
        Comparison::True => "true",
        Comparison::False => "false",
        Comparison::Less => "<",
        Comparison::Greater => ">",
        Comparison::Equal => "=",
        Comparison::LessOrEqual => "<=",
        Comparison::GreaterOrEqual => ">=",
        Comparison::NotEqual => "!=",
    };
    let value = number(exabgp, kind, op.value);
    match (op.and, op.comparison) {
        (false, Comparison::True | Comparison::False) => sign.to_owned(),
        (and, _) => format!("{}{sign}{value}", if and { "&" } else { "" }),
    }
}

/// BitResource.bits.
fn bits(exabgp: Exabgp, kind: ComponentType, value: u64) -> Vec<String> {
    let tcp = [
        ("fin", 1),
        ("syn", 2),
        ("rst", 4),
        ("push", 8),
        ("ack", 16),
        ("urg", 32),
        ("ece", 64),
        ("cwr", 128),
        ("ns", 256),
    ];
    let fragment = [("dont-fragment", 1), ("is-fragment", 2), ("first-fragment", 4), ("last-fragment", 8)];
    let (names, what): (&[(&str, u64)], &str) =
        if kind == ComponentType::TcpFlags { (&tcp, "tcp flag") } else { (&fragment, "fragment") };
    if value == 0 && kind == ComponentType::Fragment && exabgp == Exabgp::V4 {
        return vec!["not-a-fragment".to_owned()];
    }
    let mut words: Vec<String> =
        names.iter().filter(|(_, bit)| value & bit != 0).map(|(name, _)| (*name).to_owned()).collect();
    if value & !names.iter().fold(0, |all, (_, bit)| all | bit) != 0 {
        words.push(format!("unknown {what} type {value}"));
    }
    words
}

fn sign(op: BitmaskOp) -> String {
    [(op.and, "&"), (op.not, "!"), (op.all, "=")].iter().filter(|(there, _)| *there).map(|(_, sign)| *sign).collect()
}

/// Flow.json and Flow._rules, of one component.
fn component(exabgp: Exabgp, version: IpVersion, component: &Component<'_>) -> Printed {
    let kind = component.component_type();
    let (ops, json_pieces): (Vec<(bool, String)>, Vec<String>) = match component {
        Component::Prefix(_, prefix) => {
            let text = match prefix {
                Prefix::V4(net) => net.to_string(),
                Prefix::V6(p) => format!("{}/{}/{}", std::net::Ipv6Addr::from(p.bits()), p.length(), p.offset()),
            };
            (vec![(false, text.clone())], vec![format!("\"{text}\"")])
        }
        Component::Numeric(_, ops) => {
            let printed: Vec<_> = (*ops).map(|op| (op.and, numeric(exabgp, kind, op))).collect();
            let pieces = printed.iter().map(|(_, text)| format!("\"{text}\"")).collect();
            (printed, pieces)
        }
        Component::Bitmask(_, ops) => (*ops)
            .map(|op| {
                let words = bits(exabgp, kind, op.value);
                let text = format!("{}{}", sign(op), words.join("+"));
                let piece = match exabgp {
                    Exabgp::V5 => format!("\"{text}\""),
                    Exabgp::V4 => {
                        let split: Vec<String> = words.iter().map(|word| format!("\"{}{word}\"", sign(op))).collect();
                        split.join(", ").replace("!is-fragment", "not-a-fragment")
                    }
                };
                ((op.and, text), piece)
            })
            .unzip(),
    };
    let join = |separator: &str, pieces: &[String]| {
        let mut text = String::new();
        for (index, ((and, _), piece)) in ops.iter().zip(pieces).enumerate() {
            if index > 0 && !and {
                text.push_str(separator);
            }
            text.push_str(piece);
        }
        text
    };
    let texts: Vec<String> = ops.iter().map(|(_, text)| text.clone()).collect();
    let line = join(" ", &texts);
    let text = if texts.len() > 1 { format!("[ {line} ]") } else { line };
    let json = match exabgp {
        Exabgp::V4 => join(", ", &json_pieces).replace("\"\"", ""),
        // Items are joined before they are quoted.
        Exabgp::V5 => {
            let items = join("\u{1}", &texts);
            items.split('\u{1}').map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
        }
    };
    Printed { name: name(kind, version), json, text }
}

/// The line of an announcement.
fn line(exabgp: Exabgp, rule: &Rule) -> String {
    let version = rule.nlri.family().version();
    let components: Vec<Printed> = rule.nlri.components().map(|c| component(exabgp, version, &c)).collect();
    let members: Vec<String> = components.iter().map(|c| format!(r#""{}": [ {} ]"#, c.name, c.json)).collect();
    let text: String = components.iter().map(|c| format!(" {} {}", c.name, c.text)).collect();
    let communities = |octets: usize| {
        let values = rule.actions.iter().map(|action| action.encode());
        let values = values.filter(|community| community.as_bytes().len() == octets);
        values.map(|community| format!(r#"{{ "value": {}, "string": "" }}"#, decimal(community))).collect::<Vec<_>>()
    };
    let (extended, ipv6) = (communities(8), communities(20));
    let mut attributes = r#""origin": "igp""#.to_owned();
    for (name, list) in [("extended-community", extended), ("extended-community-ipv6", ipv6)] {
        if !list.is_empty() {
            attributes.push_str(&format!(r#", "{name}": [ {} ]"#, list.join(", ")));
        }
    }
    let (number, family) = (if exabgp == Exabgp::V4 { "4.0.1" } else { "5.0.0" }, version_name(version));
    format!(
        r#"{{ "exabgp": "{number}", "type": "update", "neighbor": {{ "address": {{ "local": "192.0.2.2", "peer": "192.0.2.1" }},
        "direction": "in", "message": {{ "update": {{ "attribute": {{ {attributes} }}, "announce": {{ "{family} flow": {{ "no-nexthop":
        [ {{ {}, "string": "flow{text}" }} ] }} }} }} }} }} }}"#,
        members.join(", ")
    )
}

fn version_name(version: IpVersion) -> &'static str {
    if version == IpVersion::V6 { "ipv6" } else { "ipv4" }
}

/// A community as a decimal number, as Python prints it: long division.
fn decimal(community: Community) -> String {
    let mut octets = community.as_bytes().to_vec();
    let mut digits = Vec::new();
    while octets.iter().any(|octet| *octet != 0) {
        let mut rest = 0u32;
        for octet in &mut octets {
            let value = rest << 8 | u32::from(*octet);
            *octet = u8::try_from(value / 10).unwrap();
            rest = value % 10;
        }
        digits.push(char::from_digit(rest, 10).unwrap());
    }
    if digits.is_empty() { "0".to_owned() } else { digits.into_iter().rev().collect() }
}

/// The rule that ExaBGP's words can say: every number in its smallest width, and no value where it
/// does not count.
fn narrow(nlri: &Nlri) -> Nlri {
    let mut builder = Nlri::builder(nlri.family());
    for component in nlri.components() {
        let kind = component.component_type();
        builder = match component {
            Component::Prefix(_, prefix) => builder.prefix(kind, prefix),
            Component::Numeric(_, ops) => {
                let ops: Vec<NumericOp> = ops
                    .map(|op| {
                        let always = matches!(op.comparison, Comparison::True | Comparison::False);
                        let value = if always && !op.and { 0 } else { op.value };
                        NumericOp { value, width: kind.width_for(value), ..op }
                    })
                    .collect();
                builder.numeric(kind, &ops)
            }
            Component::Bitmask(_, ops) => {
                let ops: Vec<BitmaskOp> =
                    ops.map(|op| BitmaskOp { width: flowspec::Width::for_value(op.value), ..op }).collect();
                builder.bitmask(kind, &ops)
            }
        };
    }
    builder.build().unwrap()
}

/// Whether ExaBGP has words for all of it.
fn can_be_said(exabgp: Exabgp, nlri: &Nlri) -> bool {
    nlri.components().all(|component| match component {
        Component::Prefix(_, Prefix::V6(pattern)) => pattern.offset() == 0 || exabgp == Exabgp::V5,
        Component::Bitmask(ComponentType::TcpFlags, mut ops) => ops.all(|op| op.value <= 0x1ff),
        Component::Bitmask(_, mut ops) => ops.all(|op| op.value <= 0x0f),
        _ => true,
    })
}

fn without_bits(nlri: &Nlri) -> bool {
    nlri.components().any(|component| match component {
        Component::Bitmask(_, mut ops) => ops.any(|op| op.value == 0),
        _ => false,
    })
}

#[test]
fn a_rule_that_exabgp_prints_is_read_as_the_same_rule() {
    let mut seed = Seed::new(0xe8a);
    let (mut same, mut refused) = (0, 0);
    for round in 0..8000 {
        let version = if round % 2 == 0 { IpVersion::V4 } else { IpVersion::V6 };
        let exabgp = if round % 4 < 2 { Exabgp::V4 } else { Exabgp::V5 };
        let mut rule = random_rule(&mut seed, version, &Shape::everything());
        rule.nlri = random_nlri(&mut seed, version, &Shape::everything());
        let line = line(exabgp, &rule);
        // A mask without bits is nothing between two commas in version 4: no good JSON.
        let message = match read(line.as_bytes()) {
            Err(_) if exabgp == Exabgp::V4 && without_bits(&rule.nlri) => continue,
            other => other.unwrap_or_else(|misread| panic!("{misread}\n{line}")),
        };
        let Message::Update(_, update, misread) = message else { panic!("{line}") };
        // An operator of nothing but `&` may be two.
        if !misread.is_empty() && without_bits(&rule.nlri) {
            continue;
        }
        let routes: Vec<&RouteKey> = update.announced.iter().flat_map(|group| &group.routes).collect();
        if can_be_said(exabgp, &rule.nlri) {
            assert_eq!(misread, [], "{rule}\n{line}");
            assert_eq!(routes.len(), 1, "{line}");
            assert_eq!(routes[0].destination, Destination::Flow(narrow(&rule.nlri)), "{exabgp:?} {rule}\n{line}");
            let actions = update.announced[0].attributes.actions().unwrap();
            let of = |octets: usize| {
                let actions = rule.actions.iter().map(|action| action.encode());
                actions.filter(move |community| community.as_bytes().len() == octets)
            };
            let wanted: Vec<Community> = of(8).chain(of(20)).collect();
            assert_eq!(actions.iter().map(|action| action.encode()).collect::<Vec<_>>(), wanted, "{line}");
            same += 1;
        } else {
            assert_eq!((routes.len(), misread.len()), (0, 1), "{rule}\n{line}");
            refused += 1;
        }
    }
    assert!(same > 5000 && refused > 100, "{same} {refused}");
}
