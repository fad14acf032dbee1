//! The commands and the HTTP API, for people and scripts.

use super::*;

#[test]
fn operators_announce_pause_and_withdraw() {
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
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
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
fn the_end_of_a_lifetime_is_an_event() {
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

/// Types `answer` at the question, on a terminal of its own; returns what was shown and the exit
/// status.
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
                .any(|line| line.contains("change requested") && line.contains(request) && line.contains("by="))
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
