//! A BGP peer that sends any octets: no state machine, and it reads only when asked to.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Netns, PATIENCE};

/// Types of messages (RFC 4271 §4.1, RFC 2918).
pub mod kind {
    #![allow(missing_docs)]
    pub const OPEN: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const NOTIFICATION: u8 = 3;
    pub const KEEPALIVE: u8 = 4;
    pub const ROUTE_REFRESH: u8 = 5;
}

/// A whole message; its length field is that of the body, or 65535.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// The next message of a stream: its type and what follows the header.
///
/// # Errors
/// There is none, or its length is less than that of a header.
pub fn receive(stream: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 19];
    stream.read_exact(&mut head)?;
    let length = usize::from(u16::from_be_bytes([head[16], head[17]]));
    let mut body = vec![0; length.checked_sub(head.len()).context("a length")?];
    stream.read_exact(&mut body)?;
    Ok((head[18], body))
}

/// An OPEN of this AS with identifier 192.0.2.77: both FlowSpec families, both kinds of route
/// refresh, four-octet AS numbers.
#[must_use]
pub fn open(asn: u32, hold_time: u16) -> Vec<u8> {
    let four = asn.to_be_bytes();
    let capabilities = [&[1, 4, 0, 1, 0, 133, 1, 4, 0, 2, 0, 133, 2, 0, 70, 0, 65, 4][..], &four].concat();
    // AS_TRANS if the number does not fit (RFC 6793 §9).
    let two = u16::try_from(asn).unwrap_or(23456).to_be_bytes();
    let [a, b] = hold_time.to_be_bytes();
    let length = capabilities.len() as u8;
    message(kind::OPEN, &[&[4, two[0], two[1], a, b, 192, 0, 2, 77, length + 2, 2, length][..], &capabilities].concat())
}

/// A connection to a BGP speaker.
#[derive(Debug)]
pub struct RawPeer {
    /// The connection; reads time out after a minute.
    pub stream: TcpStream,
}

impl RawPeer {
    /// Connects from this address, which must be in a namespace.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn connect(netns: &Netns, from: IpAddr, to: SocketAddr) -> Result<Self> {
        let socket = netns.run(|| Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)))?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Exchanges messages until the session is established.
    ///
    /// # Errors
    /// The other side sends another message; with that message.
    pub fn establish(&mut self, asn: u32) -> Result<()> {
        self.establish_with(asn, 90)
    }

    /// The same with this hold time, in seconds.
    ///
    /// # Errors
    /// As [`establish`](Self::establish).
    pub fn establish_with(&mut self, asn: u32, hold_time: u16) -> Result<()> {
        self.stream.write_all(&open(asn, hold_time))?;
        for expected in [kind::OPEN, kind::KEEPALIVE] {
            let (kind, body) = self.read()?;
            ensure!(kind == expected, "a message of type {kind}: {body:02x?}");
            self.stream.write_all(&message(kind::KEEPALIVE, &[]))?;
        }
        Ok(())
    }

    /// The next message: its type and what follows the header.
    ///
    /// # Errors
    /// There is none.
    pub fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        receive(&mut self.stream)
    }

    /// Reads until the other side closes the connection; returns code and subcode of its
    /// NOTIFICATION, if it sent one.
    ///
    /// # Errors
    /// It does not close it.
    pub fn read_to_end(&mut self) -> Result<Option<(u8, u8)>> {
        let mut octets = Vec::new();
        match self.stream.read_to_end(&mut octets) {
            // It may reset the connection when there is more to read from us.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            Err(error) => return Err(error).context("the connection does not end"),
        }
        let mut rest = octets.as_slice();
        let mut last = None;
        while let [.., _] = rest {
            let Some(length) = rest.get(16..18).map(|field| usize::from(u16::from_be_bytes([field[0], field[1]])))
            else {
                break;
            };
            let Some((message, behind)) = rest.split_at_checked(length.max(19)) else { break };
            if let [code, subcode, ..] = message[19..]
                && message[18] == kind::NOTIFICATION
            {
                last = Some((code, subcode));
            }
            rest = behind;
        }
        Ok(last)
    }
}
