//! Which lines belong together, and in whose form they are.

use super::draft::entry;
use super::model::{Entry, ForeignError, Form};
use super::{
    bird, braces, exabgp, fastnetmon, frr, gobgp, ios_xr, ios_xr_configuration, junos, junos_configuration, tokens,
};

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// BIRD's `flow4 { ... }`, and the lines below it that are indented.
    Bird,
    /// A route of Junos' table, and the lines below it that are indented.
    JunosTable,
    /// `set routing-options flow route ...`, all of them.
    JunosSet,
    /// IOS XR's `Flow :` with its actions, or IOS XE's route with its attributes.
    IosXr,
    /// `class-map` and `policy-map`, all of them.
    IosXrConfiguration,
    /// An entry of FRR.
    Frr,
    /// A line of GoBGP's table.
    Gobgp,
    /// Statements in braces over several lines: Junos, ExaBGP.
    Braces,
    /// A JSON object: ExaBGP, FastNetMon.
    Json,
}

impl Kind {
    /// What begins with this line.
    pub(super) fn begins(line: &str) -> Option<Self> {
        let text = line.trim_start();
        let first = text.split_whitespace().next().unwrap_or_default();
        if bird::begins(text) {
            return Some(Kind::Bird);
        }
        if text.starts_with("BGP flowspec entry:") {
            return Some(Kind::Frr);
        }
        if ios_xr::head(text).is_some() {
            return Some(Kind::IosXr);
        }
        if text.starts_with("class-map type traffic") || text.starts_with("policy-map type pbr") {
            return Some(Kind::IosXrConfiguration);
        }
        if matches!(first, "set" | "delete" | "activate" | "deactivate") && text.contains(" flow route ") {
            return Some(Kind::JunosSet);
        }
        if junos::head(text).is_some() {
            return Some(Kind::JunosTable);
        }
        if gobgp::begins(text) {
            return Some(Kind::Gobgp);
        }
        if text.starts_with('{') && (text.contains('"') || text.trim_end() == "{") {
            return Some(Kind::Json);
        }
        let balanced = tokens::depth(text) == 0;
        let statement =
            matches!(first, "routing-options" | "flow" | "route" | "neighbor" | "announce" | "routing-instances");
        let opens = text.trim_end().ends_with('{');
        if first == "routing-options" && text.contains('{') || statement && opens && !balanced {
            return Some(Kind::Braces);
        }
        None
    }

    const fn form(self) -> Form {
        match self {
            Kind::Bird => Form::Bird,
            Kind::JunosTable | Kind::JunosSet => Form::Junos,
            Kind::IosXr | Kind::IosXrConfiguration => Form::IosXr,
            Kind::Frr => Form::Frr,
            Kind::Gobgp => Form::Gobgp,
            Kind::Braces => Form::Exabgp,
            Kind::Json => Form::FastNetMon,
        }
    }
}

/// The lines of a block so far, with their numbers.
#[derive(Debug)]
pub(super) struct Block {
    kind: Kind,
    lines: Vec<(usize, String)>,
    len: usize,
    depth: i64,
}

impl Block {
    pub(super) fn new(kind: Kind, number: usize, line: &str) -> Self {
        let mut block = Block { kind, lines: Vec::new(), len: 0, depth: 0 };
        block.push(number, line);
        block
    }

    pub(super) fn number(&self) -> usize {
        self.lines.first().map_or(0, |(number, _)| *number)
    }

    pub(super) const fn form(&self) -> Form {
        self.kind.form()
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, number: usize, line: &str) {
        self.len += line.len() + 1;
        self.depth += match self.kind {
            Kind::Bird | Kind::Braces | Kind::Json => tokens::depth(line),
            _ => 0,
        };
        self.lines.push((number, line.to_owned()));
    }

    /// Whether a further line belongs to it.
    pub(super) fn wants(&self, line: &str) -> bool {
        match self.kind {
            Kind::Braces | Kind::Json => true,
            Kind::Bird if self.depth > 0 => true,
            // One line's configuration ends there; what `show route all` adds is indented.
            Kind::Bird | Kind::JunosTable | Kind::IosXr | Kind::Frr => {
                let junos = ["TSI:", "KRT in", "Action(s):"].iter().any(|word| line.starts_with(word));
                let indented = line.starts_with([' ', '\t']) && !line.trim().is_empty();
                (indented || junos && self.kind == Kind::JunosTable) && Kind::begins(line).is_none()
            }
            Kind::Gobgp => false,
            // Other statements may stand between them; they say nothing about rules.
            Kind::JunosSet => line.split_whitespace().next().is_none_or(|word| word == "set" || word == "#"),
            Kind::IosXrConfiguration => ios_xr_configuration::belongs(line),
        }
    }

    /// Whether no further line can belong to it.
    pub(super) fn is_complete(&self) -> bool {
        match self.kind {
            Kind::Braces | Kind::Json => self.depth <= 0,
            Kind::Gobgp => true,
            _ => false,
        }
    }

    /// What it says.
    pub(super) fn read(self) -> Vec<Entry> {
        let number = self.number();
        if self.depth > 0 {
            let message = format!("{} `}}` at the end is missing", self.depth);
            return vec![Entry::Error { number, error: ForeignError::Unfinished { form: self.form(), message } }];
        }
        let lines: Vec<(usize, &str)> = self.lines.iter().map(|(number, line)| (*number, line.as_str())).collect();
        let text = || lines.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
        match self.kind {
            Kind::Bird => vec![entry(number, bird::read(&text()))],
            Kind::JunosTable => vec![entry(number, junos::read(&lines))],
            Kind::JunosSet => junos_configuration::read_set(&lines),
            Kind::IosXr => vec![entry(number, ios_xr::read(&lines))],
            Kind::IosXrConfiguration => ios_xr_configuration::read(&lines),
            Kind::Frr => vec![entry(number, frr::read(&lines))],
            Kind::Gobgp => vec![entry(number, gobgp::read(&text()))],
            Kind::Braces => braces::read(number, &text()),
            Kind::Json => {
                let text = text();
                if text.contains("\"exabgp\"") {
                    exabgp::read_json(number, &text)
                } else {
                    fastnetmon::read(number, &text)
                }
            }
        }
    }
}

/// Whether a line begins like a rule in Floodgate's words, or is a comment: a quick answer for long
/// files of rules.
pub(super) fn is_own(line: &str) -> bool {
    const OWN: [&str; 9] = ["wire", "dst", "src", "proto", "ipv4", "ipv6", "vpnv4", "vpnv6", "match"];
    match line.split_once(' ') {
        Some(("match", rest)) => !rest.contains('{') || rest.contains('}'),
        Some((first, _)) => OWN.contains(&first),
        None => line.is_empty(),
    }
}

/// Beginnings of lines that programs print around their rules.
const HEADINGS: &[&str] = &[
    "AFI: ",
    "VRF: ",
    "Table ",
    "BIRD ",
    "Displayed ",
    "Network ",
    "+ = Active Route",
    "end-class-map",
    "end-policy-map",
];

/// Whether a line says nothing about rules: a heading, or the prompt of a device with a command.
/// `seen`: there was a rule in another program's form before.
pub(super) fn is_heading(line: &str, seen: bool) -> bool {
    let text = line.trim();
    let table = text.split_once(": ").is_some_and(|(name, rest)| {
        (name.ends_with("flow.0") || name.ends_with("flow.1")) && rest.contains("destinations,")
    });
    let prompt = ["#", "> ", ">"].iter().any(|end| {
        text.split_once(*end).is_some_and(|(host, command)| {
            let command = command.trim();
            !host.is_empty() && !host.contains(' ') && (command.is_empty() && seen || command.starts_with("sh"))
        })
    });
    let times = text.ends_with(" UTC") && text.contains(':');
    HEADINGS.iter().any(|heading| text.starts_with(heading))
        || table
        || prompt
        || times
        || text == "!"
        || text.starts_with("! ")
        || text.starts_with("---")
}
