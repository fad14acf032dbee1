//! Routes waiting to be sent. A route is queued once, so the queue is never longer than the number
//! of routes.

use crate::afi_safi::AfiSafi;
use crate::attribute::PathAttributes;
use crate::message::{Message, RefreshKind, RouteRefresh};
use crate::route::{Destination, RouteKey};
use crate::update::{Encoding, encode_announcements, encode_end_of_rib, encode_withdrawals};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// A change of a route to send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RouteChange {
    Announce { next_hop: Option<IpAddr>, attributes: Arc<PathAttributes> },
    Withdraw,
}

/// A message to send between routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Marker {
    EndOfRib(AfiSafi),
    Refresh(AfiSafi, RefreshKind),
}

#[derive(Clone, Debug)]
enum Item {
    Route(RouteKey, RouteChange),
    Marker(Marker),
}

/// The queue: in order, and by route.
#[derive(Debug, Default)]
pub(crate) struct RouteQueue {
    items: VecDeque<Item>,
    /// Number of the first item; the others count on from it.
    first: u64,
    place: HashMap<RouteKey, u64>,
    /// The begins and ends of answers to route refresh that wait, in order.
    answers: HashMap<AfiSafi, VecDeque<RefreshKind>>,
}

/// What a call of [`RouteQueue::encode`] did.
#[derive(Debug, PartialEq)]
pub(crate) enum Encoded {
    /// One UPDATE was appended.
    Update,
    /// One ROUTE-REFRESH was appended.
    Refresh,
    /// This route does not fit in any message and was left out.
    TooLong(RouteKey),
}

impl RouteQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Queues a change; it replaces a queued change of the same route, at that position.
    pub(crate) fn push(&mut self, route: RouteKey, change: RouteChange) {
        let waiting = self.place.get(&route).map(|place| (place - self.first) as usize);
        match waiting.and_then(|index| self.items.get_mut(index)) {
            Some(item) => *item = Item::Route(route, change),
            None => {
                self.place.insert(route.clone(), self.first + self.items.len() as u64);
                self.items.push_back(Item::Route(route, change));
            }
        }
    }

    /// Queues a marker after everything else, unless it is redundant. A peer may ask for its routes
    /// any number of times: at most one complete answer is queued, whose routes are as they are
    /// when they are sent, besides the end of another that has begun.
    pub(crate) fn push_marker(&mut self, marker: Marker) {
        let waits = match marker {
            Marker::EndOfRib(_) => matches!(self.items.back(), Some(Item::Marker(last)) if *last == marker),
            Marker::Refresh(family, kind) => {
                let answer = self.answers.entry(family).or_default();
                let waits = match kind {
                    RefreshKind::End => answer.back() == Some(&kind),
                    _ => answer.contains(&kind),
                };
                if !waits {
                    answer.push_back(kind);
                }
                waits
            }
        };
        if !waits {
            self.items.push_back(Item::Marker(marker));
        }
    }

    /// Appends the next message. `None` if nothing waits.
    pub(crate) fn encode(&mut self, encoding: &Encoding, out: &mut Vec<u8>) -> Option<Encoded> {
        let (route, change) = match self.pop()? {
            Item::Marker(Marker::EndOfRib(family)) => {
                encode_end_of_rib(family, out);
                return Some(Encoded::Update);
            }
            Item::Marker(Marker::Refresh(family, kind)) => {
                if let Some(answer) = self.answers.get_mut(&family) {
                    answer.pop_front();
                }
                Message::RouteRefresh(RouteRefresh { family: family.into(), kind }).encode_to(out);
                return Some(Encoded::Refresh);
            }
            Item::Route(route, change) => (route, change),
        };
        let mut octets = wire_len(&route);
        let mut group = vec![route];
        while octets < encoding.max_message {
            let Some(route) = self.pop_alike(group[0].family(), &change) else { break };
            octets += wire_len(&route);
            group.push(route);
        }
        let taken = match &change {
            RouteChange::Announce { next_hop, attributes } => {
                encode_announcements(encoding, *next_hop, attributes, &group, out)
            }
            RouteChange::Withdraw => encode_withdrawals(encoding, &group, out),
        };
        let left = group.split_off(taken.max(1));
        for route in left.into_iter().rev() {
            self.first -= 1;
            self.place.insert(route.clone(), self.first);
            self.items.push_front(Item::Route(route, change.clone()));
        }
        match group.pop() {
            Some(route) if taken == 0 => Some(Encoded::TooLong(route)),
            _ => Some(Encoded::Update),
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.first += 1;
        if let Item::Route(route, _) = &item {
            self.place.remove(route);
        }
        Some(item)
    }

    /// The next route, if it can go into one UPDATE with `change` in `family`.
    fn pop_alike(&mut self, family: AfiSafi, change: &RouteChange) -> Option<RouteKey> {
        match self.items.front()? {
            Item::Route(route, other) if route.family() == family && alike(change, other) => {}
            _ => return None,
        }
        match self.pop()? {
            Item::Route(route, _) => Some(route),
            Item::Marker(_) => None,
        }
    }
}

/// Whether two changes differ only in the route.
fn alike(a: &RouteChange, b: &RouteChange) -> bool {
    match (a, b) {
        (RouteChange::Withdraw, RouteChange::Withdraw) => true,
        (
            RouteChange::Announce { next_hop: m, attributes: a },
            RouteChange::Announce { next_hop: n, attributes: b },
        ) => m == n && (Arc::ptr_eq(a, b) || a == b),
        _ => false,
    }
}

/// Roughly the octets that a route takes; at least what it takes without path identifier.
fn wire_len(route: &RouteKey) -> usize {
    match &route.destination {
        Destination::Flow(nlri) => nlri.wire_len(),
        Destination::Unicast(net) => 1 + usize::from(net.prefix_len()).div_ceil(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::Family;

    const FLOW: AfiSafi = AfiSafi::Flow(Family::Ipv4);
    const BEGIN: Marker = Marker::Refresh(FLOW, RefreshKind::Begin);
    const END: Marker = Marker::Refresh(FLOW, RefreshKind::End);

    fn route(number: u8) -> RouteKey {
        let rule: flowspec::Rule = format!("dst 192.0.2.{number}/32 then discard").parse().unwrap();
        rule.nlri.into()
    }

    fn queued(queue: &RouteQueue) -> String {
        let letter = |item: &Item| match item {
            Item::Route(..) => 'r',
            Item::Marker(Marker::EndOfRib(_)) => 'e',
            Item::Marker(Marker::Refresh(_, RefreshKind::Begin)) => '<',
            Item::Marker(Marker::Refresh(..)) => '>',
        };
        queue.items.iter().map(letter).collect()
    }

    #[test]
    fn answers_to_many_questions_are_one() {
        let mut queue = RouteQueue::default();
        for _ in 0..1000 {
            for marker in [BEGIN, END, Marker::EndOfRib(FLOW)] {
                queue.push_marker(marker);
            }
        }
        assert_eq!(queued(&queue), "<>e");
    }

    #[test]
    fn an_answer_with_routes_stays_whole_and_bounded() {
        let mut queue = RouteQueue::default();
        for _ in 0..1000 {
            queue.push_marker(BEGIN);
            for number in 0..3 {
                queue.push(route(number), RouteChange::Withdraw);
            }
            queue.push_marker(END);
        }
        assert_eq!(queued(&queue), "<rrr>");
        // It has begun to be sent: the next one is another.
        let encoding = Encoding { four_octet_as: true, add_path: Default::default(), max_message: 4096, prepend: None };
        assert_eq!(queue.encode(&encoding, &mut Vec::new()), Some(Encoded::Refresh));
        for _ in 0..1000 {
            queue.push_marker(BEGIN);
            queue.push_marker(END);
        }
        assert_eq!(queued(&queue), "rrr><>");
        while queue.encode(&encoding, &mut Vec::new()).is_some() {}
        queue.push_marker(BEGIN);
        queue.push_marker(END);
        assert_eq!(queued(&queue), "<>");
    }

    #[test]
    fn families_have_markers_of_their_own() {
        let mut queue = RouteQueue::default();
        let other = AfiSafi::Flow(Family::Ipv6);
        for _ in 0..2 {
            for marker in
                [BEGIN, Marker::Refresh(other, RefreshKind::Begin), END, Marker::Refresh(other, RefreshKind::End)]
            {
                queue.push_marker(marker);
            }
        }
        assert_eq!(queued(&queue), "<<>>");
    }
}
