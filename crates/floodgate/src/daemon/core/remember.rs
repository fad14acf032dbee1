//! The state file: written aside a moment after the rules changed, read once at the start.

use super::{Core, LOCAL, now};
use crate::config::Config;
use crate::net::PeerId;
use crate::state_file::{self, Origin, Remembered};
use engine::{Retention, RouteFamily};
use flowspec::Family;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Changes within this time are written together.
const GATHER: Duration = Duration::from_secs(1);

/// Of the time, at most one part in so many is spent writing.
const SHARE: u32 = 20;

/// When and where to write.
#[derive(Debug)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    due: Option<Instant>,
    cost: Duration,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        let mut memory = Memory { path: None, due: None, cost: Duration::ZERO, writer: None };
        memory.configure(config);
        memory
    }

    pub(super) fn configure(&mut self, config: &Config) {
        let path = &config.state.file;
        self.path = (!path.as_os_str().is_empty()).then(|| path.clone());
    }

    /// The rules changed.
    pub(super) fn touch(&mut self) {
        if self.due.is_none() {
            self.due = Some(Instant::now() + GATHER.max(self.cost * SHARE));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let soonest = self.is_writing().then(|| Instant::now() + Duration::from_millis(100));
        self.due.map(|due| soonest.map_or(due, |soonest| due.max(soonest)))
    }

    fn write(&mut self, text: String) {
        let Some(path) = self.path.clone() else { return };
        self.wait();
        let write = move || {
            if let Err(error) = state_file::save(&path, &text) {
                tracing::warn!(%error, "cannot write {}; a restart would begin without rules", path.display());
            }
        };
        // The disk may be slow, and decisions do not wait for it.
        match std::thread::Builder::new().name("state".to_owned()).spawn(write) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => tracing::warn!(%error, "cannot write the state file"),
        }
    }

    fn is_writing(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| !writer.is_finished())
    }

    fn wait(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Core {
    /// Rules of an earlier run come back as stale, until their peers confirm them or the time is over.
    pub(super) fn take_over(&mut self, remembered: Vec<Remembered>) {
        let now = now();
        let until = Some(now.plus(self.config.state.stale_time.0.as_secs()));
        let retain = Family::ALL.map(|family| Retention {
            family: RouteFamily::Flow(family),
            until,
            long_lived_until: None,
            keep_stale: true,
        });
        let (mut taken, mut left) = (0, 0);
        for Remembered { origin, paths } in remembered {
            let source = match origin {
                Origin::Local => Some(LOCAL),
                Origin::Peer(address) => self.peers.by_address(address).map(|entry| {
                    self.restored.insert(entry.id);
                    engine::PeerId(entry.id.0)
                }),
            };
            // Without a source its peer is configured no more: so they are withdrawn.
            match source {
                Some(source) => {
                    taken += paths.len();
                    self.engine.restore(source, paths, &retain);
                }
                None => left += paths.len(),
            }
        }
        self.engine.expire(now);
        if taken + left > 0 {
            tracing::info!(taken, left, "rules of the last run");
            self.memory.touch();
        }
    }

    pub(super) fn remember_if_due(&mut self) {
        if self.memory.due.is_some_and(|due| due <= Instant::now()) && !self.memory.is_writing() {
            let began = Instant::now();
            let text = self.state_text(true);
            self.memory.cost = began.elapsed();
            self.memory.due = None;
            self.memory.write(text);
        }
    }

    /// The last word. Where the filters go, what peers announced is not to come back with the next start before they announce it again.
    pub(super) fn remember_at_the_end(&mut self, keep: bool) {
        let text = self.state_text(keep);
        self.memory.write(text);
        self.memory.wait();
        self.memory.due = None;
    }

    fn state_text(&self, peers: bool) -> String {
        let mut lines: BTreeMap<Origin, Vec<String>> = BTreeMap::new();
        for (peer, path) in self.engine.snapshot() {
            let origin = match self.peers.get(PeerId(peer.0)) {
                _ if peer == LOCAL => Origin::Local,
                Some(entry) if peers => Origin::Peer(entry.config.address),
                _ => continue,
            };
            lines.entry(origin).or_default().push(path.to_string());
        }
        state_file::text(lines.iter().map(|(origin, lines)| (*origin, lines.as_slice())))
    }
}
