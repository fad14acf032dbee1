//! Commands that change something.

use super::args::{AnnounceArgs, LiveArgs};
use super::ask::ask;
use super::caution::{self, Answer};
use crate::exit_status::{NEGATIVE, OK};
use crate::output::Output;
use anyhow::Result;
use api::HumanDuration;
use api::client::{Client, Failure};
use api::{AnnounceRequest, Done, PauseRequest, WithdrawRequest};

/// Announces a local rule. The exit status is negative if it will not be enforced.
pub(super) fn announce(args: &AnnounceArgs) -> Result<u8> {
    let AnnounceArgs { live, lifetime, yes, rule } = args;
    ask(live, async |client: &Client| -> Result<u8, Failure> {
        let rule = rule.join(" ");
        match caution::ask(client, &rule, *lifetime, *yes).await? {
            Answer::No => Ok(NEGATIVE),
            Answer::Announce(lifetime) => {
                let request = AnnounceRequest { rule, lifetime: lifetime.map(|age| age.to_string()) };
                post(live, client, "/v1/announce", Some(&request)).await
            }
        }
    })
}

/// Withdraws a local rule.
pub(super) fn withdraw(args: &LiveArgs, rule: &[String]) -> Result<u8> {
    change(args, "/v1/withdraw", Some(&WithdrawRequest { rule: rule.join(" ") }))
}

/// Pauses filtering.
pub(super) fn pause(args: &LiveArgs, lifetime: Option<HumanDuration>) -> Result<u8> {
    let request = lifetime.map(|age| PauseRequest { lifetime: Some(age.to_string()) });
    change(args, "/v1/pause", request.as_ref())
}

/// Resumes filtering.
pub(super) fn resume(args: &LiveArgs) -> Result<u8> {
    change(args, "/v1/resume", NO_BODY)
}

/// Withdraws all local rules.
pub(super) fn clear(args: &LiveArgs) -> Result<u8> {
    change(args, "/v1/clear", NO_BODY)
}

/// Reloads the configuration.
pub(super) fn reload(args: &LiveArgs) -> Result<u8> {
    change(args, "/v1/reload", NO_BODY)
}

const NO_BODY: Option<&()> = None;

fn change(args: &LiveArgs, path: &str, request: Option<&impl serde::Serialize>) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> { post(args, client, path, request).await })
}

async fn post(
    args: &LiveArgs,
    client: &Client,
    path: &str,
    request: Option<&impl serde::Serialize>,
) -> Result<u8, Failure> {
    let done: Done = client.post(path, request).await?;
    let mut output = Output::new();
    if args.json {
        output.json(&done)?;
    } else {
        output.line(&done.message)?;
    }
    output.finish()?;
    let good = done.rule.is_none_or(|rule| rule.state.known().is_some_and(|state| !state.is_unenforced()));
    Ok(if good { OK } else { NEGATIVE })
}
