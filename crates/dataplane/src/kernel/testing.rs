//! What the tests of this folder share.

use engine::plan::CompiledRule;
use flowspec::Rule;
use std::sync::Arc;

/// A rule without entries.
pub(super) fn rule(text: &str) -> Arc<CompiledRule> {
    let rule: Rule = text.parse().unwrap();
    let (id, effect) = (rule.nlri.id(), rule.effect());
    Arc::new(CompiledRule { nlri: Arc::new(rule.nlri), id, effect, entries: Vec::new() })
}
