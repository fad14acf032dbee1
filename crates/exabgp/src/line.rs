//! Parses one line of ExaBGP's JSON. Pure: octets in, values out.

use crate::attribute::{self, Attributes};
use crate::error::ParseError;
use crate::flow;
use crate::json::{Pairs, parse, words};
use crate::octets::{self, Octets};
use crate::version::Version;
use bgp::{AfiSafi, Announced, Destination, PathAttributes, RouteKey, Update};
use flowspec::{Family, PathId};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The message of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A session changed its state.
    State(Neighbor, SessionState),
    /// Routes were announced or withdrawn. Parse errors are listed; the other routes are used.
    Update(Neighbor, Update, Vec<ParseError>),
    /// All routes of a family were sent.
    EndOfRib(Neighbor, AfiSafi),
    /// ExaBGP is shutting down.
    Shutdown,
    /// The answer to a command: whether it was executed.
    Answer(bool),
    /// Nothing that concerns filters.
    Other,
}

/// Identifies a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The peer's address.
    pub peer: IpAddr,
    /// Our address, if ExaBGP reports one.
    pub local: Option<IpAddr>,
    /// The peer's AS number.
    pub peer_as: Option<u32>,
    /// Ours.
    pub local_as: Option<u32>,
    /// Our BGP identifier; from version 5 on.
    pub router_id: Option<Ipv4Addr>,
}

/// The state of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// There is a TCP connection, but no session yet.
    Connected,
    /// It is up.
    Up,
    /// It is down, and why, as ExaBGP gives it.
    Down(String),
}

/// Parses a line, without its newline.
///
/// # Errors
/// What cannot be parsed at all, and where. Single routes of an update that cannot be parsed do not
/// fail the line.
pub fn read(line: &[u8]) -> Result<Message, ParseError> {
    let text = std::str::from_utf8(line)
        .map_err(|error| ParseError::new(format!("not UTF-8 at octet {}", error.valid_up_to())))?;
    let text = text.trim();
    match text {
        "done" => return Ok(Message::Answer(true)),
        "error" => return Ok(Message::Answer(false)),
        "shutdown" => return Ok(Message::Shutdown),
        "" => return Ok(Message::Other),
        _ => {}
    }
    if !text.starts_with('{') {
        return Err(ParseError::new("no JSON; the process needs `encoder json;` in exabgp.conf"));
    }
    match whole(text) {
        Ok(message) => Ok(message),
        Err(misread) => repair(text).and_then(|text| whole(&text).ok()).ok_or(misread),
    }
}

/// Repairs lines in which ExaBGP writes invalid JSON, and that must not be missed: an End-of-RIB in
/// versions 5 and 6, and the loss of a session whose reason version 4 does not escape.
fn repair(text: &str) -> Option<String> {
    const EOR: &str = "[ \"eor\": ";
    if let (Some(head), Some(at)) = (text.find("\"update\": { \"announce\": {"), text.find(EOR)) {
        let eor = &text[at + EOR.len()..];
        let eor = &eor[..=eor.find('}')?];
        return Some(format!("{}\"eor\": {eor} }} }} }}", text.get(..head)?));
    }
    // The reason is the last member.
    let at = text.contains("\"state\": \"down\"").then(|| text.find(", \"reason\": "))??;
    Some(format!("{} }} }}", &text[..at]))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    exabgp: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    answer: Option<String>,
    header: Option<String>,
    body: Option<String>,
    #[serde(borrow)]
    neighbor: Option<&'a RawValue>,
    #[serde(borrow)]
    notification: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow)]
    address: Ends<'a>,
    #[serde(borrow)]
    asn: Option<Ends<'a>>,
    #[serde(rename = "router-id")]
    router_id: Option<String>,
    direction: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Ends<'a> {
    #[serde(borrow)]
    local: Option<&'a RawValue>,
    #[serde(borrow)]
    peer: &'a RawValue,
}

fn whole(text: &str) -> Result<Message, ParseError> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| ParseError::new(words(&error)))?;
    if let Some(answer) = envelope.answer {
        return Ok(if answer == "shutdown" { Message::Shutdown } else { Message::Answer(answer == "done") });
    }
    let version = Version::of(envelope.exabgp.as_deref())?;
    let kind = envelope.kind.as_deref().ok_or_else(|| ParseError::new("no `type`"))?;
    let Some(neighbor) = envelope.neighbor else {
        let shutdown = envelope.notification.and_then(|value| parse::<String>(value).ok());
        return match (kind, shutdown.as_deref()) {
            ("notification", Some("shutdown")) => Ok(Message::Shutdown),
            ("state" | "update", _) => Err(ParseError::new("no `neighbor`")),
            _ => Ok(Message::Other),
        };
    };
    // Other kinds concern no filters, and some of them are invalid JSON in some versions.
    if !matches!(kind, "state" | "update") {
        return Ok(Message::Other);
    }
    let session: Session<'_> = parse(neighbor).map_err(|misread| misread.within("neighbor"))?;
    let neighbor = neighbor_of(&session).map_err(|misread| misread.within("neighbor"))?;
    let message = match kind {
        "state" => state(neighbor, session.state.as_deref(), session.reason),
        // Messages that ExaBGP itself sends. Version 4.0 prints receive and send, later ones in and
        // out.
        _ if !matches!(session.direction.as_deref(), Some("in" | "receive") | None) => Ok(Message::Other),
        _ => match (&envelope.header, &envelope.body) {
            (Some(header), Some(body)) => return exact(neighbor, header, body),
            _ => update(neighbor, version, session.message).map_err(|misread| misread.within("message")),
        },
    };
    message.map_err(|misread| misread.within("neighbor"))
}

/// The message itself, if ExaBGP passes it on.
fn exact(neighbor: Neighbor, header: &str, body: &str) -> Result<Message, ParseError> {
    Ok(match octets::read(header, body)? {
        Octets::Update(update, misread) => Message::Update(neighbor, update, misread),
        Octets::EndOfRib(family) => Message::EndOfRib(neighbor, family),
    })
}

fn neighbor_of(session: &Session<'_>) -> Result<Neighbor, ParseError> {
    let peer: String = parse(session.address.peer).map_err(|misread| misread.within("peer").within("address"))?;
    // The zone of a link-local address is not needed here.
    let plain = peer.split('%').next().unwrap_or_default();
    let address = plain.parse().ok().filter(|address: &IpAddr| !address.is_unspecified() && !address.is_multicast());
    let peer =
        address.ok_or_else(|| ParseError::new(format!("`{peer}` is not an address of a peer")).within("address"))?;
    let local = session.address.local.and_then(|value| parse::<String>(value).ok()).and_then(|text| text.parse().ok());
    let number = |value: Option<&RawValue>| value.and_then(|value| parse::<u32>(value).ok());
    Ok(Neighbor {
        peer: peer.to_canonical(),
        local: local.map(|local: IpAddr| local.to_canonical()),
        peer_as: number(session.asn.as_ref().map(|asn| asn.peer)),
        local_as: number(session.asn.as_ref().and_then(|asn| asn.local)),
        router_id: session.router_id.as_deref().and_then(|id| id.parse().ok()),
    })
}

fn state(neighbor: Neighbor, state: Option<&str>, reason: Option<String>) -> Result<Message, ParseError> {
    let state = match state {
        Some("up") => SessionState::Up,
        Some("connected") => SessionState::Connected,
        Some("down") => SessionState::Down(reason.unwrap_or_default()),
        other => return Err(ParseError::new(format!("`{}` is not a known state", other.unwrap_or_default()))),
    };
    Ok(Message::State(neighbor, state))
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    update: Option<&'a RawValue>,
    eor: Option<EndOfRib>,
    header: Option<String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct EndOfRib {
    afi: String,
    safi: String,
}

#[derive(Deserialize)]
struct Routes<'a> {
    #[serde(borrow)]
    attribute: Option<&'a RawValue>,
    #[serde(borrow)]
    announce: Option<Pairs<'a>>,
    #[serde(borrow)]
    withdraw: Option<Pairs<'a>>,
}

fn update(neighbor: Neighbor, version: Version, message: Option<&RawValue>) -> Result<Message, ParseError> {
    let content = message.ok_or_else(|| ParseError::new("is missing"))?;
    let content: Content<'_> = parse(content)?;
    if let Some(EndOfRib { afi, safi }) = content.eor {
        return Ok(
            family(&format!("{afi} {safi}")).map_or(Message::Other, |family| Message::EndOfRib(neighbor, family))
        );
    }
    // `packets` without `consolidate` or `parsed`.
    if let (Some(header), Some(body)) = (&content.header, &content.body) {
        return exact(neighbor, header, body);
    }
    let Some(update) = content.update else {
        return Err(ParseError::new("neither `update` nor `eor`; does the api block say `parsed`?"));
    };
    let routes: Routes<'_> = parse(update).map_err(|misread| misread.within("update"))?;
    let mut reader = Reader { version, update: Update::default(), misread: Vec::new() };
    for (name, value) in routes.withdraw.iter().flat_map(|pairs| &pairs.0) {
        if let Some(family) = family(name) {
            reader.withdraw(family, name, value);
        }
    }
    let attributes = attribute::attributes(routes.attribute);
    for (name, value) in routes.announce.iter().flat_map(|pairs| &pairs.0) {
        if let Some(family) = family(name) {
            reader.announce(family, name, value, &attributes);
        }
    }
    match attributes {
        Attributes::Withdraw(why) if routes.announce.is_some() => {
            reader.misread.push(ParseError::new(format!("{why}; its rules are treated as withdrawn")).within("update"));
        }
        // The rest of an UPDATE whose only NLRI ExaBGP could not read.
        _ if routes.attribute.is_some() && routes.announce.is_none() && routes.withdraw.is_none() => {
            reader
                .misread
                .push(ParseError::new("attributes without routes: ExaBGP leaves out rules that it cannot read"));
        }
        _ => {}
    }
    Ok(Message::Update(neighbor, reader.update, reader.misread))
}

/// ExaBGP's names of families; `None` for those that do not concern filters.
fn family(words: &str) -> Option<AfiSafi> {
    Some(match words {
        "ipv4 flow" => AfiSafi::Flow(Family::Ipv4),
        "ipv6 flow" => AfiSafi::Flow(Family::Ipv6),
        "ipv4 flow-vpn" => AfiSafi::Flow(Family::Vpnv4),
        "ipv6 flow-vpn" => AfiSafi::Flow(Family::Vpnv6),
        "ipv4 unicast" => AfiSafi::Ipv4Unicast,
        "ipv6 unicast" => AfiSafi::Ipv6Unicast,
        _ => return None,
    })
}

/// Collects the routes of one update.
struct Reader {
    version: Version,
    update: Update,
    misread: Vec<ParseError>,
}

impl Reader {
    fn withdraw(&mut self, family: AfiSafi, name: &str, list: &RawValue) {
        let routes = self.routes(family, &["withdraw", name], list);
        self.update.withdrawn.extend(routes);
    }

    fn announce(&mut self, family: AfiSafi, name: &str, by_next_hop: &RawValue, attributes: &Attributes) {
        let groups: Pairs<'_> = match parse(by_next_hop) {
            Ok(groups) => groups,
            Err(misread) => return self.misread.push(misread.at(&["update", "announce", name])),
        };
        let mut shared: Option<Arc<PathAttributes>> = None;
        for (next_hop, list) in &groups.0 {
            let routes = self.routes(family, &["announce", name, next_hop], list);
            let group = match (attributes, attribute::next_hop(next_hop)) {
                (Attributes::Good(attributes), Ok(next_hop)) => {
                    let attributes = shared.get_or_insert_with(|| Arc::new(PathAttributes::clone(attributes)));
                    Announced { family, next_hop, attributes: Arc::clone(attributes), route_loop: None, routes }
                }
                // The previous version of these rules is obsolete, and the new one cannot be
                // parsed: treat-as-withdraw (RFC 7606).
                (Attributes::Withdraw(_), _) => {
                    self.update.withdrawn.extend(routes);
                    continue;
                }
                (_, Err(misread)) => {
                    self.update.withdrawn.extend(routes);
                    self.misread.push(misread.at(&["update", "announce", name, next_hop]));
                    continue;
                }
            };
            self.update.announced.push(group);
        }
    }

    /// The routes of a list, each independent of the others.
    fn routes(&mut self, family: AfiSafi, place: &[&str], list: &RawValue) -> Vec<RouteKey> {
        let objects: Vec<&RawValue> = match parse(list) {
            Ok(objects) => objects,
            Err(misread) => {
                self.misread.push(misread.at(place).within("update"));
                return Vec::new();
            }
        };
        let mut routes = Vec::with_capacity(objects.len());
        for (index, object) in objects.into_iter().enumerate() {
            let read = match family {
                AfiSafi::Flow(family) => flow::nlri(family, self.version, object).map(RouteKey::from),
                AfiSafi::Ipv4Unicast | AfiSafi::Ipv6Unicast => unicast(family, object),
            };
            match read {
                Ok(route) => routes.push(route),
                Err(misread) => self.misread.push(misread.within(&index.to_string()).at(place).within("update")),
            }
        }
        routes
    }
}

/// `{ "nlri": "192.0.2.0/24" }` with `path-information`, or the prefix alone in compact form.
fn unicast(family: AfiSafi, object: &RawValue) -> Result<RouteKey, ParseError> {
    #[derive(Deserialize)]
    struct Route {
        nlri: String,
        #[serde(rename = "path-information")]
        path: Option<Ipv4Addr>,
    }
    let route = parse::<String>(object).map(|nlri| Route { nlri, path: None }).or_else(|_| parse::<Route>(object))?;
    let net: IpNet = route.nlri.parse().map_err(|_| ParseError::new(format!("`{}` is not a prefix", route.nlri)))?;
    if Destination::Unicast(net).family() != family {
        return Err(ParseError::new(format!("`{net}` is not a prefix of {family}")));
    }
    let path_id = route.path.map(|path| PathId(u32::from(path)));
    Ok(RouteKey { destination: Destination::Unicast(net.trunc()), path_id })
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
