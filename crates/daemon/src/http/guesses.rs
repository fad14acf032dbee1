//! Tokens that are guessed at: after some wrong ones, an address has to wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens of an address in [`GUESS_WINDOW`].
pub(crate) const GUESSES: u32 = 10;

/// After so many wrong tokens, requests with a token are refused until this time is over.
pub(crate) const GUESS_WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered; of more, all share one count.
const ADDRESSES: usize = 4096;

/// The wrong tokens of each address.
#[derive(Clone, Debug, Default)]
pub(super) struct Guesses(Arc<Mutex<HashMap<IpAddr, Count>>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    wrong: u32,
    since: Instant,
}

impl Guesses {
    /// How long this address has to wait before its token is looked at; `None`: it need not.
    pub(super) fn must_wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&network(address)).or_else(|| counts.get(&OTHERS))?;
        let left = (count.since + GUESS_WINDOW).saturating_duration_since(now);
        (count.wrong >= GUESSES && !left.is_zero()).then_some(left)
    }

    /// It showed a wrong token.
    pub(super) fn wrong(&self, address: IpAddr, now: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |count: &Count| now.saturating_duration_since(count.since) >= GUESS_WINDOW;
        if counts.len() >= ADDRESSES {
            counts.retain(|_, count| !is_over(count));
        }
        let mut key = network(address);
        if counts.len() >= ADDRESSES && !counts.contains_key(&key) {
            key = OTHERS;
        }
        let count = counts.entry(key).or_insert(Count { wrong: 0, since: now });
        if is_over(count) {
            *count = Count { wrong: 0, since: now };
        }
        count.wrong = count.wrong.saturating_add(1);
    }
}

/// Under which those are counted for whom there is no room.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Who has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        for _ in 0..GUESSES {
            assert_eq!(guesses.must_wait(a, now), None);
            guesses.wrong(a, now);
        }
        assert_eq!(guesses.must_wait(a, now), Some(GUESS_WINDOW));
        assert_eq!(guesses.must_wait(b, now), None);
        assert_eq!(guesses.must_wait(a, now + GUESS_WINDOW), None);
        guesses.wrong(a, now + GUESS_WINDOW);
        assert_eq!(guesses.must_wait(a, now + GUESS_WINDOW), None, "it begins anew");
    }

    #[test]
    fn many_addresses_take_no_more_than_the_room_and_get_no_further() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..u32::try_from(ADDRESSES).unwrap() * 3 {
            guesses.wrong(IpAddr::V4(number.into()), now);
        }
        assert!(guesses.0.lock().unwrap().len() <= ADDRESSES + 1);
        assert!(guesses.must_wait("203.0.113.9".parse().unwrap(), now).is_some());
        // One network of IPv6 counts once.
        let guesses = Guesses::default();
        for number in 0..GUESSES {
            guesses.wrong(Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(number)).into(), now);
        }
        assert!(guesses.must_wait("2001:db8::ffff".parse().unwrap(), now).is_some());
    }
}
