//! `floodgate run` with the kernel's nftables, each daemon in a network namespace of its own.

use lab::wait;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

/// A namespace with a daemon in it.
struct Machine {
    name: String,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Machine {
    /// `None`, and a line that says why, where the machine cannot do this.
    fn new(name: &str) -> Option<Self> {
        let name = format!("fg-run-{name}-{}", std::process::id());
        let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        if !works(Command::new("ip").args(["netns", "add", &name])) {
            println!("skipped: network namespaces need root and the program ip");
            assert!(std::env::var_os("CI").is_none(), "skipped in CI");
            return None;
        }
        let made = Machine { name, directory: tempfile::tempdir().unwrap(), child: None };
        if !made.inside(&["nft", "list", "tables"]).status.success() {
            println!("skipped: needs the program nft");
            assert!(std::env::var_os("CI").is_none(), "skipped in CI");
            return None;
        }
        Some(made)
    }

    fn inside(&self, words: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", &self.name]).args(words).output().unwrap()
    }

    fn table(&self) -> String {
        String::from_utf8(self.inside(&["nft", "list", "ruleset"]).stdout).unwrap()
    }

    /// Verdicts of our sets that drop.
    fn drops(&self) -> usize {
        self.table().matches("192.0.2.1").count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&mut self, dataplane: &str) {
        let (socket, state) = (self.path("api.sock"), self.path("state"));
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = []\n[dataplane]\n{dataplane}\n\
             [api]\nsocket = {socket:?}\n[state]\nfile = {state:?}\n"
        );
        std::fs::write(self.path("floodgate.toml"), text).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name, env!("CARGO_BIN_EXE_floodgate"), "run", "-c"])
            .arg(self.path("floodgate.toml"))
            .env("RUNTIME_DIRECTORY", self.directory.path())
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait("the daemon", || self.cli(&["peers"]).status.success().then_some(()));
    }

    fn cli(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(words)
            .env("FLOODGATE_SOCKET", self.path("api.sock"))
            .output()
            .unwrap()
    }

    /// The status code and the text of a path of the HTTP interface.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = std::os::unix::net::UnixStream::connect(self.path("api.sock")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.cli(&["status", "--json"]).stdout).unwrap()
    }

    /// `ip netns exec` becomes the daemon, so that the child's id is its.
    fn end(&mut self, signal: &str) {
        let mut child = self.child.take().unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        wait("the daemon's end", || child.try_wait().unwrap());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[test]
fn filters_go_when_the_daemon_is_stopped_and_foreign_tables_stay() {
    let Some(mut it) = Machine::new("stop") else { return };
    assert!(it.inside(&["nft", "add table inet other"]).status.success());
    it.run("backend = \"nftables\"");
    let output = it.cli(&["announce", NTP]);
    assert!(output.status.success(), "{output:?}");
    assert!(it.drops() > 0, "{}", it.table());
    assert!(it.cli(&["pause"]).status.success());
    assert_eq!(it.drops(), 0, "{}", it.table());
    assert!(it.cli(&["resume"]).status.success());
    assert!(it.drops() > 0, "{}", it.table());
    it.end("-TERM");
    assert_eq!(it.table().trim(), "table inet other {\n}");
}

#[test]
fn filters_stay_when_told_to_and_are_taken_over_without_doubling() {
    let Some(mut it) = Machine::new("keep") else { return };
    let keep = "backend = \"nftables\"\non-exit = \"keep\"";
    it.run(keep);
    assert!(it.cli(&["announce", NTP]).status.success());
    let once = it.drops();
    assert!(once > 0, "{}", it.table());
    it.end("-TERM");
    assert_eq!(it.drops(), once, "{}", it.table());
    it.run(keep);
    wait("the takeover", || (it.status()["rules"]["installed"] == 1).then_some(()));
    assert_eq!(it.drops(), once, "{}", it.table());
    it.end("-KILL");
    assert_eq!(it.drops(), once, "{}", it.table());
    it.run(keep);
    wait("the takeover", || (it.status()["rules"]["installed"] == 1).then_some(()));
    assert_eq!(it.drops(), once, "{}", it.table());
    assert!(it.cli(&["clear"]).status.success());
    wait("the end of the filter", || (it.drops() == 0).then_some(()));
}

#[test]
fn filters_stay_while_the_package_is_upgraded() {
    let Some(mut it) = Machine::new("upgrade") else { return };
    it.run("backend = \"nftables\"");
    assert!(it.cli(&["announce", NTP]).status.success());
    let once = it.drops();
    // As the package's script does before it restarts the service.
    std::fs::write(it.path("keep-filters"), "").unwrap();
    it.end("-TERM");
    assert_eq!(it.drops(), once, "{}", it.table());
    std::fs::remove_file(it.path("keep-filters")).unwrap();
    it.run("backend = \"nftables\"");
    wait("the takeover", || (it.status()["rules"]["installed"] == 1).then_some(()));
    assert_eq!(it.drops(), once, "{}", it.table());
    it.end("-TERM");
    assert_eq!(it.table().trim(), "");
}

#[test]
fn a_flushed_table_is_restored_and_reported() {
    let Some(mut it) = Machine::new("flush") else { return };
    it.run("backend = \"nftables\"");
    assert!(it.cli(&["announce", NTP]).status.success());
    let before = it.drops();
    for damage in ["flush ruleset", "delete table ip floodgate"] {
        assert!(it.inside(&["nft", damage]).status.success());
        assert_eq!(it.drops(), 0);
        wait("the repair", || (it.drops() == before).then_some(()));
    }
    // As many elements as before, but others; and a table that is there, but that the kernel does
    // not call.
    let listing = it.table();
    let set = listing.split_whitespace().find(|word| word.contains("_destinations_")).unwrap();
    let replaced =
        format!("delete element ip floodgate {set} {{ 192.0.2.1 }}; add element ip floodgate {set} {{ 192.0.2.9 }}");
    assert!(it.inside(&["nft", &replaced]).status.success(), "{listing}");
    assert!(it.table().contains("192.0.2.9"));
    wait("the repair", || (it.drops() == before && !it.table().contains("192.0.2.9")).then_some(()));
    assert!(it.inside(&["nft", "add table ip floodgate { flags dormant; }"]).status.success());
    assert!(it.table().contains("dormant"));
    wait("the repair", || (!it.table().contains("dormant")).then_some(()));
    assert_eq!(it.status()["damages"], 4);
    let history = String::from_utf8(it.cli(&["history", "--json"]).stdout).unwrap();
    assert_eq!(history.matches("\"event\":\"damaged\"").count(), 4, "{history}");
}

#[test]
fn interfaces_are_taken_in_when_they_come() {
    let Some(mut it) = Machine::new("ports") else { return };
    it.run("backend = \"nftables\"\ninterfaces = [\"swp*\"]");
    it.cli(&["announce", NTP]);
    assert_eq!(it.status()["interfaces"], serde_json::json!([]));
    assert!(it.inside(&["ip", "link", "add", "swp1", "type", "veth", "peer", "name", "other1"]).status.success());
    wait("swp1", || (it.status()["interfaces"] == serde_json::json!(["swp1"])).then_some(()));
    assert!(it.drops() > 0, "{}", it.table());
    // People look at our table with nft: it must not show empty names.
    assert!(it.table().contains("\"swp1\""), "{}", it.table());
    assert!(it.inside(&["ip", "link", "del", "swp1"]).status.success());
    wait("the end of swp1", || (it.status()["interfaces"] == serde_json::json!([])).then_some(()));
}

#[test]
fn an_interface_that_is_not_there_filters_nothing_and_all_say_so() {
    let Some(mut it) = Machine::new("absent") else { return };
    let link = |words: &[&str]| assert!(it.inside(&[&["ip", "link"], words].concat()).status.success(), "{words:?}");
    link(&["add", "swp1", "type", "veth", "peer", "name", "other1"]);
    it.run("backend = \"nftables\"\ninterfaces = [\"eth7\"]");
    let state = |it: &Machine| {
        let rules = String::from_utf8(it.cli(&["rules", "--json"]).stdout).unwrap();
        let rule: Value = serde_json::from_str(rules.lines().next().unwrap()).unwrap();
        (rule["state"].as_str().unwrap().to_owned(), rule["reason"].as_str().unwrap_or_default().to_owned())
    };
    let announced = it.cli(&["announce", NTP]);
    let (name, reason) = state(&it);
    assert!(name == "failed" && reason.contains("eth7: no interface has this name"), "{name}: {reason}");
    assert!(!announced.status.success() && !String::from_utf8_lossy(&announced.stdout).contains("is installed"));
    let (code, text) = it.get("/healthz");
    assert!(code == 503 && text.contains("eth7"), "{text}");
    let status = it.status();
    assert_eq!(status["rules"]["failed"], 1, "{status}");
    assert_eq!(
        (&status["interfaces"], &status["attachments"][0]["mode"]),
        (&serde_json::json!([]), &Value::from("none"))
    );
    let text = String::from_utf8(it.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("NOTHING IS FILTERED") && text.contains("eth7 NOT FILTERED"), "{text}");
    let metrics = it.get("/metrics").1;
    assert!(metrics.contains("floodgate_dataplane_filtering 0"), "{metrics}");
    assert!(metrics.contains("floodgate_dataplane_interface{interface=\"eth7\",mode=\"none\"} 0"), "{metrics}");

    let link = |words: &[&str]| assert!(it.inside(&[&["ip", "link"], words].concat()).status.success(), "{words:?}");
    link(&["add", "eth7", "type", "veth", "peer", "name", "other7"]);
    wait("health", || (it.get("/healthz").0 == 200).then_some(()));
    wait("the rule", || (state(&it).0 == "installed").then_some(()));
    assert_eq!(it.status()["attachments"][0]["mode"], "prerouting");
    assert!(it.get("/metrics").1.contains("floodgate_dataplane_filtering 1"));
    link(&["del", "eth7"]);
    wait("illness", || (it.get("/healthz").0 == 503).then_some(()));
    assert_eq!(state(&it).0, "failed");
}
