//! What other programs write: ExaBGP, GoBGP, FastNetMon.

use super::*;

/// As GoBGP 3.10 prints it: `=S` all of, `!=A` not all of, `!F` none of.
const GOBGP_FLAGS: &str = "1101180a0002030106811109010243108201";

/// Text as ExaBGP and GoBGP take and print it, with the octets that those send (vectors from their
/// own releases).
#[test]
fn other_programs() {
    let table = [
        ("flow destination-ipv4 192.0.2.1/32 protocol =udp source-port =123", "0c0120c000020103811106817b"),
        ("flow tcp-flags [ =rst =fin+push ]", "050901048109"),
        ("flow tcp-flags [ ack cwr&!fin&!ece ]", "0909001000804201c240"),
        ("flow tcp-flags [ ack+cwr&!fin+ece ]", "05090090c241"),
        ("flow fragment last-fragment", "030c8008"),
        ("flow packet-length [ >200&<300 >400&<500 ]", "0c0a02c854012c120190d401f4"),
        ("flow source-ipv4 10.0.0.1/32 rd 65535:65536", "0e0000ffff0001000002200a000001"),
        ("flow destination-ipv4 10.0.0.2/32 next-hop 1.2.3.4", "0601200a000002"),
        (
            "flow destination-ipv6 2a02:29b8:1925::2e69/128/0 source-ipv6 beef:f00e::/64/0 next-header =tcp fragment [ first-fragment \
             is-fragment last-fragment ]",
            "280180002a0229b8192500000000000000002e69024000beeff00e000000000381060c000400028008",
        ),
        (
            "flow destination-ipv4 192.168.0.1/32 source-ipv4 10.0.0.10/32 protocol !=tcp port !=0 destination-port !=443 source-port \
             [ !=80 !=8080 ]",
            "1c0120c0a8000102200a00000a038606048600059601bb060650961f90",
        ),
        ("flow icmp-type [ =unreachable =echo-request =echo-reply ]", "0707010301088100"),
        (
            "route a { match { destination 192.0.2.0/24; protocol tcp; destination-port [ =80 =443 >=8000&<=8080 ]; } then { discard; } }",
            "140118c000020381060501501101bb131f40d51f90",
        ),
        (
            "route h { rd 65003:100; match { destination 10.1.0.0/24; } then { discard; extended-community [ target:65003:100 ]; } }",
            "0d0000fdeb0000006401180a0100",
        ),
        ("match destination 10.0.0.0/24 port '==80' then rate-limit 9600", "0801180a0000048150"),
        ("match destination 10.0.0.0/24 port '==80' '>=8000&<=8080' then discard", "0e01180a0000040150131f40d51f90"),
        (
            "match destination 10.0.2.0/24 protocol tcp tcp-flags '=S&!=A' then redirect 65002:100",
            "0d01180a0002038106090102c310",
        ),
        // GoBGP's command line as its shell sees it, without the quotes, and what it prints.
        (
            "match destination 10.0.1.0/24 source 20.0.0.0/24 protocol tcp destination-port ==80 >=8000&<=8080 then rate-limit 9600 as 65002",
            "1601180a00010218140000038106050150131f40d51f90",
        ),
        (
            "[destination: 10.0.1.0/24][source: 20.0.0.0/24][protocol: ==tcp][destination-port: ==80 >=8000&<=8080]",
            "1601180a00010218140000038106050150131f40d51f90",
        ),
        ("match destination 10.0.2.0/24 protocol tcp udp tcp-flags =S&!=A !F then redirect 65002:100", GOBGP_FLAGS),
        (
            "[destination: 10.0.2.0/24][protocol: ==tcp ==udp][tcp-flags: =S&!=A !F] then redirect 65002:100",
            GOBGP_FLAGS,
        ),
        (
            "[destination: 10.0.3.0/24][packet-length: >=512&<=1500][dscp: ==46 ==48][fragment: is-fragment+first-fragment dont-fragment]",
            "1601180a00030a130200d505dc0b012e81300c00068001",
        ),
        ("match icmp-type unreachable echo-reply then redirect 65002:100", "050701038100"),
        ("[destination: 2001:db8::/32/0][protocol: ==udp][label: ==74565]", "1001200020010db80381110da100012345"),
        ("flow { route x { match { protocol tcp; } then { discard; } } }", "03038106"),
        // What the documents of ExaBGP's API and FastNetMon write.
        ("flow route destination 10.0.0.1/32 protocol tcp rate-limit 0", "0901200a000001038106"),
        (
            "announce flow route source 10.0.0.2/32 destination 10.0.0.1/32 destination-port [ =80 ] discard",
            "0f01200a00000102200a000002058150",
        ),
        (
            "neighbor 192.0.2.1 announce flow route { match { destination 10.0.0.1/32; } then { discard; } }",
            "0601200a000001",
        ),
        (
            "neighbor 192.0.2.1 local-ip 192.0.2.2 local-as 65000, neighbor 192.0.2.3 announce flow route destination 10.0.0.1/32 discard",
            "0601200a000001",
        ),
        ("peer * announce flow route x { match { destination 10.0.0.1/32; } then { discard; } }", "0601200a000001"),
        (
            r"announce flow route {\n match {\n source 10.0.0.2/32;\n destination 10.0.0.1/32;\n }\n then {\n discard;\n }\n}\n",
            "0c01200a00000102200a000002",
        ),
        (
            "flow route { match { destination 10.0.0.1/32; } then { community [ 65000:1 no-export ]; discard; } }",
            "0601200a000001",
        ),
        (
            "flow route destination 10.0.0.1/32 fragment [ first-fragment|last-fragment ] discard",
            "0b01200a0000010c00048008",
        ),
    ];
    for (text, hex) in table {
        let rule = parse(text);
        assert_eq!(wire(&rule), hex, "{text}");
        assert_eq!(parse(&rule.to_string()).nlri, rule.nlri, "{text}");
    }
    let simpson = parse("match { destination 198.51.100.5/32; } then { redirect 192.0.2.254; }");
    assert_eq!(simpson.to_string(), "dst 198.51.100.5/32 then redirect next-hop 192.0.2.254");
    for (text, shown) in [
        ("redirect 50::2", "redirect next-hop 50::2"),
        ("copy 10.0.0.9", "redirect next-hop 10.0.0.9 copy"),
        ("rate-limit 0", "discard"),
    ] {
        let rule = parse(&format!("flow route destination 10.0.0.1/32 {text}"));
        assert_eq!(rule.to_string(), format!("dst 10.0.0.1/32 then {shown}"));
        assert_eq!(parse(&rule.to_string()), rule);
    }
}

/// Every NLRI and community of ExaBGP's own test data: its text gives its octets.
#[test]
fn exabgp_test_data() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/exabgp.json");
    let Ok(file) = std::fs::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return;
    };
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&file).unwrap();
    let mut checked = 0;
    for vector in &vectors {
        let [kind, hex, text] = ["kind", "hex", "text"].map(|key| vector[key].as_str().unwrap());
        if kind.starts_with("nlri") && text.starts_with("flow ") && vector["valid"] == true {
            assert_eq!(wire(&parse(text)), hex, "{text}");
            checked += 1;
        // Its text says neither that an interface-set is non-transitive (47) nor that a rate is
        // negative.
        } else if kind == "extcomm" && !hex.starts_with("47") && !text.contains("negative") {
            assert_eq!(communities(&parse(&format!("match dst 10.0.0.1 then {text}"))), hex, "{text}");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}
