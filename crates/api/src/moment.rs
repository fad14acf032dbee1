//! Moments as text: on the command line and in requests.

use crate::HumanDuration;
use std::time::{Duration, SystemTime};

/// Text that is not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time; expected one in UTC such as 2026-11-21T04:12:09Z or 2026-11-21, or how long ago, such as 2h"
)]
pub struct InvalidMoment(String);

/// Parses a time in UTC, a day (its beginning), or how long ago it was.
///
/// # Errors
/// It is none of these.
pub fn parse_moment(text: &str, now: SystemTime) -> Result<SystemTime, InvalidMoment> {
    let text = text.trim();
    let invalid = || InvalidMoment(text.to_owned());
    if text == "now" {
        return Ok(now);
    }
    if let Ok(ago) = text.parse::<HumanDuration>() {
        return Ok(now.checked_sub(ago.0).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH));
    }
    let whole = if text.contains(['T', 't', ' ']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    humantime::parse_rfc3339_weak(&whole).map_err(|_| invalid())
}

/// RFC 3339 in UTC with milliseconds, of milliseconds since 1970. Times that it cannot express
/// become the nearest that it can.
pub fn show_moment(milliseconds: i64) -> String {
    /// The last second of the year 9999.
    const LAST: u64 = 253_402_300_799_000;
    let since = u64::try_from(milliseconds).unwrap_or(0).min(LAST);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(since)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_days_and_distances() {
        let now = humantime::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
        let shown = |text: &str| parse_moment(text, now).map(|time| humantime::format_rfc3339(time).to_string());
        for (text, meant) in [
            ("2026-11-21T04:12:09Z", "2026-11-21T04:12:09Z"),
            ("2026-11-21 04:12:09", "2026-11-21T04:12:09Z"),
            ("2026-11-21T04:12:09.123Z", "2026-11-21T04:12:09.123000000Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2h", "2026-11-21T10:00:00Z"),
            ("30", "2026-11-21T11:59:30Z"),
            ("now", "2026-11-21T12:00:00Z"),
            ("36500d", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(meant), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-11-21T04:12", "04:12", "2026-11-21T04:12:09+01:00", "-2h"] {
            assert_eq!(shown(bad), Err(InvalidMoment(bad.to_owned())));
        }
        assert_eq!(show_moment(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!([show_moment(-1), show_moment(i64::MAX)], ["1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.000Z"]);
    }
}
