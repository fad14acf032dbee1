//! What the switch refuses, and for how long that is remembered.
//!
//! A refusal expires: a table may be enlarged, a release upgraded. But each attempt that the switch
//! refuses again costs runs of cl-acltool, so the time until the next one doubles.

use super::store::FILE;
use engine::plan::CompiledRule;
use flowspec::{IpVersion, Nlri, Space};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a refusal is remembered, at first and at most.
const BACKOFF: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3600)];

/// With more refused rules than this, only the wanted ones are remembered.
const MAX_REFUSED: usize = 10_000;

/// What the switch refused, until when that is remembered, and its message.
#[derive(Debug)]
pub(super) struct Refusals {
    rules: BTreeMap<Arc<Nlri>, (Arc<CompiledRule>, Instant, String)>,
    protected: Vec<(Space, Instant, String)>,
    /// Number of entries beyond which the switch refused.
    ceiling: Option<(u64, Instant, String)>,
    /// Messages of failures that no rule of ours caused.
    unrelated: Option<(String, Instant)>,
    backoff: RefusalBackoff,
    /// Whether positions in a chain are counted from 0, once that is known.
    counts_from_zero: Option<bool>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Refusals {
            rules: BTreeMap::new(),
            protected: Vec::new(),
            ceiling: None,
            unrelated: None,
            backoff: RefusalBackoff { length: BACKOFF[0], used: false },
            counts_from_zero: None,
        }
    }

    /// Drops what has expired, and rules that are wanted in another form now. A rule that is not
    /// wanted may be withdrawn or may be tried again, so it is remembered unless there are very
    /// many.
    pub(super) fn expire(&mut self, wanted: &BTreeMap<Arc<Nlri>, Arc<CompiledRule>>) {
        let now = Instant::now();
        self.ceiling.take_if(|(_, until, _)| *until <= now);
        self.unrelated.take_if(|(_, until)| *until <= now);
        self.protected.retain(|(_, until, _)| *until > now);
        let many = self.rules.len() > MAX_REFUSED;
        self.rules
            .retain(|nlri, (rule, until, _)| *until > now && wanted.get(nlri).map_or(!many, |other| other == rule));
    }

    /// After a change.
    pub(super) fn after_change(&mut self) {
        let nothing = self.ceiling.is_none() && self.rules.is_empty() && self.protected.is_empty();
        self.backoff.after_change(nothing);
    }

    pub(super) fn refuse_rule(&mut self, rule: &Arc<CompiledRule>, words: &str) {
        tracing::warn!(id = %rule.id, words, "the switch refuses a rule");
        let until = self.backoff.end();
        self.rules.insert(Arc::clone(&rule.nlri), (Arc::clone(rule), until, words.to_owned()));
    }

    pub(super) fn refuse_protected(&mut self, space: &Space, words: &str) {
        tracing::warn!(words, "the switch refuses entries for protected packets");
        let until = self.backoff.end();
        self.protected.push((space.clone(), until, words.to_owned()));
    }

    pub(super) fn forget_rule(&mut self, nlri: &Nlri) {
        self.rules.remove(nlri);
    }

    pub(super) fn set_ceiling(&mut self, ceiling: u64, words: String) {
        let until = self.backoff.end();
        self.ceiling = Some((ceiling, until, words));
    }

    /// Number of entries beyond which the switch refused, and its message.
    pub(super) fn ceiling(&self) -> Option<(u64, String)> {
        self.ceiling.as_ref().map(|(ceiling, _, words)| (*ceiling, words.clone()))
    }

    /// Rules that it refused, and its message.
    pub(super) fn rules(&self) -> BTreeMap<Arc<Nlri>, String> {
        self.rules.iter().map(|(nlri, (_, _, words))| (Arc::clone(nlri), words.clone())).collect()
    }

    pub(super) fn is_refused(&self, nlri: &Nlri) -> bool {
        self.rules.contains_key(nlri)
    }

    /// Protected packets that it does not accept first, and its message.
    pub(super) fn protected(&self) -> Vec<(Space, String)> {
        self.protected.iter().map(|(space, _, words)| (space.clone(), words.clone())).collect()
    }

    /// No rule of ours caused the failure with this message.
    pub(super) fn set_unrelated(&mut self, words: &str) {
        let until = self.backoff.end();
        self.unrelated = Some((words.to_owned(), until));
    }

    pub(super) fn is_unrelated(&self, words: &str) -> bool {
        self.unrelated.as_ref().is_some_and(|(known, _)| known == words)
    }

    /// Whether positions in a chain are counted from 0; assumed to be from 1, as in iptables, until
    /// it is known.
    pub(super) fn counts_from_zero(&self) -> Option<bool> {
        self.counts_from_zero
    }

    pub(super) fn set_counts_from_zero(&mut self, from_zero: bool) {
        self.counts_from_zero = Some(from_zero);
    }
}

#[derive(Debug)]
struct RefusalBackoff {
    length: Duration,
    used: bool,
}

impl RefusalBackoff {
    /// Until when a refusal of now is remembered.
    fn end(&mut self) -> Instant {
        self.used = true;
        Instant::now() + self.length
    }

    fn after_change(&mut self, nothing: bool) {
        if std::mem::take(&mut self.used) {
            self.length = (self.length * 2).min(BACKOFF[1]);
        } else if nothing {
            self.length = BACKOFF[0];
        }
    }
}

/// A rule that the switch reported as refused, by its position in a chain.
#[derive(Clone, Debug)]
pub(super) struct SuspectedRule {
    pub(super) version: IpVersion,
    /// The first line of the rule in the chain, counted from 0.
    pub(super) first: usize,
    pub(super) nlri: Arc<Nlri>,
    /// If it is counted from 0, it is another one.
    pub(super) ambiguous: bool,
}

/// The text of a rule of another file.
pub(super) fn describe_foreign_rule(path: &std::path::Path, line: usize, rule: &str, words: &str) -> String {
    format!("line {line} of {} (`{rule}`, not of {FILE}) is refused: {words}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_switch_refuses_again_is_tried_ever_more_rarely() {
        let mut backoff = RefusalBackoff { length: BACKOFF[0], used: false };
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(backoff.end().duration_since(Instant::now()).as_secs_f64().round() as u64);
            backoff.end();
            backoff.after_change(false);
            // A change in between that the switch accepts is remembered.
            backoff.after_change(false);
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        backoff.after_change(true);
        assert_eq!(backoff.length, BACKOFF[0]);
    }
}
