//! The sample configuration that packages ship, `packaging/floodgate.toml`: it has every key, and
//! what it says of each is right.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

const SAMPLE: &str = include_str!("../../../packaging/floodgate.toml");

/// A key of the sample.
#[derive(Debug)]
struct Key {
    section: String,
    name: String,
    /// `KEY = VALUE`, without the comment sign.
    line: String,
    is_comment: bool,
    is_example: bool,
}

fn keys() -> Vec<Key> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in SAMPLE.lines() {
        let (text, is_comment) = line.strip_prefix('#').map_or((line, false), |text| (text, true));
        if text.starts_with('[') {
            text.clone_into(&mut section);
        } else if let Some((name, _)) = text.split_once(" = ")
            && !name.is_empty()
            && name.bytes().all(|octet| octet == b'-' || octet.is_ascii_lowercase() || octet.is_ascii_digit())
        {
            let (section, name, line) = (section.clone(), name.to_owned(), text.to_owned());
            keys.push(Key { section, name, line, is_comment, is_example: text.contains(" # example") });
        }
    }
    keys
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("floodgate.toml"))
}

/// The sample with a line more in a section, and with what that section and key need beside them.
fn with(section: &str, key: &str, line: &str) -> String {
    const PEER: &str = "[[peer]]\nname = \"customer-a\"\naddress = \"192.0.2.7\"\nas = 65070\n";
    const UNICAST: &str = "families = [\"ipv4-unicast\"]\n[peer.allow]\ndestinations = [\"198.51.100.0/24\"]\n";
    const POLICY: &str = "[[policy]]\nname = \"it\"\n";
    if SAMPLE.lines().any(|line| line == section) {
        return SAMPLE.replacen(&format!("\n{section}\n"), &format!("\n{section}\n{line}\n"), 1);
    }
    // What is required is in the frame: the line takes its place.
    let peer: String = PEER
        .lines()
        .filter(|other| section != "[[peer]]" || !other.starts_with(&format!("{key} =")))
        .fold(String::new(), |text, line| text + line + "\n");
    let policy = if section == "[[policy]]" && key == "name" { "[[policy]]\n" } else { POLICY };
    let beside = match key {
        "lifetime" => "",
        "reason" => "then = \"reject\"\n",
        _ => "lifetime = \"1h\"\n",
    };
    let text = match section {
        "[[peer]]" => format!("{peer}{line}\n"),
        "[peer.allow]" => format!("{peer}[peer.allow]\n{line}\n"),
        "[peer.long-lived]" => format!("{peer}[peer.long-lived]\n{line}\n"),
        "[peer.blackhole]" => format!("{peer}{UNICAST}[peer.blackhole]\n{line}\n"),
        "[[policy]]" => format!("{peer}{policy}{line}\n[[policy.statement]]\n{beside}"),
        "[[token]]" => {
            const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let frame = format!("name = \"desk\"\nhash = \"{HASH}\"\nrole = \"announce\"\n");
            let frame = frame.lines().filter(|other| !other.starts_with(&format!("{key} =")));
            let frame = frame.fold(String::new(), |text, line| text + line + "\n");
            format!("[[token]]\n{frame}{line}\n")
        }
        "[[policy.statement]]" => format!("{peer}{policy}[[policy.statement]]\n{beside}{line}\n"),
        _ => format!("{section}\n{line}\n"),
    };
    format!("{SAMPLE}\n{text}")
}

#[test]
fn the_sample_has_every_key_once() {
    let keys_of_sections = sections::keys_of_sections().into_iter();
    let known: BTreeSet<String> = keys_of_sections.map(|(section, key)| format!("{section} {key}")).collect();
    let there: Vec<String> = keys().iter().map(|key| format!("{} {}", key.section, key.name)).collect();
    let once: BTreeSet<String> = there.iter().cloned().collect();
    assert_eq!(there.len(), once.len(), "a key stands there twice");
    let missing: Vec<_> = known.difference(&once).collect();
    let unknown: Vec<_> = once.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "packaging/floodgate.toml: missing: {missing:?}; there is no such key: {unknown:?}"
    );
}

#[test]
fn the_sample_is_right_and_filters_nothing() {
    let config = parse(SAMPLE).unwrap();
    assert_eq!(config.dataplane.backend, Backend::None);
    assert!(config.peers.is_empty());
}

#[test]
fn each_key_of_the_sample_can_be_taken_in_and_says_the_default_or_that_it_is_an_example() {
    let mut wrong = Vec::new();
    for key in keys().iter().filter(|key| key.is_comment) {
        let without = parse(&with(&key.section, "", ""));
        match parse(&with(&key.section, &key.name, &key.line)) {
            Err(error) => wrong.push(format!("{key:?}: {error}")),
            Ok(config) if !key.is_example && without.as_ref().ok() != Some(&config) => {
                wrong.push(format!("{key:?} is not the default: {:?}", without.err()));
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
