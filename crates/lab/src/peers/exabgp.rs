//! ExaBGP 4 (Debian's package) and 5 (from PyPI).

use std::env;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Family, PeerDaemon, Session, write};
use crate::{Netns, Process};

/// The version of ExaBGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 4.2, Debian 12's package.
    V4,
    /// 5.0, which `make setup` installs from PyPI.
    V5,
}

impl Version {
    /// The program: `/usr/sbin/exabgp` for version 4; for version 5 what `FLOODGATE_EXABGP5` names,
    /// by default the one that `make setup` made under `target/`.
    #[must_use]
    pub fn program(self) -> PathBuf {
        match self {
            Self::V4 => "/usr/sbin/exabgp".into(),
            Self::V5 => env::var_os("FLOODGATE_EXABGP5").map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/exabgp5/bin/exabgp"),
                PathBuf::from,
            ),
        }
    }

    /// Whether it is installed; reports that the test is skipped if not.
    ///
    /// # Panics
    /// Where skipping is not allowed, see [`skip`](crate::skip).
    #[must_use]
    pub fn required(self) -> bool {
        crate::require_program(&self.program().display().to_string())
    }
}

/// A process that ExaBGP sends everything that it receives, as JSON.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a> {
    /// The command.
    pub command: &'a str,
    /// The octets of each message as well (`packets; consolidate;`).
    pub octets: bool,
}

/// An ExaBGP daemon with one BGP session.
///
/// Commands are those of its API, one a line: `announce flow route { match { destination
/// 192.0.2.1/32; } then { discard; } }`. They are kept and sent again to a restarted ExaBGP.
#[derive(Debug)]
pub struct Exabgp<'a> {
    netns: &'a Netns,
    version: Version,
    session: Session,
    process: Option<Process>,
    directory: tempfile::TempDir,
}

impl<'a> Exabgp<'a> {
    /// Starts ExaBGP in the namespace. `flows` is the content of the neighbour's `flow { }` block:
    /// `route NAME { match { ... } then { ... } }` and so on; it may be empty.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(netns: &'a Netns, version: Version, session: Session, flows: &str) -> Result<Self> {
        Self::start_with_process(netns, version, session, flows, None)
    }

    /// The same, and ExaBGP also runs this command as an API process that gets everything it
    /// receives, as JSON, as `floodgate exabgp` does.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start_with_process(
        netns: &'a Netns,
        version: Version,
        session: Session,
        flows: &str,
        receiver: Option<Receiver<'_>>,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let commands = directory.path().join("commands");
        write(&commands, "")?;
        let feed = directory.path().join("feed");
        // Ends with the ExaBGP that started it, also when that is killed.
        write(&feed, &format!("#!/bin/sh\nexec tail -n +1 -s 0.05 --pid=$PPID -f '{}'\n", commands.display()))?;
        fs::set_permissions(&feed, fs::Permissions::from_mode(0o755))?;
        write(&directory.path().join("exabgp.conf"), &configuration(&session, &feed, flows, receiver)?)?;
        let mut exabgp = Self { netns, version, session, process: None, directory };
        exabgp.launch()?;
        Ok(exabgp)
    }

    /// Sends it a command of its API.
    ///
    /// # Errors
    /// The file that it reads cannot be written.
    pub fn command(&mut self, line: &str) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.directory.path().join("commands"))?;
        Ok(file.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Announces a rule: `match { ... } then { ... }`.
    ///
    /// # Errors
    /// As [`command`](Self::command). ExaBGP reports errors of a command in its log.
    pub fn announce(&mut self, rule: &str) -> Result<()> {
        self.command(&format!("announce flow route {{ {rule} }}"))
    }

    /// Withdraws a rule, written as in its announcement.
    ///
    /// # Errors
    /// As [`announce`](Self::announce).
    pub fn withdraw(&mut self, rule: &str) -> Result<()> {
        self.command(&format!("withdraw flow route {{ {rule} }}"))
    }

    /// Waits until ExaBGP reports that the session is established (for the first time since its
    /// start).
    ///
    /// # Errors
    /// After the timeout; with its log.
    pub fn wait_established(&mut self, deadline: Duration) -> Result<()> {
        let process = self.process.as_mut().context("ExaBGP is stopped")?;
        process.wait_for_line("connected to peer-", deadline).map(drop)
    }
}

impl PeerDaemon for Exabgp<'_> {
    fn launch(&mut self) -> Result<()> {
        let mut command = self.netns.command(self.version.program())?;
        // As root it would change to another user, who may not read the configuration.
        for (setting, value) in [
            ("exabgp.daemon.user", "root"),
            ("exabgp.daemon.drop", "false"),
            ("exabgp.api.cli", "false"),
            ("exabgp.api.ack", "false"),
            ("exabgp.log.destination", "stdout"),
            ("exabgp.log.level", "INFO"),
            ("exabgp.log.all", "true"),
        ] {
            command.env(setting, value);
        }
        let session = &self.session;
        if session.passive {
            command.env("exabgp.tcp.bind", session.local.to_string()).env("exabgp.tcp.port", session.port.to_string());
        }
        command.env("PYTHONUNBUFFERED", "1").arg(self.directory.path().join("exabgp.conf"));
        let mut process = Process::spawn("exabgp", command)?;
        process.wait_for_line("loaded new configuration successfully", Duration::from_secs(20))?;
        self.process = Some(process);
        Ok(())
    }

    fn process_slot(&mut self) -> &mut Option<Process> {
        &mut self.process
    }
}

fn configuration(session: &Session, feed: &Path, flows: &str, receiver: Option<Receiver<'_>>) -> Result<String> {
    let Session { local, local_as, remote, remote_as, port, hold_time, router_id, .. } = session;
    let mut text = format!("process feed {{ run {}; encoder json; }}\n", feed.display());
    if let Some(Receiver { command, .. }) = receiver {
        writeln!(text, "process receiver {{ run {command}; encoder json; }}")?;
    }
    writeln!(
        text,
        "neighbor {remote} {{\n  router-id {router_id}; local-address {local}; local-as {local_as}; peer-as {remote_as}; \
         hold-time {hold_time};"
    )?;
    if session.passive {
        text.push_str("  passive true;\n");
    } else {
        writeln!(text, "  connect {port};")?;
    }
    if let Some(password) = &session.password {
        writeln!(text, "  md5-password '{password}';")?;
    }
    let families: String = session.families.iter().map(|&family| format!("{}; ", name(family))).collect();
    writeln!(text, "  family {{ {families}}}")?;
    text.push_str("  api send { processes [ feed ]; }\n");
    if let Some(Receiver { octets, .. }) = receiver {
        // The receiver may ask for a refresh.
        text.push_str("  capability { route-refresh enable; }\n");
        let more = if octets { "packets; consolidate; " } else { "" };
        writeln!(
            text,
            "  api receive {{ processes [ receiver ]; neighbor-changes; receive {{ parsed; {more}update; notification; }} }}"
        )?;
    }
    writeln!(text, "  flow {{\n{flows}\n  }}\n}}")?;
    Ok(text)
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4 unicast",
        Family::Ipv6Unicast => "ipv6 unicast",
        Family::Ipv4Flow => "ipv4 flow",
        Family::Ipv6Flow => "ipv6 flow",
        Family::Vpn4Flow => "ipv4 flow-vpn",
        Family::Vpn6Flow => "ipv6 flow-vpn",
    }
}
