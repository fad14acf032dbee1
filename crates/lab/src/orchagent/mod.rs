//! An emulation of SONiC's orchagent with a real Redis server, and a machine as their switch.
//!
//! **This is not orchagent.** It does what the sources of sonic-swss do, as far as ACLs are
//! concerned: reads types, tables and rules from APPL_DB (as the consumer of `ProducerStateTable`)
//! and from CONFIG_DB, checks each field, and publishes their status in STATE_DB; objects wait
//! without a status for those that they need; objects that are written over are removed and created
//! anew; batches are processed in the order of older or of newer releases; entries and ranges are
//! counted, and published late in CRM's tables; it crashes and restarts when a test requests it.
//! Accepted rules are enforced by the kernel of a network namespace, by priority, instead of an
//! ASIC. It does not show what an ASIC does to fragments or extension headers: here rules with
//! ports match no later fragment, and the next header of IPv6 is the first one.

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

/// Path of the emulator; builds it first if it does not exist.
///
/// # Errors
/// It cannot be built.
pub fn stand_in() -> Result<String> {
    Ok(crate::built::built("lab", "fake-orchagent")?.display().to_string())
}

/// A SONiC switch: a Redis server with the tables of a switch, and the emulator of orchagent.
#[derive(Debug)]
pub struct SonicSwitch {
    server: RedisServer,
    shared: Arc<Shared>,
    netns: Option<String>,
    agent: Option<JoinHandle<()>>,
}

impl SonicSwitch {
    /// Starts it. Accepted rules are enforced in this namespace, if there is one.
    ///
    /// # Errors
    /// Redis cannot be started.
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

    /// Has Redis listen on a TCP port of 127.0.0.1, too: on this one, or on any. A restart of Redis
    /// ends that.
    ///
    /// # Errors
    /// The port is in use.
    pub fn listen(&self, port: Option<u16>) -> Result<u16> {
        self.server.listen(port)
    }

    /// A connection to one of the databases.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn database(&self, number: i64) -> Result<redis::Connection> {
        self.server.database(number)
    }

    /// Changes the settings of the switch.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes orchagent update COUNTERS_DB, and waits for it: a switch does that every ten seconds.
    ///
    /// # Errors
    /// Orchagent does not run.
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

    /// Errors of the emulator itself.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most ACL rules that were in a table at one time.
    #[must_use]
    pub fn most_rules(&self) -> usize {
        self.shared.most_rules.load(Ordering::SeqCst)
    }

    /// How often a rule was written over.
    #[must_use]
    pub fn rewrites(&self) -> usize {
        self.shared.rewrites.load(Ordering::SeqCst)
    }

    /// Crashes orchagent at any point; what it has programmed stays.
    pub fn crash(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(agent) = self.agent.take() {
            // It ends with its next round; a panic in it is among the errors.
            let _ = agent.join();
        }
    }

    /// Starts orchagent, with the current contents of the databases.
    ///
    /// # Errors
    /// Redis does not answer.
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

    /// As `systemctl restart swss`: all databases but CONFIG_DB are flushed, and orchagent is
    /// started.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn restart(&mut self) -> Result<()> {
        self.crash();
        for number in [0, 1, 2, 5, 6] {
            redis::cmd("FLUSHDB").exec(&mut self.database(number)?)?;
        }
        self.configure_state()?;
        self.start()
    }

    /// Stops Redis, and deletes its contents.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_redis(&mut self) -> Result<()> {
        self.server.stop()?;
        self.crash();
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Starts Redis, empty; then loads the switch's configuration and starts orchagent.
    ///
    /// # Errors
    /// It does not start.
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
