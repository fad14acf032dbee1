//! A BGP peer that sends any octets: no state machine, and it reads only when asked to.

use super::{PATIENCE, wait};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Of messages.
pub(crate) mod kind {
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const UPDATE: u8 = 2;
    pub(crate) const NOTIFICATION: u8 = 3;
    pub(crate) const KEEPALIVE: u8 = 4;
    pub(crate) const ROUTE_REFRESH: u8 = 5;
}

/// A whole message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// An UPDATE that announces these NLRI of `ipv4 flowspec`, to be discarded.
pub(crate) fn update(nlri: &[u8]) -> Vec<u8> {
    // The AS numbers of the path have four octets: both sides say so.
    let head = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x2e, 0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0];
    let length = u16::try_from(5 + nlri.len()).unwrap().to_be_bytes();
    let reach = [&[0x90, 14, length[0], length[1], 0, 1, 133, 0, 0], nlri].concat();
    let attributes = [&head[..], &reach].concat();
    let length = u16::try_from(attributes.len()).unwrap();
    message(kind::UPDATE, &[&[0, 0], &length.to_be_bytes()[..], &attributes].concat())
}

/// The peer of [`super::peer`] at this address.
pub(crate) struct RawPeer {
    pub stream: TcpStream,
}

impl RawPeer {
    /// Connects from `source` and speaks until the session is established.
    pub(crate) fn established(source: &str, port: u16, hold_time: u16) -> Self {
        let mut peer = RawPeer { stream: connect(source, port) };
        assert_eq!(peer.read().0, kind::OPEN);
        peer.establish(hold_time);
        peer
    }

    /// Goes on when the daemon's OPEN was read.
    pub(crate) fn establish(&mut self, hold_time: u16) {
        let [a, b] = hold_time.to_be_bytes();
        // Multiprotocol for both flowspec families, route refresh, enhanced route refresh,
        // four-octet AS numbers.
        let capabilities =
            [1, 4, 0, 1, 0, 133, 1, 4, 0, 2, 0, 133, 2, 0, 70, 0, 65, 4, 0, 0, 0xfe, 0x2e].map(|octet: u8| octet);
        let length = capabilities.len() as u8;
        let open = [&[4, 0xfe, 0x2e, a, b, 192, 0, 2, 77, length + 2, 2, length][..], &capabilities].concat();
        self.send(&message(kind::OPEN, &open));
        self.send(&message(kind::KEEPALIVE, &[]));
        assert_eq!(self.read().0, kind::KEEPALIVE);
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> (u8, Vec<u8>) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = [0; 19];
        self.stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[16], head[17]])) - 19];
        self.stream.read_exact(&mut body).unwrap();
        (head[18], body)
    }
}

/// A connection from this address.
pub(crate) fn connect(source: &str, port: u16) -> TcpStream {
    wait("a connection", || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).ok()?;
        Some(socket.into())
    })
}
