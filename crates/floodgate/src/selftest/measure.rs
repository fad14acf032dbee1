//! Tries the rows on a data plane: first each rule alone, then packets for all of them.

use super::frame::frame;
use super::interruptible::progress;
use super::rows::{Match, ROWS, Row, many};
use anyhow::{Context, Result, ensure};
use dataplane::{Attachment, Dataplane, FrameSender, RuleFailure};
use engine::capability::Capabilities;
use engine::compile::{Verdict, compile};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::{Nlri, Rule};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rules of the larger set of the figures.
const MANY: usize = 1000;
/// A counter that a switch reads at once is read after this.
const SETTLE: Duration = Duration::from_secs(1);

/// A cable from one port to another one that is filtered.
#[derive(Clone, Debug)]
pub(super) struct Cable {
    pub(super) send_on: String,
    pub(super) arrive_on: String,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// The interfaces, and how each is filtered.
    pub(super) interfaces: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) rows: Vec<RowFinding>,
    pub(super) figures: Vec<Figure>,
    /// Packets were sent.
    pub(super) packets_sent: bool,
    /// It was ended early.
    pub(super) interrupted: bool,
    /// Why something of it may be left on the switch.
    pub(super) left_behind: Option<String>,
}

/// What was found of a row.
#[derive(Debug, Serialize)]
pub(super) struct RowFinding {
    pub(super) what: &'static str,
    pub(super) rule: String,
    /// Entries that the rule takes; `None` where the profile refuses it.
    pub(super) entries: Option<u64>,
    /// Why the profile, or the switch, refuses it.
    pub(super) refused: Option<String>,
    /// How long it took until it was in force.
    pub(super) seconds: Option<f64>,
    pub(super) packets: Vec<PacketFinding>,
    /// Whether the row holds; `None` where the profile refuses the rule, so that nothing was tried.
    pub(super) holds: Option<bool>,
}

/// What was found of a packet.
#[derive(Debug, Serialize)]
pub(super) struct PacketFinding {
    pub(super) words: String,
    pub(super) form: String,
    /// Whether it is one of the rule's packets.
    pub(super) should_match: bool,
    pub(super) matched: bool,
    /// Data planes are known that do not see it: it does not decide whether the row holds.
    pub(super) may_be_missed: bool,
}

/// A change of many rules, and how long it took.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) rules: usize,
    pub(super) in_force: usize,
    pub(super) seconds: f64,
    /// Why the first of those that are not in force is not.
    pub(super) why: Option<String>,
}

/// The text with the row's host in the place of `H` and `H6`.
pub(super) fn with_host(text: &str, row: usize) -> String {
    let host = row + 1;
    text.replace("H6", &format!("2001:db8::{host:x}")).replace('H', &format!("192.0.2.{host}"))
}

/// Tries everything; at the end nothing of it is left in the data plane.
pub(super) fn measure(plane: &mut dyn Dataplane, cable: Option<&Cable>, stop: &AtomicBool) -> Result<Findings> {
    let leftovers = plane.leftovers().context("what is there already")?;
    ensure!(
        leftovers.is_empty(),
        "{} rules of Floodgate are in force here: stop it so that it removes them, and try again",
        leftovers.len()
    );
    let mut test = Test { plane, found: Findings::default() };
    let outcome = test.all(cable, stop);
    progress("removing it");
    test.found.left_behind = test.plane.clear().err().map(|error| error.to_string());
    let left_behind = test.found.left_behind.clone();
    match (outcome, left_behind) {
        (Ok(()), _) => Ok(test.found),
        (Err(error), None) => Err(error),
        (Err(error), Some(left)) => Err(error.context(format!("something of it may be left ({left})"))),
    }
}

struct Test<'a> {
    plane: &'a mut dyn Dataplane,
    found: Findings,
}

impl Test<'_> {
    fn all(&mut self, cable: Option<&Cable>, stop: &AtomicBool) -> Result<()> {
        let capabilities = self.plane.capabilities();
        let mut taken: Vec<(usize, Arc<CompiledRule>)> = Vec::new();
        for (at, row) in ROWS.iter().enumerate() {
            if self.is_stopped(stop) {
                return Ok(());
            }
            progress(row.what);
            taken.extend(self.one_row(at, row, &capabilities)?.map(|rule| (at, rule)));
        }
        self.tell_condition();
        self.figures(&capabilities, stop)?;
        if let (Some(cable), false) = (cable, self.is_stopped(stop)) {
            progress("packets");
            self.packets(cable, &taken)?;
        }
        Ok(())
    }

    fn is_stopped(&mut self, stop: &AtomicBool) -> bool {
        self.found.interrupted |= stop.load(Ordering::Relaxed);
        self.found.interrupted
    }

    /// The rule of a row, alone; the rule if it is in force.
    fn one_row(&mut self, at: usize, row: &Row, capabilities: &Capabilities) -> Result<Option<Arc<CompiledRule>>> {
        let text = with_host(row.rule, at);
        let mut finding = RowFinding {
            what: row.what,
            rule: text.clone(),
            entries: None,
            refused: None,
            seconds: None,
            packets: Vec::new(),
            holds: None,
        };
        let rule = match compile(&parse(&text)?, capabilities) {
            Verdict::Exact(rule) => Arc::new(rule),
            Verdict::Refused(refusal) => {
                finding.refused = Some(refusal.to_string());
                self.found.rows.push(finding);
                return Ok(None);
            }
        };
        finding.entries = Some(capabilities.cost.of(&rule.entries, &rule.effect));
        let began = Instant::now();
        let applied = self.plane.replace(&ruleset(vec![rule.clone()])).with_context(|| text.clone())?;
        finding.seconds = Some(began.elapsed().as_secs_f64());
        finding.refused = applied.failures.first().map(|(_, failure)| words(failure));
        finding.holds = Some(finding.refused.is_none());
        let in_force = finding.refused.is_none();
        self.found.rows.push(finding);
        Ok(in_force.then_some(rule))
    }

    fn tell_condition(&mut self) {
        let condition = self.plane.condition();
        self.found.interfaces = condition
            .interfaces
            .into_iter()
            .map(|interface| {
                let how = match interface.attachment {
                    Attachment::Native => "filtered by the switch".to_owned(),
                    Attachment::Generic | Attachment::Prerouting => "filtered by the kernel".to_owned(),
                    Attachment::None(why) => format!("not filtered: {why}"),
                };
                format!("{} {how}", interface.name)
            })
            .collect();
        self.found.warnings = condition.warnings;
    }

    /// Larger sets of rules, and how long they take.
    fn figures(&mut self, capabilities: &Capabilities, stop: &AtomicBool) -> Result<()> {
        let compiled = |texts: Vec<String>| -> Result<Vec<Arc<CompiledRule>>> {
            let rules = texts.iter().map(|text| match compile(&parse(text)?, capabilities) {
                Verdict::Exact(rule) => Ok(Arc::new(rule)),
                Verdict::Refused(refusal) => anyhow::bail!("{text}: {refusal}"),
            });
            rules.collect()
        };
        for (what, rules) in [
            ("100 rules", many(100, 0)),
            ("1,000 rules", many(MANY, 0)),
            ("1,000 others in their place", many(MANY, MANY)),
        ] {
            if self.is_stopped(stop) {
                return Ok(());
            }
            progress(what);
            let rules = ruleset(compiled(rules)?);
            let (count, began) = (rules.rules.len(), Instant::now());
            let applied = self.plane.replace(&rules).context(what)?;
            self.figure(what, count, began, &applied.failures);
        }
        let more = compiled(many(1, 2 * MANY))?;
        let began = Instant::now();
        let applied = self.plane.update(&Plan { upsert: more, ..Plan::default() }).context("one rule more")?;
        self.figure("one rule more", 1, began, &applied.failures);
        Ok(())
    }

    fn figure(&mut self, what: &'static str, rules: usize, began: Instant, failures: &[(Arc<Nlri>, RuleFailure)]) {
        self.found.figures.push(Figure {
            what,
            rules,
            in_force: rules.saturating_sub(failures.len()),
            seconds: began.elapsed().as_secs_f64(),
            why: failures.first().map(|(_, failure)| words(failure)),
        });
    }

    /// Sends the packets of all rows whose rules the switch takes, the first of a row once, the
    /// second twice, the third four times: so the rule's count tells which of them matched.
    fn packets(&mut self, cable: &Cable, taken: &[(usize, Arc<CompiledRule>)]) -> Result<()> {
        let rules = taken.iter().map(|(_, rule)| rule.clone()).collect();
        let applied = self.plane.replace(&ruleset(rules)).context("all rows at once")?;
        let sender = FrameSender::open(&cable.send_on).with_context(|| format!("sending on {}", cable.send_on))?;
        let (from, to) = (hardware_address(&cable.send_on)?, hardware_address(&cable.arrive_on)?);
        let before = self.counted()?;
        let tried: Vec<&(usize, Arc<CompiledRule>)> = taken
            .iter()
            .filter(|(_, rule)| !applied.failures.iter().any(|(failed, _)| **failed == *rule.nlri))
            .collect();
        for (at, _) in &tried {
            for (nth, packet) in ROWS[*at].packets.iter().enumerate() {
                let frame = frame(&with_host(packet.words, *at), packet.form, from, to)?;
                for _ in 0..1u64 << nth {
                    sender.send(&frame).with_context(|| format!("sending on {}", cable.send_on))?;
                }
            }
        }
        std::thread::sleep(SETTLE + 2 * self.plane.counter_delay());
        let after = self.counted()?;
        self.found.packets_sent = true;
        for (at, rule) in tried {
            let count = |counts: &HashMap<Arc<Nlri>, u64>| counts.get(&rule.nlri).copied().unwrap_or(0);
            let counted = count(&after).saturating_sub(count(&before));
            let Some(finding) = self.found.rows.get_mut(*at) else { continue };
            finding.packets = ROWS[*at]
                .packets
                .iter()
                .enumerate()
                .map(|(nth, packet)| PacketFinding {
                    words: with_host(packet.words, *at),
                    form: format!("{:?}", packet.form),
                    should_match: packet.matches != Match::No,
                    matched: counted >> nth & 1 == 1,
                    may_be_missed: packet.matches == Match::MayMiss,
                })
                .collect();
            let as_said = |packet: &PacketFinding| packet.may_be_missed || packet.matched == packet.should_match;
            // More than all of them: others send such packets, too.
            let possible = counted < 1 << ROWS[*at].packets.len();
            finding.holds = Some(possible && finding.packets.iter().all(as_said));
        }
        Ok(())
    }

    fn counted(&mut self) -> Result<HashMap<Arc<Nlri>, u64>> {
        let counters = self.plane.counters().context("counters")?;
        Ok(counters.into_iter().map(|(nlri, counter)| (nlri, counter.packets)).collect())
    }
}

fn parse(text: &str) -> Result<Rule> {
    text.parse().with_context(|| text.to_owned())
}

fn ruleset(mut rules: Vec<Arc<CompiledRule>>) -> Ruleset {
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

fn words(failure: &RuleFailure) -> String {
    let (RuleFailure::OverCapacity(words) | RuleFailure::Failed(words)) = failure;
    words.clone()
}

fn hardware_address(interface: &str) -> Result<[u8; 6]> {
    let file = format!("/sys/class/net/{interface}/address");
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let octets: Option<Vec<u8>> = text.trim().split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    octets.and_then(|octets| octets.try_into().ok()).with_context(|| format!("{file} has no hardware address"))
}
