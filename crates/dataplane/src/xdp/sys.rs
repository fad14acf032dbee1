//! The bpf(2) calls for links and pins: direct system calls, whose error numbers say why an
//! attachment was refused.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

const ATTACH_TYPE_XDP: u32 = 37;
const LINK_TYPE_XDP: u32 = 6;
const SKB_MODE: u32 = 1 << 1;
const DRIVER_MODE: u32 = 1 << 2;

const SIOCGIFHWADDR: libc::Ioctl = 0x8927;

/// The magic number of a BPF file system.
const BPF_FS: i64 = 0xcafe_4a11;

/// A call whose attributes are half words; `pointer` goes into the first or second word.
fn call(command: libc::c_long, attributes: [u32; 8]) -> io::Result<i32> {
    // SAFETY: the attributes live until the call returns, and pointers in them are to the caller's
    // living values.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes) as libc::c_uint) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn descriptor(command: libc::c_long, attributes: [u32; 8]) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the kernel just created the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pointer as two half words of an attribute.
fn halves<T>(pointer: *const T) -> [u32; 2] {
    let octets = (pointer as u64).to_ne_bytes();
    [0, 4].map(|at| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]))
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// The kernel's information about an XDP link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// The id of the program behind it.
    pub(super) program: u32,
    /// The interface; 0 when that is gone, or somebody detached the link.
    pub(super) interface: u32,
}

/// Attaches a program to an interface.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32, native: bool) -> io::Result<OwnedFd> {
    let mode = if native { DRIVER_MODE } else { SKB_MODE };
    descriptor(LINK_CREATE, [raw(program), interface, ATTACH_TYPE_XDP, mode, 0, 0, 0, 0])
}

/// Replaces the program behind a link, atomically for packets.
pub(super) fn exchange(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_UPDATE, [raw(link), raw(program), 0, 0, 0, 0, 0, 0]).map(drop)
}

/// Detaches the program from the interface, whoever else holds the link.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    call(LINK_DETACH, [raw(link), 0, 0, 0, 0, 0, 0, 0]).map(drop)
}

/// Pins an object in a BPF file system, which keeps it alive.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let [low, high] = halves(path.as_ptr());
    call(OBJ_PIN, [low, high, raw(object), 0, 0, 0, 0, 0]).map(drop)
}

/// Opens a pinned object.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let [low, high] = halves(path.as_ptr());
    descriptor(OBJ_GET, [low, high, 0, 0, 0, 0, 0, 0])
}

fn info(object: BorrowedFd<'_>) -> io::Result<[u32; 64]> {
    let mut info = [0u32; 64];
    let [low, high] = halves(info.as_mut_ptr());
    call(OBJ_GET_INFO_BY_FD, [raw(object), size_of_val(&info) as u32, low, high, 0, 0, 0, 0])?;
    // The kernel wrote to it behind the compiler's back.
    Ok(std::hint::black_box(info))
}

/// The information about a link; an error if it is no XDP link.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let info = info(link)?;
    // type, id, program, (padding), interface
    if info[0] != LINK_TYPE_XDP {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a link of XDP"));
    }
    Ok(LinkInfo { program: info[2], interface: info[4] })
}

/// Size of a map's value, and number of its entries.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let info = info(map)?;
    // type, id, key_size, value_size, max_entries
    Ok((info[3], info[4]))
}

/// The id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // type, id
    Ok(info(program)?[1])
}

/// Puts a value into a hash table whose keys and values are half words.
pub(super) fn put(map: BorrowedFd<'_>, key: u32, value: u32) -> io::Result<()> {
    let ([key_low, key_high], [low, high]) = (halves(&raw const key), halves(&raw const value));
    call(MAP_UPDATE_ELEM, [raw(map), 0, key_low, key_high, low, high, 0, 0]).map(drop)
}

/// Removes a value from such a table; a missing value is not an error.
pub(super) fn map_delete(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    let [low, high] = halves(&raw const key);
    match call(MAP_DELETE_ELEM, [raw(map), 0, low, high, 0, 0, 0, 0]) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Runs a traffic-control program once, on a packet of zeros.
pub(super) fn run_once(program: BorrowedFd<'_>) -> io::Result<()> {
    let packet = [0u8; 64];
    let [low, high] = halves(packet.as_ptr());
    // program, result, sizes of packet in and out, packet, output (none)
    call(PROG_TEST_RUN, [raw(program), 0, packet.len() as u32, 0, low, high, 0, 0]).map(drop)
}

/// Runs a program this many times on frames that begin as copies of `packet`, and sends them as it
/// decides; nanoseconds for each.
#[cfg(xdp_program)]
pub(super) fn run_live(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> io::Result<u32> {
    const LIVE_FRAMES: u32 = 2;
    let [low, high] = halves(packet.as_ptr());
    // program, result, sizes of packet in and out, packet, output (none), repeat, duration, sizes
    // and pointers of contexts
    let mut attributes =
        [raw(program), 0, packet.len() as u32, 0, low, high, 0, 0, repeat, 0, 0, 0, 0, 0, 0, 0, LIVE_FRAMES, 0, 0, 0];
    // SAFETY: attributes and packet live until the call returns; it writes to the attributes, of
    // which it has the size.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, attributes.as_mut_ptr(), size_of_val(&attributes) as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(std::hint::black_box(attributes)[9]) }
}

/// Whether a directory is in a BPF file system.
pub(super) fn is_bpf_fs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: zero is valid for this struct of numbers.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a struct, both living until the call returns.
    let found = unsafe { libc::statfs(path.as_ptr(), &raw mut about) } == 0;
    #[allow(clippy::unnecessary_cast, trivial_numeric_casts, reason = "the type differs between machines")]
    let kind = about.f_type as i64;
    found && kind == BPF_FS
}

/// Mounts a BPF file system.
pub(super) fn mount_bpf_fs(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let kind = c"bpf".as_ptr();
    // SAFETY: C strings that outlive the call; mount(2) accepts null data for this kind of file
    // system.
    let result = unsafe { libc::mount(kind, path.as_ptr(), kind, 0, std::ptr::null()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The link type of an interface: an `ARPHRD_` number, which says what header its packets begin
/// with.
#[allow(trivial_numeric_casts, reason = "c_char has a sign on x86-64 and none on aarch64")]
pub(super) fn hardware_type(name: &str) -> io::Result<u16> {
    // SAFETY: zero is valid for this struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, octet) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = octet as libc::c_char;
    }
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an open descriptor, and the struct that this request fills, which lives until the
    // call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFHWADDR, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled in this member, and any octets are numbers.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// The running kernel, as `uname -r` has it.
pub(super) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Interfaces of this network namespace: index and name.
pub(super) fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: no arguments; the result is checked, and freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    for at in 0.. {
        // SAFETY: the list ends with an entry of zeros, after which nothing is read.
        let entry = unsafe { &*list.add(at) };
        if entry.if_index == 0 || entry.if_name.is_null() {
            break;
        }
        // SAFETY: a C string of the list, which has not been freed yet.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.if_name) };
        found.push((entry.if_index, name.to_string_lossy().into_owned()));
    }
    // SAFETY: from if_nameindex, and not used any more.
    unsafe { libc::if_freenameindex(list) };
    Ok(found)
}

/// The clock of the program's policers: nanoseconds, shifted left by eight bits.
pub(super) fn monotonic_ticks() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a pointer to a value of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    ((now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)).wrapping_shl(8)
}
