//! Programs of this workspace that tests run.

use anyhow::{Context, Result, ensure};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One build at a time.
static BUILD: Mutex<()> = Mutex::new(());

/// Path of a program of a package, beside the running test or program; builds it first if it does
/// not exist.
///
/// # Errors
/// It cannot be built.
pub(crate) fn built(package: &str, program: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let directory = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps")).context("no directory")?;
    let path = directory.join(program);
    // A build that panicked is tried again.
    let _one = BUILD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !path.exists() {
        build(package, program, directory);
    }
    ensure!(path.exists(), "{} is not there: cargo build -p {package}", path.display());
    Ok(path)
}

fn build(package: &str, program: &str, directory: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", package, "--bin", program, "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../floodgate/Cargo.toml"));
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    if directory.ends_with("release") {
        command.arg("--release");
    }
    // Success is visible by the program's existence.
    let _ = command.status();
}
