//! Throughput of receiving and sending: 100,000 rules through a session, without sockets. Each line
//! is one whole load.

use bgp::*;
use divan::counter::ItemsCount;
use flowspec::{Action, Comparison, ComponentType, Family, Nlri, NumericOp, Prefix, Rate};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    divan::main();
}

const RULES: u32 = 100_000;

fn rule(number: u32) -> RouteKey {
    let host = ipnet::Ipv4Net::new(Ipv4Addr::from(0x0a00_0000 + number), 32).expect("32 is a length");
    let equal = |value| [NumericOp::new(Comparison::Equal, value)];
    let nlri = Nlri::builder(Family::Ipv4)
        .prefix(ComponentType::Destination, Prefix::V4(host))
        .numeric(ComponentType::Protocol, &equal(17))
        .numeric(ComponentType::SourcePort, &equal(123));
    nlri.build().expect("a right rule").into()
}

fn pair() -> (Session, Session, Instant) {
    let now = Instant::now();
    let session = |asn, id| Session::new(PeerConfig::new(asn, Ipv4Addr::new(192, 0, 2, id), PeerAs::Any));
    let (mut a, mut b) = (session(65001, 1), session(65002, 2));
    a.handle(Event::ManualStart, now);
    b.handle(Event::ManualStart, now);
    a.handle(Event::Connected(ConnId(1), Direction::Outgoing), now);
    b.handle(Event::Connected(ConnId(1), Direction::Incoming), now);
    while let Some(sent) = a.poll_transmit(now) {
        b.handle(Event::Received(ConnId(1), &sent.octets), now);
        while let Some(sent) = b.poll_transmit(now) {
            a.handle(Event::Received(ConnId(1), &sent.octets), now);
        }
    }
    assert_eq!((a.state(), b.state()), (State::Established, State::Established));
    (a, b, now)
}

/// What A sends for all rules; `sets` different sets of attributes, in runs of `run` rules.
fn load(sets: u32, run: u32) -> Vec<u8> {
    let (mut a, _, now) = pair();
    let attributes: Vec<_> = (0..sets)
        .map(|set| Action::RateBytes { asn: 0, rate: Rate::new(set as f32).expect("a number") })
        .map(|action| Arc::new(PathAttributes::originate(&[action])))
        .collect();
    for number in 0..RULES {
        a.announce(rule(number), None, attributes[(number / run % sets) as usize].clone()).expect("established");
    }
    std::iter::from_fn(|| a.poll_transmit(now)).flat_map(|sent| sent.octets).collect()
}

fn receive(bencher: divan::Bencher<'_, '_>, octets: &[u8]) {
    let bencher = bencher.counter(ItemsCount::new(RULES));
    bencher.with_inputs(pair).bench_values(|(_, mut b, now)| {
        let mut rules = 0;
        for chunk in octets.chunks(64 * 1024) {
            b.handle(Event::Received(ConnId(1), chunk), now);
            while let Some(output) = b.poll() {
                if let Output::Update(update) = output {
                    rules += update.announced.iter().map(|group| group.routes.len()).sum::<usize>();
                }
            }
        }
        assert_eq!(rules, RULES as usize);
    });
}

/// As BIRD, GoBGP and ExaBGP send it: one rule an UPDATE.
#[divan::bench]
fn receive_one_rule_an_update(bencher: divan::Bencher<'_, '_>) {
    receive(bencher, &load(7, 1));
}

/// As many rules an UPDATE as fit.
#[divan::bench]
fn receive_packed(bencher: divan::Bencher<'_, '_>) {
    receive(bencher, &load(1, 1));
}

#[divan::bench]
fn send_packed(bencher: divan::Bencher<'_, '_>) {
    let attributes = Arc::new(PathAttributes::default());
    let rules: Vec<_> = (0..RULES).map(rule).collect();
    let bencher = bencher.counter(ItemsCount::new(RULES));
    bencher.with_inputs(|| (pair(), rules.clone())).bench_values(|((mut a, _, now), rules)| {
        for rule in rules {
            a.announce(rule, None, attributes.clone()).expect("established");
        }
        std::iter::from_fn(|| a.poll_transmit(now)).map(|sent| sent.octets.len()).sum::<usize>()
    });
}
