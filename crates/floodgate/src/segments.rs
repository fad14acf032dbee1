//! Extracts BGP messages from packets: reassembles each direction of each TCP connection.

use crate::capture::Link;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// The marker of every BGP message (RFC 4271 §4.1).
pub(crate) const MARKER: [u8; 16] = [0xff; 16];

/// Octets of a message's header.
const HEADER: usize = 19;

/// The port of BGP.
const PORT: u16 = config::BGP_PORT;

/// Most octets that wait for earlier ones, in one direction of a connection. More means that some
/// are not in the capture.
const MAX_WAITING_OCTETS: usize = 1 << 20;

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Direction {
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives.
    pub to: SocketAddr,
}

/// A TCP segment.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    /// Between whom.
    pub direction: Direction,
    /// Sequence number of the first octet.
    sequence: u32,
    syn: bool,
    /// The octets.
    pub payload: &'a [u8],
}

/// The TCP segment in a packet, if there is one.
pub(crate) fn segment(link: Link, octets: &[u8]) -> Option<Segment<'_>> {
    let packet = match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(octets).ok()?,
        Link::Ip(skip) => LaxSlicedPacket::from_ip(octets.get(skip..)?).ok()?,
        Link::Cooked => of_type(octets.get(14..16)?, octets.get(16..)?),
        Link::Cooked2 => of_type(octets.get(..2)?, octets.get(20..)?),
    };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
    let (from, to): (std::net::IpAddr, std::net::IpAddr) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let direction =
        Direction { from: SocketAddr::new(from, tcp.source_port()), to: SocketAddr::new(to, tcp.destination_port()) };
    Some(Segment { direction, sequence: tcp.sequence_number(), syn: tcp.syn(), payload: tcp.payload() })
}

fn of_type<'a>(kind: &[u8], payload: &'a [u8]) -> LaxSlicedPacket<'a> {
    let kind = kind.try_into().map_or(0, u16::from_be_bytes);
    LaxSlicedPacket::from_ether_type(EtherType(kind), payload)
}

/// Where the first message begins: a marker with a valid length.
pub(crate) fn first_message(octets: &[u8]) -> Option<usize> {
    let begins = |at: usize| {
        let rest = octets.get(at..).unwrap_or_default();
        // A length of 0xff00 and more is another octet of the marker.
        let fits = |length: &[u8]| matches!(length, [high, low] if *high != 0xff && u16::from_be_bytes([*high, *low]) >= HEADER as u16);
        rest.starts_with(&MARKER) && rest.get(16..18).is_none_or(fits)
    };
    (0..octets.len().saturating_sub(MARKER.len() - 1)).find(|at| begins(*at))
}

/// The result for a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Complete messages, concatenated.
    pub octets: Vec<u8>,
    /// Octets that are not in the capture, or of a message whose beginning is not: skipped.
    pub lost: u64,
}

/// Connections in a capture.
#[derive(Debug, Default)]
pub(crate) struct Streams(HashMap<Direction, Stream>);

#[derive(Debug)]
struct Stream {
    /// Sequence number of the next octet.
    next: u32,
    /// Octets that are not a complete message yet.
    rest: Vec<u8>,
    /// Whether `rest` begins a message.
    synchronous: bool,
    /// Segments beyond `next`, by their distance from it on arrival.
    ahead: BTreeMap<u32, Vec<u8>>,
}

impl Streams {
    /// Adds a segment; returns the messages that are complete now. Of connections to other ports
    /// only those that begin with a marker are used.
    pub(crate) fn take(&mut self, segment: &Segment<'_>) -> Messages {
        let Segment { direction, sequence, syn, payload } = *segment;
        let first = sequence.wrapping_add(u32::from(syn));
        let is_bgp = direction.from.port() == PORT || direction.to.port() == PORT || payload.starts_with(&MARKER);
        if syn {
            self.0.remove(&direction);
        }
        if !is_bgp && !self.0.contains_key(&direction) {
            return Messages::default();
        }
        let stream = self.0.entry(direction).or_insert_with(|| Stream {
            next: first,
            rest: Vec::new(),
            synchronous: syn,
            ahead: BTreeMap::new(),
        });
        let mut messages = Messages::default();
        stream.put(first, payload, &mut messages);
        messages
    }

    /// Remaining octets of messages whose end is not in the capture.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = (Direction, usize)> {
        let left = |stream: &Stream| stream.rest.len() + stream.ahead.values().map(Vec::len).sum::<usize>();
        self.0.iter().map(move |(direction, stream)| (*direction, left(stream))).filter(|(_, left)| *left > 0)
    }
}

impl Stream {
    fn put(&mut self, first: u32, payload: &[u8], messages: &mut Messages) {
        if payload.is_empty() {
            return;
        }
        // Ahead or behind by less than half of all sequence numbers.
        let distance = first.wrapping_sub(self.next).cast_signed();
        if distance > 0 {
            self.ahead.insert(first, payload.to_owned());
            if self.ahead.values().map(Vec::len).sum::<usize>() <= MAX_WAITING_OCTETS {
                return;
            }
            // What is between is not in the capture.
            let next = self.next;
            let nearest = self.ahead.keys().copied().min_by_key(|key| key.wrapping_sub(next)).unwrap_or(first);
            messages.lost += self.rest.len() as u64 + u64::from(nearest.wrapping_sub(next));
            (self.next, self.synchronous) = (nearest, false);
            self.rest.clear();
        } else {
            // A retransmission: known octets are ignored.
            self.append(payload.get(distance.unsigned_abs() as usize..).unwrap_or_default());
        }
        let next =
            |stream: &Stream| stream.ahead.keys().copied().find(|key| key.wrapping_sub(stream.next).cast_signed() <= 0);
        while let Some(key) = next(self) {
            let octets = self.ahead.remove(&key).unwrap_or_default();
            let known = self.next.wrapping_sub(key) as usize;
            self.append(octets.get(known..).unwrap_or_default());
        }
        self.cut(messages);
    }

    fn append(&mut self, octets: &[u8]) {
        self.rest.extend_from_slice(octets);
        self.next = self.next.wrapping_add(octets.len() as u32);
    }

    /// Moves complete messages.
    fn cut(&mut self, messages: &mut Messages) {
        if !self.synchronous {
            let Some(at) = first_message(&self.rest) else {
                // A marker may begin in the last octets.
                let known = self.rest.len().saturating_sub(MARKER.len() - 1);
                messages.lost += known as u64;
                self.rest.drain(..known);
                return;
            };
            messages.lost += at as u64;
            self.rest.drain(..at);
            self.synchronous = true;
        }
        let mut whole = 0;
        while let Some(header) = self.rest.get(whole..whole + HEADER) {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            if !header.starts_with(&MARKER) || length < HEADER {
                // Not a message: the decoder reports the error, and the next one is searched for.
                whole = self.rest.len();
                self.synchronous = false;
                break;
            }
            if self.rest.len() < whole + length {
                break;
            }
            whole += length;
        }
        messages.octets.extend(self.rest.drain(..whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(parts: &[(u32, &[u8])], syn: bool) -> (Vec<u8>, u64, usize) {
        let direction = Direction { from: "192.0.2.1:179".parse().unwrap(), to: "192.0.2.2:4000".parse().unwrap() };
        let mut streams = Streams::default();
        let (mut octets, mut lost) = (Vec::new(), 0);
        if syn {
            streams.take(&Segment { direction, sequence: u32::MAX - 10, syn, payload: &[] });
        }
        for (at, payload) in parts {
            let sequence = (u32::MAX - 9).wrapping_add(*at);
            let messages = streams.take(&Segment { direction, sequence, syn: false, payload });
            octets.extend(messages.octets);
            lost += messages.lost;
        }
        let left = streams.unfinished().map(|(_, left)| left).sum();
        (octets, lost, left)
    }

    #[test]
    fn messages_are_whole_whatever_the_segments_are() {
        let keepalive = [&MARKER[..], &[0, 19, 4]].concat();
        let two = keepalive.repeat(2);
        assert_eq!(stream(&[(0, &two)], true), (two.clone(), 0, 0));
        // In pieces, out of order, retransmitted, over the wrap of sequence numbers.
        let pieces: Vec<(u32, &[u8])> = two.chunks(5).enumerate().map(|(n, part)| (5 * n as u32, part)).collect();
        assert_eq!(stream(&pieces, true), (two.clone(), 0, 0));
        let turned: Vec<_> = pieces.iter().rev().copied().collect();
        assert_eq!(stream(&turned, true), (two.clone(), 0, 0));
        let again: Vec<_> = pieces.iter().flat_map(|piece| [*piece, (0, &two[..5]), *piece]).collect();
        assert_eq!(stream(&again, true), (two.clone(), 0, 0));
        // The capture began in the middle of a message, and ended in one.
        assert_eq!(stream(&[(7, &two[7..]), (38, &keepalive[..10])], false), (keepalive.clone(), 12, 10));
        let long = vec![0; MAX_WAITING_OCTETS + 1];
        let (octets, lost, _) =
            stream(&[(0, &keepalive[..3]), (500, &long), (500 + long.len() as u32, &keepalive)], true);
        assert_eq!(octets, keepalive);
        assert!(lost > long.len() as u64, "{lost}");
    }

    #[test]
    fn a_marker_needs_a_length() {
        assert_eq!(first_message(&[0xff; 16]), Some(0));
        assert_eq!(first_message(&[&[0xff; 20][..], &[0, 19, 4]].concat()), Some(4));
        assert_eq!(first_message(&[&[1, 2][..], &MARKER, &[0, 5]].concat()), None);
        assert_eq!(first_message(&[1; 40]), None);
    }
}
