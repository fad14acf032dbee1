//! Limits for clients of the API: connections, time and octets. They are enough for people and
//! monitoring.

pub(crate) use super::guesses::GUESSES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most connections of one listener.
pub(crate) const CONNECTIONS: usize = 64;

/// Most connections from one address, so that other clients can still connect.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;

/// Most long-lived connections (events and samples) of one listener.
pub(crate) const STREAMS: usize = 32;

/// Most requests that read the history on disk at the same time.
pub(crate) const HISTORY_READERS: usize = 2;

/// Longest wait for one of these slots, and longest search.
pub(crate) const HISTORY_PATIENCE: Duration = Duration::from_secs(10);

/// Most incidents of one answer.
pub(crate) const INCIDENTS: u32 = 1000;

/// Timeout for a request's head, and between two requests on one connection.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Timeout for a request's body.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(10);

/// Most octets of a request's head.
pub(crate) const HEAD: usize = 16 * 1024;

/// Most octets of a request's body: the longest possible rule is shorter than 64 KiB, the longest
/// packet in hex shorter than 128 KiB.
pub(crate) const BODY: usize = 256 * 1024;

/// Most octets of a body over the limit that are read and discarded, so that the client can read
/// the error.
pub(super) const MAX_DISCARDED_BODY: usize = 8 * 1024 * 1024;

/// Timeout for a client that reads nothing of an answer.
pub(crate) const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Most connections of a listener if the process may open `files` files: a quarter of what sessions
/// and everything else leave.
pub(super) fn connections(files: u64) -> usize {
    let left = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(256) / 4;
    left.clamp(8, CONNECTIONS)
}

/// The number of connections of each address.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionCounts(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One counted connection; uncounted when dropped.
#[derive(Debug)]
pub(super) struct CountedConnection {
    connection_counts: ConnectionCounts,
    address: IpAddr,
}

impl ConnectionCounts {
    /// `None` if this address has reached its limit.
    pub(super) fn take(&self, address: IpAddr) -> Option<CountedConnection> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= MAX_CONNECTIONS_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(CountedConnection { connection_counts: self.clone(), address })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut taken = self.connection_counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_share_and_releases_it() {
        let connection_counts = ConnectionCounts::default();
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse::<IpAddr>().unwrap());
        let taken: Vec<_> = std::iter::from_fn(|| connection_counts.take(a)).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS_PER_ADDRESS);
        assert!(connection_counts.take(b).is_some());
        drop(taken);
        assert!(connection_counts.take(a).is_some());
        assert!(connection_counts.0.lock().unwrap().is_empty());
    }

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!([64, 256, 300, 400, 1024, u64::MAX].map(connections), [8, 8, 11, 36, 64, 64]);
    }
}
