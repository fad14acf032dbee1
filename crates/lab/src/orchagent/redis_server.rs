//! A Redis server as on a switch: on a Unix socket, with keyspace events, without persistence.

use crate::{PATIENCE, Process, wait_until};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A Redis server with a directory of its own.
#[derive(Debug)]
pub struct RedisServer {
    directory: tempfile::TempDir,
    process: Process,
}

impl RedisServer {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// `redis-server` is not installed or does not start.
    pub fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let process = spawn(&directory)?;
        let server = RedisServer { directory, process };
        server.await_answer()?;
        Ok(server)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A connection to one of its databases.
    ///
    /// # Errors
    /// It does not answer.
    pub fn database(&self, number: i64) -> Result<redis::Connection> {
        connect(&self.socket(), number)
    }

    /// Has it listen on a TCP port of 127.0.0.1, too: on this one, or on any.
    ///
    /// # Errors
    /// The port is in use.
    pub fn listen(&self, port: Option<u16>) -> Result<u16> {
        let mut database = self.database(0)?;
        let mut last = None;
        // Somebody else may take a free port first.
        for _ in 0..20 {
            let wanted = match port {
                Some(port) => port,
                None => std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            };
            redis::cmd("CONFIG").arg("SET").arg("bind").arg("127.0.0.1").exec(&mut database)?;
            match redis::cmd("CONFIG").arg("SET").arg("port").arg(wanted).exec(&mut database) {
                Ok(()) => return Ok(wanted),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("no port"), anyhow::Error::from).context("a TCP port for Redis"))
    }

    /// Stops it; its contents are deleted.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again, empty.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.directory)?;
        self.await_answer()
    }

    fn await_answer(&self) -> Result<()> {
        wait_until("an answer of Redis", PATIENCE, || redis::cmd("PING").exec(&mut self.database(0).ok()?).ok())
    }
}

fn spawn(directory: &tempfile::TempDir) -> Result<Process> {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--notify-keyspace-events", "AKE"]);
    command.arg("--dir").arg(directory.path());
    command.arg("--unixsocket").arg(directory.path().join("redis.sock"));
    Process::spawn("redis-server", command)
}

/// A connection to a database of the server at this socket.
pub(super) fn connect(socket: &std::path::Path, number: i64) -> Result<redis::Connection> {
    let url = format!("unix://{}?db={number}", socket.display());
    redis::Client::open(url)?.get_connection().context("Redis does not answer")
}
