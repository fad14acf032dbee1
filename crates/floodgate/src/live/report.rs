//! `floodgate report`: an incident for somebody else, as text, Markdown or JSON.

use super::args::ReportArgs;
use super::ask::ask;
use super::escape::{markdown, visible};
use super::incidents::lasted;
use super::units;
use crate::exit_status::OK;
use crate::output::Output;
use anyhow::Result;
use api::client::{Client, Failure, escape};
use api::{IncidentReport, RateBucketView};
use std::time::SystemTime;

/// Lines of the curve at most: longer ones are added up.
const RATES: usize = 48;

/// Prints it.
pub(super) fn report(args: &ReportArgs) -> Result<u8> {
    ask(&args.live, async |client: &Client| -> Result<u8, Failure> {
        let report: IncidentReport = client.get(&format!("/v1/incidents/{}", escape(&args.incident))).await?;
        let mut output = Output::new();
        if args.live.json {
            output.json(&report)?;
        } else if args.markdown {
            output.line(as_markdown(&report, SystemTime::now()).trim_end())?;
        } else {
            output.line(as_text(&report, SystemTime::now()).trim_end())?;
        }
        output.finish()?;
        Ok(OK)
    })
}

/// What is said of an incident: a name and a value each, as they came.
fn facts(report: &IncidentReport, now: SystemTime) -> Vec<(&'static str, String)> {
    let incident = &report.incident;
    let by = |by: &Option<String>| by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let end = match (&incident.ended, &incident.end) {
        (None, _) => format!("not yet; for {} so far", lasted(incident, now)),
        (Some(time), why) => {
            let why = why.as_deref().unwrap_or("ended");
            format!("{time}: {why}{}; after {}", by(&incident.ended_by), lasted(incident, now))
        }
    };
    let reason = incident.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let matched = format!("{} packets, {}", units::count(incident.packets), units::octets(incident.bytes));
    let dropped = match (incident.dropped, incident.dropped_bytes) {
        (Some(packets), Some(bytes)) => format!("{} packets, {}", units::count(packets), units::octets(bytes)),
        (Some(packets), None) => format!("{} packets", units::count(packets)),
        (None, _) => "not known".to_owned(),
    };
    let mut facts = vec![
        ("rule", incident.text.clone()),
        ("id", incident.id.clone()),
        ("action", incident.action.name().to_owned()),
        ("announced", format!("{}, {}{}", incident.began, incident.peer, by(&incident.by))),
        ("ended", end),
        ("state", format!("{}{reason}", incident.state.name())),
        ("matched", matched),
        ("dropped", dropped),
    ];
    if let Some(peak) = &incident.peak {
        let (packets, bits) = (units::rate(peak.packets_per_second, "pps"), units::rate(peak.bits_per_second, "bps"));
        facts.push(("peak", format!("{packets} at {}, {bits} at {}", peak.packets_time, peak.bits_time)));
    }
    facts.extend(incident.last_hit.iter().map(|time| ("last packet", time.clone())));
    for (name, text) in [("AS path", &incident.as_path), ("communities", &incident.communities)] {
        if !text.is_empty() {
            facts.push((name, text.clone()));
        }
    }
    facts
}

fn as_text(report: &IncidentReport, now: SystemTime) -> String {
    let mut text = format!("incident {}\n", report.incident.number);
    for (name, value) in facts(report, now) {
        text += &format!("  {name:<12} {}\n", visible(&value));
    }
    text += "\nstates\n";
    for change in &report.states {
        let by = change.by.as_ref().map(|by| format!(" (by {by})")).unwrap_or_default();
        let reason = change.reason.as_ref().map(|reason| format!("  {reason}")).unwrap_or_default();
        text += &format!(
            "  {}  {}\n",
            visible(&change.time),
            visible(&format!("{:<13}{reason}{by}", change.state)).trim_end()
        );
    }
    if !report.rates.is_empty() {
        text += "\nrates\n";
        for rate in coarser(&report.rates) {
            let [packets, bits, dropped] = per_second(&rate);
            text += &format!(
                "  {}  {:>12}  {:>12}  {:>12} dropped\n",
                visible(&rate.start),
                units::rate(packets, "pps"),
                units::rate(bits, "bps"),
                units::rate(dropped, "pps")
            );
        }
    }
    text
}

fn as_markdown(report: &IncidentReport, now: SystemTime) -> String {
    let mut text = format!("# Incident {}\n\n| | |\n|---|---|\n", report.incident.number);
    for (name, value) in facts(report, now) {
        text += &format!("| {name} | {} |\n", markdown(&value));
    }
    text += "\n## States\n\n| since | state | reason | by |\n|---|---|---|---|\n";
    for change in &report.states {
        let cell = |text: &Option<String>| text.as_deref().map(markdown).unwrap_or_default();
        let (time, state) = (markdown(&change.time), markdown(&change.state));
        text += &format!("| {time} | {state} | {} | {} |\n", cell(&change.reason), cell(&change.by));
    }
    if !report.rates.is_empty() {
        text += "\n## Rates\n\n| from | seconds | packets/s | bits/s | dropped/s |\n|---|---|---|---|---|\n";
        for rate in coarser(&report.rates) {
            let [packets, bits, dropped] = per_second(&rate);
            text += &format!(
                "| {} | {} | {} | {} | {} |\n",
                markdown(&rate.start),
                rate.seconds,
                units::rate(packets, "pps"),
                units::rate(bits, "bps"),
                units::rate(dropped, "pps")
            );
        }
    }
    text
}

/// Packets, bits and dropped packets a second.
fn per_second(rate: &RateBucketView) -> [f64; 3] {
    let seconds = rate.seconds.max(1) as f64;
    [rate.packets as f64 / seconds, rate.bytes as f64 * 8.0 / seconds, rate.dropped as f64 / seconds]
}

/// Neighbours are added up until there are few enough. What was not counted in between is in
/// neither.
fn coarser(rates: &[RateBucketView]) -> Vec<RateBucketView> {
    let group = rates.len().div_ceil(RATES).max(1);
    let sum = |rates: &[RateBucketView]| {
        let mut sum = rates[0].clone();
        for rate in &rates[1..] {
            sum.seconds += rate.seconds;
            sum.packets += rate.packets;
            sum.bytes += rate.bytes;
            sum.dropped += rate.dropped;
        }
        sum
    };
    rates.chunks(group).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{IncidentView, StateChangeView};

    fn hostile() -> IncidentReport {
        let text = "[x](javascript:alert(1))|<img src=x>\u{1b}]0;title\u{7}\nnext".to_owned();
        let incident = IncidentView {
            text: text.clone(),
            peer: text.clone(),
            began: "2026-01-01T00:00:00.000Z".to_owned(),
            ended: Some("2026-01-01T00:10:00.000Z".to_owned()),
            reason: Some(text.clone()),
            ended_by: Some(text.clone()),
            ..IncidentView::default()
        };
        let state =
            StateChangeView { time: text.clone(), state: text.clone(), reason: Some(text.clone()), by: Some(text) };
        IncidentReport { incident, states: vec![state], rates: Vec::new() }
    }

    #[test]
    fn hostile_words_stay_words_in_each_form() {
        let now = SystemTime::now();
        let text = as_text(&hostile(), now);
        assert!(!text.contains(['\u{1b}', '\u{7}']) && text.contains("\\u{1b}]0;title"), "{text:?}");
        let lines = text.lines().count();
        let markdown = as_markdown(&hostile(), now);
        let unescaped = markdown.replace("\\<", "").replace("\\]", "");
        assert!(!unescaped.contains(['<', ']', '\u{1b}']), "{markdown}");
        // Each row of a table is a line of as many cells as the table has columns.
        let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
        let cells = |row: &str| row.replace("\\|", "").matches('|').count() - 1;
        assert!(rows.iter().all(|row| matches!(cells(row), 2 | 4)), "{markdown}");
        assert!(lines > 8 && text.contains("after 10m"), "{text}");
    }

    #[test]
    fn a_long_curve_is_added_up() {
        let bucket = |number: u64| RateBucketView { seconds: 10, packets: number, ..RateBucketView::default() };
        let rates: Vec<_> = (0..100).map(bucket).collect();
        let few = coarser(&rates);
        assert!(few.len() <= RATES && few.len() > RATES / 2);
        assert_eq!(
            few.iter().map(|rate| (rate.packets, rate.seconds)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
            (4950, 1000)
        );
        assert_eq!(coarser(&rates[..3]).len(), 3);
    }
}
