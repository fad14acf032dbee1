//! The program itself: `cl-acltool -i [-P DIR | -p FILE]`, `-L ip|all`, `-F ip|all`; and
//! `cl-resource-query`.

use super::hardware::HardwareError;
use super::kernel::KernelError;
use super::policy::LineError;
use super::rule::{Rule, Version};
use super::setting::setting;
use super::{hardware, kernel, policy};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One run of the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Start, nanoseconds since 1970.
    pub began: u128,
    /// End; `None` for one that was killed or still runs.
    pub ended: Option<u128>,
    /// Whether it installed the rules.
    pub installed: bool,
    /// Rules that were to be installed, of all files, with their lists expanded.
    pub rules: usize,
}

/// Why the program ends with an error; the text is its own.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    /// Invalid arguments.
    #[error("usage: cl-acltool -i | -i -P DIR | -i -p FILE | -L ip|all | -F ip|all")]
    Usage,
    /// The text of `-i`.
    #[error("usage: cl-acltool -i | -i -P DIR | -i -p FILE")]
    InstallUsage,
    /// The test requested the failure.
    #[error("{0}")]
    Wanted(String),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// Another run has the lock.
    #[error("Another app is currently holding the xtables lock. Perhaps you want to use the -w option?")]
    Locked,
    /// A line of a policy file.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The kernel rejected the rules, or did not list them.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// switchd does not run.
    #[error("Installing acl policy\n{0}")]
    NoSwitchd(HardwareError),
    /// The reason has been printed already.
    #[error("the hardware did not take the rules")]
    Printed,
}

/// Runs the emulator with the arguments after the program's name: first `--switch DIR`, which
/// [`Switch`](super::Switch) puts there.
pub fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["--switch", switch, rest @ ..] = &arguments[..] else {
        eprintln!("this is a stand-in for tests: call it through lab::acltool::Switch");
        return ExitCode::FAILURE;
    };
    let switch = Path::new(switch);
    let done = match rest {
        ["-i", which @ ..] => {
            log_run(switch, "begin");
            let done = install(switch, which);
            log_run(switch, if done.is_ok() { "installed" } else { "failed" });
            done
        }
        ["-L", "ip"] => list(&[Version::V4]),
        ["-L", "all"] => list(&[Version::V4, Version::V6]),
        ["-F", "ip" | "all"] => kernel::flush().map_err(ToolError::from),
        ["resource-query"] => {
            print!("{}", hardware::resources(switch, release(switch)));
            Ok(())
        }
        _ => Err(ToolError::Usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(ToolError::Printed) => ExitCode::FAILURE,
        Err(ToolError::Wanted(words)) if words.is_empty() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the rules of these versions, or nothing.
fn list(versions: &[Version]) -> Result<(), ToolError> {
    let lists = versions.iter().map(|version| kernel::list(*version)).collect::<Result<String, _>>()?;
    print!("{lists}");
    Ok(())
}

/// The wording of progress messages, which differs by release: the manuals and release notes show
/// these forms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wording {
    /// `Installing acl policy... done.`
    OneLine,
    /// `Installing acl policy`, `done.`
    TwoLines,
    /// `Installing acl policy ...`, `Done.`
    Dots,
}

impl Wording {
    fn of((major, minor, _): (u32, u32, u32)) -> Self {
        match (major, minor) {
            (..4, _) => Wording::OneLine,
            (4, _) => Wording::TwoLines,
            _ => Wording::Dots,
        }
    }

    fn done(self) {
        match self {
            Wording::OneLine => println!("Installing acl policy... done."),
            Wording::TwoLines => println!("Installing acl policy\ndone."),
            Wording::Dots => println!("Installing acl policy ...\nDone."),
        }
    }

    /// The order of the lines depends on where both outputs go, as it does here.
    fn failed(self, reason: &HardwareError) {
        match self {
            // RN-1028.
            Wording::OneLine | Wording::TwoLines => {
                println!("Installing acl policy");
                let _ = std::io::stdout().flush();
                eprintln!("error: hw sync failed ({reason})");
                println!("Rolling back ..\nfailed.");
            }
            // The manual of 5.17.
            Wording::Dots => {
                eprintln!("error: hw sync failed ({reason})");
                println!("Installing acl policy... Rolling back ..\nfailed.");
            }
        }
    }
}

fn install(switch: &Path, which: &[&str]) -> Result<(), ToolError> {
    if let Some(milliseconds) = setting(switch, "delay").and_then(|text| text.parse().ok()) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    while setting(switch, "hang").is_some() {
        std::thread::sleep(Duration::from_secs(1));
    }
    if let Some(words) = setting(switch, "fail") {
        return Err(ToolError::Wanted(words));
    }
    let hardware = setting(switch, "no-hw-sync").is_none();
    if !hardware {
        eprintln!("warning: Detected platform is Cumulus VX");
        eprintln!("warning: Running in no-hw-sync mode. No rules will be programmed in hw");
    }
    let release = release(switch);
    let mut rules: Vec<Rule> = Vec::new();
    for file in files(switch, which)? {
        println!("Reading rule file {} ...", file.display());
        println!("Processing rules in file {} ...", file.display());
        let _ = std::io::stdout().flush();
        rules.extend(policy::read(&file, release)?);
    }
    hold(switch, "hold-install");
    log_run(switch, &format!("rules={}", rules.len()));
    let lock = lock(switch)?;
    let wording = Wording::of(release);
    let before = kernel::save()?;
    kernel::load(&rules, release)?;
    hold(switch, "hold-hardware");
    let crash = setting(switch, "crash").is_some_and(|text| rules.iter().any(|rule| rule.text.contains(&text)));
    let programmed = match crash || setting(switch, "switchd").is_some() {
        true => Err(HardwareError::NoSwitchd),
        false if hardware => hardware::program(switch, &rules),
        false => Ok(()),
    };
    if let Err(reason) = programmed {
        let lost = setting(switch, "lose-rollback").is_some();
        let back = if lost { kernel::flush() } else { kernel::restore_saved(&before) };
        // No document shows a message of a failed roll-back.
        drop(back);
        drop(lock);
        if matches!(reason, HardwareError::NoSwitchd) {
            return Err(ToolError::NoSwitchd(reason));
        }
        wording.failed(&reason);
        return Err(ToolError::Printed);
    }
    wording.done();
    Ok(())
}

/// Stops here once, if the test requests it, until the request is removed.
fn hold(switch: &Path, name: &str) {
    let [wanted, holding] = [name, "holding"].map(|name| switch.join("settings").join(name));
    if fs::rename(wanted, &holding).is_ok() {
        while holding.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The lock that iptables takes for a change, without waiting for it.
fn lock(switch: &Path) -> Result<File, ToolError> {
    let path = switch.join("xtables.lock");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|error| ToolError::File { path, error })?;
    file.try_lock().map(|()| file).map_err(|_| ToolError::Locked)
}

fn files(switch: &Path, which: &[&str]) -> Result<Vec<PathBuf>, ToolError> {
    let directory = match which {
        [] => switch.join("policy.d"),
        ["-P", directory] => PathBuf::from(directory),
        ["-p", file] => {
            println!("Using user provided rule file {file}");
            return Ok(vec![PathBuf::from(file)]);
        }
        _ => return Err(ToolError::InstallUsage),
    };
    if !which.is_empty() {
        println!("Reading files under {}", directory.display());
    }
    let entries = fs::read_dir(&directory).map_err(|error| ToolError::File { path: directory, error })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rules"))
        .collect();
    files.sort();
    Ok(files)
}

fn release(switch: &Path) -> (u32, u32, u32) {
    let text = setting(switch, "release").unwrap_or_else(|| "5.0".to_owned());
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(5), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Adds a line to the log of runs.
fn log_run(switch: &Path, what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let line = format!("{} {what} {now}\n", std::process::id());
    let log = OpenOptions::new().append(true).create(true).open(switch.join("runs"));
    // A test that reads the log will miss the line; the run itself must not fail because of it.
    let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
}

pub(super) fn read_log(switch: &Path) -> Vec<Run> {
    let text = fs::read_to_string(switch.join("runs")).unwrap_or_default();
    let mut runs: Vec<(&str, Run)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [pid, what, time] = words[..] else { continue };
        let time = time.parse().unwrap_or_default();
        match runs.iter_mut().rev().find(|(of, run)| *of == pid && run.ended.is_none()) {
            Some((_, run)) if what != "begin" => match what.strip_prefix("rules=") {
                Some(rules) => run.rules = rules.parse().unwrap_or_default(),
                None => (run.ended, run.installed) = (Some(time), what == "installed"),
            },
            _ => runs.push((pid, Run { began: time, ended: None, installed: false, rules: 0 })),
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}
