//! The line-based format of state files before the journal. It is read once, after an upgrade.
//!
//! ```text
//! floodgate-state 1
//! peer 192.0.2.1
//! path=- since=1732360000 ... wire ipv4 0118c00002038106048119 8006000000000000
//! local
//! path=- since=1732360100 until=1732362000 ... wire ipv4 ...
//! end 2
//! ```

use super::contents::{Origin, SavedRules};

pub(super) const FIRST_LINE: &str = "floodgate-state 1";

/// Parses the text; also returns what was wrong, a sentence each. Lines have no checksum, so a line
/// without a newline is not used: it may have been truncated before an action.
pub(super) fn parse(text: &str) -> (Vec<SavedRules>, Vec<String>) {
    let (mut saved_rules, mut wrong) = (Vec::<SavedRules>::new(), Vec::new());
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let (mut known, mut count, mut announced) = (false, 0_usize, None);
    for (number, line) in whole.lines().enumerate().skip(1) {
        let mut bad = |what: String| wrong.push(format!("line {}: {what}", number + 1));
        let origin = match line.split_once(' ') {
            Some(("peer", address)) => match address.parse() {
                Ok(address) => Some(Origin::Peer(address)),
                Err(_) => {
                    // What follows has no origin.
                    known = false;
                    bad(format!("`{address}` is not an address"));
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
        match (origin, line.parse(), saved_rules.last_mut()) {
            (Some(origin), ..) => {
                known = true;
                saved_rules.push(SavedRules { origin, paths: Vec::new() });
            }
            (None, Ok(path), Some(last)) if known => {
                last.paths.push(path);
                count += 1;
            }
            (None, Ok(_), _) => bad("a rule without origin".to_owned()),
            (None, Err(error), _) => bad(error.to_string()),
        }
    }
    if announced != Some(count) && wrong.is_empty() {
        wrong.push(format!("the end is missing: {count} rules were read"));
    }
    (saved_rules, wrong)
}
