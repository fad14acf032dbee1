//! The Cumulus back end with the emulator of cl-acltool, which is this program.

use super::bench::{Bench, Change, Damage, NearlyFull};
use anyhow::{Context, Result};
use dataplane::Dataplane;
use dataplane::cumulus::{self, Settings};
use lab::Site;
use lab::acltool::Switch;
use std::fs;

pub(crate) struct Cumulus {
    site: Site,
    switch: Switch,
}

impl Cumulus {
    fn settings(&self) -> Settings {
        Settings {
            policy_directory: self.switch.policy_directory(),
            tool: self.switch.tool(),
            save: self.switch.save(),
            ..Settings::default()
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.switch.policy_directory().join(file), text)?)
    }
}

impl Bench for Cumulus {
    const NAME: &'static str = "cumulus";
    const KNOWS_EARLIER_RUNS: bool = false;
    const DAMAGE: &'static [Damage<Self>] = &[
        ("the policy file is removed", |bench| {
            Ok(fs::remove_file(bench.switch.policy_directory().join("60flowspec.rules"))?)
        }),
        ("the policy file is changed", |bench| bench.write("60flowspec.rules", "[iptables]\n")),
        // The kernel's rules are not listed each time, but are when files of others have changed.
        ("the kernel's rules are flushed", |bench| {
            bench.write("70others.rules", "[iptables]\n")?;
            bench.site.switch.exec("iptables-legacy", &["-t", "mangle", "-F"]).map(drop)
        }),
    ];

    fn new() -> Result<Option<Self>> {
        if !lab::require_root() || !lab::require_program("ip") || !lab::require_program("iptables-legacy-restore") {
            return Ok(None);
        }
        let site = Site::new()?;
        let binary = std::env::current_exe()?;
        let switch = Switch::new(&site.switch, binary.to_str().context("the path of this program")?)?;
        Ok(Some(Cumulus { site, switch }))
    }

    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(Box::new(cumulus::Cumulus::new(self.settings())))
    }

    fn refused_rule(&self) -> Result<Option<&'static str>> {
        self.switch.set("refuse", "--sport 54 -j ACCEPT")?;
        Ok(Some("dst 192.0.2.1/32 proto udp sport 54 then accept"))
    }

    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        let entries = 10;
        let capacity = (Some(entries), Some(entries));
        let filler = |n: u64| format!("dst 192.0.2.1/32 proto udp sport {} then discard", 1000 + n);
        Ok(Some(NearlyFull {
            plane: Box::new(cumulus::Cumulus::new(Settings { capacity, reserve: Some(0), ..self.settings() })),
            fillers: (0..entries - 2).map(filler).collect(),
            exemption: "dst 192.0.2.1/32 proto udp sport 60000 dscp 0,8,16 then accept",
        }))
    }

    fn set_failing(&self, failing: bool) -> Result<Option<Change>> {
        self.switch.set("fail", if failing { "error: switchd is not running" } else { "" })?;
        Ok(Some(Change::Update))
    }

    fn of_others(&self) -> Result<String> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.switch.policy_directory())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with("60flowspec")) {
                files.push((path.clone(), fs::read_to_string(path)?));
            }
        }
        files.sort();
        Ok(format!("{files:?}"))
    }
}
