//! The rows of the tables in the manual, and what a self-test tries of each.

use super::frame::Form;

/// What a rule does with a packet of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It is one of the rule's packets.
    Yes,
    /// It is not; a switch that matches it filters more than it should.
    No,
    /// It is one, and data planes are known that do not see it.
    MayMiss,
}

/// A packet of the test. `H` stands for the host of the row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowPacket {
    /// As in `floodgate explain`.
    pub(super) words: &'static str,
    pub(super) form: Form,
    pub(super) matches: Match,
}

/// A row: what it is about, a rule for the host `H`, and packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) rule: &'static str,
    pub(super) packets: &'static [RowPacket],
}

const fn packet(words: &'static str, form: Form, matches: Match) -> RowPacket {
    RowPacket { words, form, matches }
}

const fn yes(words: &'static str) -> RowPacket {
    packet(words, Form::Plain, Match::Yes)
}

const fn no(words: &'static str) -> RowPacket {
    packet(words, Form::Plain, Match::No)
}

const fn may_miss(words: &'static str, form: Form) -> RowPacket {
    packet(words, form, Match::MayMiss)
}

const fn row(what: &'static str, rule: &'static str, packets: &'static [RowPacket]) -> Row {
    Row { what, rule, packets }
}

/// All rows. Packets come from 198.51.100.7 and 2001:db8:ffff::7.
pub(super) static ROWS: &[Row] = &[
    row(
        "IPv4 prefixes",
        "dst H/32 src 198.51.100.0/25 then discard",
        &[yes("udp 198.51.100.7:9 H:9"), no("udp 198.51.100.200:9 H:9")],
    ),
    row(
        "IPv6 prefixes",
        "dst H6/128 src 2001:db8:ffff::/48 then discard",
        &[yes("udp [2001:db8:ffff::7]:9 [H6]:9"), no("udp [2001:db8:fffe::7]:9 [H6]:9")],
    ),
    row(
        "IPv6 prefix with an offset",
        "dst H6/128 src 0:0:ffff::/32-48 then discard",
        &[yes("udp [2001:db8:ffff::7]:9 [H6]:9"), no("udp [2001:db8:fffe::7]:9 [H6]:9")],
    ),
    row("protocol", "dst H/32 proto gre then discard", &[yes("gre 198.51.100.7 H"), no("esp 198.51.100.7 H")]),
    row(
        "protocol of IPv6",
        "dst H6/128 proto gre then discard",
        &[yes("gre 2001:db8:ffff::7 H6"), no("esp 2001:db8:ffff::7 H6")],
    ),
    row("protocol 137 (MPLS in IP)", "dst H/32 proto 137 then discard", &[yes("137 198.51.100.7 H length=60")]),
    row(
        "destination port",
        "dst H/32 proto udp dport 53 then discard",
        &[yes("udp 198.51.100.7:9 H:53"), no("udp 198.51.100.7:53 H:9"), no("tcp 198.51.100.7:9 H:53")],
    ),
    row(
        "source port",
        "dst H/32 proto udp sport 123 then discard",
        &[yes("udp 198.51.100.7:123 H:9"), no("udp 198.51.100.7:9 H:123")],
    ),
    row(
        "source or destination port",
        "dst H/32 proto udp port 123 then discard",
        &[yes("udp 198.51.100.7:123 H:9"), yes("udp 198.51.100.7:9 H:123"), no("udp 198.51.100.7:9 H:9")],
    ),
    row(
        "ports without a protocol",
        "dst H/32 dport 53 then discard",
        &[yes("udp 198.51.100.7:9 H:53"), yes("tcp 198.51.100.7:9 H:53")],
    ),
    row(
        "destination port of IPv6",
        "dst H6/128 proto udp dport 53 then discard",
        &[yes("udp [2001:db8:ffff::7]:9 [H6]:53"), no("udp [2001:db8:ffff::7]:53 [H6]:9")],
    ),
    row(
        "a range of ports",
        "dst H/32 proto udp dport 1000-1999 then discard",
        &[yes("udp 198.51.100.7:9 H:1000"), no("udp 198.51.100.7:9 H:999"), no("udp 198.51.100.7:9 H:2000")],
    ),
    row(
        "ICMP type and code",
        "dst H/32 icmp-type 3 icmp-code 1 then discard",
        &[yes("icmp 198.51.100.7 H type=3 code=1"), no("icmp 198.51.100.7 H type=3 code=0")],
    ),
    row(
        "ICMP type of IPv6",
        "dst H6/128 icmp-type 128 then discard",
        &[yes("icmp 2001:db8:ffff::7 H6 type=128"), no("icmp 2001:db8:ffff::7 H6 type=129")],
    ),
    row(
        "TCP flags",
        "dst H/32 proto tcp tcp-flags syn&!ack then discard",
        &[yes("tcp 198.51.100.7:9 H:80 syn"), no("tcp 198.51.100.7:9 H:80 syn ack")],
    ),
    row(
        "TCP flag ECE",
        "dst H/32 proto tcp tcp-flags ece then discard",
        &[yes("tcp 198.51.100.7:9 H:80 syn ece"), no("tcp 198.51.100.7:9 H:80 syn")],
    ),
    row("packet length", "dst H/32 length 100-200 then discard", &[]),
    row(
        "DSCP",
        "dst H/32 dscp 46 then discard",
        &[yes("udp 198.51.100.7:9 H:9 dscp=46"), no("udp 198.51.100.7:9 H:9 dscp=47")],
    ),
    row(
        "DSCP of IPv6",
        "dst H6/128 dscp 46 then discard",
        &[yes("udp [2001:db8:ffff::7]:9 [H6]:9 dscp=46"), no("udp [2001:db8:ffff::7]:9 [H6]:9 dscp=30")],
    ),
    row(
        "later fragments",
        "dst H/32 fragment is-fragment then discard",
        &[
            yes("udp 198.51.100.7:9 H:9 last length=60"),
            no("udp 198.51.100.7:9 H:9 first length=60"),
            no("udp 198.51.100.7:9 H:9"),
        ],
    ),
    row(
        "first fragments",
        "dst H/32 fragment first-fragment then discard",
        &[yes("udp 198.51.100.7:9 H:9 first length=60"), no("udp 198.51.100.7:9 H:9 last length=60")],
    ),
    row("flow label", "dst H6/128 flow-label 5 then discard", &[]),
    row("accept", "dst H/32 then accept", &[yes("udp 198.51.100.7:9 H:9")]),
    row("rate in bytes", "dst H/32 then rate 8mbps", &[yes("udp 198.51.100.7:9 H:9")]),
    row("rate in bytes, shared by entries", "dst H/32 dport 53 then rate 8mbps", &[yes("udp 198.51.100.7:9 H:53")]),
    row("rate in packets", "dst H/32 then rate 1000pps", &[yes("udp 198.51.100.7:9 H:9")]),
    row("mark", "dst H/32 then mark 46", &[yes("udp 198.51.100.7:9 H:9")]),
    row("sample", "dst H/32 then sample discard", &[yes("udp 198.51.100.7:9 H:9")]),
    row("redirect to an address", "dst H/32 then redirect 198.51.100.1", &[]),
    row(
        "ports in first fragments",
        "dst H/32 proto udp dport 53 then discard",
        &[may_miss("udp 198.51.100.7:9 H:53 first length=60", Form::Plain)],
    ),
    row(
        "what stands in the place of ports in later fragments",
        "dst H/32 proto udp dport 53 then discard",
        &[packet("udp 198.51.100.7:9 H:53 length=60", Form::LaterFragment, Match::No)],
    ),
    row(
        "protocol of later fragments",
        "dst H/32 proto udp then discard",
        &[may_miss("udp 198.51.100.7:9 H:53 length=60", Form::LaterFragment)],
    ),
    row(
        "protocol behind IPv6 options",
        "dst H6/128 proto udp then discard",
        &[may_miss("udp [2001:db8:ffff::7]:9 [H6]:53", Form::BehindOptions)],
    ),
    row(
        "ports behind IPv6 options",
        "dst H6/128 proto udp dport 53 then discard",
        &[may_miss("udp [2001:db8:ffff::7]:9 [H6]:53", Form::BehindOptions)],
    ),
    row(
        "frames with a VLAN tag",
        "dst H/32 proto udp dport 53 then discard",
        &[may_miss("udp 198.51.100.7:9 H:53", Form::Tagged)],
    ),
    row(
        "whole packets with MPLS inside",
        "dst H/32 then discard",
        &[may_miss("137 198.51.100.7 H length=60", Form::Plain)],
    ),
    row(
        "neighbour discovery is let through",
        "dst H6/128 then discard",
        &[no("icmp 2001:db8:ffff::7 H6 type=135 hop-limit=255"), yes("icmp 2001:db8:ffff::7 H6 type=128")],
    ),
];

/// A number of hosts whose traffic is discarded, for figures.
pub(super) fn many(count: usize, first: usize) -> Vec<String> {
    (first..first + count)
        .map(|n| format!("dst 192.0.2.{}/32 proto udp sport {} then discard", n % 200, n + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::frame::frame;
    use crate::selftest::measure::with_host;
    use flowspec::{Packet, Rule, Space};

    /// Each packet is one of its rule, or not, as the row says; as the RFC has it.
    #[test]
    fn rows_say_what_the_rfcs_say() {
        for (at, row) in ROWS.iter().enumerate() {
            let rule: Rule = with_host(row.rule, at).parse().expect(row.rule);
            for packet in row.packets {
                let frame = frame(&with_host(packet.words, at), packet.form, [2; 6], [2; 6]).expect(packet.words);
                let parsed = Packet::from_ethernet(&frame).expect(packet.words);
                // It is let through although the rule matches it.
                let is_let_through = packet.words.contains("type=135");
                let expected = packet.matches != Match::No || is_let_through;
                assert_eq!(Space::of(&rule.nlri).matches(&parsed), expected, "{}: {}", row.what, packet.words);
            }
        }
        assert!(ROWS.len() < 200 && ROWS.iter().all(|row| row.packets.len() <= 4));
    }

    #[test]
    fn many_rules_are_different() {
        let rules: std::collections::BTreeSet<String> =
            many(1000, 0).iter().map(|text| text.parse::<Rule>().expect(text).nlri.to_string()).collect();
        assert_eq!(rules.len(), 1000);
    }
}
