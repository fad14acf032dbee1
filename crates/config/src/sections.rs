//! The sections of the file and their keys, as the types have them.

use crate::cumulus::Cumulus;
use crate::file::{Allow, Api, Dataplane, Log, Nftables, Peer, Protect, Router, State};
use crate::flower::Flower;
use crate::history::History;
use crate::long_lived::LongLived;
use crate::policy::{Blackhole, Policy, Statement};
use crate::sonic::Sonic;
use crate::token::Token;
use crate::xdp::Xdp;

/// Each section with its keys: serde lists them when it is asked for an unknown one.
pub(crate) fn sections() -> Vec<(&'static str, Vec<String>)> {
    fn keys<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let error = toml::from_str::<T>("no-such-key = 1").err();
        let message = error.as_ref().map_or("", |error| error.message());
        let expected = message.split_once(", expected").map_or("", |(_, expected)| expected);
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
    vec![
        ("[router]", keys::<Router>()),
        ("[[peer]]", keys::<Peer>()),
        ("[peer.allow]", keys::<Allow>()),
        ("[peer.blackhole]", keys::<Blackhole>()),
        ("[peer.long-lived]", keys::<LongLived>()),
        ("[[policy]]", keys::<Policy>()),
        ("[[policy.statement]]", keys::<Statement>()),
        ("[protect]", keys::<Protect>()),
        ("[dataplane]", keys::<Dataplane>()),
        ("[dataplane.nftables]", keys::<Nftables>()),
        ("[dataplane.cumulus]", keys::<Cumulus>()),
        ("[dataplane.sonic]", keys::<Sonic>()),
        ("[dataplane.xdp]", keys::<Xdp>()),
        ("[dataplane.flower]", keys::<Flower>()),
        ("[api]", keys::<Api>()),
        ("[[token]]", keys::<Token>()),
        ("[state]", keys::<State>()),
        ("[history]", keys::<History>()),
        ("[log]", keys::<Log>()),
    ]
}

/// Each section, and each of its keys that is not a section itself.
#[cfg(test)]
pub(crate) fn keys_of_sections() -> Vec<(&'static str, String)> {
    let sections = sections();
    let is_section = |section: &str, key: &str| {
        let name = format!("{}.{key}", section.trim_matches(['[', ']']));
        sections.iter().any(|(other, _)| other.trim_matches(['[', ']']) == name)
    };
    let keys = sections.iter().flat_map(|(section, keys)| keys.iter().map(|key| (*section, key.clone())));
    keys.filter(|(section, key)| !is_section(section, key)).collect()
}
