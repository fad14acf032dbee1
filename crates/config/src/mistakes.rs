//! Common mistakes, and the error messages for them.

use super::{Config, ConfigError, Problem, sections};
use std::path::Path;

const ROUTER: &str = "[router]\nas = 65140\nid = \"192.0.2.10\"\n";
const PEER: &str = "[[peer]]\nname = \"a\"\naddress = \"192.0.2.1\"\nas = 65070\n";

fn problems(text: &str) -> Vec<Problem> {
    match Config::parse(text, Path::new("f")) {
        Ok(_) => Vec::new(),
        Err(ConfigError { problems, .. }) => problems,
    }
}

/// The error in `wrong`, which follows a valid beginning: line and column in it, and the message.
fn told(before: &str, wrong: &str) -> Vec<String> {
    let lines = before.matches('\n').count();
    let shown = |problem: Problem| match problem.place {
        Some((line, column)) if line > lines => format!("{}:{column}: {}", line - lines, problem.message),
        Some((line, column)) => format!("above {line}:{column}: {}", problem.message),
        None => problem.message,
    };
    problems(&format!("{before}{wrong}")).into_iter().map(shown).collect()
}

/// A mistake in a section of its own, or in a peer: the text, and the beginning of the message.
#[test]
fn each_mistake_is_reported_with_its_place_and_what_was_meant() {
    let peer = |line: &str| format!("{PEER}{line}");
    let blackhole = |line: &str| {
        let allowed = "families = [\"ipv4-unicast\"]\nallow.destinations = [\"198.51.100.0/24\"]\n";
        format!("{PEER}{allowed}[peer.blackhole]\n{line}")
    };
    let statement = |lines: &str| format!("[[policy]]\nname = \"a\"\n[[policy.statement]]\n{lines}");
    let flower = |lines: &str| {
        format!("[dataplane]\nbackend = \"flower\"\ninterfaces = [\"swp*\"]\n[dataplane.flower]\n{lines}")
    };
    let in_router = |line: &str| format!("{ROUTER}{line}\n");
    let cases: Vec<(String, &str)> = vec![
        // Text without quotes.
        (
            "[dataplane]\nbackend = nftables\n".into(),
            "2:11: text must be in quotes; did you mean `backend = \"nftables\"`?",
        ),
        (
            "[dataplane]\nbackend = nftables # the kernel's\n".into(),
            "2:11: text must be in quotes; did you mean `backend = \"nftables\"`?",
        ),
        (
            "[dataplane]\nbackend = xdp\ninterfaces = [\"eth0\"]\n".into(),
            "2:11: text must be in quotes; did you mean `backend = \"xdp\"`?",
        ),
        ("[dataplane]\ninterfaces = [eth0]\n".into(), "2:15: text must be in quotes; did you mean `\"eth0\"`?"),
        ("[protect]\nports = [tcp/22]\n".into(), "2:10: text must be in quotes; did you mean `\"tcp/22\"`?"),
        ("[protect]\nprefixes = [192.0.2.53]\n".into(), "2:13: text must be in quotes; did you mean `\"192.0.2.53\"`?"),
        (
            "[state]\nfile = /var/lib/floodgate/state\n".into(),
            "2:8: text must be in quotes; did you mean `file = \"/var/lib/floodgate/state\"`?",
        ),
        ("[state]\nstale-time = 10m\n".into(), "2:14: text must be in quotes; did you mean `stale-time = \"10m\"`?"),
        ("[log]\nlevel = info\n".into(), "2:9: text must be in quotes; did you mean `level = \"info\"`?"),
        (peer("md5 = hush\n"), "5:7: text must be in quotes; did you mean `md5 = \"hush\"`?"),
        // Formats of other programs.
        ("[log]\nlevel: debug\n".into(), "2:1: `level: debug` is not TOML; did you mean `level = debug`?"),
        ("[log]\nlevel \"debug\"\n".into(), "2:1: no `=` after the key; did you mean `level = \"debug\"`?"),
        ("[log]\nlevel = \"debug\";\n".into(), "2:16: nothing may follow a value; did you mean `level = \"debug\"`?"),
        (
            "[log]\nlevel = \u{201c}debug\u{201d}\n".into(),
            "2:9: these quotes are not those of TOML; did you mean `level = \"debug\"`?",
        ),
        ("// a comment\n".into(), "1:1: no key and no section; a comment begins with `#`"),
        ("[log]\nlevel =\n".into(), "2:8: `level` has no value"),
        ("[log\n".into(), "1:5: a section is written as in [router] or [[peer]]"),
        ("[log]\nlevel = \"debug\n".into(), "2:15: "),
        // Sections.
        ("[[log]]\nlevel = \"debug\"\n".into(), "1:1: a list, where there is one table; it is written as [log]"),
        ("[peers]\n".into(), "1:2: unknown key `peers`; did you mean `peer`?"),
        ("[data-plane]\n".into(), "1:2: unknown key `data-plane`; did you mean `dataplane`?"),
        ("[logging]\nlevel = \"debug\"\n".into(), "1:2: unknown key `logging`"),
        (
            "[peer]\nname = \"a\"\naddress = \"192.0.2.1\"\nas = 1\n".into(),
            "1:1: invalid type: a single table, expected one of a list; write its name as in [[peer]]",
        ),
        (format!("[peer.allow]\nactions = [\"discard\"]\n{PEER}"), "3:3: [peer.allow] in line 4 is above its [[peer]]"),
        (format!("[peer]\nname = \"b\"\n{PEER}"), "3:3: line 4 has [peer] where each peer is one of a list"),
        (in_router(""), "1:2: a second [router]; the first is in line 1"),
        ("[log]\nlevel = \"info\"\nlevel = \"debug\"\n".into(), "3:1: a second `level`; the first is in line 5"),
        // Keys.
        (peer("hold_time = 9\n"), "5:1: unknown key `hold_time`; did you mean `hold-time`?"),
        (peer("remote-as = 9\n"), "5:1: unknown key `remote-as`"),
        (peer("level = \"debug\"\n"), "5:1: unknown key `level` here; it belongs in [log]"),
        (peer("destinations = []\n"), "5:1: unknown key `destinations` here; it belongs in [peer.allow]"),
        ("[dataplane]\ncapacity = 4096\n".into(), "2:1: unknown key `capacity` here; it belongs in [dataplane.xdp]"),
        ("[[peer]]\nname = \"a\"\nas = 65070\n".into(), "1:1: missing key `address`, such as `address = "),
        // Numbers.
        (
            peer("local-as = \"AS65001\"\n"),
            "5:12: invalid type: string \"AS65001\", expected an AS number from 1 to 4294967295; did you mean `65001`?",
        ),
        (
            peer("local-as = 1.10\n"),
            "5:12: invalid type: floating point `1.1`, expected an AS number from 1 to 4294967295; did you mean `65546`?",
        ),
        (peer("local-as = 0\n"), "5:12: 0 is not an AS number (RFC 7607); expected 1 to 4294967295"),
        (
            peer("local-as = 4294967296\n"),
            "5:12: invalid value: integer `4294967296`, expected an AS number from 1 to 4294967295",
        ),
        (peer("local-as = -1\n"), "5:12: invalid value: integer `-1`, expected an AS number from 1 to 4294967295"),
        (
            peer("port = \"1179\"\n"),
            "5:8: invalid type: string \"1179\", expected a number from 0 to 65535; did you mean `1179`?",
        ),
        (peer("port = 70000\n"), "5:8: invalid value: integer `70000`, expected a number from 0 to 65535"),
        (peer("port = 0179\n"), "5:8: a number has no zeros in front; did you mean `port = 179`?"),
        (peer("max-rules = 1.5\n"), "5:13: invalid type: floating point `1.5`, expected a number from 0"),
        // Booleans.
        (peer("passive = yes\n"), "5:11: `yes` is written `true`; did you mean `passive = true`?"),
        (peer("passive = False\n"), "5:11: `False` is written `false`; did you mean `passive = false`?"),
        (
            peer("passive = \"true\"\n"),
            "5:11: invalid type: string \"true\", expected true or false, without quotes; did you mean `true`?",
        ),
        (
            peer("passive = 1\n"),
            "5:11: invalid type: integer `1`, expected true or false, without quotes; did you mean `true`?",
        ),
        (
            peer("graceful-restart = \"no\"\n"),
            "5:20: invalid type: string \"no\", expected true or false, without quotes; did you mean `false`?",
        ),
        // Lists and words.
        (
            "[dataplane]\ninterfaces = \"eth0\"\n".into(),
            "2:14: invalid type: string \"eth0\", expected a list, in square brackets; did you mean `[\"eth0\"]`?",
        ),
        (
            peer("families = \"ipv4\"\n"),
            "5:12: invalid type: string \"ipv4\", expected a list, in square brackets; did you mean `[\"ipv4\"]`?",
        ),
        (peer("families = [\"IPv4\"]\n"), "5:13: unknown value `IPv4`; did you mean `ipv4`?"),
        (peer("allow.actions = [\"drop\"]\n"), "5:18: unknown value `drop`; expected one of `accept`, `discard`"),
        ("[dataplane]\nmode = \"monitoring\"\n".into(), "2:8: unknown value `monitoring`; did you mean `monitor`?"),
        (
            "[dataplane]\ncumulus.asic = \"trident4\"\n".into(),
            "2:16: `trident4` is not a known ASIC; expected one of tomahawk,",
        ),
        (
            "[dataplane]\ncumulus.release = 5.14\n".into(),
            "2:19: invalid type: floating point `5.14`, expected text in quotes; did you mean `\"5.14\"`?",
        ),
        ("[dataplane]\nflower.driver = \"rocker\"\n".into(), "2:17: it is not known what the driver `rocker` ignores"),
        (
            "[dataplane]\nflower.driver = \"sparx5\"\n".into(),
            "2:17: the driver sparx5 cannot be used: it has no action that drops a packet",
        ),
        (flower("driver = \"ocelot\"\n"), "5:10: the driver ocelot takes filters in fixed chains only"),
        (flower("driver = \"software\"\nblock = 0\n"), "6:9: 0 is not a block"),
        (flower("driver = \"software\"\nmax-entries-per-rule = 0\n"), "6:24: a rule takes at least one filter"),
        // Addresses and prefixes.
        (
            peer("source = \"192.0.2.1/24\"\n"),
            "5:10: `192.0.2.1/24` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10; did you mean `192.0.2.1`?",
        ),
        (
            peer("source = \"192.0.2.7:179\"\n"),
            "5:10: `192.0.2.7:179` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10; did you mean `192.0.2.7`?",
        ),
        (
            peer("source = \"eth0\"\n"),
            "5:10: `eth0` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10; names are not looked up",
        ),
        (
            peer("source = \"[2001:db8::1]\"\n"),
            "5:10: `[2001:db8::1]` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10; did you mean `2001:db8::1`?",
        ),
        (
            peer("source = \"192.000.002.001\"\n"),
            "5:10: `192.000.002.001` is not an IP address; expected a form such as 192.0.2.10 or 2001:db8::10; did you mean `192.0.2.1`?",
        ),
        (
            peer("allow.destinations = [\"198.51.100/24\"]\n"),
            "5:23: `198.51.100/24` is not a prefix; expected a form such as 192.0.2.0/24",
        ),
        (
            peer("allow.destinations = [\"198.51.100.7/24\"]\n"),
            "5:23: 198.51.100.7/24 has host bits set; did you mean `198.51.100.0/24`?",
        ),
        // Policies and blackholes.
        (peer("allow-own-as = 11\n"), "5:16: a path with our own AS 11 times is a loop; expected at most 10"),
        (
            peer("families = [\"ipv4-unicast\"]\nadvertise = [\"local\"]\n"),
            "6:13: this peer has no family of rules; expected \"ipv4\" or \"ipv6\" in families",
        ),
        (peer("bind-interface = \"a name/with\"\n"), "5:18: `a name/with` cannot be the name of an interface"),
        (peer("advertise = [\"all\"]\n"), "5:14: unknown value `all`; expected `local`"),
        (
            format!("{PEER}families = [\"ipv4-unicast\"]\n[peer.blackhole]\n"),
            "6:1: a peer with blackholes needs allow.destinations",
        ),
        (
            format!("{PEER}allow.destinations = [\"192.0.2.0/24\"]\n[peer.blackhole]\n"),
            "6:1: blackholes are unicast routes; add \"ipv4-unicast\"",
        ),
        (blackhole("destination = []\n"), "7:1: no route is a blackhole: all lists of marks are empty"),
        (
            blackhole("destination = [\"65535:66666\"]\n"),
            "8:16: `65535:66666` is not a community: 66666 is more than 65535",
        ),
        (blackhole("source = [\"65070:667\"]\n"), "8:10: expected `sources`, too"),
        (blackhole("sources = [\"192.0.2.0/24\"]\n"), "8:11: no mark drops sources"),
        (
            blackhole("source = [\"next-hop 192.0.2.1/24\"]\nsources = [\"192.0.2.0/24\"]\n"),
            "8:11: 192.0.2.1/24 has host bits set; did you mean `next-hop 192.0.2.0/24`?",
        ),
        (blackhole("shortest-prefix-v4 = 33\n"), "8:22: an IPv4 prefix has at most 32 bits"),
        (blackhole("community = \"65535:666\"\n"), "8:1: unknown key `community`"),
        // Long-lived graceful restart.
        (
            peer("graceful-restart = false\n[peer.long-lived]\n"),
            "6:1: long-lived graceful restart means nothing without graceful restart (RFC 9494 §4.1)",
        ),
        (
            peer("[peer.long-lived]\nfamilies = [\"ipv4-unicast\"]\n"),
            "6:13: no routes of this peer are retained in \"ipv4-unicast\"; expected one of \"ipv4\", \"ipv6\"",
        ),
        (peer("[peer.long-lived]\nfamilies = []\n"), "6:12: no family; expected at least one"),
        (
            peer("[peer.long-lived]\nmax-stale-time = \"200d\"\n"),
            "6:18: a long-lived stale time is whole seconds, 1 to 16777215 (RFC 9494 §3.1)",
        ),
        (peer("[peer.long-lived]\nmax-stale-time = \"0s\"\n"), "6:18: a long-lived stale time is whole seconds"),
        (
            peer("[peer.long-lived]\nmax-stale-time = \"1h\"\nmin-stale-time = \"2h\"\n"),
            "7:18: it is longer than max-stale-time",
        ),
        ("[[policy]]\nname = \"a\"\n".into(), "2:8: policy `a` has no [[policy.statement]]"),
        (statement(""), "3:1: it does nothing; expected `then`"),
        (statement("then = \"refuse\"\n"), "4:8: unknown value `refuse`"),
        (statement("then = \"rejct\"\n"), "4:8: unknown value `rejct`; did you mean `reject`?"),
        (statement("then = \"accept\"\nreason = \"x\"\n"), "5:10: a reason is given where a rule is rejected"),
        (statement("then = \"reject\"\nlifetime = \"1h\"\n"), "4:8: a rule that is rejected is not changed"),
        (statement("then = \"observe\"\nset-action = \"discard\"\n"), "5:14: `observe` is an action itself"),
        (statement("lifetime = \"0s\"\n"), "4:12: rules with a lifetime of 0 s are never enforced"),
        (
            statement("destination-with = [\"192.0.2.0/24\"]\nthen = \"accept\"\n"),
            "4:1: unknown key `destination-with`; did you mean `destination-within`?",
        ),
        (
            statement("destination-within = [\"192.0.2.1/24\"]\nthen = \"accept\"\n"),
            "4:23: 192.0.2.1/24 has host bits set; did you mean `192.0.2.0/24`?",
        ),
        (statement("source-within = []\nthen = \"accept\"\n"), "4:17: an empty list matches no route"),
        (statement("destination-length = \"32-24\"\nthen = \"accept\"\n"), "4:22: `32-24` are not prefix lengths"),
        (statement("destination-length = 129\nthen = \"accept\"\n"), "4:22: 129 is not a prefix length"),
        (
            statement("components = [\"spotr\"]\nthen = \"accept\"\n"),
            "4:15: `spotr` is not a component; did you mean `sport`?",
        ),
        (
            statement("communities = [\"no-exprt\"]\nthen = \"accept\"\n"),
            "4:16: `no-exprt` is not a community; expected a form",
        ),
        (
            statement("rate-above = \"fast\"\nthen = \"accept\"\n"),
            "4:14: `fast` is not a rate; expected a form such as 10mbps",
        ),
        (
            statement("set-action = \"drop all\"\n"),
            "4:14: `drop all` is not an action; expected a form such as discard",
        ),
        (statement("as-path-origin = [0]\nthen = \"accept\"\n"), "4:19: 0 is not an AS number"),
        (
            format!("{PEER}{}", statement("peers = [\"b*\", \"aa\"]\nthen = \"accept\"\n")),
            "8:9: `aa` is not the name of a peer; did you mean `a`?",
        ),
        (
            statement("then = \"accept\"\n[[policy.statement]]\nthen = \"reject\"\n"),
            "5:1: statement 1 decides about every route: this one is never evaluated",
        ),
        (
            format!("{}{}", statement("then = \"accept\"\n"), statement("then = \"reject\"\n")),
            "6:8: a second policy `a`; names are unique",
        ),
        // Durations.
        (peer("hold-on-loss = \"10 minutes\"\n"), "5:16: `10 minutes` is not a duration"),
        (peer("hold-on-loss = -5\n"), "5:16: -5 is not a duration: negative"),
    ];
    let mut wrong = String::new();
    for (text, expected) in &cases {
        let found = told(ROUTER, text);
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push_str(&format!("{text:?}\n  expected: {expected}\n  told:     {found:#?}\n"));
        }
    }
    assert!(cases.len() > 60);
    assert!(wrong.is_empty(), "{wrong}");
    for (text, expected) in [
        ("", "1:1: missing section [router]"),
        ("as = 65140\n", "1:1: unknown key `as`"),
        (
            "[router]\nid = \"2001:db8::1\"\nas = 1\n",
            "2:6: `2001:db8::1` is not an IPv4 address; expected a form such as 192.0.2.10; a BGP identifier is written as an IPv4 address",
        ),
        ("[router]\nid = 1\nas = 1\n", "2:6: invalid type: integer `1`"),
        ("[router]\nid = 192.0.2.1\nas = 1\n", "2:6: text must be in quotes; did you mean `id = \"192.0.2.1\"`?"),
        (
            "[[router]]\nid = \"192.0.2.1\"\nas = 1\n",
            "1:1: a list, where there is one table; it is written as [router]",
        ),
        ("[router]\nas = 1\n[[peer]]\n", "1:1: missing key `id`, such as"),
        ("[router]\nas = 1\n[[peer]]\n", "3:1: missing key `name`, such as"),
        ("[router]\nas = 1\n[[peer]]\n", "3:1: missing key `as`, such as"),
        (
            "[router]\nas = 1\nid = \"192.0.2.1\"\n[[dataplane.xdp]]\ncapacity = 4096\n",
            "4:1: a list, where there is one table; it is written as [dataplane.xdp]",
        ),
    ] {
        let found = told("", text);
        assert!(
            found.iter().any(|told| told.starts_with(expected)),
            "{text:?}\n  expected: {expected}\n  told: {found:#?}"
        );
    }
}

#[test]
fn a_list_in_the_place_of_each_table_is_reported() {
    for (section, _) in sections::sections().into_iter().filter(|(section, _)| !section.starts_with("[[")) {
        let before = if section == "[router]" { String::new() } else { format!("{ROUTER}{PEER}") };
        let found = told(&before, &format!("[{section}]\n"));
        let expected = format!("1:1: a list, where there is one table; it is written as {section}");
        assert!(found.contains(&expected), "[{section}]: {found:?}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_its_order() {
    let text = "[router]\nas = 0\nid = \"nowhere\"\n\n[[peer]]\nname = \"a\"\naddress = 192.0.2.1\nas = \"x\"\nhold_time = 3\nfamilies = [\"ipv5\", \"ipv4\", 7]\n\
                \n[[peer]]\nname = \"b\"\nhold-time = 2\nallow.shortest-prefix-v4 = 33\n\n[dataplane]\nbackend = nftables\nmode = \"watch\"\n\n[zzz]\n";
    let problems = problems(text);
    let places: Vec<_> = problems.iter().map(|problem| problem.place.unwrap()).collect();
    assert_eq!(
        places,
        [
            (2, 6),
            (3, 6),
            (7, 11),
            (8, 6),
            (9, 1),
            (10, 13),
            (10, 29),
            (12, 1),
            (12, 1),
            (14, 13),
            (15, 28),
            (18, 11),
            (19, 8),
            (21, 2),
        ],
        "{problems:#?}"
    );
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_deref().unwrap_or("")).collect();
    assert_eq!(
        (keys[0], keys[4], keys[5], keys[10]),
        ("router.as", "peer[0].hold_time", "peer[0].families[0]", "peer[1].allow.shortest-prefix-v4")
    );
    assert_eq!(problems[4].suggestion(), Some("hold-time"));
}

#[test]
fn an_address_is_a_prefix() {
    let config =
        Config::parse(&format!("{ROUTER}[protect]\nprefixes = [\"192.0.2.53\", \"2001:db8::1\"]\n"), Path::new("f"))
            .unwrap();
    let shown: Vec<String> = config.protect.prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["192.0.2.53/32", "2001:db8::1/128"]);
}

/// Whatever is removed from a file or inserted into it, parsing ends, with an error unless the file
/// is valid.
#[test]
fn no_file_makes_it_panic_or_run_for_ever() {
    let whole =
        format!("{ROUTER}{PEER}hold-time = 9\n[peer.allow]\nactions = [\"discard\"]\n[dataplane]\nbackend = \"xdp\"\n");
    for at in 0..whole.len() {
        let _ = problems(&whole[..at]);
        for piece in ["[", "]", "\"", "=", "\n", "é", "[[peer]]\n", "{", "'''"] {
            let _ = problems(&format!("{}{piece}{}", &whole[..at], &whole[at..]));
        }
        let _ = problems(&format!("{}{}", &whole[..at], &whole[(at + 1).min(whole.len())..]));
    }
    let many = format!("{ROUTER}{}", "[[peer]]\nx = 1\n".repeat(2000));
    assert!(problems(&many).len() <= 100);
}
