//! The state file: written aside a moment after the rules changed, read once at the start.

use super::{Core, LOCAL, now};
use crate::config::Config;
use crate::net::PeerId;
use crate::state_file::{self, Origin, Remembered, Writer};
use engine::{Retention, RouteFamily};
use flowspec::{Family, Nlri};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Changes within this time are written together.
const GATHER: Duration = Duration::from_secs(1);

/// Of the time, at most one part in so many is spent writing.
const SHARE: u32 = 20;

/// Rules put into text before the next look at everything else; what is decided in between may wait for a millisecond, not for all of them.
const STEP: usize = 500;

/// When and where to write.
#[derive(Debug)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    due: Option<Instant>,
    cost: Duration,
    draft: Option<Draft>,
    writer: Option<std::thread::JoinHandle<()>>,
}

/// A text in the making. Each rule in it is as it was at some moment; what changes behind the pen makes the next text due.
#[derive(Debug)]
struct Draft {
    text: Writer,
    after: Option<Arc<Nlri>>,
    spent: Duration,
    /// Rules of peers are remembered, too.
    peers: bool,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        let mut memory = Memory { path: None, due: None, cost: Duration::ZERO, draft: None, writer: None };
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
        if self.draft.is_some() {
            return Some(Instant::now());
        }
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
            renews: true,
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
        self.engine.expire(super::passed());
        if taken + left > 0 {
            tracing::info!(taken, left, "rules of the last run");
            self.memory.touch();
        }
    }

    /// Begins to write when it is time to, and goes on with what was begun.
    pub(super) fn remember_if_due(&mut self) {
        if let Some(draft) = self.memory.draft.take() {
            self.go_on(draft, STEP);
        } else if self.memory.due.is_some_and(|due| due <= Instant::now()) && !self.memory.is_writing() {
            self.memory.due = None;
            self.go_on(Draft { text: Writer::default(), after: None, spent: Duration::ZERO, peers: true }, STEP);
        }
    }

    /// The last word. Where the filters go, what peers announced is not to come back with the next start before they announce it again.
    pub(super) fn remember_at_the_end(&mut self, keep: bool) {
        self.memory.draft = None;
        self.go_on(Draft { text: Writer::default(), after: None, spent: Duration::ZERO, peers: keep }, usize::MAX);
        self.memory.wait();
        self.memory.due = None;
    }

    fn go_on(&mut self, mut draft: Draft, step: usize) {
        let began = Instant::now();
        let after = draft.after.take();
        for (written, (peer, path)) in self.engine.snapshot_after(after.as_ref()).enumerate() {
            // All paths of a rule, or none: the next step begins behind it.
            if written >= step && draft.after.as_ref() != Some(&path.nlri) {
                draft.spent += began.elapsed();
                self.memory.draft = Some(draft);
                return;
            }
            let origin = match self.peers.get(PeerId(peer.0)) {
                _ if peer == LOCAL => Some(Origin::Local),
                Some(entry) if draft.peers => Some(Origin::Peer(entry.config.address)),
                _ => None,
            };
            if let Some(origin) = origin {
                draft.text.add(origin, &path);
            }
            draft.after = Some(path.nlri);
        }
        self.memory.cost = draft.spent + began.elapsed();
        self.memory.write(draft.text.finish());
    }
}
