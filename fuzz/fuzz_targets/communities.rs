//! Attributes 16 and 25. First octet: which; the rest is the attribute's value.
#![no_main]

use flowspec::{Action, Communities, Effect, Policing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&head, value)) = data.split_first() else { return };
    let unit = if head & 1 == 0 { 8 } else { 20 };
    let communities = if unit == 8 { Communities::extended(value) } else { Communities::ipv6(value) };
    assert_eq!(communities.is_ok(), !value.is_empty() && value.len() % unit == 0);
    let Ok(communities) = communities else { return };
    assert_eq!(communities.len(), value.len() / unit);

    let mut actions = Vec::new();
    for community in communities {
        let Ok(action) = Action::decode(community) else { continue };
        let sent = action.encode();
        assert_eq!(sent.as_bytes().len(), unit);
        assert_eq!(Action::decode(sent), Ok(action));
        actions.push(action);
    }
    let effect = Effect::of(&actions, None);
    if let Policing::Limit { bytes, packets } = effect.policing {
        assert!(bytes.is_some() || packets.is_some());
        assert!(bytes.into_iter().chain(packets).all(|rate| rate > 0.0 && rate.is_finite()));
    }
    assert!(effect.mark.is_none_or(|dscp| dscp < 64));
});
