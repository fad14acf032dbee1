//! A rule set as the text of one policy file.

use super::line::{self, Unwritable};
use super::settings::Settings;
use engine::plan::{CompiledRule, Ruleset};
use flowspec::{Effect, IpVersion, Nlri, Space};
use std::fmt::Write;
use std::sync::Arc;

/// The policy file for a rule set, in enforcement order. Rules that cannot be written are left out; [`super::capabilities()`] lets none through.
pub fn render(rules: &Ruleset, settings: &Settings) -> String {
    Page::new(&rules.protected, rules.rules.iter(), settings).text
}

/// Entries of the switch's table that a rule takes.
pub fn cost(rule: &CompiledRule, settings: &Settings) -> u64 {
    settings.entry_cost().of(&rule.entries, &rule.effect)
}

/// Entries that a protected space takes.
pub(super) fn protected_cost(space: &Space, settings: &Settings) -> u64 {
    settings.entry_cost().of(std::slice::from_ref(space), &Effect::ACCEPT)
}

/// A policy file, and which of its lines are whose.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    /// Where each rule's lines begin in the text, ascending.
    owners: Vec<(usize, Arc<Nlri>)>,
    /// Rules that could not be written.
    pub(super) unwritable: Vec<(Arc<Nlri>, Unwritable)>,
}

impl Page {
    pub(super) fn new<'a>(
        protected: &[Space],
        rules: impl Iterator<Item = &'a Arc<CompiledRule>> + Clone,
        settings: &Settings,
    ) -> Page {
        let mut page = Page::default();
        page.text.push_str(
            "# Floodgate writes this file, and writes over it. Above each rule: its id and what it asks for.\n",
        );
        for (version, section) in [(IpVersion::V4, "[iptables]"), (IpVersion::V6, "[ip6tables]")] {
            page.text.push_str(section);
            page.text.push('\n');
            page.protect(protected.iter().filter(|space| space.version() == version), settings);
            for rule in rules.clone().filter(|rule| rule.nlri.family().version() == version) {
                page.rule(rule, settings);
            }
        }
        page
    }

    /// Whether there is a rule in it.
    pub(super) fn is_empty(&self) -> bool {
        !self.text.lines().any(|line| line.starts_with('-'))
    }

    /// Whose rule a complaint is about: by its text, or else by its line, counted from 1.
    pub(super) fn owner(&self, rule: Option<&str>, number: Option<usize>) -> Option<&Arc<Nlri>> {
        let mut at = 0;
        let found = self.text.split_inclusive('\n').enumerate().find_map(|(index, line)| {
            let start = at;
            at += line.len();
            let is_it = match rule {
                Some(rule) => line.trim_end() == rule.trim(),
                None => number == Some(index + 1),
            };
            (is_it && line.starts_with('-')).then_some(start)
        })?;
        let next = self.owners.partition_point(|&(start, _)| start <= found);
        next.checked_sub(1).map(|own| &self.owners[own].1)
    }

    fn protect<'a>(&mut self, spaces: impl Iterator<Item = &'a Space>, settings: &Settings) {
        for (n, space) in spaces.enumerate() {
            if n == 0 {
                self.text.push_str("# never filtered\n");
            }
            // The caller cut them to what can be written.
            let _ = line::write(&mut self.text, settings, space, &Effect::ACCEPT, None);
        }
    }

    fn rule(&mut self, rule: &Arc<CompiledRule>, settings: &Settings) {
        if rule.entries.is_empty() {
            return;
        }
        let start = self.text.len();
        let _ = writeln!(self.text, "# {} {} then {}", rule.id, rule.nlri, rule.effect);
        let written = rule
            .entries
            .iter()
            .try_for_each(|entry| line::write(&mut self.text, settings, entry, &rule.effect, Some(rule.id)));
        match written {
            Ok(()) => self.owners.push((start, Arc::clone(&rule.nlri))),
            Err(error) => {
                self.text.truncate(start);
                self.unwritable.push((Arc::clone(&rule.nlri), error));
            }
        }
    }
}
