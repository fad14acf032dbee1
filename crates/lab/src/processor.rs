//! Keeping a thread on one processor, so that what it sends is received in order.

use std::io;
use std::mem::{size_of, zeroed};

/// The calling thread stays on the processor where it is, until this is dropped.
///
/// A veth hands a frame to the backlog of the sender's processor, which is worked off in order. So when a frame is seen to have come, all
/// that this thread sent before it were dealt with, however busy the machine is.
#[derive(Debug)]
pub struct OnOneProcessor {
    before: libc::cpu_set_t,
}

impl OnOneProcessor {
    /// Keeps the calling thread where it is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stay() -> io::Result<Self> {
        // SAFETY: a cpu_set_t is a plain array of bits, zero is the empty set; the kernel writes no more than the size it is told.
        unsafe {
            let mut before: libc::cpu_set_t = zeroed();
            check(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut before))?;
            let here = libc::sched_getcpu();
            check(here)?;
            let mut only: libc::cpu_set_t = zeroed();
            libc::CPU_SET(here as usize, &mut only);
            check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &only))?;
            Ok(OnOneProcessor { before })
        }
    }
}

impl Drop for OnOneProcessor {
    fn drop(&mut self) {
        // SAFETY: as above. A thread that cannot go elsewhere stays: slower, not wrong.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.before) };
    }
}

fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
