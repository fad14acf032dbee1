//! One FSM of RFC 4271 §8.2.1. A session has one that opens connections, and one for each
//! connection that the peer opened; this file has the transitions of §8.2.2, state by state. The
//! table of the crate's documentation names where they deviate.

use crate::message::{
    CeaseSubcode, Framer, FsmSubcode, MAX_MESSAGE, Message, MessageType, Notification, NotificationCode, OpenSubcode,
};
use crate::session::collision::{Candidate, OPEN_WAIT};
use crate::session::connection::Connection;
use crate::session::effect::{Closed, Effect};
use crate::session::established::Established;
use crate::session::event::{Cease, ConnId, Direction, Transmit};
use crate::session::fsm_event::FsmEvent;
use crate::session::graceful;
use crate::session::intervals;
use crate::session::negotiated::{Negotiated, local_open, negotiate};
use crate::session::output::{Down, DownReason, Output};
use crate::session::shared::Shared;
use crate::session::state::State;
use crate::session::timer::{Timer, TimerTable};
use std::time::Instant;

/// Octets from which on a transmission is full.
const FULL_TRANSMIT: usize = 64 * 1024;

/// The state with its data: a connection from OpenSent on, the negotiated parameters from
/// OpenConfirm on.
#[derive(Debug)]
enum FsmState {
    Idle,
    Connect,
    Active,
    OpenSent(Connection),
    OpenConfirm(Connection, Confirming),
    Established(Connection, Box<Established>),
}

/// An OPEN was accepted. If the connection collides, this side's KEEPALIVE is not sent before that
/// is decided (CollisionWait).
#[derive(Debug)]
struct Confirming {
    negotiated: Box<Negotiated>,
    /// The peer's KEEPALIVE came before ours was sent.
    keepalive_received: bool,
}

#[derive(Debug)]
pub(crate) struct Fsm {
    state: FsmState,
    timers: TimerTable,
}

impl Fsm {
    /// The FSM that opens connections.
    pub(crate) fn initiating() -> Self {
        Fsm { state: FsmState::Idle, timers: TimerTable::default() }
    }

    /// An FSM for a connection that the peer opens.
    pub(crate) fn accepting() -> Self {
        Fsm { state: FsmState::Active, timers: TimerTable::default() }
    }

    pub(crate) fn state(&self) -> State {
        match self.state {
            FsmState::Idle => State::Idle,
            FsmState::Connect => State::Connect,
            FsmState::Active => State::Active,
            FsmState::OpenSent(_) => State::OpenSent,
            FsmState::OpenConfirm(..) => State::OpenConfirm,
            FsmState::Established(..) => State::Established,
        }
    }

    pub(crate) fn timers(&self) -> &TimerTable {
        &self.timers
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.state {
            FsmState::Idle | FsmState::Connect | FsmState::Active => None,
            FsmState::OpenSent(connection)
            | FsmState::OpenConfirm(connection, _)
            | FsmState::Established(connection, _) => Some(connection),
        }
    }

    fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            FsmState::Idle | FsmState::Connect | FsmState::Active => None,
            FsmState::OpenSent(connection)
            | FsmState::OpenConfirm(connection, _)
            | FsmState::Established(connection, _) => Some(connection),
        }
    }

    pub(crate) fn conn_id(&self) -> Option<ConnId> {
        self.connection().map(Connection::id)
    }

    /// The input of collision detection; `None` without a connection.
    pub(crate) fn candidate(&self, now: Instant) -> Option<Candidate> {
        let connection = self.connection()?;
        Some(Candidate { direction: connection.direction(), state: self.state(), age: connection.age(now) })
    }

    pub(crate) fn established(&self) -> Option<&Established> {
        match &self.state {
            FsmState::Established(_, established) => Some(established),
            _ => None,
        }
    }

    pub(crate) fn established_mut(&mut self) -> Option<&mut Established> {
        match &mut self.state {
            FsmState::Established(_, established) => Some(established),
            _ => None,
        }
    }

    /// Stopped: in Idle until the operator starts it.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, FsmState::Idle) && !self.timers.is_running(Timer::IdleHold)
    }

    /// Handles an event.
    pub(crate) fn handle(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) -> Option<Effect> {
        match self.state() {
            State::Idle => {
                self.in_idle(event, shared, now);
                None
            }
            State::Connect => {
                self.in_connect(event, shared, now);
                None
            }
            State::Active => {
                self.in_active(event, shared, now);
                None
            }
            State::OpenSent => self.in_open_sent(event, shared, now),
            State::OpenConfirm => self.in_open_confirm(event, shared, now),
            State::Established => self.in_established(event, shared, now),
        }
    }

    fn in_idle(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) {
        match event {
            FsmEvent::ManualStart if self.is_stopped() => {
                shared.start(now);
                self.leave_idle(shared, now);
            }
            FsmEvent::IdleHoldTimerExpires => self.leave_idle(shared, now),
            FsmEvent::ManualStop(_) => self.timers.stop_all(),
            FsmEvent::AutomaticStop(cease) if !self.is_stopped() => self.restart_later(cease, shared, now),
            FsmEvent::TcpCrAcked(conn) => shared.refuse(conn, false),
            FsmEvent::TcpConnectionConfirmed(conn) => shared.refuse(conn, true),
            // "Any other event received in the Idle state does not cause change in the state of the
            // local system."
            _ => {}
        }
    }

    fn in_connect(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) {
        match event {
            FsmEvent::ManualStop(_) => {
                self.abort_connect(shared);
                self.enter(FsmState::Idle);
            }
            FsmEvent::AutomaticStop(cease) => {
                self.abort_connect(shared);
                self.restart_later(cease, shared, now);
            }
            FsmEvent::ConnectRetryTimerExpires { served } => {
                self.abort_connect(shared);
                if !served {
                    self.connect(shared, now);
                }
            }
            FsmEvent::TcpCrAcked(conn) => self.send_open(conn, Direction::Outgoing, shared, now),
            FsmEvent::TcpConnectionConfirmed(conn) => self.send_open(conn, Direction::Incoming, shared, now),
            // The ConnectRetryTimer keeps running.
            FsmEvent::TcpConnectionFails => self.state = FsmState::Active,
            // A start is ignored; anything else needs a connection.
            _ => {}
        }
    }

    fn in_active(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) {
        match event {
            FsmEvent::ManualStop(_) => self.enter(FsmState::Idle),
            FsmEvent::AutomaticStop(cease) => self.restart_later(cease, shared, now),
            FsmEvent::ConnectRetryTimerExpires { served } => {
                self.timers.stop(Timer::ConnectRetry);
                if !served {
                    self.connect(shared, now);
                }
            }
            // It was not requested, or no longer.
            FsmEvent::TcpCrAcked(conn) => shared.refuse(conn, false),
            FsmEvent::TcpConnectionConfirmed(conn) => self.send_open(conn, Direction::Incoming, shared, now),
            // A start is ignored; anything else needs a connection.
            _ => {}
        }
    }

    fn in_open_sent(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) -> Option<Effect> {
        match event {
            FsmEvent::BgpOpen(open) => match negotiate(shared.config(), open) {
                Ok(negotiated) => Some(Effect::OpenAcceptable(Box::new(negotiated))),
                Err(notification) if notification.code == OpenSubcode::BadIdentifier.into() => {
                    let reason = DownReason::SameIdentifier(shared.config().router_id);
                    self.close(reason, Some(notification), shared)
                }
                Err(notification) => self.fail(notification, shared),
            },
            FsmEvent::KeepAliveMsg => self.unexpected(MessageType::Keepalive, FsmSubcode::UnexpectedInOpenSent, shared),
            FsmEvent::UpdateMsg(_) => self.unexpected(MessageType::Update, FsmSubcode::UnexpectedInOpenSent, shared),
            FsmEvent::RouteRefreshMsg(_) => {
                self.unexpected(MessageType::RouteRefresh, FsmSubcode::UnexpectedInOpenSent, shared)
            }
            other => self.on_any_connection(other, shared, now),
        }
    }

    fn in_open_confirm(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) -> Option<Effect> {
        self.restart_hold_timer(&event, now);
        match event {
            FsmEvent::KeepAliveMsg if self.timers.is_running(Timer::CollisionWait) => {
                if let FsmState::OpenConfirm(_, confirming) = &mut self.state {
                    confirming.keepalive_received = true;
                }
                None
            }
            FsmEvent::KeepAliveMsg => self.establish(shared, now),
            FsmEvent::BgpOpen(_) => self.unexpected(MessageType::Open, FsmSubcode::UnexpectedInOpenConfirm, shared),
            FsmEvent::UpdateMsg(_) => self.unexpected(MessageType::Update, FsmSubcode::UnexpectedInOpenConfirm, shared),
            FsmEvent::RouteRefreshMsg(_) => {
                self.unexpected(MessageType::RouteRefresh, FsmSubcode::UnexpectedInOpenConfirm, shared)
            }
            other => self.on_any_connection(other, shared, now),
        }
    }

    fn in_established(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) -> Option<Effect> {
        self.restart_hold_timer(&event, now);
        match event {
            FsmEvent::UpdateMsg(body) => {
                let fault = self.established_mut()?.update(body, shared).err()?;
                self.fail(fault, shared)
            }
            FsmEvent::KeepAliveMsg => None,
            FsmEvent::RouteRefreshMsg(refresh) => {
                self.established_mut()?.refresh(refresh, shared);
                None
            }
            FsmEvent::BgpOpen(_) => self.unexpected(MessageType::Open, FsmSubcode::UnexpectedInEstablished, shared),
            other => self.on_any_connection(other, shared, now),
        }
    }

    /// What OpenSent, OpenConfirm and Established share.
    fn on_any_connection(&mut self, event: FsmEvent<'_>, shared: &mut Shared, now: Instant) -> Option<Effect> {
        match event {
            FsmEvent::ManualStop(cease) => {
                self.stop(cease, shared);
                self.enter(FsmState::Idle);
                None
            }
            FsmEvent::AutomaticStop(cease) => {
                self.stop(cease, shared);
                self.restart_later(cease, shared, now);
                None
            }
            FsmEvent::HoldTimerExpires => self.fail(Notification::new(NotificationCode::HoldTimerExpired), shared),
            FsmEvent::SendHoldTimerExpires => {
                self.fail(Notification::new(NotificationCode::SendHoldTimerExpired), shared)
            }
            FsmEvent::KeepaliveTimerExpires => {
                self.send_keepalive(shared, now);
                None
            }
            FsmEvent::TcpConnectionFails => self.close(DownReason::ConnectionLost, None, shared),
            FsmEvent::BgpHeaderErr(notification)
            | FsmEvent::BgpOpenMsgErr(notification)
            | FsmEvent::RouteRefreshMsgErr(notification) => self.fail(notification, shared),
            FsmEvent::NotifMsg(notification) => {
                let is_up = matches!(self.state, FsmState::Established(..));
                self.close(DownReason::of_notification(notification, shared.config(), is_up), None, shared)
            }
            FsmEvent::TcpCrAcked(conn) => {
                shared.refuse(conn, false);
                None
            }
            FsmEvent::TcpConnectionConfirmed(conn) => {
                shared.refuse(conn, true);
                None
            }
            // A start is ignored; the timers of Idle, Connect and Active do not run; messages are
            // handled by the state.
            FsmEvent::ManualStart
            | FsmEvent::ConnectRetryTimerExpires { .. }
            | FsmEvent::IdleHoldTimerExpires
            | FsmEvent::BgpOpen(_)
            | FsmEvent::KeepAliveMsg
            | FsmEvent::UpdateMsg(_)
            | FsmEvent::RouteRefreshMsg(_) => None,
        }
    }

    /// Enters a state in which no timer runs.
    fn enter(&mut self, state: FsmState) {
        self.timers.stop_all();
        self.state = state;
    }

    /// From Idle to Connect, or to Active with PassiveTcpEstablishment.
    fn leave_idle(&mut self, shared: &mut Shared, now: Instant) {
        self.enter(FsmState::Active);
        if !shared.config().passive {
            self.connect(shared, now);
        }
    }

    fn connect(&mut self, shared: &mut Shared, now: Instant) {
        self.state = FsmState::Connect;
        shared.emit(Output::Connect);
        self.start_connect_retry(shared, now);
    }

    /// From Connect to Active.
    pub(crate) fn abort_connect(&mut self, shared: &mut Shared) {
        if matches!(self.state, FsmState::Connect) {
            shared.emit(Output::AbortConnect);
            self.enter(FsmState::Active);
        }
    }

    /// In Active: whether to connect. `served`: another connection with the peer has reached an
    /// accepted OPEN.
    fn needs_connection(&self, served: bool, shared: &Shared) -> bool {
        matches!(self.state, FsmState::Active) && !shared.config().passive && !served
    }

    /// In Active: starts the ConnectRetryTimer, unless it is running.
    pub(crate) fn connect_later(&mut self, served: bool, shared: &mut Shared, now: Instant) {
        if self.needs_connection(served, shared) && !self.timers.is_running(Timer::ConnectRetry) {
            self.start_connect_retry(shared, now);
        }
    }

    fn start_connect_retry(&mut self, shared: &mut Shared, now: Instant) {
        let time = shared.config().connect_retry;
        self.timers.start(Timer::ConnectRetry, now + shared.jitter().shorten(time));
    }

    /// In Active: starts the ConnectRetryTimer with a time that doubles with each failure.
    pub(crate) fn back_off(&mut self, served: bool, retained: bool, shared: &mut Shared, now: Instant) {
        if self.needs_connection(served, shared) {
            self.timers.start(Timer::ConnectRetry, shared.next_connect(retained, now));
        }
    }

    /// The session is established on another connection: this one need not connect.
    pub(crate) fn stop_connecting(&mut self, shared: &mut Shared) {
        self.abort_connect(shared);
        self.timers.stop(Timer::ConnectRetry);
    }

    /// To Idle with the IdleHoldTimer, during which connections are refused for a time that doubles
    /// (DampPeerOscillations).
    pub(crate) fn damp(&mut self, shared: &mut Shared, now: Instant) {
        self.abort_connect(shared);
        self.enter(FsmState::Idle);
        let until = shared.next_idle_hold(now);
        self.timers.start(Timer::IdleHold, until);
        shared.emit(Output::Damped { until });
    }

    /// To Idle after an automatic stop, with the IdleHoldTimer. A peer that sent too many routes
    /// will do so again: it is damped.
    fn restart_later(&mut self, cease: &Cease, shared: &mut Shared, now: Instant) {
        if cease.subcode == CeaseSubcode::MaximumPrefixes && !shared.config().idle_hold_max.is_zero() {
            return self.damp(shared, now);
        }
        self.enter(FsmState::Idle);
        let time = shared.config().idle_hold;
        self.timers.start(Timer::IdleHold, now + shared.jitter().shorten(time));
    }

    /// To OpenSent.
    fn send_open(&mut self, conn: ConnId, direction: Direction, shared: &mut Shared, now: Instant) {
        let mut connection = Connection::new(conn, direction, now);
        connection.queue(&Message::Open(local_open(shared.config(), shared.is_restarting(now))));
        shared.statistics_mut().sent.opens += 1;
        self.enter(FsmState::OpenSent(connection));
        self.timers.start(Timer::Hold, now + intervals::OPEN_HOLD_TIME);
    }

    /// From OpenSent to OpenConfirm; the KEEPALIVE is sent when it is certain that the connection
    /// stays, see [`Fsm::confirm`].
    pub(crate) fn accept_open(&mut self, negotiated: Box<Negotiated>, now: Instant) {
        let state = std::mem::replace(&mut self.state, FsmState::Idle);
        let FsmState::OpenSent(connection) = state else {
            self.state = state;
            return;
        };
        self.timers.stop_all();
        if negotiated.hold_time > 0 {
            self.timers.start(Timer::Hold, now + intervals::hold_time(&negotiated));
        }
        self.timers.start(Timer::CollisionWait, now + OPEN_WAIT);
        self.state = FsmState::OpenConfirm(connection, Confirming { negotiated, keepalive_received: false });
    }

    /// In OpenConfirm: the connection stays. Sends the KEEPALIVE; when the peer's has been received
    /// the session is established.
    pub(crate) fn confirm(&mut self, shared: &mut Shared, now: Instant) -> Option<Effect> {
        self.timers.stop(Timer::CollisionWait);
        self.send_keepalive(shared, now);
        match &self.state {
            FsmState::OpenConfirm(_, confirming) if confirming.keepalive_received => self.establish(shared, now),
            _ => None,
        }
    }

    /// From OpenConfirm to Established.
    fn establish(&mut self, shared: &mut Shared, now: Instant) -> Option<Effect> {
        let state = std::mem::replace(&mut self.state, FsmState::Idle);
        let FsmState::OpenConfirm(connection, Confirming { negotiated, .. }) = state else {
            self.state = state;
            return None;
        };
        let established = Box::new(Established::new(*negotiated, shared.config(), now));
        let waits = connection.has_queued();
        self.state = FsmState::Established(connection, established);
        if waits {
            self.start_send_hold(shared, now);
        }
        Some(Effect::Established)
    }

    fn negotiated(&self) -> Option<&Negotiated> {
        match &self.state {
            FsmState::OpenConfirm(_, confirming) => Some(&confirming.negotiated),
            FsmState::Established(_, established) => Some(established.negotiated()),
            FsmState::Idle | FsmState::Connect | FsmState::Active | FsmState::OpenSent(_) => None,
        }
    }

    /// A message shows that the peer is alive: restarts the HoldTimer, if it is used.
    fn restart_hold_timer(&mut self, event: &FsmEvent<'_>, now: Instant) {
        let is_message = matches!(
            event,
            FsmEvent::KeepAliveMsg | FsmEvent::UpdateMsg(_) | FsmEvent::RouteRefreshMsg(_) | FsmEvent::BgpOpen(_)
        );
        if is_message
            && self.timers.is_running(Timer::Hold)
            && let Some(negotiated) = self.negotiated()
        {
            let deadline = now + intervals::hold_time(negotiated);
            self.timers.start(Timer::Hold, deadline);
        }
    }

    /// Queues a KEEPALIVE, unless one waits, and restarts the KeepaliveTimer, if it is used.
    fn send_keepalive(&mut self, shared: &mut Shared, now: Instant) {
        if let Some(negotiated) = self.negotiated().filter(|negotiated| negotiated.hold_time > 0) {
            let interval = shared.jitter().shorten(intervals::keepalive_time(negotiated));
            let interval = interval.max(intervals::LEAST_KEEPALIVE_INTERVAL);
            self.timers.start(Timer::Keepalive, now + interval);
        }
        if self.connection_mut().is_some_and(Connection::queue_keepalive) {
            shared.statistics_mut().sent.keepalives += 1;
            if !self.timers.is_running(Timer::SendHold) {
                self.start_send_hold(shared, now);
            }
        }
    }

    /// In Established: watches how long the peer accepts nothing. Without a hold time there is no
    /// limit (RFC 9687 §4.3).
    fn start_send_hold(&mut self, shared: &Shared, now: Instant) {
        let FsmState::Established(_, established) = &self.state else { return };
        let negotiated = established.negotiated();
        if negotiated.hold_time > 0 {
            let usual = intervals::send_hold_time(negotiated);
            self.timers.start(Timer::SendHold, now + shared.config().send_hold.unwrap_or(usual));
        }
    }

    /// Sends a ROUTE-REFRESH at once, before any route.
    pub(crate) fn queue_message(&mut self, message: &Message<'_>) {
        if let Some(connection) = self.connection_mut() {
            connection.queue(message);
        }
    }

    /// The octets that wait to be written: messages of the FSM first, then routes.
    pub(crate) fn transmit(&mut self, shared: &mut Shared, now: Instant) -> Option<Transmit> {
        let connection = self.connection_mut()?;
        let conn = connection.id();
        let mut octets = connection.take_queued();
        if let Some(established) = self.established_mut() {
            if established.encode_queued(FULL_TRANSMIT, &mut octets, shared) {
                self.start_send_hold(shared, now);
            } else {
                self.timers.stop(Timer::SendHold);
            }
        }
        if octets.is_empty() {
            return None;
        }
        shared.statistics_mut().sent.octets += octets.len() as u64;
        Some(Transmit { conn, octets })
    }

    pub(crate) fn take_framer(&mut self) -> Option<Framer> {
        self.connection_mut().map(Connection::take_framer)
    }

    pub(crate) fn put_framer(&mut self, framer: Framer) {
        if let Some(connection) = self.connection_mut() {
            connection.put_framer(framer);
        }
    }

    fn unexpected(&mut self, message: MessageType, subcode: FsmSubcode, shared: &mut Shared) -> Option<Effect> {
        self.fail(Notification::with_data(subcode, &[message.number()]), shared)
    }

    fn fail(&mut self, notification: Notification, shared: &mut Shared) -> Option<Effect> {
        self.close(DownReason::Sent(notification.clone()), Some(notification), shared)
    }

    /// The connection ends. A lost one is closed already.
    fn close(&mut self, reason: DownReason, last: Option<Notification>, shared: &mut Shared) -> Option<Effect> {
        let from = self.state();
        let notify = if reason == DownReason::ConnectionLost { Ending::Lost } else { Ending::Close(last) };
        let (connection, established) = self.release(notify, shared)?;
        Some(Effect::Closed(Closed { direction: connection.direction(), from, reason, established }))
    }

    /// Closes the connection without further effects: it collides with another, or is replaced.
    /// Returns its session.
    pub(crate) fn dump(&mut self, last: Option<Notification>, shared: &mut Shared) -> Option<Box<Established>> {
        self.release(Ending::Close(last), shared)?.1
    }

    /// Closes the connection because the session is stopped: with a Hard Reset where the peer would
    /// retain routes over a plain Cease.
    fn stop(&mut self, cease: &Cease, shared: &mut Shared) {
        let plain = Notification::cease(cease.subcode, &cease.communication);
        let hard = self.established().is_some_and(|established| {
            graceful::needs_hard_reset(shared.config(), established.negotiated(), cease.subcode)
        });
        let notification = if hard { plain.hard_reset() } else { plain };
        if let Some(established) = self.dump(Some(notification.clone()), shared) {
            let reason = DownReason::Sent(notification);
            let graceful = graceful::families(shared.config(), established.negotiated(), &reason);
            shared.emit(Output::Down(Box::new(Down { reason, graceful })));
        }
    }

    /// To Active, without the connection and without timers.
    fn release(&mut self, ending: Ending, shared: &mut Shared) -> Option<(Connection, Option<Box<Established>>)> {
        let max_message = self.negotiated().map_or(MAX_MESSAGE, |negotiated| negotiated.max_message);
        let (mut connection, established) = match std::mem::replace(&mut self.state, FsmState::Active) {
            FsmState::OpenSent(connection) | FsmState::OpenConfirm(connection, _) => (connection, None),
            FsmState::Established(connection, established) => (connection, Some(established)),
            without @ (FsmState::Idle | FsmState::Connect | FsmState::Active) => {
                self.state = without;
                return None;
            }
        };
        self.timers.stop_all();
        if let Ending::Close(last) = ending {
            let mut final_octets = connection.take_queued();
            if let Some(notification) = last {
                Message::Notification(notification.fit(max_message)).encode_to(&mut final_octets);
                shared.statistics_mut().sent.notifications += 1;
            }
            shared.emit(Output::Close { conn: connection.id(), final_octets });
        }
        Some((connection, established))
    }
}

/// How a connection ends.
enum Ending {
    /// It is closed already.
    Lost,
    /// It is to be closed, with this NOTIFICATION.
    Close(Option<Notification>),
}
