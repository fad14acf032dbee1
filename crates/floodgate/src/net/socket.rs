//! Sockets as BGP wants them: own source address, TCP-MD5, TTL security (RFC 5082), no delay, low latency of failure.

use super::md5;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// DSCP CS6, network control, as an octet of the header: the session lives on a link that somebody is flooding.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The far end of a session and what its sockets need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The peer.
    pub remote: SocketAddr,
    /// Our address towards it.
    pub source: Option<IpAddr>,
    /// TCP-MD5 secret.
    pub md5: Option<String>,
    /// TTL security: most hops away.
    pub hops: Option<u8>,
}

/// A socket could not be made ready.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct SocketError {
    /// What was being done.
    pub what: String,
    /// The error.
    pub cause: io::Error,
}

fn context(what: impl Into<String>) -> impl FnOnce(io::Error) -> SocketError {
    let what = what.into();
    move |cause| SocketError { what, cause }
}

impl Endpoint {
    /// Opens a connection.
    ///
    /// # Errors
    /// A socket option was refused or the peer was not reached.
    pub async fn connect(&self) -> Result<TcpStream, SocketError> {
        let remote = self.remote;
        let socket = new_socket(remote.ip())?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into()).map_err(context(format!("cannot speak from {source}")))?;
        }
        if let Some(secret) = &self.md5 {
            md5::set_secret(socket.as_fd(), remote.ip(), secret.as_bytes()).map_err(context("TCP-MD5"))?;
        }
        self.ttl(&socket)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        let stream = socket.connect(remote).await.map_err(context(format!("cannot connect to {remote}")))?;
        Ok(stream)
    }

    /// Makes a connection that the peer opened ready; its secret came with the listener.
    ///
    /// # Errors
    /// A socket option was refused.
    pub fn adopt(&self, stream: &TcpStream) -> Result<(), SocketError> {
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_nodelay(true).map_err(context("TCP_NODELAY"))?;
        self.ttl(&socket)
    }

    /// Sent with the greatest TTL; received only if it passed at most so many routers.
    fn ttl(&self, socket: &Socket) -> Result<(), SocketError> {
        let Some(hops) = self.hops else { return Ok(()) };
        let least = 256 - libc::c_int::from(hops);
        let (level, sent, minimum) = match self.remote {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_MINTTL),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_MINHOPCOUNT),
        };
        set_option(socket, level, sent, 255).map_err(context("TTL of what is sent"))?;
        set_option(socket, level, minimum, least).map_err(context("least TTL of what is received"))
    }
}

/// Takes connections on `address`.
///
/// # Errors
/// The address is taken, not ours, or not allowed.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let socket = new_socket(address.ip())?;
    let ready = || -> io::Result<TcpListener> {
        socket.set_reuse_address(true)?;
        // A peer with TTL security drops a SYN-ACK with less, and those are sent before we know who asks.
        match address {
            SocketAddr::V4(_) => socket.set_ttl_v4(255)?,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_unicast_hops_v6(255)?;
            }
        }
        socket.bind(&address.into())?;
        socket.listen(128)?;
        TcpListener::from_std(socket.into())
    };
    ready().map_err(context(format!("cannot listen on {address}")))
}

/// Sets or takes away the secret of one peer on a listener of the same IP version.
pub(super) fn listener_secret(listener: &TcpListener, peer: IpAddr, secret: Option<&str>) -> Result<(), SocketError> {
    let address = listener.local_addr().map_err(context("address of a listener"))?;
    if address.is_ipv4() != peer.is_ipv4() {
        return Ok(());
    }
    md5::set_secret(listener.as_fd(), peer, secret.unwrap_or("").as_bytes())
        .map_err(context(format!("TCP-MD5 for {peer} on {address}")))
}

fn new_socket(address: IpAddr) -> Result<Socket, SocketError> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let ready = || -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match address {
            IpAddr::V4(_) => socket.set_tos_v4(TRAFFIC_CLASS)?,
            IpAddr::V6(_) => socket.set_tclass_v6(TRAFFIC_CLASS)?,
        }
        Ok(socket)
    };
    ready().map_err(context("new socket"))
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An IPv4 address in IPv6 clothes is that IPv4 address.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Every address of both IP versions.
pub(super) const EVERYWHERE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn endpoint(remote: SocketAddr, md5: Option<&str>, hops: Option<u8>) -> Endpoint {
        Endpoint { remote, source: None, md5: md5.map(str::to_owned), hops }
    }

    async fn talks(ours: Option<&str>, theirs: Option<&str>, address: &str) -> bool {
        let listener = listen(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        listener_secret(&listener, address.parse().unwrap(), ours).unwrap();
        let peer = endpoint(listener.local_addr().unwrap(), theirs, Some(1));
        let exchange = async {
            let (client, accepted) = tokio::join!(peer.connect(), listener.accept());
            let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap().0);
            peer.adopt(&accepted).unwrap();
            client.write_all(b"hello").await.unwrap();
            let mut octets = [0; 5];
            accepted.read_exact(&mut octets).await.unwrap();
            octets == *b"hello"
        };
        tokio::time::timeout(Duration::from_millis(500), exchange).await.unwrap_or(false)
    }

    #[tokio::test]
    async fn signed_connections_need_the_same_secret_on_both_sides() {
        for address in ["127.0.0.1", "::1"] {
            assert!(talks(Some("hush"), Some("hush"), address).await, "{address}");
            assert!(!talks(Some("hush"), Some("husk"), address).await, "{address}");
            assert!(!talks(Some("hush"), None, address).await, "{address}");
            assert!(talks(None, None, address).await, "{address}");
        }
    }

    #[tokio::test]
    async fn a_low_ttl_does_not_get_through() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let near = endpoint(listener.local_addr().unwrap(), None, Some(1));
        let far = new_socket(near.remote.ip()).unwrap();
        far.set_ttl_v4(64).unwrap();
        let far = TcpSocket::from_std_stream(far.into()).connect(near.remote);
        let (far, accepted) = tokio::join!(far, listener.accept());
        let (mut far, mut accepted) = (far.unwrap(), accepted.unwrap().0);
        near.adopt(&accepted).unwrap();
        far.write_all(b"hello").await.unwrap();
        let mut octets = [0; 5];
        let read = tokio::time::timeout(Duration::from_millis(200), accepted.read_exact(&mut octets)).await;
        assert!(read.is_err(), "a segment with a TTL of 64 came through");
    }
}
