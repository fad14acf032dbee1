//! The article's example, with Floodgate instead of the script: a controller's message, ExaBGP on
//! the switch, a file in the policy directory, cl-acltool, and the rule in the kernel.

use crate::{PATIENCE, controller, exabgp, versions, wait_installed};
use anyhow::{Context, Result, ensure};
use lab::acltool::Switch;
use lab::peers::PeerDaemon as _;
use lab::peers::Version;
use lab::scenario::{NTP, SWITCH_AS, check_dropped};
use lab::site::{SWITCH, Site};
use lab::{Daemon, needs, wait_until};
use std::fs;

/// The releases whose profiles differ.
const RELEASES: [&str; 6] = ["3.7", "4.4", "5.4", "5.9", "5.14", "5.17"];

#[test]
fn the_articles_example_onto_cumulus_files() -> Result<()> {
    needs!(root, "ip", "iptables-legacy-restore");
    // Each version of ExaBGP on the article's switch, and the last one on all.
    let all: Vec<Version> = versions().collect();
    let article = all.iter().map(|&version| (version, "4.4"));
    let others = RELEASES.into_iter().filter(|&release| release != "4.4");
    let others = others.flat_map(|release| all.last().map(|&version| (version, release)));
    for (version, release) in article.chain(others) {
        let before_routing = release.starts_with('5');
        let chain = if before_routing { "PREROUTING" } else { "FORWARD" };
        let table = if before_routing { "mangle" } else { "filter" };
        let site = Site::new()?;
        let mut wire = site.wire()?;
        let switch = Switch::new(&site.switch, env!("CARGO_BIN_EXE_cl-acltool"))?;
        switch.set("release", release)?;
        // What the script left behind when it crashed.
        let policy = switch.policy_directory();
        let old = policy.join("60flowspec1.rules");
        fs::write(
            &old,
            format!(
                "[iptables]\n-t {table} -A {chain} --in-interface swp+ -p udp -d 192.0.2.2/32 --sport 123 -j DROP\n"
            ),
        )?;
        let [save4, save6] = switch.save();
        let daemon = Daemon::prepare(
            &site.switch,
            &format!(
                "[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n[dataplane]\nbackend = \"cumulus\"\n\n[dataplane.cumulus]\nrelease = \"{release}\"\n\
                 policy-directory = {policy:?}\ncl-acltool = {:?}\niptables-save = {save4:?}\nip6tables-save = {save6:?}\n",
                switch.tool()
            ),
        )?;
        let controller = controller(&site)?;
        let mut exabgp = exabgp(&site, version, &daemon, false)?;
        controller.wait_established(PATIENCE)?;
        check_dropped(&mut wire, false)?;

        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        let text = fs::read_to_string(policy.join("60flowspec.rules")).context("the policy file")?;
        let (begin, end) = (format!("-A {chain} --in-interface swp+"), " -p udp -d 192.0.2.1/32 --sport 123 -j DROP");
        let is_rule = |line: &str| line.contains(&begin) && line.ends_with(end);
        ensure!(text.lines().filter(|line| is_rule(line)).count() == 1, "{release}: {text}");
        ensure!(!old.exists(), "the script's file is still there");
        let shown = site.switch.exec("iptables-legacy", &["-t", table, "-n", "--list", chain])?;
        let is = |line: &str| line.starts_with("DROP") && line.contains("192.0.2.1") && line.contains("udp spt:123");
        ensure!(shown.lines().any(is), "{shown}");
        check_dropped(&mut wire, true)?;

        let clean = || {
            let listed = site.switch.exec("iptables-legacy-save", &[]).ok()?;
            (!policy.join("60flowspec.rules").exists() && !listed.contains("192.0.2.1")).then_some(())
        };
        controller.withdraw_text(NTP)?;
        wait_until("a switch without our rules", PATIENCE, clean)?;
        check_dropped(&mut wire, false)?;
        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        controller.shutdown();
        wait_until("a switch without our rules", PATIENCE, clean)?;
        check_dropped(&mut wire, false)?;
        exabgp.stop()?;
    }
    Ok(())
}
