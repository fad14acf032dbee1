//! The locally originated routes that sessions advertise: the controller changes them, and the task
//! of each peer that gets them has its own Adj-RIB-Out of them.

use bgp::{AfiSafi, FamilySet, PathAttributes, RouteKey};
use flowspec::{Nlri, Rule};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The routes, shared between the controller and the peers' tasks.
#[derive(Clone, Debug, Default)]
pub struct Originated(Arc<Mutex<Routes>>);

#[derive(Debug, Default)]
struct Routes {
    routes: HashMap<RouteKey, OriginatedRoute>,
    counts: BTreeMap<AfiSafi, u64>,
    /// The tasks that are told of changes. What waits in a channel is bounded by the changes that
    /// are made while the main thread does something else: a task takes all at once, whatever its
    /// peer reads.
    subscribers: Vec<mpsc::UnboundedSender<OriginatedChange>>,
}

/// The rest of a route: attributes as this speaker has them.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginatedRoute {
    /// The next hop, of a rule that redirects to it.
    pub next_hop: Option<IpAddr>,
    /// The actions.
    pub attributes: Arc<PathAttributes>,
}

/// A change: the route as it is now; `None` once it is withdrawn.
pub type OriginatedChange = (RouteKey, Option<OriginatedRoute>);

impl Originated {
    /// A rule is announced, in the place of one with the same match part.
    pub fn announce(&self, rule: &Rule) {
        let attributes = Arc::new(PathAttributes::originate(&rule.actions));
        let route = OriginatedRoute { next_hop: rule.next_hop, attributes };
        let mut routes = self.lock();
        let key = RouteKey::from(rule.nlri.clone());
        let before = routes.routes.insert(key.clone(), route.clone());
        if before.is_none() {
            *routes.counts.entry(key.family()).or_default() += 1;
        }
        if before.as_ref() != Some(&route) {
            routes.tell(&(key, Some(route)));
        }
    }

    /// A rule is withdrawn or has expired.
    pub fn withdraw(&self, nlri: &Nlri) {
        let key = RouteKey::from(nlri.clone());
        let mut routes = self.lock();
        if routes.routes.remove(&key).is_some() {
            *routes.counts.entry(key.family()).or_default() -= 1;
            routes.tell(&(key, None));
        }
    }

    /// How many there are of these families.
    #[must_use]
    pub fn count(&self, families: FamilySet) -> u64 {
        let routes = self.lock();
        families.iter().filter_map(|family| routes.counts.get(&family)).sum()
    }

    /// The routes of now, and each change from then on.
    pub(super) fn subscribe(&self) -> (Vec<OriginatedChange>, mpsc::UnboundedReceiver<OriginatedChange>) {
        let (subscriber, changes) = mpsc::unbounded_channel();
        let mut routes = self.lock();
        routes.subscribers.push(subscriber);
        let now = routes.routes.iter().map(|(key, route)| (key.clone(), Some(route.clone())));
        (now.collect(), changes)
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        // Each change of the map is complete before something can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// Tells the tasks that are still there.
    fn tell(&mut self, change: &OriginatedChange) {
        self.subscribers.retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn whoever_subscribes_misses_and_repeats_nothing() {
        let originated = Originated::default();
        let (discard, rate) = (rule("dst 192.0.2.1/32 then discard"), rule("dst 192.0.2.1/32 then rate 1mbps"));
        originated.announce(&discard);
        let (now, mut changes) = originated.subscribe();
        assert_eq!((now.len(), now[0].1.is_some()), (1, true));
        originated.announce(&discard);
        assert!(changes.try_recv().is_err());
        originated.announce(&rate);
        let (key, route) = changes.try_recv().unwrap();
        assert_eq!((key, route.unwrap().attributes.extended_communities.len()), (now[0].0.clone(), 1));
        originated.withdraw(&rate.nlri);
        originated.withdraw(&rate.nlri);
        assert_eq!(changes.try_recv().unwrap(), (now[0].0.clone(), None));
        assert!(changes.try_recv().is_err());
        drop(changes);
        originated.announce(&discard);
        assert_eq!(originated.lock().subscribers.len(), 0);
        assert_eq!((originated.count(FamilySet::ALL), originated.count(FamilySet::EMPTY)), (1, 0));
    }
}
