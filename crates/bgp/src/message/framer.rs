//! Splits a stream of octets into messages (RFC 4271 §4.1, RFC 8654).

use crate::message::code::{HeaderSubcode, MessageType};
use crate::message::notification::Notification;
use crate::message::size::{HEADER_LEN, MAX_MESSAGE};

const MARKER: [u8; 16] = [0xff; 16];

/// Buffers the octets of a peer until messages are complete. Holds at most one message and what was
/// pushed after it.
#[derive(Clone, Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    start: usize,
    max: usize,
}

/// A complete message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub message_type: MessageType,
    /// All its octets, header included.
    pub octets: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The octets after the header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.octets[HEADER_LEN..]
    }
}

impl Default for Framer {
    fn default() -> Self {
        Framer { buffer: Vec::new(), start: 0, max: MAX_MESSAGE }
    }
}

impl Framer {
    /// An empty one, for messages up to 4096 octets.
    #[must_use]
    pub fn new() -> Self {
        Framer::default()
    }

    /// Sets the maximum message length; OPEN and KEEPALIVE stay limited to 4096 (RFC 8654 §4).
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Adds octets as they arrived.
    pub fn push(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// The next complete message, if there is one. Call until `None` before the next
    /// [`push`](Self::push).
    ///
    /// # Errors
    /// The NOTIFICATION to close the session with: marker, length or type are wrong. The stream
    /// cannot be decoded any further.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Notification> {
        let pending = &self.buffer[self.start..];
        let Some(&header) = pending.first_chunk::<HEADER_LEN>() else {
            // A wrong marker is reported as soon as it arrives: the rest of the header may never
            // come.
            let seen = pending.len().min(MARKER.len());
            return if pending[..seen] == MARKER[..seen] {
                Ok(None)
            } else {
                Err(Notification::new(HeaderSubcode::NotSynchronized))
            };
        };
        let (message_type, len) = check_header(&header, self.max)?;
        if pending.len() < len {
            return Ok(None);
        }
        let begin = self.start;
        self.start += len;
        Ok(Some(Frame { message_type, octets: &self.buffer[begin..begin + len] }))
    }

    /// Octets of an incomplete message.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// Checks a header; returns the message's type and length.
fn check_header(header: &[u8; HEADER_LEN], max: usize) -> Result<(MessageType, usize), Notification> {
    let &[ref marker @ .., a, b, number] = header;
    if *marker != MARKER {
        return Err(Notification::new(HeaderSubcode::NotSynchronized));
    }
    let len = usize::from(u16::from_be_bytes([a, b]));
    let message_type = MessageType::from_number(number);
    let (least, most) = match message_type {
        Some(MessageType::Open) => (HEADER_LEN + 10, MAX_MESSAGE),
        Some(MessageType::Update) => (HEADER_LEN + 4, max),
        Some(MessageType::Notification) => (HEADER_LEN + 2, max),
        Some(MessageType::Keepalive) => (HEADER_LEN, HEADER_LEN),
        // A wrong length of a ROUTE-REFRESH has an error code of its own (RFC 7313 §5), given where
        // the message is read.
        Some(MessageType::RouteRefresh) | None => (HEADER_LEN, max),
    };
    if len < least || len > most {
        return Err(Notification::with_data(HeaderSubcode::BadLength, &[a, b]));
    }
    match message_type {
        Some(message_type) => Ok((message_type, len)),
        None => Err(Notification::with_data(HeaderSubcode::BadType, &[number])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::size::MAX_EXTENDED_MESSAGE;

    fn header(len: u16, message_type: u8) -> Vec<u8> {
        let mut octets = MARKER.to_vec();
        octets.extend_from_slice(&len.to_be_bytes());
        octets.push(message_type);
        octets
    }

    #[test]
    fn pieces_of_any_size_make_the_same_messages() {
        let mut stream = header(19, MessageType::Keepalive.number());
        stream.extend(header(23, MessageType::Update.number()));
        stream.extend([0; 4]);
        stream.extend(header(19, MessageType::Keepalive.number()));
        for size in [1, 2, 7, 20, stream.len()] {
            let mut framer = Framer::new();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                framer.push(piece);
                while let Some(frame) = framer.next_frame().unwrap() {
                    found.push((frame.message_type, frame.body().len()));
                }
            }
            assert_eq!(
                found,
                [(MessageType::Keepalive, 0), (MessageType::Update, 4), (MessageType::Keepalive, 0)],
                "pieces of {size}"
            );
            assert_eq!(framer.pending(), 0);
        }
    }

    #[test]
    fn each_header_fault_has_its_subcode_and_data() {
        let mut marker = header(19, MessageType::Keepalive.number());
        marker[3] = 0;
        let table = [
            (marker, HeaderSubcode::NotSynchronized, &[][..]),
            (vec![0xff, 0xfe], HeaderSubcode::NotSynchronized, &[]),
            (header(18, MessageType::Keepalive.number()), HeaderSubcode::BadLength, &[0, 18]),
            (header(20, MessageType::Keepalive.number()), HeaderSubcode::BadLength, &[0, 20]),
            (header(4097, MessageType::Update.number()), HeaderSubcode::BadLength, &[0x10, 1]),
            (header(22, MessageType::Update.number()), HeaderSubcode::BadLength, &[0, 22]),
            (header(28, MessageType::Open.number()), HeaderSubcode::BadLength, &[0, 28]),
            (header(20, MessageType::Notification.number()), HeaderSubcode::BadLength, &[0, 20]),
            (header(19, 6), HeaderSubcode::BadType, &[6]),
        ];
        for (octets, subcode, data) in table {
            let mut framer = Framer::new();
            framer.push(&octets);
            assert_eq!(framer.next_frame(), Err(Notification::with_data(subcode, data)), "{octets:?}");
        }
    }

    #[test]
    fn extended_messages_are_for_updates_not_opens() {
        let mut framer = Framer::new();
        framer.set_max(MAX_EXTENDED_MESSAGE);
        framer.push(&header(65535, MessageType::Update.number()));
        assert_eq!(framer.next_frame(), Ok(None));
        let mut framer = Framer::new();
        framer.set_max(MAX_EXTENDED_MESSAGE);
        framer.push(&header(4097, MessageType::Open.number()));
        assert!(framer.next_frame().is_err());
    }
}
