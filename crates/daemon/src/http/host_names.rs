//! Names under which this machine is reached. A browser sends what the page of another site asks it
//! to: its Host header says under which name it knows this machine, and its Origin header whose
//! page asks. A name that is not ours is one that somebody pointed at our address.

use std::net::IpAddr;

/// The names that are ours, beside addresses and `localhost`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostNames(Vec<String>);

impl HostNames {
    /// Those of the configuration, and the machine's own.
    pub(crate) fn new(configured: &[String]) -> Self {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        HostNames(configured.iter().cloned().chain([own]).filter(|name| !name.is_empty()).collect())
    }

    /// Whether a Host header names this machine.
    pub(crate) fn is_ours(&self, host: &str) -> bool {
        let name = name(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }

    /// Whether a page of this origin may send requests to this host: only its own pages.
    pub(crate) fn is_same_origin(origin: &str, host: &str) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    }
}

/// Without the port, and the dot that ends a full name.
fn name(host: &str) -> &str {
    let end = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') && (host.starts_with('[') || host.find(':') == Some(colon)) => {
            colon
        }
        _ => host.len(),
    };
    host[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_ours_is_none_of_this_machine() {
        let names = HostNames(vec!["filter1.example.net".to_owned()]);
        for host in [
            "127.0.0.1:8179",
            "127.0.0.1",
            "[::1]:8179",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:80",
            "filter1.example.net:8179",
            "Filter1.Example.net.",
        ] {
            assert!(names.is_ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "filter1.example.net.evil.example",
            "localhost.evil.example:8179",
            "",
            ":80",
            "127.0.0.1.evil.example",
        ] {
            assert!(!names.is_ours(host), "{host}");
        }
    }

    #[test]
    fn only_its_own_pages_are_of_the_same_origin() {
        assert!(HostNames::is_same_origin("http://127.0.0.1:8179", "127.0.0.1:8179"));
        assert!(HostNames::is_same_origin("https://filter1.example.net", "filter1.example.net"));
        for origin in
            ["null", "", "http://evil.example", "http://127.0.0.1", "file://", "http://127.0.0.1:8179.evil.example"]
        {
            assert!(!HostNames::is_same_origin(origin, "127.0.0.1:8179"), "{origin}");
        }
    }
}
