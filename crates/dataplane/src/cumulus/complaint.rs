//! What cl-acltool says when it does not install.

/// Why it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The hardware has no room.
    Full {
        /// Its words.
        words: String,
        /// What was in force before may not be any more.
        torn: bool,
    },
    /// It does not take a rule.
    Rule {
        /// The rule, as it stands in the file.
        rule: Option<String>,
        /// Its line.
        line: Option<usize>,
        /// Its words.
        words: String,
    },
    /// Anything else.
    Other {
        /// Its words.
        words: String,
        /// What was in force before may not be any more.
        torn: bool,
    },
}

/// Most characters of its words that are kept.
const WORDS: usize = 400;

impl Complaint {
    /// Reads what a run printed, on both outputs. `None`: it has nothing to complain about.
    pub(super) fn read(output: &str, succeeded: bool) -> Option<Self> {
        let errors: Vec<&str> = output.lines().map(str::trim).filter(|line| is_error(line)).collect();
        if succeeded && errors.is_empty() {
            return None;
        }
        let said: Vec<&str> = if errors.is_empty() { last_lines(output) } else { errors };
        let words: String = said.join("; ").chars().take(WORDS).collect();
        let torn = output.contains("Rolling back .. failed");
        if output.contains("sync_acl hardware installation failed") || output.contains("No More Resources") {
            return Some(Complaint::Full { words, torn });
        }
        let line = said.iter().find_map(|line| Some(line.split_once("error: line ")?.1));
        if let Some(text) = line {
            let line = text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
            let quoted = text.split_once("error processing rule '").map(|(_, rule)| rule.trim_end_matches('\''));
            return Some(Complaint::Rule { rule: quoted.map(str::to_owned), line, words });
        }
        Some(Complaint::Other { words, torn })
    }
}

/// What it said last: where nothing is marked as an error, the reason stands there.
fn last_lines(output: &str) -> Vec<&str> {
    let mut room = WORDS;
    let fits = |line: &&str| {
        room = room.saturating_sub(line.len() + 2);
        room > 0
    };
    let mut lines: Vec<&str> =
        output.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take_while(fits).collect();
    lines.reverse();
    lines
}

fn is_error(line: &str) -> bool {
    line.starts_with("error:") || line.contains("error processing rule") || line.contains(" error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_errors_are_recognised() {
        let full = Complaint::read(
            "error: hw sync failed (sync_acl hardware installation failed) Rolling back .. failed.",
            false,
        );
        assert!(matches!(full, Some(Complaint::Full { torn: true, .. })), "{full:?}");
        let full = "error: hw sync failed (Bulk counter init failed with No More Resources). Rolling back ..\n";
        assert!(matches!(Complaint::read(full, true), Some(Complaint::Full { torn: false, .. })));
        let rule = "-A FORWARD,INPUT -i swp1 -o swp2 -p tcp -j ACCEPT";
        let said = format!(
            "Reading rule file x\nerror: line 2 : output interface specified with INPUT chain error processing rule '{rule}'\n"
        );
        let Some(Complaint::Rule { rule: found, line, words }) = Complaint::read(&said, false) else {
            panic!("{said}")
        };
        assert_eq!((found.as_deref(), line), (Some(rule), Some(2)));
        assert!(words.contains("output interface specified"), "{words}");
        assert_eq!(Complaint::read("Installing acl policy\nDone.\n", true), None);
        let other = Complaint::read("Traceback\nOSError: no switchd\n", false);
        assert!(matches!(other, Some(Complaint::Other { words, torn: false }) if words.contains("no switchd")));
        let long =
            format!("{}OSError: no switchd\n", "Reading rule file /etc/cumulus/acl/policy.d/x.rules\n".repeat(40));
        let other = Complaint::read(&long, false);
        assert!(
            matches!(other, Some(Complaint::Other { words, .. }) if words.ends_with("x.rules; OSError: no switchd"))
        );
    }
}
