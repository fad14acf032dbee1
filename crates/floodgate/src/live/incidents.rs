//! `floodgate history` with filters: rules from their announcement to their end, from the history
//! on disk.

use super::args::HistoryArgs;
use super::ask::ask;
use super::escape::{csv_line, visible};
use super::units;
use crate::exit_status::{NEGATIVE, OK};
use crate::output::Output;
use anyhow::Result;
use api::IncidentView;
use api::client::{Client, Failure, escape};
use comfy_table::{ContentArrangement, Table, presets};
use std::time::SystemTime;

/// Incidents of one answer.
const PAGE: usize = 500;

/// The names of the columns of the CSV file.
const COLUMNS: [&str; 24] = [
    "number",
    "id",
    "rule",
    "family",
    "action",
    "peer",
    "by",
    "as_path",
    "communities",
    "began",
    "ended",
    "end",
    "ended_by",
    "state",
    "reason",
    "packets",
    "bytes",
    "dropped",
    "dropped_bytes",
    "peak_packets_per_second",
    "peak_packets_time",
    "peak_bits_per_second",
    "peak_bits_time",
    "last_hit",
];

/// Prints the incidents, the latest first. The exit status is negative if there are none.
pub(super) fn list(args: &HistoryArgs) -> Result<u8> {
    ask(&args.live, async |client: &Client| -> Result<u8, Failure> {
        let mut output = Output::new();
        if args.csv {
            output.line(&csv_line(COLUMNS))?;
        }
        let mut table = table();
        let (mut before, mut left, mut found) = (None, args.count, false);
        while left > 0 {
            let count = left.min(PAGE);
            let page: Vec<IncidentView> = client.get(&path(args, before, count)).await?;
            for incident in &page {
                if args.live.json {
                    output.json(incident)?;
                } else if args.csv {
                    output.line(&csv(incident))?;
                } else {
                    table.add_row(row(incident, SystemTime::now()));
                }
            }
            found |= !page.is_empty();
            left -= page.len().min(left);
            before = page.last().map(|incident| incident.number);
            if page.len() < count {
                break;
            }
        }
        if !args.live.json && !args.csv {
            output.line(&if found { table.trim_fmt() } else { "no such incidents".to_owned() })?;
        }
        output.finish()?;
        Ok(if found { OK } else { NEGATIVE })
    })
}

fn path(args: &HistoryArgs, before: Option<u64>, count: usize) -> String {
    let mut path = format!("/v1/incidents?count={count}");
    for (name, value) in [
        ("since", &args.since),
        ("until", &args.until),
        ("rule", &args.rule),
        ("peer", &args.peer),
        ("state", &args.state),
    ] {
        if let Some(value) = value {
            path += &format!("&{name}={}", escape(value));
        }
    }
    if let Some(before) = before {
        path += &format!("&before={before}");
    }
    path
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["NUMBER", "ID", "BEGAN", "LASTED", "STATE", "END", "PACKETS", "DROPPED", "PEAK", "PEER", "RULE"]);
    table
}

fn row(incident: &IncidentView, now: SystemTime) -> [String; 11] {
    let by = |by: &Option<String>| by.as_ref().map(|by| format!(" by {}", visible(by))).unwrap_or_default();
    let end = match (&incident.ended, &incident.end) {
        (None, _) => "-".to_owned(),
        (Some(_), why) => visible(why.as_deref().unwrap_or("ended")) + &by(&incident.ended_by),
    };
    let reason = incident.reason.as_ref().map(|reason| format!("\n  {}", visible(reason))).unwrap_or_default();
    [
        incident.number.to_string(),
        incident.id.clone(),
        incident.began.clone(),
        lasted(incident, now),
        visible(incident.state.name()),
        end,
        units::count(incident.packets),
        incident.dropped.map_or_else(|| "-".to_owned(), units::count),
        incident.peak.as_ref().map_or_else(|| "-".to_owned(), |peak| units::rate(peak.packets_per_second, "pps")),
        visible(&incident.peer) + &by(&incident.by),
        visible(&incident.text) + &reason,
    ]
}

/// How long it lasted, or has lasted so far.
pub(super) fn lasted(incident: &IncidentView, now: SystemTime) -> String {
    let moment = |text: &str| humantime::parse_rfc3339(text).ok();
    let end = incident.ended.as_deref().map_or(Some(now), moment);
    let length = moment(&incident.began).zip(end).map(|(began, end)| end.duration_since(began).unwrap_or_default());
    length.map_or_else(|| "-".to_owned(), units::time)
}

fn csv(incident: &IncidentView) -> String {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let peak = incident.peak.clone();
    let peak = |value: fn(&api::PeakView) -> String| peak.as_ref().map(value).unwrap_or_default();
    let cells: [String; COLUMNS.len()] = [
        incident.number.to_string(),
        incident.id.clone(),
        incident.text.clone(),
        incident.family.name().to_owned(),
        incident.action.name().to_owned(),
        incident.peer.clone(),
        text(&incident.by),
        incident.as_path.clone(),
        incident.communities.clone(),
        incident.began.clone(),
        text(&incident.ended),
        text(&incident.end),
        text(&incident.ended_by),
        incident.state.name().to_owned(),
        text(&incident.reason),
        incident.packets.to_string(),
        incident.bytes.to_string(),
        number(incident.dropped),
        number(incident.dropped_bytes),
        peak(|peak| peak.packets_per_second.to_string()),
        peak(|peak| peak.packets_time.clone()),
        peak(|peak| peak.bits_per_second.to_string()),
        peak(|peak| peak.bits_time.clone()),
        text(&incident.last_hit),
    ];
    csv_line(cells.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a reader of RFC 4180 takes them.
    fn cells(line: &str) -> Vec<String> {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        let mut rest = line.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if quoted && rest.next_if_eq(&'"').is_some() => cells.last_mut().unwrap().push('"'),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                other => cells.last_mut().unwrap().push(other),
            }
        }
        cells
    }

    /// As many cells as names, and a spreadsheet runs none of them.
    #[test]
    fn a_line_of_csv_has_a_cell_for_each_column_whatever_is_in_it() {
        let hostile = "=HYPERLINK(\"http://x\",\"a\")\r\n\u{1b}[2J,";
        let incident = IncidentView {
            text: hostile.to_owned(),
            peer: hostile.to_owned(),
            by: Some(hostile.to_owned()),
            reason: Some(hostile.to_owned()),
            end: Some(hostile.to_owned()),
            ..IncidentView::default()
        };
        let line = csv(&incident);
        assert!(!line.contains(['\r', '\n', '\u{1b}']), "{line:?}");
        let cells = cells(&line);
        assert_eq!(cells.len(), COLUMNS.len(), "{line}");
        assert_eq!(cells.iter().filter(|cell| cell.starts_with("'=HYPERLINK(\"http://x\",")).count(), 5);
        let row = row(&IncidentView { began: "2026-01-01T00:00:00.000Z".to_owned(), ..incident }, SystemTime::now());
        assert!(row.iter().all(|cell| !cell.contains(['\r', '\u{1b}'])), "{row:?}");
    }
}
