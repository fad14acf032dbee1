//! What is known about SONiC's ACLs in a release, with its source, and what is not.

use super::release::{Feature, MASKS, POLICERS, SAFE_RANGES, SET_ASIDE, SORTED, STATUS};
use super::settings::{Database, Settings};
use crate::Fact;

/// What no source says and only hardware can show.
const UNKNOWN: [(&str, &str); 6] = [
    ("rules with ports, on the first fragment of a packet", "taken as matched"),
    ("rules with ports, on later fragments", "taken as not matched"),
    ("the next header of IPv6, behind extension headers", "taken as the first one"),
    ("packets with a VLAN tag", "taken as matched like others"),
    ("several rules with one policer", "not used: each rule has its own"),
    ("packets while the ASIC moves an entry", "taken as not lost"),
];

/// What only somebody with the hardware can tell.
pub fn unknown() -> Vec<&'static str> {
    UNKNOWN.map(|(name, _)| name).to_vec()
}

/// What is known and not known about this switch.
pub fn facts(settings: &Settings) -> Vec<Fact> {
    let fact = |name: &str, value: String, document: Option<&str>| Fact {
        name: name.to_owned(),
        value,
        document: document.map(str::to_owned),
    };
    let mut facts = Vec::new();
    for Feature { name, since, source } in [&STATUS, &SAFE_RANGES, &SET_ASIDE, &MASKS, &SORTED, &POLICERS] {
        let value = if *since <= settings.release { "yes" } else { "no" };
        facts.push(fact(name, value.to_owned(), Some(&format!("{source}, {since}"))));
    }
    let database = match settings.database {
        Database::Appl => "APPL_DB",
        Database::Config => "CONFIG_DB: what SONiC's model of it does not have is refused",
    };
    facts.push(fact("rules are in", database.to_owned(), Some("sonic-swss, aclorch")));
    facts.push(fact("priorities", "1 to 16000, which libsaivs has; of ASICs taken as enough".to_owned(), None));
    match settings.max_entries {
        Some(most) => facts.push(fact("entries of each table", format!("{most} (max-entries)"), None)),
        None => facts.push(fact(
            "entries of each table",
            format!("{} until the switch reports it", super::settings::CAUTIOUS_ENTRIES),
            None,
        )),
    }
    facts.extend(UNKNOWN.map(|(name, value)| fact(name, value.to_owned(), None)));
    facts
}

/// What an operator has to know about the switch's settings; sentences.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.policers && !settings.has_policers() {
        warnings.push(format!(
            "policers = true has no effect: SONiC has them from {} on, for rules in APPL_DB; this release is {}",
            POLICERS.since, settings.release
        ));
    }
    warnings
}

/// What cannot be used, as a sentence.
pub fn unfit(settings: &Settings) -> Option<String> {
    if settings.release < STATUS.since {
        return Some(format!(
            "SONiC before {} does not publish whether a rule is in force ({}), so {} cannot be used",
            STATUS.since, STATUS.source, settings.release
        ));
    }
    if settings.ranges && !SAFE_RANGES.is_in(settings.release) {
        return Some(format!(
            "before {} a port range that the ASIC does not take ends orchagent, and with it all control of the switch ({}); expected ranges = false, or a later release than {}",
            SAFE_RANGES.since, SAFE_RANGES.source, settings.release
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dangerous_is_not_used() {
        let settings =
            |release: &str, ranges| Settings { release: release.parse().unwrap(), ranges, ..Settings::default() };
        for (release, ranges, fits) in [
            ("202205", false, false),
            ("202305", false, true),
            ("202511", true, false),
            ("2026-02-23", true, false),
            ("2026-02-24", true, true),
            ("202605", true, true),
        ] {
            assert_eq!(unfit(&settings(release, ranges)).is_none(), fits, "{release}");
        }
        let late = Settings { policers: true, ..settings("2026-07-20", false) };
        assert!(warnings(&late).is_empty() && late.has_policers());
        assert_eq!(warnings(&Settings { database: Database::Config, ..late }).len(), 1);
    }

    #[test]
    fn what_only_hardware_can_tell_is_unknown() {
        let facts = facts(&Settings::default());
        let unknown = facts.iter().filter(|fact| fact.document.is_none()).count();
        assert_eq!(unknown, UNKNOWN.len() + 2);
        let value = |name: &str| facts.iter().find(|fact| fact.name.starts_with(name)).unwrap().value.clone();
        assert_eq!((value("policers in"), value("status of")), ("no".to_owned(), "yes".to_owned()));
    }
}
