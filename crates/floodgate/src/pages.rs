//! `floodgate completions` and `floodgate man`: shell completions and man pages, generated from the
//! command line and the manual's configuration page.

use crate::command_line::{Cli, CompletionsArgs, ManArgs};
use crate::exit_status::OK;
use crate::markdown;
use crate::output::Output;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use std::fs;

/// The source of floodgate.toml(5).
const CONFIGURATION: &str = include_str!("../../../docs/manual/configuration.md");

/// Prints completions for a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "floodgate", &mut script);
    let mut output = Output::new();
    output.line(String::from_utf8(script)?.trim_end())?;
    output.finish()?;
    Ok(OK)
}

/// Writes the man pages into a directory.
pub(crate) fn man(args: &ManArgs) -> Result<u8> {
    let (commands, files) = (args.directory.join("man1"), args.directory.join("man5"));
    for directory in [&commands, &files] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let mut pages = Vec::new();
    for (name, page) in command_pages()? {
        pages.push((commands.join(format!("{name}.1")), page));
    }
    pages.push((files.join("floodgate.toml.5"), configuration_page().into_bytes()));
    let mut output = Output::new();
    for (path, page) in pages {
        fs::write(&path, page).with_context(|| path.display().to_string())?;
        output.line(&path.display().to_string())?;
    }
    output.finish()?;
    Ok(OK)
}

/// A page for the program and one for each of its commands, by name.
fn command_pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let mut pages = Vec::new();
    for command in std::iter::once(&whole).chain(whole.get_subcommands().filter(|command| !command.is_hide_set())) {
        let name = command.get_display_name().unwrap_or("floodgate").to_owned();
        let mut page = Vec::new();
        manual_of(command, &name).render(&mut page)?;
        pages.push((name, page));
    }
    Ok(pages)
}

fn manual_of(command: &Command, name: &str) -> clap_mangen::Man {
    clap_mangen::Man::new(command.clone()).title(name.to_owned()).manual("Floodgate").date("")
}

/// floodgate.toml(5).
fn configuration_page() -> String {
    let head = roff::Roff::new()
        .control("TH", ["floodgate.toml", "5", "", concat!("floodgate ", env!("CARGO_PKG_VERSION")), "Floodgate"])
        .control("SH", ["NAME"])
        .text([roff::roman("floodgate.toml - configuration of floodgate(1)")])
        .control("SH", ["DESCRIPTION"])
        .to_roff();
    head + &markdown::to_roff(CONFIGURATION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use clap_complete::Shell;

    #[test]
    fn every_command_has_a_page_that_shows_its_options() {
        let pages = command_pages().unwrap();
        for name in ["floodgate", "floodgate-rules", "floodgate-compile", "floodgate-man"] {
            assert!(pages.iter().any(|(page, _)| page == name), "{name}: {:?}", pages.iter().map(|p| &p.0));
        }
        let (_, page) = pages.iter().find(|(name, _)| name == "floodgate-announce").unwrap();
        let page = String::from_utf8_lossy(page);
        assert!(page.contains("\\-\\-for") && page.contains("Examples:"), "{page}");
    }

    #[test]
    fn the_configuration_page_has_every_key_and_no_markdown() {
        let page = configuration_page();
        for line in CONFIGURATION.lines() {
            if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
                let key = key.replace('-', "\\-");
                assert!(page.contains(&format!("\\fB{key}\\fR")), "{key}\n{page}");
            }
        }
        for left in ["<a id", "](", "<!--", "```", "\n|"] {
            assert!(!page.contains(left), "{left}: {page}");
        }
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "floodgate", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(
                ["announce", "compile", "--rates"].iter().all(|word| script.contains(word.trim_matches('-'))),
                "{shell}"
            );
        }
    }
}
