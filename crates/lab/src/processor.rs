//! Pins a thread to one processor, so that its packets are received in order.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The calling thread stays on its current processor until this is dropped.
///
/// A veth puts a frame into the backlog of the sender's processor, which is processed in order. So
/// when a frame has been received, everything that this thread sent before has been processed,
/// however busy the machine is.
#[derive(Debug)]
pub struct OnOneProcessor {
    before: CpuSet,
}

impl OnOneProcessor {
    /// Pins the calling thread.
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
        // If it cannot be unpinned: slower, not wrong.
        let _ = sched_setaffinity(None, &self.before);
    }
}
