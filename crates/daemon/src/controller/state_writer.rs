//! What is kept over a restart: each change is in the state file before it goes to the data plane.

use crate::clock;
use crate::convert::LOCAL;
use crate::peer_table::PeerTable;
use crate::state_file::{
    self, Journal, JournalError, Loaded, Origin, Pause, Record, RetainedFamily, Saved, Ticket, encode_rule,
};
use config::Config;
use engine::{Engine, PeerId, SnapshotPath};
use flowspec::Nlri;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules rewritten in one step; decisions then wait for a millisecond, not for the whole rewrite.
const REWRITE_STEP: usize = 500;

/// How often the time is saved while a lifetime is running. After a crash of the machine, lifetimes
/// may be longer by this.
const MARK_INTERVAL: Duration = Duration::from_secs(20);

/// Longest wait for the file after a session was lost.
const MAX_RETENTION_WAIT: Duration = Duration::from_millis(100);

/// Longest wait for the disk at shutdown.
const CLOSING: Duration = Duration::from_secs(5);

/// Estimated octets of a rule in the file, until the real size is known.
const ESTIMATED_RULE_OCTETS: u64 = 80;

/// The state file, and the progress of its rewrite.
#[derive(Debug, Default)]
pub(super) struct StateWriter {
    journal: Option<Journal>,
    draft: Option<Rewrite>,
    /// What was wrong with the file at the start.
    notes: Vec<String>,
    /// Appended records of rules, and their octets.
    appended: (u64, u64),
    /// When the time was last saved.
    marked: Option<Instant>,
}

/// A rewrite of the file in progress. Each rule in it is as it was at some moment of the rewrite;
/// changes to rules that are already rewritten are appended.
#[derive(Debug, Default)]
struct Rewrite {
    after: Option<Arc<Nlri>>,
}

impl StateWriter {
    /// Continues with the loaded file. If no thread can be started, the daemon runs without a state
    /// file and reports that.
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

    /// Changes to another file, if the configuration names one.
    pub(super) fn configure(&mut self, config: &Config) {
        let before = self.journal.as_ref().map_or(Path::new(""), Journal::path);
        if before == config.state.file {
            return;
        }
        let loaded = if config.state.file.exists() { state_file::load(&config.state.file) } else { Loaded::default() };
        if loaded.restored.rules() > 0 {
            let (rules, file) = (loaded.restored.rules(), config.state.file.display());
            tracing::warn!("{file} has {rules} rules of another run; they are replaced by the current rules");
        }
        // The file's contents differ from the current state: it has to be rewritten.
        *self = Self::open(config, &Loaded { append_at: None, ..loaded });
        if let Some(journal) = &self.journal {
            journal.request_rewrite();
        }
    }

    /// Why changes are not saved, if they are not.
    pub(super) fn write_error(&self) -> Option<JournalError> {
        self.journal.as_ref()?.write_error()
    }

    /// What was wrong with the file at the start, a sentence each.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> + '_ {
        let path = self.journal.as_ref().map_or(Path::new("state file"), Journal::path).display();
        self.notes.iter().map(move |note| format!("{path}: {note}"))
    }

    /// The ticket of the last append.
    pub(super) fn latest(&self) -> Option<Ticket> {
        self.journal.as_ref().map(Journal::latest)
    }

    /// When to continue the rewrite.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.draft.as_ref().map(|_| Instant::now())
    }

    /// Estimated octets of a file with this many rules.
    fn expected(&self, rules: usize) -> u64 {
        let (records, octets) = self.appended;
        rules as u64 * octets.checked_div(records).unwrap_or(ESTIMATED_RULE_OCTETS).max(ESTIMATED_RULE_OCTETS)
    }

    /// Requests a rewrite.
    pub(super) fn request_rewrite(&self) {
        if let Some(journal) = &self.journal {
            journal.request_rewrite();
        }
    }

    /// Appends what changed since the last call. Changes sent to the data plane afterwards have to
    /// wait for the [ticket](Self::latest).
    /// `each` is called with each rule that changed and its paths, none if it is gone.
    pub(super) fn save_changes(
        &mut self,
        engine: &mut Engine,
        peers: &PeerTable,
        mut each: impl FnMut(&Arc<Nlri>, &[(PeerId, SnapshotPath)]),
    ) {
        let (mut octets, mut records) = (Vec::new(), 0);
        let keep = self.journal.is_some();
        engine.take_unsaved(|nlri, paths| {
            each(nlri, paths);
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

    /// Appends for how long the rules of lost sessions are retained, and waits a moment until it is
    /// in the file.
    pub(super) fn save_retention(&mut self, changes: Vec<(IpAddr, Vec<RetainedFamily>)>) {
        let Some(journal) = self.journal.as_mut().filter(|_| !changes.is_empty()) else { return };
        let mut octets = Vec::new();
        for (peer, families) in changes {
            Record::Retained { peer, families }.encode(&mut octets);
        }
        Record::Clock(clock::mark()).encode(&mut octets);
        let ticket = journal.append(octets);
        if journal.write_error().is_none() {
            ticket.wait(MAX_RETENTION_WAIT);
        }
    }

    /// Appends changes of local rules; returns a channel that is answered when they are on the
    /// disk. `None` if there is no state file.
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

    /// Saves the time, for a start after a crash of the machine.
    pub(super) fn mark_time(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        self.marked = Some(Instant::now());
        let mut octets = Vec::new();
        Record::Clock(clock::mark()).encode(&mut octets);
        journal.append(octets);
    }

    /// Starts a rewrite when it is due, and continues one that was started.
    pub(super) fn rewrite_if_due(&mut self, engine: &Engine, peers: &PeerTable, pause: Option<Pause>) {
        let lives = engine.next_deadline().is_some() || pause.is_some_and(|pause| pause.until.is_some());
        if lives && self.marked.is_none_or(|at| at.elapsed() >= MARK_INTERVAL) {
            self.mark_time();
        }
        if let Some(draft) = self.draft.take() {
            return self.write_on(engine, peers, draft, REWRITE_STEP);
        }
        let expected = self.expected(engine.rule_count());
        if self.journal.as_ref().is_some_and(|journal| journal.is_rewrite_due(expected)) {
            self.begin_rewrite(engine, peers, pause, REWRITE_STEP);
        }
    }

    fn begin_rewrite(&mut self, engine: &Engine, peers: &PeerTable, pause: Option<Pause>, step: usize) {
        let Some(journal) = &mut self.journal else { return };
        journal.begin_rewrite();
        let mut octets = Vec::new();
        Record::Pause(pause).encode(&mut octets);
        Record::Clock(clock::mark()).encode(&mut octets);
        for (peer, families) in peers.retention() {
            Record::Retained { peer, families: families.to_vec() }.encode(&mut octets);
        }
        journal.rewrite_part(octets);
        self.write_on(engine, peers, Rewrite::default(), step);
    }

    fn write_on(&mut self, engine: &Engine, peers: &PeerTable, mut draft: Rewrite, step: usize) {
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
            // All paths of a rule belong together: the next step begins after it.
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

    /// The last records at shutdown. If the filters are removed, rules of peers must not return at
    /// the next start before the peers announce them again.
    pub(super) fn close(&mut self, engine: &mut Engine, peers: &PeerTable, pause: Option<Pause>, keep: bool) {
        self.save_changes(engine, peers, |_, _| {});
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

/// The paths of a rule with their origins; those of peers that are no longer configured are not
/// saved.
fn origins<'a>(
    peers: &'a PeerTable,
    paths: &'a [(PeerId, SnapshotPath)],
) -> impl Iterator<Item = (Origin, &'a SnapshotPath)> {
    paths.iter().filter_map(|(peer, path)| {
        let origin = match peers.get(*peer) {
            _ if *peer == LOCAL => Origin::Local,
            Some(entry) => Origin::Peer(entry.config().address),
            None => return None,
        };
        Some((origin, path))
    })
}

/// Until when filtering is paused, for people.
pub(super) fn pause_end(pause: Option<Pause>) -> Option<String> {
    Some(crate::events::timestamp(clock::date(pause?.until?)))
}
