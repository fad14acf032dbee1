//! `floodgate explain`: which rule decides about a packet, and why.

use super::*;

#[test]
fn explain_names_the_deciding_rule_by_its_number_in_the_file() {
    let file = rules_file();
    let path = file.path().to_str().expect("UTF-8");
    let ask = |words: &[&str]| {
        let mut arguments = vec!["explain", "--json", "--rules", path];
        arguments.extend_from_slice(words);
        let run = floodgate(&arguments, "");
        assert_eq!(run.status, 0, "{}", run.stderr);
        run.objects().remove(0)
    };
    let ntp = ask(&["udp", "198.51.100.7:123", "192.0.2.1:4000"]);
    assert_eq!((&ntp["verdict"], &ntp["rule"]), (&"discard".into(), &1.into()));
    let web = ask(&["tcp", "198.51.100.7:4000", "192.0.2.9:80", "syn", "dscp=46"]);
    assert_eq!((&web["verdict"], &web["rule"]), (&"rate".into(), &0.into()));
    let marked = ask(&["udp", "198.51.100.7:1", "192.0.2.9:2", "dscp=46"]);
    assert_eq!(marked["verdict"], "accept");
    assert_eq!(marked["rule"], Value::Null);
    assert_eq!(marked["continued"], serde_json::json!([3]));
    assert_eq!(marked["actions"], serde_json::json!(["mark 10"]));
    let other = ask(&["udp", "198.51.100.7:1", "203.0.113.1:2"]);
    assert_eq!((&other["verdict"], &other["rule"]), (&"accept".into(), &Value::Null));
    let dns = ask(&["udp", "[2001:db8:1::1]:9", "[2001:db8::1]:53"]);
    assert_eq!(dns["rule"], 4);
}

#[test]
fn explain_says_why_earlier_rules_did_not_match() {
    let file = rules_file();
    let path = file.path().to_str().expect("UTF-8");
    let run = floodgate(&["explain", "--rules", path, "tcp", "198.51.100.7:4000", "192.0.2.1:80", "syn"], "");
    assert!(run.stdout.contains("verdict  rate 1mbps by rule 0"), "{}", run.stdout);
    assert!(run.stdout.contains("no: proto"), "{}", run.stdout);
}

#[test]
fn explain_only_counts_other_destinations_in_a_long_list() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    for n in 0..200 {
        writeln!(file, "dst 192.0.2.{n}/32 proto udp sport 123 then discard").expect("written");
    }
    let path = file.path().to_str().expect("UTF-8");
    let run = floodgate(&["explain", "--rules", path, "udp", "198.51.100.7:4000", "192.0.2.70:80"], "");
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("192.0.2.70/32 proto udp sport 123"), "{}", run.stdout);
    assert!(run.stdout.contains("no: sport"), "{}", run.stdout);
    assert!(run.stdout.contains("199 rules are for other destinations"), "{}", run.stdout);
    assert!(run.stdout.lines().count() < 10, "{}", run.stdout);
}

#[test]
fn explain_goes_through_a_capture() {
    let rules = rules_file();
    let tagged = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &udp(123)].concat();
    let arp = [&[0; 12][..], &[8, 6, 0, 1]].concat();
    for (link, packets, expected) in
        [(1, vec![tagged, arp], vec!["discard", "accept"]), (101, vec![udp(123), udp(124)], vec!["discard", "accept"])]
    {
        let mut capture = tempfile::NamedTempFile::new().expect("a temporary file");
        capture.write_all(&pcap(link, &packets)).expect("written");
        let paths = [rules.path(), capture.path()].map(|path| path.to_str().expect("UTF-8"));
        let run = floodgate(&["explain", "--json", "--rules", paths[0], "--pcap", paths[1]], "");
        assert_eq!(run.status, 0, "{}", run.stderr);
        let verdicts: Vec<_> = run.objects().iter().map(|object| object["verdict"].clone()).collect();
        assert_eq!(verdicts, expected);
        assert_eq!(run.objects()[1]["packet"], 1);
    }
}

#[test]
fn explain_reads_captures_as_tcpdump_writes_them() {
    let rules = rules_file();
    let rules = rules.path().to_str().expect("UTF-8");
    // "any" device, both versions: EtherType IPv4, 802.1Q, and LOOPBACK (0x9000) with what only
    // looks like an IP packet.
    let cooked = |ethertype: [u8; 2]| [&[0; 14][..], &ethertype, &udp(123)].concat();
    let cooked2 = |ethertype: [u8; 2]| [&ethertype[..], &[0; 18], &udp(123)].concat();
    let tagged = [&[0; 14][..], &[0x81, 0, 0, 5, 8, 0], &udp(123)].concat();
    let ethernet = [&[0; 12][..], &[8, 0], &udp(123)].concat();
    let mut cut_short = pcap(101, &[udp(123), udp(123)]);
    cut_short[16..20].copy_from_slice(&64u32.to_le_bytes());
    cut_short[36..40].copy_from_slice(&1500u32.to_le_bytes());
    for (name, file, expected) in [
        ("cooked", pcap(113, &[cooked([8, 0]), tagged, cooked([0x90, 0])]), &["discard", "discard", "accept"][..]),
        ("cooked 2", pcap(276, &[cooked2([8, 0]), cooked2([0x90, 0])]), &["discard", "accept"]),
        ("with the length of checksums", pcap(0x2400_0001, std::slice::from_ref(&ethernet)), &["discard"]),
        ("snapshot length", cut_short, &["discard", "discard"]),
    ] {
        let mut capture = tempfile::NamedTempFile::new().expect("a temporary file");
        capture.write_all(&file).expect("written");
        let path = capture.path().to_str().expect("UTF-8");
        let run = floodgate(&["explain", "--json", "--rules", rules, "--pcap", path], "");
        let verdicts: Vec<_> = run.objects().iter().map(|object| object["verdict"].clone()).collect();
        assert_eq!(verdicts, expected, "{name}: {}", run.stderr);
    }
    for (link, packets, expected) in
        [(1, [ethernet.clone(), vec![]], ["discard", "accept"]), (101, [udp(123), udp(124)], ["discard", "accept"])]
    {
        let run = floodgate_octets(&["explain", "--json", "--rules", rules, "--pcap", "-"], &pcapng(link, &packets));
        let verdicts: Vec<_> = run.objects().iter().map(|object| object["verdict"].clone()).collect();
        assert_eq!(verdicts, expected, "pcapng: {}{}", run.stdout, run.stderr);
    }
    let file = pcap(101, &[udp(123)]);
    let run = floodgate_octets(&["explain", "--json", "--rules", rules, "--pcap", "-"], &file);
    assert_eq!(run.objects()[0]["verdict"], "discard", "{}", run.stderr);
    let run = floodgate(&["explain", "--json", "--rules", "-", "--pcap", "-"], "");
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("both"), "{}", run.stderr);
}

#[test]
fn explain_tells_a_bare_packet_from_a_frame() {
    let rules = rules_file();
    let rules = rules.path().to_str().expect("UTF-8");
    // The source address 8.0.69.0 looks like the EtherType of IPv4 and the start of its header.
    let mut bare = udp(123);
    bare[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    bare.extend_from_slice(&[0; 12]);
    bare[3] = 40;
    // The MAC addresses look like an IPv4 header.
    let frame = [&[0x45, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0][..], &udp(123)].concat();
    for packet in [bare, frame] {
        let hex: String = packet.iter().map(|octet| format!("{octet:02x}")).collect();
        let run = floodgate(&["explain", "--json", "--rules", rules, "--packet", &hex], "");
        assert_eq!(run.objects()[0]["verdict"], "discard", "{hex}: {}", run.stderr);
    }
}

#[test]
fn explain_answers_with_an_object_in_json_whatever_is_asked() {
    let rules = rules_file();
    let rules = rules.path().to_str().expect("UTF-8");
    let ask = |question: &[&str], input: &[u8]| {
        let run = floodgate_octets(&[&["explain", "--json", "--rules", rules], question].concat(), input);
        assert_eq!(run.status, 1, "{question:?}: {}", run.stdout);
        run.objects()
    };
    for (question, kind) in [
        (&["--packet", "45zz"][..], "hex"),
        (&["--packet", "0102"], "packet"),
        (&["tcp", "192.0.2.1"], "words"),
        (&["--pcap", "-"], "capture"),
    ] {
        let answer = ask(question, b"no capture");
        assert_eq!((&answer[0]["packet"], &answer[0]["error"]["kind"]), (&0.into(), &kind.into()), "{question:?}");
    }
    let mut cut = pcap(101, &[udp(123), udp(123)]);
    cut.pop();
    let answers = ask(&["--pcap", "-"], &cut);
    assert_eq!((&answers[0]["verdict"], &answers[1]["packet"]), (&"discard".into(), &1.into()));
    assert_eq!(answers[1]["error"]["kind"], "capture");
    assert_eq!(floodgate(&["explain", "--rules", rules], "").status, 2, "nothing is asked");
}

#[test]
fn explain_says_that_neighbour_discovery_meets_no_rule() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"dst ff02::/16 then discard\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let ask = |json: &[&str], hops: &str| {
        let packet = ["icmp", "fe80::1", "ff02::1:ff00:2", "type=135", "code=0", hops];
        floodgate(&[&["explain"], json, &["--rules", path], &packet].concat(), "")
    };
    let real = ask(&[], "hop-limit=255");
    assert!(real.stdout.contains("verdict  accept (IPv6 neighbour discovery"), "{}", real.stdout);
    let real = ask(&["--json"], "hop-limit=255").objects();
    assert_eq!((&real[0]["verdict"], &real[0]["rule"]), (&Value::from("accept"), &Value::Null));
    assert!(real[0]["note"].as_str().is_some_and(|note| note.contains("which no rule filters")), "{real:?}");
    for forged in ["hop-limit=254", "hop-limit=64"] {
        assert_eq!(ask(&["--json"], forged).objects()[0]["verdict"], "discard", "{forged}");
    }
}
