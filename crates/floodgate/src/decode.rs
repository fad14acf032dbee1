//! `floodgate decode`: FlowSpec octets to rules.

use crate::capture::{self, Link};
use crate::command_line::{DecodeArgs, FamilyArg};
use crate::dump::{Assembler, Octets};
use crate::exit_status::{NEGATIVE, OK};
use crate::foreign::{Part, Parts};
use crate::input::{self, Item};
use crate::output::{ErrorObject, Output, print_error};
use crate::segments::{Direction, MARKER, Messages, Streams, first_message, segment};
use anyhow::{Context, Result};
use api::foreign::ForeignRule;
use api::hex::{HexError, to_hex};
use bgp::{AfiSafi, DecodeOptions, DecodedUpdate, Destination, FamilySet, NotAnUpdate, Origin, decode_update};
use flowspec::text::Actions;
use flowspec::{Action, Community, Disposition, Nlri, NlriEntry, NlriIter};
use serde::Serialize;
use std::cell::RefCell;
use std::net::IpAddr;
use std::path::Path;

/// Decodes every input; `NEGATIVE` when any was in error.
pub(crate) fn run(args: &DecodeArgs) -> Result<u8> {
    let mut report = Report { output: Output::new(), json: args.json, failed: false };
    match &args.pcap {
        Some(path) => capture(path, args.add_path, &mut report)?,
        None => inputs(args, &mut report)?,
    }
    report.output.finish()?;
    Ok(if report.failed { NEGATIVE } else { OK })
}

/// Octets in hex, dumps, and rules in the forms of other programs, as they come.
fn inputs(args: &DecodeArgs, report: &mut Report) -> Result<()> {
    let report = RefCell::new(report);
    let mut assembler = Assembler::new(|item: &Item, octets| input(args, item, octets, &mut report.borrow_mut()));
    let mut parts = Parts::default();
    let mut each = |part: Part| match part {
        Part::Line(item) => assembler.take(item),
        Part::Rule(item, rule) => {
            // Lines that are not octets are what the other program prints around its rules.
            assembler.forget_headings();
            foreign(&item, &rule, &mut report.borrow_mut())
        }
        Part::Error(item, error) => {
            assembler.forget_headings();
            let error = ErrorObject { kind: "foreign", offset: 0, message: error.to_string() };
            report.borrow_mut().failure(&item, error)
        }
    };
    input::for_each(&args.input, |item| parts.take(item, &mut each))?;
    parts.finish(&mut each)?;
    assembler.end()
}

/// A rule of another program.
fn foreign(item: &Item, read: &ForeignRule, report: &mut Report) -> Result<()> {
    let mut wire = Vec::with_capacity(read.nlri.wire_len());
    read.nlri.encode_to(&mut wire);
    let mut object = NlriObject::new(item.number, &wire, &read.nlri);
    if let Ok(actions) = &read.actions {
        let communities = |action: &Action| ActionObject::new(*action, action.encode().as_bytes());
        object.actions = Some(actions.iter().map(communities).collect());
        object.next_hop = read.next_hop;
        object.rule = read.rule().ok().map(|rule| rule.to_string());
    }
    for note in &read.notes {
        report.note(item, format_args!("{note}"))?;
    }
    if let Err(shown_by) = &read.actions {
        report.note(item, format_args!("what the rule does is not shown here; {shown_by} shows it"))?;
    }
    report.success(&object, |output| {
        let text = object.rule.as_ref().unwrap_or(&object.text);
        output.line(&format!("{}  {text}", object.id))
    })
}

/// The JSON objects that the command prints for this text, which is one input. Notes are objects
/// with a `note`.
pub(crate) fn objects(text: &str, family: FamilyArg) -> Result<Vec<serde_json::Value>> {
    let args = DecodeArgs {
        family,
        update: false,
        community: false,
        add_path: false,
        pcap: None,
        json: true,
        input: vec![text.to_owned()],
    };
    let mut report = Report { output: Output::in_memory(), json: true, failed: false };
    inputs(&args, &mut report)?;
    let written = report.output.into_octets()?;
    Ok(serde_json::Deserializer::from_slice(&written).into_iter().collect::<Result<_, _>>()?)
}

fn input(args: &DecodeArgs, item: &Item, octets: Octets, report: &mut Report) -> Result<()> {
    let text = match item.text() {
        Ok(text) => text,
        Err(error) => return report.failure(item, error.object()),
    };
    let wrong = |message: String| ErrorObject { kind: "dump", offset: 0, message };
    match octets {
        Octets::NoHex(error) => report.failure(item, hex_error(text, &error)),
        Octets::Gap { found, expected } => {
            let message =
                format!("a line of the dump has offset {found:#x} where {expected:#x} follows: lines are missing");
            report.failure(item, wrong(message))
        }
        Octets::UnknownOrder => {
            let message =
                "words of 16 bits whose order depends on the machine; print octets, as `hexdump -C` and `xxd` do";
            report.failure(item, wrong(message.to_owned()))
        }
        Octets::Read { octets, .. } if args.community => community(item, &octets, report),
        Octets::Read { octets, dump } => {
            let is_message = args.update || octets.starts_with(&MARKER) || dump && first_message(&octets).is_some();
            if is_message { packet(args.add_path, item, &octets, report) } else { nlris(args, item, &octets, report) }
        }
    }
}

/// The messages of all connections in a capture file.
fn capture(path: &Path, add_path: bool, report: &mut Report) -> Result<()> {
    let (reader, name) = input::open(path)?;
    let mut streams = Streams::default();
    let mut packets = 0;
    let mut found = false;
    capture::for_each(reader, |number, link, octets| {
        packets = number + 1;
        let Some(segment) = segment(link, octets) else { return Ok(()) };
        let Messages { octets, lost } = streams.take(&segment);
        let item = Item::packet(number, &name);
        if lost > 0 {
            report.note(
                &item,
                format_args!("{lost} octets of TCP before this are of messages that are not whole in the capture"),
            )?;
        }
        if octets.is_empty() {
            return Ok(());
        }
        found = true;
        if !report.json {
            let Direction { from, to } = segment.direction;
            report.output.line(&format!("packet {number}  {from} > {to}"))?;
        }
        messages(&Framing { add_path, base: 0, name_others: true }, &item, &octets, report)
    })
    .with_context(|| format!("cannot read {name}"))?;
    let end = Item::packet(packets, &name);
    for (Direction { from, to }, octets) in streams.unfinished() {
        report.note(
            &end,
            format_args!("{octets} octets from {from} to {to} are of a message whose end is not in the capture"),
        )?;
    }
    if !found {
        let message = format!("no BGP message in {}", api::rule_text::counted(packets, "packet"));
        report.failure(&end, ErrorObject { kind: "no-messages", offset: 0, message })?;
    }
    Ok(())
}

/// The messages in a packet, or octets that are messages themselves.
fn packet(add_path: bool, item: &Item, octets: &[u8], report: &mut Report) -> Result<()> {
    let links = [Link::Ethernet, Link::Ip(0), Link::Cooked, Link::Cooked2];
    let payload = if octets.starts_with(&MARKER) {
        None
    } else {
        links.into_iter().find_map(|link| Some(segment(link, octets)?.payload).filter(|it| first_message(it).is_some()))
    };
    let payload = payload.unwrap_or(octets);
    let at = first_message(payload).unwrap_or(0);
    // The payload is a part of the octets.
    let header = payload.as_ptr().addr() - octets.as_ptr().addr();
    if at > 0 && header > 0 {
        report
            .note(item, format_args!("{at} octets before the first message are the end of another, and passed over"))?;
    }
    messages(&Framing { add_path, base: header + at, name_others: false }, item, &payload[at..], report)
}

/// The output of results, in the requested form.
struct Report {
    output: Output,
    json: bool,
    failed: bool,
}

#[derive(Serialize)]
struct Failure<'a> {
    input: usize,
    error: ErrorObject<'a>,
}

impl Report {
    fn failure(&mut self, item: &Item, error: ErrorObject<'_>) -> Result<()> {
        self.failed = true;
        if self.json {
            return self.output.json(&Failure { input: item.number, error });
        }
        self.output.flush()?;
        print_error(format_args!("floodgate: {}: {} ({})", item.place(), error.message, error.kind));
        Ok(())
    }

    /// A note for people, on standard error.
    fn note(&mut self, item: &Item, message: std::fmt::Arguments<'_>) -> Result<()> {
        if self.output.is_in_memory() {
            return self.output.json(&serde_json::json!({ "note": message.to_string() }));
        }
        self.output.flush()?;
        print_error(format_args!("floodgate: {}: note: {message}", item.place()));
        Ok(())
    }

    /// An object for programs, or lines for people.
    fn success(&mut self, object: &impl Serialize, lines: impl FnOnce(&mut Output) -> Result<()>) -> Result<()> {
        if self.json { self.output.json(object) } else { lines(&mut self.output) }
    }
}

fn hex_error(text: &str, error: &HexError) -> ErrorObject<'static> {
    let offset = match error {
        HexError::Digit { column, .. } => column - 1,
        HexError::Odd => text.chars().count(),
        HexError::Empty => 0,
    };
    ErrorObject { kind: "hex", offset, message: error.to_string() }
}

#[derive(Serialize)]
struct ComponentObject {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

/// One NLRI; the optional parts come with an UPDATE.
#[derive(Serialize)]
struct NlriObject {
    input: usize,
    family: &'static str,
    nlri: String,
    canonical: String,
    id: String,
    components: Vec<ComponentObject>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_hop: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<ActionObject>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl NlriObject {
    fn new(input: usize, raw: &[u8], nlri: &Nlri) -> Self {
        let mut wire = Vec::with_capacity(nlri.wire_len());
        nlri.encode_to(&mut wire);
        NlriObject {
            input,
            family: nlri.family().name(),
            nlri: to_hex(raw),
            canonical: to_hex(&wire),
            id: nlri.id().to_string(),
            components: nlri
                .components()
                .map(|component| ComponentObject {
                    kind: component.component_type().name(),
                    text: component.to_string(),
                })
                .collect(),
            text: nlri.to_string(),
            rd: nlri.route_distinguisher().map(|rd| rd.to_string()),
            announced: None,
            path_id: None,
            next_hop: None,
            actions: None,
            rule: None,
        }
    }
}

fn nlris(args: &DecodeArgs, item: &Item, octets: &[u8], report: &mut Report) -> Result<()> {
    let mut entries = NlriIter::new(args.family.into(), args.add_path, octets);
    if entries.any(|entry| entry.nlri.is_err()) && first_message(octets).is_some() {
        return packet(args.add_path, item, octets, report);
    }
    for NlriEntry { raw, nlri, path_id } in NlriIter::new(args.family.into(), args.add_path, octets) {
        match nlri {
            Ok(nlri) => {
                let mut object = NlriObject::new(item.number, raw, &nlri.to_canonical());
                object.path_id = path_id.map(|id| id.0);
                report.success(&object, |output| output.line(&format!("{}  {}", object.id, object.text)))?;
            }
            Err(error) => {
                let message = error.to_string();
                report.failure(item, ErrorObject { kind: error.kind.name(), offset: error.offset, message })?;
            }
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct ActionObject {
    community: String,
    text: String,
}

impl ActionObject {
    fn new(action: Action, octets: &[u8]) -> Self {
        ActionObject { community: to_hex(octets), text: action.to_string() }
    }
}

#[derive(Serialize)]
struct CommunityObject {
    input: usize,
    #[serde(flatten)]
    action: ActionObject,
}

fn community(item: &Item, octets: &[u8], report: &mut Report) -> Result<()> {
    let community = match (<[u8; 8]>::try_from(octets), <[u8; 20]>::try_from(octets)) {
        (Ok(octets), _) => Community::Extended(octets),
        (_, Ok(octets)) => Community::Ipv6(octets),
        _ => {
            let message = format!("{} octets; an extended community has 8, or 20 in attribute 25", octets.len());
            return report.failure(item, ErrorObject { kind: "community-length", offset: octets.len(), message });
        }
    };
    match Action::decode(community) {
        Ok(action) => {
            let object = CommunityObject { input: item.number, action: ActionObject::new(action, octets) };
            report.success(&object, |output| output.line(&object.action.text))
        }
        Err(error) => {
            // All of these are about the value, which is in the last four octets.
            report.failure(item, ErrorObject { kind: error.name(), offset: 4, message: error.to_string() })
        }
    }
}

#[derive(Serialize)]
struct EndOfRibObject {
    input: usize,
    end_of_rib: String,
}

#[derive(Serialize)]
struct PrefixObject {
    input: usize,
    family: String,
    prefix: String,
    announced: bool,
    next_hop: Option<IpAddr>,
}

/// The octets of the message at the start of `octets`, by the length in its header, if it has one.
fn message_len(octets: &[u8]) -> Option<usize> {
    let (&[l0, l1], _) = octets.strip_prefix(&MARKER)?.split_first_chunk()?;
    Some(usize::from(u16::from_be_bytes([l0, l1]))).filter(|len| *len > MARKER.len() + 2)
}

/// The framing of messages in an input.
struct Framing {
    /// Their NLRIs have path identifiers.
    add_path: bool,
    /// Octets of the input before the first.
    base: usize,
    /// The type of a single message that is not an UPDATE is named; otherwise it is an error.
    name_others: bool,
}

/// One message or several, as TCP carries them.
fn messages(framing: &Framing, item: &Item, octets: &[u8], report: &mut Report) -> Result<()> {
    let Framing { add_path, base, name_others } = *framing;
    let options =
        DecodeOptions { add_path: if add_path { FamilySet::ALL } else { FamilySet::EMPTY }, ..Default::default() };
    let mut at = 0;
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        let len = message_len(rest).map_or(rest.len(), |len| len.min(rest.len()));
        let message = &rest[..len];
        match decode_update(message, &options) {
            Ok(decoded) => update(&decoded, base + at, item, report)?,
            Err(NotAnUpdate::Type(kind)) if len < octets.len() || name_others => {
                if !report.json {
                    report.output.line(kind.name())?;
                }
            }
            Err(error) => {
                let message = match error {
                    NotAnUpdate::Header(_) if !message.starts_with(&MARKER) => {
                        "no BGP message: it would begin with 16 octets ff".to_owned()
                    }
                    NotAnUpdate::Type(kind) => format!("{kind}, not an UPDATE"),
                    NotAnUpdate::Header(_) | NotAnUpdate::Truncated(_) | NotAnUpdate::Trailing(_) => error.to_string(),
                };
                report.failure(item, ErrorObject { kind: "not-an-update", offset: base + at, message })?;
            }
        }
        at += len;
    }
    Ok(())
}

/// A whole message: what it announces and withdraws, its attributes, and all its errors. It starts
/// `at` this many octets of the input.
fn update(update: &DecodedUpdate, at: usize, item: &Item, report: &mut Report) -> Result<()> {
    if !report.json {
        heading(update, &mut report.output)?;
    }
    if let Some(family) = update.end_of_rib {
        let object = EndOfRibObject { input: item.number, end_of_rib: family.to_string() };
        report.success(&object, |output| output.line(&format!("  end of RIB for {family}")))?;
    }
    let actions = update.attributes.actions().unwrap_or_default();
    for nlri in &update.nlris {
        let next_hop = nlri.next_hop;
        match &nlri.destination {
            Ok(Destination::Flow(flow)) => {
                let mut object = NlriObject::new(item.number, &nlri.octets, flow);
                object.announced = Some(nlri.announced);
                object.path_id = nlri.path_id.map(|id| id.0);
                if nlri.announced {
                    object.next_hop = next_hop;
                    let communities = |action: &Action| ActionObject::new(*action, action.encode().as_bytes());
                    object.actions = Some(actions.iter().map(communities).collect());
                    object.rule = Some(format!("{flow} then {}", Actions { actions: &actions, next_hop }));
                }
                report.success(&object, |output| match &object.rule {
                    Some(rule) => output.line(&format!("  announce  {}  {rule}", object.id)),
                    None => output.line(&format!("  withdraw  {}  {}", object.id, object.text)),
                })?;
            }
            Ok(Destination::Unicast(prefix)) => {
                let object = PrefixObject {
                    input: item.number,
                    family: AfiSafi::to_string(&nlri.family),
                    prefix: prefix.to_string(),
                    announced: nlri.announced,
                    next_hop,
                };
                report.success(&object, |output| {
                    let verb = if nlri.announced { "announce" } else { "withdraw" };
                    let via = next_hop.map(|hop| format!(" via {hop}")).unwrap_or_default();
                    output.line(&format!("  {verb}  {prefix}{via}"))
                })?;
            }
            // Reported below, with all other errors.
            Err(_) => {}
        }
    }
    for error in &update.errors {
        let place = if at > 0 { format!("message at octet {at}: ") } else { String::new() };
        let message = format!("{place}{error}: a receiver must {}", reaction(error.disposition()));
        report.failure(item, ErrorObject { kind: error.kind.name(), offset: at + error.offset, message })?;
    }
    Ok(())
}

/// What a receiver has to do about the error.
fn reaction(disposition: Disposition) -> String {
    match disposition {
        Disposition::DropNlri => "leave out this NLRI and keep the others".to_owned(),
        Disposition::DiscardAttribute => "ignore this attribute".to_owned(),
        Disposition::TreatAsWithdraw => "treat all NLRIs of the message as withdrawn".to_owned(),
        Disposition::DisableFamily => {
            "restart the session: where the NLRIs of this address family begin and end is lost".to_owned()
        }
        Disposition::Notification { code, subcode } => format!("close the session with NOTIFICATION {code}/{subcode}"),
    }
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

/// The attributes that are not actions, for people.
fn heading(update: &DecodedUpdate, output: &mut Output) -> Result<()> {
    let announces = update.nlris.iter().any(|nlri| nlri.announced);
    if !announces {
        return output.line("UPDATE");
    }
    let attributes = &update.attributes;
    let mut line = format!("UPDATE  origin {}", origin(attributes.origin));
    if !attributes.as_path.segments.is_empty() {
        line.push_str(&format!("  as-path {}", attributes.as_path));
    }
    if let Some(preference) = attributes.local_pref {
        line.push_str(&format!("  local-pref {preference}"));
    }
    if let Some(med) = attributes.med {
        line.push_str(&format!("  med {med}"));
    }
    for community in &attributes.communities {
        line.push_str(&format!("  community {community}"));
    }
    output.line(&line)
}
