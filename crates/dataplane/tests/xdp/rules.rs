//! Rule sets, frames, and the comparison with the oracle.

use anyhow::{Context, Result, bail};
use dataplane::xdp::testing::{Harness, Outcome};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Space;
use flowspec::testing::{PacketShape, Seed, Shape, random_draft_for};
use flowspec::{Effect, IpVersion, Nlri, Packet, Policing, Redirect, Rule, Scope, decide};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;

/// Random rules of all kinds, without the actions that XDP refuses.
pub(crate) fn shape(round: u64) -> Shape {
    let mut shape = Shape::everything();
    shape.actions.retain(|actions| {
        let effect = Effect::of(actions, None);
        matches!(effect.redirect, None | Some(Redirect::Address { copy: false, .. }))
    });
    if round.is_multiple_of(5) {
        shape.max_ops = 20;
    }
    if round.is_multiple_of(7) {
        // Without a destination.
        shape.fields = shape.fields.iter().filter(|&field| field != flowspec::ComponentType::Destination).collect();
    }
    shape
}

/// The rule as the engine hands it over.
pub(crate) fn compiled(rule: &Rule) -> Arc<CompiledRule> {
    let space = Space::of(&rule.nlri);
    let entries = if space.is_empty() { Vec::new() } else { vec![space] };
    Arc::new(CompiledRule { nlri: Arc::new(rule.nlri.clone()), id: rule.nlri.id(), effect: rule.effect(), entries })
}

pub(crate) fn ruleset(rules: &[Rule], protected: Vec<Space>) -> Ruleset {
    Ruleset { protected: Arc::new(protected), rules: rules.iter().map(compiled).collect() }
}

/// The packets of rules.
pub(crate) fn spaces_of(rules: &[Rule]) -> Vec<Space> {
    rules.iter().map(|rule| Space::of(&rule.nlri)).collect()
}

/// What a comparison saw; one that saw only packets without rules would tell little.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub verdicts: u64,
    pub matched: u64,
    pub several: u64,
    pub protected: u64,
    pub unread: u64,
}

impl Tally {
    pub(crate) fn assert_telling(&self) {
        assert!(self.matched * 4 > self.verdicts, "{self}");
        assert!([self.several, self.protected, self.unread].iter().all(|n| n * 1000 > self.verdicts), "{self}");
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.verdicts += other.verdicts;
        self.matched += other.matched;
        self.several += other.several;
        self.protected += other.protected;
        self.unread += other.unread;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { verdicts, matched, several, protected, unread } = self;
        write!(f, "{verdicts} verdicts, no disagreement; {matched} matched, {several} of them several rules, ")?;
        write!(f, "{protected} protected, {unread} not read")
    }
}

/// A frame aimed at one of the rules: none to three VLAN tags, sometimes cut short.
pub(crate) fn frame_for(seed: &mut Seed, version: IpVersion, rules: &[Rule], shape: &PacketShape) -> Vec<u8> {
    let nlris: Vec<&Nlri> = rules.iter().map(|rule| &rule.nlri).collect();
    let draft = random_draft_for(seed, version, nlris.into_iter(), shape);
    let tags = [(0x88a8, 7), (0x8100, 100), (0x9100, 9)];
    let tags = match seed.below(20) {
        0..=1 => &tags[..1],
        2 => &tags[..2],
        3 => &tags[..3],
        _ => &[],
    };
    let mut frame = draft.to_ethernet(tags);
    frame.truncate(2040);
    if seed.percent(3) {
        frame.truncate(seed.within(14, frame.len() as u64) as usize);
    }
    if seed.percent(1) {
        // Noise: any octet of the headers.
        let at = seed.below(frame.len().min(80) as u64) as usize;
        frame[at] = seed.next_u64() as u8;
    }
    frame
}

/// Runs the frames and compares each with the oracle.
pub(crate) fn check(
    harness: &mut Harness,
    rules: &[Rule],
    protected: &[Space],
    frames: &[Vec<u8>],
    what: &str,
) -> Result<Tally> {
    let outcomes = harness.run_frames(frames)?;
    let mut tally = Tally::default();
    for (n, (frame, outcome)) in frames.iter().zip(&outcomes).enumerate() {
        if let Err(why) = compare(rules, protected, frame, outcome) {
            let smallest = smallest(harness, rules, protected, frame)?;
            let octets: String = frame.iter().map(|octet| format!("{octet:02x}")).collect();
            bail!("{what}, frame {n}: {why}\n{outcome:?}\nframe {octets}\nsmallest: {smallest:#?}");
        }
        tally.verdicts += 1;
        tally.matched += u64::from(!outcome.rules.is_empty());
        tally.several += u64::from(outcome.rules.len() > 1);
        tally.protected += u64::from(outcome.is_protected);
        tally.unread += u64::from(outcome.is_unread);
    }
    Ok(tally)
}

/// As few of the rules as still disagree on the frame.
fn smallest(harness: &mut Harness, rules: &[Rule], protected: &[Space], frame: &[u8]) -> Result<Vec<String>> {
    let mut rules = rules.to_vec();
    let mut at = 0;
    while at < rules.len() {
        let mut fewer = rules.clone();
        fewer.remove(at);
        harness.replace(&ruleset(&fewer, protected.to_vec()))?;
        let outcome = harness.run_frames(&[frame.to_vec()]);
        if outcome.is_ok_and(|outcome| compare(&fewer, protected, frame, &outcome[0]).is_err()) {
            rules = fewer;
        } else {
            at += 1;
        }
    }
    Ok(rules.iter().map(|rule| format!("{:?} {:?} {:?}", rule.nlri, Space::of(&rule.nlri), rule.effect())).collect())
}

fn tags(frame: &[u8]) -> usize {
    let tag = |n: usize| frame.get(12 + 4 * n..14 + 4 * n).map(|t| u16::from_be_bytes([t[0], t[1]]));
    (0..).take_while(|&n| matches!(tag(n), Some(0x8100 | 0x88a8 | 0x9100))).count()
}

/// What the oracle says against what the program did.
pub(crate) fn compare(rules: &[Rule], protected: &[Space], frame: &[u8], outcome: &Outcome) -> Result<(), String> {
    let packet = match Packet::from_ethernet(frame) {
        Ok(packet) if tags(frame) <= 2 => packet,
        _ if !outcome.is_unread || outcome.verdict != PASS => return Err("was no packet to read".into()),
        _ => return Ok(()),
    };
    if outcome.is_unread {
        return Err(format!("was not read: {packet:?}"));
    }
    let decision = decide(rules, &packet, Scope::Global);
    let is_protected = protected.iter().any(|space| space.matches(&packet));
    // The program looks whether a packet is exempt or protected only where a rule matches.
    let is_hit = rules.iter().any(|rule| !rule.nlri.family().is_vpn() && rule.nlri.matches(&packet).is_ok());
    if is_hit && (is_protected || decision.exempt.is_some()) {
        return if outcome.is_protected && outcome.verdict == PASS { Ok(()) } else { Err("is protected".into()) };
    }
    let expected: Vec<&Nlri> = decision.matched().map(|at| &rules[at].nlri).collect();
    let found: Vec<&Nlri> = outcome.rules.iter().map(|nlri| &**nlri).collect();
    if expected != found {
        return Err(format!("matched {found:?}, expected {expected:?}: {packet:?}"));
    }
    let effect = decision.effect;
    let possible: &[u32] = match (effect.policing, effect.redirect) {
        (Policing::Discard, _) => &[DROP],
        (Policing::None, None) => &[PASS],
        (Policing::None, Some(_)) => &[PASS, REDIRECT],
        // Whether a policer has room depends on the time.
        (Policing::Limit { .. }, None) => &[PASS, DROP],
        (Policing::Limit { .. }, Some(_)) => &[PASS, DROP, REDIRECT],
    };
    if !possible.contains(&outcome.verdict) {
        return Err(format!("verdict {}, expected {possible:?} for {effect:?}", outcome.verdict));
    }
    let length = outcome.head.len();
    if length < 64 || outcome.verdict == REDIRECT {
        return Ok(());
    }
    let untouched = &frame[..length];
    let marked = effect.mark.filter(|_| outcome.verdict == PASS).map(|dscp| marked(untouched, dscp));
    if outcome.head != marked.as_deref().unwrap_or(untouched) {
        return Err(format!("the frame became {:02x?}, mark {:?}", outcome.head, effect.mark));
    }
    Ok(())
}

/// The frame with another DSCP, its header checksum computed anew from the sum of what was there.
fn marked(frame: &[u8], dscp: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ip = 14 + 4 * tags(&frame);
    let octets = &mut frame[ip..];
    if octets[0] >> 4 == 6 {
        octets[0] = octets[0] & 0xf0 | dscp >> 2;
        octets[1] = octets[1] & 0x3f | dscp << 6;
        return frame;
    }
    let before = u16::from_be_bytes([octets[0], octets[1]]);
    octets[1] = octets[1] & 3 | dscp << 2;
    let after = u16::from_be_bytes([octets[0], octets[1]]);
    // RFC 1624, equation 3: right for a checksum that was right, and leaves a wrong one as wrong as
    // it was.
    let checksum = u16::from_be_bytes([octets[10], octets[11]]);
    let mut sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    octets[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

/// A rule like hundreds of others: what they differ in are sources of any length in a few networks,
/// ports and ranges of ports. Now and then one has a destination that is everything, or in IPv6 one
/// with an offset, and so stands before those with a source.
pub(crate) fn alike(seed: &mut Seed, version: IpVersion, victims: bool) -> Result<Rule> {
    let v6 = version == IpVersion::V6;
    let mut text = String::from(if v6 { "ipv6" } else { "" });
    text += &match (seed.below(20), v6) {
        (0, false) => " dst 0.0.0.0/0".to_owned(),
        (0, true) => format!(" dst 0:0:0:{:x}::/64/16", seed.below(3)),
        (_, false) if victims => format!(" dst 192.0.2.0/{}", seed.pick(&[32, 24]).unwrap_or(32)),
        (_, true) if victims => format!(" dst 2001:db8::/{}", seed.pick(&[128, 64]).unwrap_or(64)),
        _ => String::new(),
    };
    let length = if v6 { seed.within(1, 128) } else { seed.within(1, 32) };
    // Few bits are random, so that many sources are inside of others.
    text += &match (seed.below(5), v6) {
        (0, _) => String::new(),
        (_, false) => {
            let bits =
                (seed.below(2) << 26 | seed.below(4) << 14 | seed.below(4) << 7 | seed.below(2)) as u32 | 100 << 24;
            format!(" src {}/{length}", Ipv4Addr::from_bits(bits & u32::MAX << (32 - length)))
        }
        (1, true) if seed.percent(20) => format!(" src 0:0:0:{:x}::/64/16", seed.below(3)),
        (_, true) => {
            let bits = seed.below(2) << 60 | seed.below(4) << 36 | seed.below(4) << 14 | seed.below(2) | 0x2400 << 48;
            let bits = u128::from(bits) << 64 | u128::from(seed.below(3));
            format!(" src {}/{length}", Ipv6Addr::from_bits(bits & u128::MAX << (128 - length)))
        }
    };
    let port = seed.pick(&[0, 15, 16, 255, 256, 300, 4095, 65_535]).unwrap_or(0);
    let last = (port + seed.pick(&[0, 0, 1, 20, 300, 5000]).unwrap_or(0)).min(65_535);
    text += &match seed.below(7) {
        0 => format!(" proto udp sport {port}"),
        1 => format!(" proto udp dport {port}-{last}"),
        2 => format!(" proto tcp dport {port} tcp-flags syn&!ack"),
        3 => format!(" proto udp dport {port}-{last} sport {}-{}", port / 2, last / 2 + 1),
        4 => format!(" port {port}-{last}"),
        5 => format!(" proto udp length >={}", 40 + port % 100),
        _ => " proto tcp".to_owned(),
    };
    text += if seed.percent(3) { " then sample continue" } else { " then discard" };
    text.trim().parse().with_context(|| text.clone())
}
