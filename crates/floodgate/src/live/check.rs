//! `floodgate check`: reports the errors of a configuration file.

use super::args::CheckArgs;
use crate::exit_status::{NEGATIVE, OK};
use crate::output::{Output, print_error};
use anyhow::Result;

/// One error, for programs.
#[derive(serde::Serialize)]
struct Mistake<'a> {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'a str>,
    message: &'a str,
    suggestion: Option<&'a str>,
}

/// Checks the file.
pub(super) fn check(args: &CheckArgs) -> Result<u8> {
    let CheckArgs { config: args, json } = args;
    let mut output = Output::new();
    let config = match config::Config::load(&args.config) {
        Ok(config) => config,
        Err(error) if *json => {
            for problem in &error.problems {
                output.json(&Mistake {
                    file: error.path.display().to_string(),
                    line: problem.place.map(|(line, _)| line),
                    column: problem.place.map(|(_, column)| column),
                    key: problem.key.as_deref(),
                    message: &problem.message,
                    suggestion: problem.suggestion(),
                })?;
            }
            output.finish()?;
            return Ok(NEGATIVE);
        }
        Err(error) => {
            print_error(&error);
            let mistakes = error.problems.len();
            print_error(format_args!("floodgate: {mistakes} mistake{}", if mistakes == 1 { "" } else { "s" }));
            return Ok(NEGATIVE);
        }
    };
    let own = daemon::interfaces::addresses().unwrap_or_default();
    for advice in config.advice().into_iter().chain(config.advice_beside_a_router(&own)) {
        print_error(format_args!("floodgate: note: {advice}"));
    }
    if *json {
        return output.finish().map(|()| OK);
    }
    let (peers, backend) = (config.peers.len(), config.dataplane.backend.name());
    let plural = if peers == 1 { "" } else { "s" };
    output.line(&format!("{}: valid; {peers} peer{plural}, back end {backend}", args.config.display()))?;
    output.finish()?;
    Ok(OK)
}
