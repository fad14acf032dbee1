//! Sends and receives whole frames on an interface.

use std::ffi::CString;
use std::io::{self, Read};
use std::mem::size_of;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::Netns;

/// Enough for a burst of a hundred thousand frames: a frame lost in the observer would look like
/// one dropped by a filter.
const RECEIVE_BUFFER: usize = 256 << 20;

/// A raw socket on one interface: sends frames as they are, and receives every frame that the
/// interface receives (not those that it sends). It sees them before nftables and after XDP.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket on an interface of a namespace. From now on frames are queued for
    /// [`receive`](Self::receive).
    ///
    /// # Errors
    /// There is no such interface.
    pub fn open(netns: &Netns, interface: &str) -> Result<Self> {
        let socket = netns
            .run(|| bound(interface))
            .with_context(|| format!("open a packet socket on {interface} in {}", netns.name()))?;
        Ok(Self { socket, buffer: vec![0; 1 << 16] })
    }

    /// Sends a frame, from the Ethernet header on, without frame check sequence.
    ///
    /// # Errors
    /// The frame is longer than the interface allows, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// The next frame received, or none within `patience`. The kernel removes the outermost VLAN
    /// tag.
    ///
    /// # Errors
    /// The interface is gone or down.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        // A timeout of zero would mean to wait forever.
        self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        loop {
            match self.socket.read(&mut self.buffer) {
                Ok(length) => return Ok(Some(self.buffer[..length].to_vec())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // As after a suspend. Waiting again takes longer, which does no harm.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next frame received that `wanted` accepts, or none within `patience`. Others are
    /// discarded.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_matching(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.receive(left)? {
                Some(frame) if wanted(&frame) => return Ok(Some(frame)),
                Some(_) if !left.is_zero() => {}
                _ => return Ok(None),
            }
        }
    }

    /// All frames received so far, without waiting.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn drain(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        self.socket.set_nonblocking(true)?;
        let result = loop {
            match self.socket.read(&mut self.buffer) {
                Ok(length) => frames.push(self.buffer[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(frames),
                Err(error) => break Err(error),
            }
        };
        self.socket.set_nonblocking(false)?;
        result
    }

    /// Number of frames lost since the last call because they were not read in time.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn lost(&self) -> io::Result<u32> {
        use std::os::fd::AsRawFd;
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the pointers are to values of the sizes given, which live through the call.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(stats.tp_drops) } else { Err(io::Error::last_os_error()) }
    }
}

fn bound(interface: &str) -> Result<Socket> {
    let name = CString::new(interface)?;
    // SAFETY: a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error().into());
    }
    let all = u16::try_from(libc::ETH_P_ALL)?.to_be();
    // Without a protocol it receives nothing until it is bound: no frame of another interface gets
    // in.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, i32::try_from(RECEIVE_BUFFER)?)?;

    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the address types that the storage is made for.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET)?;
    link.sll_protocol = all;
    link.sll_ifindex = i32::try_from(index)?;
    // SAFETY: the storage holds an address of exactly this type and length.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address)?;
    Ok(socket)
}

fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the pointer is to an integer of the size given, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{End, packet, veth};

    #[test]
    fn frames_arrive_as_they_were_sent() -> Result<()> {
        crate::needs!(root, "ip");
        let (left, right) = (Netns::new("send")?, Netns::new("receive")?);
        veth(End::new(&left, "swp1", &[]), End::new(&right, "swp1", &[]))?;
        let sender = PacketSocket::open(&left, "swp1")?;
        let mut receiver = PacketSocket::open(&right, "swp1")?;
        let frames: Vec<Vec<u8>> = (1..=2000_u16)
            .map(|port| {
                let ip = packet::udp(([192, 0, 2, 1], port).into(), ([192, 0, 2, 2], 53).into(), b"query");
                packet::ethernet(left.mac("swp1").unwrap(), right.mac("swp1").unwrap(), &ip)
            })
            .take(3)
            .collect();
        for frame in &frames {
            sender.send(frame)?;
        }
        for frame in &frames {
            let got = receiver.receive_matching(Duration::from_secs(2), |got| got == frame)?;
            assert_eq!(got.as_ref(), Some(frame));
        }
        assert_eq!(receiver.receive(Duration::from_millis(20))?, None);
        assert_eq!(receiver.lost()?, 0);
        Ok(())
    }

    #[test]
    fn a_burst_is_not_lost() -> Result<()> {
        crate::needs!(root, "ip");
        let (left, right) = (Netns::new("burst")?, Netns::new("receive")?);
        veth(End::new(&left, "swp1", &[]), End::new(&right, "swp1", &[]))?;
        let sender = PacketSocket::open(&left, "swp1")?;
        let mut receiver = PacketSocket::open(&right, "swp1")?;
        let ip = packet::udp(([192, 0, 2, 1], 123).into(), ([192, 0, 2, 2], 53).into(), &[0; 400]);
        let frame = packet::ethernet(left.mac("swp1")?, right.mac("swp1")?, &ip);
        for _ in 0..20_000 {
            sender.send(&frame)?;
        }
        let mut arrived = 0;
        crate::wait_until("all frames", crate::PATIENCE, || {
            arrived += receiver.drain().ok()?.len();
            (arrived >= 20_000).then_some(())
        })?;
        assert_eq!(arrived, 20_000);
        assert_eq!(receiver.lost()?, 0);
        Ok(())
    }
}
