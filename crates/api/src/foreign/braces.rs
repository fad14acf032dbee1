//! Statements in braces over several lines: the configuration of Junos and of ExaBGP, which look
//! alike.

use super::draft::entry;
use super::junos_configuration::FlowRoute;
use super::model::{Entry, ForeignError, ForeignRule, Form};
use super::tokens::tokens;
use flowspec::{Rule, text};

/// A statement: its words, and what is in its braces.
#[derive(Debug)]
struct Statement {
    words: Vec<String>,
    inner: Option<Vec<Statement>>,
    /// Lines before it.
    line: usize,
}

fn statements(tokens: &mut std::iter::Peekable<impl Iterator<Item = (usize, String)>>) -> Vec<Statement> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut first = 0;
    while let Some((line, token)) = tokens.next() {
        if words.is_empty() {
            first = line;
        }
        match token.as_str() {
            "{" => {
                let inner = Some(statements(tokens));
                all.push(Statement { words: std::mem::take(&mut words), inner, line: first });
            }
            "}" => break,
            ";" => {
                if !words.is_empty() {
                    all.push(Statement { words: std::mem::take(&mut words), inner: None, line: first });
                }
            }
            _ => words.push(token),
        }
    }
    if !words.is_empty() {
        all.push(Statement { words, inner: None, line: first });
    }
    all
}

/// Whose statements these are, if something outside of the rules says so.
fn owner(statements: &[Statement]) -> Option<Form> {
    let is = |names: &[&str]| {
        statements.iter().any(|it| it.words.first().is_some_and(|word| names.contains(&word.as_str())))
    };
    if is(&["routing-options", "routing-instances"]) {
        Some(Form::Junos)
    } else if is(&["neighbor", "announce", "template", "process"]) {
        Some(Form::Exabgp)
    } else {
        None
    }
}

/// Reads all flow routes of a block that begins at this line.
pub(super) fn read(number: usize, text: &str) -> Vec<Entry> {
    let statements = statements(&mut tokens(text).into_iter().peekable());
    let owner = owner(&statements);
    let mut routes = Vec::new();
    collect(&statements, &mut routes);
    if routes.is_empty() {
        let (form, message) = (owner.unwrap_or(Form::Junos), "there is no flow route in it".to_owned());
        return vec![Entry::Error { number, error: ForeignError::Unknown { form, message } }];
    }
    routes.into_iter().map(|route| entry(number + route.line, read_route(route, owner))).collect()
}

/// The statements `route NAME { ... }` with a match part.
fn collect<'a>(statements: &'a [Statement], routes: &mut Vec<&'a Statement>) {
    for statement in statements {
        let Some(inner) = &statement.inner else { continue };
        let is = |statement: &Statement, word: &str| statement.words.first().is_some_and(|first| first == word);
        if is(statement, "route") && inner.iter().any(|part| is(part, "match")) {
            routes.push(statement);
        } else {
            collect(inner, routes);
        }
    }
}

fn read_route(route: &Statement, owner: Option<Form>) -> Result<ForeignRule, ForeignError> {
    match owner {
        Some(Form::Junos) => junos(route).read(),
        Some(_) => exabgp(route),
        // Nothing tells whose it is: it counts if both mean the same, or if only one can read it.
        None => match (junos(route).read(), exabgp(route)) {
            (Ok(junos), Ok(exabgp)) => match (junos.rule(), exabgp.rule()) {
                (Ok(first), Ok(second)) if first != second => Err(ForeignError::Ambiguous {
                    form: Form::Junos,
                    text: shown(route),
                    first: format!("`{first}` (Junos; it stands in `routing-options`)"),
                    second: format!("`{second}` (ExaBGP; it stands in `neighbor`)"),
                }),
                _ => Ok(exabgp),
            },
            (Ok(rule), Err(_)) | (Err(_), Ok(rule)) => Ok(rule),
            (Err(error), Err(_)) => Err(error),
        },
    }
}

fn shown(statement: &Statement) -> String {
    let words = statement.words.join(" ");
    match &statement.inner {
        None => format!("{words};"),
        Some(inner) => format!("{words} {{ {} }}", inner.iter().map(shown).collect::<Vec<_>>().join(" ")),
    }
}

fn exabgp(route: &Statement) -> Result<ForeignRule, ForeignError> {
    let words = format!("flow {{ {} }}", shown(route));
    match text::parse_line_with_notes(&words) {
        Ok(Some((Rule { nlri, actions, next_hop }, notes))) => {
            let notes = notes.into_iter().map(|note| note.message).collect();
            Ok(ForeignRule { form: Form::Exabgp, nlri, actions: Ok(actions), next_hop, notes })
        }
        Ok(None) => Err(ForeignError::Unknown { form: Form::Exabgp, message: "an empty rule".to_owned() }),
        Err(error) => Err(ForeignError::NotARule { form: Form::Exabgp, text: words, error }),
    }
}

/// The conditions and actions of a route, as Junos has them: in braces, or in one statement.
fn junos(route: &Statement) -> FlowRoute {
    let mut read = FlowRoute::new(route.words.get(1).cloned().unwrap_or_default());
    for part in route.inner.iter().flatten() {
        let Some((word, rest)) = part.words.split_first() else { continue };
        let inner = part.inner.iter().flatten().map(|statement| statement.words.clone());
        let all: Vec<Vec<String>> = if part.inner.is_some() { inner.collect() } else { vec![rest.to_vec()] };
        for words in all {
            match word.as_str() {
                "match" => read.condition(words),
                "then" => read.action(words),
                _ => read.condition(part.words.clone()),
            }
        }
    }
    read
}
