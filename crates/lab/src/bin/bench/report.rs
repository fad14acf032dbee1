//! The results: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// Its name.
    pub name: String,
    /// The measured value: the median where there are several samples.
    pub value: f64,
    /// Its unit: `ms`, `ns`, `MB`, `ratio`, `s`.
    pub unit: &'static str,
    /// The aim: the highest good value.
    pub aim: Option<f64>,
    /// The smallest sample.
    pub least: f64,
    /// The largest sample.
    pub greatest: f64,
    /// Number of samples.
    pub samples: usize,
}

impl Figure {
    /// The median of these samples.
    pub(crate) fn median(name: impl Into<String>, unit: &'static str, aim: Option<f64>, samples: &[f64]) -> Self {
        Self::quantile(name, unit, aim, samples, 0.5)
    }

    /// A quantile of these samples, of which there must be at least one.
    pub(crate) fn quantile(
        name: impl Into<String>,
        unit: &'static str,
        aim: Option<f64>,
        samples: &[f64],
        quantile: f64,
    ) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
        let pick = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
        Self {
            name: name.into(),
            value: pick(at),
            unit,
            aim,
            least: pick(0),
            greatest: pick(sorted.len().saturating_sub(1)),
            samples: sorted.len(),
        }
    }

    fn is_met(&self) -> Option<bool> {
        self.aim.map(|aim| self.value <= aim)
    }
}

/// The figures of one measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    /// Its name in the file.
    pub name: &'static str,
    /// What was done, as a sentence.
    pub what: String,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Group {
    /// An empty one.
    pub(crate) fn new(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, what: what.into(), figures: Vec::new() }
    }

    /// Adds a figure and shows it.
    pub(crate) fn add(&mut self, figure: Figure) {
        if self.figures.is_empty() {
            println!("\n{}\n", self.what);
        }
        let verdict = match figure.is_met() {
            None => String::new(),
            Some(true) => format!("aim {}: met", number(figure.aim.unwrap_or_default())),
            Some(false) => format!("aim {}: MISSED", number(figure.aim.unwrap_or_default())),
        };
        let spread = if figure.samples > 1 {
            format!("{}..{} in {}", number(figure.least), number(figure.greatest), figure.samples)
        } else {
            String::new()
        };
        let line =
            format!("  {:<62} {:>9} {:<5}  {spread:<26} {verdict}", figure.name, number(figure.value), figure.unit);
        println!("{}", line.trim_end());
        self.figures.push(figure);
    }

    /// The value of the figure of this name.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

/// The machine; `load` is the average of the last one and five minutes.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    memory_kb: u64,
    load: String,
}

/// A group with machine and time.
#[derive(Serialize)]
struct Measured<'a> {
    date: &'a str,
    commit: &'a str,
    machine: &'a Machine,
    #[serde(flatten)]
    group: &'a Group,
}

/// Writes groups to this file, replacing earlier ones with the same name; others in it stay.
pub(crate) fn write(path: &Path, groups: &[Group]) -> Result<()> {
    let mut all: BTreeMap<String, Value> = match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string())?,
        Err(_) => BTreeMap::new(),
    };
    let (date, commit, machine) = (said("date", &["-uIseconds"]), commit(), machine());
    for group in groups {
        let measured = Measured { date: &date, commit: &commit, machine: &machine, group };
        all.insert(group.name.to_owned(), serde_json::to_value(measured)?);
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, serde_json::to_string_pretty(&all)? + "\n").with_context(|| format!("write {}", path.display()))
}

/// The machine, as one line.
pub(crate) fn machine_line() -> String {
    let Machine { processor, processors, kernel, load, .. } = machine();
    format!("{processor}, {processors} processors, Linux {kernel}, load {load}, commit {}", commit())
}

/// The number of figures with aims, and those that miss theirs.
pub(crate) fn missed(groups: &[Group]) -> (usize, Vec<&Figure>) {
    let aimed: Vec<&Figure> =
        groups.iter().flat_map(|group| &group.figures).filter(|figure| figure.aim.is_some()).collect();
    (aimed.len(), aimed.into_iter().filter(|figure| figure.is_met() == Some(false)).collect())
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_kb: field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0),
        load: read("/proc/loadavg").split(' ').take(2).collect::<Vec<_>>().join(" "),
    }
}

fn commit() -> String {
    said("git", &["describe", "--always", "--dirty", "--abbrev=10"])
}

/// The output of a program; empty if there is no such program.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let median = Figure::median("x", "ms", Some(60.0), &samples);
        assert_eq!((median.value, median.least, median.greatest, median.is_met()), (51.0, 1.0, 100.0, Some(true)));
        assert_eq!(Figure::quantile("x", "ms", None, &samples, 0.99).value, 100.0);
        assert_eq!(Figure::median("x", "ms", Some(1.0), &[2.0]).is_met(), Some(false));
    }
}
