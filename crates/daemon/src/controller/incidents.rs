//! Rules from their announcement to their end, as they are told to the history on disk.
//!
//! Nothing of this is on the way of a rule to the data plane. What arrives and goes is noted when
//! it is saved, and looked at once the data plane is idle; after each change the rules are gone
//! through and compared with what was told before. A queue that is full costs nothing but time:
//! what could not be sent is found to be different again by the next pass.

mod describe;
mod told;

use crate::activity::Activity;
use crate::clock;
use crate::command::Requester;
use crate::convert::{self, LOCAL};
use crate::peer_table::PeerTable;
use api::Named;
use config::Config;
use dataplane::Counter;
use describe::{describe, milliseconds, shortened, wall};
use engine::{Engine, PeerId, Route, RuleRef, SnapshotPath, Timestamp};
use flowspec::{Nlri, Rule, RuleId};
use history::{Change, Counted, PeakRate, Recorder, Settings, Time};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use told::{Seen, Told};

/// How long one step takes.
const STEP: Duration = Duration::from_millis(2);

/// From the end of a step to the beginning of the next.
const PAUSE: Duration = Duration::from_millis(8);

/// While the queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// While changes go to the data plane, nothing is looked at for so long.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// Passes take this part of the time at most,
const PASS_SHARE: u32 = 30;

/// and of so many rules there is one so often at most.
const MANY_RULES: usize = 2_000;

const PASS_PAUSE: Duration = Duration::from_secs(1);

/// What rules counted is written so often; of more than [`BUSY_RULES`], less often.
const COUNTS: Duration = Duration::from_secs(10);

const BUSY_RULES: usize = 10_000;

/// Changes that are sent at once.
const BATCH: usize = 1024;

/// Arrivals and ends that wait to be looked at. More than that are found by the next pass; those
/// that come and go before it are not known then.
const MOST_NOTES: usize = 50_000;

/// Octets of the disk that history leaves free: the state file is worth more.
const RESERVE: u64 = 64 << 20;

/// At the end, the disk is waited for so long.
const CLOSING: Duration = Duration::from_secs(2);

/// A rule was announced, or is gone.
#[derive(Debug)]
struct Note {
    nlri: Arc<Nlri>,
    /// By whom and how it is announced now; `None`: by nobody.
    path: Option<(PeerId, Arc<Route>)>,
    /// Who asked for it here.
    by: Option<Requester>,
    expired: bool,
    time: Time,
}

/// What is told, and what was told. Without a file, nothing is.
#[derive(Debug)]
pub(super) struct Incidents {
    recorder: Option<(Settings, Recorder)>,
    told: Told,
    notes: VecDeque<Note>,
    expired: HashSet<RuleId>,
    /// Since when something may be different that was not looked at.
    changed: Option<Instant>,
    pass: Option<Pass>,
    /// When the next pass may begin, and the next step of anything.
    next_pass: Instant,
    next_step: Instant,
    /// The last step did not come to an end.
    unfinished: bool,
    /// All rules that there are have been told once.
    all_told: bool,
    /// When the data plane was changed last.
    applied: Time,
    counted: HashMap<RuleId, Counted>,
    /// Since when that was counted.
    counting: Instant,
    /// Rules whose counts are being sent.
    due: Vec<RuleId>,
    changes: Vec<Change>,
}

/// How an incident ends.
#[derive(Debug)]
struct End {
    time: Time,
    by: Option<Requester>,
    expired: bool,
}

/// Going through all rules.
#[derive(Debug)]
struct Pass {
    after: Option<Arc<Nlri>>,
    /// How long it has taken so far.
    took: Duration,
}

impl Incidents {
    /// With the file that the configuration names.
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let mut incidents = Self::with(None, now);
        incidents.configure(config, now);
        incidents
    }

    /// Without a file.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self::with(None, Instant::now())
    }

    fn with(recorder: Option<(Settings, Recorder)>, now: Instant) -> Self {
        Incidents {
            recorder,
            told: Told::default(),
            notes: VecDeque::new(),
            expired: HashSet::new(),
            changed: Some(now),
            pass: None,
            next_pass: now,
            next_step: now,
            unfinished: false,
            all_told: false,
            applied: 0,
            counted: HashMap::new(),
            counting: now,
            due: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Uses the file that the configuration names now.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        let wanted = settings(config);
        if self.recorder.as_ref().map(|(settings, _)| settings) == wanted.as_ref() {
            return;
        }
        self.close(now);
        let recorder = wanted.and_then(|settings| match Recorder::start(settings.clone(), CLOSING) {
            Ok(recorder) => Some((settings, recorder)),
            Err(error) => {
                tracing::warn!(%error, "no history is written");
                None
            }
        });
        *self = Self::with(recorder, now);
    }

    /// Where it is.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.recorder.as_ref().map(|(settings, _)| settings.file.clone())
    }

    /// Why nothing is written now, for people.
    pub(super) fn warning(&self) -> Option<String> {
        let problem = self.recorder.as_ref()?.1.problem()?;
        Some(format!("no history is written: {problem}"))
    }

    /// A rule is announced with these paths, or gone.
    pub(super) fn note(&mut self, nlri: &Arc<Nlri>, paths: &[(PeerId, SnapshotPath)]) {
        self.add_note(nlri, paths.first().map(|(peer, path)| (*peer, Arc::clone(&path.route))), None);
    }

    /// The same because somebody asked for it here.
    pub(super) fn asked(&mut self, nlri: &Arc<Nlri>, route: Option<&Arc<Route>>, by: &Requester) {
        self.add_note(nlri, route.map(|route| (LOCAL, Arc::clone(route))), Some(by.clone()));
    }

    fn add_note(&mut self, nlri: &Arc<Nlri>, path: Option<(PeerId, Arc<Route>)>, by: Option<Requester>) {
        if self.recorder.is_none() {
            return;
        }
        let expired = !self.expired.is_empty() && self.expired.remove(&nlri.id());
        if self.notes.len() < MOST_NOTES {
            self.notes.push_back(Note { nlri: Arc::clone(nlri), path, by, expired, time: wall() });
        }
        self.changed(Instant::now());
    }

    /// The lifetime of a rule is over.
    pub(super) fn expired(&mut self, rule: RuleId) {
        if self.recorder.is_some() && self.expired.len() < MOST_NOTES {
            self.expired.insert(rule);
        }
    }

    /// Something may be different.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// The data plane was changed, or did not take a change.
    pub(super) fn applied(&mut self, now: Instant) {
        self.applied = wall();
        self.changed(now);
    }

    /// What a rule has counted since it was asked last.
    pub(super) fn count(&mut self, rule: RuleId, counter: &Counter, activity: Option<&Activity>, start: Timestamp) {
        if self.recorder.is_none() {
            return;
        }
        let none = Counted { dropped: Some(0), dropped_bytes: Some(0), ..Counted::default() };
        let counted = self.counted.entry(rule).or_insert(none);
        let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        counted.packets += counter.packets;
        counted.bytes += counter.bytes;
        counted.dropped = both(counted.dropped, counter.dropped_packets);
        counted.dropped_bytes = both(counted.dropped_bytes, counter.dropped_bytes);
        counted.last_hit = wall();
        if let Some(peak) = activity.and_then(Activity::peak) {
            let date = |second: u32| milliseconds(clock::date(start.plus(second.into())));
            counted.peak = PeakRate {
                packets: peak.packets.into(),
                packets_time: date(peak.packets_at),
                bits: peak.bits.into(),
                bits_time: date(peak.bits_at),
            };
        }
    }

    /// When to go on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unfinished.then_some(self.next_step)
    }

    /// Looks at what is new for a moment, if it is time. `idle`: no change is on its way to the
    /// data plane.
    pub(super) fn step(&mut self, engine: &Engine, peers: &PeerTable, idle: bool, now: Instant) {
        if self.recorder.is_none() || self.next_step > now {
            return;
        }
        let has_waited = |since: Instant| now.saturating_duration_since(since) >= BUSY_PATIENCE;
        let is_time = self.pass.is_some() || idle || self.changed.is_some_and(has_waited);
        let began = Instant::now();
        self.unfinished = is_time && !self.look(engine, peers, began, now);
        if self.unfinished {
            self.next_step = Instant::now() + if self.has_room() { PAUSE } else { FULL_PAUSE };
            return;
        }
        self.send_counts(now, false);
        self.send();
    }

    /// True if there is nothing more to look at now.
    fn look(&mut self, engine: &Engine, peers: &PeerTable, began: Instant, now: Instant) -> bool {
        if self.recorder.as_ref().is_some_and(|(_, recorder)| recorder.wants_all()) {
            self.told = Told::default();
            (self.pass, self.all_told, self.changed) = (None, false, Some(now));
        }
        while let Some(note) = self.notes.pop_front() {
            if !self.has_room() {
                self.notes.push_front(note);
                return false;
            }
            self.take_note(note, engine, peers);
            if began.elapsed() >= STEP {
                return false;
            }
        }
        if self.notes.capacity() > BATCH {
            self.notes = VecDeque::new();
        }
        if self.pass.is_none() {
            if self.changed.is_none() || self.next_pass > now {
                return true;
            }
            self.changed = None;
            self.told.begin_pass();
            self.pass = Some(Pass { after: None, took: Duration::ZERO });
        }
        self.go_through(engine, peers, began, now)
    }

    fn go_through(&mut self, engine: &Engine, peers: &PeerTable, began: Instant, now: Instant) -> bool {
        let Some(mut pass) = self.pass.take() else { return true };
        let after = pass.after.clone();
        for (index, rule) in engine.rules_after(after.as_ref()).enumerate() {
            if !self.has_room() || (index % 64 == 63 && began.elapsed() >= STEP) {
                return self.pause_pass(pass, began);
            }
            self.see(&rule, peers, None);
            pass.after = Some(Arc::clone(rule.nlri()));
        }
        for (id, seen) in self.told.not_seen() {
            if !self.has_room() {
                return self.pause_pass(pass, began);
            }
            self.end(id, seen, peers, End { time: wall(), by: None, expired: false });
        }
        if !self.all_told {
            if !self.has_room() {
                return self.pause_pass(pass, began);
            }
            self.changes.push(Change::AllTold { time: wall() });
            self.all_told = true;
        }
        let took = pass.took + began.elapsed();
        let least = if engine.rule_count() > MANY_RULES { PASS_PAUSE } else { Duration::ZERO };
        self.next_pass = now + least.max(took * PASS_SHARE);
        self.told.end_pass();
        true
    }

    fn pause_pass(&mut self, pass: Pass, began: Instant) -> bool {
        let took = pass.took + began.elapsed();
        self.pass = Some(Pass { took, ..pass });
        false
    }

    fn take_note(&mut self, note: Note, engine: &Engine, peers: &PeerTable) {
        let id = note.nlri.id();
        if let Some(rule) = engine.rule(&note.nlri) {
            return self.see(&rule, peers, Some(&note));
        }
        match (self.told.get(id), note.path) {
            (Some(seen), None) => {
                self.end(id, seen, peers, End { time: note.time, by: note.by, expired: note.expired });
            }
            // It is gone again: what follows says when.
            (None, Some((peer, route))) => {
                let rule =
                    Rule { nlri: Nlri::clone(&note.nlri), actions: route.actions.clone(), next_hop: route.next_hop };
                let what = Box::new(describe(&rule, &route, name(peers, peer), note.by));
                let (time, state) = (note.time, api::RuleState::Pending);
                let state_name = state.name().to_owned();
                self.changes.push(Change::Began {
                    rule: id.as_u64(),
                    time,
                    what,
                    state: state_name,
                    reason: None,
                    state_time: time,
                });
                self.told.set(id, Seen::new(peer, &route, state, None));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Compares a rule with what was told of it.
    fn see(&mut self, rule: &RuleRef<'_>, peers: &PeerTable, note: Option<&Note>) {
        let (id, state) = (rule.id(), rule.state());
        let (state_name, reason) = (convert::rule_state(&state), state.reason().map(shortened));
        let now = Seen::new(rule.best_peer(), rule.route(), state_name, reason.as_deref());
        let before = self.told.get(id);
        let by = note.and_then(|note| note.by.clone());
        // Somebody who announces it once more wants a change, even if only of its lifetime.
        let asked = by.is_some() && note.is_some_and(|note| note.path.is_some());
        if !asked && before.is_some_and(|before| before.is_same(&now)) {
            self.told.set(id, now);
            return;
        }
        let describe = |by| Box::new(describe(&rule.rule(), rule.route(), name(peers, rule.best_peer()), by));
        let (rule_id, announced) = (id.as_u64(), milliseconds(clock::date(rule.announced())));
        let noted = note.map(|note| note.time);
        let state_time = self.state_time(state_name, noted.unwrap_or(announced));
        let state = state_name.name().to_owned();
        match before {
            None => {
                let (time, what) = (noted.unwrap_or(announced), describe(by));
                self.changes.push(Change::Began { rule: rule_id, time, what, state, reason, state_time });
            }
            Some(before) => {
                if asked || !before.is_same_path(&now) {
                    let (time, what) = (noted.unwrap_or_else(wall), describe(by));
                    self.changes.push(Change::Changed { rule: rule_id, time, what });
                }
                if !before.is_same_state(&now) {
                    self.changes.push(Change::State { rule: rule_id, time: state_time, state, reason });
                }
            }
        }
        self.told.set(id, now);
    }

    /// Since when a rule has had this state: one that the data plane makes, since its last change.
    fn state_time(&self, state: api::RuleState, announced: Time) -> Time {
        use api::RuleState::{Failed, Installed, OverCapacity};
        match state {
            Installed | Failed | OverCapacity if self.applied >= announced => self.applied,
            _ => wall(),
        }
    }

    fn end(&mut self, id: RuleId, seen: Seen, peers: &PeerTable, end: End) {
        let End { time, by, expired } = end;
        self.tell_count(id, wall());
        let peer = seen.peer();
        let has_session = || peers.get(peer).is_some_and(|entry| entry.negotiated().is_some());
        let why = match expired {
            true => "expired",
            false if by.is_some() || peer == LOCAL || has_session() => "withdrawn",
            false => "session lost",
        };
        self.changes.push(Change::Ended { rule: id.as_u64(), time, why: why.to_owned(), by });
        self.told.forget(id);
    }

    /// Sends what was counted, if it is time.
    fn send_counts(&mut self, now: Instant, all: bool) {
        let busy = u32::try_from(self.counted.len() / BUSY_RULES).unwrap_or(u32::MAX);
        let pause = COUNTS.saturating_mul(busy.saturating_add(1));
        if self.due.is_empty() && (all || now.saturating_duration_since(self.counting) >= pause) {
            self.due = self.counted.keys().copied().collect();
        }
        let time = wall();
        while let Some(id) = self.due.last().copied().filter(|_| self.has_room()) {
            self.tell_count(id, time);
            self.due.pop();
            if self.due.is_empty() {
                self.counting = now;
                self.counted.shrink_to(BUSY_RULES);
            }
        }
    }

    fn tell_count(&mut self, id: RuleId, time: Time) {
        if let Some(counted) = self.counted.remove(&id) {
            // The timer is late by some milliseconds.
            let seconds = i64::try_from(self.counting.elapsed().as_secs()).unwrap_or(i64::MAX).saturating_sub(1);
            self.changes.push(Change::Counted { rule: id.as_u64(), time, seconds, counted });
        }
    }

    /// Whether there is room for more changes; sends those that there are if not.
    fn has_room(&mut self) -> bool {
        if self.changes.len() >= BATCH {
            self.send();
        }
        self.changes.len() < BATCH
    }

    fn send(&mut self) {
        let Some((_, recorder)) = self.recorder.as_ref().filter(|_| !self.changes.is_empty()) else { return };
        if let Err(changes) = recorder.try_send(std::mem::take(&mut self.changes)) {
            self.changes = changes;
        }
    }

    /// The daemon ends, or another file is to be used. What is in the queue is waited for a moment;
    /// the rules may go on, and so do their incidents.
    pub(super) fn close(&mut self, now: Instant) {
        if self.recorder.is_none() {
            return;
        }
        self.send_counts(now, true);
        self.send();
        self.recorder = None;
    }
}

/// The name of an origin of rules.
fn name(peers: &PeerTable, peer: PeerId) -> String {
    if peer == LOCAL { "local".to_owned() } else { peers.name(peer).unwrap_or_default().to_owned() }
}

/// The file and its room, as configured; `None`: there is to be no history.
fn settings(config: &Config) -> Option<Settings> {
    let file = config.history.path(&config.state.file)?;
    let (keep, size) = (config.history.keep.0, config.history.megabytes.saturating_mul(1_000_000));
    Some(Settings { file, keep, size, reserve: RESERVE })
}

#[cfg(test)]
mod tests;
