//! `health`: one line and an exit status, for container runtimes, Nagios, monit and scripts.

use super::args::HealthArgs;
use super::show::is_filtering;
use crate::exit_status::{CRITICAL, NEGATIVE, OK, UNREACHABLE};
use crate::output::Output;
use anyhow::Result;
use api::client::{Client, Failure};
use api::{RuleState, StatusView};
use serde::Serialize;

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct HealthObject<'a> {
    healthy: bool,
    message: &'a str,
}

/// Asks the daemon whether it is healthy, prints the answer as one line, and turns it into an exit
/// status.
pub(super) fn health(args: &HealthArgs) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (message, status) = runtime.block_on(answer(args));
    let mut output = Output::new();
    if args.live.json {
        output.json(&HealthObject { healthy: status == OK, message: &message })?;
    } else if args.nagios {
        let word = if status == OK { "OK" } else { "CRITICAL" };
        // Text after a bar would be read as performance data.
        output.line(&format!("FLOODGATE {word} - {}", message.replace('|', "/")))?;
    } else {
        output.line(&message)?;
    }
    output.finish()?;
    Ok(if args.nagios && status != OK { CRITICAL } else { status })
}

async fn answer(args: &HealthArgs) -> (String, u8) {
    let limit = args.timeout.0;
    let client = Client::new(&args.live.socket);
    match tokio::time::timeout(limit, ask(&client)).await {
        Ok(Ok(summary)) => (summary, OK),
        Ok(Err(Failure::Refused(reason))) => (one_line(&reason), NEGATIVE),
        Ok(Err(Failure::Unreachable(why))) => {
            (format!("the daemon does not answer on {}: {why}", args.live.socket.display()), UNREACHABLE)
        }
        Ok(Err(Failure::Other(error))) => (one_line(&format!("{error:#}")), UNREACHABLE),
        Err(_) => (format!("the daemon does not answer within {}", args.timeout), UNREACHABLE),
    }
}

async fn ask(client: &Client) -> Result<String, Failure> {
    client.text("/healthz").await?;
    let status: StatusView = client.get("/v1/status").await?;
    // A pause is the operator's choice, and still nothing is filtered: it must not be forgotten.
    if status.paused {
        let until = status.paused_until.map(|until| format!(" until {until}")).unwrap_or_default();
        return Err(Failure::Refused(format!("filtering is paused{until}")));
    }
    if !is_filtering(&status) {
        let reason = status.unfiltered.as_deref().unwrap_or("none of the configured interfaces exists");
        return Err(Failure::Refused(format!("nothing is filtered: {reason}")));
    }
    Ok(summary(&status))
}

fn summary(status: &StatusView) -> String {
    let in_force = status.rules_in(RuleState::Installed) + status.rules_in(RuleState::Stale);
    let known = status.rules.values().sum::<u64>() + status.rules_uncounted;
    let (backend, peers, established) = (&status.backend, status.peers, status.established);
    format!("healthy: {backend}, {in_force} of {known} rules in force, {established} of {peers} peers established")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(one_line("the verifier\n  says\tno "), "the verifier says no");
    }

    #[test]
    fn the_summary_counts_what_is_in_force() {
        let rules = [("installed", 3), ("stale", 1), ("guarded", 2)];
        let status = StatusView {
            backend: "nftables".into(),
            peers: 2,
            established: 1,
            rules: rules.into_iter().map(|(state, count)| (state.into(), count)).collect(),
            ..StatusView::default()
        };
        assert_eq!(summary(&status), "healthy: nftables, 4 of 6 rules in force, 1 of 2 peers established");
        let more = StatusView { rules_uncounted: 30_000, ..status };
        assert_eq!(summary(&more), "healthy: nftables, 4 of 30006 rules in force, 1 of 2 peers established");
    }
}
