//! FRR's bgpd, without the rest of FRR.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Family, PeerDaemon, Session, write};
use crate::{Netns, Process, wait_until};

/// The directory of FRR's daemons in Debian, which is not in PATH.
const PROGRAM: &str = "/usr/lib/frr/bgpd";

/// A bgpd with any number of sessions. It originates no FlowSpec rules of its own but forwards
/// received ones.
#[derive(Debug)]
pub struct Frr<'a> {
    netns: &'a Netns,
    sessions: Vec<Session>,
    process: Option<Process>,
    directory: tempfile::TempDir,
}

impl<'a> Frr<'a> {
    /// The program, for [`require_program`](crate::require_program).
    pub const PROGRAM: &'static str = PROGRAM;

    /// Starts bgpd in the namespace. All sessions share its AS number and router id: those of the
    /// first. Their ports are those of the neighbours; it listens on 179 if one of the sessions is
    /// passive.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(netns: &'a Netns, sessions: &[Session]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut frr = Self { netns, sessions: sessions.to_vec(), process: None, directory };
        frr.launch()?;
        Ok(frr)
    }

    /// Runs a command of `vtysh` and returns the answer, for example `show bgp ipv4 flowspec`.
    ///
    /// # Errors
    /// bgpd does not answer.
    pub fn control(&self, command: &str) -> Result<String> {
        let directory = self.directory.path().display().to_string();
        self.netns.exec("vtysh", &["--vty_socket", &directory, "-d", "bgpd", "-c", command])
    }

    /// Waits until the session to this neighbour is established.
    ///
    /// # Errors
    /// After the timeout; with bgpd's report.
    pub fn wait_established(&self, remote: std::net::IpAddr, deadline: Duration) -> Result<()> {
        let mut last = String::new();
        wait_until("FRR's session", deadline, || {
            last = self.control(&format!("show bgp neighbors {remote}")).unwrap_or_else(|error| error.to_string());
            last.contains("BGP state = Established").then_some(())
        })
        .map_err(|error| error.context(last))
    }
}

impl PeerDaemon for Frr<'_> {
    fn launch(&mut self) -> Result<()> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        write(&self.directory.path().join("frr.conf"), &configuration(&self.sessions)?)?;
        let port = if self.sessions.iter().any(|session| session.passive) { "179" } else { "0" };
        let mut command = self.netns.command(PROGRAM)?;
        // Without zebra, and as root: its own user could not write here.
        command.args(["-f", &path("frr.conf"), "-i", &path("pid"), "-z", &path("zserv")]);
        command.args(["--vty_socket", &self.directory.path().display().to_string()]);
        command.args(["-p", port, "-P", "0", "-n", "-Z", "-S", "--log", "stdout", "--log-level", "info"]);
        let mut process = Process::spawn("bgpd", command)?;
        let ready = wait_until("bgpd's command line", Duration::from_secs(10), || {
            if process.check_running().is_err() { Some(()) } else { self.control("show version").ok().map(drop) }
        });
        process.check_running()?;
        ready?;
        self.process = Some(process);
        Ok(())
    }

    fn process_slot(&mut self) -> &mut Option<Process> {
        &mut self.process
    }
}

fn configuration(sessions: &[Session]) -> Result<String> {
    let Some(first) = sessions.first() else { bail!("FRR needs at least one session") };
    let mut text = format!(
        "hostname frr\nlog stdout informational\nrouter bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n no bgp network import-check\n",
        first.local_as, first.router_id
    );
    for session in sessions {
        let Session { local, remote, remote_as, port, hold_time, .. } = session;
        writeln!(text, " neighbor {remote} remote-as {remote_as}")?;
        if session.local_as != *remote_as {
            writeln!(text, " neighbor {remote} ebgp-multihop 3")?;
        }
        writeln!(text, " neighbor {remote} update-source {local}")?;
        writeln!(text, " neighbor {remote} timers {} {hold_time}", (hold_time / 3).max(1))?;
        writeln!(text, " neighbor {remote} timers connect 1")?;
        writeln!(text, " neighbor {remote} advertisement-interval 0")?;
        if session.passive {
            writeln!(text, " neighbor {remote} passive")?;
        } else {
            writeln!(text, " neighbor {remote} port {port}")?;
        }
        if let Some(password) = &session.password {
            writeln!(text, " neighbor {remote} password {password}")?;
        }
    }
    for (family, name) in FAMILIES {
        writeln!(text, " address-family {name}")?;
        for session in sessions.iter().filter(|session| session.families.contains(&family)) {
            writeln!(text, "  neighbor {} activate", session.remote)?;
        }
        text.push_str(" exit-address-family\n");
    }
    if let Some(family) = sessions
        .iter()
        .flat_map(|session| &session.families)
        .find(|family| !FAMILIES.iter().any(|(known, _)| known == *family))
    {
        bail!("FRR does not offer {family:?}");
    }
    text.push_str("!\n");
    Ok(text)
}

const FAMILIES: [(Family, &str); 4] = [
    (Family::Ipv4Unicast, "ipv4 unicast"),
    (Family::Ipv6Unicast, "ipv6 unicast"),
    (Family::Ipv4Flow, "ipv4 flowspec"),
    (Family::Ipv6Flow, "ipv6 flowspec"),
];
