//! What a text in another program's form is: rules and errors.

use flowspec::text::TextError;
use flowspec::{Action, Nlri, Rule};
use std::fmt;
use std::net::IpAddr;

/// Whose form it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// BIRD: configuration, and `show route`.
    Bird,
    /// Junos: `show route table inetflow.0`, and its configuration in both forms.
    Junos,
    /// IOS XR and IOS XE: `show flowspec`, `show bgp ipv4 flowspec`, and the configuration.
    IosXr,
    /// FRR: `show bgp ipv4 flowspec detail`.
    Frr,
    /// GoBGP: `gobgp global rib`.
    Gobgp,
    /// ExaBGP: configuration over several lines, and its JSON.
    Exabgp,
    /// FastNetMon: rules as JSON.
    FastNetMon,
}

impl Form {
    /// The program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Bird => "BIRD",
            Form::Junos => "Junos",
            Form::IosXr => "IOS XR",
            Form::Frr => "FRR",
            Form::Gobgp => "GoBGP",
            Form::Exabgp => "ExaBGP",
            Form::FastNetMon => "FastNetMon",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule of another program.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRule {
    /// Whose form it was in.
    pub form: Form,
    /// The match part.
    pub nlri: Nlri,
    /// The actions; an error where the form does not show them: where they are shown.
    pub actions: Result<Vec<Action>, &'static str>,
    /// The next hop that an action uses.
    pub next_hop: Option<IpAddr>,
    /// What was read differently than written, or by inference: sentences.
    pub notes: Vec<String>,
}

impl ForeignRule {
    /// The whole rule.
    ///
    /// # Errors
    /// The form does not show the actions.
    pub fn rule(&self) -> Result<Rule, ForeignError> {
        match &self.actions {
            Ok(actions) => Ok(Rule { nlri: self.nlri.clone(), actions: actions.clone(), next_hop: self.next_hop }),
            Err(shown_by) => Err(ForeignError::NoActions { form: self.form, shown_by }),
        }
    }
}

/// Why a text in another program's form is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// A word or value that the form does not have, or whose meaning is not known.
    #[error("{form}: {message}")]
    Unknown {
        /// Whose form.
        form: Form,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// Two rules are printed like this.
    #[error("{form}: `{text}` means either {first}, or {second}; write the one that is meant")]
    Ambiguous {
        /// Whose form.
        form: Form,
        /// The text.
        text: String,
        /// One meaning, in Floodgate's words.
        first: String,
        /// Another.
        second: String,
    },
    /// The form shows what is matched, and not what is done.
    #[error("{form}: what the rule does is not shown here; {shown_by} shows it")]
    NoActions {
        /// Whose form.
        form: Form,
        /// What shows it.
        shown_by: &'static str,
    },
    /// In Floodgate's words it is not a rule.
    #[error("{form}: `{text}`: {error}")]
    NotARule {
        /// Whose form.
        form: Form,
        /// The rule in Floodgate's words.
        text: String,
        /// Why it is none.
        error: TextError,
    },
    /// It does not end, or is too long.
    #[error("{form}: {message}")]
    Unfinished {
        /// Whose form.
        form: Form,
        /// What is missing.
        message: String,
    },
}

/// What a part of the text is.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A line that is in no other program's form: perhaps a rule, or a comment.
    Line {
        /// Its number, as given.
        number: usize,
        /// The line.
        text: String,
    },
    /// A rule in another program's form.
    Rule {
        /// The number of its first line.
        number: usize,
        /// The rule.
        rule: Box<ForeignRule>,
    },
    /// Something in another program's form that is not a rule.
    Error {
        /// The number of its first line.
        number: usize,
        /// Why.
        error: ForeignError,
    },
}
