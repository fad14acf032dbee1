//! The back end for SONiC with the stand-in for orchagent.

use super::bench::{Bench, Change, Damage, NearlyFull};
use anyhow::{Context, Result};
use dataplane::sonic::{self, Address, Settings};
use dataplane::{Applied, Condition, Counter, Dataplane, DataplaneError, Health, Usage};
use engine::capability::Capabilities;
use engine::plan::{Plan, Ruleset};
use flowspec::{Nlri, RuleId};
use lab::orchagent::SonicSwitch;
use lab::{PATIENCE, Site, wait_until};
use redis::Commands;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Sonic {
    site: Site,
    switch: Arc<Mutex<SonicSwitch>>,
}

impl Sonic {
    fn switch(&self) -> MutexGuard<'_, SonicSwitch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        Settings {
            redis: Address::Unix(self.switch().socket()),
            timeout: Duration::from_secs(5),
            ..Settings::default()
        }
    }

    fn plane(&self, settings: Settings) -> Box<dyn Dataplane> {
        Box::new(Counting { plane: sonic::Sonic::new(settings), switch: Arc::clone(&self.switch) })
    }

    /// One of our rules in the database, if there is one.
    fn some_rule(&self) -> Result<String> {
        let keys: Vec<String> = self.switch().database(0)?.keys("ACL_RULE_TABLE:FLOODGATE_V4_1:*")?;
        let key = keys.into_iter().min().context("no rule in APPL_DB")?;
        Ok(key.trim_start_matches("ACL_RULE_TABLE:").to_owned())
    }

    /// Somebody else writes or deletes an object as a producer, and orchagent takes it.
    fn produce(&self, table: &str, name: &str, fields: &[(&str, &str)]) -> Result<()> {
        let mut appl = self.switch().database(0)?;
        let mut pipe = redis::pipe();
        pipe.atomic().sadd(format!("{table}_KEY_SET"), name).ignore();
        match fields {
            [] => pipe.sadd(format!("{table}_DEL_SET"), name).ignore().del(format!("_{table}:{name}")).ignore(),
            fields => pipe.hset_multiple(format!("_{table}:{name}"), fields).ignore(),
        };
        let () = pipe.publish(format!("{table}_CHANNEL@0"), "G").ignore().query(&mut appl)?;
        wait_until("orchagent to take it", PATIENCE, || {
            let waits: bool = appl.sismember(format!("{table}_KEY_SET"), name).ok()?;
            (!waits).then_some(())
        })?;
        // By the end of a round all of it has been told.
        self.switch().poll_counters()
    }
}

impl Bench for Sonic {
    const NAME: &'static str = "sonic";
    const KNOWS_EARLIER_RUNS: bool = true;
    const DAMAGE: &'static [Damage<Self>] = &[
        ("a rule is deleted", |bench| bench.produce("ACL_RULE_TABLE", &bench.some_rule()?, &[])),
        ("a rule is changed", |bench| {
            bench.produce(
                "ACL_RULE_TABLE",
                &bench.some_rule()?,
                &[("PACKET_ACTION", "DROP"), ("DST_IP", "192.0.2.9/32")],
            )
        }),
        ("a table is deleted", |bench| bench.produce("ACL_TABLE_TABLE", "FLOODGATE_V6_1", &[])),
        ("swss restarts", |bench| bench.switch().restart()),
        ("redis restarts", |bench| {
            bench.switch().stop_redis()?;
            bench.switch().start_redis()
        }),
    ];

    fn new() -> Result<Option<Self>> {
        let programs = ["ip", "nft", "redis-server"];
        if !lab::require_root() || !programs.iter().all(|program| lab::require_program(program)) {
            return Ok(None);
        }
        let site = Site::new()?;
        let switch = SonicSwitch::new(Some(&site.switch))?;
        Ok(Some(Sonic { site, switch: Arc::new(Mutex::new(switch)) }))
    }

    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(self.plane(self.settings()))
    }

    fn refused_rule(&self) -> Result<Option<&'static str>> {
        self.switch().set(|behaviour| behaviour.refused = vec!["L4_SRC_PORT=54 PACKET_ACTION=FORWARD".to_owned()]);
        Ok(Some("dst 192.0.2.1/32 proto udp sport 54 then accept"))
    }

    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        let entries = 10;
        let filler = |n: u64| format!("dst 192.0.2.1/32 proto udp sport {} then discard", 1000 + n);
        Ok(Some(NearlyFull {
            plane: self.plane(Settings { max_entries: Some(entries), dscp: true, ..self.settings() }),
            fillers: (0..entries - 2).map(filler).collect(),
            exemption: "dst 192.0.2.1/32 proto udp sport 60000 dscp 0,8,16 then accept",
        }))
    }

    fn set_failing(&self, failing: bool) -> Result<Option<Change>> {
        self.switch().set(|behaviour| behaviour.paused = failing);
        Ok(Some(Change::Update))
    }

    fn of_others(&self) -> Result<String> {
        let switch = self.switch();
        let mut config = switch.database(4)?;
        let () = config
            .hset_multiple("ACL_TABLE|OTHERS", &[("type", "L3"), ("stage", "ingress"), ("ports@", "Ethernet0")])?;
        let () = config.hset_multiple("ACL_RULE|OTHERS|RULE_1", &[("PRIORITY", "9999"), ("PACKET_ACTION", "DROP")])?;
        let mut all = BTreeMap::new();
        for number in [0, 4] {
            let mut database = switch.database(number)?;
            let keys: Vec<String> = database.keys("*")?;
            for key in keys.into_iter().filter(|key| key != "CONFIG_DB_INITIALIZED" && !key.contains("FLOODGATE")) {
                let fields: BTreeMap<String, String> = database.hgetall(&key)?;
                all.insert((number, key), fields);
            }
        }
        Ok(format!("{all:?}"))
    }
}

/// The back end on a switch that reads its counters whenever they matter, and not every ten
/// seconds.
struct Counting {
    plane: sonic::Sonic,
    switch: Arc<Mutex<SonicSwitch>>,
}

impl Counting {
    fn count(&self) {
        let switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        switch.poll_counters().unwrap_or_else(|error| panic!("{error:#}: {:?}", switch.errors()));
    }
}

impl Dataplane for Counting {
    fn name(&self) -> &'static str {
        self.plane.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.plane.capabilities()
    }

    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        self.plane.leftovers()
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        self.count();
        self.plane.replace(rules)
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        self.count();
        self.plane.update(plan)
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        self.plane.health()
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        self.count();
        self.plane.counters()
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        self.plane.usage()
    }

    fn condition(&mut self) -> Condition {
        self.plane.condition()
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        self.plane.clear()
    }
}
