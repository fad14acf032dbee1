//! The form of state files before there were journals: lines of text. It is read once, after an upgrade.
//!
//! ```text
//! floodgate-state 1
//! peer 192.0.2.1
//! path=- since=1732360000 ... wire ipv4 0118c00002038106048119 8006000000000000
//! local
//! path=- since=1732360100 until=1732362000 ... wire ipv4 ...
//! end 2
//! ```

use super::contents::{Origin, Remembered};

pub(super) const FIRST_LINE: &str = "floodgate-state 1";

/// Reads the text; with it what was wrong, a sentence each. Lines have no checksum, so a line that nothing ends is not taken: behind the
/// cut there may have been an action.
pub(super) fn parse(text: &str) -> (Vec<Remembered>, Vec<String>) {
    let (mut remembered, mut wrong) = (Vec::<Remembered>::new(), Vec::new());
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let (mut known, mut count, mut announced) = (false, 0_usize, None);
    for (number, line) in whole.lines().enumerate().skip(1) {
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
