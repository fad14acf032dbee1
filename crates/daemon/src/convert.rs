//! Conversions from BGP types to those of the engine and the API.

use api::Verdict;
use bgp::{AfiSafi, AsPath, Origin, StandardCommunity};
use config::{BGP_PORT, Config, FamilyName, Port};
use engine::protection::{Protection, Traffic};
use engine::route::{AsPathFacts, PathFacts, RouteAttributes};
use engine::{PeerId, Route, RouteFamily};
use flowspec::{Effect, Family, Policing};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The engine's peer id for locally originated rules.
pub(crate) const LOCAL: PeerId = PeerId(0);

/// The route of an announcement, shared by all NLRIs with the same attributes. `None` if its
/// actions cannot be decoded, which the session has already handled as treat-as-withdraw.
pub(crate) fn route(announced: &bgp::Announced) -> Option<Arc<Route>> {
    let bgp::Announced { attributes, next_hop, route_loop, .. } = announced;
    let facts = PathFacts {
        origin: match attributes.origin {
            Origin::Igp => engine::route::Origin::Igp,
            Origin::Egp => engine::route::Origin::Egp,
            Origin::Incomplete => engine::route::Origin::Incomplete,
        },
        as_path: as_path(&attributes.as_path),
        local_pref: attributes.local_pref,
        med: attributes.med,
        originator: attributes.originator_id,
        cluster_list_length: u32::try_from(attributes.cluster_list.len()).unwrap_or(u32::MAX),
        no_llgr: attributes.has_community(StandardCommunity::NO_LLGR),
        llgr_stale: attributes.has_community(StandardCommunity::LLGR_STALE),
        route_loop: route_loop.map(|route_loop| match route_loop {
            bgp::RouteLoop::OwnAs(asn) => engine::route::RouteLoop::OwnAs(asn),
            bgp::RouteLoop::Originator(id) => engine::route::RouteLoop::Originator(id),
            bgp::RouteLoop::Cluster(id) => engine::route::RouteLoop::Cluster(id),
        }),
    };
    let policy_attributes = RouteAttributes {
        communities: attributes.communities.iter().map(|community| community.0).collect(),
        large_communities: attributes.large_communities.clone(),
        as_path: attributes.as_path.numbers().collect(),
        origin_as: attributes.as_path.origin(),
    };
    let attributes_known = policy_attributes.boxed();
    Some(Arc::new(Route {
        actions: attributes.actions().ok()?,
        next_hop: *next_hop,
        facts,
        attributes: attributes_known,
    }))
}

fn as_path(path: &AsPath) -> AsPathFacts {
    AsPathFacts {
        length: u32::try_from(path.length()).unwrap_or(u32::MAX),
        leftmost: path.leftmost(),
        internal: path.is_local(),
    }
}

/// The family as a type of the engine.
pub(crate) const fn family(family: AfiSafi) -> RouteFamily {
    match family {
        AfiSafi::Ipv4Unicast | AfiSafi::Ipv6Unicast => RouteFamily::Unicast(family.version()),
        AfiSafi::Flow(flow) => RouteFamily::Flow(flow),
    }
}

/// The state of a rule as its API name.
pub(crate) const fn rule_state(state: &engine::state::RuleState) -> api::RuleState {
    use engine::state::RuleState;
    match state {
        RuleState::Pending { .. } => api::RuleState::Pending,
        RuleState::Installed { .. } => api::RuleState::Installed,
        RuleState::Stale { .. } => api::RuleState::Stale,
        RuleState::Refused(_) => api::RuleState::Refused,
        RuleState::RejectedByPolicy(_) => api::RuleState::RejectedByPolicy,
        RuleState::Infeasible(_) => api::RuleState::Infeasible,
        RuleState::Shadowed { .. } => api::RuleState::Shadowed,
        RuleState::OverCapacity(_) => api::RuleState::OverCapacity,
        RuleState::Failed(_) => api::RuleState::Failed,
    }
}

/// What becomes of the packets of a rule with this effect, in the API's words.
pub(crate) const fn verdict(effect: &Effect) -> Verdict {
    match (effect.policing, effect.redirect) {
        (Policing::Discard, _) => Verdict::Discard,
        (Policing::Limit { .. }, _) => Verdict::Rate,
        (Policing::None, Some(_)) => Verdict::Redirect,
        (Policing::None, None) => Verdict::Accept,
    }
}

/// The state of a session as its API name.
pub(crate) const fn session_state(state: bgp::State) -> api::SessionState {
    match state {
        bgp::State::Idle => api::SessionState::Idle,
        bgp::State::Connect => api::SessionState::Connect,
        bgp::State::Active => api::SessionState::Active,
        bgp::State::OpenSent => api::SessionState::OpenSent,
        bgp::State::OpenConfirm => api::SessionState::OpenConfirm,
        bgp::State::Established => api::SessionState::Established,
    }
}

/// A family of a session as its API name.
pub(crate) const fn address_family(family: AfiSafi) -> api::AddressFamily {
    match family {
        AfiSafi::Ipv4Unicast => api::AddressFamily::Ipv4Unicast,
        AfiSafi::Ipv6Unicast => api::AddressFamily::Ipv6Unicast,
        AfiSafi::Flow(Family::Ipv4) => api::AddressFamily::Ipv4Flow,
        AfiSafi::Flow(Family::Ipv6) => api::AddressFamily::Ipv6Flow,
        AfiSafi::Flow(Family::Vpnv4) => api::AddressFamily::Vpnv4Flow,
        AfiSafi::Flow(Family::Vpnv6) => api::AddressFamily::Vpnv6Flow,
    }
}

/// The family of a configuration name.
pub(crate) const fn afi_safi(name: FamilyName) -> AfiSafi {
    match name.flowspec() {
        Some(family) => AfiSafi::Flow(family),
        None => match name {
            FamilyName::Ipv6Unicast => AfiSafi::Ipv6Unicast,
            _ => AfiSafi::Ipv4Unicast,
        },
    }
}

/// Link-local multicast groups, which routing protocols use between neighbours and no router
/// forwards.
const LINK_LOCAL_MULTICAST: [IpNet; 2] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 24),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0)), 16),
];

/// Protected traffic: the BGP sessions, and what `[protect]` names.
pub fn protection(config: &Config, addresses: &BTreeSet<IpAddr>) -> Protection {
    let mut protection = Protection::default();
    for peer in &config.peers {
        // The peer may have connected to our port, or we to its.
        let ours = config.router.listen.iter().flatten().map(|listen| listen.bgp().port());
        let ports: BTreeSet<u16> = ours.chain([peer.port, BGP_PORT]).collect();
        for port in ports {
            protection.session(peer.address, peer.source, port);
        }
    }
    for net in &config.protect.prefixes {
        protection.destination(*net);
    }
    for net in &config.protect.sources {
        protection.source(*net);
    }
    let ports = config.protect.ports.iter().map(|port| {
        let Port { protocol, port: number } = port.what;
        (Traffic::Port { protocol, port: number }, port.from)
    });
    let sessions = config.protect.sessions.iter().map(|port| {
        let Port { protocol, port: number } = port.what;
        (Traffic::Session { protocol, port: number }, port.from)
    });
    for (traffic, from) in ports.chain(sessions) {
        addresses.iter().for_each(|own| protection.traffic(traffic, (*own).into(), from));
    }
    for protocol in &config.protect.protocols {
        let own = addresses.iter().map(|own| IpNet::from(*own));
        own.chain(LINK_LOCAL_MULTICAST)
            .for_each(|to| protection.traffic(Traffic::Protocol(protocol.what.0), to, protocol.from));
    }
    for preset in &config.protect.presets {
        protection.preset(preset.what.0, addresses, preset.from);
    }
    protection
}

/// The protected traffic for people, a sentence for each line of the configuration: not for each of
/// some thousand pairs of an address and a port.
pub(crate) fn protected(config: &Config, addresses: &BTreeSet<IpAddr>) -> Vec<String> {
    let protect = &config.protect;
    let from = |from: Option<IpNet>| from.map(|net| format!(" from {net}")).unwrap_or_default();
    let own = match addresses.len() {
        1 => "the address of this machine".to_owned(),
        count => format!("the {count} addresses of this machine"),
    };
    let mut lines = vec![flowspec::Exemption::NeighborDiscovery.to_string()];
    if !config.peers.is_empty() {
        let names: Vec<&str> = config.peers.iter().map(|peer| peer.name.as_str()).take(8).collect();
        let more = if config.peers.len() > names.len() { ", ..." } else { "" };
        lines.push(format!("the BGP sessions with {}{more}", names.join(", ")));
    }
    lines.extend(protect.presets.iter().map(|preset| {
        let what = preset.what.0;
        format!("{}{}: {}", what.name, from(preset.from), what.about)
    }));
    let port = |port: Port| Traffic::Port { protocol: port.protocol, port: port.port };
    let session = |port: Port| Traffic::Session { protocol: port.protocol, port: port.port };
    lines.extend(protect.ports.iter().map(|it| format!("{}{} to {own}", port(it.what), from(it.from))));
    lines.extend(protect.sessions.iter().map(|it| format!("{}{} to {own}", session(it.what), from(it.from))));
    lines.extend(
        protect
            .protocols
            .iter()
            .map(|it| format!("{}{} to {own} and to groups of the link", Traffic::Protocol(it.what.0), from(it.from))),
    );
    lines.extend(protect.prefixes.iter().map(|net| format!("packets to {net}")));
    lines.extend(protect.sources.iter().map(|net| format!("packets from {net}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Named;

    #[test]
    fn the_api_has_the_names_of_the_other_crates() {
        for family in AfiSafi::ALL {
            assert_eq!(address_family(family).name(), family.name());
        }
        let names: BTreeSet<_> = api::RuleState::ALL.iter().map(|state| state.name()).collect();
        assert_eq!(names, engine::state::RuleState::NAMES.into_iter().collect());
        for (member, name) in [
            (rule_state(&engine::state::RuleState::Failed(String::new())), "failed"),
            (rule_state(&engine::state::RuleState::Stale { entries: 0 }), "stale"),
            (rule_state(&engine::state::RuleState::Pending { paused: false }), "pending"),
        ] {
            assert_eq!(member.name(), name);
        }
        use bgp::State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};
        for state in [Idle, Connect, Active, OpenSent, OpenConfirm, Established] {
            assert_eq!(session_state(state).name(), state.name());
        }
        for it in crate::backend_spec::BACKENDS {
            assert_eq!(crate::backend_spec::backend_view(*it).name(), it.name());
        }
    }
}
