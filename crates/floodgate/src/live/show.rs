//! Commands that show something.

use super::args::{LiveArgs, RulesArgs};
use super::ask::{ask, fetch, fetch_rules, rules_path};
use super::rates::{PERIOD, Readings};
use super::rule_with_rate::RuleWithRate;
use super::units;
use crate::exit_status::{NEGATIVE, OK};
use crate::output::Output;
use crate::rules::NumberedRule;
use anyhow::Result;
use api::client::{Client, Failure, escape};
use api::explanation::parse_packet;
use api::hex::to_hex;
use api::packet_text;
use api::{
    AttachmentView, Event, ExplainRequest, Explanation, Mode, PeerView, PolicyExplanation, PolicyQuestion, RuleAtView,
    RuleState, StatusView, TrafficView,
};
use comfy_table::{ContentArrangement, Table, presets};
use flowspec::{Rule, text};
use serde_json::Value;
use std::time::SystemTime;

/// The status.
pub(super) fn status(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let status: StatusView = client.get("/v1/status").await?;
        let mut output = Output::new();
        if args.json {
            output.json(&status)?;
        } else {
            output.line(&status_text(&status))?;
        }
        output.finish()?;
        Ok(if is_filtering(&status) { OK } else { NEGATIVE })
    })
}

/// Whether rules act on packets, as far as the configuration allows.
pub(super) fn is_filtering(status: &StatusView) -> bool {
    let nowhere = status.interfaces.as_ref().is_some_and(Vec::is_empty)
        || !status.attachments.is_empty() && status.attachments.iter().all(|attachment| attachment.reason.is_some());
    status.dataplane_error.is_none() && !status.paused && !nowhere
}

/// The peers.
pub(super) fn peers(args: &LiveArgs) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let peers: Vec<PeerView> = client.get("/v1/peers").await?;
        let mut output = Output::new();
        if args.json {
            peers.iter().try_for_each(|peer| output.json(peer))?;
        } else {
            output.line(&peers_table(&peers))?;
        }
        output.finish()?;
        Ok(OK)
    })
}

/// The rules, in enforcement order. The exit status is negative if no rule matches.
pub(super) fn rules(args: &RulesArgs) -> Result<u8> {
    let RulesArgs { live, rates, sort, filter } = args;
    let rates = *rates || sort.is_some();
    ask(live, async |client: &Client| -> Result<u8, Failure> {
        let mut output = Output::new();
        let mut found = false;
        if live.json && !rates {
            let each = |line: &str| {
                found = true;
                Ok(output.line(line).map(|()| true)?)
            };
            client.lines(&rules_path(filter), each).await?;
        } else {
            let mut readings = Readings::default();
            let rules = if rates {
                let (_, mut rules) = readings.read(client, filter).await?;
                // Of new rules, and of an older daemon, there is no rate before a second reading.
                if rules
                    .iter()
                    .any(|rated| rated.rule.packets.is_some_and(|packets| packets > 0) && rated.rate.is_none())
                {
                    tokio::time::sleep(PERIOD).await;
                    rules = readings.read(client, filter).await?.1;
                }
                if let Some(sort) = sort {
                    sort.order(&mut rules);
                }
                rules
            } else {
                let rules = fetch_rules(client, filter, usize::MAX).await?;
                rules.into_iter().map(|rule| RuleWithRate { rule, rate: None }).collect()
            };
            found = !rules.is_empty();
            if live.json {
                rules.iter().try_for_each(|rule| output.json(rule))?;
            } else if rules.is_empty() {
                output.line(if filter.is_empty() { "no rules" } else { "no such rules" })?;
            } else {
                output.line(&rules_table(&rules, rates, SystemTime::now()))?;
            }
        }
        output.finish()?;
        Ok(if found || filter.is_empty() { OK } else { NEGATIVE })
    })
}

/// The history.
pub(super) fn history(args: &LiveArgs, count: usize) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let path = format!("/v1/history?count={count}");
        let mut output = Output::new();
        if args.json {
            // Printed as received: a newer daemon may have fields that this version does not know.
            let events: Vec<Value> = client.get(&path).await?;
            events.iter().try_for_each(|event| output.json(event))?;
        } else {
            let events: Vec<Event> = client.get(&path).await?;
            events.iter().try_for_each(|event| output.line(&event_line(event)))?;
        }
        output.finish()?;
        Ok(OK)
    })
}

/// What the rules in force do with a packet.
pub(crate) fn explain(args: &LiveArgs, packet: &[u8]) -> Result<u8> {
    ask(args, async |client: &Client| -> Result<u8, Failure> {
        let request = ExplainRequest { packet: to_hex(packet) };
        let answer: Explanation = client.post("/v1/explain", Some(&request)).await?;
        let mut output = Output::new();
        if args.json {
            output.json(&answer)?;
        } else {
            explanation(&answer, packet).iter().try_for_each(|line| output.line(line))?;
        }
        output.finish()?;
        Ok(OK)
    })
}

/// What the import policy does with a route; or the exit status of a failure that was reported.
pub(crate) fn explain_policy(args: &LiveArgs, question: &PolicyQuestion) -> Result<Result<PolicyExplanation, u8>> {
    fetch(args, async |client: &Client| -> Result<PolicyExplanation, Failure> {
        client.post("/v1/policy", Some(question)).await
    })
}

/// The rules in force, in enforcement order; or the exit status of a failure that was reported.
pub(crate) fn rules_in_force(args: &LiveArgs) -> Result<Result<Vec<NumberedRule>, u8>> {
    fetch(args, async |client: &Client| -> Result<Vec<NumberedRule>, Failure> {
        let views = fetch_rules(client, &[], usize::MAX).await?;
        let in_force = views.iter().filter(|view| view.state.known().is_some_and(RuleState::is_in_force));
        let numbered = in_force.enumerate().map(|(index, view)| Ok(NumberedRule { index, rule: view.text.parse()? }));
        numbered.collect()
    })
}

/// The rules that were in force at a time, in enforcement order, from the history on disk; or the
/// exit status of a failure that was reported.
pub(crate) fn rules_at(args: &LiveArgs, time: &str) -> Result<Result<Vec<NumberedRule>, u8>> {
    fetch(args, async |client: &Client| -> Result<Vec<NumberedRule>, Failure> {
        let mut rules: Vec<Rule> = Vec::new();
        client
            .lines(&format!("/v1/rules/at?time={}", escape(time)), |line| {
                let rule: RuleAtView = serde_json::from_str(line)?;
                rules.extend(text::parse_line(&rule.wire).map_err(anyhow::Error::new)?);
                Ok(true)
            })
            .await?;
        rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
        Ok(rules.into_iter().enumerate().map(|(index, rule)| NumberedRule { index, rule }).collect())
    })
}

/// As the offline command shows it.
fn explanation(answer: &Explanation, packet: &[u8]) -> Vec<String> {
    let what = parse_packet(packet).map_or_else(|error| error.to_string(), |packet| packet_text::describe(&packet));
    let outcome = if answer.actions.is_empty() { answer.verdict.to_string() } else { answer.actions.join(" ") };
    let by = match (&answer.id, answer.rule) {
        (Some(id), Some(rule)) => format!(" by rule {rule} ({id})"),
        _ if answer.protected.is_some() => " (protected, ahead of all rules)".to_owned(),
        _ if answer.passed.is_empty() => " (no rule matches)".to_owned(),
        _ => " (no rule ends the evaluation)".to_owned(),
    };
    let mut lines = vec![format!("packet   {what}"), format!("verdict  {outcome}{by}")];
    let because = answer.protected.iter().map(|what| format!("because  {what}"));
    lines.extend(because.chain(answer.inactive.iter().map(|why| format!("note     {why}"))));
    let mut rule = |text: &str, why: &str| lines.push(format!("  {text}\n         {why}"));
    for missed in &answer.missed {
        match missed.split_once(": ") {
            Some((text, why)) => rule(text, &format!("no: {why}")),
            None => rule(missed, "no"),
        }
    }
    answer.passed.iter().for_each(|text| rule(text, "matches; evaluation continues with the next rule"));
    answer.text.iter().for_each(|text| rule(text, "matches and decides"));
    lines
}

/// How many rules are in which state, unless there are none; of many rules with the age of the
/// count and with those that are not in it.
pub(super) fn rules_by_state(status: &StatusView) -> Option<String> {
    let mut parts: Vec<String> = status.rules.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if status.rules_uncounted > 0 {
        parts.push(format!("{} not counted yet", status.rules_uncounted));
    }
    let age = status.rules_age.filter(|age| *age >= 1.0).map(|age| format!(" (counted {age:.0} s ago)"));
    (!parts.is_empty()).then(|| parts.join(", ") + age.as_deref().unwrap_or_default())
}

/// The status as text.
pub(super) fn status_text(status: &StatusView) -> String {
    let mut table = plain_table();
    let rules = rules_by_state(status).unwrap_or_else(|| "none".to_owned());
    let filtering = match (status.paused, status.mode.known()) {
        _ if let Some(why) = &status.unfiltered => format!("NOTHING IS FILTERED: {why}"),
        (true, _) => match &status.paused_until {
            Some(end) => format!("PAUSED until {end}: nothing is filtered"),
            None => "PAUSED: nothing is filtered".to_owned(),
        },
        (false, Some(Mode::Monitor)) => "monitor: counting, nothing is dropped".to_owned(),
        (false, _) => status.mode.to_string(),
    };
    let dataplane = match &status.dataplane_error {
        Some(error) => format!("{}: FAILED: {error}", status.backend),
        None => format!("{}: {}, latest change took {:.1} ms", status.backend, status.dataplane, status.apply_ms),
    };
    let dataplane = match &status.fallback {
        Some(fallback) => format!("FALLBACK from {} to {dataplane}", fallback.configured),
        None => dataplane,
    };
    let interfaces = match &status.interfaces {
        None => "all".to_owned(),
        _ if !status.attachments.is_empty() => status.attachments.iter().map(attachment).collect::<Vec<_>>().join(", "),
        Some(names) if names.is_empty() => "NONE: no interface has the configured name".to_owned(),
        Some(names) => names.join(", "),
    };
    let entries = match status.capacity {
        Some(capacity) => {
            format!("{} of {capacity}, {} left", status.entries, capacity.saturating_sub(status.entries))
        }
        None => status.entries.to_string(),
    };
    let entries = match status.dataplane_memory {
        Some(octets) => format!("{entries}; {:.1} MiB", octets as f64 / f64::from(1 << 20)),
        None => entries,
    };
    for (key, value) in [
        ("floodgate", format!("{}, AS {}, id {}", status.version, status.asn, status.router_id)),
        ("since", status.started.clone()),
        ("listening", if status.listen.is_empty() { "nowhere".to_owned() } else { status.listen.join(", ") }),
        ("peers", format!("{} of {} established", status.established, status.peers)),
        ("rules", rules),
        ("filtering", filtering),
        ("data plane", dataplane),
        ("interfaces", interfaces),
        ("entries", entries),
        ("changes", format!("{} applied, {} failed, {} repaired", status.applied, status.failures, status.damages)),
    ] {
        table.add_row([key.to_owned(), value]);
    }
    if status.traffic.packets > 0 {
        table.add_row(["traffic", &traffic(&status.traffic)]);
    }
    if let Some(error) = &status.state_error {
        table.add_row(["state", &format!("NOT SAVED, a restart would lose what changed: {error}")]);
    }
    for protected in &status.protected {
        table.add_row(["protected", protected]);
    }
    for warning in &status.warnings {
        table.add_row(["warning", warning]);
    }
    for advice in &status.advice {
        table.add_row(["advice", advice]);
    }
    table.trim_fmt()
}

/// What rules matched together, now and since the start.
fn traffic(all: &TrafficView) -> String {
    let mut text = all.rate.map_or_else(String::new, |rate| {
        let dropped = rate.dropped_per_second.map(|dropped| format!(", {} dropped", units::rate(dropped, "pps")));
        format!("{} matched{}; ", units::rate(rate.packets_per_second, "pps"), dropped.unwrap_or_default())
    });
    text += &format!("since the start {} packets ({})", units::count(all.packets), units::octets(all.bytes));
    if let Some(dropped) = all.dropped {
        text += &format!(", {} dropped", units::count(dropped));
    }
    text
}

/// An interface and its mode, as in `eth0 native`.
fn attachment(interface: &AttachmentView) -> String {
    match &interface.reason {
        Some(reason) => format!("{} NOT FILTERED: {reason}", interface.interface),
        None => format!("{} {}", interface.interface, interface.mode),
    }
}

fn peers_table(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return "no peers".to_owned();
    }
    let mut table = plain_table();
    let advertises = peers.iter().any(|peer| peer.advertised.is_some());
    let mut header = vec!["PEER", "ADDRESS", "AS", "STATE", "SINCE", "RULES", "STALE"];
    header.extend(advertises.then_some("ADVERTISED"));
    header.extend(["UPDATES", "MALFORMED", "NEXT TRY", "LAST ERROR"]);
    table.set_header(header);
    for peer in peers {
        let mut row = vec![
            peer.name.clone(),
            peer.address.clone(),
            peer.asn.to_string(),
            peer.state.to_string(),
            peer.since.clone(),
            peer.rules.to_string(),
            peer.stale.to_string(),
        ];
        if advertises {
            row.push(peer.advertised.map_or_else(|| "-".to_owned(), |count| count.to_string()));
        }
        row.extend([
            peer.updates.to_string(),
            peer.malformed.values().sum::<u64>().to_string(),
            peer.next_try.as_deref().map(from_now).unwrap_or_default(),
            peer.last_error.clone().unwrap_or_default(),
        ]);
        table.add_row(row);
    }
    table.trim_fmt()
}

/// A future moment, RFC 3339, as `in 12s`.
fn from_now(time: &str) -> String {
    let Ok(at) = humantime::parse_rfc3339(time) else { return time.to_owned() };
    match at.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}s", left.as_secs_f64().ceil()),
        Err(_) => "now".to_owned(),
    }
}

/// The rules as a table; with rates, if requested.
fn rules_table(rules: &[RuleWithRate], rates: bool, now: SystemTime) -> String {
    let mut table = plain_table();
    let mut header = vec!["ID", "STATE", "SINCE", "EXPIRES", "PACKETS", "BYTES", "DROPPED"];
    header.extend(if rates { &["PACKETS/S", "BITS/S", "DROPPED/S", "PEAK", "LAST HIT"][..] } else { &[] });
    header.extend(["PEER", "RULE"]);
    table.set_header(header);
    let none = || "-".to_owned();
    let count = |value: Option<u64>| value.map_or_else(none, units::count);
    for RuleWithRate { rule, rate } in rules {
        let origin = |origin: &api::OriginView| match origin {
            api::OriginView { long_lived: true, .. } => format!("{} (long-lived stale)", origin.peer),
            api::OriginView { stale: true, .. } => format!("{} (stale)", origin.peer),
            api::OriginView { .. } => origin.peer.clone(),
        };
        let mut reason = rule.reason.as_ref().map(|reason| format!("\n  {reason}")).unwrap_or_default();
        reason.extend(rule.notes.iter().map(|note| format!("\n  note: {note}")));
        reason.extend(rule.limits.iter().map(|limit| format!("\n  limit: {limit}")));
        if !rule.advertised_to.is_empty() {
            reason += &format!("\n  advertised to {}", rule.advertised_to.join(", "));
        }
        for origin in &rule.origins {
            if let Some(why) = &origin.reason {
                reason += &format!("\n  what {} asks for does not count: {why}", origin.peer);
            }
        }
        let mut row = vec![
            rule.id.clone(),
            rule.state.to_string(),
            units::ago(rule.since.as_deref(), now),
            units::until(rule.expires.as_deref(), now),
            count(rule.packets),
            rule.bytes.map_or_else(none, units::octets),
            count(rule.dropped),
        ];
        if rates {
            row.push(rate.map_or_else(none, |rate| units::rate(rate.packets_per_second, "pps")));
            row.push(rate.map_or_else(none, |rate| units::rate(rate.bits_per_second, "bps")));
            let dropped = rate.and_then(|rate| rate.dropped_per_second);
            row.push(dropped.map_or_else(none, |dropped| units::rate(dropped, "pps")));
            row.push(rule.peak.as_ref().map_or_else(none, |peak| units::rate(peak.packets_per_second, "pps")));
            row.push(units::ago(rule.last_hit.as_deref(), now));
        }
        row.push(rule.origins.iter().map(origin).collect::<Vec<_>>().join(", "));
        row.push(format!("{}{reason}", rule.text));
        table.add_row(row);
    }
    table.trim_fmt()
}

/// One event as a line.
pub(super) fn event_line(event: &Event) -> String {
    let Event { time, event: kind, peer, id, rule, by, message, .. } = event;
    let by = by.as_ref().map(|by| format!("(by {by})"));
    let parts = [peer, id, rule, message, &by].into_iter().flatten();
    parts.fold(format!("{time}  {kind:<14}"), |line, part| line + "  " + part)
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::RuleState;

    #[test]
    fn rules_that_are_not_counted_yet_and_an_old_count_are_reported() {
        let none = StatusView::default();
        assert_eq!(rules_by_state(&none), None);
        let first = StatusView { rules_uncounted: 999_000, ..none };
        assert_eq!(rules_by_state(&first).unwrap(), "999000 not counted yet");
        let rules = [(RuleState::Installed.into(), 30_000), (RuleState::Refused.into(), 2)].into();
        let known = StatusView { rules, rules_uncounted: 0, rules_age: Some(0.4), ..first };
        assert_eq!(rules_by_state(&known).unwrap(), "30000 installed, 2 refused");
        let old = StatusView { rules_uncounted: 7, rules_age: Some(3.2), ..known };
        assert_eq!(rules_by_state(&old).unwrap(), "30000 installed, 2 refused, 7 not counted yet (counted 3 s ago)");
    }
}
