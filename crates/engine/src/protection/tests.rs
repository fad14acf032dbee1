use super::*;
use flowspec::Packet;
use flowspec::testing::Draft;

fn draft(protocol: u8, source: &str, destination: &str) -> Draft {
    Draft::new(protocol, source.parse().unwrap(), destination.parse().unwrap())
}

fn passes(protection: &Protection, draft: &Draft) -> bool {
    let packet = Packet::from_ip(&draft.to_ip()).unwrap();
    protection.items().iter().any(|item| item.space.matches(&packet))
}

fn own() -> BTreeSet<IpAddr> {
    ["192.0.2.10", "2001:db8::10", "fe80::10"].map(|text| text.parse().unwrap()).into()
}

fn preset(name: &str, from: Option<&str>) -> Protection {
    let mut protection = Protection::default();
    protection.preset(Preset::named(name).unwrap(), &own(), from.map(|from| from.parse().unwrap()));
    protection
}

#[test]
fn sessions_of_other_daemons_are_protected_whoever_opened_them() {
    let protection = preset("bgp", None);
    let packet = |source, destination, ports: (u16, u16)| Draft {
        source_port: ports.0,
        destination_port: ports.1,
        ..draft(6, source, destination)
    };
    for (source, destination) in
        [("198.51.100.1", "192.0.2.10"), ("2001:db8:1::1", "2001:db8::10"), ("fe80::1", "fe80::10")]
    {
        assert!(passes(&protection, &packet(source, destination, (40000, 179))), "the peer connected");
        assert!(passes(&protection, &packet(source, destination, (179, 40000))), "we connected");
        assert!(!passes(&protection, &packet(source, destination, (40000, 80))));
        assert!(!passes(&protection, &Draft { protocol: 17, ..packet(source, destination, (179, 179)) }));
    }
    assert!(!passes(&protection, &packet("198.51.100.1", "192.0.2.11", (179, 40000))), "not our address");
    let limited = preset("bgp", Some("198.51.100.0/24"));
    assert!(passes(&limited, &packet("198.51.100.1", "192.0.2.10", (179, 40000))));
    assert!(!passes(&limited, &packet("203.0.113.1", "192.0.2.10", (179, 40000))), "another source");
    assert!(!passes(&limited, &packet("2001:db8:1::1", "2001:db8::10", (179, 40000))), "another IP version");
}

#[test]
fn routing_protocols_are_protected_to_us_and_to_their_groups_and_nowhere_else() {
    for (name, protocol, group4, group6) in [
        ("ospf", 89, "224.0.0.5", "ff02::6"),
        ("vrrp", 112, "224.0.0.18", "ff02::12"),
        ("pim", 103, "224.0.0.13", "ff02::d"),
    ] {
        let protection = preset(name, None);
        for destination in [group4, "192.0.2.10"] {
            assert!(passes(&protection, &draft(protocol, "198.51.100.1", destination)), "{name} to {destination}");
        }
        for destination in [group6, "fe80::10"] {
            assert!(passes(&protection, &draft(protocol, "fe80::1", destination)), "{name} to {destination}");
        }
        assert!(!passes(&protection, &draft(protocol, "198.51.100.1", "203.0.113.1")), "{name} is forwarded");
        assert!(!passes(&protection, &draft(protocol, "198.51.100.1", "224.0.0.251")), "{name} to another group");
        assert!(!passes(&protection, &draft(17, "198.51.100.1", group4)), "{name}: UDP");
    }
}

#[test]
fn multicast_listeners_are_protected_by_type_and_destination() {
    let protection = preset("mld", None);
    let message = |kind, destination| Draft { icmp_type: kind, ..draft(58, "fe80::1", destination) };
    for kind in [130, 131, 132, 143] {
        assert!(passes(&protection, &message(kind, "ff02::16")) && passes(&protection, &message(kind, "ff05::1:3")));
        assert!(!passes(&protection, &message(kind, "2001:db8::10")));
    }
    assert!(!passes(&protection, &message(128, "ff02::1")), "an echo request");
}

#[test]
fn a_source_is_protected_from_rules_with_any_destination() {
    let mut protection = Protection::default();
    protection.source("198.51.100.0/25".parse().unwrap());
    assert!(passes(&protection, &draft(17, "198.51.100.100", "203.0.113.1")));
    assert!(!passes(&protection, &draft(17, "198.51.100.200", "203.0.113.1")));
    let rule: flowspec::Rule = "src 198.51.100.7/32 proto udp".parse().unwrap();
    assert_eq!(protection.covers(&Space::of(&rule.nlri)), Some("packets from 198.51.100.0/25"));
    let rule: flowspec::Rule = "src 198.51.100.0/24".parse().unwrap();
    assert_eq!(protection.covers(&Space::of(&rule.nlri)), None, "half of its packets are not protected");
}

#[test]
fn what_two_lines_mean_is_kept_once() {
    let mut protection = preset("ssh", None);
    let before = protection.items().len();
    for address in own() {
        protection.traffic(Traffic::Port { protocol: 6, port: 22 }, address.into(), None);
    }
    assert_eq!(protection.items().len(), before);
}
