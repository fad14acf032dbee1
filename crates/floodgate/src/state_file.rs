//! What is remembered over a restart: the rules of each peer and the local ones, so that a new start enforces them as stale from its first
//! moment, without a gap.
//!
//! Lines of text: whose the rules are that follow, then a line for each rule as [`engine::SnapshotPath`] writes it, and at last how many there
//! are. The file is written aside and renamed, so that it is whole whenever the daemon is killed; a line that cannot be read is left out
//! and said so, never guessed.
//!
//! ```text
//! floodgate-state 1
//! peer 192.0.2.1
//! path=- since=1732360000 ... wire ipv4 0118c00002038106048119 8006000000000000
//! local
//! path=- since=1732360100 until=1732362000 ... wire ipv4 ...
//! end 2
//! ```

use engine::SnapshotPath;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;

const FIRST_LINE: &str = "floodgate-state 1";

/// Who announced a remembered rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The peer with this address.
    Peer(IpAddr),
    /// Somebody on this machine.
    Local,
}

/// The rules of one origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Who announced them.
    pub origin: Origin,
    /// What they are.
    pub paths: Vec<SnapshotPath>,
}

/// The text of a state file, in the making.
#[derive(Debug)]
pub struct Writer {
    text: String,
    origin: Option<Origin>,
    count: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Writer { text: format!("{FIRST_LINE}\n"), origin: None, count: 0 }
    }
}

impl Writer {
    /// Adds a rule; rules of one origin need not come together, but then the text is shorter.
    pub fn add(&mut self, origin: Origin, path: &SnapshotPath) {
        // Writing to a String cannot fail.
        if self.origin.replace(origin) != Some(origin) {
            let _ = match origin {
                Origin::Peer(address) => writeln!(self.text, "peer {address}"),
                Origin::Local => writeln!(self.text, "local"),
            };
        }
        let _ = writeln!(self.text, "{path}");
        self.count += 1;
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        let _ = writeln!(self.text, "end {}", self.count);
        self.text
    }
}

/// Puts the text in the file's place in one step.
///
/// # Errors
/// The directory or the file cannot be written; the old file is as it was.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let aside = path.with_extension("new");
    let mut file = std::fs::File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}

/// Reads the file; no file is no rules. With it what was wrong, a sentence each.
///
/// # Errors
/// There is a file, and it cannot be read.
pub fn load(path: &Path) -> io::Result<(Vec<Remembered>, Vec<String>)> {
    match std::fs::read(path) {
        Ok(octets) => Ok(parse(&String::from_utf8_lossy(&octets))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Vec::new(), Vec::new())),
        Err(error) => Err(error),
    }
}

/// Reads the text of a state file.
pub fn parse(text: &str) -> (Vec<Remembered>, Vec<String>) {
    let (mut remembered, mut wrong) = (Vec::<Remembered>::new(), Vec::new());
    let mut lines = text.lines().enumerate();
    if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
        wrong.push(format!("line 1: expected `{FIRST_LINE}`"));
        return (remembered, wrong);
    }
    let (mut known, mut count, mut announced) = (false, 0_usize, None);
    for (number, line) in lines {
        let mut bad = |what: String| wrong.push(format!("line {}: {what}", number + 1));
        let origin = match line.split_once(' ') {
            Some(("peer", address)) => match address.parse() {
                Ok(address) => Some(Origin::Peer(address)),
                Err(_) => {
                    // What follows is nobody's.
                    known = false;
                    bad(format!("`{address}` is no address"));
                    continue;
                }
            },
            None if line == "local" => Some(Origin::Local),
            Some(("end", count)) => {
                announced = count.parse().ok();
                continue;
            }
            _ => None,
        };
        match (origin, line.parse(), remembered.last_mut()) {
            (Some(origin), ..) => {
                known = true;
                remembered.push(Remembered { origin, paths: Vec::new() });
            }
            (None, Ok(path), Some(last)) if known => {
                last.paths.push(path);
                count += 1;
            }
            (None, Ok(_), _) => bad("a rule of nobody".to_owned()),
            (None, Err(error), _) => bad(error.to_string()),
        }
    }
    if announced != Some(count) && wrong.is_empty() {
        wrong.push(format!("the end is missing: {count} rules were read"));
    }
    (remembered, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Route, Timestamp};
    use std::sync::Arc;

    fn path(rule: &str) -> SnapshotPath {
        let rule: flowspec::Rule = rule.parse().unwrap();
        SnapshotPath {
            nlri: Arc::new(rule.nlri),
            path_id: None,
            received: Timestamp(1_732_360_000),
            deadline: Some(Timestamp(1_732_362_000)),
            route: Arc::new(Route::local(rule.actions)),
        }
    }

    fn example() -> (String, Vec<Remembered>) {
        let peer =
            ["dst 192.0.2.1/32 proto udp sport 123 then discard", "dst 2001:db8::1/128 then rate 1mbps"].map(path);
        let local = [path("dst 192.0.2.2/32 then mark 46")];
        let address = Origin::Peer("192.0.2.9".parse().unwrap());
        let mut writer = Writer::default();
        peer.iter().for_each(|path| writer.add(address, path));
        local.iter().for_each(|path| writer.add(Origin::Local, path));
        let text = writer.finish();
        let remembered = vec![
            Remembered { origin: address, paths: peer.into() },
            Remembered { origin: Origin::Local, paths: local.into() },
        ];
        (text, remembered)
    }

    #[test]
    fn text_and_rules_are_each_others_image() {
        let (text, remembered) = example();
        assert_eq!(parse(&text), (remembered, vec![]), "{text}");
    }

    #[test]
    fn damage_costs_the_damaged_line_only_and_is_told() {
        let (text, _) = example();
        let rules = |remembered: &[Remembered]| remembered.iter().map(|r| r.paths.len()).sum::<usize>();
        let (left, wrong) = parse(&text.replacen("wire ipv4 ", "wire ipv4 ff", 1));
        assert_eq!((rules(&left), wrong.len()), (2, 1));
        assert!(wrong[0].starts_with("line 3: "), "{wrong:?}");
        let (left, wrong) = parse(&text.replace("peer 192", "peer x"));
        assert_eq!((rules(&left), wrong.len()), (1, 3), "{wrong:?}");
        let (left, wrong) = parse(&text[..text.len() - "end 3\n".len()]);
        assert_eq!((rules(&left), wrong.len()), (3, 1));
        for end in 0..text.len() {
            assert!(rules(&parse(&text[..end]).0) <= 3);
        }
    }

    #[test]
    fn saving_replaces_the_file_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/state");
        assert_eq!(load(&path).unwrap().0, []);
        save(&path, &example().0).unwrap();
        save(&path, &example().0).unwrap();
        assert_eq!(load(&path).unwrap(), (example().1, vec![]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
