//! An ASIC emulated by the kernel of a network namespace: rules by priority, each with a counter.

use super::fields::{Fields, value_and_mask};
use super::model::Model;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The kernel of a namespace as an ASIC.
#[derive(Debug)]
pub(super) struct Asic {
    netns: String,
    /// Existing counters.
    counters: BTreeSet<u64>,
}

impl Asic {
    pub(super) fn new(netns: String) -> Result<Self> {
        let mut asic = Asic { netns, counters: BTreeSet::new() };
        asic.nft("add table inet sonic\ndelete table inet sonic\n")?;
        asic.program(&Model::default(), &BTreeMap::new())?;
        Ok(asic)
    }

    /// Puts exactly these rules in force, in one transaction.
    pub(super) fn program(&mut self, model: &Model, policers: &BTreeMap<String, Fields>) -> Result<()> {
        let mut script = String::from(
            "add table inet sonic\n\
             add chain inet sonic acl { type filter hook prerouting priority -450; policy accept; }\n\
             flush chain inet sonic acl\n",
        );
        let mut rules: Vec<_> = model.rules.values().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        let wanted: BTreeSet<u64> = rules.iter().map(|rule| rule.oid).collect();
        for oid in wanted.difference(&self.counters) {
            writeln!(script, "add counter inet sonic c{oid}")?;
        }
        for rule in rules {
            let matches = match_of(&rule.fields)?;
            writeln!(script, "add rule inet sonic acl {matches} counter name c{}", rule.oid)?;
            if let Some(policer) = rule.fields.get("POLICER_ACTION").and_then(|name| policers.get(name)) {
                writeln!(script, "add rule inet sonic acl {matches} {} drop", limit_of(policer)?)?;
            }
            let verdict =
                if rule.fields.get("PACKET_ACTION").is_some_and(|action| action == "DROP") { "drop" } else { "accept" };
            writeln!(script, "add rule inet sonic acl {matches} {verdict}")?;
        }
        for oid in self.counters.difference(&wanted) {
            writeln!(script, "delete counter inet sonic c{oid}")?;
        }
        self.nft(&script)?;
        self.counters = wanted;
        Ok(())
    }

    /// Packets and octets by counter.
    pub(super) fn counters(&self) -> Result<BTreeMap<u64, (u64, u64)>> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.netns, "nft", "-j", "list", "counters", "table", "inet", "sonic"])
            .output()?;
        let listing: serde_json::Value = serde_json::from_slice(&output.stdout).context("counters of nft")?;
        let items = listing["nftables"].as_array().cloned().unwrap_or_default();
        let counter = |item: &serde_json::Value| {
            let counter = item.get("counter")?;
            let oid = counter["name"].as_str()?.strip_prefix('c')?.parse().ok()?;
            Some((oid, (counter["packets"].as_u64()?, counter["bytes"].as_u64()?)))
        };
        Ok(items.iter().filter_map(counter).collect())
    }

    fn nft(&self, script: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.netns, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("its input")?.write_all(script.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("nft: {}\n{script}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

fn limit_of(policer: &Fields) -> Result<String> {
    let value = |name: &str| policer.get(name).with_context(|| format!("a policer without {name}"));
    let (rate, burst) = (value("cir")?, value("cbs")?);
    Ok(match value("meter_type")?.as_str() {
        "bytes" => format!("limit rate over {rate} bytes/second burst {burst} bytes"),
        _ => format!("limit rate over {rate}/second burst {burst} packets"),
    })
}

fn match_of(fields: &Fields) -> Result<String> {
    let is_v6 = fields.get("IP_TYPE").is_some_and(|kind| kind == "IPV6ANY");
    let mut text = format!("meta nfproto {}", if is_v6 { "ipv6" } else { "ipv4" });
    let is_l4 = |name: &String| name.starts_with("L4_") || name.starts_with("ICMP") || name == "TCP_FLAGS";
    if !is_v6 && fields.keys().any(is_l4) {
        // Some kernels do not check that by themselves.
        text.push_str(" ip frag-off & 0x1fff == 0");
    }
    for (name, value) in fields {
        let masked = |text: &str| value_and_mask(text).with_context(|| format!("{name} {text}"));
        let word = match name.as_str() {
            "PRIORITY" | "PACKET_ACTION" | "POLICER_ACTION" | "IP_TYPE" | "ETHER_TYPE" => continue,
            "SRC_IPV6_MASK" | "DST_IPV6_MASK" => continue,
            "SRC_IP" => format!("ip saddr {value}"),
            "DST_IP" => format!("ip daddr {value}"),
            "SRC_IPV6" | "DST_IPV6" => {
                let side = if name.starts_with('S') { "saddr" } else { "daddr" };
                match fields.get(&format!("{name}_MASK")) {
                    Some(mask) => format!("ip6 {side} & {mask} == {value}"),
                    None => format!("ip6 {side} {value}"),
                }
            }
            "IP_PROTOCOL" => format!("ip protocol {value}"),
            "NEXT_HEADER" => format!("ip6 nexthdr {value}"),
            "L4_SRC_PORT" | "L4_SRC_PORT_RANGE" => format!("th sport {value}"),
            "L4_DST_PORT" | "L4_DST_PORT_RANGE" => format!("th dport {value}"),
            "ICMP_TYPE" => format!("icmp type {value}"),
            "ICMP_CODE" => format!("icmp code {value}"),
            "ICMPV6_TYPE" => format!("icmpv6 type {value}"),
            "ICMPV6_CODE" => format!("icmpv6 code {value}"),
            "TCP_FLAGS" => {
                let (value, mask) = masked(value)?;
                format!("@th,104,8 & {mask:#x} == {value:#x}")
            }
            "DSCP" => {
                let (value, mask) = masked(value)?;
                match is_v6 {
                    false => format!("@nh,8,8 & {:#x} == {:#x}", mask << 2, value << 2),
                    true => format!("@nh,0,16 & {:#x} == {:#x}", mask << 6, value << 6),
                }
            }
            _ => bail!("{name} is not enforced here"),
        };
        text.push(' ');
        text.push_str(&word);
    }
    Ok(text)
}
