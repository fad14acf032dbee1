//! Each form with what the programs print, and what is refused.

use super::*;
use flowspec::Rule;

/// The rules of a text as Floodgate writes them, `?` before those whose actions are not shown, and
/// `!` with the message of errors.
fn shown(text: &str) -> Vec<String> {
    let show = |entry: Entry| match entry {
        Entry::Line { text, .. } => format!("line {text}"),
        Entry::Rule { rule, .. } => match rule.rule() {
            Ok(rule) => rule.to_string(),
            Err(_) => format!("? {}", rule.nlri),
        },
        Entry::Error { error, .. } => format!("! {error}"),
    };
    read(text).into_iter().map(show).collect()
}

#[track_caller]
fn reads(text: &str, rules: &[&str]) {
    let rule = |text: &&str| match text.split_once(' ') {
        Some(("line" | "?", _)) => (*text).to_owned(),
        _ => text.parse::<Rule>().unwrap().to_string(),
    };
    let expected: Vec<String> = rules.iter().map(rule).collect();
    let found: Vec<String> = shown(text).into_iter().filter(|entry| entry != "line ").collect();
    assert_eq!(found, expected, "{text}");
}

#[track_caller]
fn refuses(text: &str, parts: &[&str]) {
    let shown = shown(text);
    let [error] = shown.as_slice() else { panic!("{shown:?}") };
    assert!(error.starts_with("! "), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn bird_configuration() {
    reads(
        "route flow4 { dst 192.0.2.0/24; proto = 6; dport 80,443,8000..8080; } { bgp_ext_community.add((generic, 0x80060000, 0x0)); };\n\
         flow4 { dst 198.51.100.2/32; proto = 6; tcp flags 0x02/0x12; } { bgp_ext_community.add((generic, 0x80090000, 0x2e)); }\n\
         route flow6 { dst 2001:db8::/32; src ::1234:5678:9a00:0/104 offset 65; next header 17; label 0x2345; };",
        &[
            "dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard",
            "dst 198.51.100.2/32 proto tcp tcp-flags syn&!any(ack) then mark 46",
            "dst 2001:db8::/32 src ::1234:5678:9a00:0/65-104 proto udp label 9029 then accept",
        ],
    );
}

#[test]
fn bird_tables() {
    reads(
        "BIRD 2.0.12 ready.\nTable f4:\n\
         flow4 { dst 192.0.2.1/32; proto 17; sport 123; } [sf4 12:00:00.000] * (200)\n\
         \tType: static univ\n\tBGP.ext_community: (generic, 0x80060000, 0x0) (rt, 65000, 100)\n\
         flow4 { dst 192.0.2.2/32; length > 512 && < 1500; fragment is_fragment || !first_fragment; } [sf4 12:00:00.000] * (200)\n\
         \tType: static univ\n\
         flow4 { dst 192.0.2.3/32; } [sf4 12:00:00.000] * (200)\n",
        &[
            "dst 192.0.2.1/32 proto udp sport 123 then discard community 0002fde800000064",
            "dst 192.0.2.2/32 length >512&<1500 fragment is-fragment,!any(first-fragment) then accept",
            "? dst 192.0.2.3/32",
        ],
    );
    refuses("flow4 { dst 192.0.2.1/32; colour 3; }", &["BIRD", "`colour 3`"]);
    refuses("flow4 { dst 192.0.2.1/32; proto 17; dport 1 ...}", &["cut off"]);
    refuses("route flow6 { label 0x12345; };", &["`label 74565`", "`label 9029`"]);
    refuses("route flow4 {\n dst 192.0.2.1/32;", &["`}` at the end is missing"]);
}

/// What BIRD 2.0.12 printed of rules whose octets were captured.
#[test]
fn bird_as_it_was_recorded() {
    let all = [
        "dst 198.51.100.2/32 proto tcp tcp-flags syn&!any(ack) then mark 46",
        "dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard",
        "dst 198.51.100.5/32 tcp-flags !syn+ack,!any(rst) fragment !any(is-fragment) then community 0002fde800000064",
        "dst 198.51.100.1/32 src 203.0.113.0/24 proto udp sport 53 length >512&<1500 then rate 1000000",
        "dst 198.51.100.4/32 icmp-type 8 icmp-code 0 dscp 46 then redirect 65000:100",
        "dst 198.51.100.3/32 fragment is-fragment,first-fragment then sample continue",
        "dst 198.51.100.6/32 port !=80&!=443 then accept",
    ];
    let normal = |rule: &&str| rule.parse::<Rule>().unwrap().to_string();
    let expected: Vec<String> = all.iter().map(normal).collect();
    let found = shown(include_str!("testdata/bird4.txt"));
    assert_eq!(found.iter().filter(|line| *line != "line ").collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let brief: Vec<String> = all.iter().map(|rule| format!("? {}", rule.parse::<Rule>().unwrap().nlri)).collect();
    let found = shown(include_str!("testdata/bird4-brief.txt"));
    assert_eq!(found.iter().filter(|line| *line != "line ").collect::<Vec<_>>(), brief.iter().collect::<Vec<_>>());
    let v6 = [
        "dst 2001:db8::/32 src ::1234:5678:9a00:0/65-104 then discard",
        "dst 2001:db8::/32 proto udp dport 53 then discard",
        "dst 2001:db8:1::/48 label 9029 then rate 1000pps",
    ];
    let expected: Vec<String> = v6.iter().map(normal).collect();
    let found = shown(include_str!("testdata/bird6.txt"));
    assert_eq!(found.iter().filter(|line| *line != "line ").collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    // Octet for octet what BIRD sends.
    let wire = |text: &str| {
        let entries = read(text);
        let [Entry::Rule { rule, .. }] = entries.as_slice() else { panic!("{entries:?}") };
        let mut octets = Vec::new();
        rule.nlri.encode_to(&mut octets);
        crate::hex::to_hex(&octets)
    };
    for (text, hex) in [
        ("flow4 { dst 198.51.100.2/32; proto 6; tcp flags 0x2/0x2 && 0x0/0x10; }", "0e0120c6336402038106090102c210"),
        ("flow4 { dst 192.0.2.0/24; proto 6; dport 80,443,8000..8080; }", "140118c000020381060501501101bb131f40d51f90"),
        (
            "flow4 { dst 198.51.100.1/32; src 203.0.113.0/24; proto 17; sport 53; length > 512 && < 1500; }",
            "180120c63364010218cb00710381110681350a120200d405dc",
        ),
    ] {
        assert_eq!(wire(text), hex, "{text}");
    }
}

/// What FRR 8.4 printed of the rules of BIRD above, as far as it takes them.
#[test]
fn frr_as_it_was_recorded() {
    let found = shown(include_str!("testdata/frr4.txt"));
    let (errors, rules): (Vec<_>, Vec<_>) =
        found.iter().filter(|line| *line != "line ").partition(|line| line.starts_with("! "));
    assert!(errors.len() == 1 && errors[0].contains("FS:action eval stops"), "{errors:?}");
    let expected = [
        "dst 198.51.100.4/32 icmp-type 8 icmp-code 0 dscp 46 then redirect 65000:100",
        "dst 198.51.100.1/32 src 203.0.113.0/24 proto udp sport 53 length >512&<1500 then rate 1000000",
        "dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard",
        "dst 198.51.100.2/32 proto tcp tcp-flags syn&!any(ack) then mark 46",
    ];
    let expected: Vec<String> = expected.iter().map(|rule| rule.parse::<Rule>().unwrap().to_string()).collect();
    assert_eq!(rules, expected.iter().collect::<Vec<_>>());
}

/// What GoBGP 3.10 printed of rules that were added on its command line.
#[test]
fn gobgp_as_it_was_recorded() {
    for (file, added) in [
        (
            include_str!("testdata/gobgp4.txt"),
            &[
                "match destination 10.0.2.0/24 fragment is-fragment+first-fragment dont-fragment packet-length >=512&<=1500 dscp ==46 then mark 46",
                "match destination 10.0.4.0/24 then accept",
                "match destination 10.0.6.0/24 then redirect 192.0.2.9:100",
                "match destination 10.0.7.0/24 then rate-limit 0",
                "match destination 192.0.2.1/32 protocol udp source-port ==123 then discard",
                "match destination 10.0.0.0/24 protocol tcp udp tcp-flags =S&!=A !F then rate-limit 9600 as 65002",
                "match destination 10.0.1.0/24 destination-port ==80 >=8000&<=8080 then redirect 65000:100",
            ][..],
        ),
        (
            include_str!("testdata/gobgp6.txt"),
            &[
                "match destination 2001:db8::1/128 protocol udp source-port ==123 then discard",
                "match destination 2001:db8::/32 label ==74565 then redirect [2001:db8::9]:100",
            ],
        ),
    ] {
        let expected: Vec<String> = added.iter().map(|rule| rule.parse::<Rule>().unwrap().to_string()).collect();
        assert_eq!(shown(file), expected);
    }
}

#[test]
fn junos_tables() {
    reads(
        "lab@rtme> show route table inetflow.0 extensive\n\n\
         inetflow.0: 2 destinations, 4 routes (2 active, 0 holddown, 2 hidden)\n\
         10.10.10.10,*,proto=6,dstport=8000,tcp-flag=02,len>=40&<=54/term:1 (2 entries, 1 announced)\n\
         \x20       *BGP    Preference: 170/-101\n\
         \x20               Communities: traffic-rate:0:0\n\
         192.168.1.1,*,proto=6,dstport=1024,=1025,>=5000&<=5010/term:2 (1 entry, 1 announced)\n\
         TSI:\nKRT in dfwd;\nAction(s): discard,count\n",
        &[
            "dst 10.10.10.10/32 proto tcp dport 8000 tcp-flags syn length 40-54 then discard",
            "dst 192.168.1.1/32 proto tcp dport 1024,1025,5000-5010 then discard",
        ],
    );
    reads(
        "* *,172.16.1.1/term:3 (1 entry, 1 announced)\n     Accepted\n     Communities: redirect:65000:100\n\
         10/8,0/0,tcp-flag:12,frag:02/term:4\n",
        &[
            "src 172.16.1.1/32 then redirect 65000:100",
            "? dst 10.0.0.0/8 src 0.0.0.0/0 tcp-flags any(syn+ack) fragment any(is-fragment)",
        ],
    );
    refuses(
        "10.0.0.1,*/term:1 (1 entry)\n   Communities: traffic-rate:0:125000\n",
        &["rate 125000`", "rate 125000bps`"],
    );
}

#[test]
fn junos_configuration() {
    let rules = [
        "dst 192.0.2.1/32 proto udp sport 123,53 then rate 10mbps",
        "dst 198.51.100.0/24 proto tcp tcp-flags any(syn)&!any(ack) fragment any(is-fragment) then discard",
    ];
    reads(
        "set routing-options flow route ntp match destination 192.0.2.1/32\n\
         set routing-options flow route ntp match protocol udp\n\
         set routing-options flow route syn match destination 198.51.100.0/24\n\
         set routing-options flow route ntp match source-port [ ntp domain ]\n\
         set routing-options flow route syn match protocol tcp\n\
         set routing-options flow route syn match tcp-flags \"syn & !ack\"\n\
         set routing-options flow route syn match fragment is-fragment\n\
         set routing-options flow term-order standard\n\
         set routing-options flow route ntp then rate-limit 10m\n\
         set routing-options flow route syn then discard\n",
        &rules,
    );
    reads(
        "routing-options {\n    flow {\n        route ntp {\n            match {\n                destination 192.0.2.1/32;\n\
         \x20               protocol udp;\n                source-port [ ntp domain ];\n            }\n\
         \x20           then rate-limit 10m;\n        }\n        route syn {\n            match {\n\
         \x20               destination 198.51.100.0/24;\n                protocol tcp;\n\
         \x20               tcp-flags \"syn & !ack\";\n                fragment is-fragment;\n            }\n\
         \x20           then discard;\n        }\n        term-order standard;\n    }\n}\n",
        &rules,
    );
    reads("set routing-options flow route a match destination 192.0.2.1/32\n", &["? dst 192.0.2.1/32"]);
    refuses(
        "set routing-options flow route a match destination 192.0.2.1/32\n\
         set routing-options flow route a then redirect 192.0.2.9\n",
        &["redirect 192.0.2.9`", "redirect next-hop 192.0.2.9`"],
    );
}

#[test]
fn a_rate_without_unit_is_bits_to_junos_and_bytes_to_exabgp() {
    let route = "    route a {\n        match {\n            destination 192.0.2.1/32;\n        }\n        then {\n            rate-limit 9600;\n        }\n    }\n";
    reads(&format!("routing-options {{\n  flow {{\n{route}  }}\n}}\n"), &["dst 192.0.2.1/32 then rate 9600bps"]);
    reads(&format!("neighbor 192.0.2.9 {{\n  flow {{\n{route}  }}\n}}\n"), &["dst 192.0.2.1/32 then rate 9600"]);
    refuses(&format!("flow {{\n{route}}}\n"), &["Junos", "ExaBGP", "rate 1200`", "rate 9600`"]);
    let discard = route.replace("rate-limit 9600", "discard");
    reads(&format!("flow {{\n{discard}}}\n"), &["dst 192.0.2.1/32 then discard"]);
}

#[test]
fn exabgp_configuration_and_json() {
    reads(
        "neighbor 192.0.2.1 {\n  router-id 192.0.2.2;\n  flow {\n    route vpn {\n      rd 65003:100;\n\
         \x20     match {\n        destination 10.1.0.0/24;\n        destination-port [ =80 >=8000&<=8080 ];\n      }\n\
         \x20     then {\n        discard;\n        extended-community [ target:65003:100 ];\n      }\n    }\n  }\n}\n",
        &["rd 65003:100 dst 10.1.0.0/24 dport 80,8000-8080 then discard community 0002fdeb00000064"],
    );
    reads(
        "{ \"exabgp\": \"4.0.1\", \"type\": \"update\", \"neighbor\": { \"message\": { \"update\": { \"attribute\": { \
         \"extended-community\": [ { \"value\": 9225060886715039744, \"string\": \"rate-limit:0\" } ] }, \"announce\": { \
         \"ipv4 flow\": { \"no-nexthop\": [ { \"destination-ipv4\": [ \"192.0.2.1/32\" ], \"string\": \"flow destination-ipv4 \
         192.0.2.1/32 protocol =udp\" } ] } } } } } }",
        &["dst 192.0.2.1/32 proto udp then discard"],
    );
}

#[test]
fn ios_xr_tables() {
    reads(
        "RP/0/0/CPU0:CE# show flowspec ipv4 detail\nSun Jul 28 12:07:41.925 UTC\n\nAFI: IPv4\n\
         \x20 Flow           :Dest:172.16.0.0/29,Proto:=17|=6,DPort:>=1024&<=2048|=53\n\
         \x20   Actions      :Traffic-rate: 0 bps (policy.1.attack_pbr.attack-fs)\n\
         \x20   Statistics                        (packets/bytes)\n      Matched             :                1376/63296\n\
         \x20 Flow           :Dest:27.146.73.155/32,Proto:=6,TCPFlags:~0x10,Length:=52,Frag:~IsF\n\
         \x20   Actions      :Traffic-rate: 5242880 bps  (bgp.1)\n\
         \x20 Flow           :Dest:70.2.1.1/32,ICMPType:=2,ICMPCode:=2\n\
         \x20   Actions      :Redirect: VRF blue Route-target: ASN2-1:10  (policy.1.a.b)\n\
         \x20 Flow           :Dest:7.7.7.7/32\n    Actions      :transmit  (bgp.1)\n\
         \x20 Flow           :Dest:70.2.1.2/32\n    Actions      :Nexthop: 16.16.16.3  (policy.1.c.d)\n",
        &[
            "dst 172.16.0.0/29 proto udp,tcp dport 1024-2048,53 then discard",
            "dst 27.146.73.155/32 proto tcp tcp-flags any(ack) length 52 fragment any(is-fragment) then rate 5242880bps",
            "dst 70.2.1.1/32 icmp-type 2 icmp-code 2 then redirect 1:10",
            "dst 7.7.7.7/32 then accept",
            "dst 70.2.1.2/32 then redirect next-hop 16.16.16.3",
        ],
    );
    reads(
        "ios-pe1#show bgp ipv4 flowspec detail\n\
         BGP routing table entry for Dest:10.10.10.10/32,Proto:=6,DPort:=8000,TCPFlags:=0x02,Length:>=40&<=54, version 2\n\
         \x20 Paths: (2 available, best #2, table IPv4-Flowspec-BGP-Table)\n\
         \x20     Extended Community: FLOWSPEC Traffic-rate:0,0\n",
        &["dst 10.10.10.10/32 proto tcp dport 8000 tcp-flags syn length 40-54 then discard"],
    );
    refuses("  Flow           :Dest:10.0.0.1/32,Colour:=3\n    Actions :transmit (x)", &["`Colour`"]);
}

#[test]
fn ios_xr_configuration() {
    reads(
        "class-map type traffic match-all FS-DNS-AMP\n match destination-address ipv4 198.51.100.9 255.255.255.255\n\
         \x20match protocol udp\n match source-port 53\n end-class-map\n!\nclass-map type traffic match-all FS-SYN\n\
         \x20match destination-address ipv4 198.51.100.0 255.255.255.0\n match protocol tcp\n match tcp-flag 0x02 mask 0x02   ! SYN set\n\
         \x20end-class-map\n!\npolicy-map type pbr FS-POLICY\n class type traffic FS-DNS-AMP\n  drop\n class type traffic FS-SYN\n\
         \x20 police rate 10 mbps\n class type traffic class-default\n!\nflowspec\n address-family ipv4\n  service-policy type pbr FS-POLICY\n!\n",
        &[
            "dst 198.51.100.9/32 proto udp sport 53 then discard",
            "dst 198.51.100.0/24 proto tcp tcp-flags syn then rate 10mbps",
        ],
    );
    // A rule behind it is not swallowed.
    reads(
        "class-map type traffic match-all A\n match destination-address ipv4 192.0.2.1 255.255.255.255\npolicy-map type pbr P\n class type traffic A\n  drop\n\
         match destination 192.0.2.0/24 then discard\n",
        &["dst 192.0.2.1/32 then discard", "line match destination 192.0.2.0/24 then discard"],
    );
    reads(
        "class-map type traffic match-all A\n match destination-address ipv4 192.0.2.1 255.255.255.255\n",
        &["? dst 192.0.2.1/32"],
    );
}

#[test]
fn frr_details() {
    reads(
        "frr-ed1# show bgp ipv4 flowspec detail\nBGP flowspec entry: (flags 0x418)\n\tDestination Address 10.10.10.10/32\n\
         \tIP Protocol = 17 \n\tDestination Port = 53 , = 80 \n\tPacket Length >= 512 , <= 1500 \n\tTCP Flags = 2,&= ! 16\n\
         \tFS:rate 0.000000\n\treceived for 00:18:52\n\tnot installed in PBR\n\nDisplayed  1 flowspec entries\n",
        &["dst 10.10.10.10/32 proto udp dport 53,80 tcp-flags syn&!ack length 512-1500 then discard"],
    );
    reads(
        "BGP flowspec entry: (flags 0x418)\n\tDestination Address 5.5.5.2/32\n\tFS:redirect VRF RT:255.255.255.255:255\n\treceived for 1\n",
        &["dst 5.5.5.2/32 then redirect 255.255.255.255:255"],
    );
    refuses(
        "BGP flowspec entry: (flags 0x418)\n\tDestination Address 5.5.5.2/32\n\tFS:action terminal\n",
        &["`continue`", "no `continue`"],
    );
}

#[test]
fn gobgp_tables() {
    reads(
        "   Network                                                         Next Hop             AS_PATH              Age        Attrs\n\
         *> [destination: 192.0.2.1/32][protocol: ==udp][source-port: ==123] fictitious                                00:00:01   [{Origin: ?} {Extcomms: [discard]}]\n\
         *> [destination: 10.0.0.0/24][protocol: ==tcp][tcp-flags: =S&!=A] fictitious  65001  00:00:01   [{Origin: i} {Extcomms: [rate: 9600.000000(as: 65002)]}]\n\
         *> [destination: 10.0.1.0/24] fictitious  65001  00:00:01   [{Origin: i} {Extcomms: [redirect: 65000:100], [remark: 46]}]\n",
        &[
            "dst 192.0.2.1/32 proto udp sport 123 then discard",
            "dst 10.0.0.0/24 proto tcp tcp-flags syn&!ack then rate 9600 as 65002",
            "dst 10.0.1.0/24 then redirect 65000:100 mark 46",
        ],
    );
}

#[test]
fn fastnetmon_json() {
    reads(
        "{\n  \"source_prefix\": \"4.0.0.0\\/24\",\n  \"destination_prefix\": \"127.0.0.0\\/24\",\n  \"destination_ports\": [ 80 ],\n\
         \x20 \"source_ports\": [ 53, 5353 ],\n  \"packet_lengths\": [ 777, 1122 ],\n  \"protocols\": [ \"tcp\" ],\n\
         \x20 \"fragmentation_flags\":[ \"is-fragment\", \"dont-fragment\" ],\n  \"tcp_flags\": [ \"syn\" ],\n\
         \x20 \"action_type\": \"rate-limit\",\n  \"action\": { \"rate\": 1024 }\n}\n",
        &[
            "dst 127.0.0.0/24 src 4.0.0.0/24 proto tcp dport 80 sport 53,5353 tcp-flags any(syn) length 777,1122 fragment any(is-fragment),any(dont-fragment) then rate 1024",
        ],
    );
    refuses(
        "{ \"destination_prefix\": \"192.0.2.1/32\", \"tcp_flags\": [ \"syn|ack\" ], \"action_type\": \"discard\" }",
        &["any(syn+ack)", "=syn+ack"],
    );
    refuses("{ \"destination_prefix\": 3, \"action_type\": \"discard\" }", &["`destination_prefix`"]);
    refuses("{ \"destination_prefix\": ", &["missing"]);
}

#[test]
fn other_lines_come_back_with_their_numbers() {
    let text = "# comment\ndst 192.0.2.1/32 then discard\nwire ipv4 0601200a000001\nmatch destination 10.0.0.0/24 then discard\n\
                flow route { match { destination 10.0.0.1/32; } then { discard; } }\nnonsense\n[destination: 10.0.0.0/24] then discard\n";
    let lines: Vec<(usize, String)> =
        text.lines().map(str::to_owned).enumerate().map(|(n, line)| (n + 1, line)).collect();
    let found: Vec<(usize, String)> = read(text)
        .into_iter()
        .map(|entry| match entry {
            Entry::Line { number, text } => (number, text),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, lines);
    let reader = Reader::new();
    assert!(lines.iter().all(|(_, line)| reader.passes(line)));
}

#[test]
fn no_text_makes_it_panic_or_collect_without_end() {
    for text in [
        "flow4 {",
        "}",
        "{",
        "{}",
        "[",
        "class-map type traffic",
        "set a flow route",
        "/term:",
        ",/term:1",
        "Flow :",
        "BGP flowspec entry:",
    ] {
        read(text);
    }
    let mut reader = Reader::new();
    let mut entries = reader.take(1, "flow {");
    let long = "x ".repeat(4000);
    for number in 2..400 {
        entries.extend(reader.take(number, &long));
    }
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Error { error: ForeignError::Unfinished { .. }, .. })));
}

/// What was recorded, damaged: nothing panics, and whatever is read is a rule whose text reads
/// back.
#[test]
fn damaged_text_is_read_or_refused() {
    use flowspec::testing::Seed;
    let texts = [
        include_str!("testdata/bird4.txt"),
        include_str!("testdata/bird6.txt"),
        include_str!("testdata/frr4.txt"),
        include_str!("testdata/gobgp4.txt"),
        "10.0.0.1,*,proto=6,dstport=80,=443,tcp-flag:02/term:1 (1 entry)\n        Communities: traffic-rate:0:0 redirect:65000:1\n",
        "set routing-options flow route a match destination 192.0.2.1/32\nset routing-options flow route a then discard\n",
        "routing-options {\n flow {\n  route a {\n   match {\n    destination 192.0.2.1/32;\n   }\n   then discard;\n  }\n }\n}\n",
        "  Flow           :Dest:10.0.0.1/32,Proto:=17|=6,Frag:~IsF\n    Actions      :Traffic-rate: 0 bps (x)\n",
        "class-map type traffic match-all A\n match destination-address ipv4 192.0.2.1 255.255.255.255\npolicy-map type pbr P\n class type traffic A\n  drop\n",
        "{ \"destination_prefix\": \"192.0.2.1/32\", \"tcp_flags\": [ \"syn\" ], \"action_type\": \"discard\" }\n",
    ];
    let alphabet: Vec<char> = " \t\n{}[](),;:=<>!&|~/\"'-+*0123456789abcxyzäß∋".chars().collect();
    let mut seed = Seed::new(3);
    for number in 0..4000 {
        let mut text: Vec<char> = texts[number % texts.len()].chars().collect();
        for _ in 0..=seed.below(4) {
            let at = seed.below(text.len() as u64) as usize;
            let other = alphabet[seed.below(alphabet.len() as u64) as usize];
            match seed.below(3) {
                0 => text[at] = other,
                1 => text.insert(at, other),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        for entry in read(&text) {
            if let Entry::Rule { rule, .. } = entry
                && let Ok(rule) = rule.rule()
            {
                assert_eq!(rule.to_string().parse::<Rule>().as_ref(), Ok(&rule), "{text}");
            }
        }
    }
}
