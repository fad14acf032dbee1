//! What the history on disk remembers, as objects of the API.

use api::{IncidentReport, IncidentView, PeakView, RateBucketView, RuleAtView, StateChangeView};
use api::{hex::to_hex, show_moment};
use flowspec::Family;
use history::{HistoryError, Incident, RateBucket, Reader, RuleAt, StateChange};

/// Digits behind the point that say nothing are left out.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn incident(incident: Incident) -> IncidentView {
    let peak = incident.peak_packets_time.zip(incident.peak_bits_time).map(|(packets_time, bits_time)| PeakView {
        packets_per_second: rounded(incident.peak_packets),
        packets_time: show_moment(packets_time),
        bits_per_second: rounded(incident.peak_bits),
        bits_time: show_moment(bits_time),
    });
    IncidentView {
        number: unsigned(incident.number),
        id: format!("{:012x}", incident.rule),
        family: incident.family.parse::<Family>().map_or_else(|_| incident.family.as_str().into(), Into::into),
        nlri: to_hex(&incident.nlri),
        text: incident.text,
        action: incident.verdict.as_str().into(),
        peer: incident.peer,
        by: incident.by,
        as_path: incident.as_path,
        communities: incident.communities,
        began: show_moment(incident.began),
        ended: incident.ended.map(show_moment),
        end: incident.end,
        ended_by: incident.ended_by,
        state: incident.state.as_str().into(),
        reason: incident.reason,
        packets: incident.packets,
        bytes: incident.bytes,
        dropped: incident.dropped,
        dropped_bytes: incident.dropped_bytes,
        peak,
        last_hit: incident.last_hit.map(show_moment),
    }
}

/// All that is known of an incident.
///
/// # Errors
/// The file cannot be read.
pub(super) fn report(found: Incident, reader: &Reader) -> Result<IncidentReport, HistoryError> {
    let (states, rates) = (reader.states(found.number)?, reader.rates(found.number)?);
    let states = states.into_iter().map(|StateChange { time, state, reason, by }| StateChangeView {
        time: show_moment(time),
        state,
        reason,
        by,
    });
    Ok(IncidentReport { states: states.collect(), rates: rates.iter().map(rate).collect(), incident: incident(found) })
}

pub(super) fn rate(bucket: &RateBucket) -> RateBucketView {
    RateBucketView {
        start: show_moment(bucket.start.saturating_mul(1000)),
        seconds: unsigned(bucket.seconds),
        packets: bucket.packets,
        bytes: bucket.bytes,
        dropped: bucket.dropped,
    }
}

pub(super) fn rule_at(rule: &RuleAt) -> RuleAtView {
    let wire = format!("wire {} {} {}", rule.family, to_hex(&rule.nlri), rule.actions);
    RuleAtView { incident: unsigned(rule.incident), wire: wire.trim_end().to_owned() }
}
