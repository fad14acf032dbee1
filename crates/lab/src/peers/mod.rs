//! Other programs that speak BGP, started as neighbours of the program under test.
//!
//! Each of [`Bird`], [`Gobgp`], [`Exabgp`] and [`Frr`] writes its configuration into a directory of
//! its own, runs the real program in a namespace and connects to the program under test. Rules are
//! announced in the program's own language: what one program writes and another reads is what these
//! tests are about.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod reflector;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result};

use crate::Process;

pub use bird::Bird;
pub use exabgp::{Exabgp, Receiver, Version};
pub use frr::Frr;
pub use gobgp::Gobgp;
pub use reflector::{Reflector, ReflectorProgram};

/// A daemon that can be stopped and started again.
pub trait PeerDaemon {
    /// Starts it, with the configuration and the rules that it had.
    ///
    /// # Errors
    /// It does not start; with its log.
    fn launch(&mut self) -> Result<()>;

    /// Where its process is, while it runs.
    fn process_slot(&mut self) -> &mut Option<Process>;

    /// Stops it as an operator would, and with it its sessions.
    ///
    /// # Errors
    /// It had to be killed.
    fn stop(&mut self) -> Result<()> {
        self.process_slot().take().map_or(Ok(()), |mut process| process.stop().map(drop))
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// The kernel refuses.
    fn kill(&mut self) -> Result<()> {
        self.process_slot().take().map_or(Ok(()), |mut process| process.kill().map(drop))
    }

    /// Stops it if it runs, and starts it again.
    ///
    /// # Errors
    /// It does not start.
    fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// The running program, while it is not stopped.
    fn process(&mut self) -> Option<&mut Process> {
        self.process_slot().as_mut()
    }
}

/// A BGP session as the peer sees it: `local` is the peer, `remote` the program under test.
#[derive(Clone, Debug)]
pub struct Session {
    /// The peer's address; it must be one of its namespace.
    pub local: IpAddr,
    /// The peer's AS number.
    pub local_as: u32,
    /// The address it connects to.
    pub remote: IpAddr,
    /// The AS number it expects there.
    pub remote_as: u32,
    /// The TCP port it connects to, or listens on when it is passive.
    pub port: u16,
    /// Waits to be connected to.
    pub passive: bool,
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The address families it offers.
    pub families: Vec<Family>,
    /// Seconds of silence after which it gives up; at least 3.
    pub hold_time: u16,
    /// The TCP-MD5 password, if any.
    pub password: Option<String>,
    /// Offers graceful restart with this many seconds (BIRD and GoBGP).
    pub graceful_restart: Option<u16>,
    /// Offers long-lived graceful restart with this many seconds, beside graceful restart (BIRD and
    /// GoBGP).
    pub long_lived: Option<u32>,
}

impl Session {
    /// A session to `remote` on port 179, active, for FlowSpec of both families, with a hold time
    /// of 90 s and the local address as identifier (`10.0.0.1` when that is IPv6).
    #[must_use]
    pub fn new(local: IpAddr, local_as: u32, remote: IpAddr, remote_as: u32) -> Self {
        let router_id = match local {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::new(10, 0, 0, 1),
        };
        Self {
            local,
            local_as,
            remote,
            remote_as,
            port: 179,
            passive: false,
            router_id,
            families: vec![Family::Ipv4Flow, Family::Ipv6Flow],
            hold_time: 90,
            password: None,
            graceful_restart: None,
            long_lived: None,
        }
    }

    /// The same with these families.
    #[must_use]
    pub fn families(mut self, families: &[Family]) -> Self {
        self.families = families.to_vec();
        self
    }

    /// The same on another TCP port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The same, but the peer waits to be connected to.
    #[must_use]
    pub fn passive(mut self) -> Self {
        self.passive = true;
        self
    }

    /// The same with a TCP-MD5 password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The same with graceful restart, of which the other side keeps the rules for so many seconds.
    #[must_use]
    pub fn graceful_restart(mut self, seconds: u16) -> Self {
        self.graceful_restart = Some(seconds);
        self
    }

    /// The same with long-lived graceful restart: the other side keeps the rules for so many
    /// seconds behind those of graceful restart.
    #[must_use]
    pub fn long_lived(mut self, seconds: u32) -> Self {
        self.long_lived = Some(seconds);
        self
    }

    /// The same with another hold time, in seconds.
    #[must_use]
    pub fn hold_time(mut self, seconds: u16) -> Self {
        self.hold_time = seconds;
        self
    }
}

/// An address family of BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
    /// AFI 1, SAFI 133.
    Ipv4Flow,
    /// AFI 2, SAFI 133.
    Ipv6Flow,
    /// AFI 1, SAFI 134.
    Vpn4Flow,
    /// AFI 2, SAFI 134.
    Vpn6Flow,
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
