//! Encodes and decodes a whole message.

use crate::message::code::{HeaderSubcode, MessageType, RouteRefreshSubcode};
use crate::message::framer::Frame;
use crate::message::notification::Notification;
use crate::message::open::Open;
use crate::message::refresh::RouteRefresh;

/// A message. An UPDATE stays in its octets: what they mean depends on what the session negotiated,
/// see [`decode_update`](crate::decode_update).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// OPEN.
    Open(Open),
    /// UPDATE: the octets after the header.
    Update(&'a [u8]),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
}

impl<'a> Message<'a> {
    /// Reads one framed message.
    ///
    /// # Errors
    /// The NOTIFICATION to close the session with.
    pub fn decode(frame: Frame<'a>) -> Result<Self, Notification> {
        let body = frame.body();
        match frame.message_type {
            MessageType::Open => Open::decode(body).map(Message::Open),
            MessageType::Update => Ok(Message::Update(body)),
            MessageType::Notification => Notification::decode(body)
                .map(Message::Notification)
                .ok_or_else(|| Notification::with_data(HeaderSubcode::BadLength, &length_of(frame.octets))),
            MessageType::Keepalive => Ok(Message::Keepalive),
            MessageType::RouteRefresh => RouteRefresh::decode(body)
                .map(Message::RouteRefresh)
                .ok_or_else(|| Notification::with_data(RouteRefreshSubcode::InvalidLength, frame.octets)),
        }
    }

    /// Its type.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Message::Open(_) => MessageType::Open,
            Message::Update(_) => MessageType::Update,
            Message::Notification(_) => MessageType::Notification,
            Message::Keepalive => MessageType::Keepalive,
            Message::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }

    /// Appends the whole message, header included.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        let start = begin_message(self.message_type(), out);
        match self {
            Message::Open(open) => open.encode_body(out),
            Message::Update(body) => out.extend_from_slice(body),
            Message::Notification(notification) => notification.encode_body(out),
            Message::Keepalive => {}
            Message::RouteRefresh(refresh) => refresh.encode_body(out),
        }
        end_message(start, out);
    }
}

/// Appends a header with an open length; returns where the message starts.
pub(crate) fn begin_message(message_type: MessageType, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, message_type.number()]);
    start
}

/// Fills in the length of the message that starts at `start`.
pub(crate) fn end_message(start: usize, out: &mut [u8]) {
    let len = length_of(&out[start..]);
    out[start + 16..start + 18].copy_from_slice(&len);
}

fn length_of(message: &[u8]) -> [u8; 2] {
    (message.len() as u16).to_be_bytes()
}
