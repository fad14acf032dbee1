//! The nftables back end in the kernel, in network namespaces of its own.

use dataplane::nftables::{Nftables, Options};
use dataplane::{Applied, Dataplane, Health, RuleFailure};
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::space::Space;
use flowspec::{Comparison, ComponentType, Effect, Family, Nlri, NumericOp, Policing, Prefix};
use lab::{End, Netns, PacketSocket, needs, packet, veth};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const DISCARD: Effect = Effect { policing: Policing::Discard, ..Effect::ACCEPT };

/// `dst A/32 proto udp sport P`.
fn reflection(host: [u8; 4], port: u16) -> Nlri {
    let equal = |value| NumericOp::new(Comparison::Equal, value);
    Nlri::builder(Family::Ipv4)
        .prefix(ComponentType::Destination, Prefix::V4(ipnet::Ipv4Net::new(host.into(), 32).unwrap()))
        .numeric(ComponentType::Protocol, &[equal(17)])
        .numeric(ComponentType::SourcePort, &[equal(port.into())])
        .build()
        .unwrap()
}

fn compiled(nlri: Nlri, effect: Effect) -> Arc<CompiledRule> {
    let entries = vec![Space::of(&nlri)];
    Arc::new(CompiledRule { id: nlri.id(), nlri: Arc::new(nlri), effect, entries })
}

fn ruleset(rules: impl IntoIterator<Item = Arc<CompiledRule>>) -> Ruleset {
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

/// An attacker, and a victim that filters.
struct Pair {
    attacker: Netns,
    victim: Netns,
    /// The victim's, on port 9.
    receiver: UdpSocket,
}

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let (attacker, victim) = (Netns::new("nft-a")?, Netns::new("nft-v")?);
        veth(End::new(&attacker, "a0", &["10.0.0.1/24"]), End::new(&victim, "v0", &["10.0.0.2/24"]))?;
        let receiver = victim.run(|| UdpSocket::bind("10.0.0.2:9"))?;
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Pair { attacker, victim, receiver })
    }

    fn dataplane(&self) -> anyhow::Result<Nftables> {
        Ok(self.victim.run(|| Nftables::open(Options::default()))?)
    }

    /// Packets from a port that come to the victim's socket.
    fn arrive(&self, source_port: u16, count: usize) -> anyhow::Result<usize> {
        let receiver = &self.receiver;
        let sender = PacketSocket::open(&self.attacker, "a0")?;
        let from: SocketAddr = format!("10.0.0.1:{source_port}").parse()?;
        let datagram = packet::udp(from, "10.0.0.2:9".parse()?, b"hello");
        let frame = packet::ethernet(self.attacker.mac("a0")?, self.victim.mac("v0")?, &datagram);
        for _ in 0..count {
            sender.send(&frame)?;
        }
        Ok((0..count).take_while(|_| receiver.recv(&mut [0; 64]).is_ok()).count())
    }
}

#[test]
fn one_rule_drops_its_packets_and_no_others() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut nft = pair.dataplane()?;
    assert_eq!(pair.arrive(123, 3)?, 3, "before the rule");
    nft.replace(&ruleset([compiled(reflection([10, 0, 0, 2], 123), DISCARD)]))?;
    println!("{}", pair.victim.exec("nft", &["list", "ruleset"])?);
    assert_eq!(pair.arrive(123, 3)?, 0, "with the rule");
    assert_eq!(pair.arrive(124, 3)?, 3, "another port");
    assert_eq!(nft.health()?, Health::Intact);
    let counters = nft.counters()?;
    assert_eq!(counters.len(), 1);
    assert_eq!((counters[0].1.packets, counters[0].1.bytes, counters[0].1.dropped_packets), (3, 99, Some(3)));
    nft.update(&Plan { remove: vec![counters[0].0.clone()], ..Plan::default() })?;
    assert_eq!(pair.arrive(123, 3)?, 3, "after the withdraw");
    println!("{}", pair.victim.exec("nft", &["list", "ruleset"])?);
    nft.clear()?;
    assert_eq!(pair.victim.exec("nft", &["list", "ruleset"])?, "");
    Ok(())
}

/// UDP with the port on either side, from this source or to this destination.
fn session(kind: ComponentType, host: [u8; 4], port: u16) -> Space {
    let equal = |value| NumericOp::new(Comparison::Equal, value);
    let nlri = Nlri::builder(Family::Ipv4)
        .prefix(kind, Prefix::V4(ipnet::Ipv4Net::new(host.into(), 32).unwrap()))
        .numeric(ComponentType::Protocol, &[equal(17)])
        .numeric(ComponentType::Port, &[equal(port.into())]);
    Space::of(&nlri.build().unwrap())
}

#[test]
fn what_is_protected_passes_whatever_the_rules_are() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut nft = pair.dataplane()?;
    let everything = || {
        let from = Prefix::V4(ipnet::Ipv4Net::new([0, 0, 0, 0].into(), 0).unwrap());
        compiled(Nlri::builder(Family::Ipv4).prefix(ComponentType::Source, from).build().unwrap(), DISCARD)
    };
    let all_udp_to_us = || {
        let to = Prefix::V4(ipnet::Ipv4Net::new([10, 0, 0, 2].into(), 32).unwrap());
        let builder = Nlri::builder(Family::Ipv4).prefix(ComponentType::Destination, to);
        let udp = [NumericOp::new(Comparison::Equal, 17)];
        compiled(builder.numeric(ComponentType::Protocol, &udp).build().unwrap(), DISCARD)
    };
    // As few as are compared one by one, and as many as are looked up; by source, by destination,
    // by neither.
    let sources = |count: u8| (1..=count).map(|host| session(ComponentType::Source, [10, 0, 0, host], 179)).collect();
    let destination = vec![session(ComponentType::Destination, [10, 0, 0, 2], 179)];
    let from = |network: [u8; 4], length| {
        let net = ipnet::Ipv4Net::new(network.into(), length).unwrap();
        let equal = |value| NumericOp::new(Comparison::Equal, value);
        let builder = Nlri::builder(Family::Ipv4).prefix(ComponentType::Source, Prefix::V4(net));
        Space::of(&builder.numeric(ComponentType::SourcePort, &[equal(179)]).build().unwrap())
    };
    let prefix = vec![from([10, 0, 0, 0], 24)];
    // Networks of several lengths, some of which are looked up.
    let prefixes =
        (0..20).map(|n| from([10, 0, n, 0], 24)).chain([from([10, 0, 0, 0], 8), from([11, 0, 0, 0], 8)]).collect();
    let port =
        Nlri::builder(Family::Ipv4).numeric(ComponentType::SourcePort, &[NumericOp::new(Comparison::Equal, 179)]);
    let neither = vec![Space::of(&port.build().unwrap())];
    for protected in [sources(1), sources(20), destination, prefix, prefixes, neither] {
        let protected = Arc::new(protected);
        for rule in [everything(), all_udp_to_us()] {
            let mut rules = ruleset([rule.clone()]);
            rules.protected = protected.clone();
            nft.replace(&rules)?;
            assert_eq!((pair.arrive(179, 3)?, pair.arrive(180, 3)?), (3, 0), "{protected:?} {rule:?}");
            assert_eq!(nft.counters()?[0].1.packets, 3, "what is protected was counted: {protected:?} {rule:?}");
            // Taken away, put back, and given to another, by changes.
            nft.update(&Plan { protected: Some(Arc::default()), ..Plan::default() })?;
            assert_eq!((pair.arrive(179, 3)?, pair.arrive(180, 3)?), (0, 0), "{protected:?} {rule:?}");
            nft.update(&Plan { protected: Some(protected.clone()), ..Plan::default() })?;
            assert_eq!((pair.arrive(179, 3)?, pair.arrive(180, 3)?), (3, 0), "{protected:?} {rule:?}");
            let another = Arc::new(vec![session(ComponentType::Source, [10, 0, 0, 7], 179)]);
            nft.update(&Plan { protected: Some(another), ..Plan::default() })?;
            assert_eq!((pair.arrive(179, 3)?, pair.arrive(180, 3)?), (0, 0), "{protected:?} {rule:?}");
            assert_eq!(nft.health()?, Health::Intact);
        }
    }
    Ok(())
}

#[test]
fn a_policer_counts_and_keeps_its_counts() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut nft = pair.dataplane()?;
    // Two packets at once, and then none for hours.
    let two = Policing::Limit { bytes: None, packets: Some(2.0 / 3600.0) };
    let limit = |policing| Effect { policing, ..Effect::ACCEPT };
    let rule = |policing| compiled(reflection([10, 0, 0, 2], 123), limit(policing));
    let counts = |nft: &mut Nftables, port: u16| -> anyhow::Result<(u64, Option<u64>)> {
        let key = reflection([10, 0, 0, 2], port);
        let counters = nft.counters()?;
        let (_, counter) = counters.iter().find(|(nlri, _)| **nlri == key).expect("its counter");
        Ok((counter.packets, counter.dropped_packets))
    };
    nft.replace(&ruleset([rule(two)]))?;
    let listing = pair.victim.exec("nft", &["list", "ruleset"])?;
    assert!(!listing.contains("_police_") && listing.contains("limit rate over"), "{listing}");
    let burst = pair.arrive(123, 10)?;
    assert!((1..10).contains(&burst), "{burst} arrived\n{listing}");
    let (all, dropped) = (10, Some(10 - burst as u64));
    assert_eq!(counts(&mut nft, 123)?, (all, dropped), "{listing}");
    assert_eq!(pair.arrive(124, 3)?, 3, "another port");
    // A full load, a chain of its own on account of a neighbour that polices several ports at once,
    // and back among the elements.
    nft.replace(&ruleset([rule(two)]))?;
    assert_eq!(counts(&mut nft, 123)?, (all, dropped));
    let ports = [53, 55].map(|port| NumericOp::new(Comparison::Equal, port));
    let neighbour = Nlri::builder(Family::Ipv4)
        .prefix(ComponentType::Destination, Prefix::V4(ipnet::Ipv4Net::new([10, 0, 0, 2].into(), 32).unwrap()))
        .numeric(ComponentType::Protocol, &[NumericOp::new(Comparison::Equal, 17)])
        .numeric(ComponentType::DestinationPort, &ports);
    let neighbour = compiled(neighbour.build().unwrap(), limit(two));
    nft.update(&Plan { upsert: vec![neighbour.clone()], ..Plan::default() })?;
    let listing = pair.victim.exec("nft", &["list", "ruleset"])?;
    assert_eq!(listing.matches("chain g2_police_").count(), 2, "{listing}");
    assert_eq!(counts(&mut nft, 123)?, (all, dropped), "{listing}");
    nft.update(&Plan { remove: vec![neighbour.nlri.clone()], ..Plan::default() })?;
    nft.replace(&ruleset([rule(two)]))?;
    assert_eq!(counts(&mut nft, 123)?, (all, dropped));
    // Another rate in its place: the counts go on, and the policer begins anew.
    let many = Policing::Limit { bytes: Some(1e9), packets: None };
    nft.update(&Plan { upsert: vec![rule(many)], ..Plan::default() })?;
    assert_eq!(counts(&mut nft, 123)?, (all, dropped));
    assert_eq!(pair.arrive(123, 5)?, 5);
    assert_eq!(counts(&mut nft, 123)?, (all + 5, dropped));
    // Both rates at once share one policer's chain.
    let both = Policing::Limit { bytes: Some(1e9), packets: Some(2.0 / 3600.0) };
    nft.update(&Plan { upsert: vec![rule(both)], ..Plan::default() })?;
    assert_eq!(counts(&mut nft, 123)?, (all + 5, dropped));
    assert!(pair.arrive(123, 5)? < 5);
    nft.update(&Plan { upsert: vec![rule(two)], ..Plan::default() })?;
    assert_eq!(counts(&mut nft, 123)?.0, all + 10);
    assert!(counts(&mut nft, 123)?.1 > dropped);
    assert_eq!(nft.health()?, Health::Intact);
    Ok(())
}

/// What others may do to our table without changing the number of anything in it, or by changing
/// it.
#[test]
fn what_others_change_is_noticed() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut nft = pair.dataplane()?;
    let limit = Effect { policing: Policing::Limit { bytes: Some(1000.0), packets: None }, ..Effect::ACCEPT };
    let rules = ruleset([
        compiled(reflection([10, 0, 0, 2], 123), DISCARD),
        compiled(reflection([10, 0, 0, 2], 53), limit),
        compiled(reflection([10, 0, 0, 3], 53), DISCARD),
    ]);
    let exec = |arguments: &[&str]| pair.victim.exec("nft", arguments);
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().expect("a path in words");
    // Each is told what the table looks like, with handles, and says what to do.
    type Tamper = fn(&str) -> String;
    // The set or the chain that begins last before the first of these words.
    let place = |listing: &str, kind: &str, what: &str| -> String {
        let before = listing.split(what).next().unwrap_or_default();
        let name = before.rsplit(&format!("\t{kind} ")).next().and_then(|rest| rest.split(' ').next());
        name.unwrap_or_default().to_owned()
    };
    let tampering: [(&str, Tamper); 9] = [
        ("a rule replaced", |listing| {
            let line = listing.lines().find(|line| line.contains("iif \"lo\" accept")).unwrap_or_default();
            let handle = line.rsplit(' ').next().unwrap_or_default();
            format!("replace rule ip floodgate prerouting handle {handle} iif \"lo\" drop")
        }),
        ("a rule added", |_| "add rule ip floodgate prerouting accept".to_owned()),
        ("the base chain flushed", |_| "flush chain ip floodgate prerouting".to_owned()),
        ("a chain flushed", |_| "flush chain ip floodgate RULES".to_owned()),
        ("an element deleted", |_| "delete element ip floodgate MATCH { 10.0.0.2 . udp . 123 }".to_owned()),
        ("an element added", |_| "add element ip floodgate MATCH { 10.0.0.9 . udp . 123 }".to_owned()),
        ("an element replaced by one of another key", |_| {
            let set = "element ip floodgate DESTINATIONS";
            format!("delete {set} {{ 10.0.0.2 }}; add {set} {{ 10.0.0.9 }}")
        }),
        ("an element replaced by one with another limit", |_| {
            let (set, key) = ("element ip floodgate OVER", "10.0.0.2 . udp . 53");
            format!(
                "delete {set} {{ {key} }}; add {set} {{ {key} limit rate over 9000 bytes/second burst 65536 bytes }}"
            )
        }),
        ("a counter added", |_| "add counter ip floodgate theirs".to_owned()),
    ];
    for (what, command) in tampering {
        nft.replace(&rules)?;
        assert_eq!(nft.health()?, Health::Intact, "before {what}");
        // Other tables are none of our business.
        exec(&["add table ip theirs; add chain ip theirs one; add rule ip theirs one drop; delete table ip theirs"])?;
        assert_eq!(nft.health()?, Health::Intact, "before {what}");
        let listing = exec(&["-a", "list", "table", "ip", "floodgate"])?;
        let mut command = command(&listing);
        for (name, kind, what) in [
            ("RULES", "chain", "ip daddr . meta l4proto"),
            ("MATCH", "set", "10.0.0.2 . udp . 123 counter"),
            ("OVER", "set", "10.0.0.2 . udp . 53 limit"),
            ("DESTINATIONS", "set", "type ipv4_addr\n"),
        ] {
            command = command.replace(name, &place(&listing, kind, what));
        }
        exec(&[&command])?;
        let health = nft.health()?;
        assert!(matches!(health, Health::ExternalChange(_)), "{what}: {command}: {health:?}\n{listing}");
    }
    // The same again by other hands is not the same: the counts of its rules are gone.
    nft.replace(&rules)?;
    assert_eq!(nft.health()?, Health::Intact);
    std::fs::write(path, format!("flush ruleset\n{}", exec(&["list", "ruleset"])?))?;
    exec(&["-f", path])?;
    assert!(matches!(nft.health()?, Health::ExternalChange(_)));
    // Changes of our own are none.
    nft.replace(&rules)?;
    let more = compiled(reflection([10, 0, 0, 4], 53), limit);
    nft.update(&Plan { upsert: vec![more.clone()], ..Plan::default() })?;
    exec(&["add table ip theirs"])?;
    assert_eq!(nft.health()?, Health::Intact);
    nft.update(&Plan { remove: rules.rules.iter().map(|rule| rule.nlri.clone()).collect(), ..Plan::default() })?;
    exec(&["delete table ip theirs"])?;
    assert_eq!(nft.health()?, Health::Intact);
    nft.update(&Plan { remove: vec![more.nlri.clone()], ..Plan::default() })?;
    exec(&["add table ip theirs"])?;
    assert_eq!(nft.health()?, Health::Intact);
    Ok(())
}

#[test]
fn what_is_shown_is_what_nft_takes() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let limit = |packets, bytes| Effect { policing: Policing::Limit { packets, bytes }, ..Effect::ACCEPT };
    let rules = [(123, DISCARD), (53, DISCARD), (19, limit(None, Some(1.0))), (17, limit(Some(1.0), None))];
    let rules = ruleset(rules.map(|(port, effect)| compiled(reflection([10, 0, 0, 2], port), effect)));
    let text = dataplane::nftables::render(&rules);
    println!("{text}");
    let file = std::env::temp_dir().join(format!("floodgate-render-{}.nft", std::process::id()));
    std::fs::write(&file, &text)?;
    let loaded = pair.victim.exec("nft", &["-f", &file.to_string_lossy()]);
    std::fs::remove_file(&file)?;
    loaded?;
    assert_eq!((pair.arrive(53, 3)?, pair.arrive(54, 3)?), (0, 3));
    assert!(pair.arrive(17, 9)? < 9);
    Ok(())
}

/// The bucket of a limit in octets holds one second of the rate, and 65536 octets of a lower one:
/// what the manual says and `compile` shows.
#[test]
fn what_a_limit_lets_through_at_once_is_what_is_shown() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut nft = pair.dataplane()?;
    let sender = PacketSocket::open(&pair.attacker, "a0")?;
    let octets = packet::udp("10.0.0.1:123".parse()?, "10.0.0.2:9".parse()?, &[7; 972]);
    let frame = packet::ethernet(pair.attacker.mac("a0")?, pair.victim.mac("v0")?, &octets);
    for (rate, bucket) in [(200_000.0f32, 200_000.0), (1000.0, 65_536.0), (2e9, 2e9), (100e9, f64::INFINITY)] {
        let policing = Policing::Limit { bytes: Some(rate), packets: None };
        let rule = compiled(reflection([10, 0, 0, 2], 123), Effect { policing, ..Effect::ACCEPT });
        nft.clear()?;
        nft.replace(&ruleset([rule]))?;
        let began = std::time::Instant::now();
        let (mut matched, mut dropped) = (0, 0);
        while matched < 500 {
            for _ in 0..50 {
                sender.send(&frame)?;
            }
            let counter = nft.counters()?[0].1;
            (matched, dropped) = (counter.packets, counter.dropped_packets.unwrap_or(0));
        }
        let passed = (matched - dropped) as f64 * octets.len() as f64;
        let most = bucket + f64::from(rate) * began.elapsed().as_secs_f64() + octets.len() as f64;
        let least = (bucket - octets.len() as f64).min(matched as f64 * octets.len() as f64);
        assert!((least..=most).contains(&passed), "rate {rate}: {passed} octets passed, expected {least} to {most}");
    }
    Ok(())
}

/// Rules that packets meet one after the other have a most, in the chain of all packets and in that
/// of a destination.
#[test]
fn long_lists_of_ranges_are_over_capacity() -> anyhow::Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let options = Options { max_chain_rules: 10, ..Options::default() };
    let mut nft = pair.victim.run(|| Nftables::open(options))?;
    let range = |destination: Option<[u8; 4]>, n: u16| {
        let ops = [
            NumericOp::new(Comparison::GreaterOrEqual, (100 * n).into()),
            NumericOp { and: true, ..NumericOp::new(Comparison::LessOrEqual, (100 * n + 50).into()) },
        ];
        let mut builder = Nlri::builder(Family::Ipv4);
        if let Some(host) = destination {
            builder =
                builder.prefix(ComponentType::Destination, Prefix::V4(ipnet::Ipv4Net::new(host.into(), 32).unwrap()));
        }
        let builder = builder.numeric(ComponentType::Protocol, &[NumericOp::new(Comparison::Equal, 17)]);
        compiled(builder.numeric(ComponentType::SourcePort, &ops).build().unwrap(), DISCARD)
    };
    for destination in [None, Some([10, 0, 0, 2])] {
        // For a destination, ranges have slots up to 16 kinds; from then on its rules stand in a
        // chain.
        let rules: Vec<_> = (0..30).map(|n| range(destination, n)).collect();
        let placed = if destination.is_some() { 16 } else { 10 };
        let applied = nft.replace(&ruleset(rules.clone()))?;
        assert_eq!(applied.failures.len(), 30 - placed, "{destination:?}");
        let is_over = |failure: &RuleFailure| matches!(failure, RuleFailure::OverCapacity(why) if why.contains("max-chain-rules"));
        assert!(applied.failures.iter().all(|(_, failure)| is_over(failure)), "{:?}", applied.failures);
        let failed = |applied: &Applied, n: usize| applied.failures.iter().any(|(nlri, _)| *nlri == rules[n].nlri);
        let dropped: Vec<usize> = (0..30).filter(|&n| !failed(&applied, n)).collect();
        for n in 0..30 {
            let arrived = pair.arrive(100 * n as u16 + 7, 1)?;
            assert_eq!(arrived, usize::from(!dropped.contains(&n)), "{destination:?} rule {n}");
        }
        // Those that go make room, and no rule is in force that is not shown so.
        let goes: Vec<_> = dropped.iter().take(4).map(|&n| rules[n].nlri.clone()).collect();
        let late: Vec<_> = (0..30).filter(|n| !dropped.contains(n)).map(|n| rules[n].clone()).collect();
        let applied = nft.update(&Plan { remove: goes, upsert: late, ..Plan::default() })?;
        assert_eq!(applied.failures.len(), 30 - placed - 4, "{destination:?}");
        for n in 0..30 {
            let in_force = !failed(&applied, n) && !dropped[..4].contains(&n);
            assert_eq!(
                pair.arrive(100 * n as u16 + 7, 1)?,
                usize::from(!in_force),
                "{destination:?} rule {n} after the change"
            );
        }
        assert_eq!(nft.health()?, Health::Intact);
    }
    Ok(())
}
