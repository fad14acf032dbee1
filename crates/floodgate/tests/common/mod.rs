//! A daemon on loopback with the back end `none`, and a BGP controller to talk to it.

#![allow(dead_code)] // Not every test program needs everything.

pub(crate) mod controller;
pub(crate) mod raw;

pub(crate) use lab::{PATIENCE, wait};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A TCP port of loopback that nobody has.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One peer's part of a configuration: name, address, and what else there is to say.
pub(crate) fn peer(name: &str, address: &str, rest: &str) -> String {
    format!("[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nas = 65070\npassive = true\n{rest}\n")
}

/// A running `floodgate run`.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
    child: Option<Child>,
    pub port: u16,
}

impl Daemon {
    /// Starts it with these peers; `rest` is the end of the configuration.
    pub(crate) fn start(peers: &str, rest: &str) -> Self {
        let mut daemon = Daemon { directory: tempfile::tempdir().unwrap(), child: None, port: free_port() };
        daemon.configure(peers, rest);
        daemon.run();
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, peers: &str, rest: &str) {
        self.configure_api(peers, "", rest);
    }

    /// The same with more lines of `[api]`.
    pub(crate) fn configure_api(&self, peers: &str, api: &str, rest: &str) {
        let (port, socket, state) = (self.port, self.path("api.sock"), self.path("state"));
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = [\"127.0.0.1:{port}\"]\n{peers}\n\
             [dataplane]\nbackend = \"none\"\n[api]\nsocket = {socket:?}\n{api}\n[state]\nfile = {state:?}\nstale-time = \"3s\"\n\
             [log]\nlevel = \"debug\"\n{rest}\n"
        );
        fs::write(self.path("floodgate.toml"), text).unwrap();
    }

    /// Starts the process, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.run_logging_to(log.into());
    }

    /// The same, started by a program that changes its surroundings.
    pub(crate) fn run_through(&mut self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_floodgate"));
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.run_command(command, log.into());
    }

    /// The same with its log going elsewhere.
    pub(crate) fn run_logging_to(&mut self, log: Stdio) {
        self.run_command(Command::new(env!("CARGO_BIN_EXE_floodgate")), log);
    }

    fn run_command(&mut self, mut command: Command, log: Stdio) {
        command.args(["run", "-c"]).arg(self.path("floodgate.toml")).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        wait("the daemon", || self.cli(&["peers"]).status.success().then_some(()));
    }

    /// Runs a command of the program against it.
    pub(crate) fn cli(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_floodgate"))
            .args(words)
            .env("FLOODGATE_SOCKET", self.path("api.sock"))
            .output()
            .unwrap()
    }

    /// Runs a command that prints JSON lines.
    pub(crate) fn json(&self, words: &[&str]) -> Vec<Value> {
        let output = self.cli(&[words, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Text and state of each rule.
    pub(crate) fn rules(&self) -> Vec<(String, String)> {
        let field = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
        self.json(&["rules"]).iter().map(|rule| (field(rule, "text"), field(rule, "state"))).collect()
    }

    /// Waits until there are exactly these rules, with these states.
    pub(crate) fn wait_rules(&self, wanted: &[(&str, &str)]) {
        let owned = |(text, state): &(&str, &str)| ((*text).to_owned(), (*state).to_owned());
        let wanted: Vec<_> = wanted.iter().map(owned).collect();
        let end = Instant::now() + PATIENCE;
        loop {
            let rules = self.rules();
            if rules == wanted {
                return;
            }
            assert!(Instant::now() < end, "wanted {wanted:?}\nfound {rules:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One peer of `floodgate peers`.
    pub(crate) fn peer(&self, name: &str) -> Value {
        let peers = self.json(&["peers"]);
        peers.iter().find(|peer| peer["name"] == name).unwrap_or_else(|| panic!("{peers:?}")).clone()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A number that the kernel tells of the process, such as `VmRSS` (kB) or `Threads`.
    pub(crate) fn told(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end of the process; whether it was a clean one.
    pub(crate) fn ended(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        wait("the daemon's end", || child.try_wait().unwrap()).success()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
