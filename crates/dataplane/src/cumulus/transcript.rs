//! Parses the output of cl-acltool, with one grammar for all releases.
//!
//! A run prints progress lines, `warning:` lines, `error:` lines, `Rolling back ..`, and last
//! `done.` or `failed.`, at the end of the previous line or on a line of their own. `failed.` means
//! that the *installation* failed; no wording of a failed roll-back is documented. Other lines are
//! shown as they are. They never count as success or as a full table.

use flowspec::IpVersion;

/// The parsed output of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript {
    /// Why it failed; `None` if it reports success.
    pub(super) error: Option<ToolError>,
    /// Its `warning:` lines, without that word, and after a success all unknown lines.
    pub(super) warnings: Vec<String>,
}

/// Why a run did not install what is in the policy directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolError {
    /// The kind of failure.
    pub(super) kind: ErrorKind,
    /// The tool's message.
    pub(super) message: String,
}

/// The kind of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// The hardware's table is full.
    Full,
    /// A rule is refused, and identified.
    Rule(RuleReference),
    /// The hardware refuses a rule without identifying it.
    Hardware,
    /// Another program is changing the rules at the same time.
    Busy,
    /// Any other failure.
    Unknown,
}

/// The location of a refused rule, as the tool reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleReference {
    /// In a policy file.
    Line {
        /// The file that was being processed, if it was named.
        file: Option<String>,
        /// The line, counted from 1.
        line: Option<usize>,
        /// The text of the rule.
        rule: Option<String>,
    },
    /// In a chain.
    Chain {
        /// The table's IP version; `None` for the bridge tables.
        version: Option<IpVersion>,
        /// The chain.
        chain: String,
        /// Its position there, which counts the rules of all files. No document says whether from 0
        /// or from 1.
        number: usize,
        /// Why it is refused.
        reason: String,
    },
}

/// Most characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 2000;

/// Prefixes of progress lines.
const PROGRESS_PREFIXES: [&str; 5] = [
    "Reading files under",
    "Reading rule file",
    "Processing rules in file",
    "Using user provided rule file",
    "Installing acl policy",
];

/// The warning of a switch whose hardware is not programmed at all.
const NO_HARDWARE: &str = "no-hw-sync mode";

/// Characters around the word at the end.
const TRIMMED: [char; 2] = ['.', ' '];

/// The message of iptables while another program holds its lock.
const LOCKED: [&str; 2] = ["holding the xtables lock", "Resource temporarily unavailable"];

impl Transcript {
    /// Parses the output of a run, standard output and standard error together.
    pub(super) fn read(output: &str, succeeded: bool) -> Self {
        let mut reader = Reader::default();
        for line in output.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()) {
            reader.line(line);
        }
        reader.finish(output, succeeded)
    }

    /// The run reports that it programs no hardware.
    pub(super) fn reports_no_hardware(warning: &str) -> bool {
        warning.contains(NO_HARDWARE)
    }
}

#[derive(Default)]
struct Reader {
    warnings: Vec<String>,
    errors: Vec<String>,
    unknown: Vec<String>,
    done: bool,
    failed: bool,
    /// The file that is being processed.
    file: Option<String>,
    /// The file that was being processed when a failure occurred that the hardware did not cause.
    file_at_fault: Option<String>,
    /// The first rule that is reported as refused.
    refused: Option<RuleReference>,
    hardware: bool,
    full: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(warning) = line.strip_prefix("warning:") {
            self.warnings.push(warning.trim().to_owned());
        } else if line.starts_with("error:") || line.contains(" error: ") || line.contains("error processing rule") {
            self.error(line);
        } else if let Some(rest) = PROGRESS_PREFIXES.iter().find_map(|known| line.strip_prefix(known)) {
            if line.starts_with("Processing rules in file") {
                self.file = Some(rest.trim().trim_end_matches("...").trim_end().to_owned());
            } else if line.starts_with("Installing acl policy") {
                self.file = None;
            }
            self.end(rest);
        } else if !self.end(line) {
            self.note_file();
            self.unknown.push(line.to_owned());
        }
    }

    /// A failure: the file that is being processed is worth reporting.
    fn note_file(&mut self) {
        self.file_at_fault = self.file_at_fault.take().or_else(|| self.file.clone());
    }

    /// Handles the result at the end of a line; false if the text is something else.
    fn end(&mut self, text: &str) -> bool {
        let (rolling_back, text) = match text.split_once("Rolling back") {
            Some((before, after)) if before.trim_matches(TRIMMED).is_empty() => (true, after),
            Some(_) => return false,
            None => (false, text),
        };
        self.failed |= rolling_back;
        match text.trim_matches(TRIMMED).to_ascii_lowercase().as_str() {
            "done" => self.done = true,
            "failed" => self.failed = true,
            "" => return rolling_back,
            _ => return false,
        }
        true
    }

    fn error(&mut self, line: &str) {
        let (message, tail) = match line.find("Rolling back") {
            Some(at) => (line[..at].trim_end(), &line[at..]),
            None => (line, ""),
        };
        self.end(tail);
        if let Some(reason) = message.split_once("hw sync failed (").map(|(_, rest)| rest) {
            let reason = reason.trim_end_matches('.').strip_suffix(')').unwrap_or(reason);
            self.hardware_error(reason);
            self.errors.push(message.to_owned());
            return;
        }
        self.note_file();
        if let Some(text) = message.split_once("error: line ").map(|(_, rest)| rest) {
            let line = text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
            self.refuse(RuleReference::Line { file: self.file.clone(), line, rule: quoted(text) });
        } else if let Some(rule) = quoted(message) {
            self.refuse(RuleReference::Line { file: self.file.clone(), line: None, rule: Some(rule) });
        }
        self.errors.push(message.to_owned());
    }

    fn hardware_error(&mut self, reason: &str) {
        self.hardware = true;
        if let Some(rest) = reason.strip_prefix("Cannot process ") {
            let mut parts = rest.splitn(4, ',').map(str::trim);
            if let (Some(table), Some(chain), Some(Ok(number))) =
                (parts.next(), parts.next(), parts.next().map(str::parse))
            {
                let version = match table {
                    "iptables" => Some(IpVersion::V4),
                    "ip6tables" => Some(IpVersion::V6),
                    _ => None,
                };
                let reason = parts.next().unwrap_or_default().to_owned();
                self.refuse(RuleReference::Chain { version, chain: chain.to_owned(), number, reason });
            }
        }
        self.full |= reason.contains("sync_acl hardware installation failed") || reason.contains("No More Resources");
    }

    fn refuse(&mut self, reference: RuleReference) {
        self.refused.get_or_insert(reference);
    }

    fn finish(self, output: &str, succeeded: bool) -> Transcript {
        let said_so = self.done || self.unknown.is_empty();
        if succeeded && self.errors.is_empty() && !self.failed && said_so {
            return Transcript { error: None, warnings: self.warnings.into_iter().chain(self.unknown).collect() };
        }
        let kind = if LOCKED.iter().any(|words| output.contains(words)) {
            ErrorKind::Busy
        } else if let Some(reference) = self.refused {
            ErrorKind::Rule(reference)
        } else if self.full {
            ErrorKind::Full
        } else if self.hardware {
            ErrorKind::Hardware
        } else {
            ErrorKind::Unknown
        };
        let said: Vec<String> = match (self.errors, self.unknown) {
            (errors, unknown) if !errors.is_empty() => errors.into_iter().chain(unknown).collect(),
            (_, unknown) if !unknown.is_empty() => unknown,
            _ => last_lines(output),
        };
        let mut message = shortened(said);
        if message.is_empty() {
            "it says nothing".clone_into(&mut message);
        } else if let Some(file) = self.file_at_fault {
            message = format!("{file}: {message}");
        }
        Transcript { error: Some(ToolError { kind, message }), warnings: self.warnings }
    }
}

/// The rule quoted by an error.
fn quoted(text: &str) -> Option<String> {
    let (_, rule) = text.split_once("error processing rule '")?;
    Some(rule.rsplit_once('\'').map_or(rule, |(rule, _)| rule).to_owned())
}

/// Lines joined into one, of limited length; of too many the last ones, which contain the reason.
fn shortened(lines: Vec<String>) -> String {
    let mut room = MAX_MESSAGE_CHARS;
    let mut kept: Vec<&str> = Vec::new();
    for line in lines.iter().rev() {
        if line.len() + 2 > room && !kept.is_empty() {
            break;
        }
        room = room.saturating_sub(line.len() + 2);
        kept.push(line);
    }
    kept.reverse();
    kept.join("; ").chars().take(MAX_MESSAGE_CHARS).collect()
}

/// The last lines, if none is marked as an error.
fn last_lines(output: &str) -> Vec<String> {
    output.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(output: &str) -> ToolError {
        // Some releases exit with status 0 all the same.
        assert_eq!(Transcript::read(output, true).error, Transcript::read(output, false).error, "{output}");
        Transcript::read(output, false).error.expect("an error")
    }

    fn line(file: &str, line: usize, rule: &str) -> ErrorKind {
        let (file, line, rule) = (Some(file.to_owned()), Some(line), Some(rule.to_owned()));
        ErrorKind::Rule(RuleReference::Line { file, line, rule })
    }

    #[test]
    fn each_releases_way_to_say_that_it_is_done() {
        for output in [
            // The manuals of 3.7 to 5.17, installation of a directory.
            "Reading files under rules\nReading rule file ./rules/01_http_rules.txt ...\n\
             Processing rules in file ./rules/01_http_rules.txt ...\nInstalling acl policy ...\nDone.\n",
            // 3.7, installation of one file.
            "Using user provided rule file sample_count.rules\nReading rule file sample_count.rules ...\n\
             Processing rules in file sample_count.rules ...\nInstalling acl policy... done.\n",
            // The pages on SPAN of 4.x and 5.x.
            "Reading rule file /etc/cumulus/acl/policy.d/span.rules ...\n\
             Processing rules in file /etc/cumulus/acl/policy.d/span.rules ...\nInstalling acl policy\ndone.\n",
        ] {
            assert_eq!(Transcript::read(output, true), Transcript::default(), "{output}");
            assert!(Transcript::read(output, false).error.is_some(), "the exit status counts: {output}");
        }
    }

    #[test]
    fn warnings_are_kept() {
        let output = "warning: Detected platform is Cumulus VX\n\
            warning: Running in no-hw-sync mode. No rules will be programmed in hw\n\
            Reading rule file /etc/cumulus/acl/policy.d/00control_plane.rules ...\n\
            Processing rules in file /etc/cumulus/acl/policy.d/00control_plane.rules ...\nInstalling acl policy\ndone.\n";
        let read = Transcript::read(output, true);
        assert_eq!(read.error, None);
        assert_eq!(read.warnings.len(), 2, "{read:?}");
        assert!(!Transcript::reports_no_hardware(&read.warnings[0]));
        assert!(Transcript::reports_no_hardware(&read.warnings[1]));
        let missing = failed(
            "warning: Detected platform is Cumulus VX\nerror: Cannot find policy files: ['sample_count.rules']\n",
        );
        assert_eq!(missing.kind, ErrorKind::Unknown);
        assert_eq!(missing.message, "error: Cannot find policy files: ['sample_count.rules']");
    }

    #[test]
    fn a_full_table() {
        for output in [
            // The manuals of 3.7 to 5.17.
            "error: hw sync failed (sync_acl hardware installation failed) Rolling back .. failed.",
            "error: hw sync failed (Bulk counter init failed with No More Resources). Rolling back ..\n",
            // 5.17, "Troubleshooting ACL Rule Installation Failures".
            "Using user provided rule file 00control_plane.rules\nReading rule file 00control_plane.rules ...\n\
             Processing rules in file 00control_plane.rules ...\n\
             error: hw sync failed (sync_acl hardware installation failed)\n\
             Installing acl policy... Rolling back ..\nfailed.\n",
        ] {
            let error = failed(output);
            assert_eq!(error.kind, ErrorKind::Full, "{output}");
            assert!(error.message.starts_with("error: hw sync failed (") && !error.message.contains("Rolling"));
            assert!(!error.message.contains(".rules"), "the last file that was processed is not the cause");
        }
    }

    #[test]
    fn a_rule_that_the_hardware_refuses() {
        // Release note RN-1028 of 3.6.2.
        let output = "Installing acl policy\n\
            error: hw sync failed (Cannot process ip6tables,FORWARD,2,TOS match extension is supported only for iptables)\n\
            Rolling back ..\nfailed.\n";
        let reason = "TOS match extension is supported only for iptables".to_owned();
        let reference = |version, chain: &str, number, reason| {
            ErrorKind::Rule(RuleReference::Chain { version, chain: chain.to_owned(), number, reason })
        };
        assert_eq!(failed(output).kind, reference(Some(IpVersion::V6), "FORWARD", 2, reason));
        let more = "error: hw sync failed (Cannot process iptables,PREROUTING,117,a (b), c). Rolling back .. failed.";
        assert_eq!(failed(more).kind, reference(Some(IpVersion::V4), "PREROUTING", 117, "a (b), c".to_owned()));
        let bridge = "error: hw sync failed (Cannot process ebtables,FORWARD,1,x)\nRolling back ..\nfailed.";
        assert_eq!(failed(bridge).kind, reference(None, "FORWARD", 1, "x".to_owned()));
        let unnumbered = failed("error: hw sync failed (Cannot process something)\nRolling back ..\nfailed.");
        assert_eq!(unnumbered.kind, ErrorKind::Hardware, "{unnumbered:?}");
        assert_eq!(failed("error: hw sync failed (words of switchd's own)").kind, ErrorKind::Hardware);
    }

    #[test]
    fn a_rule_that_the_tool_refuses() {
        let rule = "-A FORWARD,INPUT -i swp1 -o swp2 -s 10.0.14.2 -d 10.0.15.8 -p tcp -j ACCEPT";
        let error =
            format!("error: line 2 : output interface specified with INPUT chain error processing rule '{rule}'");
        let path = "/etc/cumulus/acl/policy.d/10mine.rules";
        let output = format!("Reading rule file {path} ...\nProcessing rules in file {path} ...\n{error}\n");
        let read = failed(&output);
        assert_eq!(read.kind, line(path, 2, rule));
        assert_eq!(read.message, format!("{path}: {error}"), "a reader must know in which file");
        // Also with another message.
        for words in ["error: invalid token `swp1 swp2'", "ValueError: need more than 1 value to unpack"] {
            let output = format!(
                "Reading rule file 00x.rules ...\nProcessing rules in file 00x.rules ...\n\
                 Reading rule file {path} ...\nProcessing rules in file {path} ...\n{words}\n"
            );
            assert_eq!(failed(&output).message, format!("{path}: {words}"));
        }
    }

    #[test]
    fn another_program_at_work() {
        let output = "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?\n\
            error: failed to install iptables rules\nRolling back ..\nfailed.\n";
        assert_eq!(failed(output).kind, ErrorKind::Busy);
    }

    #[test]
    fn unknown_words_are_shown_whole_and_mean_nothing_else() {
        let output =
            "Reading files under rules\nWillkommen\nOSError: [Errno 5] the table is full of No More Resources\n";
        for succeeded in [false, true] {
            let error = Transcript::read(output, succeeded).error.expect("no success");
            assert_eq!(error.kind, ErrorKind::Unknown);
            assert_eq!(error.message, "Willkommen; OSError: [Errno 5] the table is full of No More Resources");
        }
        // If it reports success, they are shown, too.
        let read = Transcript::read("Installing acl policy\nsomething new\ndone.\n", true);
        assert_eq!((read.error, read.warnings), (None, vec!["something new".to_owned()]));
        // A result word in the middle of a sentence does not count.
        assert!(Transcript::read("the hardware said that it is done\n", true).error.is_some());
        assert_eq!(failed("Installing acl policy... failed.\n").kind, ErrorKind::Unknown);
        assert!(Transcript::read("", true).error.is_none());
        assert_eq!(Transcript::read("", false).error.unwrap().message, "it says nothing");
        let long = format!("{}OSError: no switchd\n", "Reading rule file x\n".repeat(400));
        assert!(failed(&long.replace("Reading", "reading")).message.ends_with("; OSError: no switchd"));
    }
}
