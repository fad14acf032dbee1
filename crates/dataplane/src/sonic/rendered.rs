//! The entries of rules as ACL rules, made once for each rule.

use super::entry::{Entry, Owner, Unwritable};
use engine::plan::CompiledRule;
use flowspec::Nlri;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Entries of rules, by the rules' keys.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    rules: HashMap<Arc<Nlri>, RenderedRule>,
}

#[derive(Debug)]
struct RenderedRule {
    rule: Arc<CompiledRule>,
    entries: Arc<Vec<Entry>>,
}

impl Rendered {
    /// The entries of a rule.
    pub(super) fn of(&mut self, rule: &Arc<CompiledRule>) -> Result<Arc<Vec<Entry>>, Unwritable> {
        if let Some(known) = self.rules.get(&rule.nlri)
            && Arc::ptr_eq(&known.rule, rule)
        {
            return Ok(Arc::clone(&known.entries));
        }
        let entry = |space| Entry::new(space, &rule.effect, Owner::Rule(rule.id));
        let entries = Arc::new(rule.entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?);
        let rendered = RenderedRule { rule: Arc::clone(rule), entries: Arc::clone(&entries) };
        self.rules.insert(Arc::clone(&rule.nlri), rendered);
        Ok(entries)
    }

    /// Drops rules that are not wanted.
    pub(super) fn retain(&mut self, wanted: &BTreeMap<Arc<Nlri>, Arc<CompiledRule>>) {
        self.rules.retain(|nlri, _| wanted.contains_key(nlri));
    }
}
