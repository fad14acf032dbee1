//! Which of some rules decides over a packet, and why the earlier ones do not:
//!
//! ```text
//! cargo run -p flowspec --example explain
//! ```

use flowspec::{Packet, Rule, Scope, explain};
use std::error::Error;

const RULES: [&str; 3] = [
    "dst 192.0.2.0/24 proto udp sport 123 length >=200 then discard",
    "dst 192.0.2.9/32 proto udp sport 123 then rate 1mbps",
    "proto tcp tcp-flags syn&!ack then rate 100pps",
];

/// 192.0.2.77:123 to 192.0.2.9:40000, UDP, 48 octets of NTP.
const PACKET: [u8; 28] =
    [0x45, 0, 0, 76, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 77, 192, 0, 2, 9, 0, 123, 0x9c, 0x40, 0, 56, 0, 0];

fn main() -> Result<(), Box<dyn Error>> {
    verdict(&RULES, &PACKET)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// The rules before the one that decides, each with the reason why it does not match, and that one.
pub(crate) fn verdict(rules: &[&str], octets: &[u8]) -> Result<Vec<String>, Box<dyn Error>> {
    let mut rules = rules.iter().map(|text| text.parse()).collect::<Result<Vec<Rule>, _>>()?;
    // Less means enforced earlier (RFC 8955 §5.1).
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    let packet = Packet::from_ip(octets)?;
    let (decision, passed) = explain(&rules, &packet, Scope::Global);
    let mut lines: Vec<_> = passed.iter().map(|(at, why)| format!("not `{}`: {why}", rules[*at])).collect();
    lines.push(match decision.rule() {
        Some(at) => format!("decides: `{}`", rules[at]),
        None => "no rule: the packet passes".to_owned(),
    });
    Ok(lines)
}
