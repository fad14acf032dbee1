//! Operator lists: `80,443,8000-8080`, `>=512&<=1500`, `syn&!ack`, `[ =80 =443 ]`, `'==80
//! >=8000&<=8080'`.

use super::cursor::Cursor;
use super::error::TextError;
use super::words;
use crate::component::ComponentType;
use crate::op::{BitmaskOp, Comparison, NumericOp, Width};

/// The dialect of a text: they differ in the meaning of a plain name of TCP flags or fragment bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Ours: `syn+ack` requires all bits (m = 1).
    Own,
    /// ExaBGP's and GoBGP's: `syn+ack` matches any (m = 0), `=syn+ack` requires all.
    Foreign,
}

/// A word that is valid in IPv4 rules only, and its position.
pub(super) type Ipv4Only = (usize, &'static str);

const OPERATORS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    ("<", Comparison::Less),
    (">=", Comparison::GreaterOrEqual),
    (">", Comparison::Greater),
];

/// Reads the list of a numeric component.
pub(super) fn numeric(
    cursor: &mut Cursor<'_>,
    kind: ComponentType,
    dialect: Dialect,
    ipv4_only: &mut Vec<Ipv4Only>,
) -> Result<Vec<NumericOp>, TextError> {
    let mut ops = Vec::new();
    let more = |next: &Cursor<'_>| dialect == Dialect::Foreign && begins_item(next, kind);
    items(cursor, more, |cursor, and, _| numeric_item(cursor, kind, and, &mut ops, ipv4_only))?;
    Ok(ops)
}

/// Reads the list of a bitmask component.
pub(super) fn bitmask(
    cursor: &mut Cursor<'_>,
    kind: ComponentType,
    dialect: Dialect,
    ipv4_only: &mut Vec<Ipv4Only>,
) -> Result<Vec<BitmaskOp>, TextError> {
    let mut ops = Vec::new();
    let more = |next: &Cursor<'_>| dialect == Dialect::Foreign && begins_item(next, kind);
    items(cursor, more, |cursor, and, bracketed| {
        ops.push(bitmask_item(cursor, kind, and, bracketed, dialect, ipv4_only)?);
        Ok(())
    })?;
    Ok(ops)
}

/// Whether a value is next, rather than the next component or action.
fn begins_item(cursor: &Cursor<'_>, kind: ComponentType) -> bool {
    let word = cursor.clone().word();
    match cursor.peek() {
        Some('=' | '<' | '>' | '!' | '0'..='9') => true,
        // Both an ICMP type and an action are called `redirect`.
        _ if words::is_action(word) => false,
        _ => words::number(kind, word).is_some() || words::bit(kind, word).is_some(),
    }
}

/// Skips the `,` or `|` of an OR. After a value with an operator, a `|` before one without is
/// ambiguous.
fn or(cursor: &mut Cursor<'_>, before: &Cursor<'_>) -> Result<bool, TextError> {
    if cursor.eat(",") {
        return Ok(true);
    }
    let bar = cursor.at();
    if !cursor.eat("|") {
        return Ok(false);
    }
    let has_operator = |at: &Cursor<'_>| matches!(at.peek(), Some('=' | '!' | '<' | '>'));
    let mut next = cursor.clone();
    next.skip_space();
    if has_operator(before) && !has_operator(&next) {
        let text =
            "`,` and the operator before each value, or `+` between names of bits (this `|` can be read as either)";
        return Err(cursor.error_at(bar, text));
    }
    Ok(true)
}

/// Parses items joined by `,` or `|` (OR) and `&` (AND). In brackets or quotes, and if `more` says
/// so, space joins with OR too.
fn items(
    cursor: &mut Cursor<'_>,
    more: impl Fn(&Cursor<'_>) -> bool,
    mut item: impl FnMut(&mut Cursor<'_>, bool, bool) -> Result<(), TextError>,
) -> Result<(), TextError> {
    cursor.skip_space();
    let Some(mut close) = closing(cursor.peek()) else {
        let mut before = cursor.clone();
        item(cursor, false, false)?;
        loop {
            let mut ahead = cursor.clone();
            ahead.skip_space();
            let and = ahead.eat("&");
            let spaced = ahead.at() > cursor.at();
            if !(and || or(&mut ahead, &before)? || spaced && more(&ahead)) {
                return end_of_item(cursor);
            }
            ahead.skip_space();
            *cursor = ahead;
            before = cursor.clone();
            item(cursor, and, false)?;
        }
    };
    let mut first = true;
    let mut before = cursor.clone();
    loop {
        cursor.eat(opening(close));
        let mut spaced = true;
        loop {
            spaced |= cursor.peek().is_some_and(char::is_whitespace);
            cursor.skip_space();
            if !first && cursor.eat(close) {
                break;
            }
            let and = !first && cursor.eat("&");
            let or = !first && !and && or(cursor, &before)?;
            if !(spaced || and || or) {
                return Err(cursor.error(format!("`,`, `&`, a space or `{close}`")));
            }
            cursor.skip_space();
            before = cursor.clone();
            item(cursor, and, true)?;
            (first, spaced) = (false, false);
        }
        // A shell takes '==80' '==443' as two words of one list.
        let mut ahead = cursor.clone();
        ahead.skip_space();
        match closing(ahead.peek()) {
            Some(next) if next != "]" && close != "]" => (*cursor, close) = (ahead, next),
            _ => return Ok(()),
        }
    }
}

fn closing(open: Option<char>) -> Option<&'static str> {
    match open? {
        '[' => Some("]"),
        '\'' => Some("'"),
        '"' => Some("\""),
        _ => None,
    }
}

fn opening(close: &'static str) -> &'static str {
    if close == "]" { "[" } else { close }
}

/// An item must be followed by a separator.
fn end_of_item(cursor: &Cursor<'_>) -> Result<(), TextError> {
    match cursor.peek() {
        Some(c) if !c.is_whitespace() && !matches!(c, ';' | '}' | ']') => {
            Err(cursor.error("`,` (or), `&` (and) or a space"))
        }
        _ => Ok(()),
    }
}

fn numeric_item(
    cursor: &mut Cursor<'_>,
    kind: ComponentType,
    and: bool,
    ops: &mut Vec<NumericOp>,
    ipv4_only: &mut Vec<Ipv4Only>,
) -> Result<(), TextError> {
    let operator = OPERATORS.iter().find(|(text, _)| cursor.eat(text));
    if let Some((_, comparison)) = operator {
        cursor.skip_space();
        let (value, width) = number(cursor, kind, ipv4_only)?;
        ops.push(NumericOp { and, comparison: *comparison, value, width });
        return Ok(());
    }
    for (word, comparison) in [("true", Comparison::True), ("false", Comparison::False)] {
        if cursor.eat_word(word) {
            let (value, width) =
                if cursor.eat(":") { number(cursor, kind, ipv4_only)? } else { (0, kind.width_for(0)) };
            ops.push(NumericOp { and, comparison, value, width });
            return Ok(());
        }
    }
    let start = cursor.at();
    let (value, width) = number(cursor, kind, ipv4_only)?;
    if !cursor.eat("-") {
        ops.push(NumericOp { and, comparison: Comparison::Equal, value, width });
        return Ok(());
    }
    let (last, last_width) = number(cursor, kind, ipv4_only)?;
    if last < value {
        return Err(cursor
            .error_at(start, "a range whose end is not below its start")
            .suggest(format!("{last}-{value}")));
    }
    ops.push(NumericOp { and, comparison: Comparison::GreaterOrEqual, value, width });
    ops.push(NumericOp { and: true, comparison: Comparison::LessOrEqual, value: last, width: last_width });
    Ok(())
}

/// A number in decimal (in the width in which it is sent), in hex (whose digits give the width), or
/// by name.
fn number(
    cursor: &mut Cursor<'_>,
    kind: ComponentType,
    ipv4_only: &mut Vec<Ipv4Only>,
) -> Result<(u64, Width), TextError> {
    let start = cursor.at();
    if cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
        return digits(cursor, kind);
    }
    let word = cursor.word();
    if let Some(value) = words::number(kind, word) {
        if kind == ComponentType::IcmpType {
            ipv4_only.push((start, "the number of an ICMPv6 type (names are those of IPv4)"));
        }
        return Ok((value, kind.width_for(value)));
    }
    let max = words::field_max(kind);
    let named = if words::value_names(kind).next().is_some() { " or a name" } else { "" };
    let error =
        cursor.error_at(start, format!("a number from 0 to {max}{named} for `{kind}`, perhaps after an operator"));
    Err(error.suggest_nearest(word, words::value_names(kind)))
}

/// Decimal or hex digits that fit the component.
fn digits(cursor: &mut Cursor<'_>, kind: ComponentType) -> Result<(u64, Width), TextError> {
    let start = cursor.at();
    let max = words::field_max(kind);
    if cursor.eat("0x") || cursor.eat("0X") {
        let digits = cursor.take_while(|c| c.is_ascii_hexdigit());
        let width = match digits.len() {
            1..=2 => Width::One,
            3..=4 => Width::Two,
            5..=8 => Width::Four,
            9..=16 => Width::Eight,
            _ => return Err(cursor.error_at(start, "1 to 16 hex digits after `0x`")),
        };
        let value = u64::from_str_radix(digits, 16).map_err(|_| cursor.error_at(start, "hex digits after `0x`"))?;
        if width > kind.max_width() {
            let digits = 2 * kind.max_width().octets();
            return Err(cursor.error_at(start, format!("at most {digits} hex digits for `{kind}`")));
        }
        // Of these two the higher bits are reserved: they would be lost.
        if matches!(kind, ComponentType::Dscp | ComponentType::Fragment) && value > max {
            return Err(cursor.error_at(start, format!("a value from 0 to {max:#04x} for `{kind}`")));
        }
        return Ok((value, width));
    }
    let digits = cursor.take_while(|c| c.is_ascii_digit());
    match digits.parse::<u64>() {
        Ok(value) if value <= max && (digits.len() == 1 || !digits.starts_with('0')) => {
            Ok((value, kind.width_for(value)))
        }
        Ok(value) if value <= max => {
            Err(cursor.error_at(start, "a decimal number without leading zeros").suggest(value.to_string()))
        }
        _ => Err(cursor.error_at(start, format!("a number from 0 to {max} for `{kind}`"))),
    }
}

fn bitmask_item(
    cursor: &mut Cursor<'_>,
    kind: ComponentType,
    and: bool,
    bracketed: bool,
    dialect: Dialect,
    ipv4_only: &mut Vec<Ipv4Only>,
) -> Result<BitmaskOp, TextError> {
    let start = cursor.at();
    // `=`, `==`, `!`, `!=` and GoBGP's `=!`.
    let equal = cursor.eat("==") || cursor.eat("=");
    let not = cursor.eat("!");
    let equal = equal || not && cursor.eat("=");
    let mut all = equal || dialect == Dialect::Own;
    let mut group = None;
    for (word, asks_all) in [("any(", false), ("all(", true)] {
        if !equal && cursor.eat(word) {
            (all, group) = (asks_all, Some(word));
        }
    }
    let at = cursor.at();
    let (value, width) = mask(cursor, kind)?;
    if group.is_some() && !cursor.eat(")") {
        return Err(cursor.error("`)`"));
    }
    let plain = !equal && group.is_none();
    if plain && bracketed && dialect == Dialect::Own && value.count_ones() > 1 {
        let text = "`=` for all of these bits or `any(...)` for one of them (other programs' brackets mean any)";
        return Err(cursor.error_at(start, text));
    }
    if kind == ComponentType::Fragment && value & 1 != 0 {
        ipv4_only.push((at, "is-fragment, first-fragment or last-fragment (IPv6 has no dont-fragment)"));
    }
    Ok(BitmaskOp { and, not, all, value, width })
}

/// Names joined with `+`, or a number.
fn mask(cursor: &mut Cursor<'_>, kind: ComponentType) -> Result<(u64, Width), TextError> {
    if cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
        return digits(cursor, kind);
    }
    let mut value = 0;
    loop {
        let start = cursor.at();
        let word = cursor.word();
        if kind == ComponentType::Fragment && word.eq_ignore_ascii_case("not-a-fragment") {
            let text = "`!is-fragment&!first-fragment` for packets that are not fragments (`not-a-fragment` is sent as no bits, which no packet has)";
            return Err(cursor.error_at(start, text));
        }
        let Some(bit) = words::bit(kind, word) else {
            let names: Vec<_> = words::bits(kind).iter().map(|(name, _)| *name).collect();
            let names = if kind == ComponentType::Fragment { &names[..4] } else { &names[..] };
            let error = cursor.error_at(start, format!("one of {} for `{kind}`", names.join(", ")));
            return Err(error.suggest_nearest(word, words::value_names(kind)));
        };
        value |= bit;
        if !cursor.eat("+") {
            return Ok((value, Width::for_value(value)));
        }
    }
}
