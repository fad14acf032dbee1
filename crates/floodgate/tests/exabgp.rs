//! `floodgate exabgp` with scripted input and the back end `none`: peers, reload, outputs, and how
//! it ends.

use lab::wait;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// A directory, and the process in it.
struct Run {
    directory: tempfile::TempDir,
    child: Option<Child>,
    input: Option<ChildStdin>,
}

impl Run {
    fn new(peers: &str) -> Self {
        let run = Run { directory: tempfile::tempdir().unwrap(), child: None, input: None };
        run.configure(peers);
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configure(&self, peers: &str) {
        let (socket, state) = (self.path("api.sock"), self.path("state"));
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\n{peers}\n[dataplane]\nbackend = \"none\"\n[api]\nsocket = {socket:?}\n\
             [state]\nfile = {state:?}\nstale-time = \"60s\"\n"
        );
        fs::write(self.path("floodgate.toml"), text).unwrap();
    }

    fn start(&mut self) {
        let open = |name: &str| fs::File::options().create(true).append(true).open(self.path(name)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(["exabgp", "-c"])
            .arg(self.path("floodgate.toml"))
            .stdin(Stdio::piped())
            .stdout(open("output"))
            .stderr(open("log"))
            .spawn()
            .unwrap();
        self.input = child.stdin.take();
        self.child = Some(child);
    }

    fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn cli(&self, words: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(words)
            .env("FLOODGATE_SOCKET", self.path("api.sock"))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    fn json(&self, word: &str) -> Vec<Value> {
        self.cli(&[word, "--json"]).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Peer, text and state of each rule.
    fn wait_rules(&self, wanted: &[(&str, &str, &str)]) {
        let field = |value: &Value| value.as_str().unwrap().to_owned();
        let mut last = Vec::new();
        let found = || {
            last = self.json("rules");
            let found: Vec<_> = last
                .iter()
                .map(|rule| (field(&rule["origins"][0]["peer"]), field(&rule["text"]), field(&rule["state"])))
                .collect();
            let same = found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(f, w)| (f.0.as_str(), f.1.as_str(), f.2.as_str()) == *w);
            same.then_some(())
        };
        wait(&format!("{wanted:?}; log:\n{}", self.text("log")), found);
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits for its end; its exit status.
    fn ended(&mut self) -> Option<i32> {
        let child = self.child.as_mut().unwrap();
        let status = wait("the end", || child.try_wait().unwrap());
        self.child = None;
        status.code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn line(peer: &str, kind: &str, rest: &str) -> String {
    format!(
        "{{ \"exabgp\": \"5.0.0\", \"type\": \"{kind}\", \"neighbor\": {{ \"address\": {{ \"local\": \"192.0.2.10\", \"peer\": \"{peer}\" }}, \
         \"asn\": {{ \"local\": 65140, \"peer\": 65070 }}, {rest} }} }}\n"
    )
}

fn up(peer: &str) -> String {
    line(peer, "state", r#""state": "up""#)
}

fn down(peer: &str) -> String {
    line(peer, "state", r#""state": "down", "reason": "the cable""#)
}

const DISCARD: &str = r#""attribute": { "as-path": [ 65070 ], "extended-community": [ { "value": 9225060886715039744, "string": "rate-limit:0" } ] }"#;

fn updating(peer: &str, content: &str) -> String {
    line(peer, "update", &format!(r#""direction": "in", "message": {{ "update": {{ {content} }} }}"#))
}

fn announce(peer: &str, destination: &str) -> String {
    updating(
        peer,
        &format!(
            r#"{DISCARD}, "announce": {{ "ipv4 flow": {{ "no-nexthop": [ {{ "destination-ipv4": [ "{destination}" ] }} ] }} }}"#
        ),
    )
}

fn withdraw(peer: &str, destination: &str) -> String {
    updating(peer, &format!(r#""withdraw": {{ "ipv4 flow": [ {{ "destination-ipv4": [ "{destination}" ] }} ] }}"#))
}

const A: &str = "192.0.2.1";
const B: &str = "2001:db8::1";

#[test]
fn peers_are_kept_apart_and_end_apart() {
    let mut run = Run::new("");
    run.start();
    run.write(
        &[up(A), up(B), announce(A, "10.0.0.1/32"), announce(B, "10.0.0.1/32"), announce(B, "10.0.0.2/32")].concat(),
    );
    let both = "dst 10.0.0.1/32 then discard";
    let of_b = (B, "dst 10.0.0.2/32 then discard", "installed");
    run.wait_rules(&[(A, both, "installed"), of_b]);
    // A withdrawal takes out the rule of that peer only.
    run.write(&withdraw(A, "10.0.0.1/32"));
    run.wait_rules(&[(B, both, "installed"), of_b]);
    run.write(&announce(A, "10.0.0.3/32"));
    run.write(&down(B));
    run.wait_rules(&[(A, "dst 10.0.0.3/32 then discard", "installed")]);
    let peers = run.json("peers");
    let of = |name: &str, key: &str| peers.iter().find(|peer| peer["name"] == name).unwrap()[key].clone();
    assert_eq!((of(A, "state"), of(B, "state")), ("established".into(), "idle".into()));
    assert_eq!((of(A, "as"), of(B, "last_error")), (65070.into(), "the cable".into()));

    run.write("what is this\n");
    run.write(&updating(A, r#""announce": { "ipv4 flow": { "no-nexthop": [ { "destination-port": [ "0980" ] } ] } }"#));
    wait("the report", || (run.json("peers")[0]["malformed"]["exabgp-json"] == 1).then_some(()));
    let history = run.cli(&["history"]).1;
    assert!(history.contains("line 9: no JSON") && history.contains("line 10: update/announce"), "{history}");

    run.input = None;
    assert_eq!(run.ended(), Some(0));
    assert_eq!(run.text("output"), "", "standard output is ExaBGP's");
}

#[test]
fn a_changed_file_changes_the_policy_of_neighbours() {
    let mut run = Run::new("");
    run.start();
    run.write(&[up(A), announce(A, "10.0.0.1/32"), announce(A, "172.16.0.1/32")].concat());
    let (ten, other) = ("dst 10.0.0.1/32 then discard", "dst 172.16.0.1/32 then discard");
    run.wait_rules(&[(A, ten, "installed"), (A, other, "installed")]);
    run.configure(&format!(
        "[[peer]]\nname = \"controller\"\naddress = \"{A}\"\nas = 65070\n[peer.allow]\ndestinations = [\"10.0.0.0/8\"]\n"
    ));
    assert!(run.cli(&["reload"]).0);
    run.wait_rules(&[("controller", ten, "installed"), ("controller", other, "guarded")]);
    // A file that does not name it any more: the default again, the session is up all the time.
    run.configure("");
    assert!(run.cli(&["reload"]).0);
    run.wait_rules(&[(A, ten, "installed"), (A, other, "installed")]);
    run.write(&withdraw(A, "172.16.0.1/32"));
    run.wait_rules(&[(A, ten, "installed")]);
    assert!(!run.text("log").contains("session down"), "{}", run.text("log"));
    // A bad file changes nothing.
    fs::write(run.path("floodgate.toml"), "[router]\n").unwrap();
    assert!(!run.cli(&["reload"]).0);
    run.wait_rules(&[(A, ten, "installed")]);
}

#[test]
fn held_rules_outlive_exabgp_and_go_to_the_next_start() {
    let peer = format!("[[peer]]\nname = \"controller\"\naddress = \"{A}\"\nas = 65070\nhold-on-loss = \"10m\"\n");
    let mut run = Run::new(&peer);
    run.start();
    run.write(&[up(A), announce(A, "10.0.0.1/32")].concat());
    let rule = "dst 10.0.0.1/32 then discard";
    run.wait_rules(&[("controller", rule, "installed")]);
    run.input = None;
    run.wait_rules(&[("controller", rule, "stale")]);
    let mut old = run.child.take().unwrap();
    // A file of a start that is no more does not end it.
    fs::write(run.path("api.sock.successor"), "4294967294").unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert!(old.try_wait().unwrap().is_none());
    fs::remove_file(run.path("api.sock.successor")).unwrap();

    run.start();
    assert_eq!(wait("the end of the old one", || old.try_wait().unwrap()).code(), Some(0));
    run.wait_rules(&[("controller", rule, "stale")]);
    assert_eq!(run.text("output"), "announce route-refresh ipv4 flow\n", "the peer is asked to send its rules again");
    run.write(&[up(A), announce(A, "10.0.0.1/32")].concat());
    run.wait_rules(&[("controller", rule, "installed")]);
    assert!(!run.path("api.sock.successor").exists());
}

#[test]
fn what_is_wrong_at_the_start_is_reported() {
    let mut run = Run::new("[[peer]]\n");
    run.start();
    // It waits, unless ExaBGP ends.
    drop(run.input.take());
    assert_eq!(run.ended(), Some(1));
    assert!(run.text("log").contains("floodgate.toml:4"), "{}", run.text("log"));
}

/// ExaBGP starts a process again that ends, and gives up with all of its sessions after five times
/// in a minute.
#[test]
fn a_start_that_fails_says_why_and_does_not_end_at_once() {
    let mut run = Run::new("");
    let text = fs::read_to_string(run.path("floodgate.toml")).unwrap();
    let socket = run.path("api.sock");
    let socket = socket.to_str().unwrap();
    assert!(text.contains(socket));
    fs::write(run.path("floodgate.toml"), text.replace(socket, "/proc/self/no/such/api.sock")).unwrap();
    run.start();
    let log = || fs::read_to_string(run.directory.path().join("log")).unwrap_or_default();
    wait("the reason", || log().contains("cannot start").then_some(()));
    assert!(log().contains("/proc/self/no/such") && log().contains("five starts in a minute"), "{}", log());
    assert!(run.child.as_mut().unwrap().try_wait().unwrap().is_none(), "it ended at once");
    // More than a pipe holds: what ExaBGP writes is read.
    let mut input = run.input.take().unwrap();
    (0..300).for_each(|_| input.write_all(&[b'x'; 1000]).unwrap());
    drop(input);
    let mut child = run.child.take().unwrap();
    let status = wait("its end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
}
