//! Shares equal path attributes between UPDATEs: a hundred thousand rules usually have few distinct
//! sets.

use crate::attribute::PathAttributes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The attribute sets received last, each in the slot of its hash. A set that is replaced is not
/// shared with later UPDATEs.
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
