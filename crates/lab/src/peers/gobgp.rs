//! GoBGP 3.

use std::fmt::Write;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Family, PeerDaemon, Session, write};
use crate::{Netns, Process, wait_until};

/// Each daemon has its own port for its command line, so that several fit into one namespace.
static API_PORT: AtomicU16 = AtomicU16::new(50051);

/// A GoBGP daemon with one BGP session.
///
/// A rule is what follows `gobgp global rib add -a FAMILY`: `match destination 192.0.2.1/32
/// protocol udp source-port ==123 then discard`.
///
/// GoBGP waits 5 to 10 s before it connects for the first time; a passive one is connected to at
/// once.
#[derive(Debug)]
pub struct Gobgp<'a> {
    netns: &'a Netns,
    session: Session,
    api_port: u16,
    rules: Vec<(Family, String)>,
    process: Option<Process>,
    directory: tempfile::TempDir,
}

impl<'a> Gobgp<'a> {
    /// Starts GoBGP in the namespace.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start(netns: &'a Netns, session: Session) -> Result<Self> {
        let api_port = API_PORT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir()?;
        let mut gobgp = Self { netns, session, api_port, rules: Vec::new(), process: None, directory };
        gobgp.launch()?;
        Ok(gobgp)
    }

    /// Announces a rule.
    ///
    /// # Errors
    /// When GoBGP does not accept it.
    pub fn announce(&mut self, family: Family, rule: &str) -> Result<()> {
        self.change("add", family, rule)?;
        self.rules.push((family, rule.to_owned()));
        Ok(())
    }

    /// Withdraws a rule, written as it was announced.
    ///
    /// # Errors
    /// When GoBGP does not know it.
    pub fn withdraw(&mut self, family: Family, rule: &str) -> Result<()> {
        self.change("del", family, rule)?;
        self.rules.retain(|(known, text)| (*known, text.as_str()) != (family, rule));
        Ok(())
    }

    /// Runs the program `gobgp` and returns what it prints, for example `["global", "rib", "-a",
    /// "ipv4-flowspec"]`.
    ///
    /// # Errors
    /// What it said when it failed.
    pub fn control(&self, arguments: &[&str]) -> Result<String> {
        let port = self.api_port.to_string();
        let printed = self.netns.exec("gobgp", &[&["-p", &port], arguments].concat())?;
        // It exits with success after some of its errors.
        if printed.starts_with("usage") || printed.contains("rpc error") {
            bail!("gobgp {arguments:?}: {printed}");
        }
        Ok(printed)
    }

    /// Waits until GoBGP says that the session is established.
    ///
    /// # Errors
    /// After the deadline; with what GoBGP says of it.
    pub fn wait_established(&self, deadline: Duration) -> Result<()> {
        let remote = self.session.remote.to_string();
        let mut last = String::new();
        wait_until("GoBGP's session", deadline, || {
            last = self.control(&["neighbor", &remote]).unwrap_or_else(|error| error.to_string());
            last.contains("BGP state = ESTABLISHED").then_some(())
        })
        .map_err(|error| error.context(last))
    }

    fn change(&self, verb: &str, family: Family, rule: &str) -> Result<()> {
        let words: Vec<&str> = rule.split_whitespace().collect();
        self.control(&[&["global", "rib", verb, "-a", cli_name(family)], words.as_slice()].concat()).map(drop)
    }
}

impl PeerDaemon for Gobgp<'_> {
    fn launch(&mut self) -> Result<()> {
        let path = self.directory.path().join("gobgpd.toml");
        write(&path, &configuration(&self.session)?)?;
        let mut command = self.netns.command("gobgpd")?;
        let api = format!("127.0.0.1:{}", self.api_port);
        command.arg("-f").arg(&path).args(["-p", "--pprof-disable", "--api-hosts", &api]);
        let mut process = Process::spawn("gobgpd", command)?;
        let ready = wait_until("GoBGP's command line", Duration::from_secs(10), || {
            if process.check_running().is_err() { Some(()) } else { self.control(&["neighbor"]).ok().map(drop) }
        });
        process.check_running()?;
        ready?;
        self.process = Some(process);
        // It keeps none over a restart.
        self.rules.iter().try_for_each(|(family, rule)| self.change("add", *family, rule))
    }

    fn process_slot(&mut self) -> &mut Option<Process> {
        &mut self.process
    }
}

fn configuration(session: &Session) -> Result<String> {
    let Session { local, local_as, remote, remote_as, port, hold_time, router_id, .. } = session;
    let (own_port, their_port) = if session.passive {
        (format!("{port}"), String::new())
    } else {
        ("-1".to_owned(), format!("remote-port = {port}\n"))
    };
    let password = session.password.as_ref().map(|text| format!("auth-password = \"{text}\"\n")).unwrap_or_default();
    let mut text = format!(
        "[global.config]\nas = {local_as}\nrouter-id = \"{router_id}\"\nport = {own_port}\nlocal-address-list = [\"{local}\"]\n\
         [[neighbors]]\n[neighbors.config]\nneighbor-address = \"{remote}\"\npeer-as = {remote_as}\n{password}\
         [neighbors.transport.config]\nlocal-address = \"{local}\"\npassive-mode = {}\n{their_port}\
         [neighbors.timers.config]\nhold-time = {hold_time}\nkeepalive-interval = {}\nconnect-retry = 1\n\
         idle-hold-time-after-reset = 1\n\
         [neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 5\n",
        session.passive,
        (hold_time / 3).max(1),
    );
    if let Some(seconds) = session.graceful_restart {
        writeln!(text, "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {seconds}")?;
        if session.long_lived.is_some() {
            text.push_str("long-lived-enabled = true\n");
        }
    }
    for family in &session.families {
        writeln!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{}\"",
            configuration_name(*family)
        )?;
        if session.graceful_restart.is_some() {
            text.push_str("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
        }
        if let Some(seconds) = session.long_lived {
            writeln!(
                text,
                "[neighbors.afi-safis.long-lived-graceful-restart.config]\nenabled = true\nrestart-time = {seconds}"
            )?;
        }
    }
    Ok(text)
}

fn configuration_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4-unicast",
        Family::Ipv6Unicast => "ipv6-unicast",
        Family::Ipv4Flow => "ipv4-flowspec",
        Family::Ipv6Flow => "ipv6-flowspec",
        Family::Vpn4Flow => "l3vpn-ipv4-flowspec",
        Family::Vpn6Flow => "l3vpn-ipv6-flowspec",
    }
}

fn cli_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
        Family::Ipv4Flow => "ipv4-flowspec",
        Family::Ipv6Flow => "ipv6-flowspec",
        Family::Vpn4Flow => "ipv4-l3vpn-flowspec",
        Family::Vpn6Flow => "ipv6-l3vpn-flowspec",
    }
}
