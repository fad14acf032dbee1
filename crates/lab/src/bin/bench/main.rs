//! `make bench`: measures how fast rules come into force, what packets cost, how much memory is
//! used, and whether the session survives.
//!
//! Everything is measured on the real program over real TCP sessions and in the real kernel, in
//! network namespaces. Tables go to standard output as they grow, and everything to one JSON file.
//! A missed aim is shown and is not a failure; a wrong result is.
//!
//! # Adding a part
//! A file with one function, `pub fn measure() -> Result<Vec<Group>>`, and a line in [`PARTS`]. It
//! makes a [`Group`] for each table, and [`Group::add`]s its figures, which shows them:
//!
//! ```ignore
//! let mut group = Group::new("xdp", "What was done, in a sentence.");
//! group.add(Figure::median("10,000 rules, no match", "ns", Some(110.0), &samples));
//! ```

mod baseline;
mod bird;
mod crowd;
mod cumulus;
mod kernel;
mod micro;
mod packets;
mod report;
mod start;
mod table;
mod wire;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use report::Group;

type Measure = fn() -> Result<Vec<Group>>;

/// The measurements: name and function. Without names on the command line, all of them in this
/// order.
const PARTS: [(&str, Measure); 8] = [
    ("wire", wire::measure),
    ("crowd", crowd::measure),
    ("journal", wire::measure_journal),
    ("start", start::measure),
    ("packets", packets::measure),
    ("cumulus", cumulus::measure),
    ("bird", bird::measure),
    ("table", table::measure),
];

fn main() -> ExitCode {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("bench: it makes network namespaces, which only root may: `make bench`, or run it with sudo");
        return ExitCode::from(2);
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all parts completed.
fn run() -> Result<bool> {
    let (mut output, mut micro_file, mut named) = (None, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--output" => output = arguments.next().map(PathBuf::from),
            "--micro" => micro_file = arguments.next().map(PathBuf::from),
            name if PARTS.iter().any(|(part, _)| *part == name) => named.push(argument),
            _ => bail!("{}", usage()),
        }
    }
    let Some(output) = output else { bail!("{}", usage()) };
    println!("{}", report::machine_line());
    let begin = Instant::now();
    let mut all: Vec<Group> = Vec::new();
    let mut complete = true;
    for (name, measure) in PARTS {
        if !named.is_empty() && !named.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("\n== {name} ==");
        match measure() {
            Ok(groups) => {
                report::write(&output, &groups)?;
                all.extend(groups);
            }
            Err(error) => {
                eprintln!("bench: {name}: {error:#}");
                complete = false;
            }
        }
    }
    if let Some(file) = micro_file {
        let group = micro::read(&file)?;
        report::write(&output, std::slice::from_ref(&group))?;
        all.push(group);
    }
    let (aims, missed) = report::missed(&all);
    println!(
        "\n{} of {aims} aims met, in {:.0} s; all figures: {}",
        aims - missed.len(),
        begin.elapsed().as_secs_f64(),
        output.display()
    );
    for figure in missed {
        println!("  missed: {}", figure.name);
    }
    Ok(complete)
}

fn usage() -> String {
    let names: Vec<String> = PARTS.iter().map(|(name, _)| format!("[{name}]")).collect();
    format!("usage: bench --output FILE [--micro FILE] {}   (none named: all)", names.join(" "))
}
