//! The JSON of the API has all that daemons of version 0.1.0 sent before names had types: `data/`
//! has their answers, and each is read and written again with the same fields and values. Fields
//! may come, and none may go. An answer with names that this version does not know is kept, too.

use api::{Done, Event, Explanation, PeerView, RuleState, RuleView, SampleView, StatusView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

fn same<T: Serialize + DeserializeOwned + Debug>(json: &str) -> T {
    let json = json.trim_end();
    let object: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let (sent, written) = (serde_json::from_str(json).unwrap(), serde_json::to_value(&object).unwrap());
    assert_kept("", &sent, &written);
    object
}

/// All that was sent is written again. A field that is new since then may be there, too.
fn assert_kept(at: &str, sent: &Value, written: &Value) {
    match (sent, written) {
        (Value::Object(sent), Value::Object(written)) => {
            for (key, value) in sent {
                let at = format!("{at}.{key}");
                assert_kept(&at, value, written.get(key).unwrap_or_else(|| panic!("{at} is gone")));
            }
        }
        (Value::Array(sent), Value::Array(written)) if sent.len() == written.len() => {
            for (index, (sent, written)) in sent.iter().zip(written).enumerate() {
                assert_kept(&format!("{at}[{index}]"), sent, written);
            }
        }
        _ => assert_eq!(sent, written, "{at} was sent otherwise"),
    }
}

#[test]
fn answers_are_written_as_they_were() {
    let status: StatusView = same(include_str!("data/status.json"));
    assert_eq!((status.rules_in(RuleState::Installed), status.rules_in(RuleState::Stale)), (3, 0));
    let peers: Vec<PeerView> = same(include_str!("data/peers.json"));
    assert_eq!(peers[0].state, api::SessionState::Active);
    let rules: Vec<RuleView> = include_str!("data/rules.json").lines().map(same).collect();
    assert_eq!(rules.iter().filter(|rule| rule.state == RuleState::Refused).count(), 1);
    let events: Vec<Event> = same(include_str!("data/history.json"));
    assert!(events.iter().all(|event| event.event.known().is_some()), "{events:?}");
    same::<Explanation>(include_str!("data/explain.json"));
    same::<Done>(include_str!("data/announce.json"));
}

#[test]
fn every_name_is_as_it_was() {
    let rule = |state: &str| include_str!("data/rules.json").lines().next().unwrap().replace("installed", state);
    for state in
        ["installed", "stale", "pending", "shadowed", "refused", "guarded", "infeasible", "over-capacity", "failed"]
    {
        assert!(same::<RuleView>(&rule(state)).state.known().is_some(), "{state}");
    }
    for state in ["idle", "connect", "active", "open-sent", "open-confirm", "established"] {
        let peers = include_str!("data/peers.json").replace("\"active\"", &format!("\"{state}\""));
        let peers = peers.replace("\"families\":[]", "\"families\":[\"ipv4-flow\",\"vpnv6-flow\",\"ipv6-unicast\"]");
        let peer = &same::<Vec<PeerView>>(&peers)[0];
        assert!(peer.state.known().is_some() && peer.families.iter().all(|family| family.known().is_some()), "{state}");
    }
    let status = include_str!("data/status.json");
    for (old, new) in [
        ("\"fallback\":null", "\"fallback\":{\"configured\":\"xdp\",\"reason\":\"no\"}"),
        ("\"attachments\":[]", "\"attachments\":[{\"interface\":\"eth0\",\"mode\":\"generic\",\"reason\":null}]"),
        ("\"mode\":\"enforce\"", "\"mode\":\"monitor\""),
        ("\"dataplane\":\"applied\"", "\"dataplane\":\"applying\""),
        ("\"backend\":\"nftables\"", "\"backend\":\"cumulus\""),
    ] {
        let status = status.replace(old, new);
        assert!(status.contains(new));
        same::<StatusView>(&status);
    }
    let sample = "{\"time\":\"\",\"rule\":null,\"interface\":\"eth0\",\"length\":60,\"octets\":\"00\"}";
    same::<SampleView>(sample);
}

/// What a newer daemon may send.
#[test]
fn unknown_names_are_kept() {
    let status = include_str!("data/status.json").replace("nftables", "p4").replace("enforce", "shape");
    let status =
        status.replace("\"installed\":3", "\"hidden\":2,\"installed\":3").replace("\"applied\",", "\"unsure\",");
    let status: StatusView = same(&status);
    assert_eq!((status.backend.known(), status.backend.name()), (None, "p4"));
    assert_eq!((status.mode.known(), status.dataplane.known()), (None, None));
    let event = "{\"number\":1,\"time\":\"2026-11-26T20:05:56.366Z\",\"event\":\"sunspot\",\"peer\":\"a\"}";
    assert_eq!(same::<Event>(event).event.to_string(), "sunspot");
    let peers = include_str!("data/peers.json").replace("\"active\"", "\"damped\"");
    assert_eq!(same::<Vec<PeerView>>(&peers)[0].state.name(), "damped");
}
