//! What `cargo bench` printed, for the JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Figure, Group};

/// Reads a file with the tables of the benches of the crates.
pub fn read(file: &Path) -> Result<Group> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut group = Group::new("micro", "Parts alone, without kernel and network: `cargo bench`, medians.");
    for (name, ns) in medians(&text) {
        group.add(Figure::median(name, "ns", None, &[ns]));
    }
    Ok(group)
}

/// Names and medians in nanoseconds of divan's tables: `╰─ name  fastest │ slowest │ median │ mean │ samples │ iters`.
fn medians(text: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let (mut table, mut parent) = (String::new(), String::new());
    for line in text.lines() {
        let columns: Vec<&str> = line.split('│').collect();
        let branch = line.trim_start_matches([' ', '│']).starts_with(['├', '╰']);
        if !branch {
            if line.contains("fastest") {
                table = line.split_whitespace().next().unwrap_or_default().to_owned();
            }
            continue;
        }
        let name = line.trim_start_matches([' ', '│', '├', '╰', '─']).split(['│', ' ']).next().unwrap_or_default();
        if line.starts_with(['├', '╰']) {
            // A bench, or a group of benches, whose own columns are empty.
            parent = name.to_owned();
        }
        let Some([.., median, _, _, _]) = (columns.len() >= 6).then_some(columns.as_slice()) else { continue };
        if let Some(ns) = nanoseconds(median) {
            let name = if name == parent { name.to_owned() } else { format!("{parent} {name}") };
            found.push((format!("{table}: {name}"), ns));
        }
    }
    found
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit.trim() {
        "ps" => 1e-3,
        "ns" => 1.0,
        "µs" | "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_table() {
        let text = "\
Timer precision: 10 ns
flowspec         fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ decode        1.5 µs        │ 2 µs          │ 1.6 µs        │ 1.7 µs        │ 100     │ 100
│                66 Mitem/s    │ 50 Mitem/s    │ 60 Mitem/s    │ 59 Mitem/s    │         │
╰─ order                       │               │               │               │         │
   ╰─ sort       2 ms          │ 3 ms          │ 2.5 ms        │ 2.6 ms        │ 100     │ 100
";
        let expected = [("flowspec: decode".to_owned(), 1600.0), ("flowspec: order sort".to_owned(), 2_500_000.0)];
        assert_eq!(medians(text), expected);
    }
}
