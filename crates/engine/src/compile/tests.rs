//! Verdicts by tables, and by random rules and packets.

use super::*;
use crate::capability::{Ability, Limitations};
use flowspec::ComponentType;
use flowspec::Packet;
use flowspec::space::FragmentSet;
use flowspec::testing::{PacketShape, Seed, Shape, random_packet_for, random_rule};

/// A switch: values under masks, single ranges for ports, some kinds of fragment.
fn switch() -> Capabilities {
    let mut switch = Capabilities::everything("switch")
        .with_field(ComponentType::Protocol, Ability::Value)
        .with_field(ComponentType::Port, Ability::Unsupported)
        .with_field(ComponentType::DestinationPort, Ability::Range)
        .with_field(ComponentType::SourcePort, Ability::Range)
        .with_field(ComponentType::IcmpType, Ability::Value)
        .with_field(ComponentType::IcmpCode, Ability::Value)
        .with_field(ComponentType::TcpFlags, Ability::Masked)
        .with_field(ComponentType::PacketLength, Ability::Unsupported)
        .with_field(ComponentType::Dscp, Ability::Masked)
        .with_field(ComponentType::Fragment, Ability::Value)
        .with_field(ComponentType::FlowLabel, Ability::Masked);
    switch.fragment_sets = [0xcc, 0x33, 0x11, 0x22].map(FragmentSet).into();
    switch.ipv6_offset = false;
    switch.actions.shared_policer = false;
    switch.actions.redirect_vrf = false;
    switch.max_entries_per_rule = 64;
    switch
}

/// The same, with few ranges of ports, and with flags that can only be required to be set, and not
/// in IPv6.
fn scarce() -> Capabilities {
    let limitations =
        Limitations { short_ranges: 5, set_only_flags: 0xc0, no_ipv6_flags: 0xc0, ..Limitations::default() };
    Capabilities { limitations, tcp_flag_bits: 0xff, overlap: true, ..switch() }
}

/// Masks for everything, and no limit except the test's duration.
fn ternary() -> Capabilities {
    let mut ternary = Capabilities::everything("ternary");
    ternary.fields = [Ability::Masked; 13];
    ternary.fragment_sets = (0..8).map(|kind| FragmentSet(1 << kind)).collect();
    ternary.max_entries_per_rule = 300;
    ternary
}

/// A few ranges an entry, values of flags.
fn ranges() -> Capabilities {
    let mut ranges = Capabilities::everything("ranges");
    ranges.fields = [Ability::Ranges(2); 13];
    ranges.fragment_sets = vec![FragmentSet(0x33), FragmentSet(0xcc)];
    ranges.max_entries_per_rule = 300;
    ranges
}

fn verdict(text: &str, capabilities: &Capabilities) -> String {
    match compile(&text.parse().unwrap(), capabilities) {
        Verdict::Exact(rule) => rule.entries.len().to_string(),
        Verdict::Refused(refusal) => refusal.to_string(),
    }
}

#[test]
fn what_a_switch_makes_of_rules() {
    let switch = switch();
    let table = [
        ("dst 192.0.2.1/32 proto udp sport 123 then discard", "1"),
        ("dst 192.0.2.1/32 then discard", "1"),
        ("dst 192.0.2.1/32 sport 123 then discard", "2"),
        ("dst 192.0.2.1/32 proto tcp dport !=80 then discard", "2"),
        ("dst 192.0.2.1/32 proto tcp dport 80,443,8000-8080 then discard", "3"),
        // Source port 53 with any destination, and the source ports below and above with
        // destination port 53.
        ("dst 192.0.2.1/32 proto udp port 53 then discard", "3"),
        ("dst 192.0.2.1/32 proto udp port 53 sport 53 then discard", "1"),
        ("dst 192.0.2.1/32 proto tcp tcp-flags syn&!ack then discard", "1"),
        ("dst 192.0.2.1/32 fragment is-fragment then discard", "1"),
        ("dst 192.0.2.1/32 fragment is-fragment,first-fragment then discard", "2"),
        ("dst 192.0.2.1/32 fragment last-fragment then discard", "these kinds of fragment cannot be matched by switch"),
        ("dst 192.0.2.1/32 dscp 46 then discard", "1"),
        ("dst 192.0.2.1/32 proto udp dport 53 icmp-type 8 then discard", "0"),
        ("dst 192.0.2.1/32 length >=512 then discard", "packet length cannot be matched by switch"),
        ("dst 192.0.2.1/32 proto udp dport 53 then rate 1mbps", "1"),
        (
            "dst 192.0.2.1/32 sport 53 then rate 1mbps",
            "the rule takes 2 entries, which cannot share one rate limit in switch",
        ),
        ("dst 192.0.2.1/32 then redirect 65000:100", "redirection to a VRF cannot be done by switch"),
        // A discarded packet is not redirected.
        ("dst 192.0.2.1/32 then discard redirect 65000:100", "1"),
        ("dst 192.0.2.1/32 icmp-type <70 then discard", "it takes 70 entries; switch allows 64 for one rule"),
    ];
    for (text, expected) in table {
        assert_eq!(verdict(text, &switch), expected, "{text}");
    }
    let overlapping = Capabilities { overlap: true, ..switch };
    for (text, expected) in [
        ("dst 192.0.2.1/32 proto udp port 53 then discard", "2"),
        ("dst 192.0.2.1/32 proto udp port 53,123,1900 then discard", "6"),
        ("dst 192.0.2.1/32 proto udp port 53 sport 53 then discard", "1"),
        ("dst 192.0.2.1/32 proto udp port 53 sport 54 dport 53 then discard", "1"),
        ("dst 192.0.2.1/32 proto udp port 53 sport 54 dport 54 then discard", "0"),
    ] {
        assert_eq!(verdict(text, &overlapping), expected, "{text}");
    }
}

#[test]
fn scarce_ranges_and_flags() {
    let scarce = scarce();
    for (text, expected) in [
        ("dst 192.0.2.1/32 proto udp sport 1-5 then discard", "5"),
        ("dst 192.0.2.1/32 proto udp sport 1-6 then discard", "1"),
        ("dst 192.0.2.1/32 proto udp sport 1,2,3,9-20 then discard", "4"),
        ("dst 192.0.2.1/32 proto udp dport !=80 then discard", "2"),
        // A port below and one above, expanded.
        ("dst 192.0.2.1/32 proto udp dport 1,3 then discard", "2"),
        // A policer belongs to one entry.
        ("dst 192.0.2.1/32 proto udp sport 1-3 then rate 1mbps", "1"),
        ("dst 192.0.2.1/32 proto tcp tcp-flags ece then discard", "1"),
        ("dst 192.0.2.1/32 proto tcp tcp-flags ece,cwr then discard", "2"),
        ("dst 192.0.2.1/32 proto tcp tcp-flags syn&ece&cwr then discard", "1"),
        (
            "dst 192.0.2.1/32 proto tcp tcp-flags syn&!ece then discard",
            "some of these TCP flags cannot be matched by switch",
        ),
        (
            "dst 2001:db8::/32 proto tcp tcp-flags ece then discard",
            "some of these TCP flags cannot be matched by switch",
        ),
        ("dst 2001:db8::/32 proto tcp tcp-flags syn then discard", "1"),
    ] {
        assert_eq!(verdict(text, &scarce), expected, "{text}");
    }
}

#[test]
fn what_no_data_plane_does() {
    let none = Capabilities::everything("none");
    let vpn = "vpnv4 rd 65000:1 dst 192.0.2.1/32 then discard";
    assert_eq!(verdict(vpn, &none), "a VPN rule applies to a VRF, and there is none here");
    let no_ipv6 = Capabilities { ipv6: false, ..none };
    assert_eq!(verdict("dst 2001:db8::1/128 then discard", &no_ipv6), "IPv6 cannot be filtered by none");
    assert_eq!(verdict("dst 192.0.2.1/32 then discard", &no_ipv6), "1");
}

/// Whether each entry is one that the data plane can express.
fn expressible(space: &Space, capabilities: &Capabilities) -> bool {
    let numbers = [
        (ComponentType::Protocol, space.protocol().map(|set| set.to_intervals())),
        (ComponentType::Port, space.port().cloned()),
        (ComponentType::DestinationPort, space.destination_port().cloned()),
        (ComponentType::SourcePort, space.source_port().cloned()),
        (ComponentType::IcmpType, space.icmp_type().cloned()),
        (ComponentType::IcmpCode, space.icmp_code().cloned()),
        (ComponentType::PacketLength, space.length().cloned()),
        (ComponentType::Dscp, space.dscp().map(|set| set.to_intervals())),
        (ComponentType::FlowLabel, space.label().cloned()),
    ];
    let numbers = numbers.into_iter().all(|(field, set)| {
        set.is_none_or(|set| match capabilities.field(field) {
            Ability::Unsupported => false,
            Ability::Set => true,
            Ability::Value => set.values() == 1,
            Ability::Masked => set.masked_len() == 1,
            Ability::Range => set.len() == 1,
            Ability::Ranges(most) => set.len() <= usize::from(most),
        })
    });
    let flags = space.tcp_flags().is_none_or(|set| match capabilities.field(ComponentType::TcpFlags) {
        Ability::Unsupported => false,
        Ability::Set => true,
        Ability::Masked => set.cubes_len() == 1,
        Ability::Value | Ability::Range | Ability::Ranges(_) => set.values() == 1,
    });
    let fragment = space.fragment().is_none_or(|set| match capabilities.field(ComponentType::Fragment) {
        _ if space.fragment_is_implied() => true,
        Ability::Unsupported => false,
        Ability::Set => true,
        _ => {
            let guard = space.fields().has_any(flowspec::space::Fields::L4);
            capabilities.fragment_sets.iter().any(|one| {
                let one = one.intersect(FragmentSet::possible(space.version()));
                set == if guard { one.intersect(FragmentSet::WITH_L4_HEADER) } else { one }
            })
        }
    });
    numbers && flags && fragment
}

/// The entries are within what the data plane can express, no packet is in two of them where that
/// matters, and together they are the rule.
#[test]
fn entries_are_exact() {
    let mut seed = Seed::new(20);
    let (mut exact, mut hits, mut several) = (0, 0, 0);
    let overlapping = Capabilities { overlap: true, ..switch() };
    for capabilities in [switch(), overlapping, scarce(), ternary(), ranges(), Capabilities::everything("none")] {
        for round in 0..600 {
            let version = if round % 2 == 0 { IpVersion::V4 } else { IpVersion::V6 };
            let shape = if round % 3 == 0 { Shape::everything() } else { Shape::plain() };
            let rule = random_rule(&mut seed, version, &shape);
            let Verdict::Exact(compiled) = compile(&rule, &capabilities) else { continue };
            exact += 1;
            several += u32::from(compiled.entries.len() > 1);
            for entry in &compiled.entries {
                assert!(expressible(entry, &capabilities), "{rule} on {}: {entry:?}", capabilities.name);
            }
            for _ in 0..12 {
                let octets =
                    random_packet_for(&mut seed, version, [&rule.nlri].into_iter(), &PacketShape::everything());
                let packet = Packet::from_ip(&octets).unwrap();
                let matching = compiled.entries.iter().filter(|entry| entry.matches(&packet)).count();
                let expected = usize::from(rule.nlri.matches(&packet).is_ok());
                hits += expected;
                let matching = if capabilities.overlap { matching.min(1) } else { matching };
                assert_eq!(matching, expected, "{rule} on {}: {octets:02x?}", capabilities.name);
            }
        }
    }
    assert!(exact > 1200 && several > 150 && hits > 3000, "too little tried: {exact} {several} {hits}");
}

#[test]
fn a_rule_after_a_refused_exception_is_refused() {
    let no_lengths = Capabilities::everything("p").with_field(ComponentType::PacketLength, Ability::Unsupported);
    let rules = [
        "dst 192.0.2.1/32 proto udp then discard",
        "dst 192.0.2.1/32 proto udp length <100 then accept",
        "dst 192.0.2.1/32 proto tcp then discard",
        "dst 192.0.2.2/32 length <100 then discard",
        "dst 192.0.2.2/32 then discard",
        "proto udp then discard",
        "proto udp dport 53 then accept",
    ]
    .map(|text| text.parse().unwrap());
    let verdicts: Vec<_> = compile_list(&rules, &no_lengths)
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Exact(_) => "exact",
            Verdict::Refused(refusal) => refusal.kind.name(),
        })
        .collect();
    assert_eq!(verdicts, ["exception", "field", "exact", "field", "exact", "exception", "exact"]);
}

/// Without the refused rules, no packet gets an effect that the whole list does not give it, except
/// that it may pass.
#[test]
fn a_refused_rule_never_drops_what_no_rule_names() {
    let mut seed = Seed::new(7);
    let capabilities = switch();
    let mut let_through = 0;
    for round in 0..200 {
        let version = if round % 2 == 0 { IpVersion::V4 } else { IpVersion::V6 };
        let rules = flowspec::testing::random_rules(&mut seed, version, &Shape::plain(), 12);
        let verdicts = compile_list(&rules, &capabilities);
        let kept: Vec<Rule> = rules
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Exact(_)))
            .map(|(rule, _)| rule.clone())
            .collect();
        for _ in 0..40 {
            let nlris = rules.iter().map(|rule| &rule.nlri);
            let octets = random_packet_for(&mut seed, version, nlris, &PacketShape::everything());
            let packet = Packet::from_ip(&octets).unwrap();
            let whole = flowspec::decide(&rules, &packet, flowspec::Scope::Global).effect;
            let enforced = flowspec::decide(&kept, &packet, flowspec::Scope::Global).effect;
            let passed = enforced.policing == Policing::None;
            let_through += u32::from(passed && whole.policing != Policing::None);
            assert!(passed || enforced.policing == whole.policing, "{octets:02x?}");
        }
    }
    assert!(let_through > 30, "nothing was refused: {let_through}");
}
