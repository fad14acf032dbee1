//! Capability negotiation: the result of the two OPENs of a session.

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::message::{
    AddPath, Capability, FamilyNumbers, GracefulRestart, LongLivedFamily, MAX_EXTENDED_MESSAGE, MAX_MESSAGE,
    Notification, Open, OpenSubcode,
};
use crate::session::config::{PeerAs, PeerConfig};
use std::net::Ipv4Addr;

/// The outcome of capability negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct Negotiated {
    /// The peer's AS number.
    pub peer_as: u32,
    /// The peer's BGP identifier.
    pub peer_id: Ipv4Addr,
    /// Different AS numbers.
    pub external: bool,
    /// Hold time in seconds; 0 means no keepalives.
    pub hold_time: u16,
    /// Families that both offered.
    pub families: FamilySet,
    /// AS numbers have four octets in UPDATEs.
    pub four_octet_as: bool,
    /// Most octets of a message that we may send.
    pub max_message: usize,
    /// The peer takes ROUTE-REFRESH.
    pub route_refresh: bool,
    /// Both mark begin and end of a refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// The peer's NLRIs of these families have path identifiers.
    pub add_path_receive: FamilySet,
    /// Our NLRIs of these families have path identifiers.
    pub add_path_send: FamilySet,
    /// The families for which we offered long-lived graceful restart (RFC 9494).
    pub long_lived_offered: FamilySet,
    /// The peer's OPEN, with all its capabilities.
    pub open: Open,
}

impl Negotiated {
    /// The peer's graceful restart capability (RFC 4724), whether or not we offered ours. Of
    /// several the last counts (§3).
    #[must_use]
    pub fn graceful_restart(&self) -> Option<&GracefulRestart> {
        self.open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart),
            _ => None,
        })
    }

    /// The peer's long-lived graceful restart capability (RFC 9494) for a family. Of several
    /// capabilities the last counts, of several entries the first. `None` where we did not offer
    /// ours for the family, or where the peer has no graceful restart, without which this one means
    /// nothing (§4.1).
    #[must_use]
    pub fn long_lived(&self, family: AfiSafi) -> Option<&LongLivedFamily> {
        if !self.long_lived_offered.contains(family) || self.graceful_restart().is_none() {
            return None;
        }
        let families = self.open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(families) => Some(families),
            _ => None,
        });
        families?.iter().find(|entry| entry.family == FamilyNumbers::from(family))
    }

    /// Whether the peer announced that it kept the routes of this family in its forwarding plane
    /// over its restart: the F bit of RFC 4724 §3, or where it was negotiated that of RFC 9494
    /// §3.1.
    #[must_use]
    pub fn preserved(&self, family: AfiSafi) -> bool {
        let numbers = FamilyNumbers::from(family);
        self.graceful_restart().is_some_and(|restart| restart.families.contains(&(numbers, true)))
            || self.long_lived(family).is_some_and(|entry| entry.preserved)
    }

    /// Whether the peer restarts gracefully and listed a family of this session: only then does a
    /// second connection mean that it has restarted (RFC 4724 §5).
    pub(crate) fn restarts_gracefully(&self) -> bool {
        let negotiated =
            |(numbers, _): &(FamilyNumbers, bool)| numbers.known().is_some_and(|family| self.families.contains(family));
        self.graceful_restart().is_some_and(|restart| restart.families.iter().any(negotiated))
    }
}

/// Our OPEN. `restarting`: the restart that an R bit in `config` announces is not over; afterwards
/// neither that nor its F bits are sent.
pub(crate) fn local_open(config: &PeerConfig, restarting: bool) -> Open {
    let mut capabilities: Vec<_> =
        config.families.iter().map(|family| Capability::Multiprotocol(family.into())).collect();
    let mut offer = |wanted: bool, capability: Capability| capabilities.extend(wanted.then_some(capability));
    offer(config.route_refresh, Capability::RouteRefresh);
    offer(config.enhanced_route_refresh, Capability::EnhancedRouteRefresh);
    offer(config.extended_message, Capability::ExtendedMessage);
    offer(config.four_octet_as, Capability::FourOctetAs(config.local_as));
    // A role is announced to eBGP peers only (RFC 9234 §4.1).
    if let Some(role) = config.role.filter(|_| config.peer_as != PeerAs::Exactly(config.local_as)) {
        offer(true, Capability::Role(role));
    }
    let add_path: Vec<_> = AfiSafi::ALL
        .into_iter()
        .map(|family| AddPath {
            family: family.into(),
            receive: config.add_path_receive.contains(family),
            send: config.add_path_send.contains(family),
        })
        .filter(|entry| entry.receive || entry.send)
        .collect();
    offer(!add_path.is_empty(), Capability::AddPath(add_path));
    if let Some(restart) = &config.graceful_restart {
        let mut restart = restart.clone();
        if restart.restarted && !restarting {
            restart.restarted = false;
            restart.families.iter_mut().for_each(|(_, preserved)| *preserved = false);
        }
        let long_lived = config.long_lived.map(|long| {
            let entry = |family: AfiSafi| LongLivedFamily {
                family: family.into(),
                preserved: restart.families.contains(&(family.into(), true)),
                stale_time: long.stale_time.min(0x00ff_ffff),
            };
            config.families.intersection(long.families).iter().map(entry).collect()
        });
        offer(true, Capability::GracefulRestart(restart));
        if let Some(families) = long_lived {
            offer(true, Capability::LongLivedGracefulRestart(families));
        }
    }
    Open { asn: config.local_as, hold_time: config.hold_time, router_id: config.router_id, capabilities }
}

/// Negotiates: our configuration with the OPEN of the peer.
///
/// # Errors
/// The NOTIFICATION to answer with: the peer is not the configured one, or no family is common.
pub(crate) fn negotiate(config: &PeerConfig, open: Open) -> Result<Negotiated, Notification> {
    if !config.peer_as.accepts(open.asn, config.local_as) {
        // The data is ours to choose: with the number, both operators see what is wrong.
        return Err(Notification::with_data(OpenSubcode::BadPeerAs, &open.asn.to_be_bytes()));
    }
    let external = open.asn != config.local_as;
    // Identifiers need to differ within an AS only (RFC 6286 §2.1).
    if !external && open.router_id == config.router_id {
        return Err(Notification::new(OpenSubcode::BadIdentifier));
    }
    if external {
        check_role(config, &open)?;
    }
    let has = |wanted: &Capability| open.capabilities.contains(wanted);
    let offered: Vec<FamilyNumbers> = open
        .capabilities
        .iter()
        .filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        })
        .collect();
    let offered: FamilySet = if offered.is_empty() {
        // Without the capability a speaker has IPv4 unicast and nothing else (RFC 4760 §8).
        [AfiSafi::Ipv4Unicast].into_iter().collect()
    } else {
        offered.into_iter().filter_map(FamilyNumbers::known).collect()
    };
    let families = offered.intersection(config.families);
    if families.is_empty() {
        let mut needed = Vec::new();
        config.families.iter().for_each(|family| Capability::Multiprotocol(family.into()).encode_to(&mut needed));
        return Err(Notification::with_data(OpenSubcode::UnsupportedCapability, &needed));
    }
    let (add_path_receive, add_path_send) = add_path(config, &open);
    let extended = config.extended_message && has(&Capability::ExtendedMessage);
    Ok(Negotiated {
        peer_as: open.asn,
        peer_id: open.router_id,
        external,
        hold_time: open.hold_time.min(config.hold_time),
        families,
        four_octet_as: config.four_octet_as && open.has_four_octet_as(),
        max_message: if extended { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE },
        route_refresh: has(&Capability::RouteRefresh),
        enhanced_route_refresh: config.enhanced_route_refresh && has(&Capability::EnhancedRouteRefresh),
        add_path_receive: add_path_receive.intersection(families),
        add_path_send: add_path_send.intersection(families),
        long_lived_offered: match config.long_lived {
            Some(long) if config.graceful_restart.is_some() => families.intersection(long.families),
            _ => FamilySet::EMPTY,
        },
        open,
    })
}

/// RFC 9234 §4.2: roles must be a pair; several different ones are a mismatch; none is one only in
/// strict mode.
fn check_role(config: &PeerConfig, open: &Open) -> Result<(), Notification> {
    let Some(role) = config.role else { return Ok(()) };
    let mut found = open.capabilities.iter().filter_map(|capability| match capability {
        Capability::Role(role) => Some(*role),
        _ => None,
    });
    let Some(first) = found.next() else {
        return if config.role_strict { Err(Notification::new(OpenSubcode::RoleMismatch)) } else { Ok(()) };
    };
    if first == role.counterpart() && found.all(|other| other == first) {
        Ok(())
    } else {
        Err(Notification::new(OpenSubcode::RoleMismatch))
    }
}

/// The families in which we receive, and in which we send, path identifiers.
fn add_path(config: &PeerConfig, open: &Open) -> (FamilySet, FamilySet) {
    let (mut receive, mut send) = (FamilySet::EMPTY, FamilySet::EMPTY);
    for capability in &open.capabilities {
        let Capability::AddPath(entries) = capability else { continue };
        for entry in entries {
            let Some(family) = entry.family.known() else { continue };
            if entry.send && config.add_path_receive.contains(family) {
                receive.insert(family);
            }
            if entry.receive && config.add_path_send.contains(family) {
                send.insert(family);
            }
        }
    }
    (receive, send)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{NotificationCode, Role};
    use flowspec::Family;

    fn config(asn: u32, id: u8) -> PeerConfig {
        PeerConfig::new(asn, Ipv4Addr::new(192, 0, 2, id), PeerAs::Any)
    }

    #[test]
    fn both_sides_negotiate_matching_results() {
        let v4 = AfiSafi::Flow(Family::Ipv4);
        let set: FamilySet = [v4].into_iter().collect();
        let a = PeerConfig { add_path_receive: set, hold_time: 30, ..config(65001, 1) };
        let b = PeerConfig { add_path_send: set, families: set, extended_message: false, ..config(4_200_000_000, 2) };
        let at_a = negotiate(&a, local_open(&b, true)).unwrap();
        let at_b = negotiate(&b, local_open(&a, true)).unwrap();
        assert_eq!((at_a.hold_time, at_b.hold_time), (30, 30));
        assert_eq!((at_a.families, at_b.families), (set, set));
        assert_eq!((at_a.add_path_receive, at_a.add_path_send), (set, FamilySet::EMPTY));
        assert_eq!((at_b.add_path_receive, at_b.add_path_send), (FamilySet::EMPTY, set));
        assert_eq!((at_a.max_message, at_a.peer_as, at_a.external), (4096, 4_200_000_000, true));
    }

    #[test]
    fn the_last_graceful_restart_capability_counts() {
        let v4 = FamilyNumbers { afi: 1, safi: 133 };
        let restart = |time, families| {
            Capability::GracefulRestart(GracefulRestart { restart_time: time, families, ..Default::default() })
        };
        let ours = PeerConfig { graceful_restart: Some(GracefulRestart::default()), ..config(65001, 1) };
        let open = |extra: Vec<Capability>| {
            let mut open = local_open(&config(65002, 2), true);
            open.capabilities.extend(extra);
            open
        };
        let two = open(vec![restart(100, vec![(v4, true)]), restart(7, vec![])]);
        let negotiated = negotiate(&ours, two).unwrap();
        assert_eq!(negotiated.graceful_restart().unwrap().restart_time, 7);
        assert!(!negotiated.preserved(AfiSafi::Flow(Family::Ipv4)) && !negotiated.restarts_gracefully());
    }

    #[test]
    fn a_long_lived_f_bit_means_nothing_where_it_was_not_negotiated() {
        let v4 = AfiSafi::Flow(Family::Ipv4);
        let entry = LongLivedFamily { family: v4.into(), preserved: true, stale_time: 60 };
        let long = Capability::LongLivedGracefulRestart(vec![entry]);
        let restart = Capability::GracefulRestart(GracefulRestart::default());
        let families = [v4].into_iter().collect();
        let offered = Some(crate::session::config::LongLived { families, stale_time: 60 });
        for (ours, theirs, preserved) in [
            (offered, vec![restart.clone(), long.clone()], true),
            (None, vec![restart, long.clone()], false),
            (offered, vec![long], false),
        ] {
            let ours =
                PeerConfig { graceful_restart: Some(GracefulRestart::default()), long_lived: ours, ..config(65001, 1) };
            let mut open = local_open(&config(65002, 2), true);
            open.capabilities.extend(theirs);
            let negotiated = negotiate(&ours, open).unwrap();
            assert_eq!(negotiated.preserved(v4), preserved);
            assert_eq!(negotiated.long_lived(v4).is_some(), preserved);
        }
    }

    #[test]
    fn refused_opens_have_their_notification() {
        let open = |config: &PeerConfig| local_open(config, true);
        let refused = |config: &PeerConfig, open: Open| negotiate(config, open).unwrap_err().code;
        let ours = PeerConfig { peer_as: PeerAs::Exactly(65002), ..config(65001, 1) };
        let answer = negotiate(&ours, open(&config(65003, 3))).unwrap_err();
        assert_eq!(answer.to_string(), "bad peer AS (2/2): AS 65003");
        let external = PeerConfig { peer_as: PeerAs::External, ..config(65001, 1) };
        assert_eq!(refused(&external, open(&config(65001, 3))), NotificationCode::OpenMessage(OpenSubcode::BadPeerAs));
        assert_eq!(
            refused(&config(65001, 1), open(&config(65001, 1))),
            NotificationCode::OpenMessage(OpenSubcode::BadIdentifier)
        );
        assert!(negotiate(&config(65001, 1), open(&config(65002, 1))).is_ok());
        let unicast = Open { capabilities: Vec::new(), ..open(&config(65002, 2)) };
        let answer = negotiate(&config(65001, 1), unicast).unwrap_err();
        assert_eq!(answer.code, NotificationCode::OpenMessage(OpenSubcode::UnsupportedCapability));
        assert_eq!(answer.data, [1, 4, 0, 1, 0, 133, 1, 4, 0, 2, 0, 133]);
        assert_eq!(answer.to_string(), "unsupported capability (2/7): ipv4-flow, ipv6-flow needed");
        let customer = PeerConfig { role: Some(Role::Customer), role_strict: true, ..config(65001, 1) };
        assert_eq!(
            refused(&customer, open(&config(65002, 2))),
            NotificationCode::OpenMessage(OpenSubcode::RoleMismatch)
        );
        let peer = PeerConfig { role: Some(Role::Peer), ..config(65002, 2) };
        assert_eq!(refused(&customer, open(&peer)), NotificationCode::OpenMessage(OpenSubcode::RoleMismatch));
        let provider = PeerConfig { role: Some(Role::Provider), ..config(65002, 2) };
        assert!(negotiate(&customer, open(&provider)).is_ok());
    }
}
