//! The emulator as a program, for demos and manual use: `fake-orchagent SOCKET [NAMESPACE]`.

use super::agent::{Agent, Shared};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs until it is killed, or Redis is gone.
pub fn run(arguments: &[String]) -> ExitCode {
    let (socket, netns) = match arguments {
        [socket] => (socket, None),
        [socket, netns] => (socket, Some(netns.clone())),
        _ => {
            eprintln!("this is a stand-in for SONiC's orchagent: fake-orchagent SOCKET-OF-REDIS [NETWORK-NAMESPACE]");
            return ExitCode::FAILURE;
        }
    };
    match Agent::new(Path::new(socket), netns, Arc::new(Shared::default())).and_then(Agent::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-orchagent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
