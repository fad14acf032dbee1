//! A rule set as the text of one policy file.

use super::line::{self, InexpressibleEntry};
use super::place::touches_neighbor_discovery;
use super::settings::Settings;
use engine::plan::{CompiledRule, Ruleset};
use flowspec::{Effect, IpVersion, Nlri, Space};
use std::fmt::Write;
use std::sync::Arc;

/// The policy file for a rule set, in enforcement order. Rules that cannot be written are left out;
/// [`super::capabilities()`] prevents that.
pub fn render(rules: &Ruleset, settings: &Settings) -> String {
    let neighbor_discovery = touches_neighbor_discovery(rules.rules.iter());
    PolicyFile::new(&rules.protected, neighbor_discovery, rules.rules.iter(), settings).into_text()
}

/// A policy file, and the owner of each line.
#[derive(Debug, Default)]
pub(super) struct PolicyFile {
    text: String,
    /// Where the lines of each owner begin in the text, ascending.
    owners: Vec<(usize, Owner)>,
    /// Rules that could not be written.
    inexpressible: Vec<(Arc<Nlri>, InexpressibleEntry)>,
}

/// The owner of a line of the policy file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Owner {
    /// A rule.
    Rule(Arc<Nlri>),
    /// Protected packets.
    Protected(Box<Space>),
    /// IPv6 neighbour discovery.
    NeighborDiscovery,
}

impl PolicyFile {
    pub(super) fn new<'a>(
        protected: &[Space],
        neighbor_discovery: bool,
        rules: impl Iterator<Item = &'a Arc<CompiledRule>> + Clone,
        settings: &Settings,
    ) -> PolicyFile {
        let mut file = PolicyFile::default();
        file.text.push_str(
            "# Floodgate writes this file, and writes over it. Above each rule: its id and what it asks for.\n",
        );
        for (version, section) in [(IpVersion::V4, "[iptables]"), (IpVersion::V6, "[ip6tables]")] {
            file.text.push_str(section);
            file.text.push('\n');
            if neighbor_discovery && version == IpVersion::V6 {
                file.text.push_str("# neighbour discovery is never filtered\n");
                file.owners.push((file.text.len(), Owner::NeighborDiscovery));
                line::write_neighbor_discovery(&mut file.text, settings);
            }
            file.protect(protected.iter().filter(|space| space.version() == version), settings);
            for rule in rules.clone().filter(|rule| rule.nlri.family().version() == version) {
                file.rule(rule, settings);
            }
        }
        file
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text alone, consuming the file.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Rules that could not be written, and why.
    pub(super) fn inexpressible(&self) -> &[(Arc<Nlri>, InexpressibleEntry)] {
        &self.inexpressible
    }

    /// Whether it contains a rule.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The owner of a line: of the one with this text, or else of the one with this number, counted
    /// from 1.
    pub(super) fn owner(&self, rule: Option<&str>, number: Option<usize>) -> Option<&Owner> {
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

    /// Lines of rules in the text.
    pub(super) fn lines(&self, version: IpVersion) -> u64 {
        let (v4, v6) = self.text.split_once("[ip6tables]").unwrap_or((&self.text, ""));
        let section = if version == IpVersion::V4 { v4 } else { v6 };
        section.lines().filter(|line| line.starts_with('-')).count() as u64
    }

    fn protect<'a>(&mut self, spaces: impl Iterator<Item = &'a Space>, settings: &Settings) {
        for (n, space) in spaces.enumerate() {
            if n == 0 {
                self.text.push_str("# never filtered\n");
            }
            self.owners.push((self.text.len(), Owner::Protected(Box::new(space.clone()))));
            // The caller split them into parts that can be written.
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
            Ok(()) => self.owners.push((start, Owner::Rule(Arc::clone(&rule.nlri)))),
            Err(error) => {
                self.text.truncate(start);
                self.inexpressible.push((Arc::clone(&rule.nlri), error));
            }
        }
    }
}
