//! The words with which users choose rules.

use api::{Named, RuleState};
use flowspec::{Family, Nlri};
use std::cell::LazyCell;

/// Words, all of which must match: a state, a family, a peer, `local`, an address or prefix (rules
/// whose destination overlaps), the beginning of an id, or part of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleFilter {
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Net(ipnet::IpNet),
    Text { text: String, state: Option<RuleState>, family: Option<Family> },
}

/// What a filter asks about a rule. Id and text are asked for at most once.
pub(crate) trait Filterable {
    fn nlri(&self) -> &Nlri;
    fn state(&self) -> RuleState;
    /// Whether this peer announces it, or whether it is a local rule, for the name `local`.
    fn is_announced_by(&self, peer: &str) -> bool;
    fn id(&self) -> String;
    fn text(&self) -> String;
}

impl RuleFilter {
    /// From the text that a user typed.
    pub(crate) fn parse(text: &str) -> Self {
        let word = |word: &str| {
            let net = word.parse().or_else(|_| word.parse::<std::net::IpAddr>().map(ipnet::IpNet::from));
            let text =
                || Word::Text { text: word.to_owned(), state: RuleState::from_name(word), family: word.parse().ok() };
            net.map_or_else(|_| text(), Word::Net)
        };
        RuleFilter { words: text.split_whitespace().map(word).collect() }
    }

    /// Whether all rules match.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a rule matches.
    pub(crate) fn matches(&self, rule: &impl Filterable) -> bool {
        let (id, whole) = (LazyCell::new(|| rule.id()), LazyCell::new(|| rule.text()));
        self.words.iter().all(|word| match word {
            Word::Net(net) => overlaps(rule.nlri(), *net),
            Word::Text { text, state, family } => {
                state.is_some_and(|state| rule.state() == state)
                    || family.is_some_and(|family| rule.nlri().family() == family)
                    || rule.is_announced_by(text)
                    || id.starts_with(text.as_str())
                    || whole.contains(text.as_str())
            }
        })
    }
}

/// Whether some address of `net` is a destination of the rule.
fn overlaps(nlri: &Nlri, net: ipnet::IpNet) -> bool {
    use flowspec::{IpVersion, Prefix};
    match (nlri.destination(), net) {
        (Some(Prefix::V4(dst)), ipnet::IpNet::V4(net)) => dst.contains(&net) || net.contains(&dst),
        (Some(Prefix::V6(dst)), ipnet::IpNet::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(0);
            (u128::from(net.network()) ^ dst.bits()) & mask & dst.mask() == 0
        }
        (None, net) => (nlri.family().version() == IpVersion::V4) == net.addr().is_ipv4(),
        (Some(_), _) => false,
    }
}
