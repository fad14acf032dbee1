//! What is written to CONFIG_DB is valid in SONiC's own YANG models: one invalid value would
//! prevent every later change of the switch's configuration.

use super::switch::{Bench, discards};
use anyhow::{Context, Result, ensure};
use dataplane::Dataplane;
use dataplane::sonic::{Database, Settings};
use redis::Commands;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// One of each kind that can be in CONFIG_DB.
const RULES: &[&str] = &[
    "dst 192.0.2.1/32 proto udp sport 123 then discard",
    "dst 192.0.2.1/32 proto tcp tcp-flags syn&!ack then discard",
    "dst 192.0.2.0/24 src 198.51.100.0/24 port 53 then accept",
    "dst 192.0.2.2/32 proto tcp dport 1024-65535 then discard",
    "dst 192.0.2.3/32 icmp-type 3 icmp-code 4 then discard",
    "dst 192.0.2.4/32 dscp 46 then discard",
    "proto 143 then discard",
    "src 198.51.100.0/24 then discard",
];

fn bench() -> Result<Option<Bench>> {
    let change = |settings: &mut Settings| {
        settings.database = Database::Config;
        settings.release = "2026-08-01".parse().expect("a date");
        (settings.ranges, settings.dscp) = (true, true);
    };
    Bench::new(change)
}

/// CONFIG_DB as the models have it.
fn document(bench: &Bench) -> Result<Value> {
    let mut config = bench.switch.database(4)?;
    let mut lists: BTreeMap<(&str, &str), Vec<Value>> = BTreeMap::new();
    let keys: Vec<String> = config.keys("*")?;
    for key in keys {
        let Some((table, name)) = key.split_once('|') else { continue };
        let (module, names): (_, &[&str]) = match table {
            "ACL_RULE" => ("sonic-acl", &["ACL_TABLE_NAME", "RULE_NAME"]),
            "ACL_TABLE" => ("sonic-acl", &["ACL_TABLE_NAME"]),
            "ACL_TABLE_TYPE" => ("sonic-acl", &["ACL_TABLE_TYPE_NAME"]),
            "POLICER" => ("sonic-policer", &["name"]),
            "PORT" => ("sonic-port", &["name"]),
            "PORTCHANNEL" => ("sonic-portchannel", &["name"]),
            _ => continue,
        };
        let mut item = Map::new();
        for (field, value) in names.iter().zip(name.split('|')) {
            item.insert((*field).to_owned(), json!(value));
        }
        let fields: BTreeMap<String, String> = config.hgetall(&key)?;
        for (field, value) in fields {
            let (field, value) = match field.strip_suffix('@') {
                Some(list) => (list.to_owned(), json!(value.split(',').collect::<Vec<_>>())),
                None => match value.parse::<u32>() {
                    // 64-bit numbers are text in this form of JSON.
                    Ok(number) if module == "sonic-acl" || module == "sonic-port" && field != "lanes" => {
                        (field, json!(number))
                    }
                    _ => (field, json!(value)),
                },
            };
            item.insert(field, value);
        }
        let table = match table {
            "ACL_RULE" => "ACL_RULE",
            "ACL_TABLE" => "ACL_TABLE",
            "ACL_TABLE_TYPE" => "ACL_TABLE_TYPE",
            "POLICER" => "POLICER",
            "PORT" => "PORT",
            _ => "PORTCHANNEL",
        };
        lists.entry((module, table)).or_default().push(Value::Object(item));
    }
    let mut document = Map::new();
    for ((module, table), items) in lists {
        let top = document.entry(format!("{module}:{module}")).or_insert_with(|| json!({}));
        top[table] = json!({ format!("{table}_LIST"): items });
    }
    Ok(Value::Object(document))
}

/// What yanglint says of a document; `Ok` if nothing.
fn lint(document: &Value) -> Result<Result<(), String>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sonic-yang");
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    std::fs::write(file.path(), serde_json::to_vec_pretty(document)?)?;
    let mut command = Command::new("yanglint");
    command.arg("-p").arg(&models).args(["-t", "config"]);
    for model in ["sonic-device_metadata", "sonic-acl", "sonic-policer", "sonic-port", "sonic-portchannel"] {
        command.arg(models.join(format!("{model}.yang")));
    }
    let output = command.arg(file.path()).output().context("yanglint")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(words) })
}

#[test]
fn what_is_written_passes_sonics_models() -> Result<()> {
    if !lab::require_program("yanglint") {
        return Ok(());
    }
    let Some(mut bench) = bench()? else { return Ok(()) };
    let rules: Vec<String> = RULES.iter().map(|rule| (*rule).to_owned()).collect();
    let applied = bench.replace(&rules)?;
    ensure!(applied.failures.is_empty(), "{applied:?}");
    let mut document = document(&bench)?;
    let entries = document["sonic-acl:sonic-acl"]["ACL_RULE"]["ACL_RULE_LIST"].as_array().map_or(0, Vec::len);
    ensure!(entries == bench.switch.active().len() && entries >= 11, "{entries}");
    lint(&document)?.map_err(|words| anyhow::anyhow!("{words}\n{document:#}"))?;
    // What the models do not know they refuse, so that the test can fail.
    document["sonic-acl:sonic-acl"]["ACL_RULE"]["ACL_RULE_LIST"][0]["NEXT_HEADER"] = json!(17);
    ensure!(lint(&document)?.is_err());
    Ok(())
}

#[test]
fn policers_pass_sonics_models() -> Result<()> {
    if !lab::require_program("yanglint") {
        return Ok(());
    }
    let change = |settings: &mut Settings| {
        settings.policers = true;
        settings.release = "2026-08-01".parse().expect("a date");
    };
    let Some(mut bench) = Bench::new(change)? else { return Ok(()) };
    let rules =
        ["dst 192.0.2.1/32 then rate 8mbps", "dst 192.0.2.2/32 then rate 1000pps", "dst 192.0.2.3/32 then rate 1bps"];
    bench.replace(&rules.map(str::to_owned))?;
    let document = document(&bench)?;
    ensure!(
        document["sonic-policer:sonic-policer"]["POLICER"]["POLICER_LIST"].as_array().is_some_and(|all| all.len() == 3)
    );
    lint(&document)?.map_err(|words| anyhow::anyhow!("{words}\n{document:#}"))
}

#[test]
fn rules_in_config_db_are_in_force_and_those_of_the_other_database_go() -> Result<()> {
    let Some(mut bench) = bench()? else { return Ok(()) };
    bench.settings.database = Database::Appl;
    bench.restart_program();
    bench.replace(&discards(5))?;
    bench.settings.database = Database::Config;
    bench.restart_program();
    bench.replace(&discards(7))?;
    ensure!(bench.written()?.is_empty() && bench.switch.active().len() == 7, "{:?}", bench.switch.active());
    // As acl-loader does.
    let mut config = bench.switch.database(4)?;
    let keys: Vec<String> = config.keys("ACL_RULE|*")?;
    let () = config.del(keys)?;
    ensure!(matches!(bench.plane.health()?, dataplane::Health::ExternalChange(_)));
    bench.replace(&discards(7))?;
    bench.update(&[], &discards(7)[..2])?;
    ensure!(bench.switch.active().len() == 5 && bench.switch.rewrites() == 0);
    bench.plane.clear()?;
    let left: Vec<String> = config.keys("ACL_*")?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
