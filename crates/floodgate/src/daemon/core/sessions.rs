//! What the sessions tell, brought to the engine.

use super::{Core, Subject, Wish, now};
use crate::daemon::convert;
use crate::events::{About, Kind};
use crate::net::{FromPeer, News, PeerId};
use bgp::{
    AfiSafi, Capability, Destination, FamilySet, Negotiated, Notification, Output, RefreshKind, RouteKey, StaleFamily,
    Update,
};
use engine::guard::OnExcess;
use engine::{Announced, RouteFamily};
use flowspec::Nlri;
use std::sync::Arc;
use std::time::Instant;

/// Changes of rules in one UPDATE that are told one by one; more are told as a number.
const TOLD: usize = 16;

const fn id(peer: PeerId) -> engine::PeerId {
    engine::PeerId(peer.0)
}

impl Core {
    pub(super) fn hear(&mut self, from: FromPeer) {
        let FromPeer { peer, news } = from;
        if let News::Held(answer) = news {
            // Who asked may have gone.
            let _ = answer.send(self.stale().values().sum());
            return;
        }
        if self.stopping || self.peers.get(peer).is_none() {
            return;
        }
        match news {
            News::Output(output) => self.output(peer, output),
            News::Lost(reason) => match self.peers.get_mut(peer) {
                Some(entry) if entry.negotiated.is_none() => {
                    entry.failed(reason.clone());
                    self.no_session(peer, &reason);
                }
                _ => self.session_lost(peer, reason, &[]),
            },
            News::Misread(what) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    entry.count_misread();
                }
                if self.admit(peer, Subject::Malformed, "exabgp-json") {
                    self.history.record(Kind::Malformed, About::peer(&self.name(peer)).saying(what));
                }
            }
            News::Held(_) => {}
        }
    }

    fn output(&mut self, peer: PeerId, output: Output) {
        match output {
            Output::Established(negotiated) => self.established(peer, *negotiated),
            Output::Down(down) => self.session_lost(peer, down.reason.to_string(), &down.graceful),
            Output::Failed(reason) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    let reason = reason.to_string();
                    // A peer that is away for days is not worth a line each time.
                    let known = entry.last_error() == Some(reason.as_str());
                    entry.failed(reason.clone());
                    if known {
                        tracing::debug!(peer = entry.config.name, reason, "no session");
                    } else {
                        self.no_session(peer, &reason);
                    }
                }
            }
            Output::State(state) => {
                if let Some(entry) = self.peers.get_mut(peer) {
                    tracing::debug!(peer = entry.config.name, %state, "session");
                    entry.state(state);
                }
            }
            Output::Update(update) => self.update(peer, *update),
            Output::EndOfRib(family) => self.end_of_rib(peer, family),
            Output::RouteRefresh { family, kind: RefreshKind::Begin } => {
                // What the peer does not send again until the end is gone (RFC 7313 §4).
                self.engine.begin_refresh(id(peer), convert::family(family));
            }
            Output::RouteRefresh { family, kind: RefreshKind::End } => self.all_sent(peer, convert::family(family)),
            // We announce nothing, so there is nothing to send again.
            Output::RouteRefresh { kind: RefreshKind::Request | RefreshKind::Other(_), .. } | Output::TooLong(_) => {}
            Output::FamilyDisabled(family) => {
                let name = self.name(peer);
                tracing::error!(peer = name, %family, "the boundaries of its rules were lost; all of this family are dropped");
                let lost = format!("{family} disabled until the next session: the boundaries of its rules were lost");
                self.history.record(Kind::Malformed, About::peer(&name).saying(lost.clone()));
                if let Some(entry) = self.peers.get_mut(peer) {
                    entry.failed(lost);
                }
                self.engine.begin_refresh(id(peer), convert::family(family));
                self.all_sent(peer, convert::family(family));
            }
            Output::Connect | Output::AbortConnect | Output::Close { .. } => {}
        }
    }

    fn name(&self, peer: PeerId) -> String {
        self.peers.get(peer).map(|entry| entry.config.name.clone()).unwrap_or_default()
    }

    fn no_session(&mut self, peer: PeerId, reason: &str) {
        if self.admit(peer, Subject::Attempt, "attempts") {
            tracing::info!(peer = self.name(peer), reason, "no session");
        }
    }

    fn established(&mut self, peer: PeerId, negotiated: Negotiated) {
        if self.admit(peer, Subject::Session, "up") {
            let name = self.name(peer);
            let families: Vec<&str> = negotiated.families.iter().map(AfiSafi::name).collect();
            let families = families.join(", ");
            tracing::info!(peer = name, hold_time = negotiated.hold_time, families, "session up");
            self.history.record(Kind::PeerUp, About::peer(&name).saying(families));
        }
        let Some(entry) = self.peers.get_mut(peer) else { return };
        self.engine.peer_up(id(peer), negotiated.peer_id);
        let kept = preserved(&negotiated);
        let held = !entry.config.hold_on_loss.0.is_zero();
        let patience = self.config.state.stale_time.0;
        let late = Instant::now() + patience;
        let families = negotiated.families;
        entry.up(negotiated);
        for family in AfiSafi::ALL {
            // A family that is spoken no more is never confirmed.
            if families.contains(family) && (kept.contains(family) || held || self.restored.contains(&peer)) {
                self.engine.peer_back(id(peer), convert::family(family), now().plus(patience.as_secs()));
                // A peer that never says that it has sent all must not keep its old rules alive for ever.
                self.sweeps.push((late, peer, convert::family(family)));
            } else {
                self.engine.sweep(id(peer), convert::family(family));
            }
        }
    }

    /// Peers whose End-of-RIB did not come in time.
    pub(super) fn sweep_the_late(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.sweeps.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, peer, family) in due {
            self.all_sent(peer, family);
        }
    }

    fn session_lost(&mut self, peer: PeerId, reason: String, graceful: &[StaleFamily]) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        let retention = entry.retention(graceful, now());
        let name = entry.config.name.clone();
        entry.down(reason.clone());
        let ends = retention.iter().filter_map(|r| r.long_lived_until.max(r.until)).max();
        let fate = match ends {
            Some(end) => format!("its rules stay for up to {} s", end.0.saturating_sub(now().0)),
            None => "its rules go".to_owned(),
        };
        if self.admit(peer, Subject::Session, "down") {
            tracing::warn!(peer = name, reason, "session down; {fate}");
            self.history.record(Kind::PeerDown, About::peer(&name).saying(format!("{reason}; {fate}")));
        }
        self.engine.peer_down(id(peer), &retention, now());
        self.sweeps.retain(|(_, other, _)| *other != peer);
        self.memory.touch();
    }

    fn end_of_rib(&mut self, peer: PeerId, family: AfiSafi) {
        let name = self.name(peer);
        tracing::debug!(peer = name, %family, "end of RIB");
        self.history.record(Kind::EndOfRib, About::peer(&name).saying(family.name()));
        self.all_sent(peer, convert::family(family));
    }

    /// What is still stale was not confirmed: it is withdrawn.
    fn all_sent(&mut self, peer: PeerId, family: RouteFamily) {
        self.engine.end_of_rib(id(peer), family);
        self.sweeps.retain(|(_, other, waiting)| (*other, *waiting) != (peer, family));
        self.memory.touch();
    }

    fn update(&mut self, peer: PeerId, update: Update) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.count(&update);
        let name = entry.config.name.clone();
        for error in &update.errors {
            if self.admit(peer, Subject::Malformed, error.kind.name()) {
                tracing::warn!(peer = name, %error, "malformed");
                self.history.record(Kind::Malformed, About::peer(&name).saying(error.to_string()));
            }
        }
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
            let Some(route) = convert::route(&group.attributes, group.next_hop) else { continue };
            for RouteKey { destination, path_id } in group.routes {
                let nlri = match destination {
                    Destination::Flow(nlri) => Arc::new(nlri),
                    Destination::Unicast(net) => {
                        self.engine.announce_unicast(id(peer), net, path_id, Arc::clone(&route));
                        continue;
                    }
                };
                let outcome =
                    self.engine.announce(id(peer), Arc::clone(&nlri), path_id, Arc::clone(&route), now(), None);
                match outcome {
                    Announced::Taken if told => {
                        let text = crate::rules::show(&nlri, &route.actions, route.next_hop);
                        self.tell(Kind::Announced, &name, &nlri, text);
                    }
                    Announced::Excess(policy) => self.excess(peer, policy),
                    Announced::Taken | Announced::Known | Announced::Dropped | Announced::UnknownPeer => {}
                }
            }
        }
        if count > 0 {
            self.memory.touch();
        }
        if !told {
            self.history.record(Kind::Bulk, About::peer(&name).saying(format!("{count} routes in one update")));
        }
    }

    fn tell(&mut self, kind: Kind, peer: &str, nlri: &Nlri, text: String) {
        tracing::debug!(peer, id = %nlri.id(), rule = text, "{kind:?}");
        let about =
            About { peer: Some(peer.to_owned()), id: Some(nlri.id().to_string()), rule: Some(text), message: None };
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
            let _ = self.wishes.try_send(Wish::Reset(peer, Notification::CEASE_PREFIXES));
        }
    }
}

/// The families of whose routes the peer says that it has kept them (the F bits of RFC 4724 §3, RFC 9494 §3.1).
fn preserved(negotiated: &Negotiated) -> FamilySet {
    let mut kept = FamilySet::EMPTY;
    for capability in &negotiated.open.capabilities {
        match capability {
            Capability::GracefulRestart(restart) => {
                let families = restart.families.iter().filter(|(_, preserved)| *preserved);
                families.filter_map(|(family, _)| family.known()).for_each(|family| kept.insert(family));
            }
            Capability::LongLivedGracefulRestart(families) => {
                let families = families.iter().filter(|entry| entry.preserved);
                families.filter_map(|entry| entry.family.known()).for_each(|family| kept.insert(family));
            }
            _ => {}
        }
    }
    kept
}
