//! `floodgate selftest sonic` and `floodgate selftest flower`: the data plane itself, with a rule
//! for each row of its table.

use super::interruptible::{interruptible, progress};
use super::measure::{Cable, Findings, measure};
use super::report;
use crate::command_line::{SelfTestArgs, SelfTestTarget};
use crate::exit_status::{NEGATIVE, OK};
use crate::output::Output;
use anyhow::{Context, Result, ensure};
use config::Config;
use daemon::EnforcementLock;
use dataplane::{BackendSettings, flower, sonic};
use serde::Serialize;

/// Runs it; `NEGATIVE` when a row does not hold, when it was ended early, or when something of it
/// may be left on the switch.
pub(super) fn run(args: &SelfTestArgs) -> Result<u8> {
    let mut dataplane = match &args.config {
        Some(path) => Config::load(path)?.dataplane,
        None => config::Dataplane::default(),
    };
    if !args.interfaces.is_empty() {
        dataplane.interfaces.clone_from(&args.interfaces);
    }
    let cable = match (&args.send_on, &args.arrive_on) {
        (Some(send_on), Some(arrive_on)) => Some(Cable { send_on: send_on.clone(), arrive_on: arrive_on.clone() }),
        _ => None,
    };
    let system = rustix::system::uname();
    let kernel = format!("{} {}", system.release().to_string_lossy(), system.machine().to_string_lossy());
    let (backend, profile, unknown, found) = match args.backend {
        SelfTestTarget::Flower => {
            ensure!(args.release.is_none(), "--release is for sonic");
            dataplane.flower.driver = args.driver.or(dataplane.flower.driver);
            let settings = dataplane.flower.settings(&dataplane.interfaces);
            let profile = format!("driver {}, block {}", settings.driver, settings.block);
            let unknown = flower::unknown(settings.driver).to_vec();
            ("flower", profile, unknown, test("flower", settings, cable)?)
        }
        SelfTestTarget::Sonic => {
            ensure!(args.driver.is_none(), "--driver is for flower");
            if let Some(release) = &args.release {
                dataplane.sonic.release = release.parse().context("--release")?;
            }
            let settings = dataplane.sonic.settings(&dataplane.interfaces);
            if let Some(why) = sonic::unfit(&settings) {
                anyhow::bail!(why);
            }
            let profile = format!("release {}, Redis at {}", settings.release, settings.redis);
            ("sonic", profile, sonic::unknown(), test("sonic", settings, cable)?)
        }
        SelfTestTarget::Cumulus => anyhow::bail!("it has a test of its own"),
    };
    let mut output = Output::new();
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let (kernel, profile) = (kernel.as_str(), profile.as_str());
        output.json(&Report { version, backend, kernel, profile, unknown: &unknown, found: &found })?;
    } else {
        let head = [format!("floodgate {version} selftest {backend}"), format!("Linux {kernel}"), profile];
        for line in report::lines(&head, &unknown, &found) {
            output.line(&line)?;
        }
    }
    output.finish()?;
    let holds = found.rows.iter().all(|row| row.holds != Some(false));
    Ok(if holds && !found.interrupted && found.left_behind.is_none() { OK } else { NEGATIVE })
}

#[derive(Serialize)]
struct Report<'a> {
    version: &'a str,
    backend: &'a str,
    kernel: &'a str,
    profile: &'a str,
    /// What only somebody with the hardware can tell.
    unknown: &'a [&'static str],
    #[serde(flatten)]
    found: &'a Findings,
}

fn test(backend: &'static str, settings: impl BackendSettings + 'static, cable: Option<Cable>) -> Result<Findings> {
    interruptible("the change under way ends first, then all is removed", move |stop| {
        let _lock = EnforcementLock::take(backend, &settings.enforcement_point())?;
        progress("opening the data plane");
        let mut plane = settings.open().context(backend)?;
        measure(&mut *plane, cable.as_ref(), stop)
    })?
}
