//! Rules as text: the parser is lenient, the output is canonical; the output parses to the same
//! rule, octet for octet.
//!
//! ```text
//! rule      = [ipv4|ipv6|vpnv4|vpnv6] [rd RD] component... [then action...]
//! component = dst PREFIX | src PREFIX | proto LIST | port LIST | dport LIST | sport LIST | icmp-type LIST | icmp-code LIST
//!           | tcp-flags BITS | length LIST | dscp LIST | fragment BITS | label LIST
//! LIST      = item, joined with `,` (or) and `&` (and, which binds tighter)
//! item      = [= | != | < | <= | > | >=] value | value-value | true | false
//! BITS      = [!] mask, joined alike; mask = name+name (all of the bits) | any(name+name) (one of them)
//! action    = discard | discard(RATE) | unlimited(inf) | rate N[bps|kbps|mbps|gbps|pps] [as ASN] | mark DSCP | redirect AS:N | redirect IP:N | redirect [IPV6]:N
//!           | redirect IP [copy] | redirect next-hop [IP] [copy] | sample | continue | accept | community HEX
//!           | interface-set [non-transitive] in|out|in+out ASN:GROUP
//! ```
//!
//! - **Widths.** A number in decimal or by name is sent in the smallest width (the flow label in
//!   four octets). A number in hex is sent in the width of its digits: `dport 0x0050` is another
//!   rule than `dport 80` to BGP. A number of another width, or larger than the packet's field, is
//!   shown in hex.
//! - **Family.** An IPv6 prefix or a flow label makes it IPv6, otherwise it is IPv4; a route
//!   distinguisher makes it VPN.
//! - **Rates below zero** discard, an infinite one does not limit (RFC 8955 §7.1 leaves them open);
//!   `discard(-100)` and `unlimited(inf)` say both what is done and what was sent.
//! - **A next hop** that no action uses is not part of a rule.
//! - **A prefix** with host bits is read without them, as BGP speakers do, and
//!   [`parse_line_with_notes`] says so.
//! - **A plain rate** counts bytes a second, as on the wire; `bps` and its multiples are bits.
//! - **The syntax of other programs** is accepted, too: long names, `[ =80 =443 ]`, `'==80 ==443'`,
//!   `match { } then { }`, `rate-limit`. After `flow` or `match`, and in `[protocol: ==tcp]` as
//!   GoBGP prints it, plain TCP flags and fragment bits match any of the bits, as ExaBGP and GoBGP
//!   mean it (m = 0), and `=` requires all; and a space between two values means `,`. So does `|`
//!   between values without operator. After `flow`, actions may follow without `then`.
//! - Without `then`, a rule has no actions: it accepts.
//! - Ambiguous text is an error.

mod action;
mod cursor;
mod error;
mod list;
mod prefix;
mod rate;
mod rule;
mod show;
mod words;

pub use error::{Note, TextError};
pub use show::{Actions, WireLine};

use crate::family::Family;
use crate::hex;
use crate::nlri::Nlri;
use crate::rule::Rule;
use crate::walk::NlriIter;
use cursor::Cursor;
use std::str::FromStr;

/// Reads a rule; see [the module](self) for the grammar.
impl FromStr for Rule {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        rule::rule(text).map(|read| read.rule)
    }
}

/// Reads a match part; `then` is an error.
impl FromStr for Nlri {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match rule::rule(text)? {
            rule::Read { rule, actions_at: None, .. } => Ok(rule.nlri),
            rule::Read { actions_at: Some(at), .. } => Err(TextError::at(text, at, "the end of the match part")),
        }
    }
}

/// Parses one line of a rules file: a rule, or `wire FAMILY NLRI-HEX [COMMUNITY-HEX...] [next-hop
/// ADDRESS]`, whose NLRI includes its length octets and whose next hop is that of the announcement.
/// `#` begins a comment; `None` if there is nothing else.
///
/// # Errors
/// Text that is not a rule, or octets that are not exactly one well-formed NLRI or community.
///
/// ```
/// use flowspec::text::parse_line;
/// assert_eq!(parse_line("# nothing here"), Ok(None));
/// let rule = parse_line("wire ipv4 0b0118c00002038106048119 8006000000000000").unwrap().unwrap();
/// assert_eq!(rule.to_string(), "dst 192.0.2.0/24 proto tcp port 25 then discard");
/// ```
pub fn parse_line(line: &str) -> Result<Option<Rule>, TextError> {
    Ok(parse_line_with_notes(line)?.map(|(rule, _)| rule))
}

/// The same, with notes on what was interpreted differently than written: the author should see
/// them.
///
/// # Errors
/// As [`parse_line`].
///
/// ```
/// let (rule, notes) = flowspec::text::parse_line_with_notes("dst 192.0.2.1/24").unwrap().unwrap();
/// assert_eq!(rule.to_string(), "dst 192.0.2.0/24 then accept");
/// assert_eq!(notes[0].message, "`192.0.2.1/24` has bits outside of its prefix; it was read as 192.0.2.0/24");
/// ```
pub fn parse_line_with_notes(line: &str) -> Result<Option<(Rule, Vec<Note>)>, TextError> {
    let text = line.split('#').next().unwrap_or_default();
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    if cursor.peek().is_none() {
        return Ok(None);
    }
    if cursor.eat_word("wire") {
        return wire(cursor).map(|rule| Some((rule, Vec::new())));
    }
    rule::rule(text).map(|read| Some((read.rule, read.notes)))
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
    let Some(field) = hex::decode(digits).filter(|field| !field.is_empty()) else {
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
        if cursor.eat_word("next-hop") {
            cursor.skip_space();
            let at = cursor.at();
            let address = cursor.token().parse().map_err(|_| cursor.error_at(at, "an IP address"))?;
            cursor.skip_space();
            if cursor.peek().is_some() {
                return Err(cursor.error("the end of the line"));
            }
            let mut rule = Rule { nlri, actions, next_hop: Some(address) };
            rule.next_hop = rule.used_next_hop();
            return Ok(rule);
        }
        let action = action::hex_community(cursor.token()).map_err(|error| cursor.error_at(at, error.to_string()))?;
        actions.push(action);
    }
}
