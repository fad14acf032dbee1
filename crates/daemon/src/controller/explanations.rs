//! Explains what happens to a packet.

use super::answers::PAGE_TIME;
use crate::command::{ExplainResult, Search};
use api::Explanation;
use api::explanation::{describe_effect, parse_packet, verdict};
use engine::Engine;
use flowspec::{Exemption, Nlri, Packet, PacketError, Scope};
use std::sync::Arc;
use std::time::Instant;

/// Most mismatches in one explanation.
const MAX_MISMATCHES: usize = 20;

/// Explains what happens to a packet; or returns how far the search for rules that may match has
/// come in the time of one step.
///
/// # Errors
/// The octets are not a packet that rules can match.
pub(super) fn explain(engine: &Engine, octets: &[u8], mut search: Search) -> Result<ExplainResult, PacketError> {
    let packet = parse_packet(octets)?;
    let inactive = match (engine.is_paused(), engine.is_monitoring()) {
        _ if let Some(why) = engine.unfiltered() => Some(format!("nothing is done to it: {why}")),
        (true, _) => Some("filtering is paused: nothing is done to it".to_owned()),
        (false, true) => Some("monitor mode: it is counted, and nothing is done to it".to_owned()),
        (false, false) => None,
    };
    let exempt = Exemption::of(&packet).map(|exempt| exempt.to_string());
    if let Some(protected) = exempt.or_else(|| Some(engine.protecting(&packet)?.what.clone())) {
        return Ok(ExplainResult::Explanation(Box::new(Explanation {
            verdict: api::Verdict::Accept.into(),
            protected: Some(protected),
            inactive,
            ..Explanation::default()
        })));
    }
    if !search_for_a_while(engine, &packet, &mut search) {
        return Ok(ExplainResult::NotYet(search));
    }
    let rules = &search.candidates;
    let (decision, missed) = flowspec::explain(rules.iter().map(|(_, rule)| rule), &packet, Scope::Global);
    let decided = decision.ended_by.map(|index| &rules[index]);
    // Of the rules that do not match, only those for this destination are worth reporting.
    let missed = missed.iter().map(|(index, mismatch)| (&rules[*index].1, mismatch));
    let missed = missed.filter(|(rule, _)| rule.nlri.destination().is_some());
    Ok(ExplainResult::Explanation(Box::new(Explanation {
        packet: 0,
        verdict: verdict(&decision.effect).into(),
        rule: decided.map(|(number, _)| *number),
        id: decided.map(|(_, rule)| rule.nlri.id().to_string()),
        actions: describe_effect(decision.effect),
        continued: decision.continued.iter().map(|index| rules[*index].0).collect(),
        text: decided.map(|(_, rule)| rule.to_string()),
        passed: decision.continued.iter().map(|index| rules[*index].1.to_string()).collect(),
        missed: missed.take(MAX_MISMATCHES).map(|(rule, mismatch)| format!("{rule}: {mismatch}")).collect(),
        protected: None,
        inactive,
        described: None,
    })))
}

/// Searches the rules in force for those that may match, for the time of one step; true when all
/// that matter are found.
fn search_for_a_while(engine: &Engine, packet: &Packet, search: &mut Search) -> bool {
    let began = Instant::now();
    let after = search.after.take();
    for (index, rule) in engine.rules_after(after.as_ref()).enumerate() {
        if rule.enforced().is_some() {
            let number = search.passed;
            search.passed += 1;
            if may_match(rule.nlri(), packet) {
                let rule = rule.rule();
                let ends =
                    rule.nlri.matches(packet).is_ok() && !rule.nlri.family().is_vpn() && !rule.effect().continues;
                search.candidates.push((number, rule));
                if ends {
                    return true;
                }
            }
        }
        if index % 256 == 255 && began.elapsed() >= PAGE_TIME {
            search.after = Some(Arc::clone(rule.nlri()));
            return false;
        }
    }
    true
}

/// Whether the packet's destination is in the rule's; the rest of the rule is not checked.
fn may_match(nlri: &Nlri, packet: &Packet) -> bool {
    nlri.destination().is_none_or(|prefix| match (prefix, packet.destination()) {
        (flowspec::Prefix::V4(net), std::net::IpAddr::V4(address)) => net.contains(&address),
        (flowspec::Prefix::V6(pattern), std::net::IpAddr::V6(address)) => pattern.contains(address),
        _ => false,
    })
}
