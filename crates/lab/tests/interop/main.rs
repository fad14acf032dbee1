//! Floodgate with the BGP speakers that operators have: the kernel drops what each of them
//! announces.
//!
//! Real programs, a real daemon, a real kernel, in network namespaces. Programs that are not
//! installed are skipped with a message.

mod interop_blackholes;
mod interop_fleet;
mod interop_link_local;
mod interop_md5;
mod interop_offsets;
mod interop_retention;
mod interop_story;
mod peers;
mod rules;

use anyhow::{Context, Result};
use api::RuleState;
use lab::site::Wire;
use lab::{Daemon, PATIENCE, Site, wait_until};

use rules::Case;

/// Our AS number.
const OURS: u32 = 65140;

/// The daemon's configuration with these `[[peer]]` tables.
fn configuration(peers: &str) -> String {
    format!(
        r#"[router]
as = {OURS}
id = "203.0.113.10"
listen = ["0.0.0.0", "::"]

{peers}

[dataplane]
backend = "nftables"
interfaces = ["swp*"]
"#
    )
}

/// Waits until so many rules are there and all are installed, then sends what each of `on` is to
/// drop and what it is not, and what each of `off` would drop.
fn enforced(daemon: &Daemon<'_>, wire: &mut Wire, on: &[&Case], off: &[&Case]) -> Result<()> {
    let such = |rules: &[api::RuleView]| {
        rules.len() == on.len() && rules.iter().all(|rule| rule.state == RuleState::Installed && !rule.origins[0].stale)
    };
    daemon.wait_rules(&format!("{} rules, all installed", on.len()), PATIENCE, such)?;
    for case in on {
        for packet in case.misses() {
            anyhow::ensure!(
                wire.passes(&packet)?,
                "{}: dropped, but not asked to: {packet:02x?}\n{}",
                case.name,
                daemon.explain()
            );
        }
        for packet in case.hits() {
            anyhow::ensure!(!wire.passes(&packet)?, "{}: not dropped: {packet:02x?}\n{}", case.name, daemon.explain());
        }
    }
    for case in off {
        for packet in case.hits() {
            anyhow::ensure!(
                wire.passes(&packet)?,
                "{}: dropped after its withdrawal: {packet:02x?}\n{}",
                case.name,
                daemon.explain()
            );
        }
    }
    Ok(())
}

/// Waits until there is no rule and nothing in the kernel that drops.
fn nothing(daemon: &Daemon<'_>, site: &Site) -> Result<()> {
    daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
    // The rules are withdrawn first and removed from the kernel then.
    let mut last = String::new();
    wait_until("a kernel without filters", PATIENCE, || {
        last = site.switch.exec("nft", &["list", "ruleset"]).unwrap_or_default();
        (!last.contains("192.0.2.1") && !last.contains("2001:db8:2::1")).then_some(())
    })
    .with_context(|| last)
}
