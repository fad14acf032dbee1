//! What a switch's release and ASIC imply, with the document beside each value.

use super::asic::{DEFAULT_RANGES, Vendor};
use super::release::{self, Feature, Known};
use super::settings::Settings;
use crate::Fact;

/// What is known and not known about this switch.
pub fn facts(settings: &Settings) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String, document: &str| {
        let document = (!document.is_empty()).then(|| document.to_owned());
        facts.push(Fact { name: name.to_owned(), value, document });
    };
    let (release, asic) = (settings.release, settings.asic);
    fact("chain", release.chain().to_owned(), release::PREROUTING.of(release).1);
    let features = [
        &release::PARALLEL_TABLES,
        &release::COMMENTS,
        &release::FRAGMENTS,
        &release::ECN_FLAGS,
        &release::POLICE_CONTINUES,
        &release::POLICE_COUNTS_DROPS,
    ];
    let spectrum: &[&Feature] = match asic.vendor() {
        Vendor::Nvidia => &[&release::POLICE_COUNTS_ON_SPECTRUM, &release::INCREMENTAL_ON_SPECTRUM],
        Vendor::Broadcom => &[],
    };
    for feature in features.into_iter().chain(spectrum.iter().copied()) {
        let (known, document) = feature.of(release);
        let value = match known {
            Known::Yes => "yes",
            Known::No => "no",
            Known::Unknown => "taken as no",
        };
        fact(feature.name, value.to_owned(), document);
    }
    let mode = if settings.non_atomic { "non-atomic" } else { "atomic" };
    let (v4, v6) = asic.capacity(settings.non_atomic);
    let document = asic.document(release);
    fact(&format!("entries ({mode}), IPv4/IPv6"), format!("{v4}/{v6}, not both together"), document);
    match asic.default_rules() {
        Some((v4, v6)) => fact("of these the default rules take", format!("{v4}/{v6}"), document),
        None => fact("of these the default rules take", format!("taken as {}", super::settings::RESERVE), ""),
    }
    fact("the table also holds", asic.shares_table_with().to_owned(), document);
    match asic.range_checkers() {
        Some(checkers) => fact(
            "port range checkers",
            format!("{checkers}, of which the default rules take {DEFAULT_RANGES}; short ranges are written out"),
            document,
        ),
        None => fact("port range checkers", "taken as unlimited".to_owned(), ""),
    }
    match asic.pipelines() {
        None => fact("policers for each limit", "taken as one".to_owned(), ""),
        Some(1) => fact("policers for each limit", "one".to_owned(), document),
        Some(pipelines) => {
            fact("policers for each limit", format!("one a pipeline: up to {pipelines} times the rate"), document);
        }
    }
    fact("a kilobyte of a policer", "taken as 1,000 octets".to_owned(), "");
    fact("rounding of a policer's burst", "taken as none".to_owned(), "");
    facts
}

/// What an operator has to know about the switch's settings; sentences. `limits`: rate limits are
/// in force.
pub(super) fn warnings(settings: &Settings, limits: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(pipelines @ 2..) = settings.asic.pipelines().filter(|_| limits) {
        warnings.push(format!(
            "{} polices in each of its pipelines: up to {pipelines} times a rate limit may pass",
            settings.asic.name()
        ));
    }
    if settings.non_atomic {
        warnings.push(if settings.stops_traffic_always() {
            "non-atomic: on this switch each change of the rules stops traffic on all ports for a moment".to_owned()
        } else {
            "non-atomic: a change of the rules stops traffic on all ports where old and new rules do not fit side by side"
                .to_owned()
        });
    }
    warnings
}

impl Settings {
    /// Each change stops traffic, however small it is.
    pub fn stops_traffic_always(&self) -> bool {
        self.non_atomic && self.asic.vendor() == Vendor::Nvidia && !release::INCREMENTAL_ON_SPECTRUM.is_in(self.release)
    }

    /// A policer is followed by an accepting rule, so that packets that it passes do not reach
    /// later rules.
    pub(super) fn accepts_behind_policers(&self) -> bool {
        release::POLICE_CONTINUES.of(self.release).0 != Known::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackendSettings;
    use std::time::Duration;

    fn settings(release: &str, asic: &str) -> Settings {
        Settings { release: release.parse().unwrap(), asic: asic.parse().unwrap(), ..Settings::default() }
    }

    #[test]
    fn each_value_has_its_document_or_is_unknown() {
        let unknown = |settings: &Settings| -> Vec<String> {
            facts(settings).into_iter().filter(|fact| fact.document.is_none()).map(|fact| fact.name).collect()
        };
        let (kilobyte, burst) = ("a kilobyte of a policer", "rounding of a policer's burst");
        assert_eq!(unknown(&settings("3.7", "tomahawk")), ["comments in rules", kilobyte, burst]);
        let policers = "policers for each limit";
        assert_eq!(
            unknown(&settings("5.17", "spectrum2")),
            [
                "policers count on Spectrum",
                "of these the default rules take",
                "port range checkers",
                policers,
                kilobyte,
                burst
            ]
        );
        // Documents of another release do not count.
        for (release, asic) in [("5.14", "trident3"), ("5.4", "spectrum2"), ("3.7", "spectrum1-ip-acl-heavy")] {
            let unknown = unknown(&settings(release, asic));
            assert!(unknown.iter().any(|name| name.starts_with("entries")), "{release} {asic}: {unknown:?}");
        }
        let facts = facts(&settings("4.3", "tomahawk"));
        let value = |name: &str| facts.iter().find(|fact| fact.name.starts_with(name)).unwrap();
        assert_eq!(value("entries").value, "256/256, not both together");
        assert_eq!(value("policers for each limit").value, "one a pipeline: up to 4 times the rate");
        assert_eq!(value("rules after a policer").document.as_deref(), Some("4.3"));
    }

    #[test]
    fn non_atomic_updates_are_warned_of_and_gathered_longer() {
        let non_atomic = |release, asic| Settings { non_atomic: true, ..settings(release, asic) };
        for (settings, stops, seconds) in [
            (non_atomic("3.7", "spectrum1"), true, 5),
            (non_atomic("3.7", "tomahawk"), false, 1),
            (non_atomic("5.14", "spectrum2"), false, 1),
        ] {
            assert_eq!(settings.stops_traffic_always(), stops);
            assert_eq!(settings.usual_debounce(), Duration::from_secs(seconds));
            assert_eq!(warnings(&settings, false).len(), 1);
        }
        let tomahawk = warnings(&settings("3.7", "tomahawk"), true);
        assert_eq!(tomahawk, ["tomahawk polices in each of its pipelines: up to 4 times a rate limit may pass"]);
        let atomic = settings("3.7", "spectrum1");
        assert!(warnings(&atomic, true).is_empty() && atomic.usual_debounce() == Duration::from_millis(20));
    }
}
