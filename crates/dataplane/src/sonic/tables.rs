//! Our tables and their types: names and fields in the database.

use super::entry::Fields;
use super::settings::Settings;
use flowspec::IpVersion;

/// The prefix of the names of our types and tables; nothing else is touched.
pub(super) const PREFIX: &str = "FLOODGATE_V";

/// The name of the table of an IP version, and of its type. A type cannot be changed under its
/// name, so the name depends on its contents.
pub fn table_name(version: IpVersion, settings: &Settings) -> String {
    let version = match version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 6,
    };
    let options = [settings.ranges, settings.dscp, settings.has_policers()];
    let number = (0..).zip(options).fold(0, |number, (bit, option)| number | u32::from(option) << bit);
    format!("{PREFIX}{version}_{}", number + 1)
}

/// The fields of the type of a table. Lists have commas between their items.
pub(super) fn table_type(version: IpVersion, settings: &Settings) -> Fields {
    let own: &[&str] = match version {
        IpVersion::V4 => &["ETHER_TYPE", "IP_TYPE", "SRC_IP", "DST_IP", "IP_PROTOCOL", "ICMP_TYPE", "ICMP_CODE"],
        IpVersion::V6 => &["IP_TYPE", "SRC_IPV6", "DST_IPV6", "NEXT_HEADER", "ICMPV6_TYPE", "ICMPV6_CODE"],
    };
    let mut matches = own.to_vec();
    matches.extend(["L4_SRC_PORT", "L4_DST_PORT", "TCP_FLAGS"]);
    if settings.ranges {
        matches.extend(["L4_SRC_PORT_RANGE", "L4_DST_PORT_RANGE"]);
    }
    if settings.dscp {
        matches.push("DSCP");
    }
    // Without COUNTER some ASICs refuse the type.
    let mut actions = vec!["PACKET_ACTION", "COUNTER"];
    if settings.has_policers() {
        actions.push("POLICER_ACTION");
    }
    let field = |name: &str, value: String| (name.to_owned(), value);
    vec![
        field("ACTIONS", actions.join(",")),
        field("BIND_POINTS", "PORT,PORTCHANNEL".to_owned()),
        field("MATCHES", matches.join(",")),
    ]
}

/// The fields of a table on these ports.
pub(super) fn table(version: IpVersion, ports: &[String], settings: &Settings) -> Fields {
    let field = |name: &str, value: String| (name.to_owned(), value);
    vec![
        field("policy_desc", "Floodgate writes this table and its rules".to_owned()),
        field("ports", ports.join(",")),
        field("stage", "ingress".to_owned()),
        field("type", table_name(version, settings)),
    ]
}
