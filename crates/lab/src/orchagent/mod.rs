//! A stand-in for SONiC's orchagent over a real Redis server, and a machine as the switch that both belong to.
//!
//! **This is not orchagent.** It does what the sources of sonic-swss say of it, as far as ACLs go: takes types, tables and rules from APPL_DB (by the
//! consumer's side of `ProducerStateTable`) and from CONFIG_DB, checks each field, and tells their status in STATE_DB; has objects wait without a
//! word for those that they need; removes and creates anew what is written over; works off batches in the order of older or of newer releases;
//! counts entries and ranges, and tells them late in CRM's tables; crashes and restarts when a test asks for it. What it takes is enforced by
//! the kernel of a network namespace, by priority, in the place of the ASIC. It tells nothing of what an ASIC does to fragments or extension headers:
//! here rules with ports match no later fragment, and the next header of IPv6 is the first one.

mod agent;
mod asic;
mod fields;
mod model;
mod program;
mod redis_server;

pub use agent::Behaviour;
pub use program::run;
pub use redis_server::RedisServer;

use crate::{Netns, PATIENCE, wait_until};
use agent::{Agent, Shared};
use anyhow::{Context, Result};
use redis::Commands;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// The stand-in as a program; built first where it is not there.
///
/// # Errors
/// When it cannot be built.
pub fn stand_in() -> Result<String> {
    Ok(crate::built::built("lab", "fake-orchagent")?.display().to_string())
}

/// A switch with SONiC: a Redis server with the tables that a switch has, and the stand-in for orchagent.
#[derive(Debug)]
pub struct SonicSwitch {
    server: RedisServer,
    shared: Arc<Shared>,
    netns: Option<String>,
    agent: Option<JoinHandle<()>>,
}

impl SonicSwitch {
    /// Starts it. What it takes is enforced in this namespace, if there is one.
    ///
    /// # Errors
    /// When Redis cannot be started.
    pub fn new(netns: Option<&Netns>) -> Result<Self> {
        let server = RedisServer::start()?;
        let mut switch = SonicSwitch {
            server,
            shared: Arc::new(Shared::default()),
            netns: netns.map(|netns| netns.name().to_owned()),
            agent: None,
        };
        switch.configure()?;
        switch.start()?;
        Ok(switch)
    }

    /// The socket of the Redis server.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.server.socket()
    }

    /// A connection to one of the databases.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn database(&self, number: i64) -> Result<redis::Connection> {
        self.server.database(number)
    }

    /// Says how the switch is from now on.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Has the counters in COUNTERS_DB read anew, and waits for it: a switch does that every ten seconds.
    ///
    /// # Errors
    /// When orchagent does not run.
    pub fn poll_counters(&self) -> Result<()> {
        let wanted = self.shared.polls_wanted.fetch_add(1, Ordering::SeqCst) + 1;
        let ended = || self.agent.as_ref().is_none_or(JoinHandle::is_finished);
        let outcome = wait_until("counters", PATIENCE, || match self.shared.polls_done.load(Ordering::SeqCst) {
            done if done >= wanted => Some(true),
            _ => ended().then_some(false),
        });
        anyhow::ensure!(outcome?, "orchagent does not run: {:?}", self.errors());
        Ok(())
    }

    /// The rules that are in force: table and name.
    #[must_use]
    pub fn active(&self) -> Vec<(String, String)> {
        self.shared.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went wrong in the stand-in itself.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Most ACL rules that were in a table at one time.
    #[must_use]
    pub fn most_rules(&self) -> usize {
        self.shared.most_rules.load(Ordering::SeqCst)
    }

    /// How often a rule was written over.
    #[must_use]
    pub fn rewrites(&self) -> usize {
        self.shared.rewrites.load(Ordering::SeqCst)
    }

    /// Orchagent ends in the middle of whatever it does; what it has programmed stays.
    pub fn crash(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(agent) = self.agent.take() {
            // It ends with its next round; a panic of its own is among the errors.
            let _ = agent.join();
        }
    }

    /// Orchagent starts, with what is in the databases.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn start(&mut self) -> Result<()> {
        self.shared.stop.store(false, Ordering::SeqCst);
        let agent = Agent::new(&self.server.socket(), self.netns.clone(), Arc::clone(&self.shared))?;
        let shared = Arc::clone(&self.shared);
        let run = move || {
            if let Err(error) = agent.run() {
                shared.errors.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
            }
        };
        self.agent = Some(std::thread::Builder::new().name("orchagent".to_owned()).spawn(run)?);
        Ok(())
    }

    /// As `systemctl restart swss` does: all databases but CONFIG_DB are emptied, and orchagent starts anew.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn restart(&mut self) -> Result<()> {
        self.crash();
        for number in [0, 1, 2, 5, 6] {
            redis::cmd("FLUSHDB").exec(&mut self.database(number)?)?;
        }
        self.configure_state()?;
        self.start()
    }

    /// Redis ends, with all that was in it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_redis(&mut self) -> Result<()> {
        self.server.stop()?;
        self.crash();
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Redis starts, empty; then the switch's configuration is loaded and orchagent starts.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_redis(&mut self) -> Result<()> {
        self.server.restart()?;
        self.configure()?;
        self.start()
    }

    /// Tables of CONFIG_DB that a switch has, and capabilities in STATE_DB.
    fn configure(&self) -> Result<()> {
        let mut config = self.database(4)?;
        for (key, fields) in [
            ("DEVICE_METADATA|localhost", &[("synchronous_mode", "enable"), ("hostname", "sonic")][..]),
            ("FLEX_COUNTER_TABLE|ACL", &[("FLEX_COUNTER_STATUS", "enable"), ("POLL_INTERVAL", "1000")]),
            ("CRM|Config", &[("polling_interval", "300")]),
            ("PORT|Ethernet0", &[("lanes", "1"), ("speed", "100000"), ("admin_status", "up")]),
            ("PORT|Ethernet4", &[("lanes", "2"), ("speed", "100000"), ("admin_status", "up")]),
            ("PORT|Ethernet8", &[("lanes", "3"), ("speed", "100000"), ("admin_status", "up")]),
            ("PORTCHANNEL|PortChannel1", &[("admin_status", "up")]),
            ("PORTCHANNEL_MEMBER|PortChannel1|Ethernet8", &[("NULL", "NULL")]),
        ] {
            let () = config.hset_multiple(key, fields)?;
        }
        self.configure_state()?;
        config.set("CONFIG_DB_INITIALIZED", "1").context("CONFIG_DB")
    }

    fn configure_state(&self) -> Result<()> {
        let mut state = self.database(6)?;
        let actions = "PACKET_ACTION,COUNTER,REDIRECT_ACTION,MIRROR_INGRESS_ACTION";
        let () = state.hset_multiple(
            "ACL_STAGE_CAPABILITY_TABLE|INGRESS",
            &[("action_list", actions), ("is_action_list_mandatory", "true")],
        )?;
        let () = state.hset("SWITCH_CAPABILITY|switch", "ACL_ACTION|PACKET_ACTION", "DROP,FORWARD,COPY")?;
        Ok(())
    }
}

impl Drop for SonicSwitch {
    fn drop(&mut self) {
        self.crash();
    }
}
