//! What is kept over a restart: each change is in the state file before the data plane hears of it.

use crate::clock;
use crate::convert::LOCAL;
use crate::net::PeerId;
use crate::peer_table::PeerTable;
use crate::state_file::{self, Journal, JournalError, Loaded, Origin, Pause, Record, Saved, Ticket, encode_rule};
use config::Config;
use engine::{Engine, SnapshotPath};
use flowspec::Nlri;
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
    pub(super) fn trouble(&self) -> Option<JournalError> {
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

    /// Has the whole written anew.
    pub(super) fn request_rewrite(&self) {
        if let Some(journal) = &self.journal {
            journal.request_rewrite();
        }
    }

    /// Appends what changed since this was called last. What is told to the data plane afterwards has to wait for the
    /// [ticket](Self::latest).
    pub(super) fn save_changes(&mut self, engine: &mut Engine, peers: &PeerTable) {
        let (mut octets, mut records) = (Vec::new(), 0);
        let keep = self.journal.is_some();
        engine.take_unsaved(|nlri, paths| {
            if keep {
                encode_rule(&mut octets, nlri, origins(peers, paths));
                records += 1;
            }
        });
        if octets.is_empty() {
            return;
        }
        self.appended.0 += records;
        self.appended.1 += octets.len() as u64;
        if let Some(journal) = &mut self.journal {
            journal.append(octets);
        }
    }

    /// Appends what somebody here said of rules, and tells when it is on the disk. `None` where nothing is kept.
    pub(super) fn save_rules(&mut self, engine: &mut Engine, peers: &PeerTable, nlris: &[Arc<Nlri>]) -> Option<Saved> {
        let mut octets = Vec::new();
        for nlri in nlris {
            let paths = engine.snapshot_rule(nlri);
            encode_rule(&mut octets, nlri, origins(peers, &paths));
        }
        self.append_durably(octets)
    }

    /// The same for a pause and its end.
    pub(super) fn save_pause(&mut self, pause: Option<Pause>) -> Option<Saved> {
        let mut octets = Vec::new();
        Record::Pause(pause).encode(&mut octets);
        self.append_durably(octets)
    }

    fn append_durably(&mut self, mut octets: Vec<u8>) -> Option<Saved> {
        let journal = self.journal.as_mut()?;
        self.marked = Some(Instant::now());
        Record::Clock(clock::mark()).encode(&mut octets);
        Some(journal.append_durably(octets))
    }

    /// Writes down what time it is, for a start after the machine crashed.
    pub(super) fn mark_time(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        self.marked = Some(Instant::now());
        let mut octets = Vec::new();
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.append(octets);
    }

    /// Writes the whole anew when it is time to, and goes on with what was begun.
    pub(super) fn rewrite_if_due(&mut self, engine: &Engine, peers: &PeerTable, pause: Option<Pause>) {
        let lives = engine.next_deadline().is_some() || pause.is_some_and(|pause| pause.until.is_some());
        if lives && self.marked.is_none_or(|at| at.elapsed() >= MARK_INTERVAL) {
            self.mark_time();
        }
        if let Some(draft) = self.draft.take() {
            return self.write_on(engine, peers, draft, STEP);
        }
        let expected = self.expected(engine.rule_count());
        if self.journal.as_ref().is_some_and(|journal| journal.is_rewrite_due(expected)) {
            self.begin_rewrite(engine, peers, pause, STEP);
        }
    }

    fn begin_rewrite(&mut self, engine: &Engine, peers: &PeerTable, pause: Option<Pause>, step: usize) {
        let Some(journal) = &mut self.journal else { return };
        journal.begin_rewrite();
        let mut octets = Vec::new();
        Record::Pause(pause).encode(&mut octets);
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.rewrite_part(octets);
        self.write_on(engine, peers, Draft::default(), step);
    }

    fn write_on(&mut self, engine: &Engine, peers: &PeerTable, mut draft: Draft, step: usize) {
        let Some(journal) = &mut self.journal else { return };
        let mut octets = Vec::new();
        let after = draft.after.take();
        let mut paths = engine.snapshot_after(after.as_ref()).peekable();
        let mut rules = 0;
        while let Some((peer, path)) = paths.next() {
            if rules == step {
                journal.rewrite_part(octets);
                self.draft = Some(draft);
                return;
            }
            rules += 1;
            // All paths of a rule: the next step begins behind it.
            let nlri = Arc::clone(&path.nlri);
            let mut of_one = vec![(peer, path)];
            while let Some(next) = paths.next_if(|(_, next)| next.nlri == nlri) {
                of_one.push(next);
            }
            encode_rule(&mut octets, &nlri, origins(peers, &of_one));
            draft.after = Some(nlri);
        }
        drop(paths);
        journal.rewrite_part(octets);
        journal.finish_rewrite();
    }

    /// The last word. Where the filters go, what peers announced is not to come back with the next start before they announce it again.
    pub(super) fn close(&mut self, engine: &mut Engine, peers: &PeerTable, pause: Option<Pause>, keep: bool) {
        self.save_changes(engine, peers);
        if let Some(draft) = self.draft.take() {
            self.write_on(engine, peers, draft, usize::MAX);
        } else if self.journal.as_ref().is_some_and(|journal| journal.is_rewrite_due(u64::MAX)) {
            self.begin_rewrite(engine, peers, pause, usize::MAX);
        }
        let Some(mut journal) = self.journal.take() else { return };
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
    peers: &'a PeerTable,
    paths: &'a [(engine::PeerId, SnapshotPath)],
) -> impl Iterator<Item = (Origin, &'a SnapshotPath)> {
    paths.iter().filter_map(|(peer, path)| {
        let origin = match peers.get(PeerId(peer.0)) {
            _ if *peer == LOCAL => Origin::Local,
            Some(entry) => Origin::Peer(entry.config().address),
            None => return None,
        };
        Some((origin, path))
    })
}

/// Where filtering is paused until, for people.
pub(super) fn pause_end(pause: Option<Pause>) -> Option<String> {
    Some(crate::events::timestamp(clock::date(pause?.until?)))
}
