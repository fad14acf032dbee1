//! The command line (the stable face of docs/ARCHITECTURE.md): declaration and dispatch.

mod decode;
mod input;
mod output;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Exit status: everything asked for was done.
pub const OK: u8 = 0;
/// Exit status: some input was in error, or the answer is no.
pub const NEGATIVE: u8 = 1;
/// Exit status: the command line was wrong (clap's).
pub const USAGE: u8 = 2;
/// Exit status: the daemon does not answer.
pub const UNREACHABLE: u8 = 3;

/// Where the configuration is when `-c` does not say.
pub const DEFAULT_CONFIG: &str = "/etc/floodgate/floodgate.toml";

/// BGP FlowSpec enforcement for Linux: takes traffic filters from BGP peers and keeps the data plane dropping exactly that traffic.
#[derive(Debug, Parser)]
#[command(name = "floodgate", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Examples:
  floodgate decode 0b0118c00002038106048119

Exit status: 0 done; 1 some input was in error or the answer is no; 2 wrong usage; 3 the daemon does not answer.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what FlowSpec octets say: wire to rule
    #[command(visible_alias = "dec")]
    Decode(DecodeArgs),
}

/// FlowSpec families on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FamilyArg {
    /// AFI 1, SAFI 133
    Ipv4,
    /// AFI 2, SAFI 133
    Ipv6,
    /// AFI 1, SAFI 134
    Vpnv4,
    /// AFI 2, SAFI 134
    Vpnv6,
}

impl From<FamilyArg> for flowspec::Family {
    fn from(family: FamilyArg) -> Self {
        match family {
            FamilyArg::Ipv4 => flowspec::Family::Ipv4,
            FamilyArg::Ipv6 => flowspec::Family::Ipv6,
            FamilyArg::Vpnv4 => flowspec::Family::Vpnv4,
            FamilyArg::Vpnv6 => flowspec::Family::Vpnv6,
        }
    }
}

/// Arguments of `decode`.
#[derive(Debug, Args)]
#[command(after_help = "HEX may hold blanks, colons and a 0x in front. Octets of an NLRI include its length.

Examples:
  floodgate decode 0b0118c00002038106048119
  floodgate decode --family ipv6 0f01200020010db80268412468acf134
  floodgate decode --json - < nlris.txt")]
pub struct DecodeArgs {
    /// Family of the NLRIs
    #[arg(long, value_enum, default_value = "ipv4")]
    pub family: FamilyArg,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Octets in hex; `-` reads one input a line from standard input
    #[arg(required = true, value_name = "HEX")]
    pub input: Vec<String>,
}

/// Runs the command; the outcome is the exit status.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Decode(args) => decode::run(&args),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::from(OK),
        Err(error) => {
            eprintln!("floodgate: {error:#}");
            ExitCode::from(NEGATIVE)
        }
    }
}
