//! Operator lists as ExaBGP prints them: in JSON an array whose items are ORed, in its text `[ a b
//! ]`; within an item `&` is AND.
//!
//! If ExaBGP drops information, the list is refused: an operator that it has no sign for (it prints
//! the octet in hex before the value, `0980`), and the bits of one mask that version 4 prints as
//! several items, unless its text distinguishes them.

use crate::error::ParseError;
use crate::names;
use flowspec::{BitmaskOp, Comparison, ComponentType, NumericOp, Width};

const OPERATORS: [(&str, Comparison); 8] = [
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("true", Comparison::True),
    ("false", Comparison::False),
];

/// The operators of a numeric component. ExaBGP does not print widths: the smallest ones are used.
pub(crate) fn numeric(kind: ComponentType, items: &[&str]) -> Result<Vec<NumericOp>, ParseError> {
    let mut ops = Vec::new();
    for (and, piece) in pieces(items) {
        let (comparison, value) = OPERATORS
            .iter()
            .find_map(|(sign, comparison)| Some((*comparison, piece.strip_prefix(sign)?)))
            .ok_or_else(|| ParseError::new(format!("`{piece}` has no operator that ExaBGP has a sign for")))?;
        let always = matches!(comparison, Comparison::True | Comparison::False);
        // Without AND, ExaBGP prints no value after them, which changes nothing.
        let value = if always && value.is_empty() { "0" } else { value };
        let value = names::number(kind, value)
            .ok_or_else(|| ParseError::new(format!("`{value}` is not a known value for {kind}")))?;
        ops.push(NumericOp { and, comparison, value, width: kind.width_for(value) });
    }
    Ok(ops)
}

/// The operators of a bitmask component, from ExaBGP's text for it.
pub(crate) fn bitmask_text(kind: ComponentType, text: &str) -> Result<Vec<BitmaskOp>, ParseError> {
    let list = text.strip_prefix("[ ").and_then(|rest| rest.strip_suffix(" ]"));
    let items: Vec<&str> = list.map_or_else(|| vec![text], |list| list.split(' ').collect());
    let ops = bitmask(kind, &items)?;
    match (list.is_some(), ops.len()) {
        (false, 2..) | (true, 0 | 1) => Err(ParseError::new(format!("`{text}` is not how ExaBGP prints a list"))),
        _ => Ok(ops),
    }
}

/// The operators of a bitmask component whose items are whole.
pub(crate) fn bitmask(kind: ComponentType, items: &[&str]) -> Result<Vec<BitmaskOp>, ParseError> {
    let mut ops = Vec::new();
    for (and, piece) in pieces(items) {
        let (not, rest) = piece.strip_prefix('!').map_or((false, piece), |rest| (true, rest));
        let (all, names) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        let value = names::mask(kind, names)
            .ok_or_else(|| ParseError::new(format!("`{piece}` has bits or an operator that ExaBGP has no name for")))?;
        ops.push(BitmaskOp { and, not, all, value, width: Width::for_value(value) });
    }
    Ok(ops)
}

/// Whether the JSON array is how some version prints these operators: whole masks (5, and later
/// releases of 4.2), or one item a bit (4.2).
pub(crate) fn prints_as(kind: ComponentType, ops: &[BitmaskOp], items: &[&str]) -> bool {
    let printed = items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
    let no_bits: &[&str] = if kind == ComponentType::Fragment { &["", names::NO_BITS] } else { &[""] };
    no_bits.iter().any(|no_bits| {
        let words = |op: &BitmaskOp| words(kind, op.value, no_bits);
        let whole = |op: &BitmaskOp| format!("\"{}{}\"", sign(op), words(op).join("+"));
        let split = |op: &BitmaskOp| {
            let bits = words(op).into_iter().filter(|bit| !bit.is_empty());
            let bits: Vec<String> = bits.map(|bit| format!("\"{}{bit}\"", sign(op))).collect();
            bits.join(", ").replace("!is-fragment", names::NO_BITS)
        };
        // Version 4 removes the quotes between pieces joined by AND, and with them empty pieces.
        let join = |piece: &dyn Fn(&BitmaskOp) -> String| {
            ops.iter().enumerate().fold(String::new(), |text, (index, op)| {
                let comma = if index > 0 && !op.and { ", " } else { "" };
                text + comma + &piece(op)
            })
        };
        let unrepaired = ops.iter().enumerate().fold(String::new(), |text, (index, op)| match (index, op.and) {
            (0, _) => whole(op),
            (_, false) => text + ", " + &whole(op),
            // Within one string.
            (_, true) => text[..text.len() - 1].to_owned() + &whole(op)[1..],
        });
        let in_pieces = |piece: &dyn Fn(&BitmaskOp) -> String| join(piece).replace("\"\"", "");
        printed == unrepaired || printed == in_pieces(&whole) || printed == in_pieces(&split)
    })
}

fn sign(op: &BitmaskOp) -> String {
    let signs = [(op.and, "&"), (op.not, "!"), (op.all, "=")];
    signs.iter().filter(|(there, _)| *there).map(|(_, sign)| *sign).collect()
}

/// The names of a mask's bits; for a mask without any, `no_bits`.
fn words(kind: ComponentType, mask: u64, no_bits: &str) -> Vec<&str> {
    let words: Vec<&str> = names::bits(kind).iter().filter(|(_, bit)| mask & bit != 0).map(|(name, _)| *name).collect();
    if words.is_empty() { vec![no_bits] } else { words }
}

/// The pieces between `&` and the ends of items, each with whether AND joins it to the previous
/// one. The bit has no meaning in a first operator (RFC 8955 §4.2.1.1); version 4 prints it there.
fn pieces<'a>(items: &[&'a str]) -> Vec<(bool, &'a str)> {
    let mut pieces = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let item = if index == 0 { item.strip_prefix('&').unwrap_or(item) } else { item };
        pieces.extend(item.split('&').enumerate().map(|(index, piece)| (index > 0, piece)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::{Family, Nlri};

    fn shown(kind: ComponentType, ops: &[NumericOp]) -> String {
        Nlri::builder(Family::Ipv4).numeric(kind, ops).build().unwrap().to_string()
    }

    fn read(items: &[&str]) -> Result<String, String> {
        let kind = ComponentType::Port;
        numeric(kind, items).map(|ops| shown(kind, &ops)).map_err(|misread| misread.to_string())
    }

    #[test]
    fn numbers() {
        for (items, text) in [
            (&["=80"][..], "port 80"),
            (&[">=1024&<=2048", "=53"], "port 1024-2048,53"),
            (&["!=80&!=443", "<10", ">60000"], "port !=80&!=443,<10,>60000"),
            (&["true"], "port true"),
            (&[">=80&true7", "<10&false3"], "port >=80&true:7,<10&false:3"),
            (&["&=80"], "port 80"),
        ] {
            assert_eq!(read(items).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_exabgp_has_no_sign_for_is_refused() {
        for items in [
            &["0980"][..],
            &["4980"],
            &["80"],
            &["=80&"],
            &["=22&&=80"],
            &["=80", "&=443"],
            &[""],
            &["=-1"],
            &["=http"],
            &["= 80"],
            &["=224980000000000000000000"],
        ] {
            assert!(read(items).is_err(), "{items:?}");
        }
    }

    #[test]
    fn masks_are_read_from_the_text_and_compared_with_the_items() {
        let kind = ComponentType::TcpFlags;
        let check = |text: &str, items: &[&str]| prints_as(kind, &bitmask_text(kind, text).unwrap(), items);
        // Version 4 prints both of these as =syn, =ack.
        assert!(check("=syn+ack", &["=syn", "=ack"]));
        assert!(check("[ =syn =ack ]", &["=syn", "=ack"]));
        assert!(check("=syn+ack", &["=syn+ack"]));
        assert!(!check("[ =syn =ack ]", &["=syn+ack"]));
        assert!(!check("=syn+ack", &["=syn"]));
        assert!(check("[ =rst&=syn+ack fin+urg ]", &["=rst&=syn", "&=ack", "fin", "urg"]));
        assert!(check("[ =rst&=syn+ack fin+urg ]", &["=rst&=syn+ack", "fin+urg"]));
        assert!(check("=", &[]) && check("=", &["="]) && check("", &[""]) && check("", &[]));
        for odd in ["syn ack", "[ syn ]", "[ syn", "syn&ack", "0Dsyn", "=syn+unknown tcp flag type 1538"] {
            assert!(bitmask_text(kind, odd).is_err(), "{odd}");
        }
    }
}
