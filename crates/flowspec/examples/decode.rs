//! Decodes the NLRI field of an UPDATE and extended communities, both in hex:
//!
//! ```text
//! cargo run -p flowspec --example decode -- ipv4 0b0118c00002038106048119 8006000000000000
//! ```

use flowspec::{Action, Communities, Family, NlriIter, Rule};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (family, field, communities) = match arguments.as_slice() {
        [] => ("ipv4", "0b0118c00002038106048119030f8106", ""),
        [family, field] => (family.as_str(), field.as_str(), ""),
        [family, field, communities] => (family.as_str(), field.as_str(), communities.as_str()),
        _ => return Err("expected: FAMILY NLRI-FIELD [COMMUNITIES]".into()),
    };
    decode(family, field, communities)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// One line for each NLRI: the rule as text and what it does, or what is wrong and what a receiver
/// has to do.
pub(crate) fn decode(family: &str, field: &str, communities: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let (family, field, communities): (Family, _, _) = (family.parse()?, octets(field)?, octets(communities)?);
    let actions = match communities.is_empty() {
        true => Vec::new(),
        false => Communities::extended(&communities)?.map(Action::decode).collect::<Result<_, _>>()?,
    };
    let lines = NlriIter::new(family, false, &field).map(|entry| match entry.nlri {
        Ok(nlri) => {
            let rule = Rule::new(nlri.to_canonical(), actions.clone());
            format!("{rule}  ({:?})", rule.effect().policing)
        }
        Err(error) => format!("{error}: {:?}", error.kind.disposition()),
    });
    Ok(lines.collect())
}

fn octets(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits: Vec<u8> =
        hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>().ok_or("not hex")?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err("half an octet".into())
    }
}
