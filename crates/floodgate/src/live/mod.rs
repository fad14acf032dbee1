//! The daemon, and the commands that send requests to it: tables for people, one JSON object a line
//! for programs.

pub(crate) mod args;
mod ask;
pub(crate) mod caution;
mod change;
mod check;
mod escape;
mod health;
mod incidents;
mod rates;
mod report;
mod rule_sort;
mod rule_with_rate;
mod samples;
mod show;
mod support;
mod terminal;
mod top;
mod units;
mod watch;

pub(crate) use show::{explain, explain_policy, rules_at, rules_in_force};

use crate::exit_status::OK;
use anyhow::Result;
use args::LiveCommand;

/// Runs a command.
pub(crate) fn run(command: &LiveCommand) -> Result<u8> {
    match command {
        LiveCommand::Run(args) => daemon::run(&args.config, crate::inspect::PROGRAM).map(|()| OK),
        LiveCommand::Check(args) => check::check(args),
        LiveCommand::Status(args) => show::status(args),
        LiveCommand::Health(args) => health::health(args),
        LiveCommand::Support(args) => support::support(args),
        LiveCommand::Peers(args) => show::peers(args),
        LiveCommand::Rules(args) => show::rules(args),
        LiveCommand::Top(args) => top::top(args),
        LiveCommand::Watch(args) => watch::watch(args),
        LiveCommand::Samples(args) => samples::samples(args),
        LiveCommand::History(args) if args.means_incidents() => incidents::list(args),
        LiveCommand::History(args) => show::history(&args.live, args.count),
        LiveCommand::Report(args) => report::report(args),
        LiveCommand::Announce(args) => change::announce(args),
        LiveCommand::Withdraw(args) => change::withdraw(&args.live, &args.rule),
        LiveCommand::Pause(args) => change::pause(&args.live, args.lifetime),
        LiveCommand::Resume(args) => change::resume(args),
        LiveCommand::Clear(args) => change::clear(args),
        LiveCommand::Reload(args) => change::reload(args),
    }
}
