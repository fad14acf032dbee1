//! `floodgate explain`: which rule decides about a packet, and why earlier rules do not. The
//! verdict is the oracle's.

use crate::capture::{self, Link};
use crate::command_line::ExplainArgs;
use crate::exit_status::{NEGATIVE, OK};
use crate::input;
use crate::live;
use crate::output::{ErrorObject, Output, is_broken_pipe};
use crate::policy_trace;
use crate::rules::{self, NumberedRule};
use anyhow::{Context, Result, bail};
use api::explanation::{describe_effect, parse_packet, verdict};
use api::hex::{HexError, parse_hex};
use api::packet_text;
use api::{Named, Verdict};
use flowspec::{Component, ComponentType, Decision, Effect, Mismatch, Nlri, Packet, PacketError, Prefix, Scope};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

/// Explains one packet, or every packet of a capture.
pub(crate) fn run(args: &ExplainArgs) -> Result<u8> {
    if let (Some(rule), Some(peer)) = (&args.policy, &args.peer) {
        return policy_trace::run(args, rule, peer);
    }
    let mut output = Output::new();
    let question = match Question::of(args) {
        Ok(question) => question,
        Err(error) if args.json => return failure(&mut output, 0, error.object()),
        Err(error) => bail!("{error}"),
    };
    let from_stdin = |path: &Path| path == Path::new("-");
    if args.rules.as_deref().is_some_and(from_stdin) && args.pcap.as_deref().is_some_and(from_stdin) {
        bail!("--rules and --pcap cannot both be standard input");
    }
    let (rules, failed) = match (&args.rules, &question) {
        (Some(path), _) => rules::load(Some(path), args.json, &mut output)?,
        _ if let Some(time) = &args.at => match live::rules_at(&args.live(), time)? {
            Ok(rules) => (rules, false),
            Err(status) => return Ok(status),
        },
        (None, Question::One(_, octets)) => return live::explain(&args.live(), octets),
        (None, Question::Capture(_)) => match live::rules_in_force(&args.live())? {
            Ok(rules) => (rules, false),
            Err(status) => return Ok(status),
        },
    };
    let index = DestinationIndex::new(&rules);
    let mut answers = Answers { rules: &rules, index, json: args.json, output, tally: BTreeMap::new() };
    match question {
        Question::One(packet, _) => answers.one(&packet)?,
        Question::Capture(path) => {
            let (reader, name) = input::open(path)?;
            let read = capture::for_each(reader, |number, link, octets| answers.captured(number, link, octets))
                .with_context(|| format!("cannot read {name}"));
            match read {
                Err(error) if args.json && !is_broken_pipe(&error) => {
                    let packets = answers.tally.values().sum::<u64>() as usize;
                    let error = ErrorObject { kind: "capture", offset: 0, message: format!("{error:#}") };
                    return failure(&mut answers.output, packets, error);
                }
                read => read?,
            }
            answers.summary()?;
        }
    }
    answers.output.finish()?;
    Ok(if failed { NEGATIVE } else { OK })
}

/// An error instead of an answer.
#[derive(Serialize)]
struct Failure {
    packet: usize,
    error: ErrorObject<'static>,
}

fn failure(output: &mut Output, packet: usize, error: ErrorObject<'static>) -> Result<u8> {
    output.json(&Failure { packet, error })?;
    output.flush()?;
    Ok(NEGATIVE)
}

/// Why there is no question.
#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error("--packet: {0}")]
    Hex(#[from] HexError),
    #[error("{0}")]
    Words(#[from] packet_text::WordError),
    #[error("not a packet that rules can match: {0}")]
    Packet(#[from] PacketError),
}

impl QuestionError {
    /// The error as JSON; the offset counts characters of the hex, or words.
    fn object(&self) -> ErrorObject<'static> {
        let (kind, offset) = match self {
            QuestionError::Hex(HexError::Digit { column, .. }) => ("hex", column - 1),
            QuestionError::Hex(HexError::Odd | HexError::Empty) => ("hex", 0),
            QuestionError::Words(error) => ("words", error.position - 1),
            QuestionError::Packet(_) => ("packet", 0),
        };
        ErrorObject { kind, offset, message: self.to_string() }
    }
}

/// What to explain.
enum Question<'a> {
    /// The packet, and its octets.
    One(Box<Packet>, Vec<u8>),
    Capture(&'a Path),
}

impl<'a> Question<'a> {
    fn of(args: &'a ExplainArgs) -> Result<Self, QuestionError> {
        if let Some(path) = &args.pcap {
            return Ok(Question::Capture(path));
        }
        let octets = match &args.packet {
            Some(hex) => parse_hex(hex)?,
            None => packet_text::packet(&args.words)?,
        };
        let packet = parse_packet(&octets)?;
        Ok(Question::One(Box::new(packet), octets))
    }
}

#[derive(Serialize)]
struct Answer {
    packet: usize,
    verdict: &'static str,
    rule: Option<usize>,
    id: Option<String>,
    actions: Vec<String>,
    continued: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// With this many rules, those for other destinations are only counted.
const MIN_LONG_LIST: usize = 50;

struct Answers<'a> {
    rules: &'a [NumberedRule],
    index: DestinationIndex,
    json: bool,
    output: Output,
    /// Packets by verdict and deciding rule (file numbering).
    tally: BTreeMap<(Verdict, Option<usize>), u64>,
}

impl Answers<'_> {
    /// A single packet, with the reasons of the earlier rules.
    fn one(&mut self, packet: &Packet) -> Result<()> {
        if self.json {
            return self.answer(0, Ok(packet));
        }
        let (decision, passed) =
            flowspec::explain(self.rules.iter().map(|numbered| &numbered.rule), packet, Scope::Global);
        self.output.line(&format!("packet   {}", packet_text::describe(packet)))?;
        self.output.line(&format!("verdict  {}", self.outcome(&decision)))?;
        if decision.exempt.is_some() {
            return Ok(());
        }
        let ended = decision.ended_by.unwrap_or(self.rules.len());
        self.output.line(&format!(
            "rules    {} evaluated, of {}",
            (ended + 1).min(self.rules.len()),
            self.rules.len()
        ))?;
        // In a long list, rules for other destinations would hide those that nearly match.
        let elsewhere = |mismatch: &Mismatch<'_>| match mismatch {
            Mismatch::Version { .. } => true,
            Mismatch::Value { component, .. } => component.component_type() == ComponentType::Destination,
            Mismatch::Vpn | Mismatch::Absent { .. } => false,
        };
        let brief = ended >= MIN_LONG_LIST;
        let mut left_out = 0_usize;
        let mut passed = passed.into_iter().peekable();
        for (position, numbered) in self.rules.iter().enumerate().take(ended + 1) {
            let why = match passed.next_if(|(at, _)| *at == position) {
                Some((_, mismatch)) if brief && elsewhere(&mismatch) => {
                    left_out += 1;
                    continue;
                }
                Some((_, mismatch)) => format!("no: {mismatch}"),
                None if Some(position) == decision.ended_by => "matches and decides".to_owned(),
                None => "matches; evaluation continues with the next rule".to_owned(),
            };
            self.output.line(&format!("  {:>5}  {}\n         {why}", numbered.index, numbered.rule))?;
        }
        if left_out > 0 {
            self.output.line(&format!("         {left_out} rules are for other destinations"))?;
        }
        Ok(())
    }

    fn captured(&mut self, number: usize, link: Link, octets: &[u8]) -> Result<()> {
        match link.packet(octets) {
            Ok(packet) => self.answer(number, Ok(&packet)),
            Err(error) => self.answer(number, Err(error)),
        }
    }

    fn answer(&mut self, number: usize, packet: Result<&Packet, PacketError>) -> Result<()> {
        let (decision, note) = match packet {
            Ok(packet) => {
                let decision = self.decide(packet);
                let note = decision.exempt.map(|exempt| exempt.to_string());
                (decision, note)
            }
            // Not an IP packet: no rule can match it.
            Err(error) => {
                let untouched =
                    Decision { ended_by: None, continued: Vec::new(), effect: Effect::ACCEPT, exempt: None };
                (untouched, Some(error.to_string()))
            }
        };
        let verdict = verdict(&decision.effect);
        let ended_by = decision.ended_by.map(|position| self.rules[position].index);
        *self.tally.entry((verdict, ended_by)).or_default() += 1;
        if !self.json {
            let what = match (packet, &note) {
                (Ok(packet), _) => packet_text::describe(packet),
                (Err(_), note) => note.clone().unwrap_or_default(),
            };
            return self.output.line(&format!("{number:>8}  {what}: {}", self.outcome(&decision)));
        }
        let answer = Answer {
            packet: number,
            verdict: verdict.name(),
            rule: ended_by,
            id: decision.ended_by.map(|position| self.rules[position].rule.nlri.id().to_string()),
            actions: describe_effect(decision.effect),
            continued: decision.continued.iter().map(|&position| self.rules[position].index).collect(),
            note,
        };
        self.output.json(&answer)
    }

    /// The oracle's decision. Rules whose destination cannot match are left out: they could not
    /// change the result.
    fn decide(&self, packet: &Packet) -> Decision {
        let candidates = self.index.candidates(packet.destination());
        let rules = candidates.iter().map(|&position| &self.rules[position].rule);
        let mut decision = flowspec::decide(rules, packet, Scope::Global);
        decision.ended_by = decision.ended_by.map(|place| candidates[place]);
        decision.continued.iter_mut().for_each(|place| *place = candidates[*place]);
        decision
    }

    fn outcome(&self, decision: &Decision) -> String {
        let words = Effect { continues: false, ..decision.effect };
        match decision.rule() {
            None if let Some(exempt) = decision.exempt => format!("{words} ({exempt})"),
            None => format!("{words} (no rule matches)"),
            Some(position) => {
                let numbered = &self.rules[position];
                format!("{words} by rule {} ({})", numbered.index, numbered.rule.nlri.id())
            }
        }
    }

    fn summary(&mut self) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let total: u64 = self.tally.values().sum();
        self.output.line(&format!("{total} packets"))?;
        for ((verdict, rule), packets) in &self.tally {
            let by = rule.map_or_else(|| "no rule ended the evaluation".to_owned(), |rule| format!("rule {rule}"));
            self.output.line(&format!("{packets:>8}  {verdict} ({by})"))?;
        }
        Ok(())
    }
}

/// Rules by destination, so that a capture can be tested with many rules.
struct DestinationIndex {
    /// Positions by prefix length and network; IPv4 and IPv6 apart by the address type.
    buckets: HashMap<(u8, IpAddr), Vec<usize>>,
    /// The prefix lengths in use.
    lengths: Vec<(bool, u8)>,
    /// Rules without destination, or with an offset.
    everywhere: Vec<usize>,
}

impl DestinationIndex {
    fn new(rules: &[NumberedRule]) -> Self {
        let mut index = DestinationIndex { buckets: HashMap::new(), lengths: Vec::new(), everywhere: Vec::new() };
        for (position, numbered) in rules.iter().enumerate() {
            match destination(&numbered.rule.nlri) {
                Some((length, network)) => {
                    index.buckets.entry((length, network)).or_default().push(position);
                    if !index.lengths.contains(&(network.is_ipv4(), length)) {
                        index.lengths.push((network.is_ipv4(), length));
                    }
                }
                None => index.everywhere.push(position),
            }
        }
        index
    }

    /// Positions of the rules whose destination may contain `address`, in order.
    fn candidates(&self, address: IpAddr) -> Vec<usize> {
        let mut found = self.everywhere.clone();
        for &(_, length) in self.lengths.iter().filter(|(ipv4, _)| *ipv4 == address.is_ipv4()) {
            found.extend(self.buckets.get(&(length, network(address, length))).into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}

fn destination(nlri: &Nlri) -> Option<(u8, IpAddr)> {
    match nlri.components().next()? {
        Component::Prefix(ComponentType::Destination, Prefix::V4(net)) => {
            Some((net.prefix_len(), IpAddr::V4(net.network())))
        }
        Component::Prefix(ComponentType::Destination, Prefix::V6(pattern)) if pattern.offset() == 0 => {
            Some((pattern.length(), IpAddr::V6(pattern.bits().into())))
        }
        _ => None,
    }
}

fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}
