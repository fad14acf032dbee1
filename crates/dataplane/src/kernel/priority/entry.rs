//! An entry that needs a number.

use flowspec::Space;

/// An entry, in enforcement order with others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderedEntry<'a> {
    /// The packets.
    pub(crate) space: &'a Space,
    /// Entries of the same group need no order: they do the same, or belong to the same rule.
    pub(crate) group: u32,
    /// Its number in the table, if it is there.
    pub(crate) number: Option<u32>,
}
