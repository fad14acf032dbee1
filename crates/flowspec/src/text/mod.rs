//! Rules as text: forgiving when it reads, canonical when it shows; what it shows reads back as the same rule, octet for octet.
//!
//! ```text
//! rule      = [ipv4|ipv6|vpnv4|vpnv6] [rd RD] component... [then action...]
//! component = dst PREFIX | src PREFIX | proto LIST | port LIST | dport LIST | sport LIST | icmp-type LIST | icmp-code LIST
//!           | tcp-flags BITS | length LIST | dscp LIST | fragment BITS | label LIST
//! LIST      = item, joined with `,` (or) and `&` (and, which binds tighter)
//! item      = [= | != | < | <= | > | >=] value | value-value | true | false
//! BITS      = [!] mask, joined alike; mask = name+name (all of the bits) | any(name+name) (one of them)
//! action    = discard | rate N[bps|kbps|mbps|gbps|pps] [as ASN] | mark DSCP | redirect AS:N | redirect IP:N | redirect [IPV6]:N
//!           | redirect IP [copy] | redirect next-hop [IP] [copy] | sample | continue | accept | community HEX
//!           | interface-set [non-transitive] in|out|in+out ASN:GROUP
//! ```
//!
//! - **Widths.** A number in decimal or by name is sent in the smallest width (the flow label in four octets). A number in hex is sent
//!   in the width of its digits: `dport 0x0050` is another rule than `dport 80` to BGP. What has another width, or is larger than the
//!   packet's field, is shown in hex.
//! - **Family.** An IPv6 prefix or a flow label makes it IPv6, otherwise it is IPv4; a route distinguisher makes it VPN.
//! - **A plain rate** counts bytes a second, as on the wire; `bps` and its multiples are bits.
//! - **Other programs' text** is taken too: long names, `[ =80 =443 ]`, `'==80 ==443'`, `match { } then { }`, `rate-limit`. Behind `flow` or
//!   `match`, and in `[protocol: ==tcp]` as GoBGP prints it, plain TCP flags and fragment bits ask for any of the bits, as ExaBGP and GoBGP
//!   mean it (m = 0), and `=` for all; and a space between two values is an `,`.
//! - Without `then`, a rule has no actions: it accepts.
//! - What can be read in two ways is an error.

mod action;
mod cursor;
mod error;
mod list;
mod prefix;
mod rate;
mod rule;
mod show;
mod words;

pub use error::TextError;
pub use show::Actions;

use crate::family::Family;
use crate::nlri::Nlri;
use crate::rule::Rule;
use crate::walk::NlriIter;
use cursor::Cursor;
use std::str::FromStr;

/// Reads a rule; see [the module](self) for the grammar.
impl FromStr for Rule {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        rule::rule(text).map(|(rule, _)| rule)
    }
}

/// Reads a match part; `then` is an error.
impl FromStr for Nlri {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match rule::rule(text)? {
            (rule, None) => Ok(rule.nlri),
            (_, Some(at)) => Err(TextError::at(text, at, "the end of the match part")),
        }
    }
}

/// Reads one line of a rules file: a rule, or `wire FAMILY NLRI-HEX [COMMUNITY-HEX...]`, whose NLRI comes with its length octets.
/// Behind `#` it is comment; `None` where nothing else is.
///
/// # Errors
/// Text that is no rule, or octets that are not exactly one well-formed NLRI or community.
///
/// ```
/// use flowspec::text::parse_line;
/// assert_eq!(parse_line("# nothing here"), Ok(None));
/// let rule = parse_line("wire ipv4 0b0118c00002038106048119 8006000000000000").unwrap().unwrap();
/// assert_eq!(rule.to_string(), "dst 192.0.2.0/24 proto tcp port 25 then discard");
/// ```
pub fn parse_line(line: &str) -> Result<Option<Rule>, TextError> {
    let text = line.split('#').next().unwrap_or_default();
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    if cursor.peek().is_none() {
        return Ok(None);
    }
    if cursor.eat_word("wire") { wire(cursor).map(Some) } else { text.parse().map(Some) }
}

fn wire(mut cursor: Cursor<'_>) -> Result<Rule, TextError> {
    cursor.skip_space();
    let at = cursor.at();
    let family = cursor.word().to_ascii_lowercase().parse::<Family>();
    let family = family.map_err(|_| cursor.error_at(at, "ipv4, ipv6, vpnv4 or vpnv6"))?;
    cursor.skip_space();
    cursor.eat("0x");
    let at = cursor.at();
    let digits = cursor.token();
    let Some(field) = action::hex(digits).filter(|field| !field.is_empty()) else {
        return Err(cursor.error_at(at, "an NLRI in hex, two digits an octet"));
    };
    let mut entries = NlriIter::new(family, false, &field);
    let nlri = match (entries.next().map(|entry| (entry.nlri, entry.raw.len())), entries.next()) {
        (Some((Ok(nlri), _)), None) => nlri.to_canonical(),
        (Some((Err(error), _)), _) => {
            let octet = (at + 2 * error.offset).min(at + digits.len());
            return Err(cursor.error_at(octet, "a well-formed NLRI").with_found(error.to_string()));
        }
        (Some((Ok(_), len)), Some(_)) => return Err(cursor.error_at(at + 2 * len, "the end of the NLRI")),
        (None, _) => return Err(cursor.error_at(at, "an NLRI")),
    };
    let mut actions = Vec::new();
    loop {
        cursor.skip_space();
        let at = cursor.at();
        if cursor.peek().is_none() {
            return Ok(Rule::new(nlri, actions));
        }
        let action = action::hex_community(cursor.token()).map_err(|expected| cursor.error_at(at, expected))?;
        actions.push(action);
    }
}
