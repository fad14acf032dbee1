//! The offline commands from the user's point of view: arguments in, text or JSON and an exit
//! status out.

mod compile;
mod explain;

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What one run of the program did.
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The objects printed with `--json`.
    fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

fn floodgate(arguments: &[&str], input: &str) -> Run {
    floodgate_octets(arguments, input.as_bytes())
}

fn floodgate_octets(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_floodgate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that does not read its input closes the pipe; that is its right.
        let _ = stdin.write_all(&input);
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    Run {
        status: status.code().expect("not killed"),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

const RULES: &str = "\
# The first line is a comment.
dst 192.0.2.0/24 proto tcp dport 80 then rate 1mbps
dst 192.0.2.1/32 proto udp sport 123 then discard

wire ipv4 0b0118c00002038106048119 8006000000000000
dst 192.0.2.0/24 dscp 46 then mark 10 continue
dst 2001:db8::/32 proto udp dport 53 then discard
";

fn rules_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(RULES.as_bytes()).expect("written");
    file
}

#[test]
fn decode_shows_each_nlri_of_an_input() {
    let run = floodgate(&["decode", "--json", "0b0118c0000203810604811903058150"], "");
    assert_eq!(run.status, 0, "{}", run.stderr);
    let objects = run.objects();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["family"], "ipv4");
    assert_eq!(objects[0]["nlri"], "0b0118c00002038106048119");
    assert_eq!(objects[0]["text"], "dst 192.0.2.0/24 proto tcp port 25");
    assert_eq!(objects[0]["components"][0]["type"], "dst");
    assert_eq!(objects[0]["components"][1]["text"], "tcp");
    assert_eq!(objects[1]["canonical"], "03058150");
    assert_eq!(objects[1]["input"], 0);
}

#[test]
fn decode_canonical_has_no_reserved_bits() {
    let run = floodgate(&["decode", "--json", "f00b0118c000020381060 4c919".replace(' ', "").as_str()], "");
    assert_eq!(run.objects()[0]["canonical"], "0b0118c00002038106048119");
}

#[test]
fn decode_answers_the_other_inputs_when_one_is_bad() {
    let run = floodgate(&["decode", "--json", "-"], "zz\n0b0118c00002038106048119\n030e8101\n");
    assert_eq!(run.status, 1);
    let objects = run.objects();
    assert_eq!(objects[0]["error"]["kind"], "hex");
    assert_eq!(objects[1]["input"], 1);
    assert_eq!(objects[1]["id"].as_str().map(str::len), Some(12));
    assert_eq!(objects[2]["error"]["kind"], "unknown-component");
    assert_eq!(objects[2]["error"]["offset"], 1);
}

#[test]
fn decode_update_reads_as_prose() {
    let update = "ffffffffffffffffffffffffffffffff004c02000000354001010040020602010000fdebc010088006000000000000\
                  800e1a0001850000140118c000020381060501501101bb131f40d51f90";
    let run = floodgate(&["decode", "--update", update], "");
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("as-path 65003"), "{}", run.stdout);
    assert!(run.stdout.contains("dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard"), "{}", run.stdout);
}

#[test]
fn decode_update_tells_the_reaction_to_a_zero_length_nlri() {
    let update = "ffffffffffffffffffffffffffffffff002e02000000174001010040020040050400000064800e06000185000000";
    let run = floodgate(&["decode", "--update", "--json", update], "");
    assert_eq!(run.status, 1);
    let message = run.objects()[0]["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("leave out this NLRI"), "{message}");
}

#[test]
fn decode_update_takes_what_tcp_carries() {
    let keepalive = "ffffffffffffffffffffffffffffffff001304";
    let update = "ffffffffffffffffffffffffffffffff004c02000000354001010040020602010000fdebc010088006000000000000\
                  800e1a0001850000140118c000020381060501501101bb131f40d51f90";
    let run = floodgate(&["decode", "--update", "--json", &format!("{keepalive}{update}{keepalive}{update}")], "");
    assert_eq!((run.status, run.objects().len()), (0, 2), "{}{}", run.stdout, run.stderr);
    let run = floodgate(&["decode", "--update", "--json", &format!("{update}4500"), keepalive], "");
    let objects = run.objects();
    assert_eq!(objects[0]["id"], "6bc14a6bbc02");
    assert_eq!((&objects[1]["error"]["kind"], &objects[1]["error"]["offset"]), (&"not-an-update".into(), &76.into()));
    assert_eq!(objects[2]["error"]["message"], "KEEPALIVE, not an UPDATE");
    // A message is recognised without being told.
    let run = floodgate(&["decode", "--json", update], "");
    assert_eq!((run.status, &run.objects()[0]["id"]), (0, &"6bc14a6bbc02".into()), "{}", run.stderr);
}

#[test]
fn decode_reads_path_identifiers() {
    let run = floodgate(&["decode", "--add-path", "--json", "00000007030381060000000803038111"], "");
    assert_eq!((run.status, run.objects().len()), (0, 2), "{}{}", run.stdout, run.stderr);
    assert_eq!((&run.objects()[1]["path_id"], &run.objects()[1]["text"]), (&8.into(), &"proto udp".into()));
    assert_eq!(run.objects()[1]["canonical"], "03038111", "the key has none");
}

#[test]
fn decode_community() {
    let run = floodgate(&["decode", "--community", "--json", "8006000049742400", "8009ffffffffffee", "80060000"], "");
    assert_eq!(run.status, 1);
    let objects = run.objects();
    assert_eq!(objects[0]["text"], "rate 8mbps");
    assert_eq!(objects[1]["text"], "mark 46");
    assert_eq!(objects[2]["error"]["kind"], "community-length");
    let extreme = floodgate(&["decode", "--community", "80060000c2c80000", "800600007f800000"], "");
    assert_eq!(extreme.stdout, "discard(-100)\nunlimited(inf)\n");
}

#[test]
fn what_encode_prints_is_a_rules_file() {
    let encoded = floodgate(&["encode", "-"], RULES);
    assert_eq!(encoded.status, 0, "{}", encoded.stderr);
    assert_eq!(encoded.stdout.lines().count(), 5);
    let again = floodgate(&["encode", "-"], &encoded.stdout);
    assert_eq!(again.stdout, encoded.stdout);
}

/// `compile` can do with the line what it can do with the rule, and only with the next hop is it
/// the rule.
#[test]
fn encode_prints_a_next_hop_that_an_action_looks_at() {
    let rule = "dst 1.1.1.2/32 then redirect next-hop 192.168.1.200";
    let encoded = floodgate(&["encode", rule], "");
    assert_eq!(encoded.stdout, "wire ipv4 06012001010102 0800000000000000 next-hop 192.168.1.200\n");
    assert_eq!(floodgate(&["encode", "--json", rule], "").objects()[0]["next_hop"], "192.168.1.200");
    for rules in [rule, &encoded.stdout] {
        let run = floodgate(&["compile", "--target", "xdp", "--json"], rules);
        assert_eq!(run.objects()[0]["verdict"], "exact", "{rules}: {}", run.stdout);
        assert_eq!(run.objects()[0]["text"], rule);
    }
}

#[test]
fn what_was_read_otherwise_than_written_is_reported() {
    let run = floodgate(&["encode", "dst 192.0.2.1/24 then discard"], "");
    assert_eq!((run.status, run.stdout.as_str()), (0, "wire ipv4 050118c00002 8006000000000000\n"));
    assert!(run.stderr.contains("note: column 5: `192.0.2.1/24` has bits outside of its prefix"), "{}", run.stderr);
    assert!(run.stderr.contains("192.0.2.0/24"), "{}", run.stderr);
}

#[test]
fn encode_takes_bare_words_and_points_at_errors() {
    let run = floodgate(&["encode", "dst", "192.0.2.1/32", "then", "discard"], "");
    assert_eq!(run.stdout, "wire ipv4 060120c0000201 8006000000000000\n");
    let run = floodgate(&["encode", "dst 192.0.2.1/32 prot udp"], "");
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("                 ^"), "{}", run.stderr);
    assert!(run.stderr.contains("proto"), "{}", run.stderr);
}

/// A pcap file in memory: classic header, one Ethernet or raw IP packet each.
fn pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, link] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for packet in packets {
        for word in [0, 0, packet.len() as u32, packet.len() as u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(packet);
    }
    file
}

/// The same as pcapng: section header, one interface, an enhanced packet block each.
fn pcapng(link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, mut body: Vec<u8>| {
        body.resize(body.len().next_multiple_of(4), 0);
        let length = (body.len() as u32 + 12).to_le_bytes();
        file.extend([&kind.to_le_bytes()[..], &length, &body, &length].concat());
    };
    block(0x0a0d_0d0a, [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    block(1, [&link.to_le_bytes()[..], &[0; 6]].concat());
    for packet in packets {
        let length = (packet.len() as u32).to_le_bytes();
        block(6, [&[0; 12][..], &length, &length, packet].concat());
    }
    file
}

/// IPv4, UDP, 198.51.100.7:`port` to 192.0.2.1:4000.
fn udp(port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 7, 192, 0, 2, 1];
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&[0x0f, 0xa0, 0, 8, 0, 0]);
    packet
}

#[test]
fn a_hostile_line_is_one_error_and_the_others_count() {
    let long = format!("dst 192.0.2.3/32 {}", "x ".repeat(1 << 20));
    let input = format!("\u{feff}dst 192.0.2.1/32 then discard\r\n{long}\n\r\n\u{feff}dst 192.0.2.2/32\tthen discard");
    let run = floodgate(&["encode", "--json", "-"], &input);
    assert_eq!(run.status, 1);
    let objects = run.objects();
    assert_eq!(objects.len(), 3, "{}", run.stdout);
    assert_eq!(objects[0]["text"], "dst 192.0.2.1/32 then discard");
    assert_eq!((&objects[1]["input"], &objects[1]["error"]["kind"]), (&1.into(), &"line-too-long".into()));
    assert_eq!((&objects[2]["input"], &objects[2]["text"]), (&3.into(), &"dst 192.0.2.2/32 then discard".into()));
    let run = floodgate(&["compile", "--target", "none", "--json"], &input);
    let numbers: Vec<_> = run.objects().iter().filter_map(|object| object["rule"].as_u64()).collect();
    assert_eq!((run.status, numbers), (1, vec![0, 2]), "{}", run.stdout);
    let run = floodgate(&["decode", "--json", "-"], &format!("\u{feff}03038106\n{}\n03038111", "0".repeat(2 << 20)));
    assert_eq!(run.objects()[0]["text"], "proto tcp");
    assert_eq!(run.objects()[1]["error"]["kind"], "line-too-long");
    assert_eq!(run.objects()[2]["text"], "proto udp");
}

#[test]
fn errors_that_nobody_can_read_do_not_change_the_outcome() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    for arguments in [&["decode", "zz", "03038106"][..], &["encode", "nonsense"], &["explain", "--rules", "/", "tcp"]] {
        let run = Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(full())
            .status()
            .expect("the program starts");
        assert_eq!(run.code(), Some(1), "{arguments:?}");
    }
}

/// The documents' tables, with the default rules in place: entries of IPv4 and of IPv6, atomic,
/// then non-atomic; and the default rules, where they are told.
type Table = ((u64, u64), (u64, u64), Option<(u64, u64)>);

const TABLES: [(&str, Table); 13] = [
    ("tomahawk", ((256, 256), (768, 768), Some((36, 29)))),
    ("trident2", ((512, 768), (1536, 1536), Some((36, 29)))),
    ("trident2+", ((2048, 3072), (6144, 6144), Some((36, 29)))),
    ("trident3", ((768, 768), (2304, 2304), Some((44, 41)))),
    ("helix4", ((768, 384), (1792, 896), Some((36, 29)))),
    ("spectrum1", ((500, 250), (1000, 500), None)),
    ("spectrum1-ipmc-heavy", ((750, 500), (1500, 1000), None)),
    ("spectrum1-ipmc-max", ((1000, 500), (2000, 1000), None)),
    ("spectrum1-acl-heavy", ((1750, 1000), (3500, 2000), None)),
    ("spectrum1-ip-acl-heavy", ((6000, 0), (12000, 0), None)),
    ("spectrum2", ((12500, 6250), (25000, 12500), None)),
    ("spectrum3", ((12500, 6250), (25000, 12500), None)),
    ("spectrum4", ((12500, 6250), (25000, 12500), None)),
];

#[test]
fn many_lines_stream_through_decode() {
    let line = "0b0118c00002038106048119\n";
    let run = floodgate(&["decode", "--json", "-"], &line.repeat(100_000));
    assert_eq!(run.status, 0);
    assert_eq!(run.stdout.lines().count(), 100_000);
}

/// Each command shows how it is used, on lines that a terminal of 100 columns does not break.
#[test]
fn each_command_has_an_example() {
    let help = floodgate(&["--help"], "").stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let help = floodgate(&[name, "--help"], "").stdout;
        assert!(help.contains(&format!("floodgate {name}")) || help.contains(&format!("floodgate {name} ")), "{name}");
        let examples = help.split(if name == "exabgp" { "In exabgp.conf:" } else { "Examples:" }).nth(1);
        let examples = examples.unwrap_or_else(|| panic!("{name} has no example: {help}"));
        let commands: Vec<&str> = examples.lines().filter(|line| line.contains("floodgate ")).collect();
        assert!(!commands.is_empty() && commands.iter().all(|line| line.len() <= 100), "{name}: {examples}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    assert_eq!(floodgate(&["decode"], "").status, 2);
    assert_eq!(floodgate(&["decode", "--family", "ipv5", "00"], "").status, 2);
    assert_eq!(floodgate(&["--help"], "").status, 0);
    let missing = floodgate(&["explain", "--rules", "/nonexistent/rules", "udp", "192.0.2.1:1", "192.0.2.2:2"], "");
    assert_eq!(missing.status, 1);
    assert!(missing.stderr.contains("/nonexistent/rules"), "{}", missing.stderr);
}

#[test]
fn check_tells_each_mistake_as_an_object() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = "[router]\nas = 0\nid = \"192.0.2.10\"\n[dataplane]\nbackend = nftables\ninterface = [\"eth0\"]\n";
    file.write_all(text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let run = floodgate(&["check", "-c", path, "--json"], "");
    assert_eq!(run.status, 1);
    let told: Vec<_> = run
        .objects()
        .iter()
        .map(|it| (it["line"].as_u64(), it["column"].as_u64(), it["key"].clone(), it["suggestion"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (Some(2), Some(6), "router.as".into(), Value::Null),
            (Some(5), Some(11), "backend".into(), "backend = \"nftables\"".into()),
            (Some(6), Some(1), "dataplane.interface".into(), "interfaces".into()),
        ],
        "{}",
        run.stdout
    );
    let run = floodgate(&["check", "-c", path], "");
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with(path)).count(), 3, "{}", run.stderr);
    assert!(run.stderr.ends_with("floodgate: 3 mistakes\n"), "{}", run.stderr);
    std::fs::write(file.path(), "[router]\nas = 1\nid = \"192.0.2.10\"\n").expect("written");
    let run = floodgate(&["check", "-c", path, "--json"], "");
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    let run = floodgate(&["check", "-c", "/nonexistent/floodgate.toml", "--json"], "");
    assert!(run.objects()[0]["message"].as_str().is_some_and(|why| why.contains("-c FILE")), "{}", run.stdout);
}

const UPDATE: &str = "ffffffffffffffffffffffffffffffff004c02000000354001010040020602010000fdebc010088006000000000000\
                      800e1a0001850000140118c000020381060501501101bb131f40d51f90";
const KEEPALIVE: &str = "ffffffffffffffffffffffffffffffff001304";

fn octets(hex: &str) -> Vec<u8> {
    flowspec::hex::decode(hex).unwrap()
}

/// An Ethernet frame with an IPv4 packet with a TCP segment from 192.0.2.1:179 to 192.0.2.2:4000.
fn tcp(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    packet.extend([0x45, 0]);
    packet.extend(u16::try_from(40 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([0, 179, 0x0f, 0xa0]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}

/// The octets as text of one tool, `width` octets a line.
fn dump(octets: &[u8], width: usize, line: impl Fn(usize, &[u8], &str) -> String) -> String {
    let characters = |part: &[u8]| -> String {
        part.iter()
            .map(|octet| if octet.is_ascii_graphic() || *octet == b' ' { char::from(*octet) } else { '.' })
            .collect()
    };
    octets.chunks(width).enumerate().map(|(n, part)| line(n * width, part, &characters(part)) + "\n").collect()
}

fn words(part: &[u8]) -> String {
    let word = |pair: &[u8]| pair.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    part.chunks(2).map(word).collect::<Vec<_>>().join(" ")
}

fn single(part: &[u8]) -> String {
    part.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(" ")
}

/// "Paste the hex of an UPDATE from tcpdump", in whatever form it comes.
#[test]
fn decode_reads_what_other_tools_print() {
    let frame = tcp(1, &octets(&format!("{KEEPALIVE}{UPDATE}")));
    let ip = &frame[14..];
    let heading = "12:00:00.000001 IP 192.0.2.1.179 > 192.0.2.2.4000: Flags [P.], seq 1:96, length 95: BGP, length: 95\n\tUpdate Message (2)\n";
    let tcpdump =
        |octets: &[u8]| dump(octets, 16, |at, part, text| format!("\t0x{at:04x}:  {:<39}  {text}", words(part)));
    for (tool, text) in [
        ("tcpdump -x", heading.to_owned() + &dump(ip, 16, |at, part, _| format!("\t0x{at:04x}:  {}", words(part)))),
        ("tcpdump -X", heading.to_owned() + &tcpdump(ip)),
        ("tcpdump -XX", heading.to_owned() + &tcpdump(&frame)),
        (
            "two packets",
            (heading.to_owned() + &tcpdump(ip)).replace(heading, "")
                + heading
                + &tcpdump(&tcp(9, b"nothing of BGP")[14..]),
        ),
        ("Wireshark", dump(&frame, 16, |at, part, text| format!("{at:04x}   {:<47}   {text}", single(part)))),
        ("xxd", dump(&frame, 16, |at, part, text| format!("{at:08x}: {:<39}  {text}", words(part)))),
        (
            "hexdump -C",
            dump(&frame, 16, |at, part, text| {
                let (left, right) = part.split_at(part.len().min(8));
                format!("{at:08x}  {}  {}  |{text}|", single(left), single(right))
            }) + &format!("{:08x}\n", frame.len()),
        ),
        ("plain", single(&frame).replace(' ', "")),
        ("payload alone", UPDATE.to_owned()),
    ] {
        for (arguments, input) in
            [(["decode", "--json", "-"], text.as_str()), (["decode", "--json", text.as_str()], "")]
        {
            let run = floodgate(&arguments, input);
            let objects = run.objects();
            let rules: Vec<_> = objects.iter().filter_map(|object| object["rule"].as_str()).collect();
            assert_eq!(
                rules,
                ["dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard"],
                "{tool}: {text}\n{}{}",
                run.stdout,
                run.stderr
            );
        }
    }
    let run = floodgate(&["decode", "-"], "0000000 ffff ffff ffff\n");
    assert!(run.status == 1 && run.stderr.contains("hexdump -C"), "{}", run.stderr);
    let run = floodgate(&["decode", "-"], "0000   ff ff\n0010   ff ff\n");
    assert!(run.status == 1 && run.stderr.contains("offset 0x10 where 0x2 follows"), "{}", run.stderr);
    // An NLRI that holds sixteen octets ff is an NLRI.
    let run = floodgate(&["decode", "--json", "--family", "ipv6", "13018000ffffffffffffffffffffffffffffffff"], "");
    assert_eq!(run.objects()[0]["text"], "dst ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "{}", run.stderr);
}

#[test]
fn decode_takes_messages_out_of_a_capture() {
    let stream = octets(&format!("{KEEPALIVE}{UPDATE}{KEEPALIVE}"));
    // In pieces, one of them twice, two in the wrong order.
    let pieces: Vec<Vec<u8>> = [(0, 10), (10, 50), (10, 50), (80, 95), (50, 80), (95, stream.len())]
        .map(|(from, to)| tcp(1000 + from as u32, &stream[from..to]))
        .into();
    for (name, file) in [("pcap", pcap(1, &pieces)), ("pcapng", pcapng(1, &pieces))] {
        let run = floodgate_octets(&["decode", "--pcap", "-"], &file);
        assert_eq!(run.status, 0, "{name}: {}", run.stderr);
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert!(lines[0].starts_with("packet 1  192.0.2.1:179 > 192.0.2.2:4000"), "{}", run.stdout);
        assert_eq!((lines[1], lines[2]), ("KEEPALIVE", "packet 4  192.0.2.1:179 > 192.0.2.2:4000"));
        assert!(lines[4].contains("dst 192.0.2.0/24 proto tcp dport 80,443,8000-8080 then discard"), "{}", run.stdout);
        let run = floodgate_octets(&["decode", "--json", "--pcap", "-"], &file);
        assert_eq!((run.objects().len(), &run.objects()[0]["input"]), (1, &4.into()), "{}", run.stdout);
    }
    let run = floodgate_octets(&["decode", "--pcap", "-"], &pcap(1, &[tcp(1, b"GET / HTTP/1.1")]));
    assert!(run.status == 1 && run.stderr.contains("no BGP message in 1 packet"), "{}", run.stderr);
    let run = floodgate_octets(&["decode", "--pcap", "-"], &pcap(1, &[tcp(1, &octets(UPDATE)[..40])]));
    assert!(run.stderr.contains("40 octets from 192.0.2.1:179"), "{}", run.stderr);
    assert_eq!(floodgate(&["decode", "--pcap", "x", "00"], "").status, 2);
}
