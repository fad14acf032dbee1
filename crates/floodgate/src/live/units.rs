//! Numbers for people: three digits and a unit. `--json` has all digits.

use std::time::{Duration, SystemTime};

/// `999`, `1.23k`, `45.6M`, `789G`.
fn si(value: f64) -> (String, &'static str) {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = value;
    let mut prefix = 0;
    // A number that would be rounded up to 1000 gets the next unit.
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let digits = match (prefix, value) {
        (0, value) if value.fract() == 0.0 => 0,
        (_, value) if value >= 99.95 => 0,
        (_, value) if value >= 9.995 => 1,
        _ => 2,
    };
    (format!("{value:.digits$}"), PREFIXES[prefix])
}

/// A number of packets: all digits up to 99999.
pub(super) fn count(number: u64) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    let (digits, prefix) = si(number as f64);
    format!("{digits} {prefix}")
}

/// A number of octets.
pub(super) fn octets(number: u64) -> String {
    let (digits, prefix) = si(number as f64);
    format!("{digits} {prefix}B")
}

/// A number of packets or bits a second, with `pps` or `bps`.
pub(super) fn rate(number: f64, unit: &str) -> String {
    let (digits, prefix) = si(number);
    format!("{digits} {prefix}{unit}")
}

/// A duration in its two largest units: `2d3h`, `9m58s`, `12s`.
pub(super) fn time(length: Duration) -> String {
    let seconds = length.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let shown = parts.iter().skip(first).take(2).enumerate().filter(|(index, (count, _))| *index == 0 || *count > 0);
    shown.map(|(_, (count, unit))| format!("{count}{unit}")).collect()
}

/// How long ago a moment (RFC 3339) was; `-` if there is none.
pub(super) fn ago(moment: Option<&str>, now: SystemTime) -> String {
    distance(moment, |moment| now.duration_since(moment).unwrap_or_default())
}

/// Time until a moment.
pub(super) fn until(moment: Option<&str>, now: SystemTime) -> String {
    distance(moment, |moment| moment.duration_since(now).unwrap_or_default())
}

fn distance(moment: Option<&str>, length: impl Fn(SystemTime) -> Duration) -> String {
    let moment = moment.and_then(|text| humantime::parse_rfc3339(text).ok());
    moment.map_or_else(|| "-".to_owned(), |moment| time(length(moment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (number, text) in [
            (0.0, "0 pps"),
            (0.5, "0.50 pps"),
            (7.0, "7 pps"),
            (999.0, "999 pps"),
            (999.6, "1.00 kpps"),
            (1234.0, "1.23 kpps"),
            (99_960.0, "100 kpps"),
            (12_345_678.0, "12.3 Mpps"),
            (1e17, "100 Ppps"),
        ] {
            assert_eq!(rate(number, "pps"), text);
        }
        assert_eq!((count(99_999), count(1_234_567)), ("99999".to_owned(), "1.23 M".to_owned()));
        assert_eq!((octets(84), octets(1_500)), ("84 B".to_owned(), "1.50 kB".to_owned()));
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (598, "9m58s"), (3600, "1h"), (3661, "1h1m"), (187_200, "2d4h")]
        {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
        let now = humantime::parse_rfc3339("2026-01-01T00:10:00Z").unwrap();
        assert_eq!(ago(Some("2026-01-01T00:00:00.000Z"), now), "10m");
        assert_eq!(until(Some("2026-01-01T00:10:30.500Z"), now), "30s");
        assert_eq!((ago(None, now), ago(Some("x"), now)), ("-".to_owned(), "-".to_owned()));
        assert_eq!(until(Some("2025-01-01T00:00:00Z"), now), "0s");
    }
}
