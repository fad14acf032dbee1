//! What is known of a switch.

/// One thing that is known of a switch, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// How it is, or what is assumed.
    pub value: String,
    /// What says so: a release whose document does, or a source; `None` for unknown.
    pub document: Option<String>,
}
