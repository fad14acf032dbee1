//! TCP sockets for BGP: source address, TCP-MD5, TTL security (RFC 5082), TCP_NODELAY, DSCP, user
//! timeout.

use super::md5;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// DSCP CS6, network control, as the octet of the header: the session may share its link with a
/// flood.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The remote end of a session and the socket options for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The peer.
    pub remote: SocketAddr,
    /// Our address towards it.
    pub source: Option<IpAddr>,
    /// TCP-MD5 secret.
    pub md5: Option<String>,
    /// TTL security: most hops to the peer.
    pub hops: Option<u8>,
    /// The interface or VRF that the session is bound to.
    pub interface: Option<String>,
}

/// A socket could not be configured.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct SocketError {
    /// The operation.
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
        let remote = self.scoped(self.remote)?;
        let socket = new_socket(remote.ip())?;
        self.bind_device(&socket)?;
        if let Some(source) = self.source {
            socket
                .bind(&self.scoped(SocketAddr::new(source, 0))?.into())
                .map_err(context(format!("cannot use the source address {source}")))?;
        }
        if let Some(secret) = &self.md5 {
            md5::set_secret(socket.as_fd(), remote.ip(), secret.as_bytes()).map_err(context("TCP-MD5"))?;
        }
        self.ttl(&socket)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        socket.connect(remote).await.map_err(context(format!("cannot connect to {remote}")))
    }

    /// Sets the options of an accepted connection; its TCP-MD5 secret is inherited from the
    /// listener.
    ///
    /// # Errors
    /// A socket option was refused.
    pub fn configure_accepted(&self, stream: &TcpStream) -> Result<(), SocketError> {
        let socket = socket2::SockRef::from(stream);
        socket.set_tcp_nodelay(true).map_err(context("TCP_NODELAY"))?;
        // What does not come through the interface from now on is not for this connection.
        self.bind_device(&socket)?;
        self.ttl(&socket)
    }

    fn bind_device(&self, socket: &Socket) -> Result<(), SocketError> {
        let Some(name) = &self.interface else { return Ok(()) };
        socket.bind_device(Some(name.as_bytes())).map_err(context(format!("cannot use the interface {name}")))
    }

    /// The address with the number of the interface, if it is link-local: there it means this link.
    fn scoped(&self, address: SocketAddr) -> Result<SocketAddr, SocketError> {
        match (address, &self.interface) {
            (SocketAddr::V6(mut v6), Some(name)) if v6.ip().is_unicast_link_local() => {
                let index = interface_index(name).map_err(context(format!("cannot use the interface {name}")))?;
                v6.set_scope_id(index);
                Ok(v6.into())
            }
            _ => Ok(address),
        }
    }

    /// Sends with TTL 255; accepts only packets that passed at most `hops` routers.
    fn ttl(&self, socket: &Socket) -> Result<(), SocketError> {
        let Some(hops) = self.hops else { return Ok(()) };
        let least = libc::c_int::from(least_ttl(hops));
        let (level, sent, minimum) = match self.remote {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_MINTTL),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_MINHOPCOUNT),
        };
        set_option(socket, level, sent, 255).map_err(context("TTL of what is sent"))?;
        set_option(socket, level, minimum, least).map_err(context("least TTL of what is received"))
    }
}

/// The number of an interface.
///
/// # Errors
/// There is none of this name.
pub(super) fn interface_index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// The TTL of a packet that was sent with 255 and passed fewer than `hops` routers (RFC 5082 §3).
pub(super) const fn least_ttl(hops: u8) -> u8 {
    255 - hops.saturating_sub(1)
}

/// What a listener requires of packets (RFC 5082), before anything of a connection is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TtlRequirement {
    /// Least TTL or hop limit of every packet, if all its peers require one; 0: none.
    least: u8,
    /// Some of its peers require one: the kernel keeps the SYNs for a check.
    keep_syn: bool,
}

impl TtlRequirement {
    /// `least`: the TTL or hop limit that all peers require, or 0. `keep_syn`: some peer requires
    /// one.
    pub(super) const fn new(least: u8, keep_syn: bool) -> Self {
        TtlRequirement { least, keep_syn }
    }
}

/// Listens on `address`.
///
/// # Errors
/// The address is in use, not ours, or not allowed.
pub(super) fn listen(address: SocketAddr, ttl_requirement: TtlRequirement) -> Result<TcpListener, SocketError> {
    let socket = new_socket(address.ip())?;
    let ready = || -> io::Result<TcpListener> {
        socket.set_reuse_address(true)?;
        // A peer with TTL security drops a SYN-ACK with a lower TTL, and the kernel sends those
        // before we know the peer.
        match address {
            SocketAddr::V4(_) => socket.set_ttl_v4(255)?,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_unicast_hops_v6(255)?;
            }
        }
        socket.bind(&address.into())?;
        set_ttl_requirement(&socket, address.is_ipv4(), ttl_requirement)?;
        socket.listen(128)?;
        TcpListener::from_std(socket.into())
    };
    ready().map_err(context(format!("cannot listen on {address}")))
}

/// Changes what a listener requires of packets.
pub(super) fn set_listener_ttl_requirement(
    listener: &TcpListener,
    ttl_requirement: TtlRequirement,
) -> Result<(), SocketError> {
    let address = listener.local_addr().map_err(context("address of a listener"))?;
    set_ttl_requirement(&socket2::SockRef::from(listener), address.is_ipv4(), ttl_requirement)
        .map_err(context(format!("TTL security on {address}")))
}

fn set_ttl_requirement(socket: &Socket, is_ipv4: bool, ttl_requirement: TtlRequirement) -> io::Result<()> {
    let (level, minimum) =
        if is_ipv4 { (libc::IPPROTO_IP, libc::IP_MINTTL) } else { (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT) };
    set_option(socket, level, minimum, ttl_requirement.least.into())?;
    set_option(socket, libc::IPPROTO_TCP, TCP_SAVE_SYN, ttl_requirement.keep_syn.into())
}

/// Whether the connection began with a SYN of at least this TTL or hop limit. If the kernel kept no
/// SYN (it came before that was requested, or as a SYN cookie), the result is whether the listener
/// required it of every packet.
pub(super) fn has_least_ttl(stream: &TcpStream, least: u8) -> bool {
    let of_syn = saved_syn(stream).ok().and_then(|syn| ttl(&syn));
    let asked_of_all = || {
        let (level, minimum) = match stream.local_addr() {
            Ok(SocketAddr::V4(_)) => (libc::IPPROTO_IP, libc::IP_MINTTL),
            _ => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
        };
        let mut value = [0; size_of::<libc::c_int>()];
        let asked = get_option(stream, level, minimum, &mut value).map(|_| libc::c_int::from_ne_bytes(value));
        asked.is_ok_and(|asked| asked >= least.into())
    };
    of_syn.map_or_else(asked_of_all, |found| found >= least)
}

/// The SYN from its IP header on; empty if the kernel kept none.
fn saved_syn(stream: &TcpStream) -> io::Result<Vec<u8>> {
    // Size of an IP and a TCP header with all options.
    let mut octets = vec![0; 512];
    let length = get_option(stream, libc::IPPROTO_TCP, TCP_SAVED_SYN, &mut octets)?;
    octets.truncate(length);
    Ok(octets)
}

/// TTL of an IPv4 header, hop limit of an IPv6 header.
fn ttl(header: &[u8]) -> Option<u8> {
    match header.first()? >> 4 {
        4 => header.get(8).copied(),
        6 => header.get(7).copied(),
        _ => None,
    }
}

/// From `linux/tcp.h`; not all versions of the C library's headers have them.
const TCP_SAVE_SYN: libc::c_int = 27;
const TCP_SAVED_SYN: libc::c_int = 28;

/// Sets or removes the secret of one peer on a listener of the same IP version.
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
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only
    // reads it.
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

/// Reads an option into `value`; its length.
fn get_option(stream: &TcpStream, level: libc::c_int, name: libc::c_int, value: &mut [u8]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel
    // writes no more than that.
    let outcome =
        unsafe { libc::getsockopt(stream.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if outcome == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}

/// IPv4-mapped IPv6 addresses as IPv4.
pub(super) fn to_canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn endpoint(remote: SocketAddr, md5: Option<&str>, hops: Option<u8>) -> Endpoint {
        Endpoint { remote, source: None, md5: md5.map(str::to_owned), hops, interface: None }
    }

    async fn talks(ours: Option<&str>, theirs: Option<&str>, address: &str) -> bool {
        let listener = listen(SocketAddr::new(address.parse().unwrap(), 0), TtlRequirement::default()).unwrap();
        listener_secret(&listener, address.parse().unwrap(), ours).unwrap();
        let peer = endpoint(listener.local_addr().unwrap(), theirs, Some(1));
        let exchange = async {
            let (client, accepted) = tokio::join!(peer.connect(), listener.accept());
            let (mut client, mut accepted) = (client.unwrap(), accepted.unwrap().0);
            peer.configure_accepted(&accepted).unwrap();
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
        let listener = listen("127.0.0.1:0".parse().unwrap(), TtlRequirement::default()).unwrap();
        let near = endpoint(listener.local_addr().unwrap(), None, Some(1));
        let far = new_socket(near.remote.ip()).unwrap();
        far.set_ttl_v4(64).unwrap();
        let far = TcpSocket::from_std_stream(far.into()).connect(near.remote);
        let (far, accepted) = tokio::join!(far, listener.accept());
        let (mut far, mut accepted) = (far.unwrap(), accepted.unwrap().0);
        near.configure_accepted(&accepted).unwrap();
        far.write_all(b"hello").await.unwrap();
        let mut octets = [0; 5];
        let read = tokio::time::timeout(Duration::from_millis(200), accepted.read_exact(&mut octets)).await;
        assert!(read.is_err(), "a segment with a TTL of 64 came through");
    }

    /// Connects with this TTL and sends at once; returns whether the connection passes the check.
    async fn is_near(address: &str, ttl_requirement: TtlRequirement, sent: u8, least: u8) -> Option<bool> {
        let listener = listen(SocketAddr::new(address.parse().unwrap(), 0), ttl_requirement).unwrap();
        let to = listener.local_addr().unwrap();
        let far = new_socket(to.ip()).unwrap();
        match to {
            SocketAddr::V4(_) => far.set_ttl_v4(sent.into()).unwrap(),
            SocketAddr::V6(_) => far.set_unicast_hops_v6(sent.into()).unwrap(),
        }
        let connecting = TcpSocket::from_std_stream(far.into()).connect(to);
        let both = async { tokio::join!(connecting, listener.accept()) };
        let (far, accepted) = tokio::time::timeout(Duration::from_millis(300), both).await.ok()?;
        far.unwrap().write_all(b"OPEN, KEEPALIVE and UPDATE").await.unwrap();
        Some(has_least_ttl(&accepted.unwrap().0, least))
    }

    #[tokio::test]
    async fn distance_is_known_before_anything_is_read() {
        for address in ["127.0.0.1", "::1"] {
            let some = TtlRequirement { least: 0, keep_syn: true };
            for sent in [1, 5, 19, 254] {
                assert_eq!(is_near(address, some, sent, 255).await, Some(false), "{address} {sent}");
            }
            assert_eq!(is_near(address, some, 255, 255).await, Some(true), "{address}");
            assert_eq!(is_near(address, some, 254, 254).await, Some(true), "{address}");
            // If all peers require it, such a SYN is not answered at all.
            let all = TtlRequirement { least: 255, keep_syn: true };
            assert_eq!(is_near(address, all, 254, 255).await, None, "{address}");
            assert_eq!(is_near(address, all, 255, 255).await, Some(true), "{address}");
            // Without a kept SYN, the listener's requirement counts.
            let unkept = TtlRequirement { least: 255, keep_syn: false };
            assert_eq!(is_near(address, unkept, 255, 255).await, Some(true), "{address}");
            assert_eq!(is_near(address, TtlRequirement::default(), 255, 255).await, Some(false), "{address}");
        }
    }
}
