//! Junos' configuration: `set routing-options flow route ...`, and the statements of the form in
//! braces.

use super::draft::{Draft, entry, hex_mask, number};
use super::model::{Entry, ForeignError, ForeignRule, Form};
use super::tokens::tokens;

/// A flow route: its conditions and actions, each as words.
#[derive(Debug)]
pub(super) struct FlowRoute {
    name: String,
    conditions: Vec<Vec<String>>,
    actions: Vec<Vec<String>>,
    wrong: Option<String>,
}

/// Reads all routes of the `set` statements.
pub(super) fn read_set(lines: &[(usize, &str)]) -> Vec<Entry> {
    let mut routes: Vec<(usize, FlowRoute)> = Vec::new();
    for (number, line) in lines {
        let words: Vec<String> = tokens(line).into_iter().map(|(_, token)| token).collect();
        let Some(at) = words.windows(2).position(|pair| pair[0] == "flow" && pair[1] == "route") else { continue };
        let Some(name) = words.get(at + 2) else { continue };
        let index = routes.iter().position(|(_, route)| route.name == *name).unwrap_or_else(|| {
            routes.push((*number, FlowRoute::new(name.clone())));
            routes.len() - 1
        });
        let route = &mut routes[index].1;
        let rest = words.get(at + 3..).unwrap_or_default();
        match rest.split_first().map(|(word, rest)| (word.as_str(), rest)) {
            _ if words[0] != "set" => route.wrong = Some(format!("`{}` takes from a rule", words[0])),
            Some(("match", rest)) => route.condition(rest.to_vec()),
            Some(("then", rest)) => route.action(rest.to_vec()),
            _ => route.wrong = Some(format!("`{}`: expected `match` or `then`", line.trim())),
        }
    }
    routes.into_iter().map(|(number, route)| entry(number, route.read())).collect()
}

fn unknown(message: String) -> ForeignError {
    ForeignError::Unknown { form: Form::Junos, message }
}

/// The components and how they are written.
const NUMERIC: [(&str, &str); 14] = [
    ("protocol", "proto"),
    ("next-header", "proto"),
    ("port", "port"),
    ("destination-port", "dport"),
    ("source-port", "sport"),
    ("icmp-type", "icmp-type"),
    ("icmp6-type", "icmp-type"),
    ("icmp-code", "icmp-code"),
    ("icmp6-code", "icmp-code"),
    ("packet-length", "length"),
    ("dscp", "dscp"),
    ("traffic-class", "dscp"),
    ("flow-label", "label"),
    ("length", "length"),
];

impl FlowRoute {
    pub(super) const fn new(name: String) -> Self {
        FlowRoute { name, conditions: Vec::new(), actions: Vec::new(), wrong: None }
    }

    /// A condition: the words behind `match`.
    pub(super) fn condition(&mut self, words: Vec<String>) {
        self.conditions.push(words);
    }

    /// An action: the words behind `then`.
    pub(super) fn action(&mut self, words: Vec<String>) {
        self.actions.push(words);
    }

    /// The rule.
    ///
    /// # Errors
    /// A word is not one of Junos', or what it means is not known.
    pub(super) fn read(self) -> Result<ForeignRule, ForeignError> {
        if let Some(wrong) = self.wrong {
            return Err(unknown(format!("route {}: {wrong}", self.name)));
        }
        let mut draft = Draft::new(Form::Junos);
        for words in &self.conditions {
            condition(words, &mut draft)?;
        }
        if self.actions.is_empty() {
            draft.actions_hidden("`then`, which is missing here,");
        }
        for words in &self.actions {
            action(words, &mut draft)?;
        }
        draft.finish()
    }
}

fn condition(words: &[String], draft: &mut Draft) -> Result<(), ForeignError> {
    let Some((word, rest)) = words.split_first() else { return Ok(()) };
    let values: Vec<&str> = rest.iter().map(String::as_str).filter(|value| !matches!(*value, "[" | "]")).collect();
    let wrong = || unknown(format!("`{}` is not a condition that can be read from this", words.join(" ")));
    if values.is_empty() {
        return Err(wrong());
    }
    match word.as_str() {
        "destination" | "source" => {
            let ours = if word == "destination" { "dst" } else { "src" };
            match values.as_slice() {
                [prefix] => draft.component(ours, *prefix),
                [prefix, "prefix-offset", offset] => {
                    let (address, length) = prefix.split_once('/').ok_or_else(wrong)?;
                    draft.component(ours, format!("{address}/{offset}-{length}"));
                }
                _ => return Err(wrong()),
            }
        }
        "tcp-flags" => {
            for value in &values {
                draft.component("tcp-flags", tcp_flags(value)?);
            }
        }
        "fragment" => {
            for value in &values {
                let known = ["dont-fragment", "is-fragment", "first-fragment", "last-fragment", "not-a-fragment"];
                if !known.contains(value) {
                    return Err(wrong());
                }
                draft.component("fragment", format!("any({value})"));
            }
        }
        _ => {
            let Some((_, ours)) = NUMERIC.iter().find(|(name, _)| name == word) else { return Err(wrong()) };
            for value in &values {
                draft.component(ours, self::value(ours, value));
            }
        }
    }
    Ok(())
}

/// A number, a range, or a name; a port by Junos' name.
fn value(component: &str, text: &str) -> String {
    let is_port = matches!(component, "port" | "dport" | "sport");
    match PORTS.iter().find(|(name, _)| is_port && *name == text) {
        Some((_, port)) => port.to_string(),
        None => text.to_owned(),
    }
}

/// `syn`, `"syn & !ack"`, `0x12`: a bit is one of those that are asked for, `&` needs all.
fn tcp_flags(text: &str) -> Result<String, ForeignError> {
    let wrong = || unknown(format!("`{text}` is not an expression of TCP flags without brackets"));
    let mut read = String::new();
    for (index, group) in text.split('|').enumerate() {
        for (at, item) in group.split('&').enumerate() {
            let item = item.trim();
            let (not, name) = match item.strip_prefix('!') {
                Some(name) => ("!", name.trim()),
                None => ("", item),
            };
            let mask = match number(name) {
                Some(value) => hex_mask(value),
                None if !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphabetic()) => name.to_owned(),
                None => return Err(wrong()),
            };
            if index > 0 || at > 0 {
                read.push(if at > 0 { '&' } else { ',' });
            }
            read += &format!("{not}any({mask})");
        }
    }
    Ok(read)
}

fn action(words: &[String], draft: &mut Draft) -> Result<(), ForeignError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["accept"] => {}
        ["discard"] => draft.action("discard"),
        ["sample"] => draft.action("sample"),
        ["next-term"] => draft.action("continue"),
        ["mark", dscp] => draft.action(format!("mark {dscp}")),
        ["rate-limit", rate] => draft.action(format!("rate {}", bits_per_second(rate)?)),
        ["routing-instance", target] => {
            let target = target.strip_prefix("target:").ok_or_else(|| {
                unknown(format!("`routing-instance {target}` names no route target; expected target:65000:100"))
            })?;
            draft.action(format!("redirect {target}"));
        }
        ["redirect", address] => {
            return Err(ForeignError::Ambiguous {
                form: Form::Junos,
                text: format!("redirect {address}"),
                first: format!("`redirect {address}`"),
                second: format!("`redirect next-hop {address}` (with `legacy-redirect-ip-action`)"),
            });
        }
        ["community", name] => draft.note(format!("the community `{name}` is left out")),
        _ => return Err(unknown(format!("`then {}` is not an action that can be read from this", words.join(" ")))),
    }
    Ok(())
}

/// `10m`: bits a second, with k, m and g.
fn bits_per_second(text: &str) -> Result<String, ForeignError> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, "kbps"),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, "mbps"),
            None => match text.strip_suffix(['g', 'G']) {
                Some(digits) => (digits, "gbps"),
                None => (text, "bps"),
            },
        },
    };
    match number(digits) {
        Some(value) => Ok(format!("{value}{unit}")),
        None => Err(unknown(format!("`{text}` is not a rate; expected bits a second, such as 10m"))),
    }
}

/// Junos' names of ports.
const PORTS: &[(&str, u16)] = &[
    ("afs", 1483),
    ("bgp", 179),
    ("biff", 512),
    ("bootpc", 68),
    ("bootps", 67),
    ("cmd", 514),
    ("cvspserver", 2401),
    ("dhcp", 67),
    ("domain", 53),
    ("eklogin", 2105),
    ("ekshell", 2106),
    ("exec", 512),
    ("finger", 79),
    ("ftp", 21),
    ("ftp-data", 20),
    ("http", 80),
    ("https", 443),
    ("ident", 113),
    ("imap", 143),
    ("kerberos-sec", 88),
    ("klogin", 543),
    ("kpasswd", 761),
    ("krb-prop", 754),
    ("krbupdate", 760),
    ("kshell", 544),
    ("ldap", 389),
    ("ldp", 646),
    ("login", 513),
    ("mobileip-agent", 434),
    ("mobilip-mn", 435),
    ("msdp", 639),
    ("netbios-dgm", 138),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("nfsd", 2049),
    ("nntp", 119),
    ("ntalk", 518),
    ("ntp", 123),
    ("pop3", 110),
    ("pptp", 1723),
    ("printer", 515),
    ("radacct", 1813),
    ("radius", 1812),
    ("rip", 520),
    ("rkinit", 2108),
    ("smtp", 25),
    ("snmp", 161),
    ("snmptrap", 162),
    ("snpp", 444),
    ("socks", 1080),
    ("ssh", 22),
    ("sunrpc", 111),
    ("syslog", 514),
    ("tacacs", 49),
    ("tacacs-ds", 65),
    ("talk", 517),
    ("telnet", 23),
    ("tftp", 69),
    ("timed", 525),
    ("who", 513),
    ("xdmcp", 177),
    ("zephyr-clt", 2103),
    ("zephyr-hm", 2104),
];
