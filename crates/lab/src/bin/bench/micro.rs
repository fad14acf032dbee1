//! The output of `cargo bench`, for the JSON file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use serde_json::{Map, Value};

use crate::report::{Figure, Group};

/// Reads a file with the benchmark tables of the crates.
pub(crate) fn read(file: &Path) -> Result<Group> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut group = Group::new("micro", "Parts alone, without kernel and network: `cargo bench`, medians.");
    for (name, ns) in medians(&text) {
        group.add(Figure::median(name, "ns", None, &[ns]));
    }
    for object in text.lines().filter(|line| line.starts_with("{\"bench\"")) {
        let object: Map<String, Value> = serde_json::from_str(object).with_context(|| object.to_owned())?;
        figures(&object).into_iter().for_each(|figure| group.add(figure));
    }
    Ok(group)
}

/// The aims for the cost of an XDP packet, relative to the floor: with up to 1,000 rules, and with
/// more.
const AIMS: [(&str, f64, f64); 4] = [("clean", 2.0, 2.5), ("hot", 2.0, 2.0), ("victim", 4.0, 6.0), ("match", 3.0, 8.0)];

/// The figures of one recorded object: its words and the number of rules are the name, its other
/// numbers the values; the end of its name is the unit, `x` that of a ratio to the floor.
fn figures(object: &Map<String, Value>) -> Vec<Figure> {
    let words: Vec<&str> = object.values().filter_map(Value::as_str).collect();
    let rules = object.get("rules").and_then(Value::as_u64).unwrap_or(0);
    let name = format!("{}, {rules} rules", words.join(" "));
    let mut found = Vec::new();
    for (key, value) in object {
        let (Some(value), true) = (value.as_f64(), key != "rules") else { continue };
        let (what, unit) = match key.rsplit_once('_') {
            Some((what, "ms")) => (what, "ms"),
            Some((what, "us")) => (what, "us"),
            Some((what, "mb" | "mib")) => (what, "MB"),
            Some((what, "x")) => (what, "ratio"),
            _ => (key.as_str(), "ns"),
        };
        if unit != "ratio" {
            found.push(Figure::median(format!("{name}: {what}"), unit, None, &[value]));
            continue;
        }
        let aim = AIMS.iter().find(|(traffic, ..)| *traffic == what).and_then(|(_, small, large)| match rules {
            1_000 => Some(*small),
            100_000 => Some(*large),
            _ => None,
        });
        found.push(Figure::median(format!("{name}: {what} / floor"), unit, aim, &[value]));
    }
    found
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
    fn reads_what_was_recorded() {
        let object =
            r#"{"bench":"xdp","mix":"IPv4","rules":1000,"floor":50,"clean":110,"clean_x":2.2,"hot":90,"hot_x":1.8}"#;
        let figures = figures(&serde_json::from_str(object).unwrap());
        let told: Vec<_> = figures.iter().map(|figure| (figure.name.as_str(), figure.value, figure.aim)).collect();
        assert!(told.contains(&("xdp IPv4, 1000 rules: clean", 110.0, None)), "{told:?}");
        assert!(told.contains(&("xdp IPv4, 1000 rules: clean / floor", 2.2, Some(2.0))), "{told:?}");
        assert_eq!(told.len(), 5);
        let object = r#"{"bench":"engine","what":"a load","rules":10000,"value_ms":1.5}"#;
        let figures = super::figures(&serde_json::from_str(object).unwrap());
        assert_eq!((figures[0].name.as_str(), figures[0].unit), ("engine a load, 10000 rules: value", "ms"));
    }

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
