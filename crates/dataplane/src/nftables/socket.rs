//! The netlink socket to nf_tables: transactions, requests and dumps.

use super::inventory::EchoedHandles;
use super::nf_tables::{NFTA_GEN_ID, msg};
use super::wire::{Answer, Answers, Writer, family};
use crate::DataplaneError;
use crate::kernel::{PerVersion, VERSIONS};
use crate::netlink::{Attributes, NLM_F_DUMP};
use flowspec::IpVersion;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};
use std::os::fd::OwnedFd;

/// Receive buffer: many small errors may arrive at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Buffer for one datagram of a dump; the kernel sends at most 32 KiB.
const DATAGRAM: usize = 1 << 17;

/// Why a transaction was not committed. Nothing of it is in force.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Another program changed nf_tables since the given generation.
    Stale,
    /// The kernel's error.
    Kernel { errno: Errno, words: String },
    /// The socket failed.
    Io(Errno),
}

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn open() -> Result<Self, DataplaneError> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )
        .map_err(|errno| match errno {
            Errno::PROTONOSUPPORT => {
                DataplaneError::Unavailable("the kernel has no nf_tables; load it with: modprobe nf_tables".to_owned())
            }
            errno => io("opening the netlink socket", errno),
        })?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))
            .map_err(|e| io("binding the netlink socket", e))?;
        // Without CAP_NET_ADMIN the size is unchanged; then the commit itself is refused, with a
        // better error.
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER);
        Ok(Socket { fd, buffer: vec![0; DATAGRAM] })
    }

    /// Whether the socket's network namespace has an interface of this name.
    pub(super) fn has_interface(&self, name: &str) -> bool {
        rustix::net::netdevice::name_to_index(&self.fd, name).is_ok()
    }

    /// The kernel's generation: it changes with every transaction in this network namespace.
    pub(super) fn generation(&mut self) -> Result<u32, DataplaneError> {
        let mut generation = None;
        self.ask(IpVersion::V4, msg::GETGEN, 0, |_| {}, |_, attributes| generation = attributes.u32(NFTA_GEN_ID))?;
        generation.ok_or_else(|| DataplaneError::Refused("nf_tables did not report its generation".to_owned()))
    }

    /// Sends a whole transaction and waits for the result. `acknowledged` is the message that
    /// requested an acknowledgement. Returns what the kernel was asked to echo.
    pub(super) fn commit(
        &mut self,
        batch: &Writer,
        acknowledged: u32,
    ) -> Result<PerVersion<EchoedHandles>, CommitError> {
        self.drain();
        // The echo of a rule is about as long as the message that created the rule.
        let _ = sockopt::set_socket_recv_buffer_size_force(&self.fd, RECEIVE_BUFFER + 2 * batch.echoed());
        let size = batch.len() + (batch.len() / 4).max(1 << 16);
        // The whole transaction is one datagram. Root may exceed net.core.wmem_max; others get an
        // error from send().
        if sockopt::set_socket_send_buffer_size_force(&self.fd, size).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.fd, size);
        }
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, batch.as_bytes(), SendFlags::empty()))
            .map_err(CommitError::Io)?;
        // The kernel processes it in send(), so every answer is queued by now.
        let (mut committed, mut first_error) = (false, None);
        let mut echoed = PerVersion::<EchoedHandles>::default();
        loop {
            let length = match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => break,
                // More answers than fit: there was an error, or there would be one answer only.
                Err(Errno::NOBUFS | Errno::INTR) => continue,
                Err(errno) => return Err(CommitError::Io(errno)),
            };
            for answer in Answers(&self.buffer[..length.min(self.buffer.len())]) {
                match answer {
                    Answer::Status { sequence, errno: 0, .. } => committed |= sequence == acknowledged,
                    Answer::Status { sequence, errno, words } => {
                        let errno = Errno::from_raw_os_error(errno);
                        first_error.get_or_insert_with(|| (errno, batch.describe(sequence, words)));
                    }
                    Answer::Message { kind, family: of, attributes } => {
                        if let Some(&version) = VERSIONS.iter().find(|version| family(**version) == of) {
                            echoed.of_mut(version).note(kind, attributes);
                        }
                    }
                    Answer::Done => {}
                }
            }
        }
        match first_error {
            Some((Errno::RESTART, _)) => Err(CommitError::Stale),
            Some((errno, words)) => Err(CommitError::Kernel { errno, words }),
            None if committed => Ok(echoed),
            None => Err(CommitError::Io(Errno::NOBUFS)),
        }
    }

    /// Requests a dump of our table of this version; `each` is called with every message.
    /// `Ok(false)` if the object does not exist. A dump that another transaction interrupts
    /// contains messages of both states, as the kernel sends them.
    pub(super) fn dump(
        &mut self,
        version: IpVersion,
        kind: u8,
        body: impl FnOnce(&mut Writer),
        each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<bool, DataplaneError> {
        self.ask(version, kind, NLM_F_DUMP, body, each)
    }

    /// Requests one object; `Ok(false)` if it does not exist.
    pub(super) fn ask(
        &mut self,
        version: IpVersion,
        kind: u8,
        flags: u16,
        body: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u8, Attributes<'_>),
    ) -> Result<bool, DataplaneError> {
        self.drain();
        let mut request = Writer::new();
        request.table_of(version);
        // The acknowledgement ends the answer to a request for one object, DONE ends a dump.
        let flags = if flags & NLM_F_DUMP == NLM_F_DUMP { flags } else { flags | crate::netlink::NLM_F_ACK };
        request.message(kind, flags, body);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, request.as_bytes(), SendFlags::empty()))
            .map_err(|e| io("asking nf_tables", e))?;
        loop {
            let (_, length) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty())
            })
            .map_err(|e| io("reading from nf_tables", e))?;
            for answer in Answers(&self.buffer[..length.min(self.buffer.len())]) {
                match answer {
                    Answer::Done | Answer::Status { errno: 0, .. } => return Ok(true),
                    Answer::Status { errno, words, .. } => {
                        let errno = Errno::from_raw_os_error(errno);
                        if errno == Errno::NOENT {
                            return Ok(false);
                        }
                        return Err(io(words.as_deref().unwrap_or("asking nf_tables"), errno));
                    }
                    Answer::Message { kind, attributes, .. } => each(kind, attributes),
                }
            }
        }
    }

    /// Discards what an earlier, abandoned request left.
    fn drain(&mut self) {
        while rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT).is_ok() {}
    }
}

pub(super) fn io(context: &str, errno: Errno) -> DataplaneError {
    if errno == Errno::PERM {
        return DataplaneError::Unavailable("nftables needs the capability CAP_NET_ADMIN".to_owned());
    }
    DataplaneError::Io { context: context.to_owned(), source: errno.into() }
}
