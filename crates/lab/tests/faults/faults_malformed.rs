//! Messages that crashed other implementations, or made them drop everything, each from a live
//! peer: its session stays established, or is restarted once if the framing is lost; its valid
//! rules and those of other peers stay.

use api::{RuleState, SessionState};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bgp::{DecodeOptions, decode_update};
use flowspec::Disposition;
use lab::site::PEER;
use lab::{Daemon, Site, Speaker, needs, wait_until};

use crate::{CONTROLLER_AS, NTP, PATIENCE, SWITCH_AS, attack, configuration, controller, speaker, update, whole};

struct Vector {
    name: String,
    update: Vec<u8>,
    /// The boundaries of the rules are lost: what follows in this family cannot be understood (RFC
    /// 7606 §5.3).
    disables: bool,
}

/// The octets of each vector as a whole UPDATE.
fn vectors() -> Result<Vec<Vector>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flowspec/tests/data/cve.json");
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut vectors = Vec::new();
    for vector in json.as_array().context("a list")? {
        let text = |key: &str| vector[key].as_str().with_context(|| format!("{key} of {vector}"));
        let octets = unhex(text("hex")?)?;
        let update = match text("kind")? {
            "update" => octets,
            "nlri-v4" => update(1, &octets),
            "nlri-v6" => update(2, &octets),
            "extcomm" => with_community(&octets),
            other => anyhow::bail!("a vector of kind {other}"),
        };
        let decoded = decode_update(&update, &DecodeOptions { four_octet_as: Some(true), ..DecodeOptions::default() });
        let decoded = decoded.map_err(|error| anyhow::anyhow!("{}: {error}", vector["name"]))?;
        let disables = decoded.disposition() == Some(Disposition::DisableFamily);
        vectors.push(Vector { name: text("name")?.to_owned(), update, disables });
    }
    Ok(vectors)
}

/// A rule for a host that no other vector names, with this community as its action.
fn with_community(community: &[u8]) -> Vec<u8> {
    let kind = if community.len() == 8 { 16 } else { 25 };
    let length = u8::try_from(community.len()).unwrap();
    let head = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100];
    let reach = [0x80, 14, 11, 0, 1, 133, 0, 0, 5, 1, 24, 10, 99, 99];
    whole(&[&head[..], &[0xc0, kind, length], community, &reach].concat())
}

fn unhex(hex: &str) -> Result<Vec<u8>> {
    flowspec::hex::decode(hex).with_context(|| format!("not hex: {hex}"))
}

/// The address of the peer that sends vector `index`.
fn address(index: usize) -> String {
    format!("203.0.113.{}", 100 + index)
}

/// Its good rules: one from before, one from after the vector, and one of the other family.
fn good(index: usize) -> [String; 3] {
    [
        format!("dst 10.50.{index}.1/32 proto udp sport 123 then discard"),
        format!("dst 10.50.{index}.2/32 proto udp sport 123 then discard"),
        format!("dst 2001:db8:50::{index}/128 proto udp sport 123 then discard"),
    ]
}

#[test]
fn faults_what_broke_others_from_live_peers() -> Result<()> {
    needs!(root, "nft");
    let vectors = vectors()?;
    ensure!(vectors.len() >= 49, "{} vectors", vectors.len());
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let names: Vec<(String, String)> =
        (0..vectors.len()).map(|index| (format!("peer-{index}"), address(index))).collect();
    let mut peers = vec![("neighbour", PEER, CONTROLLER_AS, "")];
    for (name, address) in &names {
        site.peers.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        peers.push((name, address, SWITCH_AS, ""));
    }
    let daemon = Daemon::start(&site.switch, &configuration(&peers))?;
    let neighbour = controller(&site)?;
    neighbour.announce_text(NTP)?;
    let speakers: Vec<Speaker> =
        (0..vectors.len()).map(|index| speaker(&site, &address(index), SWITCH_AS, 90)).collect::<Result<_>>()?;
    for (index, speaker) in speakers.iter().enumerate() {
        speaker.wait_established(PATIENCE)?;
        speaker.announce_text(&good(index)[0])?;
        speaker.announce_text(&good(index)[2])?;
    }
    let count = speakers.len();
    daemon.wait_rules("the rules before", PATIENCE, |rules| rules.len() == 1 + 2 * count)?;
    for (index, (speaker, vector)) in speakers.iter().zip(&vectors).enumerate() {
        speaker.send_raw(vector.update.clone());
        speaker.announce_text(&good(index)[1])?;
    }

    // Where boundaries are lost the session is restarted, and its speaker announces again what is
    // good.
    for (index, vector) in vectors.iter().enumerate() {
        for rule in good(index) {
            let id = rule.parse::<flowspec::Rule>().map_err(|error| anyhow::anyhow!("{error}"))?.nlri.id().to_string();
            let settled = || {
                let rules = daemon.rules().ok()?;
                let restarted = !vector.disables || daemon.peer(&names[index].0).ok()?.framing_resets == 1;
                (restarted && rules.iter().any(|rule| rule.id == id && rule.state == RuleState::Installed))
                    .then_some(())
            };
            wait_until("the rule", PATIENCE, settled)
                .with_context(|| format!("{}: {rule} should be there", vector.name))
                .with_context(|| daemon.explain())?;
        }
    }
    for ((name, _), (speaker, vector)) in names.iter().zip(speakers.iter().zip(&vectors)) {
        let (peer, status) = (daemon.peer(name)?, speaker.status());
        let sessions = if vector.disables { 2 } else { 1 };
        ensure!(
            peer.state == SessionState::Established && peer.established_count == sessions,
            "{}: {peer:?}",
            vector.name
        );
        ensure!(status.established && u64::from(status.sessions) == sessions, "{}: {status:?}", vector.name);
    }
    ensure!(vectors.iter().any(|vector| vector.disables), "no vector loses the boundaries");
    ensure!(neighbour.status().sessions == 1, "{:?}", neighbour.status());
    ensure!(!wire.passes(&attack())?, "the neighbour's rule is not enforced any more");
    let malformed: u64 = daemon.peers()?.iter().flat_map(|peer| peer.malformed.values()).sum();
    ensure!(malformed >= 15, "only {malformed} malformed things were reported");
    Ok(())
}
