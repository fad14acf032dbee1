//! README and manual are tested: each `$` line of them is run, in order, and its output is compared
//! with the page.
//!
//! CONTRIBUTING.md ("Commands in documents") describes the conventions. `UPDATE=1` writes what the
//! commands print into the pages instead of comparing.

mod compare;
mod links;
mod page;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use api::{Backend, Named};
use lab::needs;
use page::Page;

/// The top directory of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// One test for each page with commands, so that pages run beside each other and a failure names
/// its page.
macro_rules! pages {
    ($($test:ident: $path:literal,)*) => {
        /// The pages that have a test below.
        const TESTED: &[&str] = &[$($path),*];
        $(
            #[test]
            fn $test() -> Result<()> {
                run($path)
            }
        )*
    };
}

pages! {
    commands_readme: "README.md",
    commands_api: "docs/manual/api.md",
    commands_by_hand: "docs/manual/by-hand.md",
    commands_controllers: "docs/manual/controllers.md",
    commands_exabgp: "docs/manual/exabgp.md",
    commands_first_steps: "docs/manual/first-steps.md",
    commands_history: "docs/manual/history.md",
    commands_import_policy: "docs/manual/import-policy.md",
    commands_install: "docs/manual/install.md",
    commands_monitoring: "docs/manual/monitoring.md",
    commands_nftables: "docs/manual/nftables.md",
    commands_offline: "docs/manual/offline.md",
    commands_rules: "docs/manual/rules.md",
    commands_xdp: "docs/manual/xdp.md",
}

/// README.md and all pages of the manual, relative to the top directory.
fn documents() -> Result<Vec<String>> {
    let mut found = markdown_below("docs/manual")?;
    found.insert(0, "README.md".to_owned());
    Ok(found)
}

/// All Markdown files below a directory, relative to the top directory.
fn markdown_below(directory: &str) -> Result<Vec<String>> {
    files_below(directory, "md")
}

/// All files below a directory with this extension, relative to the top directory.
fn files_below(directory: &str, wanted: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == wanted) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &str) -> Result<(String, Page)> {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).with_context(|| format!("cannot read {path}"))?;
    let page = Page::parse(path, &text)?;
    Ok((text, page))
}

/// Runs the commands of a page and compares, or with `UPDATE=1` writes, what they print.
fn run(path: &str) -> Result<()> {
    needs!(root, "unshare", "ip", "bash");
    let (text, page) = read(path)?;
    if !page.needs.iter().all(|program| lab::require_program(program)) {
        return Ok(());
    }
    let outcomes = shell::run(&page)?;
    let update = std::env::var_os("UPDATE").is_some();
    let mut problems = Vec::new();
    let mut replacements = Vec::new();
    for (command, outcome) in page.commands().zip(&outcomes) {
        let place = format!("{path}:{}: $ {}", command.line, command.script.replace('\n', "\n> "));
        if outcome.status != command.status {
            problems.push(format!(
                "{place}\nexit status {} instead of {}:\n{}",
                outcome.status, command.status, outcome.printed
            ));
        } else if command.shown && !compare::agrees(&command.output, &outcome.printed, command.numbers_vary) {
            replacements.push((command.output_lines.clone(), outcome.printed.clone()));
            if update {
                continue;
            }
            problems.push(format!("{place}\nprints\n{}instead of\n{}\n", outcome.printed, command.output));
        }
    }
    if update && !replacements.is_empty() {
        fs::write(Path::new(ROOT).join(path), page::replace(&text, &replacements))?;
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Relative links and their anchors resolve, each page is in the book, and those of the manual and
/// the decisions in their index, too.
#[test]
fn links_resolve_and_every_page_is_in_the_summary() -> Result<()> {
    let mut documents = markdown_below("docs")?;
    for entry in fs::read_dir(ROOT)? {
        let name = entry?.file_name().display().to_string();
        if name.ends_with(".md") {
            documents.push(name);
        }
    }
    let mut problems = Vec::new();
    for path in &documents {
        problems.extend(links::broken(Path::new(ROOT), path)?);
    }
    let summary = fs::read_to_string(Path::new(ROOT).join("docs/SUMMARY.md"))?;
    let index = |folder: &str| fs::read_to_string(Path::new(ROOT).join("docs").join(folder).join("README.md"));
    let indices = [("manual/", index("manual")?), ("decisions/", index("decisions")?)];
    for path in markdown_below("docs")?.iter().filter_map(|path| path.strip_prefix("docs/")) {
        if path != "SUMMARY.md" && !summary.contains(&format!("({path})")) {
            problems.push(format!("docs/{path} is not in docs/SUMMARY.md"));
        }
        for (folder, index) in &indices {
            let Some(page) = path.strip_prefix(folder).filter(|page| *page != "README.md") else { continue };
            if !index.contains(&format!("({page})")) {
                problems.push(format!("docs/{path} is not in docs/{folder}README.md"));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// The files that CONTRIBUTING.md and ARCHITECTURE.md name are there. A file without a folder is
/// beside the one that is named before it.
#[test]
fn files_that_are_named_exist() -> Result<()> {
    let mut missing = Vec::new();
    for page in ["CONTRIBUTING.md", "docs/ARCHITECTURE.md"] {
        let text = fs::read_to_string(Path::new(ROOT).join(page))?;
        let mut before = PathBuf::from(ROOT);
        for name in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let has_top = ["crates/", "docs/", "packaging/", "scripts/"].iter().any(|top| name.starts_with(top));
            let is_short = page == "CONTRIBUTING.md" && name.ends_with(".rs");
            let path = if has_top {
                before = Path::new(ROOT).join(name);
                before.clone()
            } else if is_short {
                before.with_file_name(name)
            } else {
                continue;
            };
            if !path.exists() {
                missing.push(format!("{page} names {name}, and there is no {}", path.display()));
            }
        }
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// The tests by name, and other functions, that CONTRIBUTING.md names are there.
#[test]
fn functions_that_are_named_exist() -> Result<()> {
    let text = fs::read_to_string(Path::new(ROOT).join("CONTRIBUTING.md"))?;
    let is_function =
        |name: &&str| name.contains('_') && name.bytes().all(|octet| octet == b'_' || octet.is_ascii_lowercase());
    let named: Vec<&str> =
        text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_function).collect();
    ensure!(named.len() > 8, "CONTRIBUTING.md names {} functions", named.len());
    let mut code = String::new();
    for path in files_below("crates", "rs")? {
        code += &fs::read_to_string(Path::new(ROOT).join(path))?;
    }
    let missing: Vec<&str> = named.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    ensure!(missing.is_empty(), "CONTRIBUTING.md names functions that there are not: {}", missing.join(", "));
    Ok(())
}

/// Where a reader chooses a back end, there are all of them.
#[test]
fn each_back_end_is_where_back_ends_are_listed() -> Result<()> {
    let mut problems = Vec::new();
    for (path, line, form) in [
        ("README.md", "| [`\"", "| [`\"NAME\"`](docs/manual/NAME.md)"),
        ("docs/ARCHITECTURE.md", "| ", "| NAME | "),
        ("docs/GLOSSARY.md", "| back end |", "NAME"),
        ("docs/manual/README.md", "| **Back ends** |", "(NAME.md)"),
        ("docs/manual/configuration.md", "| `backend` ", "`\"NAME\"`"),
        ("docs/manual/introduction.md", "| ", "(NAME.md) |"),
        ("docs/manual/quick-reference.md", "backend = ", "\"NAME\""),
        ("packaging/floodgate.toml", "# \"", "\"NAME\""),
    ] {
        let text = fs::read_to_string(Path::new(ROOT).join(path))?;
        for backend in Backend::ALL.iter().filter(|backend| **backend != Backend::None) {
            let wanted = form.replace("NAME", backend.name());
            if !text.lines().any(|other| other.starts_with(line) && other.contains(&wanted)) {
                problems.push(format!("{path}: no line that begins with `{line}` has `{wanted}`"));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// The types of the glossary are declared in the files that it names.
#[test]
fn types_of_the_glossary_exist() -> Result<()> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/GLOSSARY.md"))?;
    let mut problems = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let &[term, _, name, file] = cells.as_slice() else { continue };
        if !file.starts_with("crates/") {
            continue;
        }
        count += 1;
        let code = fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
        let is_declaration = |line: &str| {
            let mut words = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .skip_while(|word| matches!(*word, "" | "pub" | "crate" | "super" | "unsafe" | "in"));
            words.next().is_some_and(|word| matches!(word, "struct" | "enum" | "trait" | "type" | "union"))
                && words.next() == Some(name)
        };
        if !code.lines().any(is_declaration) {
            problems.push(format!("docs/GLOSSARY.md, {term}: {file} declares no `{name}`"));
        }
    }
    ensure!(count > 20, "the glossary has {count} types: is its table still read?");
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// A command that nobody runs, or a block that could hide one, is a mistake in the page.
#[test]
fn every_command_of_the_documents_is_run_or_says_why_not() -> Result<()> {
    let mut problems = Vec::new();
    for path in documents()? {
        let (_, page) = read(&path)?;
        problems.extend(page.problems.iter().map(|(line, problem)| format!("{path}:{line}: {problem}")));
        if page.commands().next().is_some() && !TESTED.contains(&path.as_str()) {
            problems.push(format!("{path} has commands and no line in `pages!` of crates/lab/tests/documents/main.rs"));
        }
    }
    for path in TESTED {
        if read(path)?.1.commands().next().is_none() {
            problems.push(format!("{path} is listed in `pages!` and has no commands"));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}
