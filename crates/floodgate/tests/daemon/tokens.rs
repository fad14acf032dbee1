//! Named tokens over TCP: roles, bounds, whose rules are whose, and what is refused to browsers and
//! to those who guess.

use super::*;
use std::process::{Command, Stdio};

/// Sends a request over TCP; the status and the answer.
fn ask(port: u16, request: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (length, host) = (body.len(), if head.contains("Host:") { "" } else { "Host: localhost\r\n" });
    let request = format!(
        "{request} HTTP/1.1\r\n{host}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         {head}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A token and its section, as the command makes them.
fn made(name: &str, role: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_floodgate")).args(["token", name, "--role", role]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let token = told.trim().rsplit_once(' ').unwrap().1.to_owned();
    let section = String::from_utf8(output.stdout).unwrap();
    assert!(token.len() > 60 && !section.contains(&token), "{section}");
    (token, section)
}

/// A daemon that is reached over TCP, with these tokens.
fn daemon(port: u16, api: &str, sections: &str) -> Daemon {
    let mut daemon = Daemon::start("", "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    daemon.configure_api("", &format!("listen = [\"127.0.0.1:{port}\"]\n{api}"), sections);
    daemon.run();
    daemon
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn announce(rule: &str) -> String {
    format!("{{\"rule\":\"{rule}\"}}")
}

#[test]
fn a_token_announces_within_its_bounds_and_withdraws_its_own() {
    let port = free_port();
    let (desk, desk_section) = made("desk", "announce");
    let (other, other_section) = made("other", "announce");
    let (admin, admin_section) = made("admin", "admin");
    let (look, look_section) = made("look", "read");
    let bounds = "destinations = [\"192.0.2.0/24\"]\nactions = [\"discard\"]\nmax-rules = 2\nmax-lifetime = \"1h\"\n";
    let sections = format!("{desk_section}{bounds}{other_section}{admin_section}{look_section}");
    let mut daemon = daemon(port, "", &sections);
    let post = |path: &str, token: &str, body: &str| ask(port, &format!("POST {path}"), &bearer(token), body);
    let (status, answer) = post("/v1/announce", &desk, &announce(NTP));
    assert_eq!(status, 200, "{answer}");
    // It lives no longer than it may, and the history knows whose it is.
    let rule = &daemon.json(&["rules"])[0];
    assert!(rule["expires"].is_string(), "{rule}");
    assert_eq!(daemon.json(&["history"]).pop().unwrap()["by"], "token:desk");
    for (body, words) in [
        (announce("dst 198.51.100.1/32 then discard"), "token desk may not announce this"),
        (announce("dst 192.0.2.1/32 then rate 1mbps"), "action rate"),
        (announce("proto udp then discard"), "token desk may not announce this"),
    ] {
        let (status, answer) = post("/v1/announce", &desk, &body);
        assert!(status == 403 && answer.contains(words), "{answer}");
    }
    assert_eq!(post("/v1/announce", &desk, &announce("dst 192.0.2.2/32 then discard")).0, 200);
    let (status, answer) = post("/v1/announce", &desk, &announce("dst 192.0.2.3/32 then discard"));
    assert!(status == 403 && answer.contains("has 2 rules already"), "{answer}");
    // The same once more is no further rule.
    assert_eq!(post("/v1/announce", &desk, &announce(NTP)).0, 200);
    let id = rule["id"].as_str().unwrap();
    let withdraw = format!("{{\"rule\":\"{id}\"}}");
    assert_eq!(post("/v1/withdraw", &other, &withdraw).0, 403);
    assert_eq!(post("/v1/announce", &other, &announce(NTP)).0, 403, "nor changed");
    assert_eq!(post("/v1/announce", &look, &announce(NTP)).0, 403);
    assert_eq!(post("/v1/pause", &desk, "").0, 403);
    assert_eq!(post("/v1/explain", &look, "{\"packet\":\"00\"}").0, 400, "it may ask");
    // Whose rules are whose outlives a kill.
    daemon.signal("-KILL");
    daemon.ended();
    daemon.run();
    assert_eq!(post("/v1/withdraw", &other, &withdraw).0, 403);
    let (status, answer) = post("/v1/announce", &desk, &announce("dst 192.0.2.3/32 then discard"));
    assert!(status == 403 && answer.contains("has 2 rules already"), "{answer}");
    assert_eq!(post("/v1/withdraw", &desk, &withdraw).0, 200);
    assert_eq!(post("/v1/announce", &desk, &announce("dst 192.0.2.3/32 then discard")).0, 200);
    // An administrator, and a user of this machine, may withdraw anything.
    assert_eq!(post("/v1/withdraw", &admin, "{\"rule\":\"dst 192.0.2.3/32\"}").0, 200);
    assert!(daemon.cli(&["withdraw", "dst 192.0.2.2/32"]).status.success());
    daemon.wait_rules(&[]);
    assert_eq!(post("/v1/pause", &admin, "").0, 200);
}

#[test]
fn without_a_token_there_is_nothing_where_that_is_off() {
    let port = free_port();
    let (look, section) = made("look", "read");
    let _daemon = daemon(port, "anonymous-read = false", &section);
    for path in ["/v1/status", "/v1/rules", "/v1/incidents", "/metrics"] {
        assert_eq!(ask(port, &format!("GET {path}"), "", "").0, 401, "{path}");
        let (status, answer) = ask(port, &format!("GET {path}"), &bearer(&look), "");
        assert_ne!(status, 401, "{path}: {answer}");
    }
}

#[test]
fn what_a_page_of_another_site_asks_a_browser_for_is_refused() {
    let port = free_port();
    let _daemon = daemon(port, "hosts = [\"filter1.example.net\"]", "");
    let status = |path: &str, head: &str| ask(port, &format!("GET {path}"), head, "").0;
    for (head, expected) in [
        (format!("Host: 127.0.0.1:{port}\r\n"), 200),
        ("Host: filter1.example.net\r\n".to_owned(), 200),
        ("Host: evil.example\r\n".to_owned(), 421),
        (format!("Host: 127.0.0.1.evil.example:{port}\r\n"), 421),
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"), 200),
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"), 403),
        (format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"), 403),
    ] {
        assert_eq!(status("/v1/status", &head), expected, "{head}");
    }
    // A Prometheus that knows the machine by another name goes on.
    assert_eq!(status("/metrics", "Host: evil.example\r\n"), 200);
}

#[test]
fn who_guesses_at_a_token_has_to_wait() {
    let port = free_port();
    let (desk, section) = made("desk", "admin");
    let daemon = daemon(port, "", &section);
    let mut statuses = Vec::new();
    for _ in 0..15 {
        statuses.push(ask(port, "POST /v1/resume", &bearer("a wrong token of some length"), "").0);
    }
    assert!(statuses.starts_with(&[401; 5]) && statuses.ends_with(&[429]), "{statuses:?}");
    let (status, answer) = ask(port, "POST /v1/resume", &bearer(&desk), "");
    assert!(status == 429 && answer.to_lowercase().contains("retry-after: "), "{answer}");
    // Who shows none, and who is on this machine, is not concerned.
    assert_eq!(ask(port, "GET /v1/status", "", "").0, 200);
    assert!(daemon.cli(&["resume"]).status.success());
}

#[test]
fn a_token_is_taken_from_standard_input_and_its_name_is_a_word() {
    let run = |arguments: &[&str], input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = run(&["token", "desk", "--hash"], "0123456789abcdef\n");
    // sha256sum of it, without the line end.
    let hash = "sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
    assert!(String::from_utf8_lossy(&output.stdout).contains(hash), "{output:?}");
    assert!(!run(&["token", "desk", "--hash"], "short\n").status.success());
    assert!(!run(&["token", "a\"b"], "").status.success());
}
