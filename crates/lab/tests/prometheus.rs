//! The alerts and the dashboard in packaging/, with a real Prometheus that scrapes a real daemon
//! under traffic.

use anyhow::{Context, Result, ensure};
use lab::site::{SWITCH, VICTIM, Wire};
use lab::{Daemon, Netns, PATIENCE, Process, Site, needs, packet, wait_until};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;

const DISCARD: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const LIMIT: &str = "dst 192.0.2.1/32 proto udp sport 53 then rate 1mbps";

const PROMETHEUS: &str = "http://127.0.0.1:9090";

fn packaging(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging")).join(file)
}

/// Prometheus with the alerts, which asks the daemon each second.
fn prometheus(netns: &Netns, directory: &tempfile::TempDir) -> Result<Process> {
    let rules = packaging("prometheus/floodgate.rules.yml").canonicalize()?;
    let text = format!(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [{rules:?}]\n\
         scrape_configs:\n- job_name: floodgate\n  static_configs:\n  - targets: [\"127.0.0.1:8179\"]\n"
    );
    let file = directory.path().join("prometheus.yml");
    std::fs::write(&file, text)?;
    let mut command = netns.command("prometheus")?;
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    command.arg("--web.listen-address=127.0.0.1:9090");
    Process::spawn("prometheus", command)
}

/// The answer to a query: a line for each series.
fn query(netns: &Netns, expression: &str) -> Result<Vec<String>> {
    let text = netns.exec("promtool", &["query", "instant", PROMETHEUS, expression]).context(expression.to_owned())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Some packets for each rule; more for the limit than it lets pass.
fn traffic(wire: &Wire) -> Result<()> {
    let to: IpAddr = VICTIM.parse()?;
    for _ in 0..200 {
        for port in [123, 53] {
            wire.send(&packet::udp(([198, 51, 100, 7], port).into(), (to, 4000).into(), &[0; 900]))?;
        }
    }
    Ok(())
}

/// Each query of the dashboard, with its variables filled in, and the title of its panel.
fn dashboard() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(packaging("grafana/floodgate.json"))?)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().context("targets")? {
            let query = target["expr"].as_str().context("expr")?;
            let query =
                query.replace("$__rate_interval", "30s").replace("$job", "floodgate").replace("$instance", ".*");
            queries.push((panel["title"].as_str().context("title")?.to_owned(), query));
        }
    }
    Ok(queries)
}

#[test]
fn each_query_has_an_answer_while_an_attack_is_dropped() -> Result<()> {
    needs!(root, "ip", "nft", "prometheus", "promtool", "curl");
    let site = Site::new()?;
    let wire = site.wire()?;
    let configuration = format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\nlisten = [\"127.0.0.1:1790\"]\n\
         [[peer]]\nname = \"detector\"\naddress = \"127.0.0.2\"\nas = 65070\npassive = true\n\
         [dataplane]\nbackend = \"nftables\"\ninterfaces = [\"swp*\"]\n"
    );
    let api = "listen = [\"127.0.0.1:8179\"]\nrule-metrics = 10";
    let daemon = Daemon::start_with_api(&site.switch, &configuration, api)?;
    daemon.cli(&["announce", DISCARD])?;
    daemon.cli(&["announce", LIMIT])?;
    let directory = tempfile::tempdir()?;
    let mut server = prometheus(&site.switch, &directory)?;
    let under_attack = wait_until("traffic in Prometheus", PATIENCE, || {
        traffic(&wire).ok()?;
        let dropped = query(&site.switch, "sum by (action) (rate(floodgate_dropped_packets_total[30s])) > 0").ok()?;
        let passed = query(&site.switch, "sum(rate(floodgate_passed_packets_total[30s])) > 0").ok()?;
        let rule = query(&site.switch, "rate(floodgate_rule_matched_packets_total[30s]) > 0").ok()?;
        (dropped.len() == 2 && passed.len() == 1 && rule.len() == 2).then_some(())
    });
    under_attack.with_context(|| server.log())?;
    server.check_running()?;
    for (panel, text) in dashboard()? {
        let answer = query(&site.switch, &text).with_context(|| panel.clone())?;
        // Nothing is wrong here, and nftables has no fixed capacity.
        let may_be_empty = text.ends_with("> 0") || text.contains("floodgate_dataplane_capacity");
        ensure!(may_be_empty || !answer.is_empty(), "{panel}: nothing answers {text}");
    }
    // The alerts are evaluated without an error; what is wrong here is that the peer has no
    // session.
    let rules = wait_until("the alerts", PATIENCE, || {
        let text = site.switch.exec("curl", &["-s", &format!("{PROMETHEUS}/api/v1/rules")]).ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })?;
    let mut pending = Vec::new();
    for rule in &rules {
        ensure!(rule["health"] == "ok", "{rule}");
        if rule["state"] != "inactive" {
            pending.push(rule["name"].as_str().unwrap_or_default());
        }
    }
    ensure!(pending == ["FloodgatePeerDown"], "{pending:?}");
    // Each metric that is named is there, or would be.
    let text = site.switch.exec("curl", &["-s", "http://127.0.0.1:8179/metrics"])?;
    for named in [
        "floodgate_build_info{version=",
        "floodgate_matched_packets_total{peer=\"detector\",action=\"discard\",family=\"ipv6\"} 0",
    ] {
        ensure!(text.contains(named), "{named}\n{text}");
    }
    Ok(())
}

#[test]
fn each_alert_fires_when_it_should() -> Result<()> {
    needs!("promtool");
    let file = packaging("prometheus/floodgate.test.yml");
    let output = std::process::Command::new("promtool").args(["test", "rules"]).arg(&file).output()?;
    let words = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&words));
    let (rules, tests) = (packaging("prometheus/floodgate.rules.yml"), file);
    let (rules, tests) = (std::fs::read_to_string(rules)?, std::fs::read_to_string(tests)?);
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        ensure!(tests.contains(&format!("alertname: {alert}\n")), "no test for {alert}");
    }
    Ok(())
}
