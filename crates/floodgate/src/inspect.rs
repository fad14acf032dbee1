//! What the daemon answers to `POST /v1/inspect`: rules and octets as `floodgate decode` and
//! `floodgate compile` understand them, for the configured back ends.

use crate::command_line::FamilyArg;
use crate::compile::{self, CompiledLine};
use crate::decode;
use crate::live::caution::{self, Hazard};
use crate::version::COMMIT;
use api::hex::to_hex;
use api::{Backend, BackendCost, HazardView, InspectRequest, InspectedAction, InspectedRule, Inspection};
use clap::ValueEnum;
use config::{Dataplane, release_of_this_machine};
use daemon::{ClientSession, Program};
use dataplane::{cumulus, flower, nftables, sonic, xdp};
use engine::capability::Capabilities;
use flowspec::Rule;
use serde_json::Value;

/// This program, for the daemon.
pub(crate) const PROGRAM: Program = Program { commit: COMMIT, inspector: inspect };

/// Most rules of a text that are compiled: compiling takes time.
const MAX_RULES: usize = 20;

/// A rule of the text, and whether a message announces or withdraws it.
type Found = (Rule, Option<bool>);

/// What a text means.
fn inspect(request: &InspectRequest, session: Option<ClientSession>, dataplane: &Dataplane) -> Inspection {
    let (mut inspection, mut found) = read(request);
    if found.len() > MAX_RULES {
        inspection.notes.push(format!("it has {} rules; these are the first {MAX_RULES}", found.len()));
        found.truncate(MAX_RULES);
    }
    let session = session.map(|ClientSession { client, server }| {
        format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
    });
    let planes = capabilities(dataplane);
    inspection.rules = found.iter().map(|rule| inspected(rule, session.as_deref(), &planes)).collect();
    inspection
}

/// The rules in the text: it is rules, if each line is one, else octets. If it is neither, the
/// mistake is told of what it rather seems to be.
fn read(request: &InspectRequest) -> (Inspection, Vec<Found>) {
    let mut inspection = Inspection::default();
    let text = request.text.trim();
    // `-` would mean standard input.
    if text.is_empty() || text == "-" {
        inspection.errors.push("there is neither a rule nor octets".to_owned());
        return (inspection, Vec::new());
    }
    let mut rules = Vec::new();
    let mut mistakes = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        match api::rule_text::parse(line) {
            Ok((rule, notes)) => {
                rules.push((rule, None));
                inspection.notes.extend(notes.iter().map(ToString::to_string));
            }
            Err(error) => mistakes.push(error.to_string()),
        }
    }
    if mistakes.is_empty() {
        return (inspection, rules);
    }
    let family = match request.family.as_deref().map(|name| FamilyArg::from_str(name, false)) {
        None => FamilyArg::Ipv4,
        Some(Ok(family)) => family,
        Some(Err(error)) => {
            inspection.errors.push(format!("family: {error}"));
            return (inspection, Vec::new());
        }
    };
    let mut octets = decoded(text, family);
    if octets.1.is_empty() && !is_rather_octets(text) {
        inspection.errors = mistakes;
        return (inspection, rules);
    }
    octets.0.notes.splice(0..0, inspection.notes);
    octets
}

/// Whether the first line has nothing but hex digits and what stands between them.
fn is_rather_octets(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.chars().all(|c| c.is_ascii_hexdigit() || c.is_whitespace() || matches!(c, ':' | '-' | '.' | 'x'))
}

/// What `floodgate decode` makes of the text.
fn decoded(text: &str, family: FamilyArg) -> (Inspection, Vec<Found>) {
    let mut inspection = Inspection::default();
    let mut found = Vec::new();
    let objects = match decode::objects(text, family) {
        Ok(objects) => objects,
        Err(error) => {
            inspection.errors.push(format!("{error:#}"));
            return (inspection, found);
        }
    };
    for object in objects {
        if let Some(message) = object.pointer("/error/message").and_then(Value::as_str) {
            inspection.errors.push(message.to_owned());
        } else if let Some(note) = object.get("note").and_then(Value::as_str) {
            inspection.notes.push(note.to_owned());
        } else if let Some(family) = object.get("end_of_rib").and_then(Value::as_str) {
            inspection.notes.push(format!("end of RIB for {family}"));
        } else if let Some(prefix) = object.get("prefix").and_then(Value::as_str) {
            inspection.notes.push(format!("the unicast prefix {prefix}"));
        } else if let Some(text) = object.get("rule").or_else(|| object.get("text")).and_then(Value::as_str) {
            match text.parse() {
                Ok(rule) => found.push((rule, object.get("announced").and_then(Value::as_bool))),
                Err(error) => inspection.errors.push(format!("{text}: {error}")),
            }
        }
    }
    (inspection, found)
}

/// What the back ends can do, as they are configured.
fn capabilities(dataplane: &Dataplane) -> [(Backend, Capabilities); 5] {
    let interfaces = &dataplane.interfaces;
    let cumulus = dataplane.cumulus.settings(interfaces, release_of_this_machine());
    [
        (Backend::Nftables, nftables::capabilities()),
        (Backend::Xdp, xdp::capabilities()),
        (Backend::Flower, flower::capabilities(&dataplane.flower.settings(interfaces))),
        (Backend::Cumulus, cumulus::capabilities(&cumulus)),
        (Backend::Sonic, sonic::capabilities(&dataplane.sonic.settings(interfaces))),
    ]
}

fn inspected((rule, announced): &Found, session: Option<&str>, planes: &[(Backend, Capabilities)]) -> InspectedRule {
    let mut nlri = Vec::with_capacity(rule.nlri.wire_len());
    rule.nlri.encode_to(&mut nlri);
    let action = |action: &flowspec::Action| InspectedAction {
        text: action.to_string(),
        community: to_hex(action.encode().as_bytes()),
    };
    let own = daemon::interfaces::addresses().unwrap_or_default();
    InspectedRule {
        id: rule.nlri.id().to_string(),
        family: rule.nlri.family().into(),
        text: rule.to_string(),
        nlri: to_hex(&nlri),
        components: rule
            .nlri
            .components()
            .map(|component| format!("{} {component}", component.component_type().name()))
            .collect(),
        actions: rule.actions.iter().map(action).collect(),
        announced: *announced,
        backends: planes.iter().map(|(backend, capabilities)| cost(*backend, rule, capabilities)).collect(),
        hazards: caution::of_rule(rule, session, own).iter().map(hazard).collect(),
    }
}

fn cost(backend: Backend, rule: &Rule, capabilities: &Capabilities) -> BackendCost {
    let line = compile::compile_one(rule, capabilities);
    let enforceable = line.is_exact();
    let CompiledLine { entries, reason, notes, limits, .. } = line;
    BackendCost { backend: backend.into(), enforceable, entries, reason, notes, limits }
}

fn hazard(hazard: &Hazard) -> HazardView {
    let (what, packet) = match hazard {
        Hazard::Session { client, packet } => (format!("your own session, from {client}"), Some(to_hex(packet))),
        Hazard::Everything(_) | Hazard::OwnAddress(_) => (hazard.to_string(), None),
    };
    HazardView { what, locks_out: hazard.locks_out(), packet }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Inspection {
        let request = InspectRequest { text: text.to_owned(), family: None };
        let session =
            ClientSession { client: "198.51.100.9:40000".parse().unwrap(), server: "192.0.2.10:8179".parse().unwrap() };
        inspect(&request, Some(session), &Dataplane::default())
    }

    const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";

    #[test]
    fn text_and_octets_give_the_same_rule_with_its_cost_everywhere() {
        let written = ask(NTP);
        assert_eq!((&written.errors, &written.notes), (&Vec::new(), &Vec::new()));
        let [rule] = written.rules.as_slice() else { panic!("{written:?}") };
        assert_eq!(rule.text, NTP);
        assert_eq!(rule.backends.len(), 5);
        let nftables = &rule.backends[0];
        assert!(nftables.enforceable && nftables.entries == 1, "{nftables:?}");
        let octets = ask(&rule.nlri);
        assert_eq!(octets.rules[0].id, rule.id);
        assert!(octets.rules[0].actions.is_empty());
    }

    #[test]
    fn what_cannot_be_enforced_says_why() {
        let inspection = ask("dst 192.0.2.0/24 fragment is-fragment length 100-200 then redirect 65000:1");
        let refused = inspection.rules[0].backends.iter().find(|backend| !backend.enforceable);
        assert!(refused.is_some_and(|backend| backend.reason.is_some()), "{inspection:?}");
    }

    #[test]
    fn mistakes_are_told_of_what_the_text_seems_to_be() {
        for (text, word) in [
            ("dst 192.0.2.0/24 then dropp", "dropp"),
            ("0c0120c0000201", "octets"),
            ("0c01zz", "zz"),
            ("-", "neither"),
            ("", "neither"),
            ("<img src=x onerror=alert(1)>", "img"),
        ] {
            let inspection = ask(text);
            assert!(inspection.rules.is_empty(), "{text}: {inspection:?}");
            assert!(inspection.errors.join("\n").contains(word), "{text}: {:?}", inspection.errors);
        }
    }

    #[test]
    fn a_rule_that_takes_ones_own_session_says_so() {
        let hazards = |text| ask(text).rules[0].hazards.iter().map(|hazard| hazard.what.clone()).collect::<Vec<_>>();
        assert_eq!(hazards("src 198.51.100.0/24 then discard"), ["your own session, from 198.51.100.9"]);
        assert!(hazards("dst 0.0.0.0/0 then discard").contains(&"all IPv4 packets".to_owned()));
        assert_eq!(hazards(NTP), Vec::<String>::new());
        assert_eq!(hazards("src 198.51.100.0/24 then accept"), Vec::<String>::new());
    }

    #[test]
    fn a_long_text_costs_a_bounded_number_of_compilations() {
        let many: String = (0..500).map(|n| format!("dst 192.0.2.{}/32 then discard\n", n % 250)).collect();
        let inspection = ask(&many);
        assert_eq!(inspection.rules.len(), MAX_RULES);
        assert!(inspection.notes[0].contains("500"), "{:?}", inspection.notes);
    }
}
