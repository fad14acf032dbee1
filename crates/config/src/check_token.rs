//! Checks of `[[token]]` that the types cannot express.

use crate::file::Config;
use crate::report::Report;
use crate::report::Step::{Index, Key};
use crate::token::Role;

/// Errors in every token.
pub(crate) fn problems(config: &Config, report: &mut Report<'_>) {
    for (index, token) in config.tokens.iter().enumerate() {
        let mut wrong =
            |key: &'static str, message: String| report.at(&[Key("token"), Index(index), Key(key)], message);
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if token.name.is_empty() || !token.name.chars().all(is_fit) {
            let message =
                format!("`{}` cannot be the name of a token; expected letters, digits, `-`, `_` and `.`", token.name);
            wrong("name", message);
        }
        let earlier = &config.tokens[..index];
        if earlier.iter().any(|other| other.name == token.name) {
            wrong("name", format!("a second token `{}`; names are unique", token.name));
        }
        if let Some(other) = earlier.iter().find(|other| other.hash == token.hash) {
            wrong("hash", format!("this is also the token `{}`; make one for each name", other.name));
        }
        if token.shortest_prefix_v4 > 32 {
            wrong("shortest-prefix-v4", "an IPv4 prefix has at most 32 bits".to_owned());
        }
        if token.shortest_prefix_v6 > 128 {
            wrong("shortest-prefix-v6", "an IPv6 prefix has at most 128 bits".to_owned());
        }
        if token.max_lifetime.is_some_and(|age| age.0.is_zero()) {
            wrong("max-lifetime", "rules with a lifetime of 0 s are never enforced; expected a longer time".to_owned());
        }
        if token.max_rules == 0 && token.role != Role::Read {
            wrong("max-rules", "with 0 no rule is ever taken; expected at least 1, or role = \"read\"".to_owned());
        }
        for (key, nets) in
            [("sources", &token.sources), ("destinations", &token.destinations), ("redirect-to", &token.redirect_to)]
        {
            for (place, net) in nets.iter().enumerate().filter(|(_, net)| **net != net.trunc()) {
                let message = format!("{net} has host bits set; did you mean `{}`?", net.trunc());
                report.at(&[Key("token"), Index(index), Key(key), Index(place)], message);
            }
        }
    }
}

/// Advice: what is allowed but probably not intended.
pub(crate) fn advice(config: &Config) -> Option<String> {
    let free = config.tokens.iter().filter(|token| token.role == Role::Announce && token.destinations.is_empty());
    let names: Vec<&str> = free.map(|token| token.name.as_str()).collect();
    let tokens = if names.len() == 1 { "token" } else { "tokens" };
    (!names.is_empty())
        .then(|| format!("{tokens} {} may filter any destination: name yours in destinations", names.join(", ")))
}
