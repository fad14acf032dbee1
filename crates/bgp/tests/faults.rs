//! Peers that lie, and networks that damage what they carry.

mod pair;

use bgp::*;
use pair::*;
use proptest::prelude::*;
use std::time::Duration;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(message_type: MessageType, body: &[u8]) -> Vec<u8> {
    message_of_type(message_type.number(), body)
}

fn message_of_type(message_type: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xff; 16];
    octets.extend_from_slice(&(body.len() as u16 + 19).to_be_bytes());
    octets.push(message_type);
    octets.extend_from_slice(body);
    octets
}

/// The NOTIFICATION with which A answers `octets` in an established session.
fn answer(octets: &[u8]) -> Option<Notification> {
    let mut pair = Pair::established();
    pair.inject(A, octets);
    pair.run(secs(1));
    let answer = pair.last_notification(A);
    // The peer hears the same.
    assert_eq!(answer, pair.last_notification(B));
    answer
}

#[test]
fn each_wrong_open_gets_its_notification() {
    let mut marker = message(MessageType::Keepalive, &[]);
    marker[0] = 0;
    let mut open = Vec::new();
    let plain = Open { asn: 65002, hold_time: 90, router_id: [192, 0, 2, 2].into(), capabilities: vec![] };
    Message::Open(plain).encode_to(&mut open);
    let table = [
        (marker, NotificationCode::MessageHeader(HeaderSubcode::NotSynchronized)),
        (message(MessageType::Keepalive, &[0]), NotificationCode::MessageHeader(HeaderSubcode::BadLength)),
        (message_of_type(9, &[]), NotificationCode::MessageHeader(HeaderSubcode::BadType)),
        (
            message(MessageType::Update, &[0, 9, 0, 0]),
            NotificationCode::UpdateMessage(UpdateSubcode::MalformedAttributeList),
        ),
        (
            message(MessageType::RouteRefresh, &[0, 1, 0]),
            NotificationCode::RouteRefreshMessage(RouteRefreshSubcode::InvalidLength),
        ),
        (open, NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInEstablished)),
    ];
    for (octets, kind) in table {
        assert_eq!(answer(&octets).map(|notification| notification.code), Some(kind), "{octets:02x?}");
    }
    assert_eq!(answer(&message(MessageType::RouteRefresh, &[0, 1, 9, 133])), None, "an unknown subtype is ignored");
    assert_eq!(answer(&message(MessageType::RouteRefresh, &[0, 25, 0, 70])), None, "an unknown family is ignored");
}

#[test]
fn messages_before_their_time_are_errors_of_the_state_machine() {
    let now = std::time::Instant::now();
    let mut open = Vec::new();
    let plain = Open {
        asn: 65002,
        hold_time: 90,
        router_id: [192, 0, 2, 2].into(),
        capabilities: vec![Capability::Multiprotocol(V4.into())],
    };
    Message::Open(plain).encode_to(&mut open);
    let update = message(MessageType::Update, &[0; 4]);
    let keepalive = message(MessageType::Keepalive, &[]);
    for (stream, kind, unexpected) in [
        (
            keepalive.clone(),
            NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInOpenSent),
            MessageType::Keepalive,
        ),
        (update.clone(), NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInOpenSent), MessageType::Update),
        (
            message(MessageType::RouteRefresh, &[0, 1, 0, 133]),
            NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInOpenSent),
            MessageType::RouteRefresh,
        ),
        (
            [open.clone(), update].concat(),
            NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInOpenConfirm),
            MessageType::Update,
        ),
        (
            [open.clone(), open.clone()].concat(),
            NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInOpenConfirm),
            MessageType::Open,
        ),
        (
            [open.clone(), keepalive, open].concat(),
            NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInEstablished),
            MessageType::Open,
        ),
    ] {
        let mut session = Session::new(config(65001, 1));
        session.handle(Event::ManualStart, now);
        session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
        session.handle(Event::Received(ConnId(1), &stream), now);
        let mut found = None;
        while let Some(output) = session.poll() {
            match output {
                Output::Failed(DownReason::Sent(notification)) => found = Some(notification),
                Output::Down(down) => {
                    let DownReason::Sent(notification) = down.reason else { panic!() };
                    found = Some(notification);
                }
                _ => {}
            }
        }
        // RFC 6608 §3: the data is the type of the message.
        assert_eq!(found, Some(Notification::with_data(kind, &[unexpected.number()])));
        // Nobody knows who that was: only our own connecting waits.
        assert!(session.state() < State::OpenSent);
    }
}

#[test]
fn an_identifier_that_the_peer_refuses_is_reported_as_what_it_is() {
    let now = std::time::Instant::now();
    let refusal = Notification::new(OpenSubcode::BadIdentifier);
    let mut notification = Vec::new();
    Message::Notification(refusal.clone()).encode_to(&mut notification);
    let same = DownReason::SameIdentifier([192, 0, 2, 1].into());
    for (peer_as, told) in [(65001, same), (65002, DownReason::Received(refusal))] {
        let peer_as = PeerAs::Exactly(peer_as);
        let mut session = Session::new(PeerConfig { peer_as, ..config(65001, 1) });
        session.handle(Event::ManualStart, now);
        session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
        session.handle(Event::Received(ConnId(1), &notification), now);
        let failed = std::iter::from_fn(|| session.poll()).find_map(|output| match output {
            Output::Failed(reason) => Some(reason),
            _ => None,
        });
        assert!(told.is_configuration());
        assert_eq!(failed, Some(told));
    }
}

#[test]
fn a_refused_peer_receives_the_reason() {
    let refused = |a: PeerConfig, b: PeerConfig| {
        let mut pair = Pair::new(a, PeerConfig { passive: true, ..b });
        pair.start_both();
        pair.run(secs(1));
        assert!(!pair.both_up());
        pair.failures(A)[0].clone()
    };
    let kind = |reason: DownReason| reason.notification().map(|notification| notification.code);
    let picky = |peer_as| PeerConfig { peer_as: PeerAs::Exactly(peer_as), ..config(65001, 1) };
    assert_eq!(
        kind(refused(picky(65009), config(65002, 2))),
        Some(NotificationCode::OpenMessage(OpenSubcode::BadPeerAs))
    );
    let same = refused(config(65001, 1), config(65001, 1));
    assert_eq!(same.to_string(), "both have the id 192.0.2.1; in iBGP they must differ");
    assert!(same.is_configuration());
    let unicast = PeerConfig { families: [AfiSafi::Ipv4Unicast].into_iter().collect(), ..config(65002, 2) };
    assert_eq!(
        kind(refused(config(65001, 1), unicast)),
        Some(NotificationCode::OpenMessage(OpenSubcode::UnsupportedCapability))
    );
    let role = PeerConfig { role: Some(Role::Peer), ..config(65001, 1) };
    let customer = PeerConfig { role: Some(Role::Customer), ..config(65002, 2) };
    assert_eq!(kind(refused(role, customer)), Some(NotificationCode::OpenMessage(OpenSubcode::RoleMismatch)));
}

#[test]
fn lost_boundaries_restart_the_session_and_nothing_of_the_family_is_taken() {
    let mut pair = Pair::established();
    let reach = |nlris: &[u8]| {
        let mut attributes = vec![0x80, 14, nlris.len() as u8 + 5, 0, 1, 133, 0, 0];
        attributes.extend_from_slice(nlris);
        attributes.extend_from_slice(&[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea]);
        let mut body = vec![0, 0, 0, attributes.len() as u8];
        body.extend(attributes);
        message(MessageType::Update, &body)
    };
    pair.take(A);
    // A good NLRI, and one whose length goes beyond its attribute.
    pair.inject(A, &reach(&[3, 1, 8, 10, 9, 1]));
    let outputs = pair.take(A);
    let told = outputs.iter().filter_map(|output| match output {
        Output::Update(update) => Some((update.announced.len(), update.withdrawn.len(), update.errors.len())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(0, 0, 1)], "{outputs:?}");
    let reason = DownReason::Sent(Notification::new(UpdateSubcode::OptionalAttribute));
    let down = Down { reason, graceful: Vec::new() };
    assert!(outputs.contains(&Output::Down(Box::new(down))), "{outputs:?}");
    pair.run(secs(60));
    assert!(pair.both_up(), "it comes back");
}

#[test]
fn sessions_recover_from_any_damage() {
    for seed in 0..40u64 {
        let mut pair = Pair::established();
        let mut random = flowspec::testing::Seed::new(seed);
        pair.damage = Some(Box::new(move |_, octets| {
            if random.percent(25) && !octets.is_empty() {
                let place = random.below(octets.len() as u64) as usize;
                octets[place] ^= 1 << random.below(7);
            }
        }));
        pair.pieces = Some((1 + seed as usize % 9, Duration::ZERO));
        for number in 0..60 {
            // Refused while there is no session.
            let _ = pair.sessions[A].announce(rule(number), None, discard());
            let _ = pair.sessions[B].withdraw(rule(number));
            pair.flush();
            pair.run(secs(20));
        }
        pair.damage = None;
        // What was damaged may leave a longer hold time behind, or none; then the operator has to
        // step in.
        if !pair.both_up() || pair.sessions.iter().any(|s| s.negotiated().is_some_and(|n| n.hold_time != 90)) {
            pair.run(secs(400));
            pair.handle(A, Event::Reset(cease(CeaseSubcode::AdministrativeReset, "")));
            pair.run(secs(400));
        }
        assert!(pair.both_up(), "seed {seed}: {:?}", &pair.log);
        assert_eq!(pair.connections(A), pair.connections(B), "seed {seed}");
    }
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..200), phase in 0u8..3) {
        let now = std::time::Instant::now();
        let mut stream = Vec::new();
        if phase > 0 {
            let open = Open { asn: 65002, hold_time: 90, router_id: [192, 0, 2, 2].into(), capabilities: vec![
                Capability::Multiprotocol(V4.into())] };
            Message::Open(open).encode_to(&mut stream);
        }
        if phase > 1 {
            Message::Keepalive.encode_to(&mut stream);
        }
        let framed = (1..=5).map(|message_type| message_of_type(message_type, &octets));
        for last in framed.chain([octets.clone()]) {
            let mut session = Session::new(config(65001, 1));
            session.handle(Event::ManualStart, now);
            session.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
            session.handle(Event::Received(ConnId(1), &stream), now);
            prop_assert_eq!(session.state() as u8, State::OpenSent as u8 + phase);
            session.handle(Event::Received(ConnId(1), &last), now);
            while session.poll().is_some() {}
            while session.poll_transmit(now).is_some() {}
        }
    }

    #[test]
    fn no_update_makes_it_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..120),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        add_path in any::<bool>(),
    ) {
        let add_path = if add_path { FamilySet::ALL } else { FamilySet::EMPTY };
        for four_octet_as in [None, Some(true), Some(false)] {
            let _ = decode_update(&message(MessageType::Update, &octets), &DecodeOptions { four_octet_as, add_path });
        }
        // One bit away from a right one.
        let mut right = vec![0, 0, 0, 33, 0x80, 14, 15, 0, 1, 133, 0, 0, 9, 1, 32, 10, 0, 0, 1, 3, 0x81, 17,
            0x40, 1, 1, 0, 0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0];
        for (index, value) in flips {
            let at = index.index(right.len());
            right[at] = value;
        }
        let mut pair = Pair::established();
        pair.inject(A, &message(MessageType::Update, &right));
        pair.run(secs(1));
    }

    #[test]
    fn pieces_do_not_matter(cuts in proptest::collection::vec(1usize..40, 1..30)) {
        let mut stream = Vec::new();
        for _ in 0..5 {
            stream.extend(message(MessageType::Update, &[0; 4]));
            stream.extend(message(MessageType::Keepalive, &[]));
        }
        let mut pair = Pair::established();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pair.inject(A, piece);
            rest = after;
        }
        prop_assert_eq!(pair.sessions[A].statistics().received.updates, 5);
        prop_assert!(pair.both_up());
    }
}

/// The whole of the last message in the octets with which a session closes a connection.
fn last_message(final_octets: &[u8]) -> &[u8] {
    let mut rest = final_octets;
    loop {
        let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        if length == rest.len() {
            return rest;
        }
        rest = &rest[length..];
    }
}

/// RFC 8654 §4: no message over 4096 octets to a peer that did not say that it takes them, and
/// never a length that wraps.
#[test]
fn a_notification_is_no_longer_than_the_peer_takes() {
    let mut refresh = message(MessageType::RouteRefresh, &vec![0; 65535 - 19]);
    refresh[16..18].copy_from_slice(&65535u16.to_be_bytes());
    // The unknown attribute is the data of the NOTIFICATION.
    let mut attribute = vec![0x50, 99];
    attribute.extend_from_slice(&60_000u16.to_be_bytes());
    attribute.resize(60_004, 7);
    let mut body = vec![0, 0];
    body.extend_from_slice(&(attribute.len() as u16).to_be_bytes());
    body.extend_from_slice(&attribute);
    let update = message(MessageType::Update, &body);
    for (octets, most) in [(&refresh, 65535), (&update, 60_025)] {
        for takes_extended in [true, false] {
            let b = PeerConfig { extended_message: takes_extended, passive: true, ..config(65002, 2) };
            let mut pair = Pair::established_with(config(65001, 1), b);
            pair.inject(A, octets);
            let log = std::mem::take(&mut pair.log[A]);
            let closed = log.iter().find_map(|(_, output)| match output {
                Output::Close { final_octets, .. } => Some(final_octets),
                _ => None,
            });
            let notification = last_message(closed.expect("closed"));
            assert_eq!(notification.len(), if takes_extended { most } else { 4096 });
            assert_eq!(notification[18], MessageType::Notification.number());
        }
    }
}

#[test]
fn an_unassigned_refresh_subtype_is_reported_once_and_ignored_whatever_its_length() {
    let mut pair = Pair::established();
    for octets in [&[0, 1, 9, 133][..], &[0, 1, 9, 133, 1, 2, 3], &[0, 25, 77, 70]] {
        pair.inject(A, &message(MessageType::RouteRefresh, octets));
        pair.inject(A, &message(MessageType::RouteRefresh, octets));
    }
    assert!(pair.both_up());
    let told = |(_, output): &(Duration, Output)| match output {
        Output::UnknownRefresh(RouteRefresh { kind: RefreshKind::Other(subtype), .. }) => Some(*subtype),
        _ => None,
    };
    assert_eq!(pair.log[A].iter().filter_map(told).collect::<Vec<_>>(), [9, 77]);
    assert_eq!(
        answer(&message(MessageType::RouteRefresh, &[0, 1, 1, 133, 0])).map(|n| n.code),
        Some(NotificationCode::RouteRefreshMessage(RouteRefreshSubcode::InvalidLength))
    );
}

#[test]
fn a_malformed_update_comes_with_its_octets_and_a_right_one_without() {
    let mut pair = Pair::established();
    let update = |rule: &[u8]| {
        let mut attributes = vec![0x80, 14, rule.len() as u8 + 5, 0, 1, 133, 0, 0];
        attributes.extend_from_slice(rule);
        attributes.extend_from_slice(&[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea]);
        message(MessageType::Update, &[&[0, 0, 0, attributes.len() as u8], &attributes[..]].concat())
    };
    let (right, wrong) = (update(&[3, 1, 8, 10]), update(&[3, 0x0e, 0x81, 1]));
    pair.inject(A, &right);
    pair.inject(A, &wrong);
    let octets: Vec<_> = pair.updates(A).into_iter().map(|update| update.octets).collect();
    assert_eq!(octets, [vec![], wrong]);
}
