//! Keeping a thread on one processor, so that what it sends is received in order.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The calling thread stays on the processor where it is, until this is dropped.
///
/// A veth hands a frame to the backlog of the sender's processor, which is worked off in order. So when a frame is seen to have come, all
/// that this thread sent before it were dealt with, however busy the machine is.
#[derive(Debug)]
pub struct OnOneProcessor {
    before: CpuSet,
}

impl OnOneProcessor {
    /// Keeps the calling thread where it is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stay() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut only = CpuSet::new();
        only.set(sched_getcpu());
        sched_setaffinity(None, &only)?;
        Ok(OnOneProcessor { before })
    }
}

impl Drop for OnOneProcessor {
    fn drop(&mut self) {
        // A thread that cannot go elsewhere stays: slower, not wrong.
        let _ = sched_setaffinity(None, &self.before);
    }
}
