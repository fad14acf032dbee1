//! The part after `then`: actions, in our words and those of ExaBGP and GoBGP.

use super::cursor::Cursor;
use super::error::TextError;
use super::list::Dialect;
use super::{rate, words};
use crate::action::Action;
use crate::community::Community;
use crate::error::CommunityError;
use crate::hex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The actions read so far.
#[derive(Debug, Default)]
pub(super) struct Actions {
    actions: Vec<Action>,
    next_hop: Option<IpAddr>,
    /// Position of `accept`: it means no actions, so it must be alone.
    accept: Option<usize>,
    /// Position of the one traffic-action community that `sample` and `continue` share.
    traffic: Option<usize>,
}

impl Actions {
    /// The actions, and the next hop that one of them names.
    pub(super) fn into_parts(self) -> (Vec<Action>, Option<IpAddr>) {
        (self.actions, self.next_hop)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.accept.is_none()
    }

    /// Sets the next hop of the announcement; there is only one.
    pub(super) fn set_next_hop(&mut self, cursor: &Cursor<'_>, at: usize, address: IpAddr) -> Result<(), TextError> {
        if self.next_hop.is_some_and(|before| before != address) {
            return Err(cursor.error_at(at, "the same next hop as before: an announcement has only one"));
        }
        self.next_hop = Some(address);
        Ok(())
    }

    /// Parses the action that begins with `word` at `at`; the cursor is after it.
    pub(super) fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        word: &str,
        at: usize,
        dialect: Dialect,
    ) -> Result<(), TextError> {
        if let Some(accept) = self.accept {
            return Err(cursor.error_at(accept, "no `accept` with other actions: it means no actions"));
        }
        // ExaBGP writes rate-limit:0, redirect:65000:100.
        cursor.eat(":");
        let action = match word.to_ascii_lowercase().as_str() {
            "accept" if self.actions.is_empty() => {
                self.accept = Some(at);
                return Ok(());
            }
            "accept" => {
                return Err(cursor.error_at(at, "no `accept` with other actions: it means no actions"));
            }
            "sample" => return self.traffic_action(cursor, at, true, false),
            "continue" => return self.traffic_action(cursor, at, false, true),
            "action" => {
                cursor.skip_space();
                let at = cursor.at();
                // ExaBGP and GoBGP call the T bit `terminal`; set, it means continue with the next
                // rule (RFC 8955 §7.3).
                return match cursor.word() {
                    "sample" => self.traffic_action(cursor, at, true, false),
                    "terminal" => self.traffic_action(cursor, at, false, true),
                    "sample-terminal" => self.traffic_action(cursor, at, true, true),
                    _ => Err(cursor.error_at(at, "`sample`, `terminal` or `sample-terminal`")),
                };
            }
            "discard" | "drop" => rate::discard(cursor)?,
            "unlimited" => rate::unlimited(cursor)?,
            "rate" | "rate-limit" => rate::action(cursor)?,
            "rate-limit-bytes" => rate::plain(cursor, rate::Unit::Bytes)?,
            "rate-limit-packets" => rate::plain(cursor, rate::Unit::Packets)?,
            "mark" => Action::Mark(dscp(cursor)?),
            "redirect" => self.redirect(cursor, dialect)?,
            "copy" => self.copy(cursor, dialect)?,
            "redirect-to-nexthop" => Action::RedirectNextHop { copy: false },
            "copy-to-nexthop" => Action::RedirectNextHop { copy: true },
            "redirect-to-nexthop-ietf" => {
                cursor.skip_space();
                let at = cursor.at();
                let address = cursor.token().parse().map_err(|_| cursor.error_at(at, "an IP address"))?;
                Action::RedirectIp { address, copy: cursor.eat_word("copy") }
            }
            "interface-set" => interface_set(cursor)?,
            "community" if dialect == Dialect::Foreign && standard_communities(cursor) => return Ok(()),
            "community" => community(cursor)?,
            // ExaBGP's `extended-community 0x8006000000000000`.
            lower if lower.starts_with("0x") => {
                hex_community(word).map_err(|error| cursor.error_at(at, error.to_string()))?
            }
            "target" | "rt" => match target(cursor)? {
                Action::RedirectAs2 { asn, local } => route_target(0x00, &asn.to_be_bytes(), &local.to_be_bytes()),
                Action::RedirectIpv4 { address, local } => route_target(0x01, &address.octets(), &local.to_be_bytes()),
                Action::RedirectAs4 { asn, local } => route_target(0x02, &asn.to_be_bytes(), &local.to_be_bytes()),
                _ => return Err(cursor.error_at(at, "a route target such as 65000:100")),
            },
            _ => {
                let error = cursor.error_at(at, "an action");
                return Err(error.suggest_nearest(word, words::ACTIONS.iter().copied()));
            }
        };
        self.actions.push(action);
        Ok(())
    }

    /// `sample` and `continue` are two bits of one community.
    fn traffic_action(
        &mut self,
        cursor: &Cursor<'_>,
        at: usize,
        more_sample: bool,
        more_continues: bool,
    ) -> Result<(), TextError> {
        let Some(index) = self.traffic else {
            self.traffic = Some(self.actions.len());
            self.actions.push(Action::TrafficAction { sample: more_sample, continues: more_continues });
            return Ok(());
        };
        match self.actions.get_mut(index) {
            Some(Action::TrafficAction { sample, continues })
                if !(*sample && more_sample || *continues && more_continues) =>
            {
                *sample |= more_sample;
                *continues |= more_continues;
                Ok(())
            }
            _ => Err(cursor.error_at(at, "`sample` and `continue` at most once each")),
        }
    }

    fn redirect(&mut self, cursor: &mut Cursor<'_>, dialect: Dialect) -> Result<Action, TextError> {
        if cursor.eat_word("next-hop") {
            let mut ahead = cursor.clone();
            ahead.skip_space();
            let at = ahead.at();
            if let Ok(address) = ahead.token().parse::<IpAddr>() {
                *cursor = ahead;
                self.set_next_hop(cursor, at, address)?;
            }
            return Ok(Action::RedirectNextHop { copy: cursor.eat_word("copy") });
        }
        cursor.skip_space();
        let at = cursor.at();
        let address = cursor.clone().token().parse::<IpAddr>();
        match (address, dialect) {
            (Err(_), _) => target(cursor),
            (Ok(address), Dialect::Own) => {
                cursor.token();
                Ok(Action::RedirectIp { address, copy: cursor.eat_word("copy") })
            }
            // ExaBGP sends this one as a redirect to the next hop, and the address as that next
            // hop.
            (Ok(address), Dialect::Foreign) => {
                let token = cursor.token();
                if let Some((target, number)) = as_route_target(token) {
                    let expected = format!(
                        "`redirect [{target}]:{number}` for GoBGP's route target, or `redirect next-hop {address}` for ExaBGP's \
                         address (this can be read as either)"
                    );
                    return Err(cursor.error_at(at, expected));
                }
                self.set_next_hop(cursor, at, address)?;
                Ok(Action::RedirectNextHop { copy: false })
            }
        }
    }

    /// `copy ADDRESS`: ExaBGP sends it as a copy to the next hop, and the address as that next hop.
    fn copy(&mut self, cursor: &mut Cursor<'_>, dialect: Dialect) -> Result<Action, TextError> {
        cursor.skip_space();
        let at = cursor.at();
        let address = cursor.token().parse().map_err(|_| cursor.error_at(at, "the IP address that gets the copy"))?;
        if dialect == Dialect::Own {
            return Ok(Action::RedirectIp { address, copy: true });
        }
        self.set_next_hop(cursor, at, address)?;
        Ok(Action::RedirectNextHop { copy: true })
    }
}

/// An IPv6 address that is a route target as well when its last part is taken for the number:
/// `2001:db8::1:100`.
fn as_route_target(token: &str) -> Option<(Ipv6Addr, u16)> {
    let (address, number) = token.rsplit_once(':')?;
    Some((address.parse().ok()?, decimal(number)?))
}

/// Skips ExaBGP's `community [ 65000:1 no-export ]`: communities of RFC 1997, which no filter
/// depends on.
fn standard_communities(cursor: &mut Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.skip_space();
    let bracketed = ahead.eat("[");
    let standard = |token: &str| {
        let pair =
            token.split_once(':').is_some_and(|(asn, value)| decimal::<u16>(asn).and(decimal::<u16>(value)).is_some());
        pair || matches!(token, "no-export" | "no-advertise" | "no-peer" | "blackhole" | "nopeer")
    };
    let mut count = 0;
    loop {
        ahead.skip_space();
        if bracketed && count > 0 && ahead.eat("]") {
            break;
        }
        if !standard(ahead.token()) {
            return false;
        }
        count += 1;
        if !bracketed {
            break;
        }
    }
    *cursor = ahead;
    true
}

/// `65000:100`, `4200000000:100`, `65000L:100` (4-octet form of a small number), `192.0.2.1:100` or
/// `[2001:db8::1]:100`.
fn target(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    cursor.skip_space();
    let at = cursor.at();
    let wrong = |cursor: &Cursor<'_>| {
        cursor.error_at(
            at,
            "a route target such as 65000:100, 192.0.2.1:100 or [2001:db8::1]:100, an address, or `next-hop`",
        )
    };
    if cursor.eat("[") {
        let address = cursor.token().parse::<Ipv6Addr>().map_err(|_| wrong(cursor))?;
        if !cursor.eat("]:") {
            return Err(wrong(cursor));
        }
        let local = decimal(cursor.token()).ok_or_else(|| wrong(cursor))?;
        return Ok(Action::RedirectIpv6 { address, local });
    }
    let (admin, local) = cursor.token().split_once(':').ok_or_else(|| wrong(cursor))?;
    let action = if let Ok(address) = admin.parse::<Ipv4Addr>() {
        decimal(local).map(|local| Action::RedirectIpv4 { address, local })
    } else if let Some(asn) = admin.strip_suffix(['L', 'l']) {
        decimal(asn).zip(decimal(local)).map(|(asn, local)| Action::RedirectAs4 { asn, local })
    } else if let Some(asn) = decimal::<u16>(admin) {
        decimal(local).map(|local| Action::RedirectAs2 { asn, local })
    } else {
        decimal(admin).zip(decimal(local)).map(|(asn, local)| Action::RedirectAs4 { asn, local })
    };
    action.ok_or_else(|| wrong(cursor))
}

fn route_target(code: u8, admin: &[u8], local: &[u8]) -> Action {
    let mut octets = [code, 0x02, 0, 0, 0, 0, 0, 0];
    for (to, from) in octets[2..].iter_mut().zip(admin.iter().chain(local)) {
        *to = *from;
    }
    Action::Other(Community::Extended(octets))
}

/// Decimal digits only, no sign.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn dscp(cursor: &mut Cursor<'_>) -> Result<u8, TextError> {
    cursor.skip_space();
    let at = cursor.at();
    let token = cursor.token();
    let named = || words::number(crate::ComponentType::Dscp, token).and_then(|value| u8::try_from(value).ok());
    decimal(token)
        .or_else(named)
        .filter(|dscp| *dscp <= 0x3f)
        .ok_or_else(|| cursor.error_at(at, "a DSCP from 0 to 63, or its name (ef, af11, cs1)"))
}

/// `[non-transitive] in|out|in+out AS:GROUP`, or ExaBGP's `transitive:input-output:AS:GROUP`.
fn interface_set(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    let mut transitive = true;
    let direction = loop {
        cursor.skip_space();
        let at = cursor.at();
        let word = cursor.take_while(|c| c.is_ascii_alphabetic() || c == '-' || c == '+').to_ascii_lowercase();
        cursor.eat(":");
        match word.as_str() {
            "transitive" => {}
            "non-transitive" => transitive = false,
            "in" | "input" => break (true, false),
            "out" | "output" => break (false, true),
            "in+out" | "input-output" => break (true, true),
            _ => return Err(cursor.error_at(at, "`in`, `out` or `in+out`, perhaps `non-transitive` before it")),
        }
    };
    cursor.skip_space();
    let at = cursor.at();
    let (inbound, outbound) = direction;
    let read = cursor.token().split_once(':').and_then(|(asn, group)| decimal(asn).zip(decimal(group)));
    match read {
        Some((asn, group)) if group <= 0x3fff => Ok(Action::InterfaceSet { transitive, asn, outbound, inbound, group }),
        _ => Err(cursor.error_at(at, "an AS number and a group from 0 to 16383, as in 65000:1")),
    }
}

/// `community HEX`: 8 octets, or 20 for attribute 25.
fn community(cursor: &mut Cursor<'_>) -> Result<Action, TextError> {
    cursor.skip_space();
    let at = cursor.at();
    let token = cursor.token();
    hex_community(token).map_err(|error| cursor.error_at(at, error.to_string()))
}

/// Why text is not a community in hex; as what is expected in its place.
#[derive(Debug, thiserror::Error)]
pub(super) enum HexCommunityError {
    /// Its length is wrong.
    #[error("a community of 16 hex digits, or 40 (attribute 25)")]
    Length,
    /// Its length is right, and it is not an action.
    #[error("a community that can be read ({0})")]
    Action(#[from] CommunityError),
}

/// Reads a community in hex.
pub(super) fn hex_community(text: &str) -> Result<Action, HexCommunityError> {
    let octets = hex::decode(text.strip_prefix("0x").unwrap_or(text)).unwrap_or_default();
    let community = if let Ok(octets) = <[u8; 8]>::try_from(octets.as_slice()) {
        Community::Extended(octets)
    } else if let Ok(octets) = <[u8; 20]>::try_from(octets.as_slice()) {
        Community::Ipv6(octets)
    } else {
        return Err(HexCommunityError::Length);
    };
    Ok(Action::decode(community)?)
}
