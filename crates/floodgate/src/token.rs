//! `floodgate token`: a token, and its section of the configuration.

use crate::command_line::{RoleArg, TokenArgs};
use crate::exit_status::OK;
use crate::output::{Output, print_error};
use anyhow::{Context, Result, ensure};
use std::io::{Read, stdin};

/// Octets of a token: nobody guesses 256 bits.
const OCTETS: usize = 32;

/// Prints the token to standard error and the section to standard output.
pub(crate) fn run(args: &TokenArgs) -> Result<u8> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        !args.name.is_empty() && args.name.chars().all(is_fit),
        "`{}` cannot be the name of a token; expected letters, digits, `-`, `_` and `.`",
        args.name
    );
    let token = if args.hash { given()? } else { made()? };
    let role = match args.role {
        RoleArg::Read => "read",
        RoleArg::Announce => "announce",
        RoleArg::Admin => "admin",
    };
    let mut output = Output::new();
    let hash = daemon::token_hash(&token);
    output.line(&format!("\n[[token]]\nname = \"{}\"\nhash = \"{hash}\"\nrole = \"{role}\"", args.name))?;
    if args.role != RoleArg::Read {
        output
            .line("#destinations = [\"192.0.2.0/24\"]\n#actions = [\"discard\", \"rate\"]\n#max-lifetime = \"1d\"")?;
    }
    output.finish()?;
    if !args.hash {
        print_error(format_args!("the token, which is not shown again: {token}"));
    }
    Ok(OK)
}

fn given() -> Result<String> {
    let mut text = String::new();
    stdin().read_to_string(&mut text).context("standard input")?;
    let token = text.trim();
    ensure!(
        token.len() >= config::limits::TOKEN_OCTETS,
        "the token on standard input is shorter than {} characters",
        config::limits::TOKEN_OCTETS
    );
    Ok(token.to_owned())
}

fn made() -> Result<String> {
    let mut octets = [0; OCTETS];
    let mut filled = 0;
    while filled < OCTETS {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut octets[filled..], flags).context("no random numbers")?;
    }
    Ok(format!("fg_{}", api::hex::to_hex(&octets)))
}
