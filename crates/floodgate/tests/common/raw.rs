//! A BGP peer that sends any octets: no state machine, and it reads only when asked to.

use super::{PATIENCE, wait};
pub(crate) use lab::raw::{kind, message};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

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
pub(crate) struct RawPeer(lab::RawPeer);

impl RawPeer {
    /// Connects from `source`.
    pub(crate) fn connected(source: &str, port: u16) -> Self {
        let stream = connect(source, port);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        RawPeer(lab::RawPeer { stream })
    }

    /// The same, and exchanges messages until the session is established.
    pub(crate) fn established(source: &str, port: u16, hold_time: u16) -> Self {
        let mut peer = RawPeer::connected(source, port);
        peer.0.establish_with(65070, hold_time).unwrap();
        peer
    }

    /// Exchanges messages until the session is established, the daemon's OPEN being read.
    pub(crate) fn establish_after_open(&mut self, hold_time: u16) {
        self.send(&lab::raw::open(65070, hold_time));
        self.send(&message(kind::KEEPALIVE, &[]));
        assert_eq!(self.read().0, kind::KEEPALIVE);
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.0.stream.write_all(octets).unwrap();
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> (u8, Vec<u8>) {
        self.0.read().unwrap()
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
