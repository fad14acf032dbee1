//! UPDATEs as real speakers send them, and as attackers did: what a session makes of each.
//!
//! Read from the data of `flowspec`, and from `../shared/vectors` beside the workspace where that
//! folder is.

mod pair;

use bgp::*;
use flowspec::Disposition;
use pair::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Vector {
    name: String,
    octets: Vec<u8>,
    valid: bool,
}

fn read(path: &Path) -> Vec<Vector> {
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let updates = json.as_array().unwrap().iter().filter(|v| v["kind"] == "update");
    let vector = |v: &serde_json::Value| Vector {
        name: v["name"].as_str().unwrap().to_owned(),
        octets: unhex(v["hex"].as_str().unwrap()),
        valid: v["valid"].as_bool().unwrap(),
    };
    updates.map(vector).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    flowspec::hex::decode(hex).unwrap_or_else(|| panic!("{hex}"))
}

fn all_families(asn: u32, id: u8) -> PeerConfig {
    PeerConfig { families: FamilySet::ALL, ..config(asn, id) }
}

/// What a session that is given `octets` tells, and whether it is still up.
fn receive(octets: &[u8]) -> (Vec<Output>, bool) {
    let mut pair = Pair::established_with(all_families(65534, 1), all_families(65533, 2));
    pair.take(A);
    pair.inject(A, octets);
    let up = pair.sessions[A].state() == State::Established;
    (pair.take(A), up)
}

fn check(path: &Path) -> usize {
    let vectors = read(path);
    for Vector { name, octets, valid } in &vectors {
        let shown = decode_update(octets, &DecodeOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shown.errors.is_empty(), *valid, "{name}: {:?}", shown.errors);
        if !shown.four_octet_as {
            continue;
        }
        let (outputs, up) = receive(octets);
        // Where boundaries are lost there is nothing else to do.
        let lost = shown.disposition() == Some(Disposition::DisableFamily);
        assert_eq!(up, !lost, "{name}: {outputs:?}");
        let (mut announced, mut errors, mut end_of_rib) = (Vec::new(), 0, None);
        for output in outputs {
            match output {
                Output::Update(update) => {
                    announced = update.announced;
                    errors = update.errors.len();
                }
                Output::EndOfRib(family) => end_of_rib = Some(family),
                Output::Close { .. } | Output::Down(_) | Output::NextTry(_) | Output::State(State::Active) if lost => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!((errors == 0, end_of_rib), (*valid, shown.end_of_rib), "{name}");
        let good = shown.nlris.iter().filter(|nlri| nlri.announced && nlri.destination.is_ok()).count();
        if *valid {
            assert_eq!(announced.iter().map(|group| group.routes.len()).sum::<usize>(), good, "{name}");
        }
        for group in announced {
            resend(name, &group);
        }
    }
    vectors.len()
}

/// What was received and is sent on arrives as the same.
fn resend(name: &str, group: &Announced) {
    let mut pair = Pair::established_with(all_families(65534, 1), all_families(65533, 2));
    for route in &group.routes {
        pair.sessions[A].announce(route.clone(), group.next_hop, group.attributes.clone()).unwrap();
    }
    pair.flush();
    pair.run(Duration::from_secs(1));
    let updates = pair.updates(B);
    assert_eq!(updates.len(), 1, "{name}");
    let arrived = &updates[0].announced[0];
    assert_eq!((&arrived.routes, arrived.next_hop), (&group.routes, group.next_hop), "{name}");
    let mut wanted = (*group.attributes).clone();
    wanted.as_path.prepend(65534);
    wanted.local_pref = None;
    wanted.originator_id = None;
    wanted.cluster_list.clear();
    wanted.unknown.retain(|raw| raw.flags & 0x40 != 0);
    wanted.unknown.iter_mut().for_each(|raw| raw.flags |= 0x20);
    assert_eq!(*arrived.attributes, wanted, "{name}");
}

fn flowspec_data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../flowspec/tests/data").join(file)
}

#[test]
fn what_real_speakers_send() {
    assert_eq!(check(&flowspec_data("live.json")), 41);
}

#[test]
fn what_broke_others_breaks_no_session() {
    assert_eq!(check(&flowspec_data("cve.json")), 6);
}

#[test]
fn what_other_projects_test_with() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/exabgp.json");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let vectors = read(&path);
    for Vector { name, octets, valid } in &vectors {
        let shown = decode_update(octets, &DecodeOptions::default());
        assert_eq!(shown.as_ref().is_ok_and(|update| update.errors.is_empty()), *valid, "{name}: {shown:?}");
    }
    assert!(vectors.len() >= 46);
}
