//! Blackholes as different senders encode them, from the octets to the rule.

use super::*;
use crate::convert;
use bgp::{Announced, DecodeOptions, Destination, decode_update};
use engine::capability::Capabilities;
use engine::protection::Protection;
use engine::{Engine, EngineConfig, PeerConfig, PeerId, Timestamp};
use flowspec::Disposition;
use std::path::Path;

const PEER: PeerId = PeerId(1);

/// An UPDATE of these octets, in hex with blanks.
fn message(body: &str) -> Vec<u8> {
    let body = flowspec::hex::decode(&body.replace(' ', "")).unwrap();
    let length = (19 + body.len()) as u16;
    [vec![0xff; 16], length.to_be_bytes().to_vec(), vec![2], body].concat()
}

fn configured(peer: &str) -> (Config, Engine) {
    let text = format!(
        "[router]\nas = 65140\nid = \"192.0.2.10\"\n[[peer]]\nname = \"sender\"\naddress = \"192.0.2.1\"\nas = 65070\n\
         families = [\"ipv4\", \"ipv4-unicast\", \"ipv6-unicast\"]\n{peer}\n"
    );
    let config = Config::parse(&text, Path::new("test")).unwrap();
    let policy = import_policy(&config, &config.peers[0], false, &BTreeSet::new());
    let peer = PeerConfig { address: Some([192, 0, 2, 1].into()), external: false, policy: Some(policy) };
    let engine = Engine::new(EngineConfig {
        capabilities: Capabilities::everything("none"),
        protection: Protection::default(),
        peers: [(PEER, peer)].into_iter().collect(),
        monitor: false,
    });
    (config, engine)
}

const ALLOWED: &str = "[peer.allow]\ndestinations = [\"198.51.100.0/24\", \"2001:db8:100::/40\"]\n";

/// The rules that result from an UPDATE with this peer's configuration.
fn rules(peer: &str, body: &str) -> Vec<String> {
    let (_, mut engine) = configured(&format!("{ALLOWED}{peer}"));
    let update = decode_update(&message(body), &DecodeOptions::default()).unwrap();
    assert_eq!(update.errors, [], "{body}");
    for nlri in update.nlris {
        let Ok(Destination::Unicast(net)) = nlri.destination else { panic!("{body}") };
        let group = Announced {
            family: nlri.family,
            next_hop: nlri.next_hop,
            attributes: Arc::new(update.attributes.clone()),
            route_loop: None,
            routes: Vec::new(),
        };
        let route = convert::route(&group).unwrap();
        engine.announce_unicast(PEER, net, nlri.path_id, route, Timestamp(0));
    }
    let _ = engine.next_transaction();
    engine.applied(&Default::default());
    engine.rules().map(|rule| format!("{} {}", rule.state().name(), rule.rule())).collect()
}

/// ORIGIN, an empty AS_PATH, NEXT_HOP 192.0.2.1, LOCAL_PREF 100.
const BEGIN: &str = "40010100 400200 400304c0000201 40050400000064";
const HOST: &str = "installed dst 198.51.100.66/32 then discard";

#[test]
fn each_sender_is_understood_from_its_octets() {
    // ExaBGP 4.2: BLACKHOLE and NO_EXPORT; sFlow-RT with its default next hop looks the same.
    let exabgp = format!("0000 0020 {BEGIN} c00808ffff029affffff01 20c6336442");
    assert_eq!(rules("[peer.blackhole]\n", &exabgp), [HOST]);
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"next-hop 192.0.2.1\"]\n", &exabgp), [HOST]);
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"65070:666\"]\n", &exabgp), [] as [&str; 0]);
    assert_eq!(rules("", &exabgp), [] as [&str; 0], "not asked for");
    // FastNetMon: AS:666, and for a whole network another community; only the community tells.
    let fastnetmon = format!("0000 001c {BEGIN} c00804fe2e029a 20c6336442");
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"65070:666\"]\n", &fastnetmon), [HOST]);
    assert_eq!(rules("[peer.blackhole]\n", &fastnetmon), [] as [&str; 0]);
    let network = format!("0000 001c {BEGIN} c00804fe2e0309 18c63364");
    let whole = "[peer.blackhole]\ndestination = [\"65070:777\"]\nshortest-prefix-v4 = 24\n";
    assert_eq!(rules(whole, &network), ["installed dst 198.51.100.0/24 then discard"]);
    let hosts = "[peer.blackhole]\ndestination = [\"65070:777\"]\n";
    assert_eq!(rules(hosts, &network), ["guarded dst 198.51.100.0/24 then discard"]);
    // ExaFS: a large community; an extended one.
    let large = format!("0000 0024 {BEGIN} c0200c0000fe2e0000029a00000000 20c6336442");
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"65070:666:0\"]\n", &large), [HOST]);
    let extended = format!("0000 0020 {BEGIN} c010080002fe2e0000029a 20c6336442");
    let marked = rules("[peer.blackhole]\ndestination = [\"target:65070:666\"]\n", &extended);
    assert_eq!(marked, [format!("{HOST} community 0002fe2e0000029a")]);
    // An exchange point: BLACKHOLE among others, next hop rewritten, AS_PATH of the member.
    let exchange =
        "0000 002a 40010100 40020602010000fe2e 400304c0000242 40050400000064 c0080cfe2e0001ffff029affffff01 20c6336442";
    assert_eq!(rules("[peer.blackhole]\n", exchange), [HOST]);
}

#[test]
fn ipv6_comes_in_the_multiprotocol_attribute_with_a_discard_next_hop() {
    let v6 = "0000 0046 40010100 400200 40050400000064 800e26 000201 10 01000000000000000000000000000001 00 \
              80 20010db8010000000000000000000042 c0200c0000fe2e0000029a00000000";
    let expected = ["installed dst 2001:db8:100::42/128 then discard"];
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"65070:666:0\"]\n", v6), expected);
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"next-hop 100::/64\"]\n", v6), expected);
    assert_eq!(rules("[peer.blackhole]\ndestination = [\"next-hop 100:0:0:1::/64\"]\n", v6), [] as [&str; 0]);
}

#[test]
fn a_malformed_communities_attribute_is_a_withdrawal() {
    for communities in ["c00803ffff02", "c00800", "c00805ffff029aff"] {
        let attributes = format!("{BEGIN} {communities}");
        let length = flowspec::hex::decode(&attributes.replace(' ', "")).unwrap().len();
        let update =
            decode_update(&message(&format!("0000 {length:04x} {attributes} 20c6336442")), &DecodeOptions::default());
        assert_eq!(update.unwrap().disposition(), Some(Disposition::TreatAsWithdraw), "{communities}");
    }
}

#[test]
fn a_question_about_policy_is_answered_from_the_file() {
    use crate::policy_trace::explain_policy;
    let (config, _) = configured(&format!(
        "{ALLOWED}[peer.blackhole]\n[[policy]]\nname = \"customers\"\npeers = [\"other-*\", \"send*\"]\n\
         [[policy.statement]]\npeers = [\"nobody-*\"]\nthen = \"reject\"\n\
         [[policy.statement]]\nfamilies = [\"ipv4-unicast\"]\ndiscard-becomes = \"10mbps\"\n\
         [[policy.statement]]\ncommunities = [\"65070:1\"]\nthen = \"reject\"\nreason = \"tagged\"\n"
    ));
    let ask = |rule: &str, communities: &[&str]| {
        let question = api::PolicyQuestion {
            peer: "sender".to_owned(),
            rule: rule.to_owned(),
            communities: communities.iter().map(|text| (*text).to_owned()).collect(),
            ..Default::default()
        };
        explain_policy(&config, &BTreeSet::new(), &question, None)
    };
    let filter = ask("dst 198.51.100.1/32 then discard", &["65070:1"]).unwrap();
    let steps: Vec<_> = filter.rules[0].steps.iter().map(|step| (step.statement, step.does)).collect();
    assert_eq!(steps, [(2, api::StatementResult::Unmatched), (3, api::StatementResult::Reject)]);
    assert_eq!(filter.rules[0].reason.as_deref(), Some("statement 3 of `customers` rejects it: tagged"));
    let blackhole = ask("198.51.100.1/32", &["blackhole"]).unwrap();
    assert_eq!(blackhole.rules[0].rule, "dst 198.51.100.1/32 then discard");
    assert_eq!(blackhole.rules[0].result.as_deref(), Some("dst 198.51.100.1/32 then rate 10mbps"));
    assert!(ask("198.51.100.1/32", &[]).unwrap().rules.is_empty());
    assert!(ask("198.51.100.1/32", &["blackholes"]).unwrap_err().to_string().contains("not a community"));
    assert!(ask("dst", &[]).is_err());
}
