//! Commands that go on looking.

use super::client::{Client, Failure};
use super::show::{event_line, fetch_rules, rules_table, status_text};
use super::{LiveArgs, OK, ask};
use crate::api::{RuleView, StatusView};
use crate::cli::output::{Output, complain};
use anyhow::Result;
use std::io::IsTerminal;
use std::time::Duration;

/// Rules shown by `top`.
const SHOWN: usize = 30;

/// Events as they happen, until interrupted.
pub(super) fn watch(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let mut output = Output::new();
        let mut missed = false;
        client
            .lines("/v1/events", |line| {
                if let Some(kind) = line.strip_prefix("event: ") {
                    missed = kind == "missed";
                } else if let Some(data) = line.strip_prefix("data: ") {
                    match (std::mem::take(&mut missed), args.json) {
                        (true, _) => complain(format_args!("floodgate: too slow: {data} events were missed")),
                        (false, true) => output.line(data)?,
                        (false, false) => output.line(&event_line(&serde_json::from_str(data)?))?,
                    }
                    output.flush()?;
                }
                Ok(true)
            })
            .await?;
        Ok(OK)
    })
}

/// The busiest rules, again and again on a terminal, once otherwise.
pub(super) fn top(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let again = std::io::stdout().is_terminal() && !args.json;
        loop {
            let status: StatusView = client.get("/v1/status").await?;
            let mut rules: Vec<RuleView> = fetch_rules(client, &[], usize::MAX).await?;
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.packets));
            rules.truncate(SHOWN);
            let mut output = Output::new();
            if args.json {
                rules.iter().try_for_each(|rule| output.json(rule))?;
            } else {
                if again {
                    output.line("\x1b[H\x1b[2J")?;
                }
                output.line(&format!("{}\n\n{}", status_text(&status), rules_table(&rules)))?;
            }
            output.finish()?;
            if !again {
                return Ok(OK);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}
