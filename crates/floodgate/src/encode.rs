//! `floodgate encode`: rule text to FlowSpec octets.

use crate::command_line::EncodeArgs;
use crate::exit_status::{NEGATIVE, OK};
use crate::foreign::{Part, Parts};
use crate::input;
use crate::output::Output;
use crate::rules;
use anyhow::Result;
use api::hex::to_hex;
use flowspec::Rule;
use flowspec::text::WireLine;
use serde::Serialize;
use std::net::IpAddr;

/// Encodes every rule; `NEGATIVE` when any was in error.
pub(crate) fn run(args: &EncodeArgs) -> Result<u8> {
    let mut output = Output::new();
    let mut status = OK;
    let mut parts = Parts::default();
    let mut each = |part: Part| {
        if !encode(&part, args.json, &mut output)? {
            status = NEGATIVE;
        }
        Ok(())
    };
    input::for_each(&inputs(&args.rule), |item| parts.take(item, &mut each))?;
    parts.finish(&mut each)?;
    output.finish()?;
    Ok(status)
}

/// Each argument is a rule; if no argument contains a blank, all of them are one rule.
fn inputs(arguments: &[String]) -> Vec<String> {
    if arguments.iter().any(|argument| argument.contains(char::is_whitespace)) || arguments == ["-"] {
        arguments.to_vec()
    } else {
        vec![arguments.join(" ")]
    }
}

#[derive(Serialize)]
struct EncodedRule {
    input: usize,
    family: &'static str,
    nlri: String,
    communities: Vec<String>,
    /// The next hop of the announcement, if an action uses it: no community contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_hop: Option<IpAddr>,
    id: String,
    text: String,
}

fn encode(part: &Part, json: bool, output: &mut Output) -> Result<bool> {
    let rule = match rules::rule(part, output) {
        Ok(Some(rule)) => rule,
        Ok(None) => return Ok(true),
        Err(failure) => {
            failure.report(json, output)?;
            return Ok(false);
        }
    };
    if json {
        output.json(&EncodedRule::new(part.item().number, &rule))?;
    } else {
        output.line(&WireLine(&rule).to_string())?;
    }
    Ok(true)
}

impl EncodedRule {
    fn new(input: usize, rule: &Rule) -> Self {
        let mut nlri = Vec::with_capacity(rule.nlri.wire_len());
        rule.nlri.encode_to(&mut nlri);
        EncodedRule {
            input,
            family: rule.nlri.family().name(),
            nlri: to_hex(&nlri),
            communities: rule.actions.iter().map(|action| to_hex(action.encode().as_bytes())).collect(),
            next_hop: rule.used_next_hop(),
            id: rule.nlri.id().to_string(),
            text: rule.to_string(),
        }
    }
}
