//! Asks for confirmation before a rule that may lock its user out: rules that match all packets,
//! the SSH session in use, or everything sent to this machine.

use crate::output::print_error;
use api::HumanDuration;
use api::client::{Client, Failure};
use api::hex::to_hex;
use api::packet_text;
use api::{ExplainRequest, Explanation};
use daemon::interfaces;
use flowspec::{Component, ComponentType, IpVersion, Packet, Policing, Prefix, Redirect, Rule};
use std::io::{self, BufRead, IsTerminal};
use std::net::IpAddr;

/// The proposed lifetime.
const PROPOSED: &str = "10m";

/// Traffic of a rule that is rarely intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// All packets of an IP version.
    Everything(IpVersion),
    /// The SSH session that this command runs in.
    Session { client: IpAddr, packet: Vec<u8> },
    /// All packets, or those to SSH, that are sent to this address of this machine.
    OwnAddress(IpAddr),
}

impl Hazard {
    /// Whether nobody may be able to withdraw it.
    pub(crate) const fn locks_out(&self) -> bool {
        matches!(self, Hazard::Everything(_) | Hazard::Session { .. })
    }
}

impl std::fmt::Display for Hazard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Hazard::Everything(IpVersion::V4) => f.write_str("all IPv4 packets"),
            Hazard::Everything(IpVersion::V6) => f.write_str("all IPv6 packets"),
            Hazard::Session { client, .. } => write!(f, "this SSH session, from {client}"),
            Hazard::OwnAddress(address) => write!(f, "what is sent to {address}, an address of this machine"),
        }
    }
}

/// The outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The rule is announced, with this lifetime.
    Announce(Option<HumanDuration>),
    /// The rule is not announced.
    No,
}

/// Asks for confirmation if the rule is dangerous: on a terminal; otherwise a rule that may lock
/// everybody out needs `--yes`, and the rest is a warning.
pub(super) async fn ask(
    client: &Client,
    rule: &str,
    lifetime: Option<HumanDuration>,
    yes: bool,
) -> Result<Answer, Failure> {
    // For a text that is not a rule, the daemon has the better message.
    let Ok(Some(rule)) = flowspec::text::parse_line(rule) else { return Ok(Answer::Announce(lifetime)) };
    if yes || !takes_packets(&rule) {
        return Ok(Answer::Announce(lifetime));
    }
    let session = std::env::var("SSH_CONNECTION").ok();
    let own = interfaces::addresses().unwrap_or_default();
    let mut hazards = hazards(&rule, session.as_deref(), own);
    if let Some(Hazard::Session { packet, .. }) = hazards.iter().find(|hazard| matches!(hazard, Hazard::Session { .. }))
    {
        let request = ExplainRequest { packet: to_hex(packet) };
        let answer: Explanation = client.post("/v1/explain", Some(&request)).await?;
        if answer.protected.is_some() {
            hazards.retain(|hazard| !matches!(hazard, Hazard::Session { .. }));
        }
    }
    if hazards.is_empty() {
        return Ok(Answer::Announce(lifetime));
    }
    let what = hazards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        if hazards.iter().any(Hazard::locks_out) {
            print_error(format_args!(
                "floodgate: not announced: it takes {what}; --yes announces it anyway, and --for {PROPOSED} lets it end by itself"
            ));
            return Ok(Answer::No);
        }
        print_error(format_args!("floodgate: note: it takes {what}"));
        return Ok(Answer::Announce(lifetime));
    }
    print_error(format_args!("This rule takes {what}."));
    let choice = match lifetime {
        Some(age) => format!("Announce it, for {age}? [y/N] "),
        None => format!("Announce it? y: until it is withdrawn; a time such as {PROPOSED}: for so long; N: no [N] "),
    };
    prompt(&choice);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(answer(line.trim(), lifetime).unwrap_or_else(|| {
        print_error("floodgate: not announced");
        Answer::No
    }))
}

/// The meaning of the answer; `None` for no.
fn answer(typed: &str, lifetime: Option<HumanDuration>) -> Option<Answer> {
    if ["y", "yes"].iter().any(|yes| typed.eq_ignore_ascii_case(yes)) {
        return Some(Answer::Announce(lifetime));
    }
    HumanDuration::lifetime(typed).ok().map(|age| Answer::Announce(Some(age)))
}

fn prompt(text: &str) {
    use std::io::Write;
    let mut terminal = io::stderr();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

/// Whether packets that match are treated differently than without the rule.
fn takes_packets(rule: &Rule) -> bool {
    let effect = rule.effect();
    let away = match effect.redirect {
        Some(Redirect::Vrf(_)) => true,
        Some(Redirect::Address { copy, .. } | Redirect::UnknownNextHop { copy }) => !copy,
        None => false,
    };
    effect.policing != Policing::None || away
}

/// What a rule takes that seldom is meant, if packets that match are treated differently than
/// without it. `session`: as `SSH_CONNECTION` has it, `CLIENT PORT SERVER PORT`.
pub(crate) fn of_rule(rule: &Rule, session: Option<&str>, own: impl IntoIterator<Item = IpAddr>) -> Vec<Hazard> {
    if takes_packets(rule) { hazards(rule, session, own) } else { Vec::new() }
}

fn hazards(rule: &Rule, session: Option<&str>, own: impl IntoIterator<Item = IpAddr>) -> Vec<Hazard> {
    let nlri = &rule.nlri;
    if nlri.family().is_vpn() {
        return Vec::new();
    }
    let mut hazards = Vec::new();
    if nlri.components().all(|component| matches!(component, Component::Prefix(_, prefix) if is_any(&prefix))) {
        hazards.push(Hazard::Everything(nlri.family().version()));
    }
    if let Some((client, packet)) = session.and_then(session_packet)
        && Packet::from_ip(&packet).is_ok_and(|packet| nlri.matches(&packet).is_ok())
    {
        hazards.push(Hazard::Session { client, packet });
    }
    if hazards.iter().any(|hazard| matches!(hazard, Hazard::Everything(_))) {
        return hazards;
    }
    for address in own.into_iter().filter(|address| !address.is_loopback()) {
        let all = nlri.components().all(|component| component.component_type() == ComponentType::Destination);
        let hit = if all { covers(nlri.destination(), address) } else { takes_ssh(rule, address) };
        if hit {
            hazards.push(Hazard::OwnAddress(address));
        }
    }
    hazards
}

fn is_any(prefix: &Prefix) -> bool {
    match prefix {
        Prefix::V4(net) => net.prefix_len() == 0,
        Prefix::V6(pattern) => pattern.length() == 0,
    }
}

fn covers(prefix: Option<Prefix>, address: IpAddr) -> bool {
    match (prefix, address) {
        (Some(Prefix::V4(net)), IpAddr::V4(address)) => net.contains(&address),
        (Some(Prefix::V6(pattern)), IpAddr::V6(address)) => pattern.contains(address),
        _ => false,
    }
}

/// Whether it matches packets to SSH, from any source.
fn takes_ssh(rule: &Rule, address: IpAddr) -> bool {
    if rule.nlri.components().any(|component| component.component_type() == ComponentType::Source) {
        return false;
    }
    let client = if address.is_ipv4() { "198.51.100.7" } else { "2001:db8::7" };
    let packet = tcp_packet(client.parse().unwrap_or(address), 50_000, address, 22);
    packet.is_some_and(|packet| Packet::from_ip(&packet).is_ok_and(|packet| rule.nlri.matches(&packet).is_ok()))
}

/// A packet of the session in `SSH_CONNECTION`, from the client to this machine: `CLIENT PORT
/// SERVER PORT`.
fn session_packet(session: &str) -> Option<(IpAddr, Vec<u8>)> {
    let mut words = session.split_ascii_whitespace();
    let client: IpAddr = words.next()?.parse().ok()?;
    let client_port = words.next()?.parse().ok()?;
    let server = words.next()?.parse().ok()?;
    let server_port = words.next()?.parse().ok()?;
    Some((client, tcp_packet(client, client_port, server, server_port)?))
}

fn tcp_packet(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Option<Vec<u8>> {
    let end = |address, port| std::net::SocketAddr::new(address, port).to_string();
    packet_text::packet(&["tcp".to_owned(), end(from, from_port), end(to, to_port), "ack".to_owned()]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: &str) -> Vec<String> {
        let rule: Rule = rule.parse().unwrap();
        if !takes_packets(&rule) {
            return Vec::new();
        }
        let own = ["192.0.2.10", "127.0.0.1", "2001:db8::10"].map(|address| address.parse().unwrap());
        let session = "198.51.100.9 40000 192.0.2.10 22";
        hazards(&rule, Some(session), own).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_seldom_meant_is_asked_about_and_nothing_else() {
        let session = "this SSH session, from 198.51.100.9";
        let own = "what is sent to 192.0.2.10, an address of this machine";
        for (rule, hazards) in [
            ("dst 0.0.0.0/0 then discard", &["all IPv4 packets", session][..]),
            ("src ::/0 then rate 0", &["all IPv6 packets"]),
            ("dst 192.0.2.0/24 then rate 1mbps", &[session, own]),
            ("src 198.51.100.0/24 then discard", &[session]),
            ("proto tcp then redirect 65000:1", &[session, own]),
            ("proto tcp dport 22 then discard", &[session, own]),
            ("dst 2001:db8::/32 then discard", &["what is sent to 2001:db8::10, an address of this machine"]),
            // Intended rules: single kinds of packets, other destinations, other sources, no change
            // to packets.
            ("dst 192.0.2.10/32 proto udp sport 123 then discard", &[]),
            ("dst 192.0.2.10/32 proto tcp dport 80 then discard", &[]),
            ("dst 192.0.2.10/32 proto tcp tcp-flags syn&!ack then rate 1mbps", &[]),
            ("dst 203.0.113.0/24 then discard", &[]),
            ("src 203.0.113.0/24 dst 192.0.2.10/32 then discard", &[]),
            ("dst 0.0.0.0/0 then accept", &[]),
            ("dst 0.0.0.0/0 then mark 46 sample continue", &[]),
            ("dst 0.0.0.0/0 then redirect 192.0.2.9 copy", &[]),
            ("dst 0.0.0.0/0 proto udp sport 123 then discard", &[]),
        ] {
            assert_eq!(told(rule), hazards, "{rule}");
        }
    }

    #[test]
    fn only_a_yes_or_a_time_announces() {
        let time = HumanDuration::lifetime("10m").unwrap();
        for (typed, meant) in [
            ("y", Some(Answer::Announce(None))),
            ("YES", Some(Answer::Announce(None))),
            ("10m", Some(Answer::Announce(Some(time)))),
            ("", None),
            ("n", None),
            ("yess", None),
            ("0", None),
        ] {
            assert_eq!(answer(typed, None), meant, "{typed}");
        }
        assert_eq!(answer("y", Some(time)), Some(Answer::Announce(Some(time))));
    }
}
