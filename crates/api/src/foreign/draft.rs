//! A rule of another program, being translated to Floodgate's words.

use super::model::{Entry, ForeignError, ForeignRule, Form};
use flowspec::{Rule, text};

/// Components and actions in Floodgate's words.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    form: Form,
    /// `ipv4` or `ipv6`, where the form says it.
    family: Option<&'static str>,
    components: Vec<(&'static str, String)>,
    actions: Vec<String>,
    /// The form does not show the actions; what does.
    hidden: Option<&'static str>,
    notes: Vec<String>,
}

impl Draft {
    pub(super) const fn new(form: Form) -> Self {
        Draft { form, family: None, components: Vec::new(), actions: Vec::new(), hidden: None, notes: Vec::new() }
    }

    pub(super) const fn family(&mut self, family: &'static str) {
        self.family = Some(family);
    }

    /// A component and its values. Values of a component that is there already are further ones.
    pub(super) fn component(&mut self, word: &'static str, values: impl Into<String>) {
        let values = values.into();
        match self.components.iter_mut().find(|(known, _)| *known == word) {
            Some((_, before)) => {
                before.push(',');
                before.push_str(&values);
            }
            None => self.components.push((word, values)),
        }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.components.iter().any(|(known, _)| *known == word)
    }

    pub(super) fn action(&mut self, action: impl Into<String>) {
        self.actions.push(action.into());
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The form does not show the actions; `shown_by` does.
    pub(super) const fn actions_hidden(&mut self, shown_by: &'static str) {
        self.hidden = Some(shown_by);
    }

    fn text(&self) -> String {
        let components = self.components.iter().map(|(word, values)| format!("{word} {values}"));
        let family = self.family.map(str::to_owned);
        let mut text = family.into_iter().chain(components).collect::<Vec<_>>().join(" ");
        if !self.actions.is_empty() {
            text += &format!(" then {}", self.actions.join(" "));
        }
        text
    }

    /// The rule.
    ///
    /// # Errors
    /// In Floodgate's words it is not one.
    pub(super) fn finish(self) -> Result<ForeignRule, ForeignError> {
        let form = self.form;
        let words = self.text();
        match text::parse_line_with_notes(&words) {
            Ok(Some((Rule { nlri, actions, next_hop }, notes))) => {
                let notes = self.notes.into_iter().chain(notes.into_iter().map(|note| note.message)).collect();
                Ok(ForeignRule { form, nlri, actions: self.hidden.map_or(Ok(actions), Err), next_hop, notes })
            }
            Ok(None) => {
                Err(ForeignError::Unknown { form, message: "a rule that matches nothing in particular".to_owned() })
            }
            Err(error) => Err(ForeignError::NotARule { form, text: words, error }),
        }
    }
}

/// The entry of a result.
pub(super) fn entry(number: usize, result: Result<ForeignRule, ForeignError>) -> Entry {
    match result {
        Ok(rule) => Entry::Rule { number, rule: Box::new(rule) },
        Err(error) => Entry::Error { number, error },
    }
}

/// A mask of TCP flags or fragment bits in hex: two digits, or four.
pub(super) fn hex_mask(value: u64) -> String {
    if value > 0xff { format!("{value:#06x}") } else { format!("{value:#04x}") }
}

/// A decimal or `0x` number.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten(),
    }
}
