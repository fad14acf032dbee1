//! The limits that users can run into, as the manual lists them: read from the constants that the
//! code uses, so that the page cannot be wrong.

use crate::controller::limits::{MAX_COUNTED_AT_ONCE, NLRIS, OCTETS};
use crate::descriptors::MAX_DESCRIPTORS;
use crate::events::{LONGEST_TEXT, MAX_OCTETS};
use crate::http::limits::{
    BODY, BODY_TIME, CONNECTIONS, GUESSES, HEAD, HEAD_TIME, HISTORY_PATIENCE, HISTORY_READERS, INCIDENTS,
    MAX_CONNECTIONS_PER_ADDRESS, STREAMS, WRITE_STALL_TIMEOUT,
};
use crate::http::{CHANGE_TIMEOUT, GRACE, INSPECTED_TEXT, LIST_LIMIT};
use crate::logging::{MAX_LINES, MAX_QUEUED_OCTETS, WINDOW};
use crate::net::{CLOSE_TIMEOUT, MAX_CLOSING};
use crate::{exabgp_input, supervisor};
use config::limits;
use dataplane::{cumulus, nftables, sonic, xdp};
use std::time::Duration;

/// A limit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// The value, with its unit.
    pub value: String,
    /// What happens beyond it.
    pub beyond: &'static str,
}

/// Limits of one part of the program.
#[derive(Clone, Debug)]
pub struct Group {
    /// The part.
    pub name: &'static str,
    /// Its limits.
    pub limits: Vec<Limit>,
}

fn limit(what: &'static str, value: String, beyond: &'static str) -> Limit {
    Limit { what, value, beyond }
}

/// All limits with a value of their own. What a configuration key says has its default.
pub fn groups() -> Vec<Group> {
    let group = |name, limits| Group { name, limits };
    vec![
        group("Rules and peers", rules()),
        group("Data planes", dataplanes()),
        group("The API", api()),
        group("The log and the history", records()),
        group("The configuration file", configuration()),
    ]
}

fn rules() -> Vec<Limit> {
    vec![
        limit("octets of an NLRI (RFC 8955 §4.1)", count(flowspec::MAX_LEN as u64), "malformed"),
        limit("octets of a BGP message", count(bgp::MAX_MESSAGE as u64), "NOTIFICATION, bad message length"),
        limit(
            "the same with extended messages (RFC 8654)",
            count(bgp::MAX_EXTENDED_MESSAGE as u64),
            "cannot be written in a message",
        ),
        limit(
            "rules of a peer, unless `max-rules` says otherwise",
            count(limits::DEFAULT_MAX_RULES.into()),
            "as `on-excess` says",
        ),
        limit("connections of one peer that are being closed", count(MAX_CLOSING as u64), "cut off"),
        limit("time for a connection to close", time(CLOSE_TIMEOUT), "cut off"),
        limit("rules counted at once for `status` and the metrics", count(MAX_COUNTED_AT_ONCE as u64), "in steps"),
        limit("octets of a line of ExaBGP's JSON", octets(exabgp_input::LONGEST), "an error of that line"),
    ]
}

fn dataplanes() -> Vec<Limit> {
    vec![
        limit(
            "nftables: rules in a chain, unless `max-chain-rules` says otherwise",
            count(nftables::MAX_CHAIN_RULES as u64),
            "`over-capacity`",
        ),
        limit("xdp: rules, unless `capacity` says otherwise", count(xdp::CAPACITY.into()), "`over-capacity`"),
        limit(
            "xdp: `capacity`",
            format!("{} to {}", count((*xdp::CAPACITIES.start()).into()), count((*xdp::CAPACITIES.end()).into())),
            "a mistake of the file",
        ),
        limit(
            "cumulus: entries of one rule, unless `max-entries-per-rule` says otherwise",
            count(cumulus::Settings::default().max_entries_per_rule),
            "`refused`",
        ),
        limit(
            "sonic: entries of one rule, unless `max-entries-per-rule` says otherwise",
            count(sonic::Settings::default().max_entries_per_rule),
            "`refused`",
        ),
        limit(
            "sonic: entries of a table while the switch does not say how many it has",
            count(sonic::CAUTIOUS_ENTRIES),
            "`over-capacity`",
        ),
        limit("time between two looks for addresses and interfaces", time(supervisor::RESCAN), "the next look"),
    ]
}

fn api() -> Vec<Limit> {
    vec![
        limit(
            "connections of a listener (the Unix socket, each `[api] listen`)",
            count(CONNECTIONS as u64),
            "new ones wait",
        ),
        limit("of these, from one address", count(MAX_CONNECTIONS_PER_ADDRESS as u64), "closed"),
        limit("time without a request after which a connection makes room for another", time(GRACE), "closed"),
        limit("followers of events or samples of a listener", count(STREAMS as u64), "503"),
        limit("readers of the history on disk at the same time", count(HISTORY_READERS as u64), "wait"),
        limit("time for a search in it, and for the wait before", time(HISTORY_PATIENCE), "503"),
        limit("incidents of an answer", count(INCIDENTS.into()), "the next answer"),
        limit(
            "wrong tokens of an address, or of an IPv6 /64, in a minute",
            count(GUESSES.into()),
            "429 until it is over",
        ),
        limit("time for the head of a request, and between two requests", time(HEAD_TIME), "closed"),
        limit("time for the body", time(BODY_TIME), "408"),
        limit("octets of the head", octets(HEAD), "431"),
        limit("octets of the body", octets(BODY), "413"),
        limit("octets of a text for `/v1/inspect`", octets(INSPECTED_TEXT), "413"),
        limit("rules of a part of `/v1/rules/list`", count(LIST_LIMIT as u64), "the next part has them"),
        limit("time in which a client reads nothing of its answer", time(WRITE_STALL_TIMEOUT), "closed"),
        limit("time that `announce` waits for the data plane", time(CHANGE_TIMEOUT), "it answers `pending`"),
        limit("open files, to which the soft limit is raised", count(MAX_DESCRIPTORS), "no new connections"),
    ]
}

fn records() -> Vec<Limit> {
    vec![
        limit("octets of the log that wait for a reader", octets(MAX_QUEUED_OCTETS), "lines are lost, and counted"),
        limit(
            "lines of one kind for a peer",
            format!("{MAX_LINES} in {}", time(WINDOW)),
            "one line has the number of the others",
        ),
        limit("octets of the history", octets(MAX_OCTETS), "the oldest go"),
        limit("history on disk: states and changes of a rule", count(history::MOST_STATES), "those in the middle go"),
        limit("octets of a text in an event", octets(LONGEST_TEXT), "cut, with the number of the others"),
        limit("NLRIs of a malformed message in the log", count(NLRIS as u64), "their number"),
        limit("octets of a malformed message in the log", octets(OCTETS), "cut"),
    ]
}

fn configuration() -> Vec<Limit> {
    let mistake = "a mistake of the file";
    vec![
        limit("`debounce`", time(limits::LONGEST_DEBOUNCE), mistake),
        limit("`idle-hold-max`", time(limits::LONGEST_IDLE_HOLD), mistake),
        limit("`allow-own-as`", count(limits::MAX_OWN_AS.into()), mistake),
        limit("octets of the name of an interface", count(limits::LONGEST_INTERFACE_NAME as u64), mistake),
        limit("octets of a TCP-MD5 secret", count(limits::MD5_OCTETS as u64), mistake),
        limit("octets of a token, at least", count(limits::TOKEN_OCTETS as u64), mistake),
    ]
}

/// With a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In KiB or MiB, if it is a whole number of them.
pub fn octets(number: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match number {
        0 => "0".to_owned(),
        _ if number.is_multiple_of(MIB) => format!("{} MiB", count((number / MIB) as u64)),
        _ if number.is_multiple_of(KIB) => format!("{} KiB", count((number / KIB) as u64)),
        _ => count(number as u64),
    }
}

fn time(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) => format!("{} s", count(seconds)),
        (seconds, millis) => format!("{seconds}.{millis:03} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1000, 4096, 8 << 20, (1 << 20) + 1].map(octets), ["0", "1,000", "4 KiB", "8 MiB", "1,048,577"]);
        let times = [250, 2000, 1500, 3_600_000].map(|millis| time(Duration::from_millis(millis)));
        assert_eq!(times, ["250 ms", "2 s", "1.500 s", "3,600 s"]);
    }
}
