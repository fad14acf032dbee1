//! Route reflectors: BIRD, GoBGP or FRR with any number of clients, for rules of both families.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;

use super::write;
use crate::{Netns, Process, wait_until};

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReflectorProgram {
    /// BIRD 2.
    Bird,
    /// GoBGP 3.
    Gobgp,
    /// FRR's bgpd.
    Frr,
}

/// A running reflector. It waits for its clients on port 179 of its address, which is also its
/// identifier. Dropping it ends it.
#[derive(Debug)]
pub struct Reflector<'a> {
    netns: &'a Netns,
    program: ReflectorProgram,
    process: Process,
    directory: tempfile::TempDir,
}

/// Seconds for which it keeps the rules of a client that restarts (BIRD and GoBGP).
const RESTART_TIME: u16 = 120;

impl<'a> Reflector<'a> {
    /// Starts it in the namespace.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(
        netns: &'a Netns,
        program: ReflectorProgram,
        asn: u32,
        address: Ipv4Addr,
        clients: &[Ipv4Addr],
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let text = match program {
            ReflectorProgram::Bird => bird(asn, address, clients)?,
            ReflectorProgram::Gobgp => gobgp(asn, address, clients)?,
            ReflectorProgram::Frr => frr(asn, address, clients)?,
        };
        write(&directory.path().join("conf"), &text)?;
        let mut command;
        let name = match program {
            ReflectorProgram::Bird => {
                command = netns.command("bird")?;
                command.args(["-f", "-c", &path("conf"), "-s", &path("control"), "-P", &path("pid")]);
                "bird"
            }
            ReflectorProgram::Gobgp => {
                command = netns.command("gobgpd")?;
                command.args(["-t", "toml", "-f", &path("conf"), "-p", "--pprof-disable"]);
                command.args(["--api-hosts", "127.0.0.1:50051"]);
                "gobgpd"
            }
            ReflectorProgram::Frr => {
                command = netns.command(super::Frr::PROGRAM)?;
                command.args(["-f", &path("conf"), "-i", &path("pid"), "-z", &path("zserv")]);
                command.args(["--vty_socket", &directory.path().display().to_string()]);
                command.args(["-p", "179", "-P", "0", "-n", "-Z", "-S", "--log", "stdout", "--log-level", "info"]);
                "bgpd"
            }
        };
        let process = Process::spawn(name, command)?;
        let mut reflector = Self { netns, program, process, directory };
        let answers = wait_until("the reflector's command line", Duration::from_secs(20), || {
            if reflector.process.check_running().is_err() { Some(()) } else { reflector.rules().ok().map(drop) }
        });
        reflector.process.check_running()?;
        answers?;
        Ok(reflector)
    }

    /// Its IPv4 rules, as it prints them.
    ///
    /// # Errors
    /// It does not answer.
    pub fn rules(&self) -> Result<String> {
        match self.program {
            ReflectorProgram::Bird => self.control(&["show route table f4"]),
            ReflectorProgram::Gobgp => self.control(&["global", "rib", "-a", "ipv4-flowspec"]),
            ReflectorProgram::Frr => self.control(&["show bgp ipv4 flowspec detail"]),
        }
    }

    /// Asks a client for its routes again (ROUTE-REFRESH).
    ///
    /// # Errors
    /// It does not answer.
    pub fn refresh(&self, client: Ipv4Addr) -> Result<()> {
        match self.program {
            ReflectorProgram::Bird => self.control(&[&format!("reload in {}", protocol(client))]),
            ReflectorProgram::Gobgp => self.control(&["neighbor", &client.to_string(), "softresetin"]),
            ReflectorProgram::Frr => self.control(&[&format!("clear bgp ipv4 flowspec {client} soft in")]),
        }
        .map(drop)
    }

    /// Runs a command of its command line: the words of `gobgp`, or the one argument of `birdc` or
    /// `vtysh`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn control(&self, arguments: &[&str]) -> Result<String> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        match self.program {
            ReflectorProgram::Bird => self.netns.exec("birdc", &[&["-s", &path("control")], arguments].concat()),
            ReflectorProgram::Gobgp => self.netns.exec("gobgp", arguments),
            ReflectorProgram::Frr => {
                let directory = self.directory.path().display().to_string();
                self.netns.exec("vtysh", &[&["--vty_socket", &directory, "-d", "bgpd", "-c"], arguments].concat())
            }
        }
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// BIRD's name of the session with a client.
fn protocol(client: Ipv4Addr) -> String {
    format!("c{}", client.octets()[3])
}

fn bird(asn: u32, address: Ipv4Addr, clients: &[Ipv4Addr]) -> Result<String> {
    let mut text =
        format!("log stderr all;\nrouter id {address};\nflow4 table f4;\nflow6 table f6;\nprotocol device {{}}\n");
    for client in clients {
        writeln!(
            text,
            "protocol bgp {} {{ local {address} as {asn}; neighbor {client} as {asn}; rr client; passive yes; \
             graceful restart on; graceful restart time {RESTART_TIME}; error wait time 1, 2; error forget time 1;\n \
             flow4 {{ table f4; import all; export all; }};\n flow6 {{ table f6; import all; export all; }};\n}}",
            protocol(*client)
        )?;
    }
    Ok(text)
}

fn gobgp(asn: u32, address: Ipv4Addr, clients: &[Ipv4Addr]) -> Result<String> {
    let mut text = format!(
        "[global.config]\nas = {asn}\nrouter-id = \"{address}\"\nport = 179\nlocal-address-list = [\"{address}\"]\n"
    );
    for client in clients {
        write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{client}\"\npeer-as = {asn}\n\
             [neighbors.transport.config]\nlocal-address = \"{address}\"\npassive-mode = true\n\
             [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n\
             [neighbors.route-reflector.config]\nroute-reflector-client = true\n\
             route-reflector-cluster-id = \"{address}\"\n\
             [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {RESTART_TIME}\n"
        )?;
        for family in ["ipv4-flowspec", "ipv6-flowspec"] {
            write!(
                text,
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
                 [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
            )?;
        }
    }
    Ok(text)
}

fn frr(asn: u32, address: Ipv4Addr, clients: &[Ipv4Addr]) -> Result<String> {
    let mut text = format!(
        "hostname frr\nlog stdout informational\nrouter bgp {asn}\n bgp router-id {address}\n \
         no bgp default ipv4-unicast\n no bgp network import-check\n"
    );
    for client in clients {
        writeln!(text, " neighbor {client} remote-as {asn}\n neighbor {client} update-source {address}")?;
        writeln!(text, " neighbor {client} passive\n neighbor {client} advertisement-interval 0")?;
    }
    for family in ["ipv4 flowspec", "ipv6 flowspec"] {
        writeln!(text, " address-family {family}")?;
        for client in clients {
            writeln!(text, "  neighbor {client} activate\n  neighbor {client} route-reflector-client")?;
        }
        text.push_str(" exit-address-family\n");
    }
    text.push_str("!\n");
    Ok(text)
}
