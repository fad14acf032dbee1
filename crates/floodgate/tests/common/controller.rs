//! A BGP peer that announces rules from loopback: a [`Speaker`] that does what it is told, and
//! nothing again by itself.

use super::wait;
use anyhow::Context;
use bgp::{AfiSafi, PeerAs, PeerConfig};
use daemon::net::Endpoint;
use flowspec::{Family, Rule};
use lab::speaker::SessionChange;
use lab::{Received, Speaker};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Dropping it closes its connection without a NOTIFICATION, as a crash does.
pub(crate) struct Controller(Option<Speaker>);

pub(crate) fn config() -> PeerConfig {
    let mut config = PeerConfig::new(65070, "192.0.2.1".parse().unwrap(), PeerAs::Exactly(65140));
    config.idle_hold = Duration::from_millis(50);
    config.connect_retry = Duration::from_millis(200);
    config
}

impl Controller {
    /// Connects from `source` to the daemon's port.
    pub(crate) fn start(source: &str, port: u16, config: PeerConfig, md5: Option<&str>) -> Self {
        let endpoint = Endpoint {
            remote: SocketAddr::new("127.0.0.1".parse().unwrap(), port),
            source: Some(source.parse().unwrap()),
            md5: md5.map(str::to_owned),
            hops: None,
            interface: None,
        };
        Controller(Some(Speaker::over(Box::new(move || connect(&endpoint)), config).unwrap()))
    }

    /// The same, and waits until the session is up.
    pub(crate) fn connected(source: &str, port: u16) -> Self {
        let controller = Controller::start(source, port, config(), None);
        controller.wait_up();
        controller
    }

    pub(crate) fn wait_up(&self) {
        wait("the session", || self.seen().last().is_some_and(|last| *last == SessionChange::Up).then_some(()));
    }

    /// What its session went through.
    pub(crate) fn seen(&self) -> Vec<SessionChange> {
        self.speaker().status().history
    }

    /// What the daemon advertised in the latest session.
    pub(crate) fn heard(&self) -> Received {
        let received = self.speaker().status().received;
        assert_eq!(received.errors, [""; 0]);
        received
    }

    /// Waits until it has exactly these rules of the daemon, in any order.
    pub(crate) fn wait_heard(&self, rules: &[&str]) {
        let mut wanted: Vec<String> = parse(rules).iter().map(ToString::to_string).collect();
        wanted.sort();
        wait(&format!("the advertisement of {rules:?}"), || {
            let mut heard = self.heard().rules();
            heard.sort();
            (heard == wanted).then_some(())
        });
    }

    pub(crate) fn ask_for_refresh(&self) {
        self.speaker().ask_refresh(AfiSafi::Flow(Family::Ipv4));
    }

    pub(crate) fn announce(&self, rules: &[&str]) {
        self.announce_rules(parse(rules));
    }

    pub(crate) fn announce_rules(&self, rules: Vec<Rule>) {
        self.speaker().announce(rules);
    }

    pub(crate) fn withdraw(&self, rules: &[&str]) {
        self.speaker().withdraw(parse(rules).into_iter().map(|rule| rule.nlri));
    }

    pub(crate) fn end_of_rib(&self) {
        self.speaker().end_of_rib();
    }

    /// Loses the connection, and ends.
    pub(crate) fn vanish(self) {
        // Dropping does it.
    }

    fn speaker(&self) -> &Speaker {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.0.take().unwrap().vanish();
    }
}

fn parse(rules: &[&str]) -> Vec<Rule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

fn connect(endpoint: &Endpoint) -> anyhow::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connected = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(500), endpoint.connect()).await.context("no connection")
    });
    Ok(connected??.into_std()?)
}
