//! `floodgate explain --policy`: what the import policy does with a route, with a configuration
//! file or the running daemon.

use crate::command_line::ExplainArgs;
use crate::exit_status::{NEGATIVE, OK};
use crate::live;
use crate::output::Output;
use anyhow::{Context, Result};
use api::{HumanDuration, PolicyExplanation, PolicyQuestion, StatementResult};
use config::Config;
use std::time::Duration;

/// Explains, with exit status 1 if a rule is rejected or the route becomes no rule.
pub(crate) fn run(args: &ExplainArgs, rule: &str, peer: &str) -> Result<u8> {
    let question = PolicyQuestion {
        peer: peer.to_owned(),
        rule: rule.to_owned(),
        communities: args.community.clone(),
        as_path: args.as_path.clone(),
        next_hop: args.next_hop,
    };
    let Some(file) = &args.config else {
        return match live::explain_policy(&args.live(), &question)? {
            Ok(answer) => print(&answer, args.json),
            Err(status) => Ok(status),
        };
    };
    let config = Config::load(file)?;
    let own = match &config.protect.addresses {
        Some(addresses) => addresses.iter().copied().collect(),
        None => daemon::interfaces::addresses().context("cannot list the addresses of this machine")?,
    };
    print(&daemon::explain_policy(&config, &own, &question, None)?, args.json)
}

/// Prints an answer.
fn print(answer: &PolicyExplanation, json: bool) -> Result<u8> {
    let mut output = Output::new();
    if json {
        output.json(answer)?;
    } else {
        lines(answer).iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()?;
    let accepted = !answer.rules.is_empty() && answer.rules.iter().all(|rule| rule.accepted);
    Ok(if accepted { OK } else { NEGATIVE })
}

fn lines(answer: &PolicyExplanation) -> Vec<String> {
    let mut lines = Vec::new();
    if answer.rules.is_empty() {
        lines.push("no blackhole: the route has none of the marks of [peer.blackhole]".to_owned());
    }
    for rule in &answer.rules {
        lines.push(rule.rule.clone());
        for step in &rule.steps {
            let name = format!("statement {} of `{}`", step.statement, step.policy);
            lines.push(match (step.does, &step.condition) {
                (StatementResult::Unmatched, Some(key)) => format!("  {name} does not match: {key}"),
                (StatementResult::Unmatched, None) => format!("  {name} does not match"),
                (StatementResult::Next, _) => format!("  {name} matches; the next one decides"),
                (StatementResult::Accept, _) => format!("  {name} accepts it"),
                (StatementResult::Reject, _) => format!("  {name} rejects it"),
            });
        }
        let lifetime = rule.lifetime.map(|seconds| HumanDuration(Duration::from_secs(seconds)));
        lines.push(match (&rule.result, lifetime) {
            (Some(result), Some(lifetime)) => format!("accepted for {lifetime}: {result}"),
            (Some(result), None) => format!("accepted: {result}"),
            (None, _) => format!("rejected: {}", rule.reason.as_deref().unwrap_or_default()),
        });
    }
    lines
}
