//! What is asked of the kernel, and rtnetlink, which does it.

use super::decode;
use super::devlink::{self, Occupancy};
use super::pkt_cls::*;
use crate::netlink::{
    Attributes, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR, NLMSGHDR, Netlink, u16_at, u32_at,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// A request: its type, its flags, and what follows the header.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

/// The kernel, or a driver, refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errno: i32,
    /// Its words, where it has some.
    pub(super) words: Option<String>,
}

impl Refusal {
    /// Whether there is no room.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::ENOMEM | libc::ENOBUFS)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        match &self.words {
            Some(words) => write!(f, "{words}: {error}"),
            None => error.fmt(f),
        }
    }
}

/// What somebody else did since the last question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disturbance {
    /// Something about filters, chains, policers or queueing disciplines.
    pub(super) filters: bool,
    /// Something about interfaces.
    pub(super) links: bool,
}

/// The part of the kernel that has filters.
pub(super) trait Kernel: std::fmt::Debug + Send {
    /// Does these requests one after the other, whatever becomes of those before; for each, what
    /// came of it.
    ///
    /// # Errors
    /// They could not be sent, or the answers not read.
    fn execute(&mut self, requests: &[Request]) -> io::Result<Vec<Result<(), Refusal>>>;

    /// Everything that the kernel tells about such a request.
    ///
    /// # Errors
    /// It did not.
    fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>>;

    /// The filter that a request names; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    fn get(&mut self, body: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The interfaces.
    ///
    /// # Errors
    /// They were not listed.
    fn links(&mut self) -> io::Result<Vec<crate::Link>>;

    /// The name of an interface's driver.
    fn driver(&mut self, interface: &str) -> Option<String>;

    /// The flow counters of the switch that an interface belongs to; `None` if they are not told.
    fn flow_counters(&mut self, interface: &str) -> Option<Occupancy>;

    /// What somebody else did since the last call.
    fn disturbance(&mut self, block: u32) -> Disturbance;

    /// Another one, for another thread.
    ///
    /// # Errors
    /// There is none.
    fn another(&self) -> io::Result<Box<dyn Kernel>>;
}

/// Requests that are sent at once.
const BATCH: usize = 64;
const SOL_NETLINK: libc::c_int = 270;
const NETLINK_CAP_ACK: libc::c_int = 10;
const NETLINK_EXT_ACK: libc::c_int = 11;
/// In an answer: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// rtnetlink of the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Rtnetlink {
    requests: OwnedFd,
    number: u32,
    questions: Netlink,
    events: Netlink,
    buffer: Vec<u8>,
}

impl Rtnetlink {
    pub(super) fn open() -> io::Result<Self> {
        // SAFETY: plain numbers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made it for us.
        let requests = unsafe { OwnedFd::from_raw_fd(fd) };
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            let on: libc::c_int = 1;
            // SAFETY: a pointer to a value of that size, which lives until the call returns.
            let result = unsafe {
                let length = size_of_val(&on) as libc::socklen_t;
                libc::setsockopt(fd, SOL_NETLINK, option, (&raw const on).cast(), length)
            };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let own = bind(requests.as_fd())?;
        let events = Netlink::open(libc::NETLINK_ROUTE)?;
        ignore_own(&events, own)?;
        events.join(RTNLGRP_TC)?;
        events.join(RTNLGRP_LINK)?;
        let questions = Netlink::open(libc::NETLINK_ROUTE)?;
        Ok(Rtnetlink { requests, number: 0, questions, events, buffer: vec![0; 1 << 16] })
    }

    /// Sends requests, and gathers the answers up to that of the last.
    fn execute_batch(&mut self, requests: &[Request], outcomes: &mut Vec<Result<(), Refusal>>) -> io::Result<()> {
        let first = self.number + 1;
        let mut octets = Vec::with_capacity(requests.len() * 512);
        for (at, request) in requests.iter().enumerate() {
            self.number += 1;
            let last = at + 1 == requests.len();
            octets.extend(((NLMSGHDR + request.body.len()) as u32).to_ne_bytes());
            octets.extend(request.kind.to_ne_bytes());
            octets.extend((NLM_F_REQUEST | request.flags | if last { NLM_F_ACK } else { 0 }).to_ne_bytes());
            octets.extend(self.number.to_ne_bytes());
            octets.extend([0; 4]);
            octets.extend(&request.body);
            octets.resize(octets.len().next_multiple_of(4), 0);
        }
        // SAFETY: a pointer to so many octets. Unconnected netlink sockets send to the kernel.
        let sent = unsafe { libc::send(self.requests.as_raw_fd(), octets.as_ptr().cast(), octets.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let start = outcomes.len();
        outcomes.resize(start + requests.len(), Ok(()));
        loop {
            // SAFETY: a pointer to so many octets of our own.
            let length =
                unsafe { libc::recv(self.requests.as_raw_fd(), self.buffer.as_mut_ptr().cast(), self.buffer.len(), 0) };
            if length < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut rest = &self.buffer[..length as usize];
            while let (Some(length), Some(kind), Some(number)) = (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8)) {
                let Some(message) = rest.get(..length as usize).filter(|message| message.len() >= NLMSGHDR) else {
                    break;
                };
                rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
                if kind != NLMSG_ERROR || number < first || number > self.number {
                    continue;
                }
                let code = u32_at(message, NLMSGHDR).unwrap_or_default() as i32;
                if code != 0 {
                    outcomes[start + (number - first) as usize] = Err(Refusal { errno: -code, words: words(message) });
                }
                if number == self.number {
                    return Ok(());
                }
            }
        }
    }
}

/// The kernel's words in an answer.
fn words(message: &[u8]) -> Option<String> {
    let flags = u16_at(message, 6)?;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // The answer's own header, the error, and the header of the request.
    let value = Attributes(message.get(NLMSGHDR + 4 + NLMSGHDR..)?).find(NLMSGERR_ATTR_MSG)?;
    let text = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
    (!text.is_empty()).then_some(text)
}

/// Gives a socket its name, and tells it.
fn bind(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: `sockaddr_nl` is plain data for which zeros are valid.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointers to values of those sizes, which live until the calls return.
    let result = unsafe {
        let named = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length);
        if named < 0 {
            named
        } else {
            libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length)
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(address.nl_pid) }
}

/// The socket does not hear what the socket with this name had done: a full change would be more
/// than it holds.
fn ignore_own(events: &Netlink, own: u32) -> io::Result<()> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        // The fourth number of the header, in network byte order.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 12),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, own.to_be()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program and its instructions live until the call returns; the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            events.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Kernel for Rtnetlink {
    fn execute(&mut self, requests: &[Request]) -> io::Result<Vec<Result<(), Refusal>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            self.execute_batch(batch, &mut outcomes)?;
        }
        Ok(outcomes)
    }

    fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let answer = self.questions.ask(kind, NLM_F_DUMP, body)?;
        Ok(answer.into_iter().map(|message| message.body).collect())
    }

    fn get(&mut self, body: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self.questions.ask(RTM_GETTFILTER, 0, body) {
            Ok(answer) => Ok(answer.into_iter().map(|message| message.body).next()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn links(&mut self) -> io::Result<Vec<crate::Link>> {
        crate::links::links_of(&mut self.questions)
    }

    fn driver(&mut self, interface: &str) -> Option<String> {
        let link: PathBuf = ["/sys/class/net", interface, "device", "driver"].iter().collect();
        Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
    }

    fn flow_counters(&mut self, interface: &str) -> Option<Occupancy> {
        let device: PathBuf = ["/sys/class/net", interface, "device"].iter().collect();
        let bus = std::fs::read_link(device.join("subsystem")).ok()?;
        let device = std::fs::read_link(device).ok()?;
        let (bus, device) = (bus.file_name()?.to_string_lossy(), device.file_name()?.to_string_lossy());
        devlink::flow_counters(&bus, &device).ok()?
    }

    fn disturbance(&mut self, block: u32) -> Disturbance {
        let (messages, lost) = self.events.heard();
        let mut found = Disturbance { filters: lost, links: lost };
        for Message { kind, body } in messages {
            match kind {
                RTM_NEWTFILTER | RTM_DELTFILTER | RTM_NEWCHAIN | RTM_DELCHAIN => {
                    found.filters |= decode::is_of_block(&body, block);
                }
                RTM_NEWQDISC | RTM_DELQDISC => {
                    let kind = Attributes(body.get(TCMSG..).unwrap_or_default()).find(TCA_KIND);
                    found.filters |= matches!(kind, Some(b"clsact\0" | b"ingress\0"));
                }
                RTM_NEWACTION | RTM_DELACTION => found.filters = true,
                RTM_NEWLINK | RTM_DELLINK => found.links = true,
                _ => {}
            }
        }
        found
    }

    fn another(&self) -> io::Result<Box<dyn Kernel>> {
        Ok(Box::new(Rtnetlink::open()?))
    }
}
