//! The events of RFC 4271 §8.1 as the FSM takes them, in the RFC's order and with its numbers.

use crate::message::{Notification, Open, RouteRefresh};
use crate::session::event::{Cease, ConnId};

/// An event of one FSM. Not here: 3 to 7 (the starts are one, with the options of the
/// configuration), 12 and 20 (no DelayOpenTimer), 14 and 15 (whoever owns the listening socket
/// decides whose a connection is), 24 (a wrong version is in `BgpOpenMsgErr`).
#[derive(Debug)]
pub(crate) enum FsmEvent<'a> {
    /// 1.
    ManualStart,
    /// 2.
    ManualStop(&'a Cease),
    /// 8, after which the IdleHoldTimer starts the FSM again.
    AutomaticStop(&'a Cease),
    /// 9. `served`: another connection with this peer has got as far as an accepted OPEN, so that
    ///    none need be opened.
    ConnectRetryTimerExpires { served: bool },
    /// 10.
    HoldTimerExpires,
    /// 11.
    KeepaliveTimerExpires,
    /// 13.
    IdleHoldTimerExpires,
    /// 16: the connection that was asked for is there.
    TcpCrAcked(ConnId),
    /// 17: the peer has opened a connection.
    TcpConnectionConfirmed(ConnId),
    /// 18: a connection did not come about, was closed or broke.
    TcpConnectionFails,
    /// 19.
    BgpOpen(Open),
    /// 21.
    BgpHeaderErr(Notification),
    /// 22, and 24.
    BgpOpenMsgErr(Notification),
    /// 25.
    NotifMsg(Notification),
    /// 26.
    KeepAliveMsg,
    /// 27, and 28 where the body turns out to be malformed.
    UpdateMsg(&'a [u8]),
    /// 29 (RFC 9687).
    SendHoldTimerExpires,
    /// A ROUTE-REFRESH (RFC 2918); no number.
    RouteRefreshMsg(RouteRefresh),
    /// A ROUTE-REFRESH of wrong length (RFC 7313 §5); no number.
    RouteRefreshMsgErr(Notification),
}
