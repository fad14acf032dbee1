//! netlink, as rtnetlink and nf_tables use it: the constants of `linux/netlink.h`, attributes, and
//! a request socket. Messages are octets in host byte order.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_ECHO: u16 = 0x8;
/// With a read request: all objects.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// With a create request: replaces an existing object.
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
/// With a create request: fails if the object exists.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
/// With a create request: creates the object if it does not exist.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
/// Octets of `struct nlmsghdr`.
pub(crate) const NLMSGHDR: usize = 16;
/// Flag in an attribute's type: it contains attributes.
pub(crate) const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const SOL_NETLINK: libc::c_int = 270;
const NETLINK_ADD_MEMBERSHIP: libc::c_int = 1;

/// A socket to one netlink family.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    number: u32,
}

/// A message of the kernel: its type and what follows the header.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

impl Netlink {
    /// A socket of this protocol, such as `NETLINK_ROUTE`.
    pub(crate) fn open(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: plain numbers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just created the descriptor for us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // A socket without a port number gets no notification that the kernel itself causes: it
        // looks like the sender, which is left out.
        rustix::net::bind(&socket, &rustix::net::netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink { socket, number: 0 })
    }

    /// Joins a multicast group: its notifications arrive here from now on.
    pub(crate) fn join(&self, group: u32) -> io::Result<()> {
        let group = group as libc::c_int;
        // SAFETY: a pointer to a value of that size, which lives until the call returns.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                SOL_NETLINK,
                NETLINK_ADD_MEMBERSHIP,
                (&raw const group).cast(),
                size_of_val(&group) as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends a request and collects the answer. An error of the kernel is returned as an error.
    pub(crate) fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Message>> {
        self.number += 1;
        let mut request = Vec::with_capacity(NLMSGHDR + body.len());
        request.extend(((NLMSGHDR + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        request.extend(self.number.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(body);
        // SAFETY: a pointer to this many octets. Unconnected netlink sockets send to the kernel.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut answer = Vec::new();
        loop {
            let received = self.receive(0)?;
            for (number, message) in messages(&received) {
                if number != self.number {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE => return Ok(answer),
                    NLMSG_ERROR => {
                        let code = message.body.first_chunk().map_or(0, |octets| i32::from_ne_bytes(*octets));
                        return if code == 0 { Ok(answer) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => answer.push(message),
                }
            }
        }
    }

    /// Discards pending notifications of this socket's groups.
    pub(crate) fn drain(&self) {
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                // An overrun only means that there were more.
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }

    /// What the kernel told the groups of this socket, and whether some of it was lost. Waits for
    /// nothing.
    pub(crate) fn heard(&self) -> (Vec<Message>, bool) {
        let (mut heard, mut lost) = (Vec::new(), false);
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(received) => heard.extend(messages(&received).into_iter().map(|(_, message)| message)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
                Err(_) => return (heard, lost),
            }
        }
    }

    fn receive(&self, flags: libc::c_int) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0u8; 1 << 16];
        // SAFETY: a pointer to this many octets of our own.
        let length = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        buffer.truncate(length as usize);
        Ok(buffer)
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages of a datagram, with their types.
fn messages(mut octets: &[u8]) -> Vec<(u32, Message)> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(number)) = (u32_at(octets, 0), u16_at(octets, 4), u32_at(octets, 8)) {
        let length = length as usize;
        let Some(body) = octets.get(NLMSGHDR..length) else { break };
        found.push((number, Message { kind, body: body.to_vec() }));
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The attributes that begin at `from` of a message's body.
pub(crate) fn attributes(body: &[u8], from: usize) -> Vec<(u16, &[u8])> {
    Attributes(body.get(from..).unwrap_or_default()).collect()
}

/// Attributes, in their order: types and values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let [l0, l1, k0, k1] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, value))
    }
}

impl<'a> Attributes<'a> {
    /// The first attribute of this type.
    pub(crate) fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes nested in the first attribute of this type.
    pub(crate) fn inside(self, kind: u16) -> Option<Attributes<'a>> {
        self.find(kind).map(Attributes)
    }
}

/// Adds an attribute.
pub(crate) fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The 16-bit number at an offset.
pub(crate) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

/// The 32-bit number at an offset.
pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

/// The 64-bit number at an offset.
pub(crate) fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(octets.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_as_they_are_read_and_damage_ends_the_reading() {
        let mut body = vec![1, 2, 3, 4];
        push(&mut body, 7, b"abc");
        push(&mut body, 8 | 1 << 15, &9u32.to_ne_bytes());
        assert_eq!(body.len(), 4 + 8 + 8);
        assert_eq!(attributes(&body, 4), [(7, &b"abc"[..]), (8, &9u32.to_ne_bytes()[..])]);
        assert_eq!(attributes(&body[..14], 4), [(7, &b"abc"[..])]);
        assert_eq!(attributes(&[3, 0, 1, 0], 0), [], "shorter than itself");
        assert_eq!(attributes(&[], 4), []);
    }

    #[test]
    fn the_kernel_names_the_interfaces() {
        let mut route = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        let links = route.ask(18, NLM_F_DUMP, &[0; 16]).unwrap();
        let is_loopback = |link: &Message| attributes(&link.body, 16).contains(&(3, b"lo\0"));
        assert!(links.iter().any(is_loopback));
        assert!(route.ask(9999, 0, &[]).is_err(), "the kernel's error");
    }
}
