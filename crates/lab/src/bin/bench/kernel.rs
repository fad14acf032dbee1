//! The state of nf_tables, read without the daemon: the generation, which changes with every
//! transaction, and the event that the kernel sends after a commit.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::Netns;

/// NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const GROUP: libc::c_int = 7;
const SUBSYSTEM: u16 = 10;
const NEW_GENERATION: u16 = SUBSYSTEM << 8 | 15;
const ASK_GENERATION: u16 = SUBSYSTEM << 8 | 16;
/// nlmsghdr and nfgenmsg.
const HEADERS: usize = 16 + 4;

/// A netlink socket to the nf_tables of a namespace.
pub(crate) struct Tables {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Tables {
    /// A socket for requests.
    pub(crate) fn open(netns: &Netns) -> Result<Self> {
        let socket = netns.run(open).context("netlink socket")?;
        Ok(Self { socket, buffer: vec![0; 1 << 16] })
    }

    /// A socket for the events of transactions.
    pub(crate) fn listen(netns: &Netns) -> Result<Self> {
        let tables = Self::open(netns)?;
        set(&tables.socket, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &GROUP).context("netlink group")?;
        set(&tables.socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(32_i32 << 20)).context("netlink buffer")?;
        Ok(tables)
    }

    /// The current generation.
    pub(crate) fn generation(&mut self) -> Result<u32> {
        let mut request = [0_u8; HEADERS];
        request[..4].copy_from_slice(&(HEADERS as u32).to_ne_bytes());
        request[4..6].copy_from_slice(&ASK_GENERATION.to_ne_bytes());
        request[6..8].copy_from_slice(&1_u16.to_ne_bytes()); // NLM_F_REQUEST
        // SAFETY: the pointer is to as many octets as given.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error()).context("asking nf_tables");
        }
        match self.receive(Duration::from_secs(5))? {
            Some(generation) => Ok(generation),
            None => bail!("nf_tables does not tell its generation"),
        }
    }

    /// Waits until a transaction is committed; returns its generation, or `None` after the timeout.
    pub(crate) fn committed(&mut self, patience: Duration) -> Result<Option<u32>> {
        self.receive(patience)
    }

    /// The generation in the next message that has one.
    fn receive(&mut self, patience: Duration) -> Result<Option<u32>> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut entry = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: the pointer is to one entry, which lives through the call.
            let ready = unsafe { libc::poll(&raw mut entry, 1, i32::try_from(left.as_millis())?.max(1)) };
            if ready == 0 {
                return Ok(None);
            }
            // SAFETY: the pointer is to as many octets as given.
            let got =
                unsafe { libc::recv(self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast(), self.buffer.len(), 0) };
            let Ok(got) = usize::try_from(got) else {
                return Err(io::Error::last_os_error()).context("reading from nf_tables");
            };
            if let Some(generation) = generation_in(&self.buffer[..got]) {
                return Ok(Some(generation));
            }
        }
    }
}

/// The last generation in a datagram of netlink messages.
fn generation_in(mut messages: &[u8]) -> Option<u32> {
    let mut found = None;
    while messages.len() >= HEADERS + 8 {
        let length = u32::from_ne_bytes([messages[0], messages[1], messages[2], messages[3]]) as usize;
        let kind = u16::from_ne_bytes([messages[4], messages[5]]);
        if kind == NEW_GENERATION {
            // Its first attribute is NFTA_GEN_ID, in network byte order.
            let value = &messages[HEADERS + 4..HEADERS + 8];
            found = Some(u32::from_be_bytes([value[0], value[1], value[2], value[3]]));
        }
        messages = messages.get(length.max(HEADERS).next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; the descriptor is ours when it is one; the address is of the length
    // given.
    unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_NETFILTER);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        // An address of zeros requests an automatic one: without an address no event arrives.
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        if libc::bind(fd, std::ptr::from_ref(&address).cast(), length) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }
}

fn set(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to an integer of the length given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Octets of kernel memory of the kinds that nf_tables uses, on the whole machine; differences are
/// estimates.
pub(crate) fn memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kinds = ["SUnreclaim:", "Percpu:", "VmallocUsed:"];
    let lines = text.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    Ok(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1024)
}
