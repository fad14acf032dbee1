//! Lets UPDATEs with equal attributes share them: a hundred thousand rules usually have a handful of sets.

use crate::attribute::PathAttributes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The sets seen lately, each at the place that its hash says. What is pushed out is only not shared further.
#[derive(Debug, Default)]
pub(crate) struct AttributeCache {
    slots: Vec<Option<Arc<PathAttributes>>>,
}

const SLOTS: usize = 512;

impl AttributeCache {
    /// `attributes`, as an earlier UPDATE's if there was an equal one.
    pub(crate) fn share(&mut self, attributes: PathAttributes) -> Arc<PathAttributes> {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let mut hasher = DefaultHasher::new();
        attributes.hash(&mut hasher);
        let slot = &mut self.slots[hasher.finish() as usize % SLOTS];
        match slot {
            Some(known) if **known == attributes => known.clone(),
            _ => slot.insert(Arc::new(attributes)).clone(),
        }
    }
}
