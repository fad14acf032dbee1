//! Sends requests to the daemon.

use super::args::LiveArgs;
use crate::exit_status::{NEGATIVE, UNREACHABLE};
use crate::output::print_error;
use anyhow::Result;
use api::RuleView;
use api::client::{self, Client, Failure, escape};

/// Sends a request, and converts a failure to a message and an exit status.
pub(super) fn ask(args: &LiveArgs, question: impl AsyncFnOnce(&Client) -> Result<u8, Failure>) -> Result<u8> {
    fetch(args, question).map(|answer| answer.unwrap_or_else(|status| status))
}

/// The same for a request that is not the last; the inner error is the exit status.
pub(super) fn fetch<T>(
    args: &LiveArgs,
    question: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<Result<T, u8>> {
    let client = Client::new(&args.socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(question(&client)) {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failure::Unreachable(why)) => {
            let socket = args.socket.display();
            print_error(format_args!("floodgate: the daemon does not answer on {socket}: {why}"));
            print_error(client::advice(&why));
            Ok(Err(UNREACHABLE))
        }
        Err(Failure::Refused(message)) => {
            // A caret below a line needs the line to start in the same column.
            let separator = if message.contains('\n') { '\n' } else { ' ' };
            print_error(format_args!("floodgate:{separator}{message}"));
            Ok(Err(NEGATIVE))
        }
        Err(Failure::Other(error)) => Err(error),
    }
}

pub(super) fn rules_path(filter: &[String]) -> String {
    format!("/v1/rules?filter={}", escape(&filter.join(" ")))
}

/// At most `limit` rules.
pub(super) async fn fetch_rules(client: &Client, filter: &[String], limit: usize) -> Result<Vec<RuleView>, Failure> {
    let mut rules = Vec::new();
    client
        .lines(&rules_path(filter), |line| {
            rules.push(serde_json::from_str(line)?);
            Ok(rules.len() < limit)
        })
        .await?;
    Ok(rules)
}
