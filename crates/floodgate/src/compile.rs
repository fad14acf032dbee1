//! `floodgate compile`: what a data plane would install for a rules file, without one.

use crate::command_line::{CompileArgs, FlowerArgs, SwitchArgs, Target};
use crate::cumulus::Cumulus;
use crate::exit_status::{NEGATIVE, OK};
use crate::flower::Filters;
use crate::output::Output;
use crate::preview::{Preview, Protected, TcamUsage};
use crate::rules;
use crate::sonic::Sonic;
use crate::switch;
use anyhow::{Result, ensure};
use comfy_table::{Table, presets};
use dataplane::{cumulus, flower, nftables, sonic, xdp};
use engine::capability::Capabilities;
use engine::compile::{Verdict, compile_list};
use engine::import_policy::InterfaceSets;
use engine::limits::limits;
use engine::notes::notes;
use engine::plan::{CompiledRule, Ruleset};
use flowspec::{Nlri, Rule};
use serde::Serialize;
use std::sync::Arc;

/// Compiles the rules; `NEGATIVE` when a line was in error, a rule refused, or there is no room for
/// one.
pub(crate) fn run(args: &CompileArgs) -> Result<u8> {
    let plane = CompileTarget::new(args)?;
    let mut output = Output::new();
    let (rules, failed) = rules::load(args.rules.as_deref(), args.json, &mut output)?;
    let (numbers, rules): (Vec<usize>, Vec<Rule>) =
        rules.into_iter().map(|numbered| (numbered.index, numbered.rule)).unzip();
    let capabilities = plane.capabilities();
    let verdicts = compile_list(&rules, &capabilities);
    let mut exact: Vec<Arc<CompiledRule>> = Vec::new();
    let find_duplicates = find_duplicates(&numbers, &rules);
    for (verdict, repeat) in verdicts.iter().zip(&find_duplicates) {
        if let (Verdict::Exact(compiled), None) = (verdict, repeat) {
            exact.push(Arc::new(compiled.clone()));
        }
    }
    let outcome = plane.outcome(exact);
    let lines = || {
        let rules = numbers.iter().zip(&rules).zip(&verdicts).zip(&find_duplicates);
        rules.map(|(((&n, rule), verdict), repeat)| match repeat {
            None => CompiledLine::new(n, rule, verdict, &capabilities, &outcome),
            Some(repeat) => CompiledLine::duplicate_line(n, rule, repeat),
        })
    };
    let enforceable = lines().filter(|line| line.verdict == EXACT).count();
    if args.json {
        lines().try_for_each(|line| output.json(&line))?;
        output.json(&Program {
            program: &outcome.program,
            room: outcome.room.as_ref(),
            profile: outcome.profile.iter().map(switch::FactView::from).collect(),
            protected: &outcome.protected,
            unknown: &outcome.unknown,
        })?;
    } else {
        output.line(&table(lines()))?;
        let entries: u64 = lines().map(|line| line.entries).sum();
        output.line(&format!("{enforceable} of {} rules can be enforced, with {entries} entries", rules.len()))?;
        if let Some(room) = &outcome.room {
            output.line(&room.to_string())?;
        }
        if !outcome.failures.is_empty() {
            output.line(&format!("{} of them do not fit into the table", outcome.failures.len()))?;
        }
        for line in switch::lines(&outcome) {
            output.line(&line)?;
        }
        for line in &outcome.unknown {
            output.line(&format!("unknown until somebody has the hardware: {line}"))?;
        }
        if !outcome.program.is_empty() {
            output.line(&format!("\n{}", outcome.program))?;
        }
    }
    output.finish()?;
    Ok(if failed || enforceable < rules.len() || !outcome.failures.is_empty() { NEGATIVE } else { OK })
}

/// A rule whose match part occurs on an earlier line. A data plane holds a rule once, as BGP does.
struct Duplicate {
    /// The number of the rule with that line.
    of: usize,
    /// That rule ends the evaluation, so this one would never act.
    idle: bool,
}

/// For each of the rules, in order, whether it repeats an earlier one.
fn find_duplicates(numbers: &[usize], rules: &[Rule]) -> Vec<Option<Duplicate>> {
    let mut first = 0;
    let mut ends = false;
    let mut find_duplicates = Vec::with_capacity(rules.len());
    for (at, rule) in rules.iter().enumerate() {
        let repeats_first = at > 0 && rules[first].nlri == rule.nlri;
        if !repeats_first {
            (first, ends) = (at, !rule.effect().continues);
        }
        find_duplicates.push(repeats_first.then(|| Duplicate { of: numbers[first], idle: ends }));
    }
    find_duplicates
}

/// The compilation target.
enum CompileTarget {
    None,
    Nftables,
    Cumulus(Box<Cumulus>),
    Sonic(Box<Sonic>),
    Xdp,
    Flower(Box<Filters>),
}

impl CompileTarget {
    fn new(args: &CompileArgs) -> Result<Self> {
        let SwitchArgs { config, release, asic, interfaces, non_atomic } = &args.switch;
        let FlowerArgs { driver, strict } = &args.flower;
        let of_a_switch = release.is_some() || asic.is_some() || !interfaces.is_empty() || *non_atomic;
        let target = args.target;
        let is_switch = matches!(target, Target::Cumulus | Target::Sonic);
        ensure!(
            is_switch || !of_a_switch,
            "--release, --asic, --interfaces and --non-atomic are for --target cumulus and sonic"
        );
        ensure!(
            target == Target::Flower || driver.is_none() && !strict,
            "--driver and --strict are for --target flower"
        );
        ensure!(
            is_switch || target == Target::Flower || config.is_none(),
            "--config is for --target cumulus, sonic and flower"
        );
        Ok(match target {
            Target::None => CompileTarget::None,
            Target::Nftables => CompileTarget::Nftables,
            Target::Xdp => CompileTarget::Xdp,
            Target::Cumulus => CompileTarget::Cumulus(Box::new(Cumulus::new(&args.switch)?)),
            Target::Sonic => CompileTarget::Sonic(Box::new(Sonic::new(&args.switch)?)),
            Target::Flower => CompileTarget::Flower(Box::new(Filters::new(config.as_deref(), &args.flower)?)),
        })
    }

    fn capabilities(&self) -> Capabilities {
        match self {
            CompileTarget::None => Capabilities::everything("none"),
            CompileTarget::Nftables => nftables::capabilities(),
            CompileTarget::Cumulus(switch) => cumulus::capabilities(&switch.settings),
            CompileTarget::Sonic(switch) => sonic::capabilities(&switch.settings),
            CompileTarget::Xdp => xdp::capabilities(),
            CompileTarget::Flower(filters) => flower::capabilities(&filters.settings),
        }
    }

    fn outcome(&self, rules: Vec<Arc<CompiledRule>>) -> Preview {
        let rules = Ruleset { protected: Arc::default(), rules };
        match self {
            CompileTarget::None => Preview::default(),
            CompileTarget::Nftables => Preview { program: nftables::render(&rules), ..Preview::default() },
            CompileTarget::Xdp => Preview { program: xdp::render(&rules), ..Preview::default() },
            CompileTarget::Cumulus(switch) => switch.outcome(rules),
            CompileTarget::Sonic(switch) => switch.outcome(rules),
            CompileTarget::Flower(filters) => filters.outcome(rules),
        }
    }
}

const EXACT: &str = "exact";
const REFUSED: &str = "refused";

/// What a data plane with these capabilities makes of a rule alone.
pub(crate) fn compile_one(rule: &Rule, capabilities: &Capabilities) -> CompiledLine {
    let verdicts = compile_list(std::slice::from_ref(rule), capabilities);
    CompiledLine::new(0, rule, &verdicts[0], capabilities, &Preview::default())
}

#[derive(Serialize)]
pub(crate) struct CompiledLine {
    rule: usize,
    id: String,
    nlri: String,
    text: String,
    verdict: &'static str,
    pub(crate) entries: u64,
    pub(crate) reason: Option<String>,
    /// Notes, although it is enforced as the RFCs say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// Why it is enforced for fewer packets than it matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<String>,
    /// Why there is no room for it in the data plane's table although it could be enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    over_capacity: Option<String>,
}

#[derive(Serialize)]
struct Program<'a> {
    program: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a TcamUsage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    profile: Vec<switch::FactView<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    protected: &'a [Protected],
    /// What nobody knows of the hardware.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unknown: &'a [&'static str],
}

impl CompiledLine {
    /// Whether the data plane can enforce the rule.
    pub(crate) fn is_exact(&self) -> bool {
        self.verdict == EXACT
    }

    fn new(number: usize, rule: &Rule, verdict: &Verdict, capabilities: &Capabilities, outcome: &Preview) -> Self {
        let (verdict, entries, reason) = match verdict {
            Verdict::Exact(compiled) => (EXACT, capabilities.cost.of(&compiled.entries, &compiled.effect), None),
            Verdict::Refused(refusal) => (REFUSED, 0, Some(refusal.to_string())),
        };
        CompiledLine {
            rule: number,
            id: rule.nlri.id().to_string(),
            nlri: wire(&rule.nlri),
            text: rule.to_string(),
            verdict,
            entries,
            reason,
            notes: notes(rule, InterfaceSets::Refuse, capabilities),
            limits: if verdict == EXACT { limits(&rule.nlri, &rule.effect(), capabilities) } else { Vec::new() },
            over_capacity: outcome.failures.get(&rule.nlri).cloned(),
        }
    }

    fn duplicate_line(number: usize, rule: &Rule, repeat: &Duplicate) -> Self {
        let of = repeat.of;
        let (verdict, reason) = if repeat.idle {
            (EXACT, format!("never acts: rule {of} has the same match part and ends the evaluation"))
        } else {
            (REFUSED, format!("rule {of} has the same match part, and a data plane holds a rule once"))
        };
        CompiledLine {
            rule: number,
            id: rule.nlri.id().to_string(),
            nlri: wire(&rule.nlri),
            text: rule.to_string(),
            verdict,
            entries: 0,
            reason: Some(reason),
            notes: Vec::new(),
            limits: Vec::new(),
            over_capacity: None,
        }
    }
}

fn wire(nlri: &Nlri) -> String {
    let mut wire = Vec::with_capacity(nlri.wire_len());
    nlri.encode_to(&mut wire);
    api::hex::to_hex(&wire)
}

fn table(lines: impl Iterator<Item = CompiledLine>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["RULE", "ID", "ENTRIES", "TEXT"]);
    for line in lines {
        let entries = if line.verdict == REFUSED { "refused".to_owned() } else { line.entries.to_string() };
        let no_place = line.over_capacity.map(|why| format!("does not fit into the table: {why}"));
        let mut text = line.reason.or(no_place).map(|why| format!("{}\n  {why}", line.text)).unwrap_or(line.text);
        text.extend(line.limits.iter().map(|limit| format!("\n  limit: {limit}")));
        text.extend(line.notes.iter().map(|note| format!("\n  note: {note}")));
        table.add_row([line.rule.to_string(), line.id, entries, text]);
    }
    table.to_string()
}
