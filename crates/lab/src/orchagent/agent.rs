//! Orchagent's loop: reads what was written to the databases, decides, and publishes the result.

use super::asic::Asic;
use super::fields::{Fields, Validity, validity};
use super::model::{Model, Rule, RuleName, Table, TableType};
use super::redis_server::connect;
use anyhow::{Context, Result};
use redis::{Commands, Connection};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The settings of the switch; a test may change them at any time.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How long the ASIC takes for a rule.
    pub delay: Duration,
    /// Maximum number of entries of each table.
    pub capacity: usize,
    /// Maximum number of tables.
    pub tables: usize,
    /// Maximum number of distinct port ranges.
    pub ranges: usize,
    /// A rule without room is parked (Pending creation), as from 2026-05-07 on; earlier versions
    /// retry it again and again without a status.
    pub parks: bool,
    /// Batches are sorted: deletions first, by rising priority, then the others by falling
    /// priority, as from 2026-07-09 on.
    pub sorts: bool,
    /// Pieces of `FIELD=VALUE` of rules that the ASIC refuses.
    pub refused: Vec<String>,
    /// Pieces of `FIELD=VALUE` of rules that never get a status.
    pub silent: Vec<String>,
    /// Nothing is read from the databases.
    pub paused: bool,
    /// It crashes after this many more rules.
    pub crash_after: Option<usize>,
    /// How often CRM's tables are written.
    pub crm_interval: Duration,
    /// How often counters are read.
    pub counter_interval: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            delay: Duration::ZERO,
            capacity: 1000,
            tables: 3,
            ranges: 16,
            parks: true,
            sorts: true,
            refused: Vec::new(),
            silent: Vec::new(),
            paused: false,
            crash_after: None,
            crm_interval: Duration::from_secs(300),
            counter_interval: Duration::from_secs(1),
        }
    }
}

/// State shared by a test and the emulator.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) behaviour: Mutex<Behaviour>,
    pub(super) stop: AtomicBool,
    pub(super) polls_wanted: AtomicUsize,
    pub(super) polls_done: AtomicUsize,
    pub(super) most_rules: AtomicUsize,
    pub(super) rewrites: AtomicUsize,
    pub(super) active: Mutex<Vec<RuleName>>,
    pub(super) errors: Mutex<Vec<String>>,
}

/// Reads what a producer has written, as `ConsumerStateTable` does: a deletion that was overtaken
/// by a new value is a new value.
const TAKE: &str = "
local keys = redis.call('SPOP', KEYS[1], 1024)
local taken = {}
for _, key in ipairs(keys) do
  local name = ARGV[1] .. ':' .. key
  if redis.call('SREM', KEYS[2], key) == 1 then redis.call('DEL', name) end
  local values = redis.call('HGETALL', '_' .. name)
  for at = 1, #values, 2 do redis.call('HSET', name, values[at], values[at + 1]) end
  redis.call('DEL', '_' .. name)
  taken[#taken + 1] = {key, values}
end
return taken";

/// How often results are published while the ASIC takes its time.
const FLUSH: Duration = Duration::from_millis(5);

/// An event for an object: its fields, or none for its deletion.
type Event = (String, Fields);

/// Orchagent.
pub(super) struct Agent {
    shared: Arc<Shared>,
    behaviour: Behaviour,
    appl: Connection,
    asic_db: Connection,
    counters_db: Connection,
    config: Connection,
    state: Connection,
    model: Model,
    /// The contents of CONFIG_DB at the last reading.
    known: BTreeMap<String, Fields>,
    asic: Option<Asic>,
    /// What is published once the ASIC has it: the key in STATE_DB, and the status; none for a
    /// removal.
    told: Vec<(String, Option<&'static str>)>,
    changed: bool,
    /// Counters to create, with their table, and to remove: the rule, the counter, the table.
    counters: Vec<(String, String, Option<String>)>,
    asic_pipe: redis::Pipeline,
    flushed: Instant,
    /// Remaining events of a round.
    left: Vec<Event>,
    counted: Instant,
    monitored: Option<Instant>,
    crashed: bool,
}

impl Agent {
    pub(super) fn new(socket: &Path, netns: Option<String>, shared: Arc<Shared>) -> Result<Self> {
        let mut agent = Agent {
            behaviour: Behaviour::default(),
            appl: connect(socket, 0)?,
            asic_db: connect(socket, 1)?,
            counters_db: connect(socket, 2)?,
            config: connect(socket, 4)?,
            state: connect(socket, 6)?,
            model: Model::default(),
            known: BTreeMap::new(),
            asic: netns.map(Asic::new).transpose()?,
            told: Vec::new(),
            changed: true,
            counters: Vec::new(),
            asic_pipe: redis::pipe(),
            flushed: Instant::now(),
            left: Vec::new(),
            counted: Instant::now(),
            monitored: None,
            crashed: false,
            shared,
        };
        agent.shared.active.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for pattern in ["ACL_TABLE_TABLE|*", "ACL_RULE_TABLE|*"] {
            let keys: Vec<String> = agent.state.keys(pattern)?;
            for key in keys {
                let () = agent.state.del(key)?;
            }
        }
        Ok(agent)
    }

    pub(super) fn run(mut self) -> Result<()> {
        while !self.shared.stop.load(Ordering::SeqCst) && !self.crashed {
            self.behaviour = self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let busy = !self.behaviour.paused && self.round()?;
            self.tell()?;
            self.count()?;
            self.monitor()?;
            if !busy {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Reads pending events; returns whether there were any.
    fn round(&mut self) -> Result<bool> {
        let mut configured = self.take_config()?;
        let mut busy = false;
        for (of_config, table) in [
            ("ACL_TABLE_TYPE", "ACL_TABLE_TYPE_TABLE"),
            ("ACL_TABLE", "ACL_TABLE_TABLE"),
            ("ACL_RULE", "ACL_RULE_TABLE"),
        ] {
            let mut events = self.take(table)?;
            events.extend(configured.remove(of_config).unwrap_or_default());
            busy |= !events.is_empty();
            match of_config {
                "ACL_TABLE_TYPE" => events.into_iter().for_each(|event| self.on_type(event)),
                "ACL_TABLE" => events.into_iter().for_each(|event| self.on_table(event)),
                _ => {
                    let mut all = std::mem::take(&mut self.left);
                    all.extend(events);
                    self.on_rules(all)?;
                }
            }
        }
        self.retry()?;
        Ok(busy)
    }

    fn take(&mut self, table: &str) -> Result<Vec<Event>> {
        let taken: Vec<(String, Vec<String>)> = redis::cmd("EVAL")
            .arg(TAKE)
            .arg(2)
            .arg(format!("{table}_KEY_SET"))
            .arg(format!("{table}_DEL_SET"))
            .arg(table)
            .query(&mut self.appl)?;
        let fields = |values: Vec<String>| {
            values.chunks_exact(2).map(|pair| (pair[0].to_uppercase(), pair[1].clone())).collect()
        };
        Ok(taken.into_iter().map(|(key, values)| (key, fields(values))).collect())
    }

    /// Changes in CONFIG_DB: each key as a whole, as a subscriber reads it.
    fn take_config(&mut self) -> Result<BTreeMap<&'static str, Vec<Event>>> {
        let keys: Vec<String> = self.config.keys("ACL_*")?;
        let mut now: BTreeMap<String, Fields> = BTreeMap::new();
        for key in keys {
            let hash: BTreeMap<String, String> = self.config.hgetall(&key)?;
            let name = |name: String| name.trim_end_matches('@').to_uppercase();
            now.insert(key, hash.into_iter().map(|(field, value)| (name(field), value)).collect());
        }
        let mut events: BTreeMap<&'static str, Vec<Event>> = BTreeMap::new();
        let gone = self.known.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), Fields::new()));
        let set = now.iter().filter(|(key, fields)| self.known.get(*key) != Some(*fields));
        for (key, fields) in gone.chain(set.map(|(key, fields)| (key.clone(), fields.clone()))) {
            for table in ["ACL_TABLE_TYPE", "ACL_TABLE", "ACL_RULE"] {
                if let Some(name) = key.strip_prefix(table).and_then(|rest| rest.strip_prefix('|')) {
                    events.entry(table).or_default().push((name.replace('|', ":"), fields.clone()));
                }
            }
        }
        self.known = now;
        Ok(events)
    }

    fn on_type(&mut self, (name, fields): Event) {
        if fields.is_empty() {
            self.model.types.remove(&name);
            return;
        }
        let list = |field: &str| -> Vec<String> {
            fields.get(field).map(|list| list.split(',').map(str::to_uppercase).collect()).unwrap_or_default()
        };
        let bind = list("BIND_POINTS");
        if bind.is_empty() || !bind.iter().all(|point| point == "PORT" || point == "PORTCHANNEL") {
            return;
        }
        // An existing one cannot be redefined.
        self.model
            .types
            .entry(name)
            .or_insert_with(|| TableType { matches: list("MATCHES"), actions: list("ACTIONS") });
        for (name, fields) in std::mem::take(&mut self.model.waiting_tables) {
            self.on_table((name, fields));
        }
    }

    fn on_table(&mut self, (name, fields): Event) {
        if fields.is_empty() {
            self.remove_table(&name);
            self.model.waiting_tables.remove(&name);
            self.told.push((format!("ACL_TABLE_TABLE|{name}"), None));
            return;
        }
        let kind = fields.get("TYPE").map(|kind| kind.to_uppercase()).unwrap_or_default();
        let ports: Vec<String> =
            fields.get("PORTS").map(|ports| ports.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let state = format!("ACL_TABLE_TABLE|{name}");
        if let Some(table) = self.model.tables.get_mut(&name) {
            if table.kind == kind {
                table.ports = ports;
                return;
            }
            self.remove_table(&name);
        }
        let Some(table_type) = self.model.types.get(&kind) else {
            self.model.waiting_tables.insert(name, fields);
            return;
        };
        let is_member = |port: &String| {
            let keys: redis::RedisResult<Vec<String>> = self.config.keys(format!("PORTCHANNEL_MEMBER|*|{port}"));
            keys.is_ok_and(|keys| !keys.is_empty())
        };
        let counts = table_type.actions.iter().any(|action| action == "COUNTER");
        if !counts || ports.iter().any(is_member) || self.model.tables.len() >= self.behaviour.tables {
            self.told.push((state, Some("Inactive")));
            return;
        }
        let oid = self.model.oid();
        self.model.tables.insert(name, Table { kind, ports, oid });
        self.told.push((state, Some("Active")));
    }

    fn remove_table(&mut self, name: &str) {
        let rules: Vec<RuleName> = self.model.of_table(name).map(|(rule, _)| rule.clone()).collect();
        for rule in rules {
            self.remove_rule(&rule);
        }
        self.model.tables.remove(name);
    }

    fn on_rules(&mut self, mut events: Vec<Event>) -> Result<()> {
        let priority = |fields: &Fields| fields.get("PRIORITY").and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        if self.behaviour.sorts {
            let known = |key: &str| {
                let rule =
                    key.split_once(':').and_then(|(table, rule)| self.model.rules.get(&(table.into(), rule.into())));
                rule.map_or(0, |rule| rule.priority)
            };
            events.sort_by_key(|(key, fields)| match fields.is_empty() {
                true => (0, i64::from(known(key))),
                false => (1, -i64::from(priority(fields))),
            });
        } else {
            events.sort();
        }
        let mut events = events.into_iter();
        while let Some((key, fields)) = events.next() {
            let Some((table, rule)) = key.split_once(':') else { continue };
            let name = (table.to_owned(), rule.to_owned());
            let goes_on = self.on_rule(&name, fields);
            if !self.behaviour.delay.is_zero() {
                std::thread::sleep(self.behaviour.delay);
                if self.flushed.elapsed() >= FLUSH {
                    self.tell()?;
                }
            }
            if self.crashed || self.shared.stop.load(Ordering::SeqCst) {
                break;
            }
            if !goes_on {
                self.left.extend(events);
                break;
            }
        }
        Ok(())
    }

    /// Whether the round continues.
    fn on_rule(&mut self, name: &RuleName, fields: Fields) -> bool {
        self.model.waiting.remove(name);
        self.model.parked.remove(name);
        if self.model.rules.contains_key(name) {
            if !fields.is_empty() {
                self.shared.rewrites.fetch_add(1, Ordering::SeqCst);
            }
            self.remove_rule(name);
        }
        if fields.is_empty() {
            self.told.push((state_key(name), None));
            return true;
        }
        self.create(name, fields)
    }

    fn create(&mut self, name: &RuleName, fields: Fields) -> bool {
        let Some(table_type) = self.model.tables.get(&name.0).and_then(|table| self.model.types.get(&table.kind))
        else {
            self.model.waiting.insert(name.clone(), fields);
            return true;
        };
        let is_of = |pieces: &[String]| {
            let text: String = fields.iter().map(|(name, value)| format!("{name}={value} ")).collect();
            pieces.iter().any(|piece| text.contains(piece.as_str()))
        };
        if is_of(&self.behaviour.silent) {
            return true;
        }
        match validity(&fields, &table_type.matches, &table_type.actions) {
            Validity::Valid => {}
            Validity::Invalid => {
                self.told.push((state_key(name), Some("Inactive")));
                return true;
            }
            Validity::Swallowed => return false,
            Validity::Dropped => return true,
        }
        let policer = fields.get("POLICER_ACTION").map(|policer| format!("POLICER|{policer}"));
        if policer.is_some_and(|key| !self.config.exists(key).unwrap_or(false)) {
            self.model.waiting.insert(name.clone(), fields);
            return true;
        }
        let own: Vec<(String, String)> =
            fields.iter().filter(|(name, _)| name.ends_with("_RANGE")).map(|(n, v)| (n.clone(), v.clone())).collect();
        let mut ranges = if own.is_empty() { Vec::new() } else { self.model.ranges() };
        ranges.extend(own);
        ranges.sort_unstable();
        ranges.dedup();
        if is_of(&self.behaviour.refused) || ranges.len() > self.behaviour.ranges {
            self.told.push((state_key(name), Some("Inactive")));
            return true;
        }
        let of_table = self.model.of_table(&name.0).count();
        if of_table >= self.behaviour.capacity {
            if self.behaviour.parks {
                self.told.push((state_key(name), Some("Pending creation")));
            }
            self.model.parked.insert(name.clone(), fields);
            return true;
        }
        self.shared.most_rules.fetch_max(of_table + 1, Ordering::SeqCst);
        let priority = fields.get("PRIORITY").and_then(|text| text.parse().ok()).unwrap_or(0);
        let oid = self.model.oid();
        let table = self.model.tables.get(&name.0).map_or(0, |table| table.oid);
        self.model.rules.insert(name.clone(), Rule { fields, priority, oid });
        self.changed = true;
        let (counter, table) = (format!("oid:0x{oid:x}"), format!("oid:0x{table:x}"));
        self.counters.push((format!("{}:{}", name.0, name.1), counter, Some(table)));
        self.told.push((state_key(name), Some("Active")));
        let mut behaviour = self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = &mut behaviour.crash_after {
            *more = more.saturating_sub(1);
            self.crashed = *more == 0;
        }
        true
    }

    fn remove_rule(&mut self, name: &RuleName) {
        let Some(rule) = self.model.rules.remove(name) else { return };
        self.changed = true;
        let counter = format!("oid:0x{:x}", rule.oid);
        self.counters.push((format!("{}:{}", name.0, name.1), counter, None));
        self.told.push((state_key(name), None));
    }

    /// Retries what waits: for a table, for a policer, for room.
    fn retry(&mut self) -> Result<()> {
        for (name, fields) in std::mem::take(&mut self.model.waiting) {
            self.create(&name, fields);
        }
        if self.changed || !self.behaviour.parks {
            for (name, fields) in std::mem::take(&mut self.model.parked) {
                self.create(&name, fields);
            }
        }
        Ok(())
    }

    /// Lets the ASIC apply what was decided, and then publishes it.
    fn tell(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if !self.counters.is_empty() {
            let mut pipe = redis::pipe();
            for (rule, counter, table) in self.counters.drain(..) {
                let key = format!("COUNTERS:{counter}");
                match table {
                    Some(_) => pipe.hset("ACL_COUNTER_RULE_MAP", &rule, &counter).ignore().hset_multiple(
                        &key,
                        &[("SAI_ACL_COUNTER_ATTR_PACKETS", "0"), ("SAI_ACL_COUNTER_ATTR_BYTES", "0")],
                    ),
                    None => pipe.hdel("ACL_COUNTER_RULE_MAP", &rule).ignore().del(&key),
                }
                .ignore();
                let object = format!("ASIC_STATE:SAI_OBJECT_TYPE_ACL_COUNTER:{counter}");
                match table {
                    Some(table) => self.asic_pipe.hset(object, "SAI_ACL_COUNTER_ATTR_TABLE_ID", table).ignore(),
                    None => self.asic_pipe.del(object).ignore(),
                };
            }
            pipe.exec(&mut self.counters_db)?;
            std::mem::take(&mut self.asic_pipe).exec(&mut self.asic_db)?;
        }
        if std::mem::take(&mut self.changed) {
            if let Some(asic) = &mut self.asic {
                let mut policers = BTreeMap::new();
                for rule in self.model.rules.values() {
                    if let Some(name) = rule.fields.get("POLICER_ACTION") {
                        let fields: Fields = self.config.hgetall(format!("POLICER|{name}"))?;
                        policers.insert(name.clone(), fields);
                    }
                }
                asic.program(&self.model, &policers).context("the kernel in the place of the ASIC")?;
            }
            let active = self.model.rules.keys().cloned().collect();
            *self.shared.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        }
        if self.crashed || self.told.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for (key, status) in self.told.drain(..) {
            match status {
                Some(status) => pipe.hset(key, "status", status).ignore(),
                None => pipe.del(key).ignore(),
            };
        }
        Ok(pipe.exec(&mut self.state)?)
    }

    fn count(&mut self) -> Result<()> {
        let wanted = self.shared.polls_wanted.load(Ordering::SeqCst);
        let is_asked = wanted > self.shared.polls_done.load(Ordering::SeqCst);
        if let Some(asic) =
            self.asic.as_ref().filter(|_| is_asked || self.counted.elapsed() >= self.behaviour.counter_interval)
        {
            self.counted = Instant::now();
            let counters = asic.counters()?;
            let mut pipe = redis::pipe();
            for rule in self.model.rules.values() {
                let (packets, bytes) = counters.get(&rule.oid).copied().unwrap_or_default();
                let key = format!("COUNTERS:oid:0x{:x}", rule.oid);
                pipe.hset_multiple(
                    key,
                    &[("SAI_ACL_COUNTER_ATTR_PACKETS", packets), ("SAI_ACL_COUNTER_ATTR_BYTES", bytes)],
                );
            }
            // The Redis client accepts no empty pipeline.
            if !self.model.rules.is_empty() {
                pipe.exec(&mut self.counters_db)?;
            }
        }
        self.shared.polls_done.store(wanted, Ordering::SeqCst);
        Ok(())
    }

    /// Publishes CRM's tables, with their delay.
    fn monitor(&mut self) -> Result<()> {
        if self.monitored.is_some_and(|at| at.elapsed() < self.behaviour.crm_interval) {
            return Ok(());
        }
        self.monitored = Some(Instant::now());
        for (name, table) in &self.model.tables {
            let used = self.model.of_table(name).count();
            if used == 0 {
                continue;
            }
            let available = self.behaviour.capacity.saturating_sub(used);
            let () = self.counters_db.hset_multiple(
                format!("CRM:ACL_TABLE_STATS:0x{:x}", table.oid),
                &[
                    ("crm_stats_acl_entry_used", used),
                    ("crm_stats_acl_entry_available", available),
                    ("crm_stats_acl_counter_used", used),
                    ("crm_stats_acl_counter_available", available),
                ],
            )?;
        }
        Ok(())
    }
}

fn state_key((table, rule): &RuleName) -> String {
    format!("ACL_RULE_TABLE|{table}|{rule}")
}
