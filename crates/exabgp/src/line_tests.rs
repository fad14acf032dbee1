use super::*;
use flowspec::Rule;

const HEAD: &str = r#""exabgp":"5.0.0","time":1.5,"host":"switch","pid":1,"ppid":1,"counter":1"#;
const WHO: &str = r#""address":{"local":"203.0.113.2","peer":"203.0.113.1"},"asn":{"local":65140,"peer":65070}"#;

/// An update with this content.
fn updating(content: &str) -> String {
    format!(
        r#"{{ {HEAD},"type":"update","neighbor":{{ {WHO},"direction":"in","message":{{"update":{{ {content} }} }} }} }}"#
    )
}

/// The contents of an update: withdrawn rules, announced rules, parse errors.
fn said(line: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let Message::Update(_, update, misread) = read(line.as_bytes()).unwrap() else { panic!("{line}") };
    let text = |route: &RouteKey| match &route.destination {
        Destination::Flow(nlri) => nlri.to_string(),
        Destination::Unicast(net) => net.to_string(),
    };
    let rule = |group: &Announced, route: &RouteKey| match &route.destination {
        Destination::Flow(nlri) => {
            let actions = group.attributes.actions().unwrap();
            Rule { nlri: nlri.clone(), actions, next_hop: group.next_hop }.to_string()
        }
        Destination::Unicast(net) => net.to_string(),
    };
    let announced = update.announced.iter().flat_map(|group| group.routes.iter().map(|route| rule(group, route)));
    (
        update.withdrawn.iter().map(text).collect(),
        announced.collect(),
        misread.iter().map(ToString::to_string).collect(),
    )
}

const DISCARD: &str = r#""attribute":{"origin":"igp","as-path":[65070],"extended-community":[{"value":9225060886715039744,"string":"rate-limit:0"}]}"#;

#[test]
fn the_message_of_the_article() {
    let line = r#"{ "exabgp": "4.0.0", "time": 1509368211.35, "host": "leaf", "pid": 1, "ppid": 1, "counter": 11, "type": "update",
        "neighbor": { "address": { "local": "203.0.113.2", "peer": "203.0.113.1" }, "asn": { "local": 65140, "peer": 65070 },
        "direction": "receive", "message": { "update": { "attribute": { "origin": "igp", "as-path": [ 65070 ],
        "extended-community": [ { "value": 9225060886715039744, "string": "rate-limit:0" } ] }, "announce": { "ipv4 flow": { "no-nexthop": [
        { "destination-ipv4": [ "192.0.2.1/32" ], "protocol": [ "=udp" ], "source-port": [ "=123" ],
        "string": "flow destination-ipv4 192.0.2.1/32 protocol =udp source-port =123" } ] } } } } } }"#;
    let (withdrawn, announced, misread) = said(line);
    assert_eq!(announced, ["dst 192.0.2.1/32 proto udp sport 123 then discard"]);
    assert!(withdrawn.is_empty() && misread.is_empty());
    let Ok(Message::Update(neighbor, ..)) = read(line.as_bytes()) else { panic!() };
    assert_eq!((neighbor.peer, neighbor.peer_as), ("203.0.113.1".parse().unwrap(), Some(65070)));
    assert_eq!((neighbor.local, neighbor.local_as), ("203.0.113.2".parse().ok(), Some(65140)));
}

#[test]
fn both_directions_and_every_rule_of_a_message() {
    let line = updating(&format!(
        r#"{DISCARD},
        "announce":{{"ipv4 flow":{{"no-nexthop":[{{"destination-ipv4":["10.0.0.1/32"]}},{{"destination-ipv4":["10.0.0.2/32"]}}],
                                  "192.0.2.9":[{{"destination-ipv4":["10.0.0.3/32"],"next-hop":"192.0.2.9"}}]}},
                    "ipv6 flow":{{"no-nexthop":[{{"destination-ipv6":["2001:db8::/32/0"],"next-header":["=udp"]}}]}},
                    "l2vpn evpn":{{"no-nexthop":["anything"]}}}},
        "withdraw":{{"ipv4 flow":[{{"source-ipv4":["10.0.0.4/32"]}}],
                    "ipv4 flow-vpn":[{{"source-ipv4":["10.0.0.5/32"],"rd":"100:1"}}]}}"#
    ));
    let (withdrawn, announced, misread) = said(&line);
    assert_eq!(withdrawn, ["src 10.0.0.4/32", "rd 100:1 src 10.0.0.5/32"]);
    assert_eq!(
        announced,
        [
            "dst 10.0.0.1/32 then discard",
            "dst 10.0.0.2/32 then discard",
            "dst 10.0.0.3/32 then discard",
            "dst 2001:db8::/32 proto udp then discard"
        ]
    );
    assert_eq!(misread, Vec::<String>::new());
}

#[test]
fn a_rule_that_cannot_be_read_costs_that_rule() {
    let line = updating(&format!(
        r#"{DISCARD},"announce":{{"ipv4 flow":{{"no-nexthop":[
        {{"destination-ipv4":["10.0.0.1/32"],"destination-port":["=80","0980"]}},
        {{"destination-ipv4":["10.0.0.2/32"]}},
        {{"destination-ipv4":["10.0.0.3/32"],"payload":["=1"]}},
        {{"destination-ipv4":["10.0.0.4/32","10.0.0.5/32"]}},
        {{"destination-ipv4":["10.0.0.6/32"],"string":"flow destination-ipv4 10.0.0.7/32"}},
        {{"destination-ipv4":["10.0.0.8/32"],"destination-ipv4":["10.0.0.9/32"]}},
        {{"destination-ipv6":["2001:db8::/32/0"]}},
        {{"string":"flow"}},
        {{}},
        7,
        {{"destination-ipv4":"10.0.0.10/32"}},
        {{"destination-port":["=70000","=80&"]}},
        {{"destination-ipv4":["10.0.0.11/32"],"rd":"100:1"}},
        {{"destination-port":["=22","=80"],"string":"flow destination-port =22 =80"}},
        {{"destination-port":["=1495"],"string":"flow destination-port [ =1495 ]"}}
        ]}}}}"#
    ));
    let (withdrawn, announced, misread) = said(&line);
    assert_eq!(announced, ["dst 10.0.0.2/32 then discard"]);
    assert_eq!(withdrawn, Vec::<String>::new());
    let place = |index: usize| format!("update/announce/ipv4 flow/no-nexthop/{index}");
    let wanted = [
        (0, "/destination-port: `0980` has no operator"),
        (2, "/payload: an unknown member"),
        (3, "/destination-ipv4: 2 prefixes"),
        (4, "/destination-ipv4: the members say"),
        (5, ": `destination-ipv4` is there twice"),
        (6, "/destination-ipv6: not a member of rules of ipv4"),
        (7, ""),
        (8, ""),
        (9, ": invalid type: integer"),
        (10, "/destination-ipv4: invalid type"),
        (11, "/destination-port: ``"),
        (12, "/rd: an unknown member"),
        (13, "/destination-port: the members say"),
        (14, "/destination-port: the members say"),
    ];
    assert_eq!(misread.len(), wanted.len(), "{misread:#?}");
    for ((index, what), misread) in wanted.iter().zip(&misread) {
        assert!(misread.starts_with(&format!("{}{what}", place(*index))), "{misread}");
    }
}

#[test]
fn actions_that_cannot_be_read_withdraw_what_was_there_before() {
    let rule = r#""announce":{"ipv4 flow":{"no-nexthop":[{"destination-ipv4":["10.0.0.1/32"]}]}}"#;
    let line = updating(&format!(r#""attribute":{{"extended-community":["rate-limit:0"]}},{rule}"#));
    let (withdrawn, announced, misread) = said(&line);
    assert_eq!((withdrawn, announced), (vec!["dst 10.0.0.1/32".to_owned()], vec![]));
    assert!(misread[0].ends_with("its rules are treated as withdrawn"), "{misread:?}");

    let elsewhere = rule.replace("no-nexthop", "somewhere");
    let (withdrawn, announced, misread) = said(&updating(&format!("{DISCARD},{elsewhere}")));
    assert_eq!((withdrawn.len(), announced.len(), misread.len()), (1, 0, 1));

    // Without attributes a rule has no action: it accepts.
    let (_, announced, misread) = said(&updating(rule));
    assert_eq!((announced, misread), (vec!["dst 10.0.0.1/32 then accept".to_owned()], vec![]));
}

#[test]
fn masks_of_version_4_need_their_text() {
    let four = |flow: &str| {
        let line = updating(&format!(r#"{DISCARD},"withdraw":{{"ipv4 flow":[{{ {flow} }}]}}"#));
        let (withdrawn, _, misread) = said(&line.replace("5.0.0", "4.0.1"));
        withdrawn.into_iter().chain(misread).next().unwrap()
    };
    let split = r#""tcp-flags":["=syn","=ack"]"#;
    assert_eq!(four(&format!(r#"{split},"string":"flow tcp-flags =syn+ack""#)), "tcp-flags syn+ack");
    assert_eq!(four(&format!(r#"{split},"string":"flow tcp-flags [ =syn =ack ]""#)), "tcp-flags syn,ack");
    assert!(four(split).ends_with("/tcp-flags: the rule has no text"));
    assert!(four(&format!(r#"{split},"string":"flow tcp-flags =syn""#)).ends_with("disagree"));
    // Those of later versions are whole.
    let (withdrawn, ..) = said(&updating(&format!(r#""withdraw":{{"ipv4 flow":[{{ {split} }}]}}"#)));
    assert_eq!(withdrawn, ["tcp-flags syn,ack"]);
}

#[test]
fn offsets_are_refused_where_exabgp_misreads_them() {
    let v6 = |version: &str, prefix: &str| {
        let line = updating(&format!(r#""withdraw":{{"ipv6 flow":[{{"source-ipv6":["{prefix}"]}}]}}"#));
        let (withdrawn, _, misread) = said(&line.replace("5.0.0", version));
        withdrawn.into_iter().chain(misread).next().unwrap()
    };
    assert_eq!(v6("5.0.0", "::1234:5678:9a00:0/104/64"), "src ::1234:5678:9a00:0/64-104");
    assert_eq!(v6("5.0.0", "2a02:29b8:1925::2e69/128/0"), "src 2a02:29b8:1925::2e69/128");
    assert_eq!(v6("4.0.1", "2a02:29b8:1925::2e69/128/0"), "src 2a02:29b8:1925::2e69/128");
    assert!(v6("4.0.1", "::1234:5678:9a00:0/104/64").contains("ExaBGP 4 does not read"));
    assert!(v6("5.0.0", "1234:5678:9a00::/104/64").contains("misreads such a prefix"));
    for odd in ["2001:db8::/32", "2001:db8::/32/32", "2001:db8::/129/0", "::/0/0/0", "10.0.0.0/8", "2001:db8::/032/0"] {
        assert!(v6("5.0.0", odd).starts_with("update/withdraw"), "{odd}: {}", v6("5.0.0", odd));
    }
}

#[test]
fn states_shutdown_and_end_of_rib() {
    let state = |rest: &str| read(format!(r#"{{ {HEAD},"type":"state","neighbor":{{ {WHO},{rest} }} }}"#).as_bytes());
    let down = |reason: &str| SessionState::Down(reason.to_owned());
    for (rest, wanted) in [
        (r#""state":"connected""#, SessionState::Connected),
        (r#""state":"up""#, SessionState::Up),
        (r#""router-id":"192.0.2.10","state":"down","reason":"why \"so\"""#, down("why \"so\"")),
        (r#""state":"down""#, down("")),
        // Version 4 does not escape everything that it should.
        (r#""state": "down", "reason": "a back\slash and " a quote""#, down("")),
    ] {
        let Ok(Message::State(neighbor, found)) = state(rest) else { panic!("{rest}: {:?}", state(rest)) };
        assert_eq!((found, neighbor.peer.to_string().as_str()), (wanted, "203.0.113.1"));
    }
    assert!(state(r#""state":"sideways""#).is_err());
    let shutdown = format!(r#"{{ {HEAD},"type":"notification","notification":"shutdown" }}"#);
    assert_eq!(read(shutdown.as_bytes()), Ok(Message::Shutdown));
    let eor = |safi: &str| {
        let line = format!(
            r#"{{ {HEAD},"type":"update","neighbor":{{ {WHO},"direction":"in","message":{{"eor":{{"afi":"ipv4","safi":"{safi}"}} }} }} }}"#
        );
        read(line.as_bytes())
    };
    assert!(matches!(eor("flow-vpn"), Ok(Message::EndOfRib(_, AfiSafi::Flow(Family::Vpnv4)))));
    assert_eq!(eor("multicast"), Ok(Message::Other));
}

#[test]
fn what_is_no_message_for_us() {
    let sent = updating(DISCARD).replace(r#""direction":"in""#, r#""direction":"out""#);
    assert_eq!(read(sent.as_bytes()), Ok(Message::Other));
    assert_eq!(read(sent.replace(r#""out""#, r#""send""#).as_bytes()), Ok(Message::Other));
    let keepalive = format!(r#"{{ {HEAD},"type":"keepalive","neighbor":{{ {WHO},"direction":"in" }} }}"#);
    assert_eq!(read(keepalive.as_bytes()), Ok(Message::Other));
    assert_eq!(read(b"\r\n"), Ok(Message::Other));
    assert_eq!(read(b"done"), Ok(Message::Answer(true)));
    assert_eq!(read(br#"{ "answer": "error", "message": "no" }"#), Ok(Message::Answer(false)));
}

#[test]
fn lines_that_cannot_be_read_say_why() {
    for (line, why) in [
        (&b"neighbor 203.0.113.1 up"[..], "encoder json"),
        (b"{ \"exabgp\": \"4.0.1\", \"type\": \"upda", "EOF while parsing"),
        (b"{ \"exabgp\": \"3.4.8\", \"type\": \"update\" }", "exabgp: JSON of 3.4.8; versions 4, 5 and 6"),
        (b"{ \"exabgp\": \"7.0.0\", \"type\": \"update\" }", "exabgp: JSON of 7.0.0"),
        (b"{}", "exabgp: JSON of no version"),
        (b"{ \"exabgp\": \"4.0.1\" }", "no `type`"),
        (b"{ \"exabgp\": \"4.0.1\", \"type\": \"update\" }", "no `neighbor`"),
        (b"{ \"exabgp\": \"4.0.1\", \"type\": \"update\", \"neighbor\": 1 }", "neighbor: invalid type"),
        (b"\xff\xfe", "not UTF-8 at octet 0"),
    ] {
        let misread = read(line).unwrap_err().to_string();
        assert!(misread.contains(why), "{misread}");
    }
    let nobody = updating(DISCARD).replace("203.0.113.1", "somebody");
    assert_eq!(
        read(nobody.as_bytes()).unwrap_err().to_string(),
        "neighbor/address: `somebody` is not an address of a peer"
    );
    let twice = updating(&format!("{DISCARD},{DISCARD}"));
    assert!(read(twice.as_bytes()).unwrap_err().to_string().starts_with("neighbor/message/update: duplicate field"));
    // A malformed rule that ExaBGP left out.
    assert!(said(&updating(DISCARD)).2[0].contains("leaves out rules"));
}

#[test]
fn octets_count_where_there_are_some() {
    // The text shows what ExaBGP 4 does with an offset: it ignores it.
    let header = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF004702";
    let body =
        "0x000000304001010040020602010000FE2EC010088006000000000000800E1500028500000F01200020010DB8026840123456789A";
    let octets = format!(r#""header":"{header}","body":"{body}""#);
    let rule = "dst 2001:db8::/32 src ::1234:5678:9a00:0/64-104 then discard";
    let consolidated = updating(DISCARD).replace(r#""neighbor""#, &format!(r#"{octets},"neighbor""#));
    assert_eq!(said(&consolidated), (vec![], vec![rule.to_owned()], vec![]));
    let alone = updating("").replace(r#""update":{  }"#, &format!(r#""category":2,{octets}"#));
    assert_eq!(said(&alone), (vec![], vec![rule.to_owned()], vec![]));
    let sent = consolidated.replace(r#""direction":"in""#, r#""direction":"out""#);
    assert_eq!(read(sent.as_bytes()), Ok(Message::Other));
    let broken = consolidated.replace("004702", "004802");
    assert_eq!(read(broken.as_bytes()).unwrap_err().to_string(), "body: the message is cut off after 71 octets");
}
