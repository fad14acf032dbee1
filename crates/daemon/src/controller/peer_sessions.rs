//! Passes events of the peers' sessions to the engine, and requests of the controller to the
//! sessions.

use super::event_log::Subject;
use super::messages::SessionRequest;
use super::peer_updates;
use super::session_context::SessionContext;
use crate::convert::LOCAL;
use crate::events::{EventSubject, timestamp};
use crate::net::{PeerEvent, PeerMessage};
use crate::peer_table::PeerTable;
use crate::policies;
use crate::retention::{self, PeerRoutes, Refresh};
use crate::state_file::RetainedFamily;
use api::EventKind;
use bgp::{AfiSafi, CeaseSubcode, Destination, FamilyNumbers, Negotiated, Output, RefreshKind, RouteKey, StaleFamily};
use config::Config;
use engine::import_policy::OnExcess;
use engine::{Engine, PeerId, Timestamp};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc;

/// The peers and their sessions. A route of a peer is in the engine only while its session is
/// established, or as a stale path with a deadline: every loss goes through the retention policy.
/// Events of peers that are not configured, and of any peer once the daemon is stopping, change
/// nothing.
pub(super) struct PeerSessions {
    table: PeerTable,
    /// Peers whose rules come from the state file.
    restored: HashSet<PeerId>,
    requests: mpsc::Sender<SessionRequest>,
    /// Seconds within which a peer is to have sent everything (`[state] stale-time`).
    stale_time: u64,
    /// The daemon is stopping: the end of a session changes nothing.
    stopping: bool,
}

impl PeerSessions {
    /// The configured peers, without sessions yet.
    pub(super) fn new(config: &Config, ids: &[PeerId], requests: mpsc::Sender<SessionRequest>) -> Self {
        let mut sessions = PeerSessions {
            table: PeerTable::default(),
            restored: HashSet::new(),
            requests,
            stale_time: 0,
            stopping: false,
        };
        sessions.configure(config, ids);
        sessions
    }

    /// Applies a configuration; sessions of peers that remain are kept.
    pub(super) fn configure(&mut self, config: &Config, ids: &[PeerId]) {
        self.table.configure(config, ids);
        self.stale_time = config.state.stale_time.0.as_secs();
    }

    /// From now on the end of a session changes nothing: rules are kept or removed as configured
    /// for the shutdown.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// For how long the rules of lost sessions are retained, as far as that has changed since the
    /// last call.
    pub(super) fn take_unsaved_retention(&mut self) -> Vec<(IpAddr, Vec<RetainedFamily>)> {
        self.table.take_unsaved_retention()
    }

    /// The peers.
    pub(super) const fn table(&self) -> &PeerTable {
        &self.table
    }

    /// The name of a peer; empty if it is no longer configured.
    pub(super) fn name(&self, peer: PeerId) -> String {
        self.table.name(peer).unwrap_or_default().to_owned()
    }

    /// Who announced a route: the name of a peer, or `local`.
    pub(super) fn origin(&self, peer: PeerId) -> String {
        if peer == LOCAL { "local".to_owned() } else { self.name(peer) }
    }

    /// The peer of this address, whose saved rules wait for it; `retained`: for how long, if its
    /// session was lost in the earlier run. `None` if it is no longer configured.
    pub(super) fn restore(&mut self, address: IpAddr, retained: &[RetainedFamily]) -> Option<PeerId> {
        let peer = self.table.by_address(address)?.id();
        self.restored.insert(peer);
        self.table.get_mut(peer)?.restore_retention(retained.to_vec());
        Some(peer)
    }

    /// Handles an event of a peer.
    pub(super) fn on_event(&mut self, message: PeerMessage, context: &mut SessionContext<'_>) {
        let PeerMessage { peer, news } = message;
        if let PeerEvent::Held(answer) = news {
            let held = context.engine.rules().map(|rule| rule.stale_peers().count() as u64).sum();
            // The receiver may have been dropped.
            let _ = answer.send(held);
            return;
        }
        if self.stopping || self.table.get(peer).is_none() {
            return;
        }
        match news {
            PeerEvent::Output(output) => self.output(peer, output, context),
            PeerEvent::Lost(reason) => self.on_session_task_ended(peer, reason, false, context),
            PeerEvent::Restarted(reason) => self.on_session_task_ended(peer, reason, true, context),
            PeerEvent::ParseError(what) => {
                if let Some(entry) = self.table.get_mut(peer) {
                    entry.count_parse_error();
                }
                if context.events.admit(peer, Subject::Malformed, "exabgp-json", context.now) {
                    context
                        .events
                        .record(EventKind::Malformed, EventSubject::peer(&self.name(peer)).with_message(what));
                }
            }
            PeerEvent::Held(_) => {}
        }
    }

    /// Reports the peers that did not send everything in time; the engine drops what they did not
    /// send.
    pub(super) fn expire_end_of_rib_timers(&self, engine: &Engine, time: Timestamp) {
        for (peer, family) in engine.overdue_end_of_rib(time) {
            let peer = self.name(peer);
            tracing::warn!(peer, ?family, "no End-of-RIB in time; the rules that it has not sent again are withdrawn");
        }
    }

    /// A session or connection attempt ended without an event of the session itself.
    fn on_session_task_ended(&mut self, peer: PeerId, reason: String, ours: bool, context: &mut SessionContext<'_>) {
        match self.table.get_mut(peer) {
            Some(entry) if entry.negotiated().is_none() => {
                entry.failed(reason.clone());
                self.no_session(peer, &reason, context);
            }
            _ => self.session_lost(peer, reason, &[], ours, context),
        }
    }

    fn output(&mut self, peer: PeerId, output: Output, context: &mut SessionContext<'_>) {
        match output {
            Output::Established(negotiated) => self.established(peer, *negotiated, context),
            Output::Down(down) => {
                let ours = retention::is_ours(&down.reason);
                self.session_lost(peer, down.reason.to_string(), &down.graceful, ours, context);
            }
            Output::Failed(reason) => {
                if let Some(entry) = self.table.get_mut(peer) {
                    // A peer that is down for days must not cause a log line for each attempt.
                    let is_new = entry.attempt_failed(&reason);
                    let reason = reason.to_string();
                    if is_new {
                        self.no_session(peer, &reason, context);
                    } else {
                        tracing::debug!(peer = entry.config().name, reason, "no session");
                    }
                }
            }
            Output::Damped { until } => self.damped(peer, until, context),
            Output::NextTry(at) => {
                if let Some(entry) = self.table.get_mut(peer) {
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
                if let Some(entry) = self.table.get_mut(peer) {
                    tracing::debug!(peer = entry.config().name, %state, "session");
                    entry.state(state);
                }
            }
            Output::Update(update) => {
                let Some(entry) = self.table.get_mut(peer) else { return };
                if peer_updates::take(entry, *update, context) == Some(OnExcess::Close) {
                    // The queue is full: the supervisor is already closing sessions.
                    let _ = self.requests.try_send(SessionRequest::Reset(peer, CeaseSubcode::MaximumPrefixes));
                }
            }
            Output::EndOfRib(family) => self.end_of_rib(peer, family, context),
            Output::RouteRefresh { family, kind: RefreshKind::Begin } => self.begin_refresh(peer, family, context),
            Output::RouteRefresh { family, kind: RefreshKind::End } => {
                let end = self.routes(peer, context).map(|mut routes| routes.end_refresh(family));
                tracing::debug!(peer = self.name(peer), %family, ?end, "end of a route refresh");
            }
            Output::TooLong(route) => self.too_long(peer, &route),
            // The peer's task answers.
            Output::RouteRefresh { kind: RefreshKind::Request | RefreshKind::Other(_), .. } => {}
            Output::Connect | Output::AbortConnect | Output::Close { .. } => {}
        }
    }

    /// A rule that we advertise does not fit into a message for this peer.
    fn too_long(&mut self, peer: PeerId, route: &RouteKey) {
        let (Some(entry), Destination::Flow(nlri)) = (self.table.get_mut(peer), &route.destination) else { return };
        if entry.cannot_advertise(nlri.id()) {
            let octets = nlri.wire_len();
            tracing::warn!(
                peer = entry.config().name,
                id = %nlri.id(),
                octets,
                "a rule is not advertised: it does not fit into a message that this peer takes"
            );
        }
    }

    fn damped(&self, peer: PeerId, until: Instant, context: &mut SessionContext<'_>) {
        let name = self.name(peer);
        let until = timestamp(wall_clock(until));
        let what = format!("its sessions do not last: connections are refused until {until} (idle-hold-max)");
        if context.events.admit(peer, Subject::Refused, "times", context.now) {
            tracing::warn!(peer = name, "{what}");
            context.events.record(EventKind::PeerDown, EventSubject::peer(&name).with_message(what));
        }
    }

    fn no_session(&self, peer: PeerId, reason: &str, context: &mut SessionContext<'_>) {
        if context.events.admit(peer, Subject::Attempt, "attempts", context.now) {
            let name = self.name(peer);
            tracing::info!(peer = name, reason, "no session");
            context.events.record(EventKind::SessionFailed, EventSubject::peer(&name).with_message(reason));
        }
    }

    /// Applies the effect of a session event on the peer's routes.
    fn routes<'a>(&'a mut self, peer: PeerId, context: &'a mut SessionContext<'_>) -> Option<PeerRoutes<'a>> {
        let entry = self.table.get_mut(peer)?;
        Some(PeerRoutes::new(context.engine, entry, self.stale_time, context.time))
    }

    fn established(&mut self, peer: PeerId, negotiated: Negotiated, context: &mut SessionContext<'_>) {
        if context.events.admit(peer, Subject::Session, "up", context.now) {
            let name = self.name(peer);
            let families: Vec<&str> = negotiated.families.iter().map(AfiSafi::name).collect();
            let families = families.join(", ");
            tracing::info!(peer = name, hold_time = negotiated.hold_time, families, "session up");
            context.events.record(EventKind::PeerUp, EventSubject::peer(&name).with_message(families));
        }
        let restored = self.restored.contains(&peer);
        if let Some(mut routes) = self.routes(peer, context) {
            routes.established(negotiated, restored);
        }
    }

    fn begin_refresh(&mut self, peer: PeerId, family: AfiSafi, context: &mut SessionContext<'_>) {
        let begin = self.routes(peer, context).map(|mut routes| routes.begin_refresh(family));
        tracing::debug!(peer = self.name(peer), %family, ?begin, "begin of a route refresh");
        let Some(entry) = self.table.get_mut(peer) else { return };
        if begin == Some(Refresh::Ignored) && entry.count_early_refresh() {
            let peer = &entry.config().name;
            tracing::warn!(peer, %family, "ignored a route refresh that began before End-of-RIB (RFC 7313)");
        }
    }

    fn session_lost(
        &mut self,
        peer: PeerId,
        reason: String,
        graceful: &[StaleFamily],
        ours: bool,
        context: &mut SessionContext<'_>,
    ) {
        let Some(ends) = self.routes(peer, context).map(|mut routes| routes.lost(graceful, ours)) else { return };
        let Some(entry) = self.table.get_mut(peer) else { return };
        let name = entry.config().name.clone();
        let framing_lost = entry.take_framing_lost();
        let reason = match &framing_lost {
            Some(why) => format!("the boundaries of its rules were lost ({why}): {reason}"),
            None => reason,
        };
        entry.down(reason.clone());
        let fate = match ends {
            Some(end) => format!("its rules stay for up to {} s", end.0.saturating_sub(context.time.0)),
            None => "its rules go".to_owned(),
        };
        if context.events.admit(peer, Subject::Session, "down", context.now) {
            match framing_lost {
                Some(_) => tracing::error!(peer = name, reason, "session restarted; {fate}"),
                None => tracing::warn!(peer = name, reason, "session down; {fate}"),
            }
            context
                .events
                .record(EventKind::PeerDown, EventSubject::peer(&name).with_message(format!("{reason}; {fate}")));
        }
    }

    fn end_of_rib(&mut self, peer: PeerId, family: AfiSafi, context: &mut SessionContext<'_>) {
        let name = self.name(peer);
        tracing::debug!(peer = name, %family, "end of RIB");
        context.events.record(EventKind::EndOfRib, EventSubject::peer(&name).with_message(family.name()));
        if let Some(mut routes) = self.routes(peer, context) {
            routes.end_of_rib(family);
        }
    }

    /// What the engine needs to know of each peer.
    pub(super) fn engine_peers<'a>(
        &'a self,
        config: &'a Config,
        own: &'a BTreeSet<IpAddr>,
    ) -> impl Iterator<Item = (PeerId, engine::PeerConfig)> + 'a {
        self.table.iter().map(move |entry| {
            let peer = engine::PeerConfig {
                address: Some(entry.config().address),
                external: entry.is_external(),
                policy: Some(policies::import_policy(config, entry.config(), entry.is_external(), own)),
            };
            (entry.id(), peer)
        })
    }
}

/// A future moment as wall clock time.
fn wall_clock(at: Instant) -> SystemTime {
    SystemTime::now() + at.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;
