//! What is saved over a restart: the rules of each peer and the local ones, for how long those of a
//! lost session are retained, a pause, and the time.
//!
//! The file is a journal: a line with the format version, then [records](Record), each with a
//! checksum. Changes are appended, before they go to the data plane; from time to time the whole
//! file is [rewritten](Journal) and replaced. A truncated or damaged record is left out and
//! reported, never guessed, and a copy of a damaged file is kept before it is replaced.

mod contents;
mod journal;
mod journal_error;
mod load;
mod output;
mod record;
#[cfg(test)]
mod tests;
mod text;

pub use contents::{Origin, Pause, Restored, RetainedFamily, SavedRules};
pub use journal::{Journal, Saved, Ticket};
pub use journal_error::JournalError;
pub use load::{Loaded, load};
pub use record::{Record, encode_rule};
