//! The oracle by examples: rule, packet, verdict and why.

use flowspec::testing::Draft;
use flowspec::{
    Action, BitmaskOp, Comparison, ComponentType as C, Decision, Effect, Family, Nlri, NumericOp, Packet, PacketError,
    Policing, Prefix, Rate, RouteDistinguisher, Rule, Scope, decide, explain,
};
use std::net::IpAddr;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn draft(protocol: u8) -> Draft {
    Draft::new(protocol, address("192.0.2.1"), address("198.51.100.7"))
}

fn draft6(protocol: u8) -> Draft {
    Draft::new(protocol, address("2001:db8::1"), address("2001:db8::2"))
}

fn packet(draft: &Draft) -> Packet {
    Packet::from_ip(&draft.to_ip()).unwrap()
}

fn tcp(sport: u16, dport: u16, tcp_flags: u16) -> Draft {
    Draft { source_port: sport, destination_port: dport, tcp_flags, ..draft(6) }
}

fn numeric(kind: C, ops: &[NumericOp]) -> Nlri {
    Nlri::builder(Family::Ipv4).numeric(kind, ops).build().unwrap()
}

fn equal(value: u64) -> NumericOp {
    NumericOp::new(Comparison::Equal, value)
}

fn not_equal(value: u64) -> NumericOp {
    NumericOp::new(Comparison::NotEqual, value)
}

fn flags(ops: &[BitmaskOp]) -> Nlri {
    Nlri::builder(Family::Ipv4).bitmask(C::TcpFlags, ops).build().unwrap()
}

fn verdict(nlri: &Nlri, draft: &Draft) -> String {
    nlri.matches(&packet(draft)).map_or_else(|mismatch| mismatch.to_string(), |()| "matches".into())
}

#[test]
fn a_mismatch_says_what_the_packet_has_and_what_the_rule_wants() {
    let web = numeric(C::DestinationPort, &[equal(80)]);
    assert_eq!(verdict(&web, &tcp(1, 80, 2)), "matches");
    assert_eq!(verdict(&web, &tcp(80, 443, 2)), "dport: packet has 443, rule wants 80");
    assert_eq!(verdict(&web, &draft(1)), "dport: ICMP has no ports");
    assert_eq!(verdict(&web, &draft(132)), "dport: SCTP has no ports");
    assert_eq!(verdict(&web, &draft(200)), "dport: protocol 200 has no ports");
    assert_eq!(verdict(&web, &draft6(6)), "packet is IPv6, rule is for IPv4");
    let fragment = Draft { fragment_offset: 1, ..tcp(1, 80, 2) };
    assert_eq!(verdict(&web, &fragment), "dport: non-first fragment has no upper-layer header");
    assert_eq!(
        verdict(&web, &Draft { truncate: Some(3), ..tcp(1, 80, 2) }),
        "dport: the upper-layer header is truncated"
    );
    let syn = flags(&[BitmaskOp::new(true, 0x02), BitmaskOp::new(true, 0x10).negated().and()]);
    assert_eq!(verdict(&syn, &tcp(1, 80, 0x02)), "matches");
    assert_eq!(verdict(&syn, &tcp(1, 80, 0x12)), "tcp-flags: packet has syn+ack, rule wants syn and not ack");
    assert_eq!(verdict(&syn, &draft(17)), "tcp-flags: UDP is not TCP");
    let net = Nlri::builder(Family::Ipv4).prefix(C::Destination, Prefix::V4("10.0.0.0/8".parse().unwrap())).build();
    assert_eq!(verdict(&net.unwrap(), &draft(17)), "dst: packet has 198.51.100.7, rule wants 10.0.0.0/8");
    let range = [NumericOp::new(Comparison::GreaterOrEqual, 80), NumericOp::new(Comparison::LessOrEqual, 90).and()];
    let list = numeric(C::Port, &[&range[..], &[equal(443)]].concat());
    assert_eq!(verdict(&list, &tcp(1, 91, 0)), "port: packet has 1 and 91, rule wants >=80&<=90,443");
    let part = Nlri::builder(Family::Ipv4).bitmask(C::Fragment, &[BitmaskOp::new(false, 0x06)]).build().unwrap();
    assert_eq!(verdict(&part, &draft(17)), "fragment: packet has none, rule wants any of is-fragment+first-fragment");
}

#[test]
fn negation_does_not_match_what_has_no_such_field() {
    for kind in [C::Port, C::DestinationPort, C::SourcePort] {
        let rule = numeric(kind, &[not_equal(80)]);
        assert_eq!(verdict(&rule, &tcp(81, 81, 0)), "matches");
        assert_ne!(verdict(&rule, &draft(1)), "matches");
        assert_ne!(verdict(&rule, &Draft { fragment_offset: 5, ..draft(17) }), "matches");
    }
    assert_ne!(verdict(&numeric(C::IcmpType, &[not_equal(8)]), &draft(17)), "matches");
    assert_ne!(verdict(&numeric(C::IcmpCode, &[not_equal(8)]), &draft(58)), "matches");
    assert_ne!(verdict(&flags(&[BitmaskOp::new(true, 2).negated()]), &draft(17)), "matches");
    let always = NumericOp::new(Comparison::True, 0);
    assert_eq!(verdict(&numeric(C::Port, &[always]), &draft(17)), "matches");
    assert_eq!(verdict(&numeric(C::Port, &[always]), &draft(132)), "port: SCTP has no ports");
}

#[test]
fn either_port_is_enough_and_negation_is_of_one_port() {
    let rule = numeric(C::Port, &[equal(53)]);
    assert_eq!(verdict(&rule, &tcp(53, 1, 0)), "matches");
    assert_eq!(verdict(&rule, &tcp(1, 53, 0)), "matches");
    assert_eq!(verdict(&numeric(C::Port, &[not_equal(53)]), &tcp(53, 1, 0)), "matches");
    assert_ne!(verdict(&numeric(C::Port, &[not_equal(53)]), &tcp(53, 53, 0)), "matches");
    let both = numeric(C::Port, &[equal(1), equal(2).and()]);
    assert_ne!(verdict(&both, &tcp(1, 2, 0)), "matches", "no single port is both");
}

#[test]
fn and_binds_tighter_than_or() {
    let greater = NumericOp::new(Comparison::Greater, 100);
    let less = NumericOp::new(Comparison::Less, 50);
    let rule = numeric(C::DestinationPort, &[equal(80), greater, less.and()]);
    assert_eq!(verdict(&rule, &tcp(0, 80, 0)), "matches");
    assert_ne!(verdict(&rule, &tcp(0, 40, 0)), "matches");
    assert_ne!(verdict(&rule, &tcp(0, 200, 0)), "matches");
}

#[test]
fn values_beyond_the_field_are_not_truncated() {
    for value in [65536 + 80, (1 << 32) + 80, u64::MAX] {
        assert_ne!(verdict(&numeric(C::DestinationPort, &[equal(value)]), &tcp(0, 80, 0)), "matches");
        assert_eq!(verdict(&numeric(C::DestinationPort, &[not_equal(value)]), &tcp(0, 80, 0)), "matches");
        let less = NumericOp::new(Comparison::Less, value);
        assert_eq!(verdict(&numeric(C::DestinationPort, &[less]), &tcp(0, 65535, 0)), "matches");
    }
}

/// RFC 8955 §4.2.2.12: each bit, asked alone, of each kind of packet.
#[test]
fn fragment_bits() {
    // (don't fragment, offset, more fragments) and the bits that such a packet has.
    let kinds = [
        ((false, 0, false), 0),
        ((true, 0, false), 1),
        ((false, 0, true), 4),
        ((true, 0, true), 5),
        ((false, 9, true), 2),
        ((true, 9, true), 3),
        ((false, 9, false), 2 | 8),
        ((true, 9, false), 1 | 2 | 8),
    ];
    for ((dont_fragment, fragment_offset, more_fragments), has) in kinds {
        for bit in [1, 2, 4, 8] {
            for all in [false, true] {
                let wants =
                    |family| Nlri::builder(family).bitmask(C::Fragment, &[BitmaskOp::new(all, bit)]).build().unwrap();
                let packet = Draft { dont_fragment, fragment_offset, more_fragments, length: 60, ..draft(17) };
                assert_eq!(verdict(&wants(Family::Ipv4), &packet) == "matches", has & bit != 0, "{packet:?} {bit}");
                let packet6 = Draft { atomic: true, fragment_offset, more_fragments, length: 90, ..draft6(17) };
                // IPv6 ignores bit 0, and all of nothing is always true.
                let expected = if bit == 1 { all } else { has & bit != 0 };
                assert_eq!(verdict(&wants(Family::Ipv6), &packet6) == "matches", expected, "{packet6:?} {bit}");
            }
        }
    }
}

#[test]
fn ipv6_has_icmpv6_and_the_upper_layer_protocol() {
    let rule = |kind, value| Nlri::builder(Family::Ipv6).numeric(kind, &[equal(value)]).build().unwrap();
    let echo = Draft { icmp_type: 128, ..draft6(58) };
    assert_eq!(verdict(&rule(C::IcmpType, 128), &echo), "matches");
    assert_eq!(
        verdict(&rule(C::IcmpType, 128), &Draft { protocol: 1, ..echo.clone() }),
        "icmp-type: ICMP is not ICMPv6"
    );
    let extension = |header| flowspec::testing::Extension { header, units: 2 };
    let long = Draft { extensions: vec![extension(0), extension(43)], inner_extensions: vec![extension(60)], ..echo };
    assert_eq!(verdict(&rule(C::Protocol, 58), &long), "matches");
    assert_eq!(verdict(&rule(C::Protocol, 0), &long), "proto: packet has 58, rule wants 0");
    let hidden = Draft { fragment_offset: 3, ..long };
    assert_eq!(verdict(&rule(C::Protocol, 58), &hidden), "proto: packet tells no upper-layer protocol");
    let any = Nlri::builder(Family::Ipv6).numeric(C::Protocol, &[NumericOp::new(Comparison::True, 0)]).build();
    assert_ne!(verdict(&any.unwrap(), &hidden), "matches");
    assert_eq!(verdict(&rule(C::FlowLabel, 74565), &Draft { flow_label: 74565, ..draft6(17) }), "matches");
    assert_eq!(verdict(&rule(C::PacketLength, 100), &Draft { length: 100, ..draft6(17) }), "matches");
}

#[test]
fn frames_with_any_number_of_tags() {
    for tags in 0..40 {
        let tags: Vec<_> = (0..tags).map(|n| ([0x8100, 0x88a8, 0x9100][n % 3], n as u16)).collect();
        for draft in [tcp(1, 80, 2), draft6(17)] {
            let frame = draft.to_ethernet(&tags);
            assert_eq!(Packet::from_ethernet(&frame), Ok(packet(&draft)));
            let cut = 14 + 4 * tags.len();
            assert!((0..cut).all(|len| Packet::from_ethernet(&frame[..len]) == Err(PacketError::TruncatedEthernet)));
        }
    }
    let mut frame = draft(17).to_ethernet(&[]);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(Packet::from_ethernet(&frame), Err(PacketError::NotIp(0x0806)));
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert_eq!(Packet::from_ethernet(&frame), Err(PacketError::Version(4)));
}

fn rate(rate: f32) -> Action {
    Action::RateBytes { asn: 0, rate: Rate::new(rate).unwrap() }
}

const GO_ON: Action = Action::TrafficAction { sample: false, continues: true };

fn dport(value: u64, actions: &[Action]) -> Rule {
    Rule::new(numeric(C::DestinationPort, &[equal(value)]), actions.to_vec())
}

fn any(actions: &[Action]) -> Rule {
    Rule::new(numeric(C::Protocol, &[NumericOp::new(Comparison::True, 0)]), actions.to_vec())
}

#[test]
fn the_first_match_ends_the_search_unless_it_says_go_on() {
    let rules = [dport(443, &[rate(0.0)]), dport(80, &[]), any(&[rate(0.0)])];
    let web = packet(&tcp(1, 80, 2));
    let decision = decide(&rules, &web, Scope::Global);
    assert_eq!(decision, Decision { ended_by: Some(1), continued: vec![], effect: Effect::ACCEPT, exempt: None });
    let rules = [any(&[Action::Mark(8), GO_ON]), dport(80, &[rate(1e6), GO_ON]), any(&[Action::Mark(1), rate(5e5)])];
    let decision = decide(&rules, &web, Scope::Global);
    assert_eq!((decision.ended_by, &decision.continued[..]), (Some(2), &[0, 1][..]));
    assert_eq!(decision.effect.mark, Some(8), "the first mark stays");
    assert_eq!(decision.effect.policing, Policing::Limit { bytes: Some(5e5), packets: None });
    assert!(!decision.effect.continues);
    let decision = decide(&rules[..2], &web, Scope::Global);
    assert_eq!((decision.ended_by, decision.rule()), (None, Some(1)));
    assert!(decision.effect.continues);
    assert_eq!(decision.effect.policing, Policing::Limit { bytes: Some(1e6), packets: None });
}

#[test]
fn discard_wins_over_rates_wherever_it_comes() {
    let rules = [any(&[rate(0.0), GO_ON]), any(&[rate(1e6)])];
    assert_eq!(decide(&rules, &packet(&draft(17)), Scope::Global).effect.policing, Policing::Discard);
    assert_eq!(
        decide(rules.iter().rev(), &packet(&draft(17)), Scope::Global).rule(),
        Some(0),
        "the rate ends the search"
    );
}

#[test]
fn no_match_is_accept() {
    let decision = decide(&[dport(1, &[rate(0.0)])], &packet(&draft(17)), Scope::Global);
    assert_eq!((decision.rule(), decision.effect), (None, Effect::ACCEPT));
}

#[test]
fn vpn_rules_apply_only_in_their_vrf() {
    let nlri = Nlri::builder(Family::Vpnv4)
        .route_distinguisher(RouteDistinguisher([0; 8]))
        .numeric(C::DestinationPort, &[equal(80)])
        .build();
    let rules = [Rule::new(nlri.unwrap(), vec![rate(0.0)])];
    let web = packet(&tcp(1, 80, 2));
    assert_eq!(decide(&rules, &web, Scope::Global).rule(), None);
    assert_eq!(decide(&rules, &web, Scope::Vrf).rule(), Some(0));
    let (_, passed) = explain(&rules, &web, Scope::Global);
    assert_eq!(passed[0].1.to_string(), "a VPN rule applies only in its VRF");
}

#[test]
fn explain_tells_why_each_earlier_rule_did_not_match() {
    let rules = [dport(443, &[rate(0.0)]), dport(80, &[GO_ON]), any(&[])];
    let (decision, passed) = explain(&rules, &packet(&tcp(1, 80, 2)), Scope::Global);
    assert_eq!(decision.matched().collect::<Vec<_>>(), [1, 2]);
    let passed: Vec<_> = passed.iter().map(|(index, why)| (*index, why.to_string())).collect();
    assert_eq!(passed, [(0, "dport: packet has 80, rule wants 443".to_owned())]);
}
