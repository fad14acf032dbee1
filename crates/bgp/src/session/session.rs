//! The session with one peer: its FSMs, and the effects of their events on each other.
//!
//! A failure before a session is established costs that connection and nothing else, or delays this
//! side's own connection attempts. Only short sessions cause connections to be refused for a time
//! (DampPeerOscillations), and not while routes of the peer are retained and wait for it.

use crate::afi_safi::AfiSafi;
use crate::attribute::PathAttributes;
use crate::message::{
    CeaseSubcode, MAX_EXTENDED_MESSAGE, Message, MessageType, Notification, NotificationCode, RefreshKind,
};
use crate::route::RouteKey;
use crate::session::collision::{Candidate, Resolution, resolve};
use crate::session::config::PeerConfig;
use crate::session::effect::{Closed, Effect};
use crate::session::established::{Established, SendError};
use crate::session::event::{Cease, ConnId, Direction, Event, Transmit};
use crate::session::fsm::Fsm;
use crate::session::fsm_event::FsmEvent;
use crate::session::graceful;
use crate::session::negotiated::Negotiated;
use crate::session::output::{Down, DownReason, Output};
use crate::session::queue::RouteChange;
use crate::session::shared::Shared;
use crate::session::state::State;
use crate::session::statistics::Statistics;
use crate::session::timer::Timer;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A session of this duration resets the counters of failures.
const STABLE: Duration = Duration::from_secs(30);
/// Most connections of the peer without an OPEN; with one more, one of them is closed.
const MAX_PENDING: usize = 8;

/// One peer. After each call that takes `&mut self`: take all of [`poll`](Self::poll), write what
/// [`poll_transmit`](Self::poll_transmit) gives as long as the socket takes it, and set a timer for
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    /// Opens connections; the only one that is ever in Idle or Connect.
    initiating: Fsm,
    /// One for each connection that the peer opened, from OpenSent on. At most one FSM of all is in
    /// Established.
    accepting: Vec<Fsm>,
    shared: Shared,
    reported_state: State,
    reported_next_try: Option<Instant>,
}

impl Session {
    /// A session in Idle; [`Event::ManualStart`] starts it.
    #[must_use]
    pub fn new(config: PeerConfig) -> Self {
        Session {
            initiating: Fsm::initiating(),
            accepting: Vec::new(),
            shared: Shared::new(config),
            reported_state: State::Idle,
            reported_next_try: None,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &PeerConfig {
        self.shared.config()
    }

    /// The state of the FSM that is furthest.
    #[must_use]
    pub fn state(&self) -> State {
        self.fsms().map(Fsm::state).max().unwrap_or(State::Idle)
    }

    /// The negotiated parameters, while established.
    #[must_use]
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.fsms().find_map(Fsm::established).map(Established::negotiated)
    }

    /// When a timer expires; `None`: it is not running. Of several connections the one that expires
    /// first.
    #[must_use]
    pub fn timer(&self, timer: Timer) -> Option<Instant> {
        let tables = self.fsms().map(Fsm::timers).chain([self.shared.timers()]);
        tables.filter_map(|table| table.deadline(timer)).min()
    }

    /// Messages counted since the session was made.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.shared.statistics()
    }

    /// Handles an event at time `now`.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::ManualStart => self.handle_initiating(FsmEvent::ManualStart, now),
            Event::ManualStop(cease) => self.stop(&cease, FsmEvent::ManualStop(&cease), now),
            Event::Reset(cease) => self.stop(&cease, FsmEvent::AutomaticStop(&cease), now),
            Event::Connected(conn, Direction::Outgoing) => self.handle_initiating(FsmEvent::TcpCrAcked(conn), now),
            Event::Connected(conn, Direction::Incoming) => self.accept(conn, now),
            Event::ConnectFailed if self.initiating.state() == State::Connect => {
                self.handle_initiating(FsmEvent::TcpConnectionFails, now);
            }
            Event::ConnectFailed => {}
            Event::Received(conn, octets) => self.receive(conn, octets, now),
            Event::Closed(conn) => self.handle_on(conn, FsmEvent::TcpConnectionFails, now),
        }
        self.confirm_undisputed(now);
        self.report();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing else happens
    /// before. Only calls that take `&mut self` change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fsms().map(Fsm::timers).chain([self.shared.timers()]).filter_map(|table| table.next()).min()
    }

    /// Lets the timers that are due at `now` expire. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.shared.timers().is_due(Timer::Restart, now) {
            self.shared.end_restart();
        }
        if self.initiating.timers().is_due(Timer::IdleHold, now) {
            self.handle_initiating(FsmEvent::IdleHoldTimerExpires, now);
        }
        if self.initiating.timers().is_due(Timer::ConnectRetry, now) {
            let served = self.is_served();
            self.handle_initiating(FsmEvent::ConnectRetryTimerExpires { served }, now);
        }
        let conns: Vec<ConnId> = self.fsms().filter_map(Fsm::conn_id).collect();
        for conn in conns {
            for (timer, event) in [
                (Timer::Hold, FsmEvent::HoldTimerExpires),
                (Timer::Keepalive, FsmEvent::KeepaliveTimerExpires),
                (Timer::SendHold, FsmEvent::SendHoldTimerExpires),
            ] {
                if self.fsm_on(conn).is_some_and(|fsm| fsm.timers().is_due(timer, now)) {
                    self.handle_on(conn, event, now);
                }
            }
        }
        self.confirm_undisputed(now);
        self.report();
    }

    /// The next output.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.shared.next_output()
    }

    /// The next octets to write: one or more whole messages, 64 KiB or a little more. Call it only
    /// while the socket accepts octets: the rest stays queued as routes, and the SendHoldTimer (RFC
    /// 9687) measures how long.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let shared = &mut self.shared;
        std::iter::once(&mut self.initiating).chain(&mut self.accepting).find_map(|fsm| fsm.transmit(shared, now))
    }

    /// Queues a route for the peer; `attributes` as this speaker has them: for an eBGP peer our AS
    /// number is prepended and LOCAL_PREF is left out, for an iBGP peer LOCAL_PREF is added. A
    /// queued route with the same key is replaced. The queue is emptied when the session ends. A
    /// route that fits in no message is reported by [`Output::TooLong`] when its turn comes.
    ///
    /// # Errors
    /// The session is not established or the family was not negotiated: nothing was queued.
    pub fn announce(
        &mut self,
        route: RouteKey,
        next_hop: Option<IpAddr>,
        attributes: Arc<PathAttributes>,
    ) -> Result<(), SendError> {
        self.established_mut()?.queue_route(route, RouteChange::Announce { next_hop, attributes })
    }

    /// Queues a withdrawal.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn withdraw(&mut self, route: RouteKey) -> Result<(), SendError> {
        self.established_mut()?.queue_route(route, RouteChange::Withdraw)
    }

    /// Queues an End-of-RIB marker (RFC 4724 §2) behind the routes.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn end_of_rib(&mut self, family: AfiSafi) -> Result<(), SendError> {
        self.established_mut()?.queue_end_of_rib(family)
    }

    /// Sends a request for the peer's routes at once, or queues the begin or end of our own behind
    /// the routes (RFC 7313). A route that waits since before the begin keeps its place there:
    /// answer a request when nothing is [`queued`](Self::queued), as
    /// [`AdjRibOut`](crate::AdjRibOut) does.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce), and where the peer has not announced the capability.
    pub fn route_refresh(&mut self, family: AfiSafi, kind: RefreshKind) -> Result<(), SendError> {
        let request = self.established_mut()?.queue_refresh(family, kind)?;
        if let Some(refresh) = request {
            self.shared.statistics_mut().sent.refreshes += 1;
            let established = self.fsms_mut().find(|fsm| fsm.established().is_some());
            established.into_iter().for_each(|fsm| fsm.queue_message(&Message::RouteRefresh(refresh)));
        }
        Ok(())
    }

    /// Routes and markers that wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.fsms().find_map(Fsm::established).map_or(0, Established::queued)
    }

    fn established_mut(&mut self) -> Result<&mut Established, SendError> {
        self.fsms_mut().find_map(Fsm::established_mut).ok_or(SendError::NotEstablished)
    }

    fn fsms(&self) -> impl Iterator<Item = &Fsm> {
        std::iter::once(&self.initiating).chain(&self.accepting)
    }

    fn fsms_mut(&mut self) -> impl Iterator<Item = &mut Fsm> {
        std::iter::once(&mut self.initiating).chain(&mut self.accepting)
    }

    fn fsm_on(&self, conn: ConnId) -> Option<&Fsm> {
        self.fsms().find(|fsm| fsm.conn_id() == Some(conn))
    }

    fn handle_initiating(&mut self, event: FsmEvent<'_>, now: Instant) {
        let effect = self.initiating.handle(event, &mut self.shared, now);
        self.follow(effect, None, now);
    }

    fn handle_on(&mut self, conn: ConnId, event: FsmEvent<'_>, now: Instant) {
        let mut fsms = std::iter::once(&mut self.initiating).chain(&mut self.accepting);
        let Some(fsm) = fsms.find(|fsm| fsm.conn_id() == Some(conn)) else { return };
        let effect = fsm.handle(event, &mut self.shared, now);
        self.follow(effect, Some(conn), now);
    }

    /// Applies what an event of the FSM on `conn` means for the others.
    fn follow(&mut self, effect: Option<Effect>, conn: Option<ConnId>, now: Instant) {
        match (effect, conn) {
            (Some(Effect::OpenAcceptable(negotiated)), Some(conn)) => self.on_open_acceptable(conn, negotiated, now),
            (Some(Effect::Established), Some(conn)) => self.on_established(conn),
            (Some(Effect::Closed(closed)), _) => self.on_closed(closed, now),
            (Some(Effect::OpenAcceptable(_) | Effect::Established), None) | (None, _) => {}
        }
    }

    /// An FSM without a connection, made for one that the peer opened, is removed.
    fn forget_closed(&mut self) {
        self.accepting.retain(|fsm| fsm.conn_id().is_some());
    }

    /// Closes every connection; the FSM that opens connections handles `event`.
    fn stop(&mut self, cease: &Cease, event: FsmEvent<'_>, now: Instant) {
        if self.initiating.is_stopped() {
            return;
        }
        for mut fsm in std::mem::take(&mut self.accepting) {
            fsm.handle(FsmEvent::ManualStop(cease), &mut self.shared, now);
        }
        self.handle_initiating(event, now);
    }

    fn accept(&mut self, conn: ConnId, now: Instant) {
        if self.initiating.state() == State::Idle {
            return self.handle_initiating(FsmEvent::TcpConnectionConfirmed(conn), now);
        }
        self.make_room();
        let mut fsm = Fsm::accepting();
        fsm.handle(FsmEvent::TcpConnectionConfirmed(conn), &mut self.shared, now);
        self.accepting.push(fsm);
    }

    /// Closes a random one of too many connections without an OPEN: it is not known which of them
    /// is the peer's. The peer sends its OPEN soon, after which its connection is not among them.
    fn make_room(&mut self) {
        let pending = self.accepting.iter().filter(|fsm| fsm.state() == State::OpenSent);
        let pending: Vec<ConnId> = pending.filter_map(Fsm::conn_id).collect();
        if pending.len() >= MAX_PENDING {
            let conn = pending[self.shared.jitter().below(pending.len())];
            self.dump(conn, Some(CeaseSubcode::ConnectionRejected));
        }
    }

    /// Closes a connection without effects on the others. Returns its session.
    fn dump(&mut self, conn: ConnId, cease: Option<CeaseSubcode>) -> Option<Box<Established>> {
        let mut fsms = std::iter::once(&mut self.initiating).chain(&mut self.accepting);
        let fsm = fsms.find(|fsm| fsm.conn_id() == Some(conn))?;
        let established = fsm.dump(cease.map(Notification::new), &mut self.shared);
        self.forget_closed();
        established
    }

    fn receive(&mut self, conn: ConnId, octets: &[u8], now: Instant) {
        // Out of the connection while messages borrow from it; when the connection goes, so does
        // it.
        let framer = self.fsms_mut().find(|fsm| fsm.conn_id() == Some(conn)).and_then(Fsm::take_framer);
        let Some(mut framer) = framer else { return };
        framer.push(octets);
        self.shared.statistics_mut().received.octets += octets.len() as u64;
        loop {
            let frame = match framer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(notification) => return self.handle_on(conn, FsmEvent::BgpHeaderErr(notification), now),
            };
            let message_type = frame.message_type;
            let event = match Message::decode(frame) {
                Ok(message) => {
                    self.count_received(message_type);
                    message_event(message)
                }
                Err(notification) => error_event(message_type, notification),
            };
            self.handle_on(conn, event, now);
            if self.fsm_on(conn).is_none() {
                return;
            }
            if message_type == MessageType::Open && self.config().extended_message {
                framer.set_max(MAX_EXTENDED_MESSAGE);
            }
        }
        if let Some(fsm) = self.fsms_mut().find(|fsm| fsm.conn_id() == Some(conn)) {
            fsm.put_framer(framer);
        }
    }

    fn count_received(&mut self, message_type: MessageType) {
        let received = &mut self.shared.statistics_mut().received;
        *match message_type {
            MessageType::Open => &mut received.opens,
            MessageType::Update => &mut received.updates,
            MessageType::Notification => &mut received.notifications,
            MessageType::Keepalive => &mut received.keepalives,
            MessageType::RouteRefresh => &mut received.refreshes,
        } += 1;
    }

    /// Collision detection (RFC 4271 §6.8), then OpenConfirm.
    fn on_open_acceptable(&mut self, conn: ConnId, negotiated: Box<Negotiated>, now: Instant) {
        let config = self.shared.config();
        // The connection opened by the speaker with the higher identifier stays; between equal ones
        // that with the higher AS number.
        let ours_wins = (config.router_id, config.local_as) > (negotiated.peer_id, negotiated.peer_as);
        // A new connection means that the peer restarted, but only where its capability lists a
        // family (RFC 4724 §5).
        let restarts = config.graceful_restart.is_some()
            && self.negotiated().is_some_and(|established| established.restarts_gracefully());
        let others: Vec<ConnId> = self.fsms().filter_map(Fsm::conn_id).filter(|other| *other != conn).collect();
        let mut undisputed = true;
        for other in others {
            let candidate = |conn| self.fsm_on(conn).and_then(|fsm| fsm.candidate(now));
            let (Some(this), Some(that)) = (candidate(conn), candidate(other)) else { continue };
            match resolve(this, that, ours_wins, restarts) {
                Resolution::CloseOther => {
                    self.dump(other, Some(CeaseSubcode::CollisionResolution));
                }
                Resolution::CloseThis => {
                    self.dump(conn, Some(CeaseSubcode::CollisionResolution));
                    return;
                }
                Resolution::PeerRestarted => {
                    if let Some(established) = self.dump(other, None) {
                        self.report_down(&established, DownReason::PeerRestarted);
                    }
                }
                Resolution::AwaitOpen => undisputed = false,
            }
        }
        if let Some(fsm) = self.fsms_mut().find(|fsm| fsm.conn_id() == Some(conn)) {
            fsm.accept_open(negotiated, now);
        }
        if undisputed {
            self.confirm(conn, now);
        }
    }

    fn confirm(&mut self, conn: ConnId, now: Instant) {
        let mut fsms = std::iter::once(&mut self.initiating).chain(&mut self.accepting);
        let Some(fsm) = fsms.find(|fsm| fsm.conn_id() == Some(conn)) else { return };
        let effect = fsm.confirm(&mut self.shared, now);
        self.follow(effect, Some(conn), now);
    }

    /// Confirms connections whose collision has ended: the other one is closed, or its time to send
    /// an OPEN is over.
    fn confirm_undisputed(&mut self, now: Instant) {
        let waits = |fsm: &&Fsm| fsm.timers().is_running(Timer::CollisionWait);
        let waiting: Vec<ConnId> = self.fsms().filter(waits).filter_map(Fsm::conn_id).collect();
        for conn in waiting {
            let Some(fsm) = self.fsm_on(conn) else { continue };
            let Some(this) = fsm.candidate(now) else { continue };
            let collides = |other: Candidate| other.direction != this.direction && other.awaits_open();
            let disputed = self.fsms().filter_map(|fsm| fsm.candidate(now)).any(collides);
            if !disputed || fsm.timers().is_due(Timer::CollisionWait, now) {
                self.confirm(conn, now);
            }
        }
    }

    fn on_established(&mut self, conn: ConnId) {
        let others: Vec<ConnId> = self.fsms().filter_map(Fsm::conn_id).filter(|other| *other != conn).collect();
        for other in others {
            self.dump(other, Some(CeaseSubcode::CollisionResolution));
        }
        self.initiating.stop_connecting(&mut self.shared);
        self.shared.end_restart();
        if let Some(negotiated) = self.negotiated().cloned() {
            self.shared.emit(Output::Established(Box::new(negotiated)));
        }
    }

    fn on_closed(&mut self, closed: Closed, now: Instant) {
        self.forget_closed();
        let Closed { direction, from, reason, established } = closed;
        if let Some(established) = established {
            return self.on_session_lost(&established, reason, now);
        }
        let lost = reason == DownReason::ConnectionLost;
        self.shared.emit(Output::Failed(reason));
        let served = self.is_served();
        match direction {
            // It may be from any host: this side's own connection attempts continue.
            Direction::Incoming => self.initiating.connect_later(served, &mut self.shared, now),
            Direction::Outgoing if lost && from == State::OpenSent => {
                self.initiating.connect_later(served, &mut self.shared, now);
            }
            Direction::Outgoing => self.initiating.back_off(served, false, &mut self.shared, now),
        }
    }

    /// The session has ended, and not because it was stopped.
    fn on_session_lost(&mut self, established: &Established, reason: DownReason, now: Instant) {
        let lasted = established.age(now) >= STABLE;
        if lasted {
            self.shared.forgive();
        }
        let retained = self.report_down(established, reason) || self.config().retained_on_loss;
        // A peer that has connected again already is not refused.
        let back = self.fsms().any(|fsm| fsm.conn_id().is_some());
        let lenient = retained || back || lasted || self.config().idle_hold_max.is_zero();
        if lenient || self.shared.is_free_short_session() {
            let served = self.is_served();
            self.initiating.back_off(served, retained, &mut self.shared, now);
        } else {
            self.initiating.damp(&mut self.shared, now);
        }
    }

    /// True if some routes of the peer are to be retained.
    fn report_down(&mut self, established: &Established, reason: DownReason) -> bool {
        let graceful = graceful::families(self.shared.config(), established.negotiated(), &reason);
        let retained = !graceful.is_empty();
        self.shared.emit(Output::Down(Box::new(Down { reason, graceful })));
        retained
    }

    /// Whether a connection that the peer opened has reached an accepted OPEN. One without an OPEN
    /// may be from any host.
    fn is_served(&self) -> bool {
        self.accepting.iter().any(|fsm| fsm.state() > State::OpenSent)
    }

    /// Reports a new state, and a new time of the next try.
    fn report(&mut self) {
        let state = self.state();
        if state != self.reported_state {
            self.reported_state = state;
            self.shared.emit(Output::State(state));
        }
        let timers = self.initiating.timers();
        let waits = matches!(state, State::Idle | State::Active);
        let next_try = timers.deadline(Timer::IdleHold).or(timers.deadline(Timer::ConnectRetry)).filter(|_| waits);
        if next_try != self.reported_next_try {
            self.reported_next_try = next_try;
            self.shared.emit(Output::NextTry(next_try));
        }
    }
}

fn message_event(message: Message<'_>) -> FsmEvent<'_> {
    match message {
        Message::Open(open) => FsmEvent::BgpOpen(open),
        Message::Update(body) => FsmEvent::UpdateMsg(body),
        Message::Notification(notification) => FsmEvent::NotifMsg(notification),
        Message::Keepalive => FsmEvent::KeepAliveMsg,
        Message::RouteRefresh(refresh) => FsmEvent::RouteRefreshMsg(refresh),
    }
}

/// The event of a message that cannot be decoded.
fn error_event<'a>(message_type: MessageType, notification: Notification) -> FsmEvent<'a> {
    match message_type {
        MessageType::Open => FsmEvent::BgpOpenMsgErr(notification),
        MessageType::RouteRefresh => FsmEvent::RouteRefreshMsgErr(notification),
        // A broken NOTIFICATION is not answered with another (RFC 4271 §6.4).
        MessageType::Notification => {
            FsmEvent::NotifMsg(Notification::new(NotificationCode::Unknown { code: 0, subcode: 0 }))
        }
        MessageType::Update | MessageType::Keepalive => FsmEvent::BgpHeaderErr(notification),
    }
}
