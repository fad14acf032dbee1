//! IOS XR's configuration: `class-map type traffic` says what is matched, `policy-map type pbr`
//! what is done.

use super::draft::{Draft, entry, hex_mask, number};
use super::model::{Entry, ForeignError, ForeignRule, Form};
use std::net::Ipv4Addr;

#[derive(Debug, Default)]
struct ClassMap<'a> {
    number: usize,
    name: &'a str,
    matches: Vec<&'a str>,
    used: bool,
}

/// A class within a policy-map, with its actions.
#[derive(Debug)]
struct Use<'a> {
    number: usize,
    class: &'a str,
    actions: Vec<&'a str>,
}

/// Reads all classes that a policy uses.
pub(super) fn read(lines: &[(usize, &str)]) -> Vec<Entry> {
    let mut classes: Vec<ClassMap<'_>> = Vec::new();
    let mut uses: Vec<Use<'_>> = Vec::new();
    let mut in_policy = false;
    for (number, line) in lines {
        // A comment begins with `!`.
        let line = line.split(" !").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["class-map", "type", "traffic", .., name] => {
                in_policy = false;
                classes.push(ClassMap { number: *number, name, ..ClassMap::default() });
            }
            ["policy-map", ..] => in_policy = true,
            ["class", "type", "traffic", name] | ["class", name] if in_policy => {
                uses.push(Use { number: *number, class: name, actions: Vec::new() });
            }
            ["match", ..] if !in_policy => {
                if let Some(class) = classes.last_mut() {
                    class.matches.push(line.trim_start_matches("match").trim());
                }
            }
            [] | ["end-class-map" | "end-policy-map" | "!" | "exit" | "commit" | "end"] => {}
            [first, ..] if first.starts_with('!') => {}
            // What follows is not about classes any more.
            ["flowspec" | "address-family" | "service-policy" | "interface" | "router" | "class-map", ..] => {
                in_policy = false;
            }
            _ if in_policy => {
                if let Some(used) = uses.last_mut() {
                    used.actions.push(line);
                }
            }
            _ => {}
        }
    }
    let mut entries = Vec::new();
    for used in uses.iter().filter(|used| used.class != "class-default") {
        let result = match classes.iter_mut().find(|class| class.name == used.class) {
            Some(class) => {
                class.used = true;
                rule(class, used)
            }
            None => Err(unknown(format!("there is no class-map {} here", used.class))),
        };
        entries.push(entry(used.number, result));
    }
    for class in classes.iter().filter(|class| !class.used) {
        let mut draft = Draft::new(Form::IosXr);
        draft.actions_hidden("the policy-map that uses the class-map");
        let result = class.matches.iter().try_for_each(|line| condition(line, &mut draft));
        entries.push(entry(class.number, result.and_then(|()| draft.finish())));
    }
    entries.sort_by_key(|entry| match entry {
        Entry::Line { number, .. } | Entry::Rule { number, .. } | Entry::Error { number, .. } => *number,
    });
    entries
}

/// Whether a line can be one of such a configuration: a rule in other words is not swallowed.
pub(super) fn belongs(line: &str) -> bool {
    const WORDS: [&str; 14] = [
        "class-map",
        "policy-map",
        "class",
        "end-class-map",
        "end-policy-map",
        "drop",
        "police",
        "set",
        "transmit",
        "flowspec",
        "address-family",
        "service-policy",
        "exit",
        "commit",
    ];
    let mut words = line.split_whitespace();
    match words.next() {
        None => true,
        Some(first) if first.starts_with('!') => true,
        Some("redirect") => words.next().is_some_and(|word| matches!(word, "nexthop" | "next-hop" | "ipv4" | "ipv6")),
        Some("match") => words.next().is_some_and(|word| {
            ["destination-", "source-", "protocol", "port", "ipv4", "ipv6", "packet", "dscp", "fragment", "tcp-flag"]
                .iter()
                .any(|name| word.starts_with(name))
                && !words.any(|word| word == "then")
        }),
        Some(first) => WORDS.contains(&first),
    }
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::IosXr, message }
}

fn rule(class: &ClassMap<'_>, used: &Use<'_>) -> Result<ForeignRule, ForeignError> {
    let mut draft = Draft::new(Form::IosXr);
    class.matches.iter().try_for_each(|line| condition(line, &mut draft))?;
    used.actions.iter().try_for_each(|line| action(line, &mut draft))?;
    draft.finish()
}

fn condition(line: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    let wrong = || unknown(format!("`match {line}` is not a condition that can be read from this"));
    let words: Vec<&str> = line.split_whitespace().collect();
    let list = |values: &[&str]| -> Result<String, ForeignError> {
        if values.is_empty() {
            return Err(wrong());
        }
        Ok(values.iter().map(|value| if *value == "ipinip" { "ipip" } else { *value }).collect::<Vec<_>>().join(","))
    };
    let (word, values) = match words.as_slice() {
        [kind @ ("destination-address" | "source-address"), _, rest @ ..] => {
            let ours = if *kind == "destination-address" { "dst" } else { "src" };
            draft.component(ours, prefix(rest).ok_or_else(wrong)?);
            return Ok(());
        }
        ["protocol", "ipv4" | "ipv6", rest @ ..] if !rest.is_empty() => ("proto", list(rest)?),
        ["protocol", rest @ ..] => ("proto", list(rest)?),
        ["destination-port", rest @ ..] => ("dport", list(rest)?),
        ["source-port", rest @ ..] => ("sport", list(rest)?),
        ["port", rest @ ..] => ("port", list(rest)?),
        ["ipv4" | "ipv6", "icmp-type", rest @ ..] => ("icmp-type", list(rest)?),
        ["ipv4" | "ipv6", "icmp-code", rest @ ..] => ("icmp-code", list(rest)?),
        ["packet", "length", rest @ ..] | ["packet-length", rest @ ..] => ("length", list(rest)?),
        ["dscp", "ipv4" | "ipv6", rest @ ..] if !rest.is_empty() => ("dscp", list(rest)?),
        ["dscp", rest @ ..] => ("dscp", list(rest)?),
        ["fragment-type" | "fragment", rest @ ..] => {
            let rest: Vec<&str> = rest.iter().copied().filter(|word| *word != "type").collect();
            let names: Vec<String> = rest.iter().map(|name| format!("={name}")).collect();
            ("fragment", if names.is_empty() { return Err(wrong()) } else { names.join(",") })
        }
        ["tcp-flag", value, rest @ ..] => ("tcp-flags", tcp_flag(value, rest).ok_or_else(wrong)??),
        _ => return Err(wrong()),
    };
    draft.component(word, values);
    Ok(())
}

/// `192.0.2.0 255.255.255.0`, or with a length.
fn prefix(words: &[&str]) -> Option<String> {
    match words {
        [prefix] => Some((*prefix).to_owned()),
        [address, mask] => {
            let mask = u32::from(mask.parse::<Ipv4Addr>().ok()?);
            (mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0)
                .then(|| format!("{address}/{}", mask.leading_ones()))
        }
        _ => None,
    }
}

/// A value of one bit has one meaning; of several bits it is not known whether all are meant.
fn tcp_flag(value: &str, rest: &[&str]) -> Option<Result<String, ForeignError>> {
    let value = number(value)?;
    let mask = hex_mask(value);
    Some(match rest {
        ["any"] => Ok(format!("any({mask})")),
        ["mask", other] if number(other) == Some(value) => Ok(format!("={mask}")),
        [] if value.count_ones() == 1 => Ok(format!("={mask}")),
        [] => Err(ForeignError::Ambiguous {
            form: Form::IosXr,
            text: format!("match tcp-flag {value}"),
            first: format!("`tcp-flags ={mask}` (all of the bits)"),
            second: format!("`tcp-flags any({mask})` (one of them)"),
        }),
        _ => return None,
    })
}

fn action(line: &str, draft: &mut Draft) -> Result<(), ForeignError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["drop"] => draft.action("discard"),
        ["transmit"] => {}
        ["police", "rate", rate] => draft.action(format!("rate {rate}bps")),
        ["police", "rate", rate, unit @ ("bps" | "kbps" | "mbps" | "gbps" | "pps")] => {
            draft.action(format!("rate {rate}{unit}"));
        }
        ["set", "dscp", value] => draft.action(format!("mark {value}")),
        ["redirect", "nexthop", "route-target", target] => draft.action(format!("redirect {target}")),
        ["redirect", "nexthop" | "next-hop", address]
        | ["redirect", "ipv4" | "ipv6", "nexthop" | "next-hop", address] => {
            draft.action(format!("redirect next-hop {address}"));
        }
        _ => return Err(unknown(format!("`{line}` is not an action that can be read from this"))),
    }
    Ok(())
}
