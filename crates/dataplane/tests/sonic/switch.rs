//! A switch without an ASIC, and rules for it.

use anyhow::{Result, ensure};
use dataplane::sonic::{Address, Settings, Sonic, capabilities};
use dataplane::{Applied, Dataplane};
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::Rule;
use lab::orchagent::SonicSwitch;
use redis::Commands;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A switch and the back end on it.
pub(crate) struct Bench {
    pub switch: SonicSwitch,
    pub settings: Settings,
    pub plane: Sonic,
}

impl Bench {
    /// With settings changed so. `None` where there is no Redis server.
    pub(crate) fn new(change: impl FnOnce(&mut Settings)) -> Result<Option<Self>> {
        if !lab::require_program("redis-server") {
            return Ok(None);
        }
        let switch = SonicSwitch::new(None)?;
        let mut settings =
            Settings { redis: Address::Unix(switch.socket()), timeout: Duration::from_secs(3), ..Settings::default() };
        change(&mut settings);
        let plane = Sonic::new(settings.clone());
        Ok(Some(Bench { switch, settings, plane }))
    }

    pub(crate) fn replace(&mut self, rules: &[String]) -> Result<Applied> {
        Ok(self.plane.replace(&ruleset(rules, &self.settings))?)
    }

    pub(crate) fn update(&mut self, upsert: &[String], remove: &[String]) -> Result<Applied> {
        let remove = remove.iter().map(|text| Arc::new(text.parse::<Rule>().expect(text).nlri)).collect();
        Ok(self.plane.update(&Plan { upsert: ruleset(upsert, &self.settings).rules, remove, protected: None })?)
    }

    /// As if the program had been killed and started again.
    pub(crate) fn restart_program(&mut self) {
        self.plane = Sonic::new(self.settings.clone());
    }

    /// Our rules in APPL_DB: key and fields.
    pub(crate) fn written(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut appl = self.switch.database(0)?;
        let keys: Vec<String> = appl.keys("ACL_RULE_TABLE:FLOODGATE*")?;
        keys.into_iter().map(|key| Ok((key.clone(), appl.hgetall(key)?))).collect()
    }

    /// What is written is in force, and nothing else is; nothing was written over, and the stand-in
    /// itself is well.
    pub(crate) fn verify(&self, entries: usize) -> Result<()> {
        let written: BTreeSet<String> = self.written()?.into_keys().collect();
        let active: BTreeSet<String> =
            self.switch.active().into_iter().map(|(table, rule)| format!("ACL_RULE_TABLE:{table}:{rule}")).collect();
        ensure!(written == active, "written {written:?}, active {active:?}");
        ensure!(active.len() == entries, "{} in force", active.len());
        ensure!(self.switch.rewrites() == 0, "{} ACL rules were written over", self.switch.rewrites());
        ensure!(self.switch.errors().is_empty(), "{:?}", self.switch.errors());
        Ok(())
    }
}

/// As many discards for one victim.
pub(crate) fn discards(count: usize) -> Vec<String> {
    (0..count).map(|port| format!("dst 192.0.2.1/32 proto udp sport {} then discard", port + 1)).collect()
}

pub(crate) fn ruleset(rules: &[String], settings: &Settings) -> Ruleset {
    let compiled = |text: &String| match compile(&text.parse().expect(text), &capabilities(settings)) {
        Verdict::Exact(rule) => Arc::new(rule),
        Verdict::Refused(refusal) => panic!("{text}: {refusal}"),
    };
    let mut rules: Vec<Arc<CompiledRule>> = rules.iter().map(compiled).collect();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}
