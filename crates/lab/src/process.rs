//! Programs that run beside a test.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use regex_lite::Regex;
use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, wait_until};

/// A running program. Its output, standard output and standard error, is kept and included in every
/// error. It is killed and waited for on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Process {
    /// Starts a command, as made by [`Netns::command`](crate::Netns::command) for one inside a
    /// namespace. The name is for messages. Its standard input is a pipe, see
    /// [`write_line`](Self::write_line).
    ///
    /// # Errors
    /// There is no such program.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        let output = OpenOptions::new().append(true).create_new(true).open(&log)?;
        let errors = output.try_clone()?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, ended: None, log, _directory: directory })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    #[must_use]
    pub fn log(&self) -> String {
        // The file is ours and stays as long as the value.
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The path of its output, valid as long as the value lives.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_none())
    }

    /// Waits until it has printed a line containing `text` and returns the line.
    ///
    /// # Errors
    /// After the timeout, or if it ends first; with its log.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> Result<String> {
        self.wait_for_line_after(0, text, deadline)
    }

    /// The same, looking only at what it printed after its log had `mark` octets; see
    /// [`mark`](Self::mark).
    ///
    /// # Errors
    /// As [`wait_for_line`](Self::wait_for_line).
    pub fn wait_for_line_after(&mut self, mark: usize, text: &str, deadline: Duration) -> Result<String> {
        self.wait_for(text, deadline, |log| {
            let new = log.get(mark..).unwrap_or_default();
            new.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Waits until its output matches the regular expression and returns the match: the first group
    /// if there is one, otherwise the whole.
    ///
    /// # Errors
    /// The expression is not valid; after the timeout, or if it ends first, with its log.
    pub fn wait_for_match(&mut self, expression: &str, deadline: Duration) -> Result<String> {
        let regex = Regex::new(expression)?;
        self.wait_for(expression, deadline, |log| {
            let found = regex.captures(log)?;
            Some(found.get(1).or_else(|| found.get(0))?.as_str().to_owned())
        })
    }

    /// The length of its output: a position from which to search for lines later.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.log().len()
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// It has closed it.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let name = &self.name;
        let input = self.child.stdin.as_mut().ok_or_else(|| anyhow!("the input of {name} is closed"))?;
        input.write_all(line.as_bytes())?;
        input.write_all(b"\n")?;
        Ok(input.flush()?)
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends it a signal, such as [`Signal::HUP`]. A process that has ended is left alone.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_running()? {
            return Ok(());
        }
        // The child has not been waited for, so its id is still its own.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", self.name))?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// After the timeout, with its log.
    pub fn wait_for_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let waited = wait_until("its end", deadline, || match self.is_running() {
            Ok(true) => None,
            Ok(false) => self.ended.map(Ok),
            Err(error) => Some(Err(error)),
        });
        waited.map_err(|error| self.explain(&error)).flatten()
    }

    /// Sends SIGTERM and waits; kills it if it does not end within [`PATIENCE`].
    ///
    /// # Errors
    /// It had to be killed; with its log.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let stopped = self.wait_for_exit(PATIENCE);
        if stopped.is_err() {
            self.kill()?;
        }
        stopped
    }

    /// Kills it (SIGKILL), as a crash would, and waits.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    fn wait_for(
        &mut self,
        what: &str,
        deadline: Duration,
        mut find: impl FnMut(&str) -> Option<String>,
    ) -> Result<String> {
        let found = wait_until(&format!("{what:?}"), deadline, || {
            // In this order: output just before the end is still found.
            let running = self.is_running();
            match (find(&self.log()), running) {
                (Some(found), _) => Some(Ok(found)),
                (None, Ok(true)) => None,
                (None, Ok(false)) => Some(Err(anyhow!("it ended before it printed {what:?}"))),
                (None, Err(error)) => Some(Err(error)),
            }
        });
        found.flatten().map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let ended = match self.ended {
            None => "still running".to_owned(),
            Some(status) => match status.signal() {
                Some(signal) => format!("ended by signal {signal}"),
                None => status.to_string(),
            },
        };
        anyhow!("{} (pid {}, {ended}): {error:#}\n--- its log:\n{}---", self.name, self.pid(), self.log())
    }

    /// Fails, with the log, unless it is running.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if !self.is_running()? {
            bail!(self.explain(&anyhow!("it ended")));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure here cannot be handled: the child is gone or out of reach.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("a shell", command).unwrap()
    }

    #[test]
    fn finds_lines_and_matches() {
        let mut process = shell("echo one; echo port 1790 >&2; read line; echo got $line");
        assert_eq!(process.wait_for_line("one", PATIENCE).unwrap(), "one");
        assert_eq!(process.wait_for_match(r"port (\d+)", PATIENCE).unwrap(), "1790");
        let mark = process.mark();
        process.write_line("it").unwrap();
        assert_eq!(process.wait_for_line_after(mark, "got", PATIENCE).unwrap(), "got it");
        assert!(process.wait_for_exit(PATIENCE).unwrap().success());
    }

    #[test]
    fn errors_show_the_log() {
        let mut process = shell("echo something else; exit 3");
        let error = process.wait_for_line("never", PATIENCE).unwrap_err().to_string();
        assert!(error.contains("something else") && error.contains("exit status: 3"), "{error}");
        let mut process = shell("echo waiting; sleep 60");
        process.wait_for_line("waiting", PATIENCE).unwrap();
        let error = process.wait_for_line("never", Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("waiting") && error.contains("still running"), "{error}");
    }

    #[test]
    fn stops_kills_and_drops() {
        let mut process = shell("exec sleep 60");
        assert_eq!(process.stop().unwrap().signal(), Some(Signal::TERM.as_raw()));
        let mut process = shell("exec sleep 60");
        assert_eq!(process.kill().unwrap().signal(), Some(Signal::KILL.as_raw()));
        let process = shell("exec sleep 60");
        let proc = format!("/proc/{}", process.pid());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }
}
