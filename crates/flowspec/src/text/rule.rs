//! A whole rule: family, route distinguisher, components, actions, in our words, ExaBGP's and
//! GoBGP's.

use super::action::Actions;
use super::cursor::Cursor;
use super::error::{Note, TextError};
use super::list::{self, Dialect, Ipv4Only};
use super::{prefix, words};
use crate::component::{ComponentType, ValueKind};
use crate::error::NlriErrorKind;
use crate::family::{Family, IpVersion, RouteDistinguisher};
use crate::nlri::Nlri;
use crate::op::{BitmaskOp, NumericOp};
use crate::prefix::Prefix;
use crate::rule::Rule;
use std::borrow::Cow;
use std::net::IpAddr;

/// A parsed rule.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rule: Rule,
    /// Where its actions begin, if it has any.
    pub(super) actions_at: Option<usize>,
    pub(super) notes: Vec<Note>,
}

/// Reads a rule.
pub(super) fn rule(text: &str) -> Result<Read, TextError> {
    let text = without_escapes(text);
    let mut draft = Draft::default();
    let mut cursor = Cursor::new(&text);
    while draft.step(&mut cursor)? {}
    let nlri = draft.nlri(&cursor)?;
    let (actions, next_hop) = draft.actions.into_parts();
    let mut rule = Rule { nlri, actions, next_hop };
    rule.next_hop = rule.used_next_hop();
    Ok(Read { rule, actions_at: draft.actions_at, notes: draft.notes })
}

/// FastNetMon writes the line ends of its commands as a backslash and an `n`; they are replaced by
/// spaces. All other positions are unchanged.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(["\\n", "\\r", "\\t"].iter().fold(text.to_owned(), |text, escape| text.replace(escape, "  ")))
}

/// The condition of a component.
#[derive(Debug)]
enum Values {
    Prefix(Prefix),
    Numeric(Vec<NumericOp>),
    Bitmask(Vec<BitmaskOp>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Match,
    Then,
}

/// A `{` or `[` that needs its end.
#[derive(Debug)]
struct Open {
    close: &'static str,
    /// The part of the rule that continues after the end.
    part: Part,
}

/// What was parsed so far.
#[derive(Debug)]
struct Draft {
    part: Part,
    open: Vec<Open>,
    dialect: Dialect,
    family: Option<(Family, usize)>,
    rd: Option<RouteDistinguisher>,
    /// What implies IPv4 or IPv6, and its position: the first of each.
    versions: Vec<(IpVersion, usize)>,
    ipv4_only: Vec<Ipv4Only>,
    components: Vec<(ComponentType, Values, usize)>,
    actions_at: Option<usize>,
    /// Whether an action must follow.
    action_due: bool,
    actions: Actions,
    /// Whether it is in ExaBGP's one-line form, which has no `then`: `flow route destination
    /// 10.0.0.1/32 rate-limit 0`.
    flat: bool,
    notes: Vec<Note>,
}

impl Default for Draft {
    fn default() -> Self {
        Draft {
            part: Part::Match,
            open: Vec::new(),
            dialect: Dialect::Own,
            family: None,
            rd: None,
            versions: Vec::new(),
            ipv4_only: Vec::new(),
            components: Vec::new(),
            actions_at: None,
            action_due: false,
            actions: Actions::default(),
            flat: false,
            notes: Vec::new(),
        }
    }
}

impl Draft {
    /// Parses one statement; false at the end of the text.
    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, TextError> {
        cursor.take_while(|c| c.is_whitespace() || c == ';');
        if self.part == Part::Then && !self.actions.is_empty() && cursor.eat(",") {
            cursor.skip_space();
            self.action_due = true;
        }
        let at = cursor.at();
        if let Some(open) = self.open.last()
            && cursor.eat(open.close)
        {
            if self.action_due {
                return Err(cursor.error_at(at, "an action"));
            }
            self.part = open.part;
            self.open.pop();
            return Ok(true);
        }
        if cursor.peek().is_none() {
            return match self.open.last() {
                Some(open) => Err(cursor.error(format!("`{}`", open.close))),
                None if self.action_due => Err(cursor.error("an action")),
                None => Ok(false),
            };
        }
        // GoBGP prints `[destination: 192.0.2.0/24][protocol: ==tcp]`.
        let printed = self.components.is_empty() || self.dialect == Dialect::Foreign;
        if self.part == Part::Match && printed && !self.in_brackets() && cursor.eat("[") {
            self.dialect = Dialect::Foreign;
            self.open.push(Open { close: "]", part: Part::Match });
            return Ok(true);
        }
        let word = cursor.word();
        if self.part == Part::Match && self.in_brackets() {
            cursor.eat(":");
        }
        match (self.part, word.to_ascii_lowercase().as_str()) {
            (Part::Match, "then") => {
                if self.actions_at.is_some() {
                    return Err(cursor.error_at(at, "only one `then`"));
                }
                (self.actions_at, self.action_due) = (Some(at), true);
                // After the braces of ExaBGP's `then` only the outer end may follow, which `Match`
                // parses.
                self.brace(cursor, if self.open.is_empty() { Part::Then } else { Part::Match });
                self.part = Part::Then;
            }
            (_, "extended-community") => {
                self.actions_at.get_or_insert(at);
                cursor.skip_space();
                if !cursor.eat("[") {
                    let at = cursor.at();
                    let word = cursor.word();
                    if word.is_empty() {
                        return Err(
                            cursor.error_at(at, "`[`, or a community such as 0x8006000000000000 or target:65000:100")
                        );
                    }
                    self.actions.read(cursor, word, at, Dialect::Foreign)?;
                    self.action_due = false;
                    return Ok(true);
                }
                self.open.push(Open { close: "]", part: self.part });
                (self.part, self.action_due) = (Part::Then, true);
            }
            (_, "next-hop") => {
                cursor.skip_space();
                let at = cursor.at();
                let address: IpAddr = cursor.token().parse().map_err(|_| cursor.error_at(at, "an IP address"))?;
                self.actions.set_next_hop(cursor, at, address)?;
            }
            (Part::Then, _) => {
                self.actions.read(cursor, word, at, self.dialect)?;
                self.action_due = false;
            }
            (Part::Match, lower) => self.match_word(cursor, word, lower, at)?,
        }
        Ok(true)
    }

    /// Parses an item before `then`: a component, or a word about the rule.
    fn match_word(&mut self, cursor: &mut Cursor<'_>, word: &str, lower: &str, at: usize) -> Result<(), TextError> {
        // Words of ExaBGP and GoBGP that change how the rest is parsed: so they come before it.
        let begins = self.components.is_empty();
        match lower {
            "match" if begins => {
                self.dialect = Dialect::Foreign;
                self.brace(cursor, Part::Match);
            }
            "announce" if begins => self.dialect = Dialect::Foreign,
            "withdraw" if begins => {
                return Err(cursor
                    .error_at(at, "a rule that is announced; this withdraws one (`floodgate withdraw` does that)"));
            }
            "neighbor" | "peer" if begins => {
                self.dialect = Dialect::Foreign;
                selector(cursor)?;
            }
            "flow" | "flow-vpn" if begins => {
                self.dialect = Dialect::Foreign;
                self.flat = !self.brace(cursor, Part::Match);
            }
            "route" if begins => {
                self.dialect = Dialect::Foreign;
                if !self.brace(cursor, Part::Match) {
                    let mut named = cursor.clone();
                    named.skip_space();
                    named.token();
                    if self.brace(&mut named, Part::Match) {
                        *cursor = named;
                    }
                }
            }
            "rd" | "route-distinguisher" => {
                cursor.skip_space();
                let at = cursor.at();
                let read = cursor.token().parse::<RouteDistinguisher>();
                let expected = "one route distinguisher such as 65000:100, 192.0.2.1:100 or 4200000000:100";
                match (read, self.rd) {
                    (Ok(rd), None) => self.rd = Some(rd),
                    _ => return Err(cursor.error_at(at, expected)),
                }
            }
            _ => {
                if let Ok(family) = lower.parse::<Family>() {
                    if self.family.is_some() {
                        return Err(cursor.error_at(at, "only one family"));
                    }
                    self.family = Some((family, at));
                } else if let Some((kind, version)) = words::component(word) {
                    self.component(cursor, kind, version, at)?;
                } else if self.flat && words::is_action(word) {
                    self.actions_at.get_or_insert(at);
                    self.actions.read(cursor, word, at, self.dialect)?;
                } else {
                    return Err(unknown_word(cursor, word, at, self.components.last()));
                }
            }
        }
        Ok(())
    }

    fn component(
        &mut self,
        cursor: &mut Cursor<'_>,
        kind: ComponentType,
        version: Option<IpVersion>,
        at: usize,
    ) -> Result<(), TextError> {
        if self.components.iter().any(|(before, ..)| *before == kind) {
            let expected = format!("`{kind}` only once; its values are joined with `,` (or) and `&` (and)");
            return Err(cursor.error_at(at, expected));
        }
        if let Some(version) = version {
            self.tells(version, at);
        }
        let values = match kind.value_kind() {
            ValueKind::Prefix => {
                cursor.skip_space();
                let at = cursor.at();
                let prefix = prefix::prefix(cursor, &mut self.notes)?;
                self.tells(prefix::version(&prefix), at);
                Values::Prefix(prefix)
            }
            ValueKind::Numeric => Values::Numeric(list::numeric(cursor, kind, self.dialect, &mut self.ipv4_only)?),
            ValueKind::Bitmask => Values::Bitmask(list::bitmask(cursor, kind, self.dialect, &mut self.ipv4_only)?),
        };
        self.components.push((kind, values, at));
        Ok(())
    }

    /// Whether the innermost open bracket is a `[`.
    fn in_brackets(&self) -> bool {
        self.open.last().is_some_and(|open| open.close == "]")
    }

    fn tells(&mut self, version: IpVersion, at: usize) {
        if self.versions.iter().all(|(before, _)| *before != version) {
            self.versions.push((version, at));
        }
    }

    /// Skips a `{`, after whose end `part` continues.
    fn brace(&mut self, cursor: &mut Cursor<'_>, part: Part) -> bool {
        let mut ahead = cursor.clone();
        ahead.skip_space();
        let here = ahead.eat("{");
        if here {
            *cursor = ahead;
            self.open.push(Open { close: "}", part });
        }
        here
    }

    /// The family: as written, else as prefixes and flow label imply, else IPv4; VPN if there is a
    /// route distinguisher.
    fn family(&self, cursor: &Cursor<'_>) -> Result<Family, TextError> {
        let version = match (self.family, self.versions.as_slice()) {
            (Some((family, _)), told) => {
                if let Some((other, at)) = told.iter().find(|(version, _)| *version != family.version()) {
                    return Err(cursor
                        .error_at(*at, format!("only what {} rules have", name(family.version())))
                        .with_found(format!("what only {} rules have", name(*other))));
                }
                family.version()
            }
            (None, []) => IpVersion::V4,
            (None, [(version, _)]) => *version,
            (None, [(version, _), (other, at), ..]) => {
                return Err(cursor
                    .error_at(*at, format!("only what {} rules have, as before", name(*version)))
                    .with_found(format!("what only {} rules have", name(*other))));
            }
        };
        match (self.rd, self.family) {
            (None, Some((family, at))) if family.is_vpn() => {
                Err(cursor.error_at(at, format!("`rd` and a route distinguisher in a {family} rule")))
            }
            (rd, _) => Ok(match (version, rd.is_some()) {
                (IpVersion::V4, false) => Family::Ipv4,
                (IpVersion::V4, true) => Family::Vpnv4,
                (IpVersion::V6, false) => Family::Ipv6,
                (IpVersion::V6, true) => Family::Vpnv6,
            }),
        }
    }

    fn nlri(&self, cursor: &Cursor<'_>) -> Result<Nlri, TextError> {
        let family = self.family(cursor)?;
        if let (IpVersion::V6, Some((at, expected))) = (family.version(), self.ipv4_only.first()) {
            return Err(cursor.error_at(*at, *expected));
        }
        let mut builder = Nlri::builder(family);
        if let Some(rd) = self.rd {
            builder = builder.route_distinguisher(rd);
        }
        for (kind, values, _) in &self.components {
            builder = match values {
                Values::Prefix(prefix) => builder.prefix(*kind, *prefix),
                Values::Numeric(ops) => builder.numeric(*kind, ops),
                Values::Bitmask(ops) => builder.bitmask(*kind, ops),
            };
        }
        builder.build().map_err(|error| match error.kind {
            NlriErrorKind::Empty => {
                let at = self.actions_at.unwrap_or(cursor.at());
                cursor.error_at(at, "at least one component, such as `dst 192.0.2.1/32`")
            }
            NlriErrorKind::TooLong(octets) => {
                let longest = self.components.iter().max_by_key(|(_, values, _)| values.len());
                cursor
                    .error_at(longest.map_or(0, |(.., at)| *at), "a rule of at most 4095 octets")
                    .with_found(format!("one of {octets} octets"))
            }
            _ => cursor.error_at(0, "a rule that can be sent").with_found(error.to_string()),
        })
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Prefix(_) => 1,
            Values::Numeric(ops) => ops.len(),
            Values::Bitmask(ops) => ops.len(),
        }
    }
}

const fn name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}

/// Skips the addressees of one of ExaBGP's commands: `neighbor 192.0.2.1 local-as 65000, neighbor
/// 192.0.2.2`. They are not part of the rule.
fn selector(cursor: &mut Cursor<'_>) -> Result<(), TextError> {
    loop {
        cursor.skip_space();
        let at = cursor.at();
        let who = cursor.token();
        if who != "*" && who.parse::<IpAddr>().is_err() {
            return Err(cursor.error_at(at, "the address of a neighbour, or `*`"));
        }
        while ["local-ip", "local-as", "peer-as", "router-id", "family-allowed"].iter().any(|key| cursor.eat_word(key))
        {
            cursor.skip_space();
            cursor.token();
        }
        cursor.skip_space();
        if !cursor.eat(",") {
            return Ok(());
        }
        if !["neighbor", "peer"].iter().any(|word| cursor.eat_word(word)) {
            return Err(cursor.error("`neighbor` and another address"));
        }
    }
}

/// The error for a word that is not valid in the match part.
fn unknown_word(
    cursor: &Cursor<'_>,
    word: &str,
    at: usize,
    last: Option<&(ComponentType, Values, usize)>,
) -> TextError {
    if words::is_action(word) {
        return cursor.error_at(at, "`then` before the first action").suggest(format!("then {word}"));
    }
    let expected = match last {
        None => "a component such as `dst`".to_owned(),
        Some((kind, Values::Prefix(_), _)) => format!("another component or `then` after the prefix of `{kind}`"),
        Some((kind, ..)) => {
            format!("another component or `then` (values of `{kind}` are joined with `,` for or, `&` for and)")
        }
    };
    let candidates = words::COMPONENTS.iter().map(|(name, ..)| *name).chain(words::MATCH_WORDS.iter().copied());
    let error = cursor.error_at(at, expected);
    if word.is_empty() { error } else { error.suggest_nearest(word, candidates) }
}
