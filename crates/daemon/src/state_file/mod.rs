//! What is remembered over a restart: the rules of each peer and the local ones, a pause, and what time it was.
//!
//! The file is a journal: a line that tells the format, then [records](Record), each with a checksum. What changes is appended, and is there
//! before the data plane hears of it; now and then the whole is [written anew](Journal) and takes the file's place. A record that is cut off
//! or damaged is left out and said so, never guessed, and a damaged file is kept aside before anything takes its place.

mod contents;
mod journal;
mod journal_error;
mod load;
mod output;
mod record;
#[cfg(test)]
mod tests;
mod text;

pub use contents::{Origin, Pause, Remembered, Restored};
pub use journal::{Journal, Saved, Ticket};
pub use journal_error::JournalError;
pub use load::{Loaded, load};
pub use record::{Record, encode_rule};
