//! Rule text. An even first octet: the rest is text. An odd one: the length of an NLRI, the NLRI,
//! and communities; the rule that they make must come back from its text.
#![no_main]

use flowspec::{Action, Communities, Family, Nlri, Rule};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&head, rest)) = data.split_first() else { return };
    if head & 1 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else { return };
        match text.parse::<Rule>() {
            Ok(rule) => comes_back(&rule),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        return;
    }
    let Some((&len, rest)) = rest.split_first() else { return };
    let (value, attribute) = rest.split_at(rest.len().min(usize::from(len)));
    let Ok(nlri) = Nlri::from_value(Family::ALL[usize::from(head >> 1 & 3)], value) else { return };
    let communities = if head & 8 == 0 { Communities::extended(attribute) } else { Communities::ipv6(attribute) };
    let actions = communities.into_iter().flatten().filter_map(|community| Action::decode(community).ok()).collect();
    comes_back(&Rule::new(nlri, actions));
});

/// Display -> parse is the identity.
fn comes_back(rule: &Rule) {
    let text = rule.to_string();
    match text.parse::<Rule>() {
        Ok(parsed) => assert_eq!(&parsed, rule, "{text}"),
        Err(error) => panic!("`{text}`: {error}"),
    }
}
