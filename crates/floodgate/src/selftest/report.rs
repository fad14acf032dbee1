//! The report for people.

use super::measure::{Findings, PacketFinding, RowFinding};

/// Its lines.
pub(super) fn lines(head: &[String], unknown: &[&str], found: &Findings) -> Vec<String> {
    let mut lines = head.to_vec();
    lines.extend(found.interfaces.iter().map(|interface| format!("interface {interface}")));
    lines.extend(found.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.push(if found.packets_sent {
        "packets were sent; what they met is told by the rules' counters".to_owned()
    } else {
        "no packets were sent (--send-on, --arrive-on): rows hold as far as the switch takes the rules".to_owned()
    });
    lines.push(String::new());
    lines.push("HOLDS  ENTRIES  SECONDS  ROW".to_owned());
    for row in &found.rows {
        lines.extend(row_lines(row));
    }
    lines.push(String::new());
    lines.push("RULES  IN FORCE  SECONDS  FIGURE".to_owned());
    for figure in &found.figures {
        lines.push(format!("{:>5}  {:>8}  {:>7.3}  {}", figure.rules, figure.in_force, figure.seconds, figure.what));
        lines.extend(figure.why.iter().map(|why| format!("                          {why}")));
    }
    lines.push(String::new());
    for corner in unknown {
        lines.push(format!("unknown until somebody has the hardware: {corner}"));
    }
    if found.interrupted {
        lines.push("ENDED EARLY: not everything was tried".to_owned());
    }
    lines.push(match &found.left_behind {
        Some(why) => format!("NOT REMOVED: {why}"),
        None => "removed: nothing of the test is left on the switch".to_owned(),
    });
    lines
}

fn row_lines(row: &RowFinding) -> Vec<String> {
    let holds = match row.holds {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    let entries = row.entries.map_or_else(|| "-".to_owned(), |entries| entries.to_string());
    let seconds = row.seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}"));
    let mut lines = vec![format!("{holds:<5}  {entries:>7}  {seconds:>7}  {}", row.what)];
    let indent = "                         ";
    if let Some(why) = &row.refused {
        let by = if row.entries.is_none() { "not tried" } else { "refused" };
        lines.push(format!("{indent}{} {by}: {why}", row.rule));
    }
    let is_told = |packet: &&PacketFinding| packet.may_be_missed || packet.matched != packet.should_match;
    for packet in row.packets.iter().filter(is_told) {
        let form = if packet.form == "Plain" { String::new() } else { format!(" ({})", packet.form) };
        let matched = match (packet.matched, packet.should_match) {
            (true, true) => "is matched",
            (true, false) => "IS MATCHED, and is no packet of the rule",
            (false, true) if packet.may_be_missed => "is not matched",
            (false, true) => "IS NOT MATCHED, and is a packet of the rule",
            (false, false) => "is not matched, as it should be",
        };
        lines.push(format!("{indent}{}{form} {matched}", packet.words));
    }
    lines
}
