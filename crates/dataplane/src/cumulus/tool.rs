//! Runs cl-acltool: never two at once, never without a timeout.

use super::settings::Settings;
use super::transcript::{ErrorKind, ToolError, Transcript};
use crate::DataplaneError;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The lock file of each run, in the policy directory; its name is not that of a policy file.
const LOCK: &str = "60flowspec.lock";

/// Interval at which a run is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Pause before a run is repeated because another program was running the tool.
const BUSY_WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// Why a run did not install what is in the policy directory.
#[derive(Debug)]
pub(super) enum RunError {
    /// The tool's error.
    Failed(ToolError),
    /// It did not end in time and was killed; it is not known what is in force.
    Timeout(Duration),
    /// It could not be started.
    NotRun(DataplaneError),
}

/// The lock for changing and installing policy files: one process at a time has it.
#[derive(Debug)]
pub(super) struct InstallLock(File);

impl InstallLock {
    /// Waits for it, up to the timeout of a run.
    pub(super) fn wait(settings: &Settings) -> Result<Self, DataplaneError> {
        lock(settings, Instant::now() + settings.timeout).map(InstallLock)
    }
}

/// Installs all policy files; returns the warnings of the run. `nv config apply` and others run the
/// tool, too, without our lock: a run that fails because of another one is soon repeated.
pub(super) fn install(settings: &Settings, lock: InstallLock) -> Result<Vec<String>, RunError> {
    let deadline = Instant::now() + settings.timeout;
    let mut lock = lock;
    for wait in BUSY_WAITS {
        let kept = lock.0.try_clone().map_err(|error| not_run("copy a descriptor", error))?;
        let outcome = run(settings, lock, deadline);
        let is_disturbed = match &outcome {
            Err(RunError::Failed(ToolError { kind: ErrorKind::Busy, .. })) => true,
            Err(RunError::Failed(ToolError { kind: ErrorKind::Hardware | ErrorKind::Unknown, .. })) => {
                is_run_by_others(&settings.tool)
            }
            _ => false,
        };
        if !is_disturbed || Instant::now() + wait >= deadline {
            return outcome;
        }
        tracing::warn!(?outcome, "another program is installing ACLs at the same time; retrying");
        std::thread::sleep(wait);
        while is_run_by_others(&settings.tool) && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL * 10);
        }
        lock = InstallLock(kept);
    }
    run(settings, lock, deadline)
}

/// Whether another program of our network namespace is running a program of this name with `-i`.
fn is_run_by_others(tool: &Path) -> bool {
    let Some(name) = tool.file_name() else { return false };
    let Ok(own) = std::fs::read_link("/proc/self/ns/net") else { return false };
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let path = process.path();
        let Ok(line) = std::fs::read(path.join("cmdline")) else { return false };
        let mut words = line.split(|octet| *octet == 0).map(|word| Path::new(std::ffi::OsStr::from_bytes(word)));
        // A script has its interpreter first, perhaps with an option.
        let named = words.by_ref().take(3).any(|word| word.file_name() == Some(name));
        named
            && words.any(|word| word.as_os_str() == "-i" || word.as_os_str() == "--install")
            && std::fs::read_link(path.join("ns/net")).is_ok_and(|namespace| namespace == own)
    })
}

/// One run; its warnings.
fn run(settings: &Settings, lock: InstallLock, deadline: Instant) -> Result<Vec<String>, RunError> {
    let (output, succeeded) = run_for_output(settings, lock, deadline)?;
    let Transcript { error, warnings } = Transcript::read(&output, succeeded);
    match error {
        None => Ok(warnings),
        Some(error) => Err(RunError::Failed(error)),
    }
}

/// One run: its output, and whether its exit status means success.
pub(super) fn run_for_output(
    settings: &Settings,
    InstallLock(lock): InstallLock,
    deadline: Instant,
) -> Result<(String, bool), RunError> {
    // Not a pipe: a run that outlives us must not fail because of it in the middle of an
    // installation.
    let output = memfd_create("cl-acltool", MemfdFlags::CLOEXEC).map(File::from);
    let output = output.map_err(|error| not_run("make a file for its output", error.into()))?;
    let writer = || output.try_clone().map_err(|error| not_run("copy a descriptor", error));
    let (writer, errors) = (writer()?, writer()?);
    let mut command = Command::new(&settings.tool);
    // The lock is its standard input: it is held as long as the run or its children live, even if
    // we are killed meanwhile.
    command.arg("-i").stdin(Stdio::from(lock)).stdout(writer).stderr(errors).process_group(0);
    let spawned = command.spawn();
    // The child holds the lock, which now belongs to the run alone.
    drop(command);
    let mut child = spawned.map_err(|error| match error.kind() {
        IoErrorKind::NotFound | IoErrorKind::PermissionDenied => RunError::NotRun(DataplaneError::Unavailable(
            format!("cannot run {}: {error}; is this a Cumulus Linux switch?", settings.tool.display()),
        )),
        _ => not_run(&format!("run {}", settings.tool.display()), error),
    })?;
    let status = wait(&mut child, deadline).map_err(|error| not_run("wait for cl-acltool", error))?;
    let Some(status) = status else {
        kill_group(&mut child);
        return Err(RunError::Timeout(settings.timeout));
    };
    let output = read_output(&output);
    tracing::debug!(%status, output = %output.trim(), "cl-acltool has run");
    Ok((output, status.success()))
}

fn not_run(context: &str, source: std::io::Error) -> RunError {
    RunError::NotRun(DataplaneError::Io { context: context.to_owned(), source })
}

fn lock(settings: &Settings, deadline: Instant) -> Result<File, DataplaneError> {
    let path = settings.policy_directory.join(LOCK);
    let failed = |source| DataplaneError::Io { context: format!("lock {}", path.display()), source };
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let file = opened.map_err(|error| match error.kind() {
        IoErrorKind::NotFound => DataplaneError::Unavailable(format!(
            "there is no directory {}; is this a Cumulus Linux switch?",
            settings.policy_directory.display()
        )),
        _ => failed(error),
    })?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL * 10),
            Err(TryLockError::WouldBlock) => {
                return Err(DataplaneError::Refused("an earlier run of cl-acltool does not end".to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// The output so far, from its beginning, up to a limit.
fn read_output(output: &File) -> String {
    let mut octets = vec![0; 1 << 20];
    let mut read = 0;
    // Unreadable output counts as none: the exit status says whether it succeeded.
    while let Ok(more @ 1..) = output.read_at(&mut octets[read..], read as u64) {
        read += more;
    }
    String::from_utf8_lossy(&octets[..read]).into_owned()
}

fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Kills it and its process group.
fn kill_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn settings(script: &str) -> (tempfile::TempDir, Settings) {
        let directory = tempfile::tempdir().unwrap();
        let tool = directory.path().join("tool");
        std::fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let settings = Settings {
            policy_directory: directory.path().to_owned(),
            tool,
            timeout: Duration::from_secs(5),
            ..Settings::default()
        };
        (directory, settings)
    }

    fn try_install(settings: &Settings) -> Result<Vec<String>, RunError> {
        install(settings, InstallLock::wait(settings).map_err(RunError::NotRun)?)
    }

    #[test]
    fn says_what_the_tool_says() {
        let (_directory, settings) =
            settings("echo Reading; echo 'error: hw sync failed (No More Resources)' >&2; exit 1");
        let error = try_install(&settings).unwrap_err();
        assert!(matches!(error, RunError::Failed(ToolError { kind: ErrorKind::Full, .. })), "{error:?}");
        let (_directory, settings) = self::settings("echo \"$@\" > \"$0.args\"; echo Done.");
        try_install(&settings).unwrap();
        assert_eq!(std::fs::read_to_string(settings.tool.with_extension("args")).unwrap(), "-i\n");
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_started() {
        let (directory, settings) = settings("sleep 100 & echo $! > \"$0.pid\"; wait");
        let settings = Settings { timeout: Duration::from_millis(200), ..settings };
        assert!(matches!(try_install(&settings), Err(RunError::Timeout(_))));
        let pid = std::fs::read_to_string(directory.path().join("tool.pid")).unwrap();
        let ended = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            // Ended, or at least a zombie.
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(ended, "process {pid} still runs");
    }

    #[test]
    fn waits_for_a_run_that_its_starter_did_not_survive() {
        let (directory, settings) = settings("echo run >> \"$0.runs\"");
        let InstallLock(held) = InstallLock::wait(&settings).unwrap();
        let mut orphan = Command::new("sleep").arg("0.3").stdin(Stdio::from(held)).spawn().unwrap();
        let began = Instant::now();
        try_install(&settings).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
        orphan.wait().unwrap();
        assert!(directory.path().join("tool.runs").exists());
    }

    #[test]
    fn a_machine_without_the_tool_is_told_so() {
        let (_directory, settings) = settings("");
        let settings = Settings { tool: "/nonexistent/cl-acltool".into(), ..settings };
        let error = try_install(&settings).unwrap_err();
        assert!(matches!(error, RunError::NotRun(DataplaneError::Unavailable(_))), "{error:?}");
    }
}
