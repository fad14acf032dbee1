//! Rule text: tables of examples, the identities, and that no text at all makes it panic.

use flowspec::text::{WireLine, parse_line};
use flowspec::{Action, Effect, Family, Nlri, Rule, TextError};
use proptest::prelude::*;
use std::net::IpAddr;

#[path = "../arbitrary/mod.rs"]
mod arbitrary;
mod foreign;

use arbitrary::{any_action, any_nlri, to_hex};

fn parse(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error: TextError| panic!("{}", error.render(text)))
}

fn wire(rule: &Rule) -> String {
    let mut octets = Vec::new();
    rule.nlri.encode_to(&mut octets);
    to_hex(&octets)
}

fn communities(rule: &Rule) -> String {
    rule.actions.iter().map(|action| to_hex(action.encode().as_bytes())).collect::<Vec<_>>().join(" ")
}

/// Given text, wanted NLRI octets, wanted canonical text.
#[test]
fn match_parts() {
    let table = [
        // The examples of RFC 8955 §4.3 and RFC 8956 §3.8.
        ("dst 192.0.2.0/24 proto tcp port 25", "0b0118c00002038106048119", "dst 192.0.2.0/24 proto tcp port 25"),
        (
            "dst 192.0.2.0/24 src 203.0.113.0/24 port 137-139,8080",
            "120118c000020218cb0071040389458b911f90",
            "dst 192.0.2.0/24 src 203.0.113.0/24 port 137-139,8080",
        ),
        (
            "dst 192.0.2.1/32 fragment any(dont-fragment+first-fragment)",
            "090120c00002010c8005",
            "dst 192.0.2.1/32 fragment any(dont-fragment+first-fragment)",
        ),
        (
            "src ::1234:5678:9a00:0/64-104 dst 2001:db8::/32 proto tcp",
            "1201200020010db8026840123456789a038106",
            "dst 2001:db8::/32 src ::1234:5678:9a00:0/64-104 proto tcp",
        ),
        (
            "dst 2001:db8::/32 src ::1234:5678:9a00:0/104/65",
            "0f01200020010db80268412468acf134",
            "dst 2001:db8::/32 src ::1234:5678:9a00:0/65-104",
        ),
        // Families.
        ("proto 58", "0303813a", "proto ipv6-icmp"),
        ("ipv6 proto 58", "0303813a", "ipv6 proto ipv6-icmp"),
        ("ipv4 dst 10.0.0.1", "0601200a000001", "dst 10.0.0.1/32"),
        ("ipv6 dst 2001:db8::1", "1301800020010db8000000000000000000000001", "dst 2001:db8::1/128"),
        ("label 74565", "060da100012345", "label 74565"),
        ("label 1", "060da100000001", "label 1"),
        ("label 0x01", "030d8101", "label 0x01"),
        ("ipv6 dst ::/0", "03010000", "dst ::/0"),
        ("rd 65000:100 dst 10.0.0.0/8", "0b0000fde80000006401080a", "rd 65000:100 dst 10.0.0.0/8"),
        // Numbers, their order and widths.
        ("proto udp dport 80 , 443,8000-8080", "0f0381110501501101bb131f40d51f90", "proto udp dport 80,443,8000-8080"),
        ("dport >=512&<=1500,!=7", "09051302005505dc8607", "dport 512-1500,!=7"),
        ("length >= 512 & < 1500", "070a130200d405dc", "length >=512&<1500"),
        ("dport 0x0050", "0405910050", "dport 0x0050"),
        ("dport 0x00000050", "0605a100000050", "dport 0x00000050"),
        ("dport 0x50", "03058150", "dport 80"),
        ("proto 0x012c", "040391012c", "proto 0x012c"),
        ("proto !=udp&!=6", "05030611c606", "proto !=udp&!=tcp"),
        ("port true", "03048700", "port true"),
        ("port false,true:0x50", "050400008750", "port false,true:80"),
        ("port true:0x0000", "0404970000", "port true:0x0000"),
        ("dport >=90&<=80", "0505035ac550", "dport >=90&<=80"),
        ("dport 80-80", "05050350c550", "dport 80-80"),
        ("icmp-type 8 icmp-code 0", "06078108088100", "icmp-type 8 icmp-code 0"),
        ("dscp ef,cs1", "050b012e8108", "dscp 46,8"),
        // Bits.
        ("tcp-flags syn", "03098102", "tcp-flags syn"),
        ("tcp-flags syn&!ack", "05090102c310", "tcp-flags syn&!ack"),
        ("tcp-flags =syn&!=ack", "05090102c310", "tcp-flags syn&!ack"),
        ("tcp-flags SYN+ack", "03098112", "tcp-flags syn+ack"),
        ("tcp-flags all(syn+ack)", "03098112", "tcp-flags syn+ack"),
        ("tcp-flags any(syn+ack)", "03098012", "tcp-flags any(syn+ack)"),
        ("tcp-flags !any(0x0112)", "0409920112", "tcp-flags !any(syn+ack+ns)"),
        ("tcp-flags ns", "0409910100", "tcp-flags ns"),
        ("tcp-flags ae&!any(ns+cwr)", "07091101 00d2 0180", "tcp-flags ns&!any(cwr+ns)"),
        ("tcp-flags 0x0212", "0409910212", "tcp-flags 0x0212"),
        ("fragment first-fragment|last-fragment", "050c01048108", "fragment first-fragment,last-fragment"),
        ("fragment [ first-fragment|last-fragment ]", "050c01048108", "fragment first-fragment,last-fragment"),
        ("dport =80|=443", "060501509101bb", "dport 80,443"),
        // Bits outside of a prefix are cleared.
        ("dst 192.0.2.1/24", "050118c00002", "dst 192.0.2.0/24"),
        ("dst ::ffff:0:0/64-80", "050150400000", "dst ::/64-80"),
        ("dst 0:db8:1::1/64/16", "0901 4010 0db800010000", "dst 0:db8:1::/16-64"),
        ("tcp-flags 0x0002", "0409910002", "tcp-flags 0x0002"),
        ("tcp-flags 18", "03098112", "tcp-flags syn+ack"),
        ("tcp-flags 0x00", "03098100", "tcp-flags 0x00"),
        ("fragment isf,ff", "050c01028104", "fragment is-fragment,first-fragment"),
        ("fragment !is-fragment&!df", "050c0302c301", "fragment !is-fragment&!dont-fragment"),
    ];
    for (text, hex, canonical) in table {
        let rule = parse(text);
        assert_eq!(wire(&rule), hex.replace(' ', ""), "{text}");
        assert_eq!(rule.nlri.to_string(), canonical, "{text}");
        assert_eq!(rule.actions, [], "{text}");
        assert_eq!(rule.nlri.to_string().parse::<Nlri>().as_ref(), Ok(&rule.nlri), "{text}");
    }
    assert_eq!(parse("rd 65000:100 dst 10.0.0.0/8").nlri.family(), Family::Vpnv4);
    assert_eq!(parse("rd 65000:100 label 5").nlri.family(), Family::Vpnv6);
    assert_eq!(parse("ipv6 proto tcp").nlri.family(), Family::Ipv6);
}

/// Given actions, wanted communities, wanted canonical text.
#[test]
fn actions() {
    let table = [
        ("discard", "8006000000000000", "discard"),
        ("drop;", "8006000000000000", "discard"),
        ("rate 0", "8006000000000000", "discard"),
        ("rate 0 as 65000", "8006fde800000000", "rate 0 as 65000"),
        ("rate 1mbps", "8006000047f42400", "rate 1mbps"),
        ("rate 125000", "8006000047f42400", "rate 1mbps"),
        ("rate 9600 as 65002", "8006fdea46160000", "rate 9600 as 65002"),
        ("rate 1000pps", "800c0000447a0000", "rate 1000pps"),
        ("rate 1kpps", "800c0000447a0000", "rate 1000pps"),
        ("rate 0pps", "800c000000000000", "rate 0pps"),
        ("rate 0.5", "800600003f000000", "rate 0.5"),
        ("mark 46", "800900000000002e", "mark 46"),
        ("mark ef, sample", "800900000000002e 8007000000000002", "mark 46 sample"),
        ("redirect 65000:100", "8008fde800000064", "redirect 65000:100"),
        ("redirect 4200000000:10", "8208fa56ea00000a", "redirect 4200000000:10"),
        ("redirect 65000L:10", "82080000fde8000a", "redirect 65000L:10"),
        ("redirect 192.0.2.1:100", "8108c00002010064", "redirect 192.0.2.1:100"),
        ("redirect [2001:db8::1]:100", "000d20010db80000000000000000000000010064", "redirect [2001:db8::1]:100"),
        ("redirect 192.0.2.9 copy", "010cc00002090001", "redirect 192.0.2.9 copy"),
        ("redirect 2001:db8::9", "000c20010db80000000000000000000000090000", "redirect 2001:db8::9"),
        ("redirect next-hop", "0800000000000000", "redirect next-hop"),
        ("redirect next-hop 192.0.2.254 copy", "0800000000000001", "redirect next-hop 192.0.2.254 copy"),
        ("sample", "8007000000000002", "sample"),
        ("continue sample", "8007000000000003", "sample continue"),
        (
            "rate 1mbps sample mark 1 continue",
            "8006000047f42400 8007000000000003 8009000000000001",
            "rate 1mbps sample continue mark 1",
        ),
        ("accept", "", "accept"),
        ("interface-set out 254:254", "0702000000fe80fe", "interface-set out 254:254"),
        (
            "interface-set non-transitive in+out 1234:10",
            "4702000004d2c00a",
            "interface-set non-transitive in+out 1234:10",
        ),
        // What they do is shown, with the rate as sent.
        ("community 8006000080000000", "8006000080000000", "discard(-0)"),
        ("community 80060000ff800000", "80060000ff800000", "discard(-inf)"),
        ("community 80060000c2c80000", "80060000c2c80000", "discard(-100)"),
        ("community 8006fdeac6160000", "8006fdeac6160000", "discard(-9600) as 65002"),
        ("community 800c0000bf000000", "800c0000bf000000", "discard(-0.5pps)"),
        ("community 800600007f800000", "800600007f800000", "unlimited(inf)"),
        ("community 800c00017f800000", "800c00017f800000", "unlimited(infpps) as 1"),
        ("community 8007000000000000", "8007000000000000", "community 8007000000000000"),
        ("community 0x8009000000000001", "8009000000000001", "mark 1"),
        ("target 65003:100", "0002fdeb00000064", "community 0002fdeb00000064"),
        // In other programs' words.
        ("rate-limit 9600 as 65002", "8006fdea46160000", "rate 9600 as 65002"),
        ("rate-limit 1000 packets", "800c0000447a0000", "rate 1000pps"),
        ("rate-limit:1000:packets", "800c0000447a0000", "rate 1000pps"),
        ("rate-limit-packets 1000", "800c0000447a0000", "rate 1000pps"),
        ("rate-limit-bytes 9600", "8006000046160000", "rate 9600"),
        ("copy 10.0.0.9", "010c0a0000090001", "redirect 10.0.0.9 copy"),
        (
            "extended-community 0x80060000005f5e10",
            "80060000005f5e10",
            "rate 0.000000000000000000000000000000000000008758115",
        ),
        ("extended-community rate-limit:0", "8006000000000000", "discard"),
        (
            "extended-community [ 0x8009000000000001 target:1:2 ]",
            "8009000000000001 0002000100000002",
            "mark 1 community 0002000100000002",
        ),
        ("action terminal", "8007000000000001", "continue"),
        ("action sample-terminal", "8007000000000003", "sample continue"),
        ("redirect-to-nexthop-ietf 1.2.3.4", "010c010203040000", "redirect 1.2.3.4"),
        ("copy-to-nexthop", "0800000000000001", "redirect next-hop copy"),
        (
            "extended-community [ interface-set:transitive:output:254:254 rate-limit:0 ]",
            "0702000000fe80fe 8006000000000000",
            "interface-set out 254:254 discard",
        ),
    ];
    for (text, hex, canonical) in table {
        let rule = parse(&format!("dst 192.0.2.1/32 then {text}"));
        assert_eq!(communities(&rule), hex, "{text}");
        assert_eq!(rule.to_string(), format!("dst 192.0.2.1/32 then {canonical}"), "{text}");
        assert_eq!(parse(&rule.to_string()), rule, "{text}");
    }
    assert_eq!(parse("dst 10.0.0.1 then redirect next-hop 192.0.2.254").next_hop, Some(IpAddr::from([192, 0, 2, 254])));
}

/// Given text, wanted column, a piece of the message.
#[test]
fn errors() {
    let long = format!("dport {}", vec!["80"; 4000].join(","));
    let table: &[(&str, usize, &str)] = &[
        ("", 1, "at least one component, such as `dst 192.0.2.1/32`, found end of line"),
        ("then discard", 1, "at least one component"),
        ("dst 192.0.2.1/32 prot udp then discard", 18, "did you mean `proto`?"),
        ("dst 192.0.2.1/33", 5, "0 to 32"),
        ("dst 2001:db8::/129", 5, "0 to 128"),
        ("dst 10/8", 5, "a prefix such as"),
        ("dst 10.0.0.0/+8", 5, "a prefix such as"),
        (
            "dst 10.0.0.0/8 src 2001:db8::/32",
            20,
            "only what IPv4 rules have, as before, found what only IPv6 rules have",
        ),
        ("ipv4 dst 2001:db8::/32", 10, "only what IPv4 rules have"),
        ("ipv6 dst 10.0.0.0/8", 10, "only what IPv6 rules have"),
        ("ipv4 label 5", 6, "only what IPv4 rules have"),
        ("vpnv4 dst 10.0.0.0/8", 1, "`rd`"),
        ("rd x dst 10.0.0.0/8", 4, "route distinguisher"),
        ("dst 10.0.0.1 dst 10.0.0.2", 14, "only once"),
        ("dport 80 443", 10, "joined with `,`"),
        ("dport 80,", 10, "found end of line"),
        ("dport 70000", 7, "0 to 65535"),
        ("proto 300", 7, "0 to 255"),
        ("dscp 64", 6, "0 to 63"),
        ("dscp 0x40", 6, "0 to 0x3f"),
        ("dscp 0x0001", 6, "2 hex digits"),
        ("fragment 0x10", 10, "0 to 0x0f"),
        ("ipv6 fragment dont-fragment", 15, "IPv6 has no dont-fragment"),
        ("fragment dont-fragment label 5", 10, "IPv6 has no dont-fragment"),
        ("label 5 icmp-type echo-reply", 19, "ICMPv6"),
        ("dport 053", 7, "did you mean `53`?"),
        ("dport 90-80", 7, "did you mean `80-90`?"),
        ("dport =>80", 8, "number"),
        ("dport 80x", 9, "`,` (or)"),
        ("dport [ 80 443", 15, "`]`"),
        ("dport [ 80=443 ]", 11, "`]`"),
        ("proto tpc", 7, "did you mean `tcp`?"),
        ("tcp-flags syn+ack match dst 10.0.0.1", 19, "another component"),
        ("tcp-flags syc", 11, "did you mean `syn`?"),
        ("tcp-flags [ syn+ack ]", 13, "any(...)"),
        ("tcp-flags any(syn", 18, "`)`"),
        ("dst 10.0.0.1 discard", 14, "did you mean `then discard`?"),
        ("dst 10.0.0.1 then", 18, "an action, found end of line"),
        ("dst 10.0.0.1 then discrad", 19, "did you mean `discard`?"),
        ("dst 10.0.0.1 then accept discard", 19, "no `accept`"),
        ("dst 10.0.0.1 then discard accept", 27, "no `accept`"),
        ("dst 10.0.0.1 then sample sample", 26, "once"),
        ("dst 10.0.0.1 then rate 1MBps", 25, "bits"),
        ("dst 10.0.0.1 then rate 1MBps", 25, "`1mbps` for bits a second, or a number without unit for bytes"),
        ("dst 10.0.0.1 then rate -1", 24, "a rate above 0"),
        ("dst 10.0.0.1 then discard(1)", 27, "a rate that discards"),
        ("dst 10.0.0.1 then discard(nan)", 27, "a rate that discards"),
        ("dst 10.0.0.1 then unlimited", 28, "unlimited(inf)"),
        ("dst 10.0.0.1 then unlimited(5)", 29, "unlimited(inf)"),
        ("dst 10.0.0.1 then extended-community", 37, "0x8006000000000000"),
        ("flow fragment not-a-fragment", 15, "!is-fragment&!first-fragment"),
        ("tcp-flags =syn|ack", 15, "either"),
        ("flow fragment [ !is-fragment|last-fragment ]", 29, "either"),
        ("withdraw flow route destination 10.0.0.1/32", 1, "floodgate withdraw"),
        ("neighbor x announce flow route destination 10.0.0.1/32", 10, "the address of a neighbour"),
        ("dst 10.0.0.1 rate-limit 0", 14, "did you mean `then rate-limit`?"),
        ("dst 10.0.0.1 then mark 64", 24, "0 to 63"),
        ("dst 10.0.0.1 then redirect nowhere", 28, "a route target"),
        ("dst 10.0.0.1 then redirect 65000:4294967296", 28, "a route target"),
        (
            "match dst 10.0.0.1 then redirect 2001:db8::1:100",
            34,
            "`redirect [2001:db8::1]:100` for GoBGP's route target, or `redirect next-hop 2001:db8::1:100`",
        ),
        ("dst 10.0.0.1 then redirect next-hop 192.0.2.1 redirect next-hop 192.0.2.2", 65, "only one"),
        ("dst 10.0.0.1 then community 80", 29, "16 hex digits"),
        ("dst 10.0.0.1 then community 800600007fc00000", 29, "NaN"),
        ("match { dst 10.0.0.1; then { discard; }", 40, "`}`"),
        (&long, 1, "a rule of at most 4095 octets, found one of 8001 octets"),
    ];
    for (text, column, message) in table {
        let error = text.parse::<Rule>().expect_err(text);
        assert!(error.to_string().contains(message), "{text}: {error}");
        assert_eq!(error.column, *column, "{text}: {error}");
    }
    assert!("dst 10.0.0.1 then accept".parse::<Nlri>().is_err());
}

#[test]
fn rules_file_lines() {
    assert_eq!(parse_line(""), Ok(None));
    assert_eq!(parse_line("  # dst 10.0.0.1"), Ok(None));
    let rule = parse_line("dst 10.0.0.1 then discard # why").unwrap().unwrap();
    assert_eq!(rule.to_string(), "dst 10.0.0.1/32 then discard");
    let rule = parse_line("wire vpnv4 0b0000fde800000001038106 8006000000000000 8009000000000001").unwrap().unwrap();
    assert_eq!(rule.to_string(), "rd 65000:1 proto tcp then discard mark 1");
    let two_octet_length = parse_line("wire ipv4 f003038106").unwrap().unwrap();
    assert_eq!(two_octet_length.to_string(), "proto tcp then accept");
    let table = [
        ("wire", 5, "ipv4, ipv6, vpnv4 or vpnv6"),
        ("wire ipv5 03038106", 6, "ipv4, ipv6, vpnv4 or vpnv6"),
        ("wire ipv4", 10, "an NLRI in hex"),
        ("wire ipv4 0303810", 11, "an NLRI in hex"),
        ("wire ipv4 030e8106", 13, "unknown component type 14"),
        ("wire ipv4 0303810603038106", 19, "the end of the NLRI"),
        ("wire ipv4 00", 13, "the NLRI is empty"),
        ("wire ipv4 03038106 8006", 20, "16 hex digits"),
        ("wire ipv4 03038106 next-hop", 28, "an IP address"),
        ("wire ipv4 03038106 next-hop 192.0.2.1 8006000000000000", 39, "the end of the line"),
    ];
    for (line, column, message) in table {
        let error = parse_line(line).expect_err(line);
        assert!(error.to_string().contains(message), "{line}: {error}");
        assert_eq!(error.column, column, "{line}: {error}");
    }
}

/// A wire line means the whole rule, the next hop of its announcement included.
#[test]
fn a_next_hop_is_part_of_the_wire_line_where_an_action_looks_at_it() {
    let rule = parse("dst 1.1.1.2/32 then redirect next-hop 192.168.1.200");
    assert_eq!(WireLine(&rule).to_string(), "wire ipv4 06012001010102 0800000000000000 next-hop 192.168.1.200");
    // Of others it is no part: neither of the rule that is read nor of what is shown.
    for text in [
        "next-hop 2001:db8::32 src ::9",
        "flow destination-ipv4 192.0.2.2/32 next-hop 1.2.3.4",
        "wire ipv4 03038106 next-hop 192.0.2.1",
    ] {
        let rule = parse_line(text).unwrap().unwrap();
        assert_eq!((rule.next_hop, parse(&rule.to_string())), (None, rule.clone()), "{text}");
    }
}

#[test]
fn what_was_read_otherwise_is_noted() {
    let notes = |text: &str| flowspec::text::parse_line_with_notes(text).unwrap().unwrap().1;
    assert_eq!(notes("dst 192.0.2.0/24 then discard"), []);
    assert_eq!(notes("proto udp dst 192.0.2.1/24").iter().map(|note| note.column).collect::<Vec<_>>(), [15]);
    let both = notes("dst 0:db8:1::1/64/16 src 2001:db8::1/32");
    assert_eq!(both.len(), 2);
    assert!(both[0].to_string().contains("it was read as 0:db8:1::/16-64"), "{}", both[0]);
}

#[test]
fn effects_in_short_words() {
    let table = [
        ("accept", "accept"),
        ("rate 0pps", "discard"),
        ("rate 1mbps rate 2mbps rate 5pps", "rate 1mbps rate 5pps"),
        ("mark 10 redirect 65000:1 sample continue", "mark 10 redirect 65000:1 sample continue"),
        ("redirect next-hop 192.0.2.1 copy", "redirect 192.0.2.1 copy"),
        ("redirect next-hop", "redirect next-hop"),
        ("interface-set in 1:1", "accept"),
    ];
    for (actions, effect) in table {
        assert_eq!(parse(&format!("dst 10.0.0.1 then {actions}")).effect().to_string(), effect);
    }
    assert_eq!(Effect::ACCEPT.to_string(), "accept");
}

/// 4,000 values and 10,000 characters of anything are refused or read in time that grows with their
/// length.
#[test]
fn long_texts_take_linear_time() {
    let start = std::time::Instant::now();
    let fits = format!("dport {}", vec!["80"; 2047].join(","));
    assert_eq!(parse(&fits).nlri.as_bytes().len(), 4095);
    let pieces = ["x", "80,", "[", "{", "dst ", "'", "&", "!", "syn+", "then ", "=", "é", "0", "any("];
    for piece in pieces {
        for start in ["", "dport ", "tcp-flags ", "dst 10.0.0.1 then ", "match { "] {
            let text = format!("{start}{}", piece.repeat(10_000));
            let error = text.parse::<Rule>().expect_err(piece);
            assert!(error.to_string().len() < 400, "{error}");
        }
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// What text can make of a rule: a next hop that no action looks at is not shown.
fn shown_next_hop(actions: &[Action], next_hop: Option<IpAddr>) -> Option<IpAddr> {
    next_hop.filter(|_| actions.iter().any(|action| matches!(action, Action::RedirectNextHop { .. })))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_of_an_nlri_reads_back(nlri in any_nlri()) {
        let text = nlri.to_string();
        let read = text.parse::<Nlri>();
        prop_assert_eq!(read.as_ref(), Ok(&nlri), "{}", text);
        prop_assert_eq!(read.unwrap().to_string(), text);
    }

    #[test]
    fn what_is_shown_of_a_rule_reads_back(
        nlri in any_nlri(),
        actions in prop::collection::vec(any_action(), 0..5),
        next_hop in prop::option::of(any::<IpAddr>()),
    ) {
        let next_hop = shown_next_hop(&actions, next_hop);
        let rule = Rule { nlri, actions, next_hop };
        let text = rule.to_string();
        prop_assert_eq!(text.parse::<Rule>(), Ok(rule.clone()), "{}", text);
        prop_assert!(parse_line(&text).is_ok());
        let line = WireLine(&rule).to_string();
        prop_assert_eq!(parse_line(&line), Ok(Some(rule)), "{}", line);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = text.parse::<Rule>().map_err(|error| error.render(&text));
        let _ = parse_line(&text);
    }

    #[test]
    fn no_words_make_it_panic(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..30)) {
        let text = words.concat();
        match parse_line(&text) {
            Ok(Some(rule)) => prop_assert_eq!(parse(&rule.to_string()), rule),
            Ok(None) => {}
            Err(error) => prop_assert!(error.column <= text.chars().count() + 1),
        }
    }
}

const WORDS: &[&str] = &[
    " ",
    " ",
    " ",
    "dst ",
    "src ",
    "10.0.0.0/8",
    "2001:db8::/32",
    "proto ",
    "tcp",
    "dport ",
    "80",
    "-",
    "90",
    ",",
    "&",
    "=",
    "!=",
    ">=",
    "0x",
    "0x0050",
    "[",
    "]",
    "'",
    "{",
    "}",
    ";",
    "tcp-flags ",
    "syn",
    "+",
    "any(",
    ")",
    "!",
    "fragment ",
    "df",
    "label ",
    "true",
    ":",
    "then ",
    "discard",
    "rate ",
    "1mbps",
    "redirect ",
    "65000:1",
    "match ",
    "flow ",
    "route ",
    "rd ",
    "wire ",
    "ipv4 ",
    "ipv6 ",
    "#",
    "|",
    "(",
    "discard(-1)",
    "unlimited(inf)",
    "neighbor 192.0.2.1 ",
    "announce ",
    "copy ",
    "redirect next-hop ",
    "192.0.2.1 ",
    "::9",
    "\\n",
    "ns",
    "192.0.2.1/24",
    "extended-community ",
    "next-hop ",
    "copy",
    "é",
    "\u{2028}",
];

/// Prints what reading 100,000 lines takes; the limit is wide, since it counts other work on the
/// machine too.
#[test]
fn reads_100_000_lines_in_seconds() {
    let lines: Vec<String> = (0..100_000)
        .map(|n| {
            format!(
                "dst 10.{}.{}.{}/32 proto udp sport 53,123 length >=512&<=1500 then rate 1mbps",
                n >> 16,
                n >> 8 & 255,
                n & 255
            )
        })
        .collect();
    let start = std::time::Instant::now();
    assert!(lines.iter().all(|line| matches!(parse_line(line), Ok(Some(_)))));
    let elapsed = start.elapsed();
    println!("reading 100,000 lines: {elapsed:?}");
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
}
