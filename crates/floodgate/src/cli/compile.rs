//! `floodgate compile`: what a data plane would be given for a rules file, without touching one.

use super::output::Output;
use super::rules;
use super::{CompileArgs, NEGATIVE, OK, Target};
use anyhow::Result;
use comfy_table::{Table, presets};
use dataplane::nftables;
use engine::capability::Capabilities;
use engine::compile::{Verdict, compile_list};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::Rule;
use serde::Serialize;
use std::sync::Arc;

/// Compiles the rules; `NEGATIVE` when a line was in error or a rule refused.
pub fn run(args: &CompileArgs) -> Result<u8> {
    let mut output = Output::new();
    let (rules, failed) = rules::load(args.rules.as_deref(), args.json, &mut output)?;
    let (numbers, rules): (Vec<usize>, Vec<Rule>) =
        rules.into_iter().map(|numbered| (numbered.index, numbered.rule)).unzip();
    let verdicts = compile_list(&rules, &capabilities(args.target));
    let lines =
        || numbers.iter().zip(&rules).zip(&verdicts).map(|((&n, rule), verdict)| CompiledLine::new(n, rule, verdict));
    let exact: Vec<Arc<CompiledRule>> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Exact(compiled) => Some(Arc::new(compiled.clone())),
            Verdict::Refused(_) => None,
        })
        .collect();
    let program = program(args.target, &exact);
    if args.json {
        lines().try_for_each(|line| output.json(&line))?;
        output.json(&Program { program: &program })?;
    } else {
        output.line(&table(lines()))?;
        let entries: u64 = lines().map(|line| line.entries).sum();
        output.line(&format!("{} of {} rules can be enforced, with {entries} entries", exact.len(), rules.len()))?;
        if !program.is_empty() {
            output.line(&format!("\n{program}"))?;
        }
    }
    output.finish()?;
    Ok(if failed || exact.len() < rules.len() { NEGATIVE } else { OK })
}

fn capabilities(target: Target) -> Capabilities {
    match target {
        Target::None => Capabilities::everything("none"),
        Target::Nftables => nftables::capabilities(),
    }
}

/// What would be installed, in the data plane's own language.
fn program(target: Target, rules: &[Arc<CompiledRule>]) -> String {
    let ruleset = || Ruleset { protected: Arc::default(), rules: rules.to_vec() };
    match target {
        Target::None => String::new(),
        Target::Nftables => nftables::render(&ruleset()),
    }
}

#[derive(Serialize)]
struct CompiledLine {
    rule: usize,
    id: String,
    nlri: String,
    text: String,
    verdict: &'static str,
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Program<'a> {
    program: &'a str,
}

impl CompiledLine {
    fn new(number: usize, rule: &Rule, verdict: &Verdict) -> Self {
        let mut wire = Vec::with_capacity(rule.nlri.wire_len());
        rule.nlri.encode_to(&mut wire);
        let (verdict, entries, reason) = match verdict {
            Verdict::Exact(compiled) => ("exact", compiled.entries.len() as u64, None),
            Verdict::Refused(refusal) => ("refused", 0, Some(refusal.to_string())),
        };
        CompiledLine {
            rule: number,
            id: rule.nlri.id().to_string(),
            nlri: super::input::to_hex(&wire),
            text: rule.to_string(),
            verdict,
            entries,
            reason,
        }
    }
}

fn table(lines: impl Iterator<Item = CompiledLine>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["RULE", "ID", "ENTRIES", "TEXT"]);
    for line in lines {
        let entries = if line.reason.is_some() { "refused".to_owned() } else { line.entries.to_string() };
        let text = line.reason.map(|reason| format!("{}\n  {reason}", line.text)).unwrap_or(line.text);
        table.add_row([line.rule.to_string(), line.id, entries, text]);
    }
    table.to_string()
}
