//! TCP-MD5 (RFC 2385) through the kernel's `TCP_MD5SIG` socket option, which no crate wraps.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Longest secret that the kernel accepts.
const MAX_KEY: usize = 80;

/// `struct tcp_md5sig` of `linux/tcp.h`.
#[repr(C)]
struct TcpMd5Sig {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: i32,
    key: [u8; MAX_KEY],
}

/// From now on segments to and from `peer` are signed with `secret`; an empty secret removes the
/// requirement. On a listening socket this holds for connections that are accepted later.
pub(super) fn set_secret(socket: BorrowedFd<'_>, peer: IpAddr, secret: &[u8]) -> io::Result<()> {
    let Some(key_len) = u16::try_from(secret.len()).ok().filter(|len| usize::from(*len) <= MAX_KEY) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a TCP-MD5 secret has at most 80 octets"));
    };
    // SAFETY: every field is a plain number or array of numbers, for which zero is valid.
    let mut option: TcpMd5Sig = unsafe { zeroed() };
    option.key_len = key_len;
    option.key[..secret.len()].copy_from_slice(secret);
    let address = socket2::SockAddr::from(std::net::SocketAddr::new(peer, 0));
    // SAFETY: source and destination are distinct, and `len` octets fit: a SockAddr is itself
    // stored in a sockaddr_storage.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut option.address).cast::<u8>(),
            address.len() as usize,
        );
    }
    // SAFETY: the pointer and the length describe `option`, which outlives the call; the kernel
    // only reads it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            (&raw const option).cast(),
            size_of::<TcpMd5Sig>() as libc::socklen_t,
        )
    };
    match outcome {
        0 => Ok(()),
        // To remove a key that was never set is not an error.
        _ if secret.is_empty() && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT) => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
