//! BIRD 2.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Family, PeerDaemon, Session, write};
use crate::{Netns, Process, wait_until};

/// A BIRD daemon with one BGP session.
///
/// A rule is the text of a static route: `flow4 { dst 192.0.2.1/32; proto = 17; sport = 123; } {
/// bgp_ext_community.add((generic, 0x80060000, 0x0)); }`, the second block being the filter that
/// adds the action. A unicast route is `192.0.2.0/24 blackhole`. VPN families are not offered by
/// this launcher.
#[derive(Debug)]
pub struct Bird<'a> {
    netns: &'a Netns,
    session: Session,
    routes: Vec<String>,
    process: Option<Process>,
    directory: tempfile::TempDir,
}

impl<'a> Bird<'a> {
    /// Starts BIRD in the namespace, announcing these rules from the start.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(netns: &'a Netns, session: Session, rules: &[&str]) -> Result<Self> {
        let routes = rules.iter().map(|&rule| rule.to_owned()).collect();
        let mut bird = Self { netns, session, routes, process: None, directory: tempfile::tempdir()? };
        bird.launch()?;
        Ok(bird)
    }

    /// Announces a rule.
    ///
    /// # Errors
    /// BIRD rejects it.
    pub fn announce(&mut self, rule: &str) -> Result<()> {
        self.routes.push(rule.to_owned());
        self.reconfigure()
    }

    /// Announces many rules by one change of its configuration.
    ///
    /// # Errors
    /// BIRD rejects one of them.
    pub fn announce_all(&mut self, rules: impl IntoIterator<Item = String>) -> Result<()> {
        self.routes.extend(rules);
        self.reconfigure()
    }

    /// Withdraws a rule, written as in its announcement.
    ///
    /// # Errors
    /// It was not announced.
    pub fn withdraw(&mut self, rule: &str) -> Result<()> {
        let Some(index) = self.routes.iter().position(|route| route == rule) else {
            bail!("BIRD does not announce {rule}")
        };
        self.routes.remove(index);
        self.reconfigure()
    }

    /// Withdraws everything at once.
    ///
    /// # Errors
    /// BIRD does not answer.
    pub fn withdraw_all(&mut self) -> Result<()> {
        self.routes.clear();
        self.reconfigure()
    }

    /// Runs a command of `birdc` and returns the answer, for example `show route table f4`: the
    /// tables are `f4`, `f6`, `master4`, `master6`, the session is called `fg`.
    ///
    /// # Errors
    /// BIRD does not answer.
    pub fn control(&self, command: &str) -> Result<String> {
        let socket = self.path("control");
        self.netns.exec("birdc", &["-s", &socket, command])
    }

    /// Waits until BIRD reports that the session is established.
    ///
    /// # Errors
    /// After the timeout; with BIRD's report.
    pub fn wait_established(&self, deadline: Duration) -> Result<()> {
        let mut last = String::new();
        wait_until("BIRD's session", deadline, || {
            last = self.control("show protocols fg").unwrap_or_else(|error| error.to_string());
            last.contains("Established").then_some(())
        })
        .map_err(|error| error.context(last))
    }

    fn reconfigure(&self) -> Result<()> {
        self.write_configuration()?;
        let answer = self.control("configure")?;
        if !answer.contains("Reconfigured") && !answer.contains("Reconfiguration in progress") {
            bail!("BIRD refused the configuration: {answer}");
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write_configuration(&self) -> Result<String> {
        let path = self.directory.path().join("bird.conf");
        write(&path, &configuration(&self.session, &self.routes)?)?;
        Ok(path.display().to_string())
    }
}

impl PeerDaemon for Bird<'_> {
    fn launch(&mut self) -> Result<()> {
        let configuration = self.write_configuration()?;
        let mut command = self.netns.command("bird")?;
        command.args(["-f", "-c", &configuration, "-s", &self.path("control"), "-P", &self.path("pid")]);
        let mut process = Process::spawn("bird", command)?;
        process.wait_for_line("Started", Duration::from_secs(10))?;
        self.process = Some(process);
        Ok(())
    }

    fn process_slot(&mut self) -> &mut Option<Process> {
        &mut self.process
    }
}

/// The channels of BIRD: keyword, table, and how its routes begin.
const CHANNELS: [(Family, &str, &str); 4] = [
    (Family::Ipv4Flow, "flow4", "f4"),
    (Family::Ipv6Flow, "flow6", "f6"),
    (Family::Ipv4Unicast, "ipv4", "master4"),
    (Family::Ipv6Unicast, "ipv6", "master6"),
];

fn configuration(session: &Session, routes: &[String]) -> Result<String> {
    let mut text = format!(
        "log stderr all;\nrouter id {};\nflow4 table f4;\nflow6 table f6;\nprotocol device {{}}\n",
        session.router_id
    );
    for (_, channel, table) in CHANNELS {
        writeln!(text, "protocol static s_{table} {{ {channel} {{ table {table}; }};")?;
        for route in routes.iter().filter(|route| channel_of(route) == channel) {
            writeln!(text, " route {route};")?;
        }
        text.push_str("}\n");
    }
    let Session { local, local_as, remote, remote_as, port, hold_time, .. } = session;
    let (own_port, their_port) = if session.passive {
        (format!(" port {port}"), String::new())
    } else {
        (String::new(), format!(" port {port}"))
    };
    writeln!(
        text,
        "protocol bgp fg {{ local {local}{own_port} as {local_as}; neighbor {remote}{their_port} as {remote_as}; multihop; \
         source address {local}; strict bind yes; hold time {hold_time}; connect delay time 1; connect retry time 1; \
         error wait time 1, 2; error forget time 1;"
    )?;
    if session.passive {
        text.push_str(" passive yes;\n");
    }
    if let Some(seconds) = session.graceful_restart {
        writeln!(text, " graceful restart on; graceful restart time {seconds};")?;
    }
    if let Some(seconds) = session.long_lived {
        writeln!(text, " long lived graceful restart on; long lived stale time {seconds};")?;
    }
    if let Some(password) = &session.password {
        writeln!(text, " password \"{password}\";")?;
    }
    for family in &session.families {
        let Some((_, channel, table)) = CHANNELS.iter().find(|(known, ..)| known == family) else {
            bail!("the BIRD launcher does not offer {family:?}")
        };
        writeln!(text, " {channel} {{ table {table}; import all; export all; }};")?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn channel_of(route: &str) -> &'static str {
    match route {
        _ if route.starts_with("flow4") => "flow4",
        _ if route.starts_with("flow6") => "flow6",
        _ if route.split('/').next().is_some_and(|address| address.contains(':')) => "ipv6",
        _ => "ipv4",
    }
}
