//! `floodgate watch`: shows events as they happen.

use super::args::LiveArgs;
use super::ask::ask;
use super::show::event_line;
use crate::exit_status::OK;
use crate::output::{Output, print_error};
use anyhow::Result;
use api::client::{Client, Failure};

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
                        (true, _) => print_error(format_args!("floodgate: too slow: {data} events were missed")),
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
