//! Real JSON of real ExaBGPs (tests/data): every rule that the controller announced is parsed as
//! announced, or left out for a known reason.

use bgp::{Destination, RouteKey, Update};
use exabgp::{Message, read};
use flowspec::{Action, Component, Nlri, Prefix, Rule, text};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const CAPTURES: [&str; 3] = ["exabgp-4.2.21", "exabgp-5.0.15", "exabgp-6.0.0"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(data(name)).unwrap()
}

fn messages(capture: &str) -> Vec<Message> {
    text_of(&format!("{capture}.jsonl")).lines().map(|line| read(line.as_bytes()).unwrap()).collect()
}

fn updates(capture: &str) -> Vec<Update> {
    let update = |message| if let Message::Update(_, update, _) = message { Some(update) } else { None };
    messages(capture).into_iter().filter_map(update).collect()
}

fn nlri(route: &RouteKey) -> Option<&Nlri> {
    if let Destination::Flow(nlri) = &route.destination { Some(nlri) } else { None }
}

/// A rule with its communities in an order that is the same for all versions: 5 sorts them.
fn sorted(nlri: Nlri, mut actions: Vec<Action>, next_hop: Option<std::net::IpAddr>) -> Rule {
    actions.sort_by_key(|action| action.encode().as_bytes().to_vec());
    Rule { nlri, actions, next_hop }
}

fn announced(update: &Update) -> impl Iterator<Item = Rule> {
    update.announced.iter().flat_map(|group| {
        let actions = group.attributes.actions().unwrap();
        group.routes.iter().filter_map(nlri).map(move |nlri| sorted(nlri.clone(), actions.clone(), group.next_hop))
    })
}

/// What was announced, as far as this version of ExaBGP passes it on.
fn wanted(capture: &str) -> Vec<Rule> {
    let rules = text_of("rules.txt");
    let rules = rules.lines().filter_map(|line| text::parse_line(line).unwrap());
    let passed_on = |rule: &Rule| {
        let offset = rule
            .nlri
            .components()
            .any(|component| matches!(component, Component::Prefix(_, Prefix::V6(pattern)) if pattern.offset() > 0));
        // Only version 5 can read offsets; the others leave these rules out.
        !offset || capture.starts_with("exabgp-5")
    };
    rules
        .filter(passed_on)
        .map(|rule| {
            // The value of an operator that does not look at its value is not told, unless it is
            // joined with AND.
            let nlri = match rule.nlri.to_string().as_str() {
                "dst 10.0.0.22/32 port true:80" => "dst 10.0.0.22/32 port true".parse().unwrap(),
                _ => rule.nlri,
            };
            sorted(nlri, rule.actions, rule.next_hop)
        })
        .collect()
}

#[test]
fn every_announced_rule_is_read_as_it_was_announced() {
    for capture in CAPTURES {
        let wanted = wanted(capture);
        let mut found: Vec<Rule> = updates(capture).iter().flat_map(announced).take(wanted.len()).collect();
        assert!(wanted.len() >= 75, "{}", wanted.len());
        if capture.starts_with("exabgp-6") {
            // Announced all at once, so in another order.
            found.sort_by_key(|rule| wanted.iter().position(|wanted| wanted == rule));
        }
        for (wanted, found) in wanted.iter().zip(&found) {
            assert_eq!(found, wanted, "{capture}: {found}, not {wanted}");
        }
        assert_eq!(found.len(), wanted.len());
    }
}

#[test]
fn every_withdrawal_finds_its_rule() {
    for capture in &CAPTURES[..2] {
        let mut rules: std::collections::HashSet<Nlri> = std::collections::HashSet::new();
        for update in updates(capture) {
            for nlri in update.withdrawn.iter().filter_map(nlri) {
                let raw = nlri.to_string() == "dst 10.4.0.10/32";
                assert!(rules.remove(nlri) || raw, "{capture}: {nlri} was never announced");
            }
            rules.extend(announced(&update).map(|rule| rule.nlri));
        }
        // What is left are the raw ones.
        let left: Vec<String> = rules.iter().map(ToString::to_string).filter(|text| !text.contains("10.4.")).collect();
        assert_eq!(left, Vec::<String>::new(), "{capture}");
    }
}

#[test]
fn each_line_is_read_as_it_was_found_to_be_right() {
    for capture in CAPTURES {
        let mut said = String::new();
        for (number, message) in messages(capture).into_iter().enumerate() {
            let number = number + 1;
            match message {
                Message::Update(_, update, misread) => {
                    for route in &update.withdrawn {
                        writeln!(said, "{number} withdraw {}", shown(route)).unwrap();
                    }
                    for group in &update.announced {
                        for route in &group.routes {
                            let rule = nlri(route).map(|nlri| {
                                let actions = group.attributes.actions().unwrap();
                                Rule { nlri: nlri.clone(), actions, next_hop: group.next_hop }.to_string()
                            });
                            writeln!(said, "{number} announce {}", rule.unwrap_or_else(|| shown(route))).unwrap();
                        }
                    }
                    misread.iter().for_each(|misread| writeln!(said, "{number} cannot read {misread}").unwrap());
                }
                Message::State(neighbor, state) => writeln!(said, "{number} {} {state:?}", neighbor.peer).unwrap(),
                Message::EndOfRib(_, family) => writeln!(said, "{number} end of RIB {family}").unwrap(),
                other => writeln!(said, "{number} {other:?}").unwrap(),
            }
        }
        let path = data(&format!("{capture}.expected"));
        if std::env::var_os("FLOODGATE_BLESS").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        for (found, expected) in said.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "{capture}");
        }
        assert_eq!(said.lines().count(), expected.lines().count(), "{capture}");
    }
}

fn shown(route: &RouteKey) -> String {
    match &route.destination {
        Destination::Flow(nlri) => nlri.to_string(),
        Destination::Unicast(net) => net.to_string(),
    }
}

/// What `fuzz/fuzz_targets/exabgp.rs` looks for at length: lines with octets changed, taken out,
/// doubled and swapped are read or refused.
#[test]
fn damaged_lines_are_read_or_refused() {
    let mut seed = flowspec::testing::Seed::new(0xda);
    let lines: Vec<String> = CAPTURES
        .iter()
        .flat_map(|c| text_of(&format!("{c}.jsonl")).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let mut line = lines[seed.below(lines.len() as u64) as usize].clone().into_bytes();
        if line.len() > 4000 {
            continue;
        }
        for _ in 0..=seed.below(3) {
            let at = seed.below(line.len() as u64) as usize;
            match seed.below(4) {
                0 => line[at] = seed.below(256) as u8,
                1 => drop(line.remove(at)),
                2 => line.insert(at, *seed.pick(b"\"{}[],:&=!<>0919 ").as_ref().unwrap()),
                _ => {
                    let other = seed.below(line.len() as u64) as usize;
                    line.swap(at, other);
                }
            }
        }
        match read(&line) {
            Ok(Message::Update(_, update, _)) => {
                good += 1;
                for nlri in update.withdrawn.iter().filter_map(nlri) {
                    assert_eq!(nlri.to_string().parse().as_ref(), Ok(nlri));
                }
                assert!(announced(&update).all(|rule| rule.to_string().parse::<Rule>().is_ok()));
            }
            Ok(_) => good += 1,
            Err(misread) => {
                bad += 1;
                assert!(!misread.to_string().is_empty());
            }
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} {bad}");
}
