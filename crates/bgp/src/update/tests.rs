//! UPDATEs with each kind of error, and their results.

use super::*;
use crate::afi_safi::AfiSafi;
use crate::afi_safi::FamilySet;
use crate::attribute::LocalSpeaker;
use crate::attribute::RouteLoop;
use crate::message::{Notification, NotificationCode, UpdateSubcode};
use flowspec::{Disposition, Family, NlriErrorKind};
use std::net::Ipv4Addr;
use std::sync::Arc;

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
/// `dst 10.0.0.0/8`.
const RULE: &[u8] = &[3, 1, 8, 10];
const V4: AfiSafi = AfiSafi::Flow(Family::Ipv4);

fn reach(nlris: &[u8]) -> Vec<u8> {
    let mut attribute = vec![0x80, 14, nlris.len() as u8 + 5, 0, 1, 133, 0, 0];
    attribute.extend_from_slice(nlris);
    attribute
}

fn unreach(nlris: &[u8]) -> Vec<u8> {
    let mut attribute = vec![0x80, 15, nlris.len() as u8 + 3, 0, 1, 133];
    attribute.extend_from_slice(nlris);
    attribute
}

fn body(withdrawn: &[u8], attributes: &[&[u8]], nlris: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(withdrawn);
    body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    body.extend_from_slice(&attributes);
    body.extend_from_slice(nlris);
    body
}

const CONTEXT: Context = Context {
    four_octet_as: true,
    families: FamilySet::ALL,
    add_path: FamilySet::EMPTY,
    external: true,
    internal: false,
    refuse_confed: true,
};

const SPEAKER: LocalSpeaker =
    LocalSpeaker { local_as: 65001, router_as: None, allow_own_as: 0, router_id: Ipv4Addr::new(192, 0, 2, 99) };

fn decoded(body: &[u8]) -> Result<Decoded, (Notification, Vec<UpdateError>)> {
    decoded_as(body, &CONTEXT)
}

fn decoded_as(body: &[u8], context: &Context) -> Result<Decoded, (Notification, Vec<UpdateError>)> {
    decode(body, context, &SPEAKER, &mut AttributeCache::default()).map_err(|fault| *fault)
}

/// Announced, withdrawn and the names of the errors.
fn outcome(body: &[u8]) -> (usize, usize, Vec<&'static str>) {
    let update = decoded(body).unwrap().update;
    let announced = update.announced.iter().map(|group| group.routes.len()).sum();
    (announced, update.withdrawn.len(), update.errors.iter().map(|error| error.kind.name()).collect())
}

#[test]
fn a_right_one_has_no_errors() {
    let wanted = (2, 1, vec![]);
    let two = [RULE, &[3, 1, 8, 11]].concat();
    assert_eq!(outcome(&body(&[], &[&reach(&two), &unreach(RULE), ORIGIN, AS_PATH], &[])), wanted);
    assert_eq!(outcome(&body(&[0], &[ORIGIN, AS_PATH, NEXT_HOP], &[8, 10, 8, 11])), wanted);
}

#[test]
fn a_malformed_nlri_costs_only_itself() {
    let three = [RULE, &[3, 0x0e, 0x81, 1], &[0], &[3, 1, 8, 11]].concat();
    let update = decoded(&body(&[], &[ORIGIN, AS_PATH, &reach(&three)], &[])).unwrap().update;
    assert_eq!(update.announced[0].routes.len(), 2);
    assert!(update.withdrawn.is_empty());
    let places: Vec<usize> = update.errors.iter().map(|error| error.offset).collect();
    // Header 19, two lengths 4, ORIGIN 4, AS_PATH 9, MP_REACH_NLRI up to its NLRIs 8, the first
    // rule 4; then its length octet.
    let second = 19 + 4 + 4 + 9 + 8 + 4;
    assert_eq!(places, [second + 1, second + 5]);
    assert!(update.errors.iter().all(|error| error.disposition() == Disposition::DropNlri));
}

#[test]
fn attribute_errors_withdraw_the_routes_and_keep_the_session() {
    let table: [(&[u8], &str); 16] = [
        (&[0x40, 1, 0], "attribute-length"),
        (&[0x40, 1, 1, 7], "origin"),
        (&[0xc0, 1, 1, 0], "attribute-flags"),
        (&[0x40, 4, 4, 0, 0, 0, 0], "attribute-flags"),
        (&[0x80, 4, 3, 0, 0, 0], "attribute-length"),
        (&[0xc0, 8, 3, 0, 0, 0], "attribute-length"),
        (&[0xc0, 8, 0], "attribute-length"),
        (&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0], "community-length"),
        (&[0xc0, 16, 0], "community-length"),
        (&[0xc0, 16, 8, 0x80, 6, 0, 0, 0x7f, 0xc0, 0, 0], "rate-not-a-number"),
        (&[0xc0, 25, 8, 0, 0, 0, 0, 0, 0, 0, 0], "community-length"),
        (&[0xc0, 32, 4, 0, 0, 0, 0], "attribute-length"),
        (&[0x40, 2, 1, 2], "as-path"),
        (&[0x40, 2, 6, 3, 1, 0, 0, 0xfd, 0xea], "as-path"),
        (&[0x40, 2, 6, 2, 1, 0, 0, 0, 0], "as-path"),
        (&[0xc0, 8, 9, 0], "attributes-overrun"),
    ];
    for (bad, name) in table {
        let mut attributes = vec![reach(RULE), ORIGIN.to_vec(), AS_PATH.to_vec()];
        attributes.retain(|good| good[1] != bad[1]);
        attributes.push(bad.to_vec());
        let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
        assert_eq!(outcome(&body(&[], &attributes, &[])), (0, 1, vec![name]), "{bad:02x?}");
    }
    for missing in [&[ORIGIN, &reach(RULE)], &[AS_PATH, &reach(RULE)]] {
        assert_eq!(outcome(&body(&[], missing, &[])), (0, 1, vec!["missing-attribute"]));
    }
    assert_eq!(outcome(&body(&[], &[ORIGIN, AS_PATH], &[8, 10])), (0, 1, vec!["missing-attribute"]));
}

#[test]
fn a_route_that_came_back_is_announced_as_a_loop_and_is_no_error() {
    let own = &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xea, 0, 0, 0xfd, 0xe9][..];
    let update = decoded(&body(&[], &[ORIGIN, own, &reach(RULE)], &[])).unwrap().update;
    assert_eq!(update.announced[0].route_loop, Some(RouteLoop::OwnAs(65001)));
    assert!(update.errors.is_empty() && update.withdrawn.is_empty());
    let internal = Context { external: false, ..CONTEXT };
    for (attribute, found) in [
        (&[0x80, 9, 4, 192, 0, 2, 99], RouteLoop::Originator(SPEAKER.router_id)),
        (&[0x80, 10, 4, 192, 0, 2, 99], RouteLoop::Cluster(SPEAKER.router_id)),
    ] {
        let update = body(&[], &[ORIGIN, AS_PATH, attribute, &reach(RULE)], &[]);
        assert_eq!(outcome(&update), (1, 0, vec![]), "from an eBGP peer it means nothing");
        let of_internal = decoded_as(&update, &internal).unwrap().update;
        assert_eq!(of_internal.announced[0].route_loop, Some(found));
        assert_eq!(decoded(&update).unwrap().update.announced[0].route_loop, None);
    }
}

#[test]
fn an_ibgp_route_needs_local_pref() {
    let internal = Context { external: false, internal: true, ..CONTEXT };
    let with = body(&[], &[ORIGIN, AS_PATH, &[0x40, 5, 4, 0, 0, 0, 100], &reach(RULE)], &[]);
    assert_eq!(decoded_as(&with, &internal).unwrap().update.announced.len(), 1);
    let without = decoded_as(&body(&[], &[ORIGIN, AS_PATH, &reach(RULE)], &[]), &internal).unwrap().update;
    assert_eq!((without.announced.len(), without.withdrawn.len()), (0, 1));
    assert_eq!(without.errors[0].kind, UpdateErrorKind::Missing(5));
    let withdrawal = decoded_as(&body(&[], &[&unreach(RULE)], &[]), &internal).unwrap().update;
    assert!(withdrawal.errors.is_empty());
}

/// RFC 7606 §5.2: nothing is announced that could be withdrawn for the error.
#[test]
fn a_withdrawal_of_a_foreign_family_beside_a_broken_attribute_resets_the_session() {
    let foreign_unreach = [0x80, 15, 3, 0, 25, 65];
    let foreign_reach = [0x80, 14, 5, 0, 25, 65, 0, 0];
    let broken = [0x40, 1, 1, 7];
    let (notification, _) = decoded(&body(&[], &[&broken, &foreign_unreach], &[])).unwrap_err();
    assert_eq!(
        (notification.code, notification.data),
        (NotificationCode::UpdateMessage(UpdateSubcode::InvalidOrigin), broken.to_vec())
    );
    // Announced routes of a family that is not spoken here are treated as withdrawn, which takes
    // nothing.
    assert!(decoded(&body(&[], &[&broken, AS_PATH, &foreign_reach], &[])).is_ok());
    // An attribute that is only left out is no reason.
    assert!(decoded(&body(&[], &[&[0xc0, 7, 3, 0, 0, 0], &foreign_unreach], &[])).is_ok());
}

#[test]
fn notifications_carry_what_rfc_4271_asks_for() {
    let data = |attributes: &[&[u8]]| {
        let (notification, _) = decoded(&body(&[], attributes, &[])).unwrap_err();
        (notification.code, notification.data)
    };
    let table: [(&[u8], NotificationCode); 6] = [
        (&[0xc0, 1, 1, 0], NotificationCode::UpdateMessage(UpdateSubcode::AttributeFlags)),
        (&[0x40, 1, 2, 0, 0], NotificationCode::UpdateMessage(UpdateSubcode::AttributeLength)),
        (&[0x40, 1, 1, 7], NotificationCode::UpdateMessage(UpdateSubcode::InvalidOrigin)),
        (&[0x40, 3, 3, 1, 1, 1], NotificationCode::UpdateMessage(UpdateSubcode::InvalidNextHop)),
        (&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0], NotificationCode::UpdateMessage(UpdateSubcode::OptionalAttribute)),
        (&[0x90, 14, 0, 4, 0, 1, 133, 0], NotificationCode::UpdateMessage(UpdateSubcode::OptionalAttribute)),
    ];
    for (bad, kind) in table {
        assert_eq!(data(&[AS_PATH, bad]), (kind, bad.to_vec()));
    }
    // A malformed AS_PATH or attribute list has no data.
    assert_eq!(
        data(&[ORIGIN, &[0x40, 2, 1, 2]]),
        (NotificationCode::UpdateMessage(UpdateSubcode::MalformedAsPath), vec![])
    );
    assert_eq!(
        data(&[ORIGIN, &[0xc0, 8, 9, 0]]),
        (NotificationCode::UpdateMessage(UpdateSubcode::MalformedAttributeList), vec![])
    );
    // Missing: its type. Announced by an attribute without rules, so there is nothing to withdraw.
    assert_eq!(
        data(&[ORIGIN, &reach(&[])]),
        (NotificationCode::UpdateMessage(UpdateSubcode::MissingAttribute), vec![2])
    );
}

#[test]
fn an_as4_path_with_wrong_flags_is_left_out_and_costs_no_rule() {
    let path = &[0x40, 2, 6, 2, 2, 0xfd, 0xea, 0x5b, 0xa0][..];
    for kind in [17, 18] {
        for flags in [0x40, 0x80, 0x00] {
            let as4 = [flags, kind, 6, 2, 1, 0xfa, 0x56, 0xea, 0];
            let two = Context { four_octet_as: false, ..CONTEXT };
            let update = decoded_as(&body(&[], &[ORIGIN, path, &as4, &reach(RULE)], &[]), &two).unwrap().update;
            assert_eq!((update.announced.len(), update.errors.len()), (1, 1));
            assert_eq!(update.announced[0].attributes.as_path.to_string(), "65002 23456");
            let four = decoded(&body(&[], &[ORIGIN, AS_PATH, &as4, &reach(RULE)], &[])).unwrap().update;
            assert_eq!((four.announced.len(), four.errors.len()), (1, 0));
        }
    }
}

#[test]
fn errors_without_consequence_leave_the_attribute_out() {
    let table: [(&[u8], &str); 3] = [
        (&[0xc0, 7, 3, 0, 0, 0], "attribute-length"),
        (&[0xc0, 7, 8, 0, 0, 0, 0, 1, 1, 1, 1], "aggregator"),
        (&[0x40, 1, 1, 2], "repeated-attribute"),
    ];
    for (bad, name) in table {
        let update = decoded(&body(&[], &[&reach(RULE), ORIGIN, AS_PATH, bad], &[])).unwrap().update;
        assert_eq!(update.errors[0].kind.name(), name);
        assert_eq!((update.announced[0].attributes.aggregator, update.announced[0].attributes.origin as u8), (None, 0));
    }
    // LOCAL_PREF from an eBGP peer is discarded and is no error, however long.
    let update = decoded(&body(&[], &[&reach(RULE), ORIGIN, AS_PATH, &[0x40, 5, 1, 9]], &[])).unwrap().update;
    assert_eq!((update.announced[0].attributes.local_pref, update.errors.len()), (None, 0));
}

#[test]
fn lost_framing_disables_the_family_and_no_other() {
    for nlris in [&[RULE, &[9, 1]].concat()[..], &[RULE, &[0xf0]].concat()] {
        let legacy = body(&[], &[ORIGIN, AS_PATH, NEXT_HOP, &unreach(RULE), &reach(nlris)], &[8, 10]);
        let decoded = decoded(&legacy).unwrap();
        assert!(decoded.update.withdrawn.is_empty());
        assert_eq!(decoded.disabled.iter().collect::<Vec<_>>(), [V4]);
        assert_eq!(decoded.update.announced.len(), 1);
        assert_eq!(decoded.update.announced[0].family, AfiSafi::Ipv4Unicast);
        let UpdateErrorKind::Nlri { error, .. } = &decoded.update.errors[0].kind else { panic!() };
        assert!(matches!(error.kind, NlriErrorKind::Truncated { .. }));
    }
    // With a next hop longer than its attribute the boundaries of the NLRIs are lost.
    let hop = [0x80, 14, 9, 0, 1, 133, 200, 0, 3, 1, 8, 10];
    let decoded = decoded(&body(&[], &[ORIGIN, AS_PATH, &hop], &[])).unwrap();
    assert!(decoded.disabled.contains(V4) && decoded.update.announced.is_empty());
}

#[test]
fn the_next_hop_of_flowspec_is_ignored_whatever_its_length() {
    for family in [Family::Ipv4, Family::Ipv6] {
        for length in 0..=255u8 {
            let mut attribute = vec![0x90, 14];
            attribute.extend_from_slice(&(u16::from(length) + 9).to_be_bytes());
            attribute.extend_from_slice(&[0, family.afi() as u8, 133, length]);
            attribute.extend(std::iter::repeat_n(9, usize::from(length)));
            // `proto udp`, in both families the same octets.
            attribute.extend_from_slice(&[0, 3, 3, 0x81, 17]);
            let decoded = decoded(&body(&[], &[ORIGIN, AS_PATH, &attribute], &[])).unwrap();
            assert!(decoded.disabled.is_empty() && decoded.update.errors.is_empty(), "{length}: {decoded:?}");
            assert_eq!(decoded.update.announced[0].routes.len(), 1, "{length}");
            // Redirect to next hop needs an address; no other length is one.
            let is_address = matches!(length, 4 | 16 | 32);
            assert_eq!(decoded.update.announced[0].next_hop.is_some(), is_address, "{length}");
        }
    }
}

#[test]
fn what_ends_the_session() {
    let reset = |body: &[u8]| decoded(body).unwrap_err().0.code;
    let good = body(&[], &[ORIGIN, AS_PATH, &reach(RULE)], &[]);
    let mut lengths = good.clone();
    lengths[3] += 1;
    assert_eq!(reset(&lengths), NotificationCode::UpdateMessage(UpdateSubcode::MalformedAttributeList));
    let twice = body(&[], &[ORIGIN, AS_PATH, &reach(RULE), &reach(RULE)], &[]);
    assert_eq!(reset(&twice), NotificationCode::UpdateMessage(UpdateSubcode::MalformedAttributeList));
    let unknown = body(&[], &[ORIGIN, AS_PATH, &reach(RULE), &[0x40, 99, 1, 5]], &[]);
    let (notification, _) = decoded(&unknown).unwrap_err();
    assert_eq!(
        (notification.code, notification.data),
        (NotificationCode::UpdateMessage(UpdateSubcode::UnrecognizedAttribute), vec![0x40, 99, 1, 5])
    );
    let short = body(&[], &[ORIGIN, AS_PATH, &[0x80, 14, 4, 0, 1, 133, 0]], &[]);
    assert_eq!(reset(&short), NotificationCode::UpdateMessage(UpdateSubcode::OptionalAttribute));
    let prefix = body(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5]);
    assert_eq!(reset(&prefix), NotificationCode::UpdateMessage(UpdateSubcode::InvalidNetworkField));
    // An error, and no announced route in sight that could be withdrawn for it (RFC 7606 §5.2).
    let nothing = body(&[], &[&[0x40, 1, 1, 7], AS_PATH], &[]);
    assert_eq!(reset(&nothing), NotificationCode::UpdateMessage(UpdateSubcode::InvalidOrigin));
}

#[test]
fn end_of_rib_in_both_forms_and_nothing_like_it() {
    let of = |body: &[u8]| decoded(body).unwrap().end_of_rib;
    assert_eq!(of(&body(&[], &[&unreach(&[])], &[])), Some(V4));
    assert_eq!(of(&body(&[], &[], &[])), Some(AfiSafi::Ipv4Unicast));
    assert_eq!(of(&body(&[], &[&unreach(RULE)], &[])), None);
    assert_eq!(of(&body(&[8, 10], &[], &[])), None);
    assert_eq!(of(&body(&[], &[&unreach(&[]), ORIGIN, AS_PATH], &[])), None);
    let foreign = decoded(&body(&[], &[&[0x80, 15, 3, 0, 25, 65]], &[])).unwrap();
    assert_eq!((foreign.end_of_rib, foreign.update.errors[0].kind.name()), (None, "family-not-negotiated"));
}

#[test]
fn add_path_reads_the_identifier_before_the_length() {
    let add_path = [V4].into_iter().collect();
    let nlris = [&[0, 0, 0, 7], RULE].concat();
    let update = body(&[], &[ORIGIN, AS_PATH, &reach(&nlris)], &[]);
    let decoded = decoded_as(&update, &Context { add_path, ..CONTEXT }).unwrap();
    assert_eq!(decoded.update.announced[0].routes[0].path_id, Some(flowspec::PathId(7)));
}

#[test]
fn two_octet_sessions_merge_as4_path() {
    let context = Context { four_octet_as: false, ..CONTEXT };
    let path = &[0x40, 2, 6, 2, 2, 0xfd, 0xea, 0x5b, 0xa0][..];
    let as4 = &[0xc0, 17, 6, 2, 1, 0xfa, 0x56, 0xea, 0][..];
    let update = decoded_as(&body(&[], &[ORIGIN, path, as4, &reach(RULE)], &[]), &context).unwrap().update;
    assert_eq!(update.announced[0].attributes.as_path.to_string(), "65002 4200000000");
    let update =
        decoded_as(&body(&[], &[ORIGIN, path, &[0xc0, 17, 1, 2], &reach(RULE)], &[]), &context).unwrap().update;
    assert_eq!(update.errors[0].kind.name(), "as4-path");
    assert_eq!(update.announced[0].attributes.as_path.to_string(), "65002 23456");
}

#[test]
fn equal_attributes_are_shared_between_updates() {
    let mut cache = AttributeCache::default();
    let octets = body(&[], &[ORIGIN, AS_PATH, &reach(RULE)], &[]);
    let mut next = || decode(&octets, &CONTEXT, &SPEAKER, &mut cache).unwrap().update.announced.remove(0).attributes;
    assert!(Arc::ptr_eq(&next(), &next()));
}
