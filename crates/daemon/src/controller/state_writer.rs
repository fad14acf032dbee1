//! What is kept over a restart: each change is in the state file before the data plane hears of it.

use super::{Controller, LOCAL, clock};
use crate::net::PeerId;
use crate::state_file::{self, Journal, Loaded, Origin, Pause, Record, Remembered, Saved, Ticket, encode_rule};
use config::Config;
use engine::{Retention, RouteFamily, SnapshotPath};
use flowspec::{Family, Nlri};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules written anew before the next look at everything else; what is decided in between may wait for a millisecond, not for all of them.
const STEP: usize = 500;

/// How often the time is written down while something has a time to end. So much longer may a life be after the machine has crashed.
const MARK_INTERVAL: Duration = Duration::from_secs(20);

/// Longest wait for the disk at the end.
const CLOSING: Duration = Duration::from_secs(5);

/// Octets of a usual rule in the file, until it is known better.
const USUAL: u64 = 80;

/// The state file, and how far it is being written anew.
#[derive(Debug, Default)]
pub(super) struct StateWriter {
    journal: Option<Journal>,
    draft: Option<Draft>,
    /// What was wrong with the file at the start.
    notes: Vec<String>,
    /// Records of rules that were appended, and their octets.
    appended: (u64, u64),
    /// The time was written down.
    marked: Option<Instant>,
}

/// The whole, being written anew. Each rule in it is as it was at some moment; what changes behind the pen is appended.
#[derive(Debug, Default)]
struct Draft {
    after: Option<Arc<Nlri>>,
}

impl StateWriter {
    /// Goes on with the file that was loaded. Without a thread to write with, it runs on and says so.
    pub(super) fn open(config: &Config, loaded: &Loaded) -> Self {
        let path = &config.state.file;
        let mut writer = StateWriter { notes: loaded.wrong.clone(), ..StateWriter::default() };
        if path.as_os_str().is_empty() {
            return writer;
        }
        match Journal::open(path, loaded) {
            Ok(journal) => writer.journal = Some(journal),
            Err(error) => {
                tracing::error!(%error, "the state file cannot be written");
                writer.notes.push(format!("the state file cannot be written: {error}"));
            }
        }
        writer
    }

    /// Another file, where the configuration names one.
    pub(super) fn configure(&mut self, config: &Config) {
        let before = self.journal.as_ref().map_or(Path::new(""), Journal::path);
        if before == config.state.file {
            return;
        }
        let loaded = if config.state.file.exists() { state_file::load(&config.state.file) } else { Loaded::default() };
        if loaded.restored.rules() > 0 {
            let (rules, file) = (loaded.restored.rules(), config.state.file.display());
            tracing::warn!("{file} has {rules} rules of another run; they are replaced by those that there are now");
        }
        // What it says is not what is in force: all of it is written.
        *self = Self::open(config, &Loaded { append_at: None, ..loaded });
        if let Some(journal) = &self.journal {
            journal.request_rewrite();
        }
    }

    /// Why what happens is not kept, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.journal.as_ref()?.trouble()
    }

    /// What was wrong with the file at the start, a sentence each.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        let path = self.journal.as_ref().map_or(Path::new("state file"), Journal::path).display();
        self.notes.iter().map(move |note| format!("{path}: {note}"))
    }

    /// Of what was appended last.
    pub(super) fn latest(&self) -> Option<Ticket> {
        self.journal.as_ref().map(Journal::latest)
    }

    /// When to go on writing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.draft.as_ref().map(|_| Instant::now())
    }

    /// What a file with so many rules takes.
    fn expected(&self, rules: usize) -> u64 {
        let (records, octets) = self.appended;
        rules as u64 * octets.checked_div(records).unwrap_or(USUAL).max(USUAL)
    }
}

impl Controller {
    /// Rules of an earlier run come back as stale, until their peers confirm them or the time is over; and a pause goes on.
    pub(super) fn take_over(&mut self, loaded: Loaded) {
        let Loaded { restored, append_at, .. } = loaded;
        let now = clock::now();
        let until = Some(now.plus(self.config.state.stale_time.0.as_secs()));
        let retain = Family::ALL.map(|family| Retention {
            family: RouteFamily::Flow(family),
            until,
            long_lived_until: None,
            renews: true,
        });
        let (mut taken, mut left) = (0, 0);
        for Remembered { origin, mut paths } in restored.remembered {
            let source = match origin {
                Origin::Local => Some(LOCAL),
                Origin::Peer(address) => self.peers.by_address(address).map(|entry| {
                    self.restored.insert(entry.id);
                    engine::PeerId(entry.id.0)
                }),
            };
            if append_at.is_none() {
                // Of a file without a clock: no life is longer than it was to be, whatever the clock says.
                for path in &mut paths {
                    let whole = |end: engine::Timestamp| end.0.saturating_sub(path.received.0);
                    path.deadline = path.deadline.map(|end| end.min(now.plus(whole(end))));
                }
            }
            // Without a source its peer is configured no more: so they are withdrawn.
            match source {
                Some(source) => {
                    taken += paths.len();
                    if source == LOCAL {
                        let ids = paths.iter().map(|path| (path.nlri.id(), Arc::clone(&path.nlri)));
                        self.local_ids.extend(ids);
                    }
                    self.engine.restore(source, paths, &retain);
                }
                None => left += paths.len(),
            }
        }
        if append_at.is_some() {
            self.engine.mark_all_saved();
        }
        self.engine.expire(clock::passed());
        if taken + left > 0 {
            tracing::info!(taken, left, "rules of the last run");
        }
        if left > 0
            && let Some(journal) = &self.state.journal
        {
            journal.request_rewrite();
        }
        if let Some(pause) = restored.pause {
            tracing::warn!("paused since the last run: nothing is filtered");
            self.engine.pause();
            self.pause = Some(pause);
        }
        self.mark_time();
    }

    /// Appends what changed since this was called last. What is told to the data plane afterwards has to wait for the
    /// [ticket](StateWriter::latest).
    pub(super) fn save_changes(&mut self) {
        let (mut octets, mut records) = (Vec::new(), 0);
        let keep = self.state.journal.is_some();
        let peers = &self.peers;
        self.engine.take_unsaved(|nlri, paths| {
            if keep {
                encode_rule(&mut octets, nlri, origins(peers, paths));
                records += 1;
            }
        });
        if octets.is_empty() {
            return;
        }
        self.state.appended.0 += records;
        self.state.appended.1 += octets.len() as u64;
        if let Some(journal) = &mut self.state.journal {
            journal.append(octets);
        }
    }

    /// Appends what somebody here said of a rule, and tells when it is on the disk. `None` where nothing is kept.
    pub(super) fn save_rule(&mut self, nlri: &Arc<Nlri>) -> Option<Saved> {
        let paths = self.engine.snapshot_rule(nlri);
        let mut octets = Vec::new();
        encode_rule(&mut octets, nlri, origins(&self.peers, &paths));
        self.append_durably(octets)
    }

    /// The same for many rules.
    pub(super) fn save_rules(&mut self, nlris: &[Arc<Nlri>]) -> Option<Saved> {
        let mut octets = Vec::new();
        for nlri in nlris {
            let paths = self.engine.snapshot_rule(nlri);
            encode_rule(&mut octets, nlri, origins(&self.peers, &paths));
        }
        self.append_durably(octets)
    }

    /// The same for a pause and its end.
    pub(super) fn save_pause(&mut self) -> Option<Saved> {
        let mut octets = Vec::new();
        Record::Pause(self.pause).encode(&mut octets);
        self.append_durably(octets)
    }

    fn append_durably(&mut self, mut octets: Vec<u8>) -> Option<Saved> {
        self.state.journal.as_ref()?;
        self.state.marked = Some(Instant::now());
        Record::Clock(clock::mark()).encode(&mut octets);
        self.state.journal.as_mut().map(|journal| journal.append_durably(octets))
    }

    /// Writes down what time it is, for a start after the machine crashed.
    fn mark_time(&mut self) {
        let Some(journal) = &mut self.state.journal else { return };
        self.state.marked = Some(Instant::now());
        let mut octets = Vec::new();
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.append(octets);
    }

    /// Writes the whole anew when it is time to, and goes on with what was begun.
    pub(super) fn rewrite_if_due(&mut self) {
        let lives = self.engine.next_deadline().is_some() || self.pause.is_some_and(|pause| pause.until.is_some());
        if lives && self.state.marked.is_none_or(|at| at.elapsed() >= MARK_INTERVAL) {
            self.mark_time();
        }
        if let Some(draft) = self.state.draft.take() {
            return self.write_on(draft, STEP);
        }
        let expected = self.state.expected(self.engine.rule_count());
        if self.state.journal.as_ref().is_some_and(|journal| journal.is_rewrite_due(expected)) {
            self.begin_rewrite(STEP);
        }
    }

    fn begin_rewrite(&mut self, step: usize) {
        let Some(journal) = &mut self.state.journal else { return };
        journal.begin_rewrite();
        let mut octets = Vec::new();
        Record::Pause(self.pause).encode(&mut octets);
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.rewrite_part(octets);
        self.write_on(Draft::default(), step);
    }

    fn write_on(&mut self, mut draft: Draft, step: usize) {
        let Some(journal) = &mut self.state.journal else { return };
        let mut octets = Vec::new();
        let after = draft.after.take();
        let mut paths = self.engine.snapshot_after(after.as_ref()).peekable();
        let mut rules = 0;
        while let Some((peer, path)) = paths.next() {
            if rules == step {
                journal.rewrite_part(octets);
                self.state.draft = Some(draft);
                return;
            }
            rules += 1;
            // All paths of a rule: the next step begins behind it.
            let nlri = Arc::clone(&path.nlri);
            let mut of_one = vec![(peer, path)];
            while let Some(next) = paths.next_if(|(_, next)| next.nlri == nlri) {
                of_one.push(next);
            }
            encode_rule(&mut octets, &nlri, origins(&self.peers, &of_one));
            draft.after = Some(nlri);
        }
        drop(paths);
        journal.rewrite_part(octets);
        journal.finish_rewrite();
    }

    /// The last word. Where the filters go, what peers announced is not to come back with the next start before they announce it again.
    pub(super) fn save_at_the_end(&mut self, keep: bool) {
        self.save_changes();
        if let Some(draft) = self.state.draft.take() {
            self.write_on(draft, usize::MAX);
        } else if self.state.journal.as_ref().is_some_and(|journal| journal.is_rewrite_due(u64::MAX)) {
            self.begin_rewrite(usize::MAX);
        }
        let Some(mut journal) = self.state.journal.take() else { return };
        let mut octets = Vec::new();
        if !keep {
            Record::ForgetPeers.encode(&mut octets);
        }
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.append(octets);
        if !journal.close(CLOSING) {
            tracing::error!("not all of the state file is on the disk");
        }
    }
}

/// The routes of a rule with who announced them; those of peers that are configured no more are not kept.
fn origins<'a>(
    peers: &'a crate::peer_table::PeerTable,
    paths: &'a [(engine::PeerId, SnapshotPath)],
) -> impl Iterator<Item = (Origin, &'a SnapshotPath)> {
    paths.iter().filter_map(|(peer, path)| {
        let origin = match peers.get(PeerId(peer.0)) {
            _ if *peer == LOCAL => Origin::Local,
            Some(entry) => Origin::Peer(entry.config.address),
            None => return None,
        };
        Some((origin, path))
    })
}

/// Where filtering is paused until, for people.
pub(super) fn pause_end(pause: Option<Pause>) -> Option<String> {
    Some(crate::events::timestamp(clock::date(pause?.until?)))
}
