//! What the sessions tell, brought to the engine.

use super::Controller;
use super::malformed::{Evidence, evidence};
use super::messages::SessionRequest;
use super::quiet::Subject;
use crate::clock::{self, now};
use crate::convert;
use crate::events::{About, Kind, timestamp};
use crate::net::{PeerEvent, PeerId, PeerMessage};
use crate::retention::{self, PeerRoutes, Refresh};
use bgp::{
    AfiSafi, CeaseSubcode, Destination, FamilyNumbers, Negotiated, Output, RefreshKind, RouteKey, StaleFamily, Update,
};
use engine::AnnounceOutcome;
use engine::import_policy::OnExcess;
use flowspec::Nlri;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Changes of rules in one UPDATE that are told one by one; more are told as a number.
const TOLD: usize = 16;

const fn id(peer: PeerId) -> engine::PeerId {
    engine::PeerId(peer.0)
}

impl Controller {
    pub(super) fn on_peer_event(&mut self, from: PeerMessage) {
        let PeerMessage { peer, news } = from;
        if let PeerEvent::Held(answer) = news {
            // Who asked may have gone.
            let _ = answer.send(self.stale().values().sum());
            return;
        }
        if self.stopping || self.peers.get(peer).is_none() {
            return;
        }
        match news {
            PeerEvent::Output(output) => self.output(peer, output),
            PeerEvent::Lost(reason) => self.ended_elsewhere(peer, reason, false),
            PeerEvent::Restarted(reason) => self.ended_elsewhere(peer, reason, true),
            PeerEvent::ParseError(what) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    entry.count_misread();
                }
                if self.admit(peer, Subject::Malformed, "exabgp-json") {
                    self.history.record(Kind::Malformed, About::peer(&self.name(peer)).saying(what));
                }
            }
            PeerEvent::Held(_) => {}
        }
    }

    /// A session, or an attempt at one, ended without a word of its own.
    fn ended_elsewhere(&mut self, peer: PeerId, reason: String, ours: bool) {
        match self.peers.get_mut(peer) {
            Some(entry) if entry.negotiated.is_none() => {
                entry.failed(reason.clone());
                self.no_session(peer, &reason);
            }
            _ => self.session_lost(peer, reason, &[], ours),
        }
    }

    fn output(&mut self, peer: PeerId, output: Output) {
        match output {
            Output::Established(negotiated) => self.established(peer, *negotiated),
            Output::Down(down) => {
                self.session_lost(peer, down.reason.to_string(), &down.graceful, retention::is_ours(&down.reason));
            }
            Output::Failed(reason) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    // A peer that is away for days is not worth a line each time.
                    let is_new = entry.attempt_failed(&reason);
                    let reason = reason.to_string();
                    if is_new {
                        self.no_session(peer, &reason);
                    } else {
                        tracing::debug!(peer = entry.config.name, reason, "no session");
                    }
                }
            }
            Output::Damped { until } => self.damped(peer, until),
            Output::NextTry(at) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    entry.next_try(at.map(wall_clock));
                }
            }
            Output::UnknownRefresh(refresh) => {
                let FamilyNumbers { afi, safi } = refresh.family;
                let kind = refresh.kind;
                tracing::warn!(
                    peer = self.name(peer),
                    afi,
                    safi,
                    ?kind,
                    "a ROUTE-REFRESH of an unassigned subtype is ignored"
                );
            }
            Output::State(state) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    tracing::debug!(peer = entry.config.name, %state, "session");
                    entry.state(state);
                }
            }
            Output::Update(update) => self.update(peer, *update),
            Output::EndOfRib(family) => self.end_of_rib(peer, family),
            Output::RouteRefresh { family, kind: RefreshKind::Begin } => self.begin_refresh(peer, family),
            Output::RouteRefresh { family, kind: RefreshKind::End } => {
                let end = self.routes(peer).map(|mut routes| routes.end_refresh(family));
                tracing::debug!(peer = self.name(peer), %family, ?end, "end of a route refresh");
            }
            // We announce nothing, so there is nothing to send again.
            Output::RouteRefresh { kind: RefreshKind::Request | RefreshKind::Other(_), .. } | Output::TooLong(_) => {}
            Output::Connect | Output::AbortConnect | Output::Close { .. } => {}
        }
    }

    fn name(&self, peer: PeerId) -> String {
        self.peers.get(peer).map(|entry| entry.config.name.clone()).unwrap_or_default()
    }

    fn damped(&mut self, peer: PeerId, until: Instant) {
        let name = self.name(peer);
        let until = timestamp(wall_clock(until));
        let what = format!("its sessions do not last: connections are refused until {until} (idle-hold-max)");
        if self.admit(peer, Subject::Session, "refused") {
            tracing::warn!(peer = name, "{what}");
            self.history.record(Kind::PeerDown, About::peer(&name).saying(what));
        }
    }

    fn no_session(&mut self, peer: PeerId, reason: &str) {
        if self.admit(peer, Subject::Attempt, "attempts") {
            let name = self.name(peer);
            tracing::info!(peer = name, reason, "no session");
            self.history.record(Kind::SessionFailed, About::peer(&name).saying(reason));
        }
    }

    /// What a peer's session does to its routes.
    fn routes(&mut self, peer: PeerId) -> Option<PeerRoutes<'_>> {
        let stale_time = self.config.state.stale_time.0.as_secs();
        let entry = self.peers.get_mut(peer)?;
        Some(PeerRoutes { engine: &mut self.engine, entry, stale_time, now: now() })
    }

    fn established(&mut self, peer: PeerId, negotiated: Negotiated) {
        if self.admit(peer, Subject::Session, "up") {
            let name = self.name(peer);
            let families: Vec<&str> = negotiated.families.iter().map(AfiSafi::name).collect();
            let families = families.join(", ");
            tracing::info!(peer = name, hold_time = negotiated.hold_time, families, "session up");
            self.history.record(Kind::PeerUp, About::peer(&name).saying(families));
        }
        let restored = self.restored.contains(&peer);
        if let Some(mut routes) = self.routes(peer) {
            routes.established(negotiated, restored);
        }
    }

    fn begin_refresh(&mut self, peer: PeerId, family: AfiSafi) {
        let begin = self.routes(peer).map(|mut routes| routes.begin_refresh(family));
        tracing::debug!(peer = self.name(peer), %family, ?begin, "begin of a route refresh");
        let Some(entry) = self.peers.get_mut(peer) else { return };
        if begin == Some(Refresh::Ignored) && entry.count_early_refresh() {
            tracing::warn!(peer = entry.config.name, %family, "ignored a route refresh that began before End-of-RIB (RFC 7313)");
        }
    }

    /// Says which peers did not send everything in time; the engine drops what they did not send.
    pub(super) fn expire_end_of_rib_timers(&mut self) {
        for (peer, family) in self.engine.overdue_end_of_rib(clock::passed()) {
            let peer = self.name(PeerId(peer.0));
            tracing::warn!(
                peer,
                ?family,
                "the end of its rules was not said in time; what it has not sent again is withdrawn"
            );
        }
    }

    fn session_lost(&mut self, peer: PeerId, reason: String, graceful: &[StaleFamily], ours: bool) {
        let Some(mut routes) = self.routes(peer) else { return };
        let ends = routes.lost(graceful, ours);
        let entry = routes.entry;
        let name = entry.config.name.clone();
        let framing_lost = entry.take_framing_lost();
        let reason = match &framing_lost {
            Some(why) => format!("the boundaries of its rules were lost ({why}): {reason}"),
            None => reason,
        };
        entry.down(reason.clone());
        let fate = match ends {
            Some(end) => format!("its rules stay for up to {} s", end.0.saturating_sub(now().0)),
            None => "its rules go".to_owned(),
        };
        if self.admit(peer, Subject::Session, "down") {
            match framing_lost {
                Some(_) => tracing::error!(peer = name, reason, "session restarted; {fate}"),
                None => tracing::warn!(peer = name, reason, "session down; {fate}"),
            }
            self.history.record(Kind::PeerDown, About::peer(&name).saying(format!("{reason}; {fate}")));
        }
    }

    fn end_of_rib(&mut self, peer: PeerId, family: AfiSafi) {
        let name = self.name(peer);
        tracing::debug!(peer = name, %family, "end of RIB");
        self.history.record(Kind::EndOfRib, About::peer(&name).saying(family.name()));
        if let Some(mut routes) = self.routes(peer) {
            routes.end_of_rib(family);
        }
    }

    fn update(&mut self, peer: PeerId, update: Update) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.count(&update);
        let name = entry.config.name.clone();
        self.malformed(peer, &update);
        let count = update.withdrawn.len() + update.announced.iter().map(|group| group.routes.len()).sum::<usize>();
        let told = count <= TOLD;
        for RouteKey { destination, path_id } in update.withdrawn {
            match destination {
                Destination::Flow(nlri) => {
                    let nlri = Arc::new(nlri);
                    if self.engine.withdraw(id(peer), Arc::clone(&nlri), path_id) && told {
                        self.tell(Kind::Withdrawn, &name, &nlri, nlri.to_string());
                    }
                }
                Destination::Unicast(net) => self.engine.withdraw_unicast(id(peer), net, path_id),
            }
        }
        for group in update.announced {
            let Some(route) = convert::route(&group) else { continue };
            for RouteKey { destination, path_id } in group.routes {
                let nlri = match destination {
                    Destination::Flow(nlri) => Arc::new(nlri),
                    // A route that came back is none to validate by, and replaces the one before.
                    Destination::Unicast(net) if group.route_loop.is_some() => {
                        self.engine.withdraw_unicast(id(peer), net, path_id);
                        continue;
                    }
                    Destination::Unicast(net) => {
                        self.engine.announce_unicast(id(peer), net, path_id, Arc::clone(&route));
                        continue;
                    }
                };
                let outcome =
                    self.engine.announce(id(peer), Arc::clone(&nlri), path_id, Arc::clone(&route), now(), None);
                match outcome {
                    AnnounceOutcome::Changed if told => {
                        let text = api::rule_text::show(&nlri, &route.actions, route.next_hop);
                        self.tell(Kind::Announced, &name, &nlri, text);
                    }
                    AnnounceOutcome::OverLimit(policy) => self.excess(peer, policy),
                    AnnounceOutcome::Changed
                    | AnnounceOutcome::Unchanged
                    | AnnounceOutcome::Dropped
                    | AnnounceOutcome::UnknownPeer => {}
                }
            }
        }
        if !told {
            self.history.record(Kind::Bulk, About::peer(&name).saying(format!("{count} routes in one update")));
        }
    }

    /// Each error of a malformed UPDATE, and with the first that is told what the message was (RFC 7606 §8).
    fn malformed(&mut self, peer: PeerId, update: &Update) {
        let mut evidence_due = !update.octets.is_empty();
        for error in &update.errors {
            if !self.admit(peer, Subject::Malformed, error.kind.name()) {
                continue;
            }
            let name = self.name(peer);
            if std::mem::take(&mut evidence_due) {
                let negotiated = self.peers.get(peer).and_then(|entry| entry.negotiated.as_ref());
                let Evidence { nlri, octets } = evidence(&update.octets, negotiated);
                tracing::warn!(peer = name, %error, nlri, octets, "malformed");
            } else {
                tracing::warn!(peer = name, %error, "malformed");
            }
            self.history.record(Kind::Malformed, About::peer(&name).saying(error.to_string()));
        }
    }

    fn tell(&mut self, kind: Kind, peer: &str, nlri: &Nlri, text: String) {
        tracing::debug!(peer, id = %nlri.id(), rule = text, "{kind:?}");
        let about = About { rule: Some(text), id: Some(nlri.id().to_string()), ..About::peer(peer) };
        self.history.record(kind, about);
    }

    fn excess(&mut self, peer: PeerId, policy: OnExcess) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        if std::mem::replace(&mut entry.excess_told, true) {
            return;
        }
        let limit = entry.config.max_rules;
        let what = match policy {
            OnExcess::Warn => "they are taken all the same",
            OnExcess::Ignore => "the rest is not enforced",
            OnExcess::Close => "the session is closed",
        };
        tracing::warn!(peer = entry.config.name, limit, "more rules than max-rules; {what}");
        let about = About::peer(&entry.config.name).saying(format!("more than {limit} rules: {what}"));
        self.history.record(Kind::Bulk, about);
        if policy == OnExcess::Close {
            // A full queue means that the supervisor is already busy closing sessions.
            let _ = self.session_requests.try_send(SessionRequest::Reset(peer, CeaseSubcode::MaximumPrefixes));
        }
    }
}

/// A moment to come, as clocks on the wall show it.
fn wall_clock(at: Instant) -> SystemTime {
    SystemTime::now() + at.saturating_duration_since(Instant::now())
}
