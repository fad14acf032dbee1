//! Checks of policies and blackholes that the types cannot express.

use crate::error::nearest;
use crate::file::{Config, Peer};
use crate::policy::{Policy, Statement, ThenWord};
use crate::report::Report;
use crate::report::Step::{Index, Key};
use crate::values::FamilyName;
use ipnet::IpNet;

/// Errors in every policy.
pub(crate) fn policies(config: &Config, complete: bool, report: &mut Report<'_>) {
    for (index, policy) in config.policies.iter().enumerate() {
        let mut wrong =
            |key: &'static str, message: String| report.at(&[Key("policy"), Index(index), Key(key)], message);
        let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '`';
        if policy.name.is_empty() || policy.name.contains(unfit) {
            wrong("name", format!("`{}` cannot be the name of a policy; expected a word", policy.name));
        }
        if config.policies[..index].iter().any(|other| other.name == policy.name) {
            wrong("name", format!("a second policy `{}`; names are unique", policy.name));
        }
        if policy.statements.is_empty() && complete {
            wrong("name", format!("policy `{}` has no [[policy.statement]]", policy.name));
        }
        let place = [Key("policy"), Index(index), Key("peers")];
        peers(config, policy.peers.as_deref(), &place, report);
        statements(config, index, policy, complete, report);
    }
}

fn statements(config: &Config, index: usize, policy: &Policy, complete: bool, report: &mut Report<'_>) {
    let mut last = None;
    for (number, statement) in policy.statements.iter().enumerate() {
        let at = |key: &'static str| [Key("policy"), Index(index), Key("statement"), Index(number), Key(key)];
        let place = [Key("policy"), Index(index), Key("statement"), Index(number)];
        if let Some(before) = last.filter(|_| complete) {
            report.at(&place, format!("statement {before} decides about every route: this one is never evaluated"));
        }
        if statement.is_for_all() && !matches!(statement.then, None | Some(ThenWord::Next)) && last.is_none() {
            last = Some(number + 1);
        }
        if statement.then.is_none() && !statement.is_changing() && complete {
            let message = "it does nothing; expected `then`, such as then = \"accept\" or then = \"reject\", or a change such as lifetime = \"1h\"";
            report.at(&place, message.to_owned());
        }
        if statement.then == Some(ThenWord::Reject) && statement.is_changing() {
            report.at(&at("then"), "a rule that is rejected is not changed; expected one of both".to_owned());
        }
        if statement.then == Some(ThenWord::Observe) && statement.set_action.is_some() {
            report.at(
                &at("set-action"),
                "`observe` is an action itself: packets are counted and continue to the next rule; expected one of both"
                    .to_owned(),
            );
        }
        if statement.reason.is_some() && statement.then != Some(ThenWord::Reject) && complete {
            report.at(&at("reason"), "a reason is given where a rule is rejected: then = \"reject\"".to_owned());
        }
        if statement.lifetime.is_some_and(|age| age.0.as_secs() == 0) {
            report.at(
                &at("lifetime"),
                "rules with a lifetime of 0 s are never enforced; expected at least 1s".to_owned(),
            );
        }
        peers(config, statement.peers.as_deref(), &at("peers"), report);
        for (key, nets) in
            [("destination-within", &statement.destination_within), ("source-within", &statement.source_within)]
        {
            for (position, net) in nets.iter().flatten().enumerate() {
                let [a, b, c, d, e] = at(key);
                host_bits(net, &[a, b, c, d, e, Index(position)], report);
            }
        }
        for key in empty_lists(statement) {
            report
                .at(&at(key), "an empty list matches no route; leave the key out where it does not matter".to_owned());
        }
    }
}

fn empty_lists(statement: &Statement) -> impl Iterator<Item = &'static str> {
    fn is_empty<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(Vec::is_empty)
    }
    let lists = [
        ("peers", is_empty(statement.peers.as_ref())),
        ("families", is_empty(statement.families.as_ref())),
        ("destination-within", is_empty(statement.destination_within.as_ref())),
        ("source-within", is_empty(statement.source_within.as_ref())),
        ("components", is_empty(statement.components.as_ref())),
        ("without-components", is_empty(statement.without_components.as_ref())),
        ("actions", is_empty(statement.actions.as_ref())),
        ("communities", is_empty(statement.communities.as_ref())),
        ("as-path-origin", is_empty(statement.as_path_origin.as_ref())),
        ("as-path-contains", is_empty(statement.as_path_contains.as_ref())),
    ];
    lists.into_iter().filter(|(_, is_empty)| *is_empty).map(|(key, _)| key)
}

/// Names without a wildcard must be names of peers.
fn peers(config: &Config, names: Option<&[String]>, place: &[crate::report::Step], report: &mut Report<'_>) {
    for name in names.into_iter().flatten() {
        let known: Vec<&str> = config.peers.iter().map(|peer| peer.name.as_str()).collect();
        if name.contains(['*', '?']) || known.contains(&name.as_str()) {
            continue;
        }
        report.at(
            place,
            match nearest(name, &known) {
                Some(meant) => format!("`{name}` is not the name of a peer; did you mean `{meant}`?"),
                None => format!(
                    "`{name}` is not the name of a peer; expected a name of [[peer]], or a pattern such as customer-*"
                ),
            },
        );
    }
}

fn host_bits(net: &IpNet, place: &[crate::report::Step], report: &mut Report<'_>) {
    if *net != net.trunc() {
        report.at(place, format!("{net} has host bits set; did you mean `{}`?", net.trunc()));
    }
}

/// Errors in `[peer.blackhole]`.
pub(crate) fn blackhole(peer: &Peer, index: usize, complete: bool, report: &mut Report<'_>) {
    let Some(blackhole) = &peer.blackhole else { return };
    let here = [Key("peer"), Index(index), Key("blackhole")];
    let at = |key: &'static str| [Key("peer"), Index(index), Key("blackhole"), Key(key)];
    let unicast = |family| matches!(family, &FamilyName::Ipv4Unicast | &FamilyName::Ipv6Unicast);
    if !peer.families.iter().any(unicast) {
        let message = "blackholes are unicast routes; add \"ipv4-unicast\" or \"ipv6-unicast\" to this peer's families";
        report.at(&here, message.to_owned());
    }
    let destinations = !blackhole.destination_triggers().is_empty() || !blackhole.both.is_empty();
    let sources = !blackhole.source.is_empty() || !blackhole.both.is_empty();
    if peer.allow.destinations.is_empty() && complete {
        let message =
            "a peer with blackholes needs allow.destinations: the prefixes that it may announce (RFC 7999 §3.3)";
        report.at(&here, message.to_owned());
    }
    if !destinations && !sources && complete {
        report.at(&here, "no route is a blackhole: all lists of marks are empty; leave the section out".to_owned());
    }
    if sources && blackhole.sources.is_empty() && complete {
        let key = if blackhole.source.is_empty() { "both" } else { "source" };
        report.at(&at(key), "expected `sources`, too: the prefixes whose packets the peer may have dropped".to_owned());
    }
    if !sources && !blackhole.sources.is_empty() && complete {
        report.at(
            &at("sources"),
            "no mark drops sources; expected marks in `source` or `both`, such as source = [\"65070:667\"]".to_owned(),
        );
    }
    if blackhole.shortest_prefix_v4 > 32 {
        report.at(&at("shortest-prefix-v4"), "an IPv4 prefix has at most 32 bits".to_owned());
    }
    if blackhole.shortest_prefix_v6 > 128 {
        report.at(&at("shortest-prefix-v6"), "an IPv6 prefix has at most 128 bits".to_owned());
    }
    for (position, net) in blackhole.sources.iter().enumerate() {
        host_bits(net, &[Key("peer"), Index(index), Key("blackhole"), Key("sources"), Index(position)], report);
    }
}
