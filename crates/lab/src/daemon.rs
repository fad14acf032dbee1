//! The program under test: `floodgate run` in a namespace, asked through its own commands.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::{PeerView, RuleState, RuleView, SessionState, StatusView};
use serde::de::DeserializeOwned;

use crate::built::built;
use crate::{Netns, PATIENCE, Process, wait_until};

/// A running `floodgate run` with its configuration, socket and state file in a directory of its
/// own.
///
/// Dropping it kills it, as a crash would; [`stop`](Self::stop) ends it as an operator would.
#[derive(Debug)]
pub struct Daemon<'a> {
    netns: &'a Netns,
    process: Option<Process>,
    /// More lines of its `[api]` and of its `[state]`.
    api: String,
    state: String,
    keeps_state: bool,
    directory: tempfile::TempDir,
}

impl<'a> Daemon<'a> {
    /// Starts it and waits until it answers. `configuration` is TOML without `[api]` and `[state]`,
    /// which are added.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start(netns: &'a Netns, configuration: &str) -> Result<Self> {
        Self::start_with_state(netns, configuration, "")
    }

    /// The same with more lines in `[state]`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_state(netns: &'a Netns, configuration: &str, state: &str) -> Result<Self> {
        let mut daemon = Self::new(netns, state)?;
        daemon.configure(configuration)?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// The same with more lines in `[api]`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_api(netns: &'a Netns, configuration: &str, api: &str) -> Result<Self> {
        let mut daemon = Self { api: api.to_owned(), ..Self::new(netns, "")? };
        daemon.configure(configuration)?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// The same without a state file: nothing is kept over a restart.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_without_state(netns: &'a Netns, configuration: &str) -> Result<Self> {
        let mut daemon = Self { keeps_state: false, ..Self::new(netns, "")? };
        daemon.configure(configuration)?;
        daemon.launch()?;
        Ok(daemon)
    }

    fn new(netns: &'a Netns, state: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { netns, process: None, api: String::new(), state: state.to_owned(), keeps_state: true, directory })
    }

    /// Its configuration and the way to ask it; another program starts it, as ExaBGP does with
    /// [`exabgp_command`](Self::exabgp_command).
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn prepare(netns: &'a Netns, configuration: &str) -> Result<Self> {
        let daemon = Self::new(netns, "")?;
        daemon.configure(configuration)?;
        Ok(daemon)
    }

    /// The command that makes it a process of ExaBGP.
    ///
    /// # Errors
    /// When the program cannot be built.
    pub fn exabgp_command(&self) -> Result<String> {
        Ok(format!("{} exabgp -c {}", program()?.display(), self.configuration().display()))
    }

    /// Writes another configuration, for [`launch`](Self::launch) or a reload.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        let (path, socket, api, more) = (self.configuration(), self.path("api.sock"), &self.api, &self.state);
        let file = if self.keeps_state { self.path("state") } else { PathBuf::new() };
        let text = format!("{configuration}\n[api]\nsocket = {socket:?}\n{api}\n\n[state]\nfile = {file:?}\n{more}\n");
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Where its configuration is.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.path("floodgate.toml")
    }

    /// Starts it after it was stopped or killed, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn launch(&mut self) -> Result<()> {
        self.launch_with(|_| ())
    }

    /// The same with something done to the command first, such as a limit.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn launch_with(&mut self, prepare: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.netns.command(program()?)?;
        prepare(&mut command);
        self.launch_command(command)
    }

    /// The same through a program that changes what the daemon may do, such as setpriv, with its
    /// arguments.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn launch_through<S: AsRef<OsStr>>(&mut self, wrapper: &str, arguments: &[S]) -> Result<()> {
        let mut command = self.netns.command(wrapper)?;
        command.args(arguments).arg(program()?);
        self.launch_command(command)
    }

    fn launch_command(&mut self, mut command: Command) -> Result<()> {
        command.args(["run", "--config"]).arg(self.configuration());
        let mut process = Process::spawn("floodgate", command)?;
        let answers = wait_until("floodgate's answer", PATIENCE, || {
            if process.check_running().is_err() { Some(()) } else { self.cli(&["peers"]).ok().map(drop) }
        });
        process.check_running()?;
        answers.with_context(|| process.log())?;
        self.process = Some(process);
        Ok(())
    }

    /// Runs one of its commands, such as `["rules"]`, and returns what it prints.
    ///
    /// # Errors
    /// What it said when it failed or answered with no.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("floodgate {arguments:?}: {}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(printed)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.netns.command(program()?)?;
        Ok(command.args(arguments).env("FLOODGATE_SOCKET", self.path("api.sock")).output()?)
    }

    /// What its HTTP interface answers: the status code and the body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut socket = UnixStream::connect(self.path("api.sock"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "GET {path} HTTP/1.0\r\nHost: floodgate\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a status code")?;
        Ok((code, body.to_owned()))
    }

    /// All that this run of it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Its rules, in enforcement order.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn rules(&self) -> Result<Vec<RuleView>> {
        self.objects("rules")
    }

    /// Its peers.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn peers(&self) -> Result<Vec<PeerView>> {
        self.objects("peers")
    }

    /// The peer of this name.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn peer(&self, name: &str) -> Result<PeerView> {
        self.peers()?.into_iter().find(|peer| peer.name == name).with_context(|| format!("no peer {name}"))
    }

    /// How it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<StatusView> {
        // It answers with no while nothing is filtered.
        let Output { status, stdout, stderr } = self.run(&["status", "--json"])?;
        serde_json::from_slice(&stdout)
            .with_context(|| format!("no status: {status}: {}", String::from_utf8_lossy(&stderr).trim()))
    }

    /// Waits until its rules are such; returns them.
    ///
    /// # Errors
    /// After the deadline; with the rules as they are and its log.
    pub fn wait_rules(
        &self,
        what: &str,
        deadline: Duration,
        mut such: impl FnMut(&[RuleView]) -> bool,
    ) -> Result<Vec<RuleView>> {
        wait_until(what, deadline, || self.rules().ok().filter(|rules| such(rules))).with_context(|| self.explain())
    }

    /// Waits until it has so many rules, all of them installed and announced by a session that is
    /// up; returns them.
    ///
    /// # Errors
    /// After the deadline; with the rules as they are and its log.
    pub fn wait_installed(&self, count: usize) -> Result<Vec<RuleView>> {
        let such = |rules: &[RuleView]| rules.len() == count && rules.iter().all(is_installed);
        self.wait_rules(&format!("{count} rules, all installed"), PATIENCE, such)
    }

    /// Waits until its status is such; returns it.
    ///
    /// # Errors
    /// After the deadline; with the status as it is and its log.
    pub fn wait_status(
        &self,
        what: &str,
        deadline: Duration,
        mut such: impl FnMut(&StatusView) -> bool,
    ) -> Result<StatusView> {
        wait_until(what, deadline, || self.status().ok().filter(&mut such)).with_context(|| self.explain())
    }

    /// Waits until the peer has had more sessions than `before`, and has one now. A loss may be
    /// over before it can be seen.
    ///
    /// # Errors
    /// After the deadline; with what it says about itself.
    pub fn wait_another_session(&self, peer: &str, before: u64, deadline: Duration) -> Result<()> {
        let another = |peer: &PeerView| peer.established_count > before && peer.state == SessionState::Established;
        wait_until("another session", deadline, || self.peer(peer).ok().filter(another).map(drop))
            .map_err(|error| error.context(self.explain()))
    }

    /// Waits until the session with this peer is established.
    ///
    /// # Errors
    /// After the deadline; with all that is known.
    pub fn wait_established(&self, peer: &str, deadline: Duration) -> Result<()> {
        let established = || self.peer(peer).ok().filter(|peer| peer.state == SessionState::Established).map(drop);
        wait_until("the session", deadline, established).with_context(|| self.explain())
    }

    /// Waits until what is shown of a peer is such.
    ///
    /// # Errors
    /// After the deadline; with everything that is known.
    pub fn wait_peer(
        &self,
        name: &str,
        what: &str,
        deadline: Duration,
        such: impl Fn(&PeerView) -> bool,
    ) -> Result<()> {
        wait_until(what, deadline, || self.peer(name).ok().filter(|peer| such(peer)).map(drop))
            .with_context(|| self.explain())
    }

    /// What our table has in the kernel, as `nft` shows it; empty when there is no such table.
    ///
    /// # Errors
    /// When `nft` cannot be run.
    pub fn ruleset(&self) -> Result<String> {
        let tables = self.netns.exec("nft", &["list", "tables"])?;
        let ours = tables.lines().filter_map(|line| line.strip_prefix("table "));
        let mut text = String::new();
        for table in ours.filter(|table| table.split(' ').nth(1).is_some_and(|name| name.starts_with("floodgate"))) {
            let words: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
            text.push_str(&self.netns.exec("nft", &words)?);
        }
        Ok(text)
    }

    /// Ends it as an operator would.
    ///
    /// # Errors
    /// When it had to be killed; with its log.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.take().context("floodgate is not running")?.stop()
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("floodgate is not running")?.kill().map(drop)
    }

    /// The running program.
    ///
    /// # Errors
    /// When it was stopped.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("floodgate is not running")
    }

    /// All that helps to understand a failure.
    #[must_use]
    pub fn explain(&self) -> String {
        let say = |arguments: &[&str]| self.cli(arguments).unwrap_or_else(|error| format!("{error:#}"));
        let rules = say(&["rules"]);
        let shown: String = rules.lines().take(40).flat_map(|line| [line, "\n"]).collect();
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        let tail = log.lines().count().saturating_sub(60);
        let log: String = log.lines().skip(tail).flat_map(|line| [line, "\n"]).collect();
        format!("floodgate status:\n{}peers:\n{}rules:\n{shown}log:\n{log}", say(&["status"]), say(&["peers"]))
    }

    fn objects<T: DeserializeOwned>(&self, command: &str) -> Result<Vec<T>> {
        let printed = self.cli(&[command, "--json"])?;
        printed.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Whether a rule is in force and none of those who announced it has lost its session.
#[must_use]
pub fn is_installed(rule: &RuleView) -> bool {
    rule.state == RuleState::Installed && rule.origins.iter().all(|origin| !origin.stale)
}

/// The program: what `FLOODGATE` names, otherwise the one that was built beside the running test or
/// program. Where there is none, as with `cargo test -p lab` in a fresh tree, it is built first.
///
/// # Errors
/// When it cannot be built.
pub fn program() -> Result<PathBuf> {
    match env::var_os("FLOODGATE") {
        Some(path) => Ok(path.into()),
        None => built("floodgate", "floodgate"),
    }
}
