//! What arrives on a connection: the message events of RFC 4271 §8.1.5, by phase.

use crate::afi_safi::AfiSafi;
use crate::attribute::LocalSpeaker;
use crate::message::{
    FamilyNumbers, FsmSubcode, MAX_EXTENDED_MESSAGE, Message, MessageType, Notification, NotificationCode, Open,
    OpenSubcode, RefreshKind, RouteRefresh, UpdateSubcode,
};
use crate::session::Session;
use crate::session::collision::Collision;
use crate::session::conn::{Conn, Phase};
use crate::session::event::{ConnId, DownReason, Output};
use crate::session::negotiated::negotiate;
use crate::session::timers::KEEPALIVE_LEAST;
use crate::update::{Context, Decoded, Update, decode};
use std::time::{Duration, Instant};

impl Session {
    pub(super) fn received(&mut self, id: ConnId, octets: &[u8], now: Instant) {
        let Some(conn) = self.conn(id) else { return };
        // Out of the connection while messages borrow from it; when the connection goes, so does it.
        let mut framer = std::mem::take(&mut conn.framer);
        framer.push(octets);
        self.statistics.received.octets += octets.len() as u64;
        loop {
            let frame = match framer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(notification) => return self.fail(id, notification, now),
            };
            let is_open = frame.message_type == MessageType::Open;
            match Message::decode(frame) {
                Ok(message) => self.message(id, message, now),
                // A broken NOTIFICATION is not answered with another (RFC 4271 §6.4).
                Err(_) if frame.message_type == MessageType::Notification => {
                    return self.on_connection_lost(
                        id,
                        DownReason::Received(Notification::new(NotificationCode::from_numbers(0, 0))),
                        None,
                        now,
                    );
                }
                Err(notification) => return self.fail(id, notification, now),
            }
            if self.conn(id).is_none() {
                return;
            }
            if is_open && self.config.extended_message {
                framer.set_max(MAX_EXTENDED_MESSAGE);
            }
        }
        if let Some(conn) = self.conn(id) {
            conn.framer = framer;
        }
    }

    fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    fn message(&mut self, id: ConnId, message: Message<'_>, now: Instant) {
        let received = &mut self.statistics.received;
        *match message {
            Message::Open(_) => &mut received.opens,
            Message::Update(_) => &mut received.updates,
            Message::Notification(_) => &mut received.notifications,
            Message::Keepalive => &mut received.keepalives,
            Message::RouteRefresh(_) => &mut received.refreshes,
        } += 1;
        let Some(conn) = self.conn(id) else { return };
        conn.restart_hold_timer(now);
        let unexpected = match conn.phase {
            Phase::OpenSent => FsmSubcode::UnexpectedInOpenSent,
            Phase::OpenConfirm(_) => FsmSubcode::UnexpectedInOpenConfirm,
            Phase::Established => FsmSubcode::UnexpectedInEstablished,
        };
        let message_type = message.message_type().number();
        match (&mut conn.phase, message) {
            (_, Message::Notification(notification)) => {
                self.on_connection_lost(id, DownReason::Received(notification), None, now);
            }
            (Phase::OpenSent, Message::Open(open)) => self.open(id, open, now),
            (Phase::OpenConfirm(_), Message::Keepalive) if conn.undecided_until.is_some() => {
                conn.confirmed_by_peer = true;
            }
            (Phase::OpenConfirm(_), Message::Keepalive) => {
                if let Phase::OpenConfirm(negotiated) = std::mem::replace(&mut conn.phase, Phase::Established) {
                    self.establish(id, *negotiated, now);
                }
            }
            (Phase::Established, Message::Keepalive) => {}
            (Phase::Established, Message::Update(body)) => self.update(id, body, now),
            (Phase::Established, Message::RouteRefresh(refresh)) => self.refresh(refresh),
            (Phase::OpenSent, Message::Update(_) | Message::Keepalive | Message::RouteRefresh(_))
            | (Phase::OpenConfirm(_), Message::Open(_) | Message::Update(_) | Message::RouteRefresh(_))
            | (Phase::Established, Message::Open(_)) => {
                self.fail(id, Notification::with_data(unexpected, &[message_type]), now);
            }
        }
    }

    fn open(&mut self, id: ConnId, open: Open, now: Instant) {
        let negotiated = match negotiate(&self.config, open) {
            Ok(negotiated) => negotiated,
            Err(notification) if notification.code == NotificationCode::OpenMessage(OpenSubcode::BadIdentifier) => {
                let reason = DownReason::SameIdentifier(self.config.router_id);
                return self.on_connection_lost(id, reason, Some(notification), now);
            }
            Err(notification) => return self.fail(id, notification, now),
        };
        let outcome = self.settle_collision(id, &negotiated, now);
        if outcome == Collision::Lost {
            return;
        }
        let interval = Duration::from_secs(negotiated.hold_time.into()) / 3;
        let Some(conn) = self.conn(id) else { return };
        conn.timers = (negotiated.hold_time > 0).then_some((interval * 3, interval));
        conn.hold_until = conn.timers.map(|(hold, _)| now + hold);
        conn.phase = Phase::OpenConfirm(Box::new(negotiated));
        if outcome == Collision::Won {
            self.confirm(id, now);
        }
    }

    /// Takes the connection for the session, as far as it is for us: our KEEPALIVE says so, and with the peer's it is up.
    pub(super) fn confirm(&mut self, id: ConnId, now: Instant) {
        let Some(index) = self.conns.iter().position(|conn| conn.id == id) else { return };
        let conn = &mut self.conns[index];
        conn.undecided_until = None;
        if let Some((_, interval)) = conn.timers {
            conn.keepalive_at = Some(now + self.jitter.shorten(interval).max(KEEPALIVE_LEAST));
        }
        if conn.send_keepalive(now) {
            self.statistics.sent.keepalives += 1;
        }
        if conn.confirmed_by_peer
            && let Phase::OpenConfirm(negotiated) = std::mem::replace(&mut conn.phase, Phase::Established)
        {
            self.establish(id, *negotiated, now);
        }
    }

    fn update(&mut self, id: ConnId, body: &[u8], now: Instant) {
        let Some(up) = &mut self.up else { return };
        let context = Context {
            four_octet_as: up.negotiated.four_octet_as,
            families: up.negotiated.families,
            add_path: up.negotiated.add_path_receive,
            external: up.negotiated.external && !self.config.confederation_peer,
            internal: !up.negotiated.external,
            refuse_confed: up.negotiated.external && !self.config.confederation_peer,
        };
        let speaker = LocalSpeaker {
            local_as: self.config.local_as,
            router_as: self.config.router_as,
            allow_own_as: self.config.allow_own_as,
            router_id: self.config.router_id,
        };
        match decode(body, &context, &speaker, &mut self.cache) {
            Ok(Decoded { mut update, end_of_rib, disabled }) => {
                if !update.errors.is_empty() {
                    Message::Update(body).encode_to(&mut update.octets);
                }
                if update != Update::default() {
                    self.outputs.push_back(Output::Update(Box::new(update)));
                }
                self.outputs.extend(end_of_rib.map(Output::EndOfRib));
                if let Some(family) = disabled.iter().next() {
                    self.fail(id, Notification::new(framing_lost(family)), now);
                }
            }
            Err(fault) => {
                let (notification, errors) = *fault;
                let mut update = Update { errors, ..Update::default() };
                Message::Update(body).encode_to(&mut update.octets);
                self.outputs.push_back(Output::Update(Box::new(update)));
                self.fail(id, notification, now);
            }
        }
    }

    /// RFC 2918 §4: a family that was not negotiated is ignored; so are the marks of RFC 7313 where they were not negotiated.
    fn refresh(&mut self, RouteRefresh { family, kind }: RouteRefresh) {
        let Some(up) = &mut self.up else { return };
        if let RefreshKind::Other(subtype) = kind {
            if !up.unknown_refreshes.contains(&subtype) {
                up.unknown_refreshes.push(subtype);
                self.outputs.push_back(Output::UnknownRefresh(RouteRefresh { family, kind }));
            }
            return;
        }
        let heard = match kind {
            RefreshKind::Request => self.config.route_refresh,
            RefreshKind::Begin | RefreshKind::End => up.negotiated.enhanced_route_refresh,
            RefreshKind::Other(_) => false,
        };
        let known = FamilyNumbers::known(family).filter(|family| up.negotiated.families.contains(*family));
        if let Some(family) = known.filter(|_| heard) {
            self.outputs.push_back(Output::RouteRefresh { family, kind });
        }
    }
}

/// The NOTIFICATION for a field in which the boundaries of the NLRIs are lost. RFC 7606 §5.3 and RFC 4760 §7 leave the choice of ignoring
/// the family for the rest of the session, which would leave the peer's later changes unheard.
const fn framing_lost(family: AfiSafi) -> UpdateSubcode {
    match family {
        AfiSafi::Ipv4Unicast => UpdateSubcode::InvalidNetworkField,
        AfiSafi::Ipv6Unicast | AfiSafi::Flow(_) => UpdateSubcode::OptionalAttribute,
    }
}
