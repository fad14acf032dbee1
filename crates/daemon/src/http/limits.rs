//! What clients of the API may take: connections, time and octets. Enough for people and monitoring, too little to get in the way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections of one listener.
const CONNECTIONS: usize = 64;

/// Of these, connections from one address, so that others still get some.
const FROM_ONE_ADDRESS: usize = 16;

/// Connections of one listener that stay open for what happens next: events and samples.
pub(super) const STREAMS: usize = 32;

/// Until a request's head is there, and between two requests on one connection.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Until a request's body is there.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// Octets of a request's head.
pub(super) const HEAD: usize = 16 * 1024;

/// Octets of a request's body: the longest rule there can be has less than 64 KiB, as has the longest packet in hex 128 KiB.
pub(super) const BODY: usize = 256 * 1024;

/// Octets of a body that is too long which are read and thrown away, so that the client gets to read why.
pub(super) const SCRAP: usize = 8 * 1024 * 1024;

/// Until a client takes something of an answer.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// Connections of a listener, where the process may open so many files: a quarter of what is left by sessions and everything else.
pub(super) fn connections(files: u64) -> usize {
    let left = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(256) / 4;
    left.clamp(8, CONNECTIONS)
}

/// Who has how many connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    /// `None` if this address has its share.
    pub(super) fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= FROM_ONE_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn an_address_gets_its_share_and_gives_it_back() {
        let seats = Seats::default();
        let [a, b] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse::<IpAddr>().unwrap());
        let taken: Vec<_> = std::iter::from_fn(|| seats.take(a)).collect();
        assert_eq!(taken.len(), FROM_ONE_ADDRESS);
        assert!(seats.take(b).is_some());
        drop(taken);
        assert!(seats.take(a).is_some());
        assert!(seats.0.lock().unwrap().is_empty());
    }

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!([64, 256, 300, 400, 1024, u64::MAX].map(connections), [8, 8, 11, 36, 64, 64]);
    }
}
