//! Hostile or faulty peers and clients: their cost is bounded, and nobody else is affected.

mod common;

use common::raw::{RawPeer, kind, message, update};
use common::{Daemon, free_port, peer, wait};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PEER: &str = "127.0.0.2";
const GOOD: &[u8] = &[5, 1, 24, 10, 99, 99];

/// An UPDATE with so many rules that have a component of a type that there is not.
fn malformed(count: usize) -> Vec<u8> {
    update(&[3, 13, 0x81, 1].repeat(count))
}

fn malformed_count(daemon: &Daemon) -> u64 {
    daemon.peer("a")["malformed"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_flood_of_malformed_rules_is_a_few_lines_a_second_and_a_count() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut flooder = RawPeer::established(PEER, daemon.port, 90);
    let began = Instant::now();
    let flood = malformed(900);
    for _ in 0..300 {
        flooder.send(&flood);
    }
    flooder.send(&update(GOOD));
    wait("the rule behind the flood", || (daemon.rules().len() == 1).then_some(()));
    assert_eq!(malformed_count(&daemon), 300 * 900);
    // Everything is told, one by one or in a number.
    let told = || -> u64 {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("malformed"));
        lines
            .map(|line| {
                line.split(" more in")
                    .next()
                    .filter(|_| line.contains(" more in"))
                    .map_or(1, |head| head.rsplit(' ').next().unwrap().parse().unwrap())
            })
            .sum()
    };
    wait("the numbers", || (told() == 300 * 900).then_some(()));
    let lines = daemon.log().lines().filter(|line| line.contains("malformed")).count() as u64;
    let history = daemon.json(&["history", "--count", "1000"]);
    let events = history.iter().filter(|event| event["event"] == "malformed").count() as u64;
    // When all is read: however long that took, lines and events are of this time.
    let seconds = began.elapsed().as_secs() + 2;
    assert!(lines <= 6 * seconds, "{lines} lines in {seconds} s");
    assert!(events <= 6 * seconds, "{events} events in {seconds} s");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut daemon = Daemon::start(&peer("a", PEER, "hold-time = 9"), "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let (_reader, log) = std::io::pipe().unwrap();
    daemon.run_logging_to(Stdio::from(log));
    let mut flooder = RawPeer::established(PEER, daemon.port, 9);
    // At the level `debug` each rule is a line.
    let mut number = 0_u32;
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for _ in 0..150 {
            number += 1;
            let [_, a, b, c] = number.to_be_bytes();
            flooder.send(&update(&[6, 1, 32, 10, a, b, c]));
            flooder.send(&malformed(10));
        }
        flooder.send(&message(kind::KEEPALIVE, &[]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let view = wait("all rules", || {
        flooder.send(&message(kind::KEEPALIVE, &[]));
        let view = daemon.peer("a");
        (view["rules"] == number).then_some(view)
    });
    assert_eq!((&view["state"], &view["established_count"]), (&"established".into(), &1.into()));
    assert!(daemon.json(&["status"])[0]["log_lines_lost"].as_u64().unwrap() > 0);
    daemon.signal("-TERM");
    assert!(daemon.ended());
}

/// A client of the API from this address of loopback.
fn client(from: &str, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.into()
}

/// The whole answer to a request on a connection of its own.
fn answer(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

fn open_files(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Resident octets.
fn resident(daemon: &Daemon) -> u64 {
    daemon.told("VmRSS") * 1024
}

fn limit_files(daemon: &Daemon, soft: u64) {
    let pid = daemon.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status().unwrap();
    assert!(status.success());
}

#[test]
fn idle_connections_to_the_api_leave_room_for_everything_else() {
    let api = free_port();
    let mut daemon = Daemon::start(&peer("a", PEER, ""), "");
    daemon.signal("-TERM");
    assert!(daemon.ended());
    daemon.configure_api(&peer("a", PEER, ""), &format!("listen = [\"127.0.0.1:{api}\"]"), "");
    // No more than 1024 files, and not to be raised.
    daemon.run_through("prlimit", &["--nofile=1024:1024"]);
    let before = resident(&daemon);
    let idle: Vec<TcpStream> =
        (0..1010_u32).map(|n| client(&format!("127.0.{}.{}", 1 + n / 200, 1 + n % 5), api)).collect();
    let mut peer = RawPeer::established(PEER, daemon.port, 90);
    peer.send(&update(GOOD));
    wait("the rule", || (daemon.rules().len() == 1).then_some(()));
    assert!(daemon.cli(&["pause"]).status.success());
    assert!(daemon.cli(&["resume"]).status.success());
    assert!(open_files(&daemon) < 200, "{}", open_files(&daemon));
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} octets");
    // They make room for one who asks, and those that are left are closed in time.
    let began = Instant::now();
    assert!(answer(client("127.0.9.9", api), &get("/healthz")).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(40), "it waited for the others");
    for mut connection in idle {
        assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)));
    }
}

#[test]
fn one_address_does_not_take_all_places() {
    let api = free_port();
    let daemon = Daemon::start("", "");
    daemon.configure_api("", &format!("listen = [\"127.0.0.1:{api}\"]"), "");
    assert!(daemon.cli(&["reload"]).status.success());
    let _idle: Vec<TcpStream> = (0..300).map(|_| client("127.0.0.1", api)).collect();
    let began = Instant::now();
    assert!(answer(client("127.0.0.3", api), &get("/healthz")).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(40), "it waited for the others");
}

#[test]
fn what_is_protected_stays_so_when_there_are_no_files_to_look_with() {
    let daemon = Daemon::start("", "[protect]\nports = [\"tcp/22\"]");
    // An address of this machine that is not loopback.
    let local = {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("192.0.2.1:9").ok();
        socket.local_addr().unwrap().ip()
    };
    if local.is_unspecified() {
        println!("skipped: this machine has no address");
        return;
    }
    // IPv4 and TCP to port 22.
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7];
    match local {
        std::net::IpAddr::V4(address) => packet.extend(address.octets()),
        std::net::IpAddr::V6(_) => return,
    }
    packet.extend([0x04, 0xd2, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    let hex: String = packet.iter().map(|octet| format!("{octet:02x}")).collect();
    let body = format!("{{\"packet\":\"{hex}\"}}");
    let request = format!(
        "POST /v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // On a connection from before.
    let mut stream = UnixStream::connect(daemon.path("api.sock")).unwrap();
    let mut protected = || {
        stream.write_all(request.as_bytes()).unwrap();
        let mut octets = [0; 4096];
        let count = stream.read(&mut octets).unwrap();
        String::from_utf8_lossy(&octets[..count]).contains("\"protected\":\"")
    };
    assert!(protected());
    limit_files(&daemon, 5);
    wait("a look that fails", || daemon.log().contains("cannot list the addresses").then_some(()));
    assert!(protected());
    limit_files(&daemon, 1024);
    assert!(daemon.cli(&["status"]).status.success());
}

#[test]
fn a_body_that_comes_after_its_head_is_read_before_the_answer() {
    let daemon = Daemon::start("", "");
    for path in ["/v1/clear", "/v1/pause", "/v1/resume", "/v1/reload", "/v1/announce", "/v1/nothing", "/v1/status"] {
        for length in [2, 10_000, 300_000] {
            let mut stream = UnixStream::connect(daemon.path("api.sock")).unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            // Whatever the daemon does on the head alone, it has done by then.
            assert!(daemon.cli(&["peers"]).status.success());
            let mut text = String::new();
            stream.write_all(&vec![b' '; length]).unwrap_or_else(|error| panic!("{path} {length}: {error}"));
            stream.read_to_string(&mut text).unwrap();
            let expected = match (path, length) {
                (_, 300_000) => "413",
                ("/v1/announce", _) => "4",
                ("/v1/nothing", _) => "404",
                ("/v1/status", _) => "405",
                _ => "200",
            };
            assert!(text.starts_with(&format!("HTTP/1.1 {expected}")), "{path} {length}: {text}");
        }
    }
}

#[test]
fn a_head_without_end_is_not_waited_for() {
    let daemon = Daemon::start("", "");
    let mut slow = UnixStream::connect(daemon.path("api.sock")).unwrap();
    slow.write_all(b"GET /v1/status HTTP/1.1\r\n").unwrap();
    let mut body = UnixStream::connect(daemon.path("api.sock")).unwrap();
    body.write_all(b"POST /v1/clear HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n").unwrap();
    let mut long = UnixStream::connect(daemon.path("api.sock")).unwrap();
    let _ = long.write_all(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100_000)).as_bytes());
    for (mut stream, expected) in [(slow, ""), (body, "HTTP/1.1 408"), (long, "HTTP/1.1 4")] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with(expected), "{expected}: {text}");
    }
}

#[test]
fn readers_that_never_read_cost_little_and_it_is_given_back() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut peer = RawPeer::established(PEER, daemon.port, 90);
    // 1000 rules of 3.6 kB each: destination, and a list of ports.
    for number in 0..1000_u32 {
        let [.., a, b] = number.to_be_bytes();
        let ports: Vec<u8> = (0..1195_u16)
            .flat_map(|port| {
                let [high, low] = (port * 50 + 1).to_be_bytes();
                [if port == 1194 { 0x91 } else { 0x11 }, high, low]
            })
            .collect();
        let value = [&[1, 32, 10, 0, a, b, 5][..], &ports].concat();
        let length = 0xf000 | u16::try_from(value.len()).unwrap();
        peer.send(&update(&[&length.to_be_bytes()[..], &value].concat()));
        if number % 100 == 0 {
            peer.send(&message(kind::KEEPALIVE, &[]));
        }
    }
    wait("the rules", || (daemon.peer("a")["rules"] == 1000).then_some(()));
    assert_eq!(daemon.peer("a")["malformed"], serde_json::json!({}));
    assert_eq!(daemon.rules().len(), 1000);
    // They and the history are a few megabytes.
    let before = resident(&daemon);
    assert!(before < 100 << 20, "{before} octets");
    let readers: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.path("api.sock")).unwrap();
            stream.write_all(get("/v1/rules").as_bytes()).unwrap();
            stream
        })
        .collect();
    // Each of those served has something to read, so it is as far as it gets.
    for reader in readers.iter().take(60) {
        reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (&*reader).read_exact(&mut [0; 50_000]).unwrap();
    }
    let grown = resident(&daemon).saturating_sub(before);
    println!("{} kB before, {} kB more with readers", before / 1024, grown / 1024);
    assert!(grown < 64 << 20, "{grown} octets");
    drop(readers);
    wait("the memory", || (resident(&daemon) < before + (20 << 20)).then_some(()));
    assert_eq!(daemon.rules().len(), 1000);
}

#[test]
fn event_streams_leave_connections_for_others() {
    let daemon = Daemon::start("", "");
    let mut followers = Vec::new();
    let refused = loop {
        let mut stream = UnixStream::connect(daemon.path("api.sock")).unwrap();
        stream.write_all(get("/v1/events").as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        followers.push(stream);
        if head != *b"HTTP/1.1 200" {
            break head;
        }
        assert!(followers.len() < 1000);
    };
    assert_eq!(&refused, b"HTTP/1.1 503");
    assert!(daemon.cli(&["history"]).status.success());
    drop(followers);
    wait("a place", || {
        let mut stream = UnixStream::connect(daemon.path("api.sock")).unwrap();
        stream.write_all(get("/v1/events").as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (head == *b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn route_refresh_without_end_costs_nothing() {
    let daemon = Daemon::start(&peer("a", PEER, ""), "");
    let mut flooder = RawPeer::established(PEER, daemon.port, 90);
    let before = resident(&daemon);
    // It is answered, once for all that is asked at a time.
    flooder.send(&message(kind::ROUTE_REFRESH, &[0, 1, 0, 133]));
    for (subtype, end) in [(1, "begin"), (2, "end")] {
        let answer = std::iter::repeat_with(|| flooder.read()).find(|(kind, _)| *kind == kind::ROUTE_REFRESH).unwrap();
        assert_eq!(answer.1, [0, 1, subtype, 133], "{end}");
    }
    // 4 million, and nothing of the answers is read.
    let flood = message(kind::ROUTE_REFRESH, &[0, 1, 0, 133]).repeat(10_000);
    for _ in 0..400 {
        flooder.send(&flood);
    }
    flooder.send(&update(GOOD));
    // The daemon reads on: what it has to say is short.
    wait("the rule behind the flood", || (daemon.rules().len() == 1).then_some(()));
    let grown = resident(&daemon).saturating_sub(before);
    println!("{} kB more", grown / 1024);
    assert!(grown < 20 << 20, "{grown} octets");
    assert_eq!(daemon.peer("a")["state"], "established");
}

/// Peers that never close a connection.
fn stubborn(count: usize) -> (String, Vec<String>) {
    let addresses: Vec<String> = (0..count).map(|number| format!("127.0.3.{}", number + 1)).collect();
    let peers = addresses.iter().map(|address| peer(&address.replace('.', "-"), address, "")).collect();
    (peers, addresses)
}

#[test]
fn peers_that_do_not_close_are_left_side_by_side() {
    let (peers, addresses) = stubborn(80);
    let mut daemon = Daemon::start(&peers, "");
    let connect = |daemon: &Daemon| -> Vec<RawPeer> {
        addresses.iter().map(|address| RawPeer::established(address, daemon.port, 90)).collect()
    };
    let _open = connect(&daemon);
    let text = std::fs::read_to_string(daemon.path("floodgate.toml")).unwrap();
    std::fs::write(daemon.path("floodgate.toml"), text.replace("192.0.2.10", "192.0.2.11")).unwrap();
    // One after the other it would be 40 s each.
    let began = Instant::now();
    assert!(daemon.cli(&["reload"]).status.success());
    let reload = began.elapsed();
    let _open_again = connect(&daemon);
    let began = Instant::now();
    daemon.signal("-TERM");
    assert!(daemon.ended());
    let stop = began.elapsed();
    println!("reload {reload:?}, stop {stop:?}");
    assert!(reload < Duration::from_secs(35) && stop < Duration::from_secs(35), "{reload:?} {stop:?}");
}
