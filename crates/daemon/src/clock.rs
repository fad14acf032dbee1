//! The clock for the lifetimes of rules. Nobody can set it.
//!
//! The engine's seconds follow the kernel's time since boot (CLOCK_BOOTTIME), which includes
//! suspend and does not move when the wall clock is set. After a restart of the daemon it continues
//! from the [mark](ClockMark) in the state file. After a reboot, only the uptime since then is
//! known; the time that the machine was off is added once the kernel reports that its clock is
//! synchronised, provided that it was synchronised when the mark was made. So no lifetime is
//! shorter than asked because of a wrong clock, and none is longer than by the time that cannot be
//! known.

use engine::Timestamp;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A reading of the machine's clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReading {
    /// The boot id.
    pub boot_id: u128,
    /// Milliseconds since boot, including suspend.
    pub since_boot: u64,
    /// Milliseconds since 1970 of the wall clock, which may be wrong.
    pub wall: u64,
    /// The kernel reports that the wall clock is synchronised.
    pub synchronized: bool,
}

/// The engine's time and the reading of the clocks at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The engine's time in milliseconds.
    pub time: u64,
    /// The boot id of the reading.
    pub boot_id: u128,
    /// Milliseconds since that boot, including suspend.
    pub since_boot: u64,
    /// Milliseconds since 1970 of the wall clock, which may be wrong.
    pub wall: u64,
    /// Whether the wall clock can be trusted.
    pub trust: WallTrust,
}

/// Whether the wall clock time of a mark can be used for calculations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallTrust {
    /// The clock was not synchronised.
    None,
    /// The kernel reported that the clock was synchronised.
    Synchronized,
    /// The time of a trusted mark of an earlier boot, advanced by the known uptime: the time that
    /// the machine was off is missing.
    Reckoned,
}

/// The engine's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The engine's time at this time since boot.
    base: (u64, u64),
    /// A mark of an earlier boot; not all of the time since then is counted yet.
    earlier: Option<ClockMark>,
}

impl Clock {
    /// Starts, or continues from the last mark. Without a mark, the time is that of the wall clock,
    /// right or wrong.
    pub(crate) fn start(now: &ClockReading, last: Option<ClockMark>) -> Self {
        let Some(last) = last else { return Clock { base: (now.wall, now.since_boot), earlier: None } };
        if last.boot_id == now.boot_id && last.since_boot <= now.since_boot {
            let earlier = (last.trust == WallTrust::Reckoned).then_some(last);
            return Clock { base: (last.time, last.since_boot), earlier };
        }
        Clock { base: (last.time, 0), earlier: (last.trust != WallTrust::None).then_some(last) }
    }

    /// The engine's time in milliseconds, as far as it is known.
    const fn verified(&self, since_boot: u64) -> u64 {
        self.base.0.saturating_add(since_boot.saturating_sub(self.base.1))
    }

    /// The engine's time in milliseconds.
    pub(crate) fn time(&mut self, now: &ClockReading) -> u64 {
        let time = self.verified(now.since_boot);
        let Some(earlier) = self.earlier.filter(|_| now.synchronized) else { return time };
        // From here on the time that the machine was off is known, too.
        self.earlier = None;
        let whole = earlier.time.saturating_add(now.wall.saturating_sub(earlier.wall));
        self.base = (whole.max(time), now.since_boot);
        self.base.0
    }

    /// The mark to save for the next start.
    pub(crate) fn mark(&mut self, now: &ClockReading) -> ClockMark {
        let ClockReading { boot_id, since_boot, wall, synchronized } = *now;
        let time = self.time(now);
        let (wall, trust) = match self.earlier {
            Some(earlier) => (earlier.wall.saturating_add(time.saturating_sub(earlier.time)), WallTrust::Reckoned),
            None if synchronized => (wall, WallTrust::Synchronized),
            None => (wall, WallTrust::None),
        };
        ClockMark { time, boot_id, since_boot, wall, trust }
    }

    /// The wall clock time of a moment in engine time, past or future; in milliseconds.
    pub(crate) fn wall(&mut self, now: &ClockReading, time: u64) -> u64 {
        let engine = self.time(now);
        now.wall.saturating_add(time).saturating_sub(engine)
    }
}

impl ClockReading {
    /// Reads this machine's clocks.
    pub(crate) fn now() -> Self {
        ClockReading {
            boot_id: boot_id(),
            since_boot: since_boot(),
            wall: milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            synchronized: is_synchronized(),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the boot.
fn since_boot() -> u64 {
    let time = Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime));
    // The value is never negative.
    milliseconds(time.unwrap_or_default())
}

/// The kernel's id of this boot; 0 if it has none.
fn boot_id() -> u128 {
    static ID: OnceLock<u128> = OnceLock::new();
    *ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or_default()
    })
}

/// Whether the kernel reports that the wall clock is synchronised.
fn is_synchronized() -> bool {
    // SAFETY: a `timex` of zeros is valid, and changes nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` that outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

/// The clock of this process.
static CLOCK: OnceLock<Mutex<Clock>> = OnceLock::new();

/// Continues from the mark in the state file; only the first call has an effect.
pub(crate) fn start(last: Option<ClockMark>) {
    CLOCK.get_or_init(|| Mutex::new(Clock::start(&ClockReading::now(), last)));
}

fn clock() -> MutexGuard<'static, Clock> {
    let clock = CLOCK.get_or_init(|| Mutex::new(Clock::start(&ClockReading::now(), None)));
    clock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's time, rounded up to the next second: a lifetime that begins now is never shorter
/// than asked.
pub(crate) fn now() -> Timestamp {
    last_full_second().plus(1)
}

/// The engine's time, rounded down to whole seconds: a lifetime that ends then has ended.
pub(crate) fn last_full_second() -> Timestamp {
    let mut clock = clock();
    // This runs for each received rule; the clocks are read only if needed.
    let time = if clock.earlier.is_none() { clock.verified(since_boot()) } else { clock.time(&ClockReading::now()) };
    Timestamp(time / 1000)
}

/// The mark to save for the next start.
pub(crate) fn mark() -> ClockMark {
    clock().mark(&ClockReading::now())
}

/// Lifetimes are in whole seconds, rounded up.
pub(crate) fn whole_seconds(lifetime: Duration) -> u64 {
    lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0)
}

/// A moment of engine time as wall clock time, by the wall clock as it is now.
pub(crate) fn date(time: Timestamp) -> SystemTime {
    let wall = clock().wall(&ClockReading::now(), time.0.saturating_mul(1000));
    crate::events::unix_time(wall / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const YEAR: u64 = 365 * 24 * 60 * MINUTE;
    /// A day in 2026.
    const TODAY: u64 = 1_795_000_000_000;

    /// A reading some minutes after boot, with a right or a wrong wall clock.
    fn reading(boot_id: u128, up: u64, wall: u64, synchronized: bool) -> ClockReading {
        ClockReading { boot_id, since_boot: up * MINUTE, wall, synchronized }
    }

    /// A mark after ten minutes of a first boot.
    fn marked(synchronized: bool) -> ClockMark {
        let mut clock = Clock::start(&reading(1, 0, TODAY, synchronized), None);
        let mark = clock.mark(&reading(1, 10, TODAY + 10 * MINUTE, synchronized));
        assert_eq!(mark.time, TODAY + 10 * MINUTE);
        mark
    }

    /// Minutes of engine time since the mark.
    fn last_full_second(clock: &mut Clock, now: &ClockReading) -> u64 {
        (clock.time(now) - marked(true).time) / MINUTE
    }

    #[test]
    fn setting_the_clock_moves_nothing() {
        for wall in [0, TODAY - YEAR, TODAY, TODAY + YEAR] {
            // While the daemon runs, and after its restart.
            let mut clock = Clock::start(&reading(1, 10, TODAY + 10 * MINUTE, true), Some(marked(true)));
            assert_eq!(last_full_second(&mut clock, &reading(1, 13, wall, true)), 3);
            let mut again = Clock::start(&reading(1, 13, wall, false), Some(marked(true)));
            assert_eq!(last_full_second(&mut again, &reading(1, 13, wall, false)), 3);
            assert_eq!(last_full_second(&mut again, &reading(1, 14, TODAY, true)), 4);
        }
    }

    #[test]
    fn a_machine_without_a_clock_counts_from_its_boot_until_the_clock_is_set() {
        // Off for an hour; up again with the wall clock in 1972, which is set two minutes later.
        let mut clock = Clock::start(&reading(2, 1, 2 * YEAR, false), Some(marked(true)));
        assert_eq!(last_full_second(&mut clock, &reading(2, 1, 2 * YEAR, false)), 1);
        assert_eq!(last_full_second(&mut clock, &reading(2, 2, 2 * YEAR, false)), 2);
        let set = TODAY + 10 * MINUTE + 62 * MINUTE;
        assert_eq!(last_full_second(&mut clock, &reading(2, 2, set, true)), 62);
        assert_eq!(last_full_second(&mut clock, &reading(2, 3, set + MINUTE, true)), 63);
    }

    #[test]
    fn an_unsynchronised_clock_ends_no_lifetime() {
        // The wall clock is a year ahead before and after the reboot, and set back later.
        let mut clock = Clock::start(&reading(2, 1, TODAY + YEAR, false), Some(marked(true)));
        assert_eq!(last_full_second(&mut clock, &reading(2, 5, TODAY + YEAR, false)), 5);
        assert_eq!(last_full_second(&mut clock, &reading(2, 6, TODAY + 20 * MINUTE, true)), 10);
        // The clock was not synchronised at the mark: the time since then is unknown, too.
        let mut clock = Clock::start(&reading(2, 1, TODAY + YEAR, true), Some(marked(false)));
        assert_eq!(last_full_second(&mut clock, &reading(2, 5, TODAY + YEAR, true)), 5);
    }

    #[test]
    fn the_time_off_is_not_forgotten_by_a_restart_before_the_clock_is_set() {
        let mut clock = Clock::start(&reading(2, 1, 0, false), Some(marked(true)));
        let mark = clock.mark(&reading(2, 4, 0, false));
        // The same boot and another one: the clock is right again 90 minutes after the first mark.
        let right = TODAY + 100 * MINUTE;
        for (boot_id, up, sure) in [(2, 5, 5), (3, 2, 6)] {
            let mut again = Clock::start(&reading(boot_id, up, 0, false), Some(mark));
            assert_eq!(last_full_second(&mut again, &reading(boot_id, up, 0, false)), sure);
            assert_eq!(last_full_second(&mut again, &reading(boot_id, up + 1, right, true)), 90);
        }
    }

    #[test]
    fn time_never_goes_back() {
        let mut clock = Clock::start(&reading(2, 30, 0, false), Some(marked(true)));
        assert_eq!(last_full_second(&mut clock, &reading(2, 30, 0, false)), 30);
        // By the wall clock twelve minutes passed; the uptime proves thirty.
        assert_eq!(last_full_second(&mut clock, &reading(2, 30, TODAY + 22 * MINUTE, true)), 30);
        // An impossible reading: less time since the same boot, as in a restored container.
        let mut clock = Clock::start(&reading(1, 2, TODAY, false), Some(marked(true)));
        assert_eq!(last_full_second(&mut clock, &reading(1, 2, TODAY, false)), 2);
    }

    #[test]
    fn dates_are_told_by_the_clock_as_it_is_now() {
        let mut clock = Clock::start(&reading(1, 0, 2 * YEAR, false), None);
        let end = clock.time(&reading(1, 0, 2 * YEAR, false)) + 10 * MINUTE;
        assert_eq!(clock.wall(&reading(1, 3, 2 * YEAR + 3 * MINUTE, false), end), 2 * YEAR + 10 * MINUTE);
        assert_eq!(clock.wall(&reading(1, 4, TODAY, true), end), TODAY + 6 * MINUTE);
    }

    #[test]
    fn this_machine_has_clocks() {
        let (a, b) = (ClockReading::now(), ClockReading::now());
        assert!(a.boot_id != 0 && a.boot_id == b.boot_id && a.since_boot > 0 && a.since_boot <= b.since_boot);
    }
}
