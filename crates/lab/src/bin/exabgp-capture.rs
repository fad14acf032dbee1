//! Records the JSON that a real ExaBGP sends to its processes, for `crates/exabgp/tests/data`, see
//! the README there.
//!
//! `exabgp-capture 4|5|6 DIRECTORY > LINES`; `FLOODGATE_EXABGP5` names another program to run as 5.
//! Version 6, not released yet, ends a session at its End-of-RIB: with it only what was announced
//! before that is recorded.

use std::env;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bgp::{PeerAs, PeerConfig};
use flowspec::text;
use lab::peers::{Exabgp, Family, PeerDaemon as _, Receiver, Session, Version};
use lab::{Netns, Speaker, wait_until};

const OURS: &str = "203.0.113.1:1179";
const THEIRS: &str = "203.0.113.2";
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [version, directory] = arguments.as_slice() else { bail!("usage: exabgp-capture 4|5|6 DIRECTORY") };
    let short = version == "6";
    let version = if version == "4" { Version::V4 } else { Version::V5 };
    let read = |name: &str| fs::read_to_string(Path::new(directory).join(name)).with_context(|| name.to_owned());
    print!("{}", capture(version, short, &read("rules.txt")?, &read("raw.txt")?)?);
    Ok(())
}

fn capture(version: Version, short: bool, rules: &str, raw: &str) -> Result<String> {
    let netns = Netns::new("capture")?;
    for address in ["203.0.113.1/24", "203.0.113.2/24"] {
        netns.ip(&["address", "add", address, "dev", "lo"])?;
    }
    let ours: SocketAddr = OURS.parse()?;
    let families = bgp::AfiSafi::ALL.into_iter().filter(|family| !matches!(family, bgp::AfiSafi::Ipv6Unicast));
    let config = PeerConfig {
        families: families.collect(),
        ..PeerConfig::new(65070, Ipv4Addr::new(203, 0, 113, 1), PeerAs::Exactly(65140))
    };
    let speaker = Speaker::listen(&netns, ours, config)?;

    let parsed: Vec<_> =
        rules.lines().filter_map(|line| text::parse_line(line).transpose()).collect::<Result<_, _>>()?;
    if short {
        speaker.announce(parsed.clone());
    }
    let scratch = tempfile::tempdir()?;
    let (script, output) = (scratch.path().join("receiver"), scratch.path().join("output"));
    // ExaBGP considers a process dead that closes standard output; sed keeps it open and prints
    // nothing.
    fs::write(&script, format!("#!/bin/sh\nexec sed -u -n 'w {}'\n", output.display()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    // ExaBGP may run it as another user.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o777))?;
    let session = Session::new(THEIRS.parse()?, 65140, ours.ip(), 65070).port(1179).families(&[
        Family::Ipv4Unicast,
        Family::Ipv4Flow,
        Family::Ipv6Flow,
        Family::Vpn4Flow,
        Family::Vpn6Flow,
    ]);
    let command = script.display().to_string();
    let receiver = Receiver { command: &command, octets: false };
    let mut exabgp = Exabgp::start_with_process(&netns, version, session, "", Some(receiver))?;
    speaker.wait_established(PATIENCE)?;
    let lines = || fs::read_to_string(&output).unwrap_or_default();
    let wait = |what: &str| {
        let there = wait_until(what, PATIENCE, || lines().contains(what).then_some(()));
        there.with_context(|| format!("of ExaBGP there is:\n{}", lines()))
    };

    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let anonymous = |lines: &str| lines.replace(&format!("\"{}\"", host.trim()), "\"switch\"");
    if short {
        wait("\"down\"")?;
        let lines = lines();
        let end = lines.find("\"down\"").and_then(|at| lines[at..].find('\n').map(|end| at + end + 1));
        return Ok(anonymous(&lines[..end.unwrap_or(lines.len())]));
    }
    for rule in &parsed {
        speaker.announce([rule.clone()]);
        // One message a rule, in the order of the file.
        thread::sleep(Duration::from_millis(20));
    }
    for line in raw.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = match line.strip_prefix("not-4 ") {
            Some(_) if version == Version::V4 => continue,
            stripped => stripped.unwrap_or(line),
        };
        speaker.send_raw(update(line)?);
        thread::sleep(Duration::from_millis(20));
    }
    speaker.withdraw(parsed.iter().map(|rule| rule.nlri.clone()));
    if let Err(error) = wait("\"eor\"") {
        let log = exabgp.process().map(|process| process.log()).unwrap_or_default();
        return Err(error.context(format!("{:?}\n{log}", speaker.status())));
    }
    thread::sleep(Duration::from_secs(2));
    eprintln!("{:?}", speaker.status());
    speaker.shutdown();
    wait("\"down\"")?;
    exabgp.stop()?;
    wait("\"shutdown\"")?;
    Ok(anonymous(&lines()))
}

/// The message for a line of raw.txt.
fn update(line: &str) -> Result<Vec<u8>> {
    let mut words = line.split(' ');
    let (kind, afi, safi) = (words.next(), words.next(), words.next());
    let (Some(kind), Some(afi), Some(safi)) = (kind, afi, safi) else { bail!("{line}") };
    let family = [0, afi.parse()?, safi.parse()?];
    // Blanks within a field are for readers: a field ends where its length octet says.
    let octets = hex(&words.collect::<String>())?;
    let mut rest = octets.as_slice();
    let mut field = |rules: usize| -> Result<Vec<u8>> {
        let mut field = Vec::new();
        for _ in 0..rules {
            let length = match (safi, rest) {
                ("1", [bits, ..]) => 1 + usize::from(bits.div_ceil(8)),
                (_, [high @ 0xf0..=0xff, low, ..]) => 2 + usize::from(u16::from_be_bytes([high & 0x0f, *low])),
                (_, [length, ..]) => 1 + usize::from(*length),
                _ => bail!("{line}"),
            };
            let (taken, after) = rest.split_at_checked(length).context("a field is cut off")?;
            field.extend_from_slice(taken);
            rest = after;
        }
        Ok(field)
    };
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1];
    attributes.extend(65070u32.to_be_bytes());
    let (mut reach, mut unreach) = (None, None);
    match kind {
        // All the NLRIs before the communities, which begin with 80 to 8f.
        "announce" => {
            let mut all = Vec::new();
            loop {
                all.extend(field(1)?);
                if all.len() == octets.len() || octets[all.len()] & 0xf0 == 0x80 {
                    break;
                }
            }
            reach = Some(all);
        }
        "withdraw" => unreach = Some(Vec::new()),
        "both" => (reach, unreach) = (Some(field(1)?), Some(field(1)?)),
        _ => bail!("{line}"),
    }
    let used = reach.as_ref().map_or(0, Vec::len) + unreach.as_ref().map_or(0, Vec::len);
    let mut add = |flags: u8, kind: u8, value: Vec<u8>| {
        attributes.extend([flags | 0x10, kind]);
        attributes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        attributes.extend(value);
    };
    if let Some(field) = reach {
        let next_hop: &[u8] = if safi == "1" { &[4, 203, 0, 113, 1] } else { &[0] };
        add(0x80, 14, [&family[..], next_hop, &[0], &field].concat());
    }
    if let Some(field) = unreach {
        add(0x80, 15, [&family[..], &field].concat());
    }
    if octets.len() > used {
        add(0xc0, 16, octets[used..].to_vec());
    }
    let length = u16::try_from(23 + attributes.len())?;
    let lengths = [&length.to_be_bytes()[..], &[2, 0, 0], &u16::try_from(attributes.len())?.to_be_bytes()].concat();
    Ok([&[0xff; 16][..], &lengths, &attributes].concat())
}

fn hex(digits: &str) -> Result<Vec<u8>> {
    flowspec::hex::decode(digits).with_context(|| format!("not hex: {digits}"))
}
