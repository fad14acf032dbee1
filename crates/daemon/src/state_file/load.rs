//! Loads a state file.

use super::contents::{FIRST_LINE, Origin, Restored, SavedRules};
use super::record::{self, Found};
use super::{Record, text};
use engine::SnapshotPath;
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The contents of a file, and its condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Its contents.
    pub restored: Restored,
    /// What was wrong with it, a sentence each.
    pub wrong: Vec<String>,
    /// Changes can be appended after this many octets; `None`: it has to be rewritten first.
    pub append_at: Option<u64>,
    /// Something in it could not be read: a copy has to be kept.
    pub damaged: bool,
    /// No copy could be kept: the file must not be replaced.
    pub is_unique: bool,
}

/// Reads the file; a missing file has no rules. Of a file that cannot be read completely, a copy is
/// kept beside it under another name, which is reported.
pub fn load(path: &Path) -> Loaded {
    let mut loaded = match std::fs::read(path) {
        Ok(octets) => parse(&octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Loaded::default(),
        Err(error) => Loaded { wrong: vec![format!("it cannot be read: {error}")], damaged: true, ..Loaded::default() },
    };
    if loaded.damaged {
        loaded.wrong.push(match keep_copy(path) {
            Ok(kept) => format!("a copy is kept as {}", kept.display()),
            Err(error) => {
                loaded.is_unique = true;
                format!("no copy could be kept: {error}")
            }
        });
    }
    loaded
}

/// Gives the file a second name (hard link).
fn keep_copy(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    for number in 1..1000 {
        let mut aside = name.clone();
        if number > 1 {
            aside.push(format!("-{number}"));
        }
        match std::fs::hard_link(path, &aside) {
            Ok(()) => return Ok(aside.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Not all file systems have hard links.
            Err(_) => return std::fs::copy(path, &aside).map(|_| aside.into()),
        }
    }
    Err(io::Error::other("there are too many of its kind; remove the old ones"))
}

/// Decodes the octets of a state file.
pub(super) fn parse(octets: &[u8]) -> Loaded {
    if let Some(records) = octets.strip_prefix(FIRST_LINE) {
        return journal(records);
    }
    if octets.starts_with(text::FIRST_LINE.as_bytes()) {
        let (saved_rules, wrong) = text::parse(&String::from_utf8_lossy(octets));
        let restored = Restored { saved_rules, ..Restored::default() };
        return Loaded { restored, damaged: !wrong.is_empty(), wrong, append_at: None, is_unique: false };
    }
    let wrong = if FIRST_LINE.starts_with(octets) || octets.iter().all(|octet| *octet == 0) {
        "it was never written to its end; there are no rules in it".to_owned()
    } else {
        let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
        let line: String = String::from_utf8_lossy(line).chars().take(40).collect();
        format!("it begins with `{}`, which is not a known version of the state file", line.escape_debug())
    };
    Loaded { wrong: vec![wrong], damaged: true, ..Loaded::default() }
}

fn journal(records: &[u8]) -> Loaded {
    let mut state = State::default();
    let (mut wrong, mut damaged) = (Vec::new(), 0_u64);
    let mut rest = records;
    let place = |rest: &[u8]| (FIRST_LINE.len() + records.len() - rest.len()) as u64;
    let mut end = None;
    while !rest.is_empty() {
        let found = record::decode_at(rest);
        if let Found::Record(payload, after) = found {
            match Record::decode(payload) {
                Some(record) => state.apply(record),
                None => {
                    damaged += 1;
                    wrong.push(format!("the record at octet {} has no form that is known here", place(rest)));
                }
            }
            rest = after;
            continue;
        }
        match (record::next_record(&rest[1..]), found) {
            (Some(skipped), _) => {
                damaged += 1;
                wrong.push(format!("octets {} to {} are damaged", place(rest), place(rest) + skipped as u64));
                rest = &rest[1 + skipped..];
            }
            (None, Found::Torn) => {
                wrong.push(format!("the last record is cut off at octet {} and left out", place(rest)));
                end = Some(place(rest));
                break;
            }
            (None, _) => {
                damaged += 1;
                wrong.push(format!("the {} octets from {} on are damaged", rest.len(), place(rest)));
                break;
            }
        }
    }
    if wrong.len() > MAX_LOGGED_DAMAGES {
        let more = wrong.len() - MAX_LOGGED_DAMAGES;
        wrong.truncate(MAX_LOGGED_DAMAGES);
        wrong.push(format!("... and {more} more places"));
    }
    let whole = damaged == 0;
    Loaded {
        restored: state.finish(),
        wrong,
        append_at: whole.then(|| end.unwrap_or_else(|| place(&[]))),
        damaged: !whole,
        is_unique: false,
    }
}

/// Most damaged places that are reported one by one.
const MAX_LOGGED_DAMAGES: usize = 20;

/// The state after the records read so far.
#[derive(Default)]
struct State {
    rules: HashMap<Arc<Nlri>, Vec<(Origin, SnapshotPath)>>,
    rest: Restored,
}

impl State {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Rule { nlri, paths } if paths.is_empty() => drop(self.rules.remove(&nlri)),
            Record::Rule { nlri, paths } => drop(self.rules.insert(nlri, paths)),
            Record::Pause(pause) => self.rest.pause = pause,
            Record::ForgetPeers => self.rules.retain(|_, paths| {
                paths.retain(|(origin, _)| *origin == Origin::Local);
                !paths.is_empty()
            }),
            Record::Clock(mark) => self.rest.clock = Some(mark),
            Record::Retained { peer, families } if families.is_empty() => drop(self.rest.retained.remove(&peer)),
            Record::Retained { peer, families } => drop(self.rest.retained.insert(peer, families)),
        }
    }

    fn finish(self) -> Restored {
        let mut by_origin = BTreeMap::<Origin, Vec<SnapshotPath>>::new();
        for (origin, path) in self.rules.into_values().flatten() {
            by_origin.entry(origin).or_default().push(path);
        }
        for paths in by_origin.values_mut() {
            // In the order in which they were announced, as far as it is known: it decides who
            // reaches a limit first.
            paths.sort_by(|a, b| {
                (a.received, &a.nlri, a.path_id.map(|id| id.0)).cmp(&(b.received, &b.nlri, b.path_id.map(|id| id.0)))
            });
        }
        let saved_rules = by_origin.into_iter().map(|(origin, paths)| SavedRules { origin, paths }).collect();
        Restored { saved_rules, ..self.rest }
    }
}
