//! `floodgate exabgp`: ExaBGP's JSON on standard input in the place of BGP sessions.
//!
//! ```text
//!   ExaBGP ──lines──▶ reader ──▶ read: line to Message ──▶ Feed: whose, in the engine's words ──▶ core
//! ```
//!
//! Everything behind that is what `floodgate run` has. A line that cannot be read is reported and skipped, and so is a single rule of
//! a line; what was announced counts exactly or not at all. `docs/manual/exabgp.md` is the page for operators, with what the versions of
//! ExaBGP leave out.

mod attribute;
mod default;
mod feed;
mod flow;
mod hold_off;
mod json;
mod line;
mod names;
mod neighbors;
mod octets;
mod operators;
mod port;
mod reader;

pub use line::{Message, Neighbor, SessionState, read};
pub use reader::LONGEST;

pub(crate) use default::config as built_in;
pub(crate) use feed::{Introduced, Request};
pub(crate) use hold_off::{HOLD_OFF, hold_off};
pub(crate) use neighbors::{Neighbors, successor_file, wait_for_predecessor};

/// What cannot be read, and where in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// Member names and positions in lists, outermost first, joined with `/`; empty for the line as a whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl Misread {
    fn new(what: impl Into<String>) -> Self {
        Misread { place: String::new(), what: what.into() }
    }

    /// The same, found inside of this member.
    fn within(self, member: &str) -> Self {
        let place = if self.place.is_empty() { member.to_owned() } else { format!("{member}/{}", self.place) };
        Misread { place, ..self }
    }

    /// The same, found inside of these members, outermost first.
    fn at(self, members: &[&str]) -> Self {
        members.iter().rev().fold(self, |misread, member| misread.within(member))
    }
}

impl std::fmt::Display for Misread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}

/// The JSON's version: the first number of `exabgp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V5,
    V6,
}

impl Version {
    fn of(text: Option<&str>) -> Result<Self, Misread> {
        match text.and_then(|text| text.split('.').next()) {
            Some("4") => Ok(Version::V4),
            Some("5") => Ok(Version::V5),
            Some("6") => Ok(Version::V6),
            _ => {
                let text = text.unwrap_or("no version");
                Err(Misread::new(format!("JSON of {text}; versions 4, 5 and 6 can be read")).within("exabgp"))
            }
        }
    }

    /// Several bits of one mask may be printed as several items.
    const fn splits_masks(self) -> bool {
        matches!(self, Version::V4)
    }

    /// IPv6 prefixes with an offset are read as drafts before RFC 8956 wrote them.
    const fn misreads_offsets(self) -> bool {
        matches!(self, Version::V4)
    }
}
