//! The Adj-RIB-Out of one peer: the routes that this speaker advertises to it (RFC 4271 §3.2).

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::PathAttributes;
use crate::message::RefreshKind;
use crate::route::RouteKey;
use crate::session::session::Session;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The routes that are to be advertised to one peer. It outlives the sessions with the peer, and
/// hears of each: after [`established`](Self::established) the peer has all routes of the families
/// that were negotiated, then each change, and an answer to each ROUTE-REFRESH.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    routes: HashMap<RouteKey, Advertised>,
    /// The families of which the peer asked for the routes.
    asked: FamilySet,
}

#[derive(Debug, PartialEq)]
struct Advertised {
    next_hop: Option<IpAddr>,
    attributes: Arc<PathAttributes>,
}

impl AdjRibOut {
    /// How many routes it has, of all families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether it has no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Advertises a route, in the place of an earlier one with this key. One that has not changed
    /// is not sent again.
    pub fn announce(
        &mut self,
        route: RouteKey,
        next_hop: Option<IpAddr>,
        attributes: Arc<PathAttributes>,
        session: &mut Session,
    ) {
        let advertised = Advertised { next_hop, attributes: Arc::clone(&attributes) };
        if self.routes.get(&route) == Some(&advertised) {
            return;
        }
        // Without a session, or without the family, there is nobody to send it to: what the peer
        // lacks then is sent when a session is established.
        let _ = session.announce(route.clone(), next_hop, attributes);
        self.routes.insert(route, advertised);
    }

    /// Withdraws a route.
    pub fn withdraw(&mut self, route: RouteKey, session: &mut Session) {
        if self.routes.remove(&route).is_some() {
            let _ = session.withdraw(route);
        }
    }

    /// A session was established: queues all routes of its families. `end_of_rib`: and an
    /// End-of-RIB marker for each family (RFC 4724 §2), also for one without routes.
    pub fn established(&mut self, end_of_rib: bool, session: &mut Session) {
        self.asked = FamilySet::EMPTY;
        let Some(families) = session.negotiated().map(|negotiated| negotiated.families) else { return };
        for family in families.iter() {
            self.queue(family, session);
            if end_of_rib {
                let _ = session.end_of_rib(family);
            }
        }
    }

    /// The peer asked for the routes of a family. Call [`answer`](Self::answer) afterwards.
    pub fn refresh(&mut self, family: AfiSafi) {
        self.asked.insert(family);
    }

    /// Queues the routes that the peer asked for, if nothing waits to be sent: behind what was
    /// queued earlier, and never more than one answer, however often the peer asks and however
    /// slowly it reads. Returns whether there is something to send now. Call it whenever octets
    /// were sent.
    ///
    /// A peer with enhanced route refresh gets them between begin and end (RFC 7313 §4).
    pub fn answer(&mut self, session: &mut Session) -> bool {
        if self.asked.is_empty() || session.queued() > 0 {
            return false;
        }
        for family in std::mem::take(&mut self.asked).iter() {
            let _ = session.route_refresh(family, RefreshKind::Begin);
            self.queue(family, session);
            let _ = session.route_refresh(family, RefreshKind::End);
        }
        session.queued() > 0
    }

    /// Queues all routes of a family, those with the same attributes one after the other, so that
    /// they go into few messages.
    fn queue(&self, family: AfiSafi, session: &mut Session) {
        type Group<'a> = Vec<(&'a RouteKey, &'a Advertised)>;
        let mut groups: HashMap<(Option<IpAddr>, &PathAttributes), Group<'_>> = HashMap::new();
        for (route, advertised) in self.routes.iter().filter(|(route, _)| route.family() == family) {
            groups.entry((advertised.next_hop, &advertised.attributes)).or_default().push((route, advertised));
        }
        for (route, advertised) in groups.into_values().flatten() {
            let _ = session.announce(route.clone(), advertised.next_hop, Arc::clone(&advertised.attributes));
        }
    }
}
