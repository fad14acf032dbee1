//! Rates: `1mbps` (bits a second), `125000` (bytes a second, as on the wire), `1000pps`. The output
//! parses to the same float.

use super::cursor::Cursor;
use super::error::TextError;
use crate::action::{Action, Rate};
use std::fmt;

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes a second (8006).
    Bytes,
    /// Packets a second (800c).
    Packets,
}

/// Units of bits a second, largest first.
const BITS: [(&str, f64); 5] = [("tbps", 1e12), ("gbps", 1e9), ("mbps", 1e6), ("kbps", 1e3), ("bps", 1.0)];
/// Units of packets a second; the last is the canonical one.
const PACKETS: [(&str, f64); 3] = [("mpps", 1e6), ("kpps", 1e3), ("pps", 1.0)];

const EXPECTED: &str = "a rate such as 1mbps (bits a second), 1000pps (packets) or 125000 (bytes a second)";

/// Parses the text after `discard`: nothing, or the rate as sent if it is below zero, as in
/// `discard(-100)` and `discard(-0pps)`.
pub(super) fn discard(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    let as_sent = |rate: f32| rate <= 0.0;
    extreme(cursor, as_sent, "a rate that discards: 0 or below, as in `discard(-100)`")?
        .map_or_else(|| sent(cursor, 0.0, Unit::Bytes, 0), Ok)
}

/// Parses the text after `unlimited`: the rate as sent.
pub(super) fn unlimited(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    const EXPECTED: &str = "`unlimited(inf)`: the one rate that does not limit";
    extreme(cursor, |rate| rate == f32::INFINITY, EXPECTED)?.ok_or_else(|| cursor.error(EXPECTED))
}

/// A rate in parentheses that no other form can express, with its unit and AS number.
fn extreme(cursor: &mut Cursor<'_>, fits: impl Fn(f32) -> bool, expected: &str) -> Result<Option<Action>, TextError> {
    if !cursor.eat("(") {
        return Ok(None);
    }
    let at = cursor.at();
    let text = cursor.take_while(|c| c != ')' && !c.is_whitespace());
    let (number, unit) = text.strip_suffix("pps").map_or((text, Unit::Bytes), |number| (number, Unit::Packets));
    let known = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | 'i' | 'n' | 'f');
    let rate = number.parse::<f32>().ok().filter(|rate| number.chars().all(known) && fits(*rate));
    let rate = rate.ok_or_else(|| cursor.error_at(at, expected))?;
    if !cursor.eat(")") {
        return Err(cursor.error("`)`"));
    }
    let asn = if cursor.eat_word("as") { as_number(cursor)? } else { 0 };
    sent(cursor, rate, unit, asn).map(Some)
}

fn sent(cursor: &Cursor<'_>, rate: f32, unit: Unit, asn: u16) -> Result<Action, TextError> {
    let rate = Rate::new(rate).ok_or_else(|| cursor.error(EXPECTED))?;
    Ok(match unit {
        Unit::Bytes => Action::RateBytes { asn, rate },
        Unit::Packets => Action::RatePackets { asn, rate },
    })
}

/// Reads a number without a unit, as in ExaBGP's `rate-limit-packets 1000`.
pub(super) fn plain(cursor: &mut Cursor<'_>, unit: Unit) -> Result<Action, TextError> {
    cursor.skip_space();
    let at = cursor.at();
    let number = cursor.take_while(|c| c.is_ascii_digit() || c == '.');
    let rate = read(number, None).ok_or_else(|| cursor.error_at(at, "a number without a unit, 0 or above"))?;
    sent(cursor, rate, unit, 0)
}

/// Reads number, unit and AS number; the unit may be a word of its own, as in ExaBGP's `rate-limit
/// 1000 packets`.
pub(super) fn action(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    cursor.skip_space();
    let start = cursor.at();
    if cursor.peek() == Some('-') {
        return Err(cursor.error("a rate above 0; what lies below discards").suggest("discard"));
    }
    let number = cursor.take_while(|c| c.is_ascii_digit() || c == '.');
    let unit_at = cursor.at();
    let unit = cursor.take_while(|c| c.is_ascii_alphabetic() || c == '/');
    let (rate, unit) = match unit {
        "" => match ["packets", "bytes"].iter().find(|word| cursor.eat(&format!(":{word}")) || cursor.eat_word(word)) {
            Some(&"packets") => (read(number, None), Unit::Packets),
            _ => (read(number, None), Unit::Bytes),
        },
        unit => {
            let lower = unit.to_ascii_lowercase();
            let scale = |units: &[(&str, f64)]| units.iter().find(|(name, _)| *name == lower).map(|(_, scale)| *scale);
            // 1MBps may mean megabytes: a capital B is ambiguous.
            match (scale(&BITS).filter(|_| !unit.contains('B')), scale(&PACKETS)) {
                (Some(scale), _) => (read(number, Some(scale / 8.0)), Unit::Bytes),
                (_, Some(scale)) => (read(number, Some(scale)), Unit::Packets),
                // 1MBps: bytes to some, bits to others.
                (None, None) if unit.contains('B') && scale(&BITS).is_some() => {
                    let expected =
                        format!("`{number}{lower}` for bits a second, or a number without unit for bytes a second");
                    return Err(cursor.error_at(unit_at, expected));
                }
                (None, None) => {
                    let units =
                        "one of bps, kbps, mbps, gbps, tbps (bits), pps, kpps, mpps; or no unit for bytes a second";
                    return Err(cursor.error_at(unit_at, units));
                }
            }
        }
    };
    let rate = rate.ok_or_else(|| cursor.error_at(start, EXPECTED))?;
    let asn = if cursor.eat_word("as") { as_number(cursor)? } else { 0 };
    sent(cursor, rate, unit, asn)
}

fn as_number(cursor: &mut Cursor<'_>) -> Result<u16, TextError> {
    cursor.skip_space();
    let start = cursor.at();
    let digits = cursor.take_while(|c| c.is_ascii_digit());
    digits.parse().map_err(|_| cursor.error_at(start, "an AS number from 0 to 65535"))
}

/// The nearest float, in bytes or packets a second. `None` for text that is not a number, too
/// large, or so small that it would become 0, which means discard.
fn read(number: &str, scale: Option<f64>) -> Option<f32> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let rate = match scale {
        None => number.parse::<f32>().ok()?,
        Some(scale) => (number.parse::<f64>().ok()? * scale) as f32,
    };
    let zero = number.bytes().all(|b| matches!(b, b'0' | b'.'));
    (rate.is_finite() && (rate > 0.0 || zero)).then_some(rate)
}

/// Writes a rate without another text form as its effect, with the rate as sent: `discard(-100)`,
/// `discard(-0pps)`, `unlimited(inf)`.
pub(super) fn show_extreme(f: &mut fmt::Formatter<'_>, rate: f32, unit: Unit) -> fmt::Result {
    let word = if rate <= 0.0 { "discard" } else { "unlimited" };
    let unit = if unit == Unit::Packets { "pps" } else { "" };
    write!(f, "{word}({rate}{unit})")
}

/// Writes a rate that [`read`] parses bit for bit. Only for finite rates that are not below zero.
pub(super) fn show(f: &mut fmt::Formatter<'_>, rate: f32, unit: Unit) -> fmt::Result {
    if unit == Unit::Bytes && rate > 0.0 {
        let bits = f64::from(rate) * 8.0;
        let exact = BITS[..4].iter().find(|(_, scale)| {
            let count = bits / scale;
            count.fract() == 0.0
                && count < 1e6
                && read(&count.to_string(), Some(scale / 8.0)).map(f32::to_bits) == Some(rate.to_bits())
        });
        if let Some((name, scale)) = exact {
            return write!(f, "{}{name}", bits / scale);
        }
    }
    if rate.fract() == 0.0 {
        // Every digit of an integer, if the shortest form of a float would round.
        write!(f, "{}", f64::from(rate))?;
    } else {
        write!(f, "{rate}")?;
    }
    if unit == Unit::Packets { f.write_str("pps") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rate: f32, unit: Unit) -> String {
        struct Shown(f32, Unit);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(f, self.0, self.1)
            }
        }
        Shown(rate, unit).to_string()
    }

    #[test]
    fn what_is_shown_reads_back_bit_for_bit() {
        let interesting = [0u32, 1, 0x007f_ffff, 0x0080_0000, 0x3dcc_cccd, 0x4616_0000, 0x4974_2400, 0x7f7f_ffff];
        let spread = (0..0x7f80_0000u32).step_by(104_729);
        for bits in interesting.into_iter().chain(spread) {
            let rate = f32::from_bits(bits);
            for unit in [Unit::Bytes, Unit::Packets] {
                let text = shown(rate, unit);
                let read = action(&mut Cursor::new(&text)).unwrap();
                let rate = Rate::new(rate).unwrap();
                let expected = match unit {
                    Unit::Bytes => Action::RateBytes { asn: 0, rate },
                    Unit::Packets => Action::RatePackets { asn: 0, rate },
                };
                assert_eq!(read, expected, "{text}");
            }
        }
    }

    #[test]
    fn units() {
        let table = [
            (125_000.0, Unit::Bytes, "1mbps"),
            (1_250_000_000.0, Unit::Bytes, "10gbps"),
            (9_600.0, Unit::Bytes, "9600"),
            (16_000.0, Unit::Bytes, "128kbps"),
            (123_456_792.0, Unit::Bytes, "123456792"),
            (0.5, Unit::Bytes, "0.5"),
            (1000.0, Unit::Packets, "1000pps"),
        ];
        for (rate, unit, text) in table {
            assert_eq!(shown(rate, unit), text);
        }
    }

    #[test]
    fn refuses_what_would_be_another_rate() {
        let tiny = format!("0.{}1", "0".repeat(60));
        let huge = "9".repeat(400);
        for text in ["", "x", "-1", ".", "1.", ".5", "1MBps", "1xps", "1.2.3", &tiny, &huge, "inf", "1e3"] {
            let mut cursor = Cursor::new(text);
            let read = action(&mut cursor);
            assert!(read.is_err() || cursor.peek().is_some(), "{text}: {read:?}");
        }
    }
}
