//! Parse errors and their places.

/// A parse error and its place in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Member names and list indexes, outermost first, joined with `/`; empty for the line as a
    /// whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl ParseError {
    /// An error of the line as a whole.
    pub fn new(what: impl Into<String>) -> Self {
        ParseError { place: String::new(), what: what.into() }
    }

    /// The same, found inside of this member.
    #[must_use]
    pub fn within(self, member: &str) -> Self {
        let place = if self.place.is_empty() { member.to_owned() } else { format!("{member}/{}", self.place) };
        ParseError { place, ..self }
    }

    /// The same, found inside of these members, outermost first.
    pub(crate) fn at(self, members: &[&str]) -> Self {
        members.iter().rev().fold(self, |misread, member| misread.within(member))
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}
