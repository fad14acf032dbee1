//! A rule as the history remembers it.

use crate::convert;
use api::Named;
use engine::Route;
use engine::import_policy::RouteCommunity;
use flowspec::text::WireLine;
use flowspec::{Prefix, Rule};
use history::{AddressRange, Description, Time};
use std::time::{SystemTime, UNIX_EPOCH};

/// Octets of a rule's text that are kept: a peer may send rules whose text is 60 KiB.
const LONGEST_TEXT: usize = 4096;

/// The rule, with the attributes of its route.
pub(super) fn describe(rule: &Rule, route: &Route, peer: String, by: Option<String>) -> Description {
    let mut nlri = Vec::with_capacity(rule.nlri.wire_len());
    rule.nlri.encode_to(&mut nlri);
    // `wire FAMILY NLRI ACTIONS`.
    let line = WireLine(rule).to_string();
    let actions = line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
    let (as_path, communities) = route.attributes.as_ref().map_or_else(Default::default, |attributes| {
        let numbers = attributes.as_path.iter().map(ToString::to_string);
        let standard = attributes.communities.iter().map(|number| RouteCommunity::Standard(*number));
        let large = attributes.large_communities.iter().map(|numbers| RouteCommunity::Large(*numbers));
        (joined(numbers), joined(standard.chain(large).map(|community| community.to_string())))
    });
    Description {
        family: rule.nlri.family().to_string(),
        nlri,
        text: shortened(rule.to_string()),
        actions,
        verdict: convert::verdict(&route.effect()).name().to_owned(),
        peer,
        by,
        as_path,
        communities,
        destination: rule.nlri.destination().and_then(destination),
    }
}

fn destination(prefix: Prefix) -> Option<AddressRange> {
    match prefix {
        Prefix::V4(net) => Some(AddressRange::of_prefix(net.addr().into(), net.prefix_len())),
        Prefix::V6(pattern) if pattern.offset() == 0 => {
            Some(AddressRange::of_prefix(std::net::Ipv6Addr::from(pattern.bits()).into(), pattern.length()))
        }
        Prefix::V6(_) => None,
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    shortened(words.collect::<Vec<_>>().join(" "))
}

/// The beginning of a long text.
pub(super) fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push_str(" ...");
    }
    text
}

/// Now.
pub(super) fn wall() -> Time {
    milliseconds(SystemTime::now())
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> Time {
    Time::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(Time::MAX)
}
