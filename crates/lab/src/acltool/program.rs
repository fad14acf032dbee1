//! The program itself: `cl-acltool -i [-P DIR | -p FILE]`, `-L ip|all`, `-F ip|all`.

use super::rule::{Rule, Version};
use super::{Run, kernel, policy, setting};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the manual says is printed when the table is full.
const FULL: &str = "error: hw sync failed (sync_acl hardware installation failed) Rolling back .. failed.";

/// Runs the stand-in with the arguments that follow the program's name: first `--switch DIR`, which [`Switch`](super::Switch) puts there.
pub fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["--switch", switch, rest @ ..] = &arguments[..] else {
        eprintln!("this is a stand-in for tests: call it through lab::acltool::Switch");
        return ExitCode::FAILURE;
    };
    let switch = Path::new(switch);
    let done = match rest {
        ["-i", which @ ..] => {
            note(switch, "begin");
            let done = install(switch, which);
            note(switch, if done.is_ok() { "installed" } else { "failed" });
            done
        }
        ["-L", "ip"] => kernel::list(Version::V4).map(|text| print!("{text}")),
        ["-L", "all"] => kernel::list(Version::V4).and_then(|four| {
            print!("{four}{}", kernel::list(Version::V6)?);
            Ok(())
        }),
        ["-F", "ip" | "all"] => kernel::flush(),
        _ => Err("usage: cl-acltool -i | -i -P DIR | -i -p FILE | -L ip|all | -F ip|all".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

fn install(switch: &Path, which: &[&str]) -> Result<(), String> {
    if let Some(milliseconds) = setting(switch, "delay").and_then(|text| text.parse().ok()) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    while setting(switch, "hang").is_some() {
        std::thread::sleep(Duration::from_secs(1));
    }
    if let Some(words) = setting(switch, "fail") {
        return Err(words);
    }
    let release = release(switch);
    let mut rules = Vec::new();
    for file in files(switch, which)? {
        println!("Reading rule file {} ...", file.display());
        println!("Processing rules in file {} ...", file.display());
        rules.extend(policy::read(&file, release).map_err(|error| error.to_string())?);
    }
    let used = |version| rules.iter().filter(|rule: &&Rule| rule.version == version).map(|rule| rule.cost).sum::<u64>();
    let capacity = |name, usual| setting(switch, name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    if used(Version::V4) > capacity("capacity4", 500) || used(Version::V6) > capacity("capacity6", 250) {
        return Err(FULL.to_owned());
    }
    println!("Installing acl policy ...");
    kernel::load(&rules, release)?;
    println!("Done.");
    Ok(())
}

fn files(switch: &Path, which: &[&str]) -> Result<Vec<PathBuf>, String> {
    let directory = match which {
        [] => switch.join("policy.d"),
        ["-P", directory] => PathBuf::from(directory),
        ["-p", file] => return Ok(vec![PathBuf::from(file)]),
        _ => return Err("usage: cl-acltool -i | -i -P DIR | -i -p FILE".to_owned()),
    };
    println!("Reading files under {}", directory.display());
    let entries = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rules"))
        .collect();
    files.sort();
    Ok(files)
}

fn release(switch: &Path) -> (u32, u32) {
    let text = setting(switch, "release").unwrap_or_else(|| "5.0".to_owned());
    let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
    (major.parse().unwrap_or(5), minor.parse().unwrap_or(0))
}

/// Adds a line to the log of runs.
fn note(switch: &Path, what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let line = format!("{} {what} {now}\n", std::process::id());
    let log = OpenOptions::new().append(true).create(true).open(switch.join("runs"));
    // A test that reads the log will miss the line; the run itself is not to fail for it.
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
            Some((_, run)) if what != "begin" => {
                run.ended = Some(time);
                run.installed = what == "installed";
            }
            _ => runs.push((pid, Run { began: time, ended: None, installed: false })),
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}
