//! One compiled entry as the fields of an ACL rule.

use flowspec::space::{Cube, IntervalSet};
use flowspec::{ComponentType, Effect, IpVersion, Policing, Prefix, RuleId, Space};
use std::net::Ipv6Addr;

/// The fields of an ACL rule without its priority, by name, ascending.
pub(super) type Fields = Vec<(String, String)>;

/// An ACL rule that has no priority yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: IpVersion,
    pub(super) fields: Fields,
    pub(super) kind: Kind,
    /// The policer that it names, if it limits a rate.
    pub(super) policer: Option<Policer>,
    /// A stable name from the owner and the contents.
    stem: String,
}

/// What an ACL rule does to packets, in the order in which rules are written; they are deleted in
/// reverse order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Accepts them.
    Forward,
    /// Drops what is above a rate.
    Limit,
    /// Drops them.
    Drop,
}

/// A policer of CONFIG_DB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Policer {
    pub(super) name: String,
    pub(super) fields: Fields,
}

/// An entry that an ACL rule cannot express. The compiler makes none, so this would be a bug, which
/// must not reach the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of one of its entries cannot be written as an ACL rule")]
pub struct Unwritable(ComponentType);

/// The owner of an ACL rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A rule.
    Rule(RuleId),
    /// A protected space.
    Protection,
}

/// The prefix of the names of ACL rules without a rule.
const PROTECTION: &str = "protected";

/// The prefix of the names of our policers.
pub(super) const POLICER_PREFIX: &str = "FLOODGATE_";

/// Smallest burst of a policer in octets: room for a jumbo frame.
const LEAST_BURST: u64 = 16_384;

impl Entry {
    pub(super) fn new(space: &Space, effect: &Effect, owner: Owner) -> Result<Entry, Unwritable> {
        let mut fields = Fields::new();
        write_match(&mut fields, space)?;
        let owner = match owner {
            Owner::Rule(id) => id.to_string(),
            Owner::Protection => PROTECTION.to_owned(),
        };
        let policer = Policer::of(effect, &owner);
        let kind = match effect.policing {
            Policing::Discard => Kind::Drop,
            Policing::Limit { .. } => Kind::Limit,
            Policing::None => Kind::Forward,
        };
        push(&mut fields, "PACKET_ACTION", if kind == Kind::Drop { "DROP" } else { "FORWARD" });
        if let Some(policer) = &policer {
            push(&mut fields, "POLICER_ACTION", &policer.name);
        }
        fields.sort_unstable();
        let stem = format!("{owner}_{:016x}", hash(&fields));
        Ok(Entry { version: space.version(), fields, kind, policer, stem })
    }

    /// The name of an ACL rule with this priority. `copy` distinguishes those that would have the
    /// same.
    pub(super) fn key(&self, priority: u32, copy: u32) -> String {
        match copy {
            0 => format!("{}_{priority}", self.stem),
            copy => format!("{}_{priority}_{copy}", self.stem),
        }
    }

    /// All fields.
    pub(super) fn with_priority(&self, priority: u32) -> Fields {
        let mut fields = self.fields.clone();
        push(&mut fields, "PRIORITY", &priority.to_string());
        fields.sort_unstable();
        fields
    }

    /// A stable name from the owner and the contents.
    pub(super) fn stem(&self) -> &str {
        &self.stem
    }
}

/// The stem of an ACL rule with this name and these fields, as [`Entry::stem`] would have it.
pub(super) fn stem_of(key: &str, fields: &Fields) -> String {
    let owner = key.split('_').next().unwrap_or_default();
    let without: Vec<_> = fields.iter().filter(|(name, _)| name != "PRIORITY").cloned().collect();
    format!("{owner}_{:016x}", hash(&without))
}

/// The rule that an ACL rule with this name belongs to, if any.
pub(super) fn rule_of(key: &str) -> Option<RuleId> {
    key.split('_').next()?.parse().ok()
}

/// The effect of an ACL rule with these fields.
pub(super) fn kind_of(fields: &Fields) -> Kind {
    let value = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    match (value("PACKET_ACTION"), value("POLICER_ACTION")) {
        (_, Some(_)) => Kind::Limit,
        (Some("FORWARD"), None) => Kind::Forward,
        _ => Kind::Drop,
    }
}

/// The priority in these fields.
pub(super) fn priority_of(fields: &Fields) -> Option<u32> {
    fields.iter().find(|(name, _)| name == "PRIORITY").and_then(|(_, value)| value.parse().ok())
}

/// FNV-1a. The next run of the program recognises the names, so it must not change.
fn hash(fields: &Fields) -> u64 {
    let texts = fields.iter().flat_map(|(name, value)| [name.as_str(), "=", value.as_str(), "\n"]);
    texts
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn push(fields: &mut Fields, name: &str, value: &str) {
    fields.push((name.to_owned(), value.to_owned()));
}

fn write_match(fields: &mut Fields, space: &Space) -> Result<(), Unwritable> {
    let version = space.version();
    let by_version = |v4: &'static str, v6: &'static str| if version == IpVersion::V4 { v4 } else { v6 };
    for field in [ComponentType::Port, ComponentType::PacketLength, ComponentType::FlowLabel] {
        if space.fields().has(field) {
            return Err(Unwritable(field));
        }
    }
    if space.fragment().is_some() && !space.fragment_is_implied() {
        return Err(Unwritable(ComponentType::Fragment));
    }
    // Without the family, rules match packets of other protocols on some ASICs.
    push(fields, "IP_TYPE", by_version("IPV4ANY", "IPV6ANY"));
    if version == IpVersion::V4 {
        push(fields, "ETHER_TYPE", "0x0800");
    }
    for (name, prefix) in
        [(by_version("SRC_IP", "SRC_IPV6"), space.source()), (by_version("DST_IP", "DST_IPV6"), space.destination())]
    {
        match prefix {
            None => {}
            Some(Prefix::V4(net)) => push(fields, name, &net.to_string()),
            Some(Prefix::V6(pattern)) if pattern.offset() == 0 => {
                push(fields, name, &format!("{}/{}", Ipv6Addr::from(pattern.bits()), pattern.length()));
            }
            Some(Prefix::V6(pattern)) => {
                push(fields, name, &Ipv6Addr::from(pattern.bits()).to_string());
                push(fields, &format!("{name}_MASK"), &Ipv6Addr::from(pattern.mask()).to_string());
            }
        }
    }
    if let Some(protocols) = space.protocol() {
        let protocol = protocols.single().ok_or(Unwritable(ComponentType::Protocol))?;
        push(fields, by_version("IP_PROTOCOL", "NEXT_HEADER"), &protocol.to_string());
    }
    for (name, field, ports) in [
        ("L4_SRC_PORT", ComponentType::SourcePort, space.source_port()),
        ("L4_DST_PORT", ComponentType::DestinationPort, space.destination_port()),
    ] {
        let Some(ports) = ports else { continue };
        match ports.bounds().filter(|_| ports.len() == 1).ok_or(Unwritable(field))? {
            (first, last) if first == last => push(fields, name, &first.to_string()),
            (first, last) => push(fields, &format!("{name}_RANGE"), &format!("{first}-{last}")),
        }
    }
    for (name, field, numbers) in [
        (by_version("ICMP_TYPE", "ICMPV6_TYPE"), ComponentType::IcmpType, space.icmp_type()),
        (by_version("ICMP_CODE", "ICMPV6_CODE"), ComponentType::IcmpCode, space.icmp_code()),
    ] {
        if let Some(numbers) = numbers {
            push(fields, name, &numbers.single().ok_or(Unwritable(field))?.to_string());
        }
    }
    if let Some(flags) = space.tcp_flags() {
        let cubes = flags.cubes();
        let [Cube { value, mask }] = cubes[..] else { return Err(Unwritable(ComponentType::TcpFlags)) };
        push(fields, "TCP_FLAGS", &format!("0x{value:02x}/0x{mask:02x}"));
    }
    if let Some(dscp) = space.dscp() {
        push(fields, "DSCP", &write_dscp(&dscp.to_intervals())?);
    }
    Ok(())
}

fn write_dscp(values: &IntervalSet) -> Result<String, Unwritable> {
    let mut masked = values.masked(6);
    match (masked.next(), masked.next()) {
        (Some((value, 0x3f)), None) => Ok(value.to_string()),
        (Some((value, mask)), None) => Ok(format!("{value}/{mask}")),
        _ => Err(Unwritable(ComponentType::Dscp)),
    }
}

impl Policer {
    fn of(effect: &Effect, owner: &str) -> Option<Policer> {
        let Policing::Limit { bytes, packets } = effect.policing else { return None };
        let (meter, rate, least) = match (bytes, packets) {
            (Some(bytes), _) => ("bytes", bytes, LEAST_BURST),
            (None, packets) => ("packets", packets?, 1),
        };
        // Rounded up; a cast from a float saturates.
        let rate = (f64::from(rate).ceil() as u64).max(1);
        // SONiC's YANG model requires a burst of at least a second.
        let burst = rate.max(least).to_string();
        let mut fields = Fields::new();
        for (name, value) in [
            ("meter_type", meter),
            ("mode", "sr_tcm"),
            ("color", "blind"),
            ("cir", &rate.to_string()),
            ("cbs", &burst),
            ("pbs", &burst),
            ("green_packet_action", "forward"),
            ("yellow_packet_action", "drop"),
            ("red_packet_action", "drop"),
        ] {
            push(&mut fields, name, value);
        }
        fields.sort_unstable();
        Some(Policer { name: format!("{POLICER_PREFIX}{owner}_{:016x}", hash(&fields)), fields })
    }
}

#[cfg(test)]
mod tests {
    use super::super::capabilities::capabilities;
    use super::super::settings::Settings;
    use super::*;
    use engine::compile::{Verdict, compile};

    fn entries(text: &str, settings: &Settings) -> Vec<Entry> {
        let Verdict::Exact(rule) = compile(&text.parse().expect(text), &capabilities(settings)) else {
            panic!("{text} is refused")
        };
        let entry = |space| Entry::new(space, &rule.effect, Owner::Rule(rule.id)).unwrap();
        rule.entries.iter().map(entry).collect()
    }

    fn fields(text: &str) -> Vec<String> {
        let release = "2026-08-01".parse().unwrap();
        let settings = Settings { release, ranges: true, dscp: true, policers: true, ..Settings::default() };
        let line = |entry: &Entry| {
            let fields =
                entry.fields.iter().filter(|(name, _)| !["IP_TYPE", "ETHER_TYPE", "PACKET_ACTION"].contains(&&**name));
            fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        entries(text, &settings).iter().map(line).collect()
    }

    #[test]
    fn fields_are_those_of_sonic() {
        for (rule, expected) in [
            ("dst 192.0.2.0/24 src 198.51.100.7/32 then discard", vec!["DST_IP=192.0.2.0/24 SRC_IP=198.51.100.7/32"]),
            ("dst 192.0.2.1/32 proto gre then discard", vec!["DST_IP=192.0.2.1/32 IP_PROTOCOL=47"]),
            ("dst 2001:db8::/32 proto gre then discard", vec!["DST_IPV6=2001:db8::/32 NEXT_HEADER=47"]),
            ("dst ::1:0:0:0/64-80 then discard", vec!["DST_IPV6=::1:0:0:0 DST_IPV6_MASK=::ffff:0:0:0"]),
            (
                "proto udp sport 53 dport 1024-65535 then discard",
                vec!["IP_PROTOCOL=17 L4_DST_PORT_RANGE=1024-65535 L4_SRC_PORT=53"],
            ),
            ("icmp-type 8 icmp-code 0 then discard", vec!["ICMP_CODE=0 ICMP_TYPE=8 IP_PROTOCOL=1"]),
            ("ipv6 icmp-type 128 then discard", vec!["ICMPV6_TYPE=128 NEXT_HEADER=58"]),
            ("tcp-flags syn&!ack then discard", vec!["IP_PROTOCOL=6 TCP_FLAGS=0x02/0x12"]),
            ("ipv6 tcp-flags syn&!ack then discard", vec!["NEXT_HEADER=6 TCP_FLAGS=0x02/0x12"]),
            ("dscp 46 then discard", vec!["DSCP=46"]),
            ("dscp 8-15 then discard", vec!["DSCP=8/56"]),
        ] {
            assert_eq!(fields(rule), expected, "{rule}");
        }
    }

    #[test]
    fn the_family_and_one_action_are_always_there() {
        let field = |entry: &Entry, wanted: &str| {
            entry.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        let settings = Settings::default();
        for (rule, ip_type, ether_type, action) in [
            ("dst 192.0.2.1/32 then discard", "IPV4ANY", Some("0x0800"), "DROP"),
            ("dst 2001:db8::1/128 then accept", "IPV6ANY", None, "FORWARD"),
        ] {
            for entry in entries(rule, &settings) {
                assert_eq!(field(&entry, "IP_TYPE").as_deref(), Some(ip_type));
                assert_eq!(field(&entry, "ETHER_TYPE").as_deref(), ether_type);
                assert_eq!(field(&entry, "PACKET_ACTION").as_deref(), Some(action));
                assert_eq!(kind_of(&entry.fields), entry.kind);
            }
        }
    }

    #[test]
    fn names_are_those_of_owner_content_and_priority() {
        let settings = Settings::default();
        let [entry] = &entries("dst 192.0.2.1/32 then discard", &settings)[..] else { panic!("one") };
        // A later release of the program recognises them: never change it.
        assert_eq!(entry.key(8000, 0), "7d261cc05da3_64207e930926da17_8000");
        let fields = entry.with_priority(8000);
        assert_eq!(stem_of(&entry.key(8000, 2), &fields), entry.stem());
        assert_eq!(
            (priority_of(&fields), rule_of(&entry.key(1, 0)).map(|id| id.to_string())),
            (Some(8000), Some("7d261cc05da3".to_owned()))
        );
        let mut edited = fields;
        edited[0].1.push('x');
        assert_ne!(stem_of(&entry.key(8000, 0), &edited), entry.stem());
        assert_eq!(rule_of("protected_0_1"), None);
    }

    #[test]
    fn policers_drop_what_is_above_the_rate() {
        let settings = Settings { policers: true, release: "2026-08-01".parse().unwrap(), ..Settings::default() };
        let [entry] = &entries("dst 192.0.2.1/32 then rate 8mbps", &settings)[..] else { panic!("one") };
        let policer = entry.policer.clone().unwrap();
        let value = |wanted: &str| policer.fields.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        assert_eq!(
            (value("meter_type"), value("cir"), value("cbs")),
            ("bytes".into(), "1000000".into(), "1000000".into())
        );
        assert_eq!((value("red_packet_action"), value("yellow_packet_action")), ("drop".into(), "drop".into()));
        assert!(entry.fields.contains(&("POLICER_ACTION".to_owned(), policer.name.clone())));
        assert_eq!(entry.kind, Kind::Limit);
        assert_ne!(entries("dst 192.0.2.1/32 then rate 9mbps", &settings)[0].policer, Some(policer));
    }
}
