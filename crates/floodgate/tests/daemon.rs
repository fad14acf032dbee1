//! `floodgate run` on loopback with real sessions and the back end `none`: what operators do, and what goes wrong around them.

mod common;

use common::controller::{Controller, Seen, config};
use common::{Daemon, free_port, peer, wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const DNS: &str = "dst 192.0.2.2/32 proto udp sport 53 then rate 1mbps";
const IPV6: &str = "ipv6 dst 2001:db8::1/128 proto tcp dport 80 then discard";
const PEER: &str = "127.0.0.2";

/// As the program shows a rule.
fn shown(rule: &str) -> String {
    rule.parse::<flowspec::Rule>().unwrap().to_string()
}

#[test]
fn what_a_peer_announces_is_installed_until_it_withdraws() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS, IPV6]);
    let (ntp, dns, ipv6) = (shown(NTP), shown(DNS), shown(IPV6));
    daemon.wait_rules(&[(&ntp, "installed"), (&dns, "installed"), (&ipv6, "installed")]);
    controller.announce(&["dst 192.0.2.2/32 proto udp sport 53 then discard"]);
    daemon.wait_rules(&[
        (&ntp, "installed"),
        (&dns.replace("rate 1mbps", "discard"), "installed"),
        (&ipv6, "installed"),
    ]);
    controller.withdraw(&[NTP, IPV6]);
    daemon.wait_rules(&[(&dns.replace("rate 1mbps", "discard"), "installed")]);
    let history = daemon.json(&["history"]);
    let events: Vec<&str> = history.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        events,
        ["started", "peer-up", "announced", "announced", "announced", "announced", "withdrawn", "withdrawn"]
    );
    assert_eq!(daemon.peer("a")["state"], "established");
    assert_eq!(daemon.peer("a")["rules"], 1);
}

#[test]
fn a_lost_session_takes_its_rules_along() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[]);
    assert_eq!(daemon.peer("a")["last_error"], "connection lost");
}

#[test]
fn hold_on_loss_keeps_rules_until_the_peer_has_sent_them_again() {
    let daemon = Daemon::start(&peer("a", PEER, "hold-on-loss = \"1m\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale")]);
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "installed")]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(DNS), "installed")]);
}

#[test]
fn hold_on_loss_ends() {
    let daemon = Daemon::start(&peer("a", PEER, "hold-on-loss = \"1s\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale")]);
    daemon.wait_rules(&[]);
}

#[test]
fn a_rule_of_two_peers_stays_until_both_withdraw_it() {
    let daemon = Daemon::start(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "")), "");
    let (a, b) = (Controller::connected(PEER, daemon.port), Controller::connected("127.0.0.3", daemon.port));
    a.announce(&[NTP]);
    b.announce(&[NTP]);
    wait("two origins", || {
        let rules = daemon.json(&["rules"]);
        (rules.len() == 1 && rules[0]["origins"].as_array().unwrap().len() == 2).then_some(())
    });
    a.withdraw(&[NTP]);
    wait("one origin", || {
        let rules = daemon.json(&["rules"]);
        (rules[0]["origins"].as_array().unwrap().len() == 1).then_some(())
    });
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    b.vanish();
    daemon.wait_rules(&[]);
}

#[test]
fn the_guard_shows_what_it_does_not_let_in() {
    let allow = "[peer.allow]\ndestinations = [\"192.0.2.0/24\"]\nactions = [\"discard\"]";
    let daemon = Daemon::start(&peer("a", PEER, allow), "");
    let controller = Controller::connected(PEER, daemon.port);
    let rules = [NTP, "dst 192.0.2.1/32 then rate 1mbps", "dst 198.51.100.1/32 then discard", "proto udp then discard"];
    controller.announce(&rules);
    wait("four rules", || {
        let rules = daemon.rules();
        (rules.len() == 4 && rules.iter().all(|(_, state)| state != "pending")).then_some(())
    });
    let states: Vec<String> = daemon.rules().into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["installed", "guarded", "guarded", "guarded"]);
    assert!(daemon.json(&["rules"])[2]["reason"].as_str().unwrap().contains("may not filter this destination"));
}

#[test]
fn rules_with_unknown_actions_and_interface_sets_are_in_force_only_as_the_policy_says() {
    // Juniper's redirect to an address in attribute 16, and an interface set.
    let unknown = "dst 192.0.2.1/32 then community 800b000000000001";
    let set = "dst 192.0.2.2/32 then community 07020000fe2e400c discard";
    for (key, state, state_of_set) in [
        ("", "installed", "refused"),
        ("allow = { interface-sets = \"ignore\" }", "installed", "installed"),
        ("allow = { unknown-actions = \"refuse\" }", "guarded", "guarded"),
    ] {
        let daemon = Daemon::start(&peer("controller", PEER, key), "");
        let controller = Controller::connected(PEER, daemon.port);
        controller.announce(&[unknown, set, NTP]);
        wait("the rules", || (daemon.rules().len() == 3).then_some(()));
        wait("the decision", || {
            let rules = daemon.json(&["rules"]);
            let of = |text: &str| {
                rules.iter().find(|rule| rule["text"].as_str().unwrap().starts_with(text)).unwrap().clone()
            };
            let (accept, limited, ntp) = (of("dst 192.0.2.1/32 then"), of("dst 192.0.2.2/32 then"), of(&NTP[..30]));
            (accept["state"] == state && limited["state"] == state_of_set && ntp["state"] == "installed").then(|| {
                assert!(accept["notes"][0].as_str().unwrap().contains("accepts its packets"), "{accept}");
                if state_of_set == "installed" {
                    assert!(limited["notes"][0].as_str().unwrap().contains("every filtered interface"), "{limited}");
                } else {
                    assert_eq!(limited["notes"], serde_json::Value::Null, "{limited}");
                }
                if state_of_set == "refused" {
                    assert!(limited["reason"].as_str().unwrap().contains("allow.interface-sets"), "{limited}");
                }
                assert_eq!(ntp["notes"], serde_json::Value::Null);
                if state == "guarded" {
                    assert!(accept["reason"].as_str().unwrap().contains("unknown-actions"), "{accept}");
                }
            })
        });
        let table = String::from_utf8(daemon.cli(&["rules"]).stdout).unwrap();
        assert!(table.contains("note: "), "{table}");
    }
}

#[test]
fn a_reload_leaves_unchanged_sessions_up_and_a_bad_file_changes_nothing() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let a = Controller::connected(PEER, daemon.port);
    a.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);

    daemon.configure(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "")), "");
    let output = daemon.cli(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(": added") && said.contains("(sessions: 1 added, 0 removed, 0 restarted)"), "{said}");
    let b = Controller::connected("127.0.0.3", daemon.port);
    b.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);

    daemon.configure(&peer("a", PEER, "hold-tim = 9"), "");
    let output = daemon.cli(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("floodgate.toml:10:1: unknown key `hold-tim`; did you mean `hold-time`?"), "{words}");
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);

    // A session that starts anew is a lost session for its rules, until they are announced again.
    daemon.configure(&(peer("a", PEER, "") + &peer("b", "127.0.0.3", "hold-time = 30")), "");
    let output = daemon.cli(&["reload"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(sessions: 0 added, 0 removed, 1 restarted)"), "{said}");
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    wait("b again", || (b.seen().len() == 3).then_some(()));
    b.announce(&[DNS]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    assert_eq!(daemon.peer("b")["hold_time"], 30);

    // Policy changes without a session; a peer that is gone goes with its rules.
    daemon.configure(&peer("a", PEER, "allow.destinations = [\"198.51.100.0/24\"]"), "");
    daemon.signal("-HUP");
    daemon.wait_rules(&[(&shown(NTP), "guarded")]);
    assert_eq!(daemon.peer("a")["established_count"], 1);
    assert_eq!(a.seen(), [Seen::Up]);
    wait("b's end", || (b.seen().len() == 4).then_some(()));
    assert!(matches!(&b.seen()[1], Seen::Down(why) if why.contains("other configuration change")), "{:?}", b.seen());
    assert!(matches!(&b.seen()[3], Seen::Down(why) if why.contains("de-configured")), "{:?}", b.seen());
}

#[test]
fn only_the_right_secret_opens_a_session() {
    let daemon = Daemon::start(&(peer("a", PEER, "md5 = \"hush\"") + &peer("b", "127.0.0.3", "md5 = \"hush\"")), "");
    let wrong = Controller::start(PEER, daemon.port, config(), Some("husk"));
    let right = Controller::start("127.0.0.3", daemon.port, config(), Some("hush"));
    right.wait_up();
    assert_eq!(wrong.seen(), []);
    assert_eq!(daemon.peer("a")["established_count"], 0);
}

#[test]
fn people_announce_pause_and_withdraw() {
    let daemon = Daemon::start("", "");
    let output = daemon.cli(&["announce", NTP, "--for", "2s"]);
    assert!(output.status.success(), "{output:?}");
    assert!(daemon.cli(&["announce", DNS]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    assert!(daemon.cli(&["pause"]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "pending"), (&shown(DNS), "pending")]);
    assert_eq!(daemon.json(&["status"])[0]["paused"], true);
    assert!(daemon.cli(&["resume"]).status.success());
    daemon.wait_rules(&[(&shown(DNS), "installed")]);
    let id = daemon.json(&["rules", "192.0.2.2"])[0]["id"].as_str().unwrap().to_owned();
    for arguments in [&["rules", "192.0.2.3"][..], &["rules", "192.0.2.3", "--json"]] {
        assert_eq!(daemon.cli(arguments).status.code(), Some(1), "{arguments:?}");
    }
    assert!(daemon.cli(&["withdraw", &id]).status.success());
    daemon.wait_rules(&[]);
    assert_eq!(daemon.cli(&["withdraw", &id]).status.code(), Some(1));
    assert_eq!(daemon.cli(&["announce", "dst", "192.0.2.1/32", "prto", "udp"]).status.code(), Some(1));
    assert_eq!(daemon.cli(&["announce"]).status.code(), Some(2));
    let elsewhere = daemon.path("nobody");
    let output = daemon.cli(&["status", "--socket", elsewhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("systemctl start floodgate"), "{output:?}");
}

#[test]
fn a_killed_daemon_comes_back_with_its_rules() {
    let mut daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS]);
    assert!(daemon.cli(&["announce", "dst 192.0.2.3/32 then discard"]).status.success());
    let third = shown("dst 192.0.2.3/32 then discard");
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed"), (&third, "installed")]);
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    controller.vanish();
    daemon.run();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale"), (&third, "installed")]);
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[DNS]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(DNS), "installed"), (&third, "installed")]);

    // What is not confirmed in time goes (stale-time is 3 s here).
    daemon.signal("-KILL");
    assert!(!daemon.ended());
    drop(controller);
    daemon.run();
    daemon.wait_rules(&[(&shown(DNS), "stale"), (&third, "installed")]);
    daemon.wait_rules(&[(&third, "installed")]);
}

#[test]
fn a_stopped_daemon_tells_its_peers_and_forgets_their_rules() {
    let mut daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    let began = Instant::now();
    daemon.signal("-TERM");
    assert!(daemon.ended());
    // It waits for nobody's hold time.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    wait("the goodbye", || controller.seen().get(1).cloned());
    assert!(
        matches!(&controller.seen()[1], Seen::Down(why) if why.contains("shutdown") && why.contains("floodgate is being stopped")),
        "{:?}",
        controller.seen()
    );
    let left = daemon::state_file::load(&daemon.path("state"));
    assert_eq!((left.restored.rules(), left.wrong), (0, vec![]));
    assert!(!daemon.path("api.sock").exists());
}

#[test]
fn over_tcp_a_token_is_needed_to_change_anything() {
    let port = free_port();
    let mut daemon = Daemon::start("", "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let file = daemon.path("floodgate.toml");
    let api = format!("[api]\nlisten = [\"127.0.0.1:{port}\"]\ntoken = \"0123456789abcdef\"");
    let text = std::fs::read_to_string(&file).unwrap().replace("[api]", &api);
    std::fs::write(&file, text).unwrap();
    daemon.run();
    let ask = |request: &str, head: &str, body: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{head}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let rule = format!("{{\"rule\":\"{NTP}\"}}");
    assert!(ask("GET /healthz", "", "").starts_with("HTTP/1.1 200"));
    assert!(ask("GET /v1/status", "", "").contains("\"backend\":\"none\""));
    assert!(ask("GET /metrics", "", "").contains("floodgate_peers 0"));
    assert!(ask("POST /v1/announce", "", &rule).starts_with("HTTP/1.1 401"));
    assert!(ask("POST /v1/announce", "Authorization: Bearer 0123456789abcdeX\r\n", &rule).starts_with("HTTP/1.1 401"));
    daemon.wait_rules(&[]);
    assert!(ask("POST /v1/announce", "Authorization: Bearer 0123456789abcdef\r\n", &rule).starts_with("HTTP/1.1 200"));
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    // Whatever is wrong with a request, a program finds the reason in the same place.
    let token = "Authorization: Bearer 0123456789abcdef\r\n";
    for (request, body, status) in [
        ("POST /v1/announce", "{", "400"),
        ("POST /v1/announce", "{\"rule\":\"dst 192.0.2.1/32\",\"fro\":1}", "422"),
        ("GET /v1/announce", "", "405"),
        ("GET /v1/rules?fliter=a", "", "400"),
        ("GET /v2", "", "404"),
    ] {
        let answer = ask(request, token, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("\r\n\r\n{\"error\":{\"message\":\""), "{request}: {answer}");
    }
}

#[test]
fn ten_thousand_rules_come_in_and_go_in_no_time() {
    const COUNT: u32 = 10_000;
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut config = config();
    config.hold_time = 9;
    let controller = Controller::start(PEER, daemon.port, config, None);
    controller.wait_up();
    let rules = (0..COUNT)
        .map(|n| format!("dst 10.{}.{}.{}/32 proto udp sport 123 then discard", n >> 16, n >> 8 & 255, n & 255));
    let rules: Vec<flowspec::Rule> = rules.map(|text| text.parse().unwrap()).collect();
    let began = Instant::now();
    controller.announce_rules(rules);
    let installed = || daemon.json(&["status"])[0]["rules"]["installed"].as_u64();
    wait("all rules", || (installed() == Some(u64::from(COUNT))).then_some(()));
    println!("{COUNT} rules from the controller to the back end: {:?}", began.elapsed());
    assert_eq!(daemon.json(&["rules"]).len(), COUNT as usize);
    assert_eq!(daemon.json(&["rules", "10.0.1.1"]).len(), 1);
    assert_eq!(daemon.peer("a")["established_count"], 1);
    controller.vanish();
    daemon.wait_rules(&[]);
}

#[test]
fn the_running_rules_explain_a_packet() {
    let daemon = Daemon::start("", "[protect]\nprefixes = [\"192.0.2.53/32\"]");
    assert!(daemon.cli(&["announce", "dst 192.0.2.0/24 proto udp then discard"]).status.success());
    assert!(daemon.cli(&["announce", "dst 192.0.2.1/32 proto tcp then mark 46"]).status.success());
    let ask = |destination: &str| daemon.json(&["explain", "udp", "198.51.100.7:123", destination]).remove(0);
    let answer = ask("192.0.2.1:4000");
    assert_eq!(answer["verdict"], "discard");
    assert_eq!(answer["rule"], 1);
    assert_eq!(answer["text"], "dst 192.0.2.0/24 proto udp then discard");
    assert_eq!(answer["missed"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(ask("192.0.3.1:4000")["verdict"], "accept");
    let answer = ask("192.0.2.53:4000");
    assert_eq!((&answer["verdict"], &answer["protected"]), (&"accept".into(), &"packets to 192.0.2.53/32".into()));
    assert!(daemon.cli(&["pause"]).status.success());
    assert!(ask("192.0.2.1:4000")["inactive"].as_str().unwrap().contains("paused"));
}

#[test]
fn the_end_of_a_life_is_an_event() {
    let daemon = Daemon::start("", "");
    assert!(daemon.cli(&["announce", NTP, "--for", "1s"]).status.success());
    daemon.wait_rules(&[]);
    let last = daemon.json(&["history"]).pop().unwrap();
    assert_eq!((&last["event"], &last["peer"]), (&"expired".into(), &"local".into()));
    assert_eq!(last["rule"], "dst 192.0.2.1/32 proto udp sport 123");
}

#[test]
fn events_are_seen_as_they_happen() {
    let daemon = Daemon::start("", "");
    let mut watch = std::process::Command::new(env!("CARGO_BIN_EXE_floodgate"))
        .args(["watch", "--json", "--socket"])
        .arg(daemon.path("api.sock"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    // The watcher may come late for the first rules.
    let announcer = std::thread::scope(|scope| {
        let seen = scope.spawn(move || lines.next().unwrap().unwrap());
        for number in 0..200 {
            daemon.cli(&["announce", &format!("dst 192.0.2.{number}/32 then discard")]);
            if seen.is_finished() {
                break;
            }
        }
        seen.join().unwrap()
    });
    let event: serde_json::Value = serde_json::from_str(&announcer).unwrap();
    assert_eq!((&event["event"], &event["peer"]), (&"announced".into(), &"local".into()));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn graceful_restart_of_a_peer_keeps_its_rules() {
    let daemon = Daemon::start(&peer("a", PEER, "stale-until = \"f-bit\""), "");
    let restarting = |restarted| {
        let mut config = config();
        let families = config.families.iter().map(|family| (family.into(), true)).collect();
        let restart = bgp::GracefulRestart { restarted, notification: true, restart_time: 30, families };
        config.graceful_restart = Some(restart);
        let controller = Controller::start(PEER, daemon.port, config, None);
        controller.wait_up();
        controller
    };
    let controller = restarting(false);
    controller.announce(&[NTP, DNS]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "installed")]);
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale"), (&shown(DNS), "stale")]);
    let controller = restarting(true);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (&shown(DNS), "stale")]);
    controller.end_of_rib();
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    // A peer that is back without graceful restart has forgotten its rules: they go at once.
    controller.vanish();
    daemon.wait_rules(&[(&shown(NTP), "stale")]);
    let _controller = Controller::connected(PEER, daemon.port);
    daemon.wait_rules(&[]);
}

#[test]
fn a_peer_that_sends_too_much_is_cut_off_where_told_to() {
    let daemon = Daemon::start(&peer("a", PEER, "max-rules = 2\non-excess = \"close\""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP, DNS, IPV6]);
    wait("the end", || (controller.seen().len() > 1).then_some(()));
    assert!(
        matches!(&controller.seen()[1], Seen::Down(why) if why.contains("maximum number of prefixes")),
        "{:?}",
        controller.seen()
    );
}

/// Connects from [`PEER`] with graceful restart and enhanced route refresh offered; what the daemon sends from then on is read from it.
fn by_hand(daemon: &Daemon) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address = |text: &str, port| socket2::SockAddr::from(std::net::SocketAddr::new(text.parse().unwrap(), port));
    socket.bind(&address(PEER, 0)).unwrap();
    socket.connect(&address("127.0.0.1", daemon.port)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let capabilities = [1, 4, 0, 1, 0, 133, 70, 0, 2, 0, 64, 6, 0x80, 30, 0, 1, 133, 0];
    let mut open = vec![4, 0xfe, 0x2e, 0, 90, 192, 0, 2, 1, capabilities.len() as u8 + 2, 2, capabilities.len() as u8];
    open.extend(capabilities);
    stream.write_all(&message(1, &open)).unwrap();
    stream.write_all(&message(4, &[])).unwrap();
    assert_eq!(receive(&mut stream).0, 1);
    stream
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff; 16];
    octets.extend((body.len() as u16 + 19).to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 19];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
    stream.read_exact(&mut body).unwrap();
    (header[18], body)
}

/// The next message that is no KEEPALIVE.
fn receive_other(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    loop {
        let (kind, body) = receive(stream);
        if kind != 4 {
            return (kind, body);
        }
    }
}

#[test]
fn a_restarting_peer_need_not_wait_for_our_routes() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut stream = by_hand(&daemon);
    assert_eq!(receive_other(&mut stream), (2, vec![0, 0, 0, 6, 0x80, 15, 3, 0, 1, 133]), "End-of-RIB");
    stream.write_all(&message(5, &[0, 1, 0, 133])).unwrap();
    assert_eq!(receive_other(&mut stream), (5, vec![0, 1, 1, 133]), "begin of a refresh");
    assert_eq!(receive_other(&mut stream), (5, vec![0, 1, 2, 133]), "end of a refresh");
}

#[test]
fn peers_say_why_there_is_no_session() {
    let port = free_port();
    let silent = format!("[[peer]]\nname = \"b\"\naddress = \"127.0.0.3\"\nas = 65070\nport = {port}\n");
    let daemon = Daemon::start(&(peer("a", PEER, "") + &silent), "");
    let refused = wait("the refusal", || daemon.peer("b")["last_error"].as_str().map(str::to_owned));
    assert_eq!(
        refused,
        format!(
            "cannot connect to 127.0.0.3:{port}: Connection refused (os error 111); a peer that only connects needs passive = true"
        )
    );
    // A rule that is longer than its attribute: where the next one begins cannot be known (RFC 7606 §5.3).
    let mut stream = by_hand(&daemon);
    let attributes = [0x80, 14, 7, 0, 1, 133, 0, 0, 9, 1];
    stream.write_all(&message(2, &[&[0, 0, 0, attributes.len() as u8][..], &attributes].concat())).unwrap();
    let lost = wait("the loss", || daemon.peer("a")["last_error"].as_str().map(str::to_owned));
    assert!(lost.starts_with("the boundaries of its rules were lost (") && lost.ends_with("(3/9)"), "{lost}");
}

/// An UPDATE that announces `dst 192.0.2.HOST/32` with these octets of AS_PATH and this extended community.
fn announcement(host: u8, as_path: &[u8], community: [u8; 8]) -> Vec<u8> {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, as_path.len() as u8];
    attributes.extend(as_path);
    attributes.extend([0xc0, 16, 8].iter().chain(&community));
    attributes.extend([0x80, 14, 12, 0, 1, 133, 0, 0, 6, 1, 32, 192, 0, 2, host]);
    message(2, &[&[0, 0, 0, attributes.len() as u8][..], &attributes].concat())
}

#[test]
fn a_peer_of_another_as_speaks_for_itself_and_redirects_where_it_may() {
    let daemon = Daemon::start(&peer("a", PEER, "allow.redirect-to = [\"10.77.0.0/16\"]"), "");
    let mut stream = by_hand(&daemon);
    let discard = [0x80, 6, 0, 0, 0, 0, 0, 0];
    let redirect = |last| [1, 12, 10, last, 0, 1, 0, 0];
    let own: &[u8] = &[2, 1, 0xfe, 0x2e];
    for (host, as_path, community) in [
        (1, own, discard),
        (2, &[2, 1, 0xfd, 0xe7][..], discard),
        (3, &[][..], discard),
        (4, own, redirect(77)),
        (5, own, redirect(78)),
    ] {
        stream.write_all(&announcement(host, as_path, community)).unwrap();
    }
    let states = wait("all rules", || {
        let rules = daemon.json(&["rules"]);
        let states = rules.iter().map(|rule| rule["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (states.len() == 5 && !states.contains(&"pending".to_owned())).then_some(states)
    });
    assert_eq!(states, ["installed", "infeasible", "infeasible", "installed", "guarded"]);
    let reasons: Vec<_> =
        daemon.json(&["rules"]).into_iter().filter_map(|rule| Some(rule["reason"].as_str()?.to_owned())).collect();
    assert!(reasons[0].contains("AS 64999") && reasons[0].contains("65070"), "{reasons:?}");
    assert!(reasons[1].contains("empty") && reasons[2].contains("10.78.0.1"), "{reasons:?}");
    // It says that it is a route server: any AS may stand first.
    daemon.configure(&peer("a", PEER, "route-server = true"), "");
    daemon.cli(&["reload"]);
    wait("another decision", || {
        let rules = daemon.json(&["rules"]);
        (rules[1]["state"] != "infeasible" && rules[2]["state"] == "infeasible" && rules[3]["state"] == "guarded")
            .then_some(())
    });
}

/// Who announced a rule and who operates learn that it is not enforced without asking for it: in the log, in the history, in `status`.
#[test]
fn rules_that_are_not_enforced_are_told_with_their_reason() {
    let daemon = Daemon::start(&peer("a", PEER, "allow.destinations = [\"192.0.2.0/24\"]"), "");
    let controller = Controller::connected(PEER, daemon.port);
    let outside = "dst 198.51.100.1/32 then discard";
    controller.announce(&[NTP, outside]);
    daemon.wait_rules(&[(&shown(NTP), "installed"), (outside, "guarded")]);
    let history = daemon.json(&["history"]);
    let told: Vec<_> = history.iter().filter(|event| event["event"] == "not-enforced").collect();
    assert_eq!(told.len(), 1, "{history:?}");
    assert_eq!((&told[0]["peer"], &told[0]["rule"]), (&"a".into(), &outside.into()));
    assert!(told[0]["message"].as_str().unwrap().starts_with("guarded: "), "{told:?}");
    wait("the log", || {
        daemon.log().lines().any(|line| line.contains("INFO") && line.contains("guarded")).then_some(())
    });
    let warning = daemon.json(&["status"])[0]["warnings"][0].as_str().unwrap().to_owned();
    assert_eq!(warning, "1 rule is announced and not enforced: 1 guarded; `floodgate rules guarded` says why");
    // The same again is no news; another policy is.
    controller.announce(&[outside]);
    daemon.configure(&peer("a", PEER, "allow.destinations = [\"203.0.113.0/24\"]"), "");
    assert!(daemon.cli(&["reload"]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "guarded"), (outside, "guarded")]);
    let rules = |history: Vec<serde_json::Value>| {
        let told = history.into_iter().filter(|event| event["event"] == "not-enforced");
        told.map(|event| event["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rules(daemon.json(&["history"])), [outside.to_owned(), shown(NTP)]);
    daemon.configure(&peer("a", PEER, ""), "");
    assert!(daemon.cli(&["reload"]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed"), (outside, "installed")]);
    assert_eq!(daemon.json(&["status"])[0]["warnings"], serde_json::json!([]));
}

#[test]
fn reload_says_what_changed() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let reload = || String::from_utf8(daemon.cli(&["reload"]).stdout).unwrap();
    assert_eq!(reload(), "reloaded: nothing changed\n");
    daemon.configure(&peer("a", PEER, "max-rules = 5"), "format = \"json\"");
    let said = reload();
    for change in ["peer a: max-rules default -> 5", "[log] format default -> \"json\"", "0 restarted"] {
        assert!(said.contains(change), "{said}");
    }
}

#[test]
fn withdrawing_a_peers_rule_tells_how_to_override_it() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let controller = Controller::connected(PEER, daemon.port);
    controller.announce(&[NTP]);
    daemon.wait_rules(&[(&shown(NTP), "installed")]);
    let refusal = |rule: &str| {
        let output = daemon.cli(&["withdraw", rule]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && words.contains("is announced by a, not here"), "{words}");
        words
    };
    let words = refusal(NTP);
    assert_eq!(words, refusal(daemon.json(&["rules"])[0]["id"].as_str().unwrap()));
    let advice = words.split('`').nth(1).unwrap();
    let rule = advice.split('\'').nth(1).unwrap();
    assert!(advice.starts_with("floodgate announce '"), "{advice}");
    assert!(daemon.cli(&["announce", rule]).status.success());
    daemon.wait_rules(&[(&shown(NTP).replace("discard", "accept"), "installed")]);
}

#[test]
fn a_failed_session_is_told_in_the_history_and_an_unknown_neighbour_in_the_log() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let stranger = common::raw::connect("127.0.0.77", daemon.port);
    wait("the log", || daemon.log().contains("from=127.0.0.77").then_some(()));
    assert!(daemon.log().contains("not the address of a configured peer"), "{}", daemon.log());
    drop(stranger);
    let mut wrong = common::raw::connect(PEER, daemon.port);
    // An OPEN of AS 65071, where 65070 is configured.
    wrong.write_all(&common::raw::message(1, &[4, 0xfe, 0x2f, 0, 90, 192, 0, 2, 77, 0])).unwrap();
    let failed =
        wait("the history", || daemon.json(&["history"]).into_iter().find(|event| event["event"] == "session-failed"));
    assert_eq!(failed["peer"], "a");
    assert_eq!(failed["message"], "we sent NOTIFICATION: bad peer AS (2/2): AS 65071");
}

/// Scripts see it by the exit status.
#[test]
fn status_answers_with_no_while_nothing_is_filtered() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let status = |wanted| assert_eq!(daemon.cli(&["status"]).status.code(), Some(wanted));
    status(0);
    assert!(daemon.cli(&["pause"]).status.success());
    status(1);
    assert!(daemon.cli(&["resume"]).status.success());
    status(0);
    let file = daemon.path("floodgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace("backend = \"none\"", "backend = \"none\"\ninterfaces = [\"not-there*\"]"))
        .unwrap();
    assert!(daemon.cli(&["reload"]).status.success());
    status(1);
}

const EVERYTHING: &str = "dst 0.0.0.0/0 then discard";

#[test]
fn a_script_that_would_lock_everybody_out_needs_yes() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let output = daemon.cli(&["announce", EVERYTHING]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("takes all IPv4 packets") && words.contains("--yes") && words.contains("--for"), "{words}");
    daemon.wait_rules(&[]);
    assert!(daemon.cli(&["announce", NTP]).status.success());
    assert!(daemon.cli(&["announce", "--yes", EVERYTHING]).status.success());
    daemon.wait_rules(&[(&shown(NTP), "installed"), (EVERYTHING, "installed")]);
}

/// Types `answer` at the question, on a terminal of its own; returns what was shown and the exit status.
fn announce_on_a_terminal(daemon: &Daemon, answer: &str) -> (String, Option<i32>) {
    let command = format!("{} announce '{EVERYTHING}'", env!("CARGO_BIN_EXE_floodgate"));
    let mut child = std::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("FLOODGATE_SOCKET", daemon.path("api.sock"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    // The question first, since a terminal that closes ends the command.
    while !String::from_utf8_lossy(&shown).contains("[N] ") {
        let mut octet = [0];
        assert_eq!(stdout.read(&mut octet).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.push(octet[0]);
    }
    writeln!(stdin, "{answer}").unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    (String::from_utf8_lossy(&shown).into_owned(), child.wait().unwrap().code())
}

#[test]
fn on_a_terminal_it_is_asked_and_a_lifetime_is_proposed() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let (shown, status) = announce_on_a_terminal(&daemon, "");
    assert!(shown.contains("This rule takes all IPv4 packets") && shown.contains("a time such as 10m"), "{shown}");
    assert_eq!(status, Some(1), "{shown}");
    daemon.wait_rules(&[]);
    let (shown, status) = announce_on_a_terminal(&daemon, "10m");
    assert_eq!(status, Some(0), "{shown}");
    daemon.wait_rules(&[(EVERYTHING, "installed")]);
    assert!(daemon.json(&["rules"])[0]["expires"].is_string());
}

#[test]
fn the_caret_is_below_the_mistake() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    for command in ["announce", "withdraw"] {
        let output = daemon.cli(&[command, "dst 192.0.2.1/32 prot udp"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        let column = lines.iter().find_map(|line| line.find('^')).unwrap();
        assert_eq!(lines[1].get(column..column + 4), Some("prot"), "{words}");
    }
}

#[test]
fn who_asks_is_logged_and_words_fit_their_numbers() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let announced = daemon.cli(&["announce", "dst 192.0.2.7/24 proto udp sport 123 then discard"]);
    let said = String::from_utf8_lossy(&announced.stdout).into_owned();
    assert!(said.contains(" is installed; note: column 5: `192.0.2.7/24` has bits outside of its prefix"), "{said}");
    let asked = |request: &str| {
        wait("the log", || {
            daemon
                .log()
                .lines()
                .any(|line| line.contains("asked to change") && line.contains(request) && line.contains("by="))
                .then_some(())
        });
    };
    asked("/v1/announce");
    let cleared = daemon.cli(&["clear"]);
    assert_eq!(String::from_utf8_lossy(&cleared.stdout), "1 local rule withdrawn\n");
    asked("/v1/clear");
    let rule = "rule=\"dst 192.0.2.0/24 proto udp sport 123 then discard\"";
    assert!(daemon.log().contains(rule), "{}", daemon.log());
    // The history has the same name, and only where somebody asked.
    let history = String::from_utf8(daemon.cli(&["history", "--json"]).stdout).unwrap();
    let events: Vec<serde_json::Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by = |kind: &str| {
        let event =
            events.iter().find(|event| event["event"] == kind).unwrap_or_else(|| panic!("no {kind}: {history}"));
        event.get("by").and_then(|by| by.as_str()).map(str::to_owned)
    };
    let log = daemon.log();
    let user = log.split("by=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert_eq!(["announced", "cleared", "started"].map(by), [Some(user.clone()), Some(user.clone()), None]);
    let shown = String::from_utf8(daemon.cli(&["history"]).stdout).unwrap();
    assert!(shown.contains(&format!("(by {user})")), "{shown}");
}

/// The words are those of the offline command.
#[test]
fn explain_says_it_as_offline() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    assert!(daemon.cli(&["announce", NTP]).status.success());
    let packet = ["udp", "198.51.100.7:123", "192.0.2.1:4000"];
    let live = daemon.cli(&[&["explain"][..], &packet].concat());
    let rules = daemon.path("rules.txt");
    std::fs::write(&rules, format!("{NTP}\n")).unwrap();
    let offline = daemon.cli(&[&["explain", "--rules", rules.to_str().unwrap()][..], &packet].concat());
    let lines = |output: std::process::Output| {
        let text = String::from_utf8(output.stdout).unwrap();
        let kept = text.lines().filter(|line| !line.starts_with("rules "));
        kept.map(|line| line.trim_start().trim_start_matches("0  ").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lines(live), lines(offline));
}
