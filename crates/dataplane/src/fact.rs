//! Facts about a switch.

/// A fact about a switch, known or unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The subject.
    pub name: String,
    /// The value, or what is assumed.
    pub value: String,
    /// The source: a release whose document says so, or another source; `None` for unknown.
    pub document: Option<String>,
}
