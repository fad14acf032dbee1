//! Tells the program its commit and the date of that, for `floodgate --version`. Builds for
//! development say `development`: a new commit compiles nothing anew there.

use std::env;
use std::process::Command;

fn main() {
    for name in ["FLOODGATE_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // A package is built from an archive without a repository: its maker names the commit.
    let commit = env::var("FLOODGATE_COMMIT").ok().or_else(|| if release { head() } else { None });
    let date =
        env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| date(&["-u", "-d", &format!("@{seconds}"), "+%F"]));
    let date =
        date.or_else(|| if release { git(&["log", "-1", "--format=%cd", "--date=format-local:%F"]) } else { None });
    println!("cargo::rustc-env=FLOODGATE_COMMIT={}", commit.as_deref().unwrap_or("development"));
    println!("cargo::rustc-env=FLOODGATE_DATE={}", date.as_deref().unwrap_or("no date"));
}

/// The commit that is checked out, with `+` behind it if files differ from it.
fn head() -> Option<String> {
    for name in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // A branch that moves leaves HEAD as it is.
    if let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if changed { format!("{commit}+") } else { commit })
}

/// What git prints, if that is anything.
fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments)
}

fn date(arguments: &[&str]) -> Option<String> {
    output("date", arguments)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("TZ", "UTC").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
