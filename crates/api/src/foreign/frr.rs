//! FRR: `show bgp ipv4 flowspec detail`.
//!
//! FRR does not print whether numbers are joined by and or by or; see [`joined`].

use super::draft::{Draft, hex_mask, number};
use super::joined::{self, Condition};
use super::model::{ForeignError, ForeignRule, Form};

const NUMERIC: [(&str, &str); 9] = [
    ("IP Protocol", "proto"),
    ("Port", "port"),
    ("Destination Port", "dport"),
    ("Source Port", "sport"),
    ("ICMP Type", "icmp-type"),
    ("ICMP Code", "icmp-code"),
    ("Packet Length", "length"),
    ("DSCP field", "dscp"),
    ("Flow Label", "label"),
];

const BITS: [(&str, &str); 2] = [("TCP Flags", "tcp-flags"), ("Packet Fragment", "fragment")];

/// Reads one entry: the line `BGP flowspec entry:` and those below it.
///
/// # Errors
/// It is not a rule, or is printed like another one.
pub(super) fn read(lines: &[(usize, &str)]) -> Result<ForeignRule, ForeignError> {
    let mut draft = Draft::new(Form::Frr);
    let mut next_hop = None;
    let mut redirects = false;
    for (_, line) in lines.iter().skip(1) {
        let line = line.trim();
        let after = |word: &str| line.strip_prefix(word).filter(|rest| rest.starts_with(' ')).map(str::trim);
        if let Some(prefix) = after("Destination Address") {
            draft.component("dst", self::prefix(prefix)?);
        } else if let Some(prefix) = after("Source Address") {
            draft.component("src", self::prefix(prefix)?);
        } else if let Some((word, values)) = NUMERIC.iter().find_map(|(word, ours)| Some((*ours, after(word)?))) {
            draft.component(word, numeric(values)?);
        } else if let Some((word, values)) = BITS.iter().find_map(|(word, ours)| Some((*ours, after(word)?))) {
            draft.component(word, bits(values)?);
        } else if let Some(address) = after("NH") {
            next_hop = Some(address.to_owned());
        } else if line.starts_with("FS:") || line.starts_with("RT:") {
            redirects |= actions(line, &mut draft)?;
        } else if !["received for", "installed in PBR", "not installed in PBR", "NLRI", "Nexthop"]
            .iter()
            .any(|known| line.starts_with(known))
        {
            return Err(unknown(format!("`{line}` is not a line of a rule")));
        }
    }
    if redirects {
        draft.action(match next_hop {
            Some(address) => format!("redirect next-hop {address}"),
            None => "redirect next-hop".to_owned(),
        });
    }
    draft.finish()
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Frr, message }
}

/// `2001:db8::/64/off 32` is `2001:db8::/32-64` here.
fn prefix(text: &str) -> Result<String, ForeignError> {
    let Some((prefix, offset)) = text.split_once("/off ") else { return Ok(text.to_owned()) };
    let (address, length) = prefix.split_once('/').ok_or_else(|| unknown(format!("`{text}` is not a prefix")))?;
    Ok(match offset.trim() {
        "0" => prefix.to_owned(),
        offset => format!("{address}/{offset}-{length}"),
    })
}

/// `>= 512 , <= 1500`.
fn numeric(text: &str) -> Result<String, ForeignError> {
    let wrong = || unknown(format!("`{text}` is not a list of comparisons"));
    let mut conditions = Vec::new();
    for item in text.split(',').map(str::trim) {
        let digits = item.find(|c: char| c.is_ascii_digit()).ok_or_else(wrong)?;
        let (operator, value) = item.split_at(digits);
        let operator = match operator.trim() {
            "=" => "=",
            "<" => "<",
            ">" => ">",
            "<=" => "<=",
            ">=" => ">=",
            "<>" | "!=" => "!=",
            _ => return Err(wrong()),
        };
        conditions.push(Condition { operator, value: number(value.trim()).ok_or_else(wrong)? });
    }
    joined::read(Form::Frr, text, &conditions)
}

/// `= 2,&= ! 16`: `=` all of the bits, `∋` one of them.
fn bits(text: &str) -> Result<String, ForeignError> {
    let wrong = || unknown(format!("`{text}` is not a list of masks"));
    let mut read = String::new();
    for item in text.split(',').map(str::trim) {
        let (joint, item) = match item.strip_prefix('&') {
            Some(rest) => ("&", rest),
            None => (",", item.strip_prefix('|').unwrap_or(item)),
        };
        let item = item.trim();
        let (all, item) = match item.strip_prefix('=') {
            Some(rest) => (true, rest.trim()),
            None => (false, item.strip_prefix('∋').ok_or_else(wrong)?.trim()),
        };
        let (not, value) = match item.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", item),
        };
        let mask = hex_mask(number(value).ok_or_else(wrong)?);
        if !read.is_empty() {
            read += joint;
        }
        read += &if all { format!("{not}={mask}") } else { format!("{not}any({mask})") };
    }
    Ok(read)
}

/// The extended communities; returns whether one redirects to the next hop.
fn actions(line: &str, draft: &mut Draft) -> Result<bool, ForeignError> {
    let mut redirects = false;
    let marked = line.replace(" FS:", "\nFS:").replace(" RT:", "\nRT:").replace("VRF\nRT:", "VRF RT:");
    for action in marked.lines().map(str::trim) {
        let wrong = || unknown(format!("`{action}` is not an action that can be read from this"));
        if let Some(rate) = action.strip_prefix("FS:rate ") {
            let rate: f64 = rate.trim().parse().map_err(|_| wrong())?;
            draft.action(if rate == 0.0 { "discard".to_owned() } else { format!("rate {rate}") });
        } else if let Some(target) = action.strip_prefix("FS:redirect VRF RT:") {
            draft.action(match target.matches(':').count() {
                1 => format!("redirect {target}"),
                _ => match target.rsplit_once(':') {
                    Some((address, number)) => format!("redirect [{address}]:{number}"),
                    None => return Err(wrong()),
                },
            });
        } else if action.starts_with("FS:redirect IP") {
            redirects = true;
        } else if let Some(dscp) = action.strip_prefix("FS:marking ") {
            draft.action(format!("mark {}", dscp.trim()));
        } else if let Some(bits) = action.strip_prefix("FS:action ") {
            // FRR 8.4 prints the bit that continues as `eval stops`; later releases do not.
            return Err(ForeignError::Ambiguous {
                form: Form::Frr,
                text: format!("FS:action {bits}"),
                first: "`continue`".to_owned(),
                second: "no `continue` (releases of FRR print the bit the other way round)".to_owned(),
            });
        } else if let Some(target) = action.strip_prefix("RT:") {
            draft.action(format!("target:{target}"));
        } else {
            return Err(wrong());
        }
    }
    Ok(redirects)
}
