//! Durations as text: in the configuration, on the command line and in requests.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration: a number of seconds, or text such as `90s`, `10m`, `1h30m`, `2d`, `250ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// This many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        HumanDuration(Duration::from_secs(seconds))
    }

    /// The longest accepted duration: 100 years, so that dates calculated with it can be formatted.
    pub const LONGEST: HumanDuration = HumanDuration::seconds(36_500 * 86_400);

    /// Parses the lifetime of a rule or of a pause, which is not zero.
    ///
    /// # Errors
    /// It is not a duration, longer than [`LONGEST`](Self::LONGEST), or zero.
    pub fn lifetime(text: &str) -> Result<Self, InvalidDuration> {
        match text.parse()? {
            HumanDuration(Duration::ZERO) => Err(InvalidDuration::Zero(text.to_owned())),
            age => Ok(age),
        }
    }
}

/// Text that is not an accepted duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// It has another format.
    #[error("`{0}` is not a duration; expected a form such as 90s, 10m, 1h30m, 2d or 250ms")]
    Form(String),
    /// It is longer than [`HumanDuration::LONGEST`].
    #[error("`{0}` is too long; expected at most 100 years (36500d)")]
    TooLong(String),
    /// It is zero, where that is not allowed.
    #[error("`{0}`: a duration of zero has no effect; expected a longer one")]
    Zero(String),
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let age = parse_age(text).ok_or_else(|| InvalidDuration::Form(text.to_owned()))?;
        if age.is_none_or(|age| age > HumanDuration::LONGEST.0) {
            return Err(InvalidDuration::TooLong(text.to_owned()));
        }
        Ok(HumanDuration(age.unwrap_or_default()))
    }
}

/// `None`: another format; `Some(None)`: more than a `Duration` can hold.
fn parse_age(text: &str) -> Option<Option<Duration>> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Some(Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return None;
        }
        // All digits: a number that does not fit is too large.
        let number: Option<u64> = rest[..digits].parse().ok();
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let seconds = |factor: u64| number?.checked_mul(factor).map(Duration::from_secs);
        let part = match &rest[..letters] {
            "ms" => number.map(Duration::from_millis),
            "" | "s" => seconds(1),
            "m" | "min" => seconds(60),
            "h" => seconds(3600),
            "d" => seconds(86_400),
            _ => return None,
        };
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.as_secs();
        let millis = self.0.subsec_millis();
        if seconds == 0 && millis == 0 {
            return f.write_str("0s");
        }
        for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
            if seconds >= unit {
                write!(f, "{}{name}", seconds / unit)?;
                seconds %= unit;
            }
        }
        if millis > 0 { write!(f, "{millis}ms") } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AgeVisitor;
        impl Visitor<'_> for AgeVisitor {
            type Value = HumanDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds, or a duration such as \"10m\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<HumanDuration, E> {
                let seconds =
                    u64::try_from(value).map_err(|_| E::custom(format!("{value} is not a duration: negative")))?;
                format!("{seconds}s").parse().map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(AgeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_and_write() {
        for (text, millis, shown) in [
            ("90", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("2d", 172_800_000, "2d"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
        ] {
            let age: HumanDuration = text.parse().unwrap();
            assert_eq!(age.0, Duration::from_millis(millis), "{text}");
            assert_eq!(age.to_string(), shown);
            assert_eq!(shown.parse(), Ok(age));
        }
        for bad in ["", "x", "1x", "-1s", "1.5h", "99999999999999999999x", "s"] {
            assert_eq!(bad.parse::<HumanDuration>(), Err(InvalidDuration::Form(bad.to_owned())));
        }
        for long in [
            "9000000000000s",
            "2924710d",
            "18446744073709551615s",
            "99999999999999999999s",
            "18446744073709551615d",
            "36500d1ms",
        ] {
            assert_eq!(long.parse::<HumanDuration>(), Err(InvalidDuration::TooLong(long.to_owned())));
        }
        assert_eq!("36500d".parse(), Ok(HumanDuration::LONGEST));
        assert_eq!(HumanDuration::lifetime("0ms"), Err(InvalidDuration::Zero("0ms".to_owned())));
    }
}
