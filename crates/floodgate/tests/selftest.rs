//! `floodgate selftest sonic` and `floodgate selftest flower`, with a cable from one port of the
//! switch to another: against the emulator of orchagent, and against the kernel's own classifier.

use anyhow::{Context, Result, ensure};
use lab::orchagent::SonicSwitch;
use lab::{End, Netns, needs, veth};
use serde_json::Value;

/// A switch with a cable from `out1` to `in1`.
fn switch() -> Result<Netns> {
    let switch = Netns::new("selftest")?;
    veth(
        End::new(&switch, "out1", &["203.0.113.1/24"]),
        End::new(&switch, "in1", &["198.51.100.254/24", "2001:db8:ffff::fe/64"]),
    )?;
    Ok(switch)
}

/// Runs it; the exit status is not looked at.
fn self_test(switch: &Netns, arguments: &[&str]) -> Result<String> {
    let mut command = switch.command(lab::daemon::program()?)?;
    command.arg("selftest").args(arguments);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 1)) && !said.is_empty(), "{}: {said}{errors}", output.status);
    Ok(said)
}

/// The row of this name.
fn row<'a>(report: &'a Value, what: &str) -> Result<&'a Value> {
    let rows = report["rows"].as_array().context("rows")?;
    rows.iter().find(|row| row["what"] == what).with_context(|| format!("no row {what}: {report}"))
}

/// Rows that hold, that do not, and that the profile refuses, by name.
fn by_outcome(report: &Value) -> Result<[Vec<&str>; 3]> {
    let rows = report["rows"].as_array().context("rows")?;
    let of = |holds: Value| -> Vec<&str> {
        rows.iter().filter(|row| row["holds"] == holds).filter_map(|row| row["what"].as_str()).collect()
    };
    Ok([of(true.into()), of(false.into()), of(Value::Null)])
}

fn matched(report: &Value, what: &str) -> Result<Vec<bool>> {
    let packets = row(report, what)?["packets"].as_array().context("packets")?;
    Ok(packets.iter().filter_map(|packet| packet["matched"].as_bool()).collect())
}

#[test]
fn flower_says_which_rows_hold_in_the_kernel() -> Result<()> {
    needs!(root, "ip", "tc");
    let switch = switch()?;
    if switch.exec("tc", &["qdisc", "add", "dev", "out1", "clsact"]).is_err()
        || switch.exec("tc", &["filter", "add", "dev", "out1", "ingress", "protocol", "ip", "flower"]).is_err()
    {
        lab::skip_for_kernel("this kernel has no cls_flower");
        return Ok(());
    }
    switch.exec("tc", &["qdisc", "del", "dev", "out1", "clsact"])?;
    let cable = ["flower", "--interfaces", "in1", "--send-on", "out1", "--arrive-on", "in1"];
    let said = self_test(&switch, &[&cable[..], &["--json"]].concat())?;
    let report: Value = serde_json::from_str(&said)?;
    let [holds, fails, refused] = by_outcome(&report)?;
    ensure!(fails.is_empty(), "{fails:?}: {said}");
    ensure!(refused == ["packet length", "flow label", "redirect to an address"], "{refused:?}");
    ensure!(holds.len() > 30 && report["packets_sent"] == true && report["left_behind"].is_null(), "{said}");
    // What is known of the kernel is what is measured.
    for (what, expected) in [
        ("ports in first fragments", false),
        ("protocol of later fragments", true),
        ("protocol behind IPv6 options", true),
        ("ports behind IPv6 options", true),
        ("frames with a VLAN tag", true),
        ("whole packets with MPLS inside", true),
        ("what stands in the place of ports in later fragments", false),
    ] {
        ensure!(matched(&report, what)? == [expected], "{what}: {}", row(&report, what)?);
    }
    let figures = report["figures"].as_array().context("figures")?;
    ensure!(figures.iter().all(|figure| figure["rules"] == figure["in_force"]), "{said}");
    let left = switch.exec("tc", &["qdisc", "show"])?;
    ensure!(!left.contains("clsact"), "{left}");

    // For people; without a cable.
    let said = self_test(&switch, &["flower", "--interfaces", "in1"])?;
    ensure!(said.contains("no packets were sent") && said.contains("nothing of the test is left"), "{said}");
    ensure!(said.lines().any(|line| line.starts_with("yes") && line.ends_with("TCP flag ECE")), "{said}");
    ensure!(said.contains("packet length cannot be matched by flower"), "{said}");
    Ok(())
}

#[test]
fn sonic_says_which_rows_hold_on_the_switch() -> Result<()> {
    needs!(root, "ip", "nft", "redis-server");
    let netns = switch()?;
    let switch = SonicSwitch::new(Some(&netns))?;
    switch.set(|behaviour| behaviour.capacity = 4000);
    // An ASIC that does not do what the table says.
    switch.set(|behaviour| behaviour.refused = vec!["TCP_FLAGS".to_owned()]);
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("floodgate.toml");
    std::fs::write(
        &config,
        format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = []\n[dataplane]\nbackend = \"sonic\"\n\
             [dataplane.sonic]\nredis = \"unix:{}\"\ntimeout = \"5s\"\ndscp = true\nmax-entries = 2500\n",
            switch.socket().display()
        ),
    )?;
    let config = config.to_str().context("a path")?;
    let said = self_test(&netns, &["sonic", "--config", config, "--send-on", "out1", "--arrive-on", "in1", "--json"])?;
    let report: Value = serde_json::from_str(&said)?;
    let [holds, fails, refused] = by_outcome(&report)?;
    // The emulator counts a refused rule as Inactive.
    ensure!(fails == ["TCP flags"], "{fails:?}: {said}");
    ensure!(row(&report, "TCP flags")?["refused"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    for what in ["later fragments", "packet length", "mark", "sample", "rate in bytes", "IPv6 prefix with an offset"] {
        ensure!(refused.contains(&what), "{what}: {refused:?}");
    }
    for what in ["IPv4 prefixes", "IPv6 prefixes", "destination port", "ICMP type and code", "DSCP", "accept"] {
        ensure!(holds.contains(&what), "{what}: {}", row(&report, what)?);
    }
    ensure!(matched(&report, "protocol behind IPv6 options")? == [false], "{said}");
    ensure!(report["figures"][1]["in_force"] == 1000 && report["left_behind"].is_null(), "{said}");
    ensure!(switch.active().is_empty() && switch.errors().is_empty(), "{:?} {:?}", switch.active(), switch.errors());
    Ok(())
}
