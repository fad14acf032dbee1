//! State of Established only: how UPDATEs of the peer are decoded, and the routes to send.

use crate::afi_safi::AfiSafi;
use crate::attribute::LocalSpeaker;
use crate::message::{FamilyNumbers, Message, Notification, RefreshKind, RouteRefresh, UpdateSubcode};
use crate::route::RouteKey;
use crate::session::config::PeerConfig;
use crate::session::negotiated::Negotiated;
use crate::session::output::Output;
use crate::session::queue::{Encoded, Marker, RouteChange, RouteQueue};
use crate::session::shared::Shared;
use crate::update::{Context, Decoded, Encoding, Update, decode};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Established {
    since: Instant,
    negotiated: Negotiated,
    context: Context,
    speaker: LocalSpeaker,
    encoding: Encoding,
    queue: RouteQueue,
    /// The peer may ask for routes (RFC 2918).
    route_refresh: bool,
    /// Unassigned subtypes of ROUTE-REFRESH that were reported.
    unknown_refreshes: Vec<u8>,
}

/// Why something cannot be sent: nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no session.
    #[error("the session is not established")]
    NotEstablished,
    /// The peer does not accept routes of this family.
    #[error("{0} was not negotiated")]
    FamilyNotNegotiated(AfiSafi),
    /// The peer does not accept a ROUTE-REFRESH of this kind.
    #[error("the peer has not announced the capability for this ROUTE-REFRESH")]
    RefreshNotNegotiated,
}

impl Established {
    pub(crate) fn new(negotiated: Negotiated, config: &PeerConfig, now: Instant) -> Self {
        let outside_confederation = negotiated.external && !config.confederation_peer;
        Established {
            since: now,
            context: Context {
                four_octet_as: negotiated.four_octet_as,
                families: negotiated.families,
                add_path: negotiated.add_path_receive,
                external: outside_confederation,
                internal: !negotiated.external,
                refuse_confed: outside_confederation,
            },
            speaker: LocalSpeaker {
                local_as: config.local_as,
                router_as: config.router_as,
                allow_own_as: config.allow_own_as,
                router_id: config.router_id,
            },
            encoding: Encoding {
                four_octet_as: negotiated.four_octet_as,
                add_path: negotiated.add_path_send,
                max_message: negotiated.max_message,
                prepend: negotiated.external.then_some(config.local_as),
            },
            route_refresh: config.route_refresh,
            negotiated,
            queue: RouteQueue::default(),
            unknown_refreshes: Vec::new(),
        }
    }

    pub(crate) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Handles the body of an UPDATE.
    ///
    /// # Errors
    /// The NOTIFICATION to close the session with (event 28).
    pub(crate) fn update(&mut self, body: &[u8], shared: &mut Shared) -> Result<(), Notification> {
        match decode(body, &self.context, &self.speaker, shared.cache()) {
            Ok(Decoded { mut update, end_of_rib, disabled }) => {
                if !update.errors.is_empty() {
                    Message::Update(body).encode_to(&mut update.octets);
                }
                if update != Update::default() {
                    shared.emit(Output::Update(Box::new(update)));
                }
                if let Some(family) = end_of_rib {
                    shared.emit(Output::EndOfRib(family));
                }
                match disabled.iter().next() {
                    Some(family) => Err(Notification::new(framing_lost(family))),
                    None => Ok(()),
                }
            }
            Err(fault) => {
                let (notification, errors) = *fault;
                let mut update = Update { errors, ..Update::default() };
                Message::Update(body).encode_to(&mut update.octets);
                shared.emit(Output::Update(Box::new(update)));
                Err(notification)
            }
        }
    }

    /// A ROUTE-REFRESH. A family that was not negotiated is ignored (RFC 2918 §4); so are the
    /// demarcations of RFC 7313 where they were not negotiated.
    pub(crate) fn refresh(&mut self, refresh: RouteRefresh, shared: &mut Shared) {
        let RouteRefresh { family, kind } = refresh;
        let expected = match kind {
            RefreshKind::Request => self.route_refresh,
            RefreshKind::Begin | RefreshKind::End => self.negotiated.enhanced_route_refresh,
            RefreshKind::Other(subtype) => {
                if !self.unknown_refreshes.contains(&subtype) {
                    self.unknown_refreshes.push(subtype);
                    shared.emit(Output::UnknownRefresh(refresh));
                }
                return;
            }
        };
        let known = FamilyNumbers::known(family).filter(|family| self.negotiated.families.contains(*family));
        if let Some(family) = known.filter(|_| expected) {
            shared.emit(Output::RouteRefresh { family, kind });
        }
    }

    /// Queues what is to be sent about a route.
    pub(crate) fn queue_route(&mut self, route: RouteKey, change: RouteChange) -> Result<(), SendError> {
        self.check_family(route.family())?;
        self.queue.push(route, change);
        Ok(())
    }

    pub(crate) fn queue_end_of_rib(&mut self, family: AfiSafi) -> Result<(), SendError> {
        self.check_family(family)?;
        self.queue.push_marker(Marker::EndOfRib(family));
        Ok(())
    }

    /// Queues a demarcation after the routes. A request has to be sent at once by the caller: it is
    /// returned.
    pub(crate) fn queue_refresh(
        &mut self,
        family: AfiSafi,
        kind: RefreshKind,
    ) -> Result<Option<RouteRefresh>, SendError> {
        let capable = match kind {
            RefreshKind::Request => self.negotiated.route_refresh,
            RefreshKind::Begin | RefreshKind::End => self.negotiated.enhanced_route_refresh,
            RefreshKind::Other(_) => false,
        };
        if !capable {
            return Err(SendError::RefreshNotNegotiated);
        }
        self.check_family(family)?;
        if kind == RefreshKind::Request {
            return Ok(Some(RouteRefresh { family: family.into(), kind }));
        }
        self.queue.push_marker(Marker::Refresh(family, kind));
        Ok(None)
    }

    fn check_family(&self, family: AfiSafi) -> Result<(), SendError> {
        if self.negotiated.families.contains(family) { Ok(()) } else { Err(SendError::FamilyNotNegotiated(family)) }
    }

    /// Appends messages of queued routes until `out` holds `enough` octets; true if more wait.
    pub(crate) fn encode_queued(&mut self, enough: usize, out: &mut Vec<u8>, shared: &mut Shared) -> bool {
        while out.len() < enough {
            match self.queue.encode(&self.encoding, out) {
                Some(Encoded::Update) => shared.statistics_mut().sent.updates += 1,
                Some(Encoded::Refresh) => shared.statistics_mut().sent.refreshes += 1,
                Some(Encoded::TooLong(route)) => shared.emit(Output::TooLong(route)),
                None => break,
            }
        }
        !self.queue.is_empty()
    }

    /// Routes and markers that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}

/// The NOTIFICATION for a field in which the boundaries of the NLRIs are lost. RFC 7606 §5.3 and
/// RFC 4760 §7 leave the choice of ignoring the family for the rest of the session, which would
/// leave later changes of the peer unread.
const fn framing_lost(family: AfiSafi) -> UpdateSubcode {
    match family {
        AfiSafi::Ipv4Unicast => UpdateSubcode::InvalidNetworkField,
        AfiSafi::Ipv6Unicast | AfiSafi::Flow(_) => UpdateSubcode::OptionalAttribute,
    }
}
