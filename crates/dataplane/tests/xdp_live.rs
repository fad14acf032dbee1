//! The XDP back end on real interfaces: native mode on veth, with packets from the other end.
#![cfg(xdp_program)]

#[path = "xdp/live.rs"]
mod live;

use anyhow::{Context, Result};
use dataplane::xdp::{Attach, Options, Xdp};
use dataplane::{Attachment, Counter, Dataplane, Health, Interface, RuleFailure};
use engine::plan::Plan;
use lab::site::{NEIGHBOUR, VICTIM, VICTIM6};
use lab::{End, Netns, PATIENCE, PacketSocket, Site, packet, veth};
use live::{Flood, options, rule, ruleset};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

fn udp(port: u16, to: &str, length: usize) -> Result<Vec<u8>> {
    let to: IpAddr = to.parse()?;
    let from: IpAddr = if to.is_ipv4() { "198.51.100.1" } else { "2001:db8:1::1" }.parse()?;
    Ok(packet::udp(SocketAddr::new(from, port), SocketAddr::new(to, 7), &vec![7; length]))
}

fn counter(plane: &mut dyn Dataplane, id: flowspec::RuleId) -> Result<Counter> {
    let counters = plane.counters()?;
    Ok(counters.into_iter().find(|(nlri, _)| nlri.id() == id).context("no counter")?.1)
}

#[test]
fn filters_what_the_rules_say_and_nothing_else_in_native_mode() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let options = Options { attach: Attach::Native, ..options(&site.switch, &["swp1"]) };
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        let rules = [
            rule(&format!("dst {VICTIM}/32 proto udp sport 53 then discard")),
            rule(&format!("ipv6 dst {VICTIM6}/128 proto udp sport 53 then discard")),
            rule(&format!("dst {VICTIM}/32 proto udp sport 54 then mark 46")),
        ];
        assert_eq!(plane.replace(&ruleset(&rules))?.failures, []);
        let packets = [
            udp(53, VICTIM, 100)?,
            udp(80, VICTIM, 100)?,
            udp(53, NEIGHBOUR, 100)?,
            udp(53, VICTIM6, 100)?,
            udp(80, VICTIM6, 9)?,
        ];
        assert_eq!(wire.arrivals(&packets)?, [false, true, true, false, true]);
        let counted = counter(&mut plane, rules[0].id)?;
        assert_eq!(counted, Counter { packets: 1, bytes: 128, dropped_packets: Some(1), dropped_bytes: Some(128) });

        wire.seen()?;
        wire.send(&udp(54, VICTIM, 30)?)?;
        let seen = wire.seen()?;
        let marked = seen.iter().find(|ip| ip[0] >> 4 == 4 && ip[20..22] == [0, 54]).context("it did not come")?;
        assert_eq!(marked[1] >> 2, 46);

        let plan = Plan { remove: vec![rules[0].nlri.clone()], ..Plan::default() };
        assert_eq!(plane.update(&plan)?.failures, []);
        assert_eq!(wire.arrivals(&packets)?, [true, true, true, false, true]);
        assert_eq!(plane.health()?, Health::Intact);
        plane.clear()?;
        assert_eq!(wire.arrivals(&packets)?, [true; 5]);
        assert!(!site.switch.bpf_directory().join("floodgate").exists(), "nothing is left");
        Ok(())
    })
}

#[test]
fn filters_outlive_the_program_and_the_next_one_takes_over_without_a_gap() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let bad = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then discard"));
    let options = options(&site.switch, &["swp1"]);
    let flood = Flood::start(&site, udp(53, VICTIM, 64)?)?;
    // Three programs: what was counted by a run before the last is not forgotten either.
    let mut counted = 0;
    for run in 0..3 {
        counted = site.switch.run(|| -> Result<u64> {
            let mut plane = Xdp::open(options.clone())?;
            plane.replace(&ruleset(std::slice::from_ref(&bad)))?;
            if run == 0 {
                wire.seen()?;
            }
            lab::wait_until("packets that are counted", PATIENCE, || {
                let packets = counter(&mut plane, bad.id).ok()?.packets;
                (packets > counted + 100).then_some(packets)
            })
        })?;
        // While there is none.
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = flood.stop()?;
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        wire.seen()?.iter().filter(|ip| ip[0] >> 4 == 4 && ip[20..22] == [0, 53]).count(),
        0,
        "none came through"
    );
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options.clone())?;
        plane.replace(&ruleset(std::slice::from_ref(&bad)))?;
        let after = counter(&mut plane, bad.id)?;
        assert!(after.packets >= counted, "{counted} {after:?}");
        assert!(after.packets <= sent, "{after:?} of {sent}");
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn another_program_is_refused_and_not_changed() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let rules = [rule(&format!("dst {VICTIM}/32 then discard"))];
    let mine = options(&site.switch, &["swp*"]);
    let other = Options { directory: mine.directory.with_file_name("other"), ..options(&site.switch, &["swp2"]) };
    site.switch.run(|| -> Result<()> {
        let mut first = Xdp::open(other)?;
        first.replace(&ruleset(&rules))?;
        let mut second = Xdp::open(mine)?;
        let said = second.replace(&ruleset(&rules)).unwrap_err().to_string();
        assert!(said.contains("swp2") && said.contains("another XDP program"), "{said}");
        // Nothing of the second one is anywhere.
        let left: Vec<_> = std::fs::read_dir(site.switch.bpf_directory().join("floodgate"))?.collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(first.health()?, Health::Intact);
        first.clear()?;
        second.replace(&ruleset(&rules))?;
        second.clear()?;
        Ok(())
    })
}

#[test]
fn interfaces_come_and_go_and_what_others_detach_is_noticed() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let extra = Netns::new("extra")?;
    let options = options(&site.switch, &["swp1", "up*"]);
    let pins = || -> Result<usize> {
        let names = std::fs::read_dir(site.switch.bpf_directory().join("floodgate"))?;
        Ok(names
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.contains('-'))
            .count())
    };
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        plane.replace(&ruleset(&[rule(&format!("dst {VICTIM}/32 then discard"))]))?;
        assert_eq!(pins()?, 1);
        veth(End::new(&site.switch, "up0", &[]), End::new(&extra, "eth0", &[]))?;
        assert_eq!((plane.health()?, pins()?), (Health::Intact, 2));
        site.switch.ip(&["link", "del", "up0"])?;
        assert_eq!((plane.health()?, pins()?), (Health::Intact, 1));
        veth(End::new(&site.switch, "up1", &[]), End::new(&extra, "eth0", &[]))?;
        assert_eq!((plane.health()?, pins()?), (Health::Intact, 2));
        // Somebody takes the pins away: the filters would not outlive us.
        for entry in std::fs::read_dir(site.switch.bpf_directory().join("floodgate"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("native-")) {
                std::fs::remove_file(path)?;
            }
        }
        assert!(matches!(plane.health()?, Health::ExternalChange(why) if why.contains("pin")));
        plane.replace(&ruleset(&[rule(&format!("dst {VICTIM}/32 then discard"))]))?;
        assert_eq!((plane.health()?, pins()?), (Health::Intact, 2));
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn each_interface_tells_how_it_is_filtered_or_why_not() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let rules = ruleset(&[rule(&format!("dst {VICTIM}/32 then discard"))]);
    let told = |plane: &mut Xdp| -> Vec<(String, Attachment)> {
        plane.condition().interfaces.into_iter().map(|Interface { name, attachment }| (name, attachment)).collect()
    };
    let reason = |told: &[(String, Attachment)], name: &str| -> String {
        match told.iter().find(|(there, _)| there == name) {
            Some((_, Attachment::None(why))) => why.clone(),
            other => panic!("{name}: {other:?}"),
        }
    };
    site.switch.run(|| -> Result<()> {
        // A bridge takes no programs.
        site.switch.ip(&["link", "add", "plain0", "type", "bridge"])?;
        let mut plane = Xdp::open(options(&site.switch, &["swp1", "plain*", "up*"]))?;
        assert!(reason(&told(&mut plane), "swp1").contains("nothing was applied"));
        plane.replace(&rules)?;
        let interfaces = told(&mut plane);
        assert!(interfaces.contains(&("swp1".into(), Attachment::Native)), "{interfaces:?}");
        assert!(interfaces.contains(&("plain0".into(), Attachment::Generic)), "{interfaces:?}");
        assert!(reason(&interfaces, "up*").contains("no interface"));
        let warnings = plane.condition().warnings;
        assert!(
            matches!(&warnings[..], [one] if one.starts_with("plain0 ") && one.contains("generic")),
            "{warnings:?}"
        );

        // One that comes with a program of somebody else, which goes later; and one that goes
        // altogether.
        site.switch.ip(&["link", "add", "up0", "type", "bridge"])?;
        let other = Options { directory: site.switch.bpf_directory().join("other"), ..options(&site.switch, &["up0"]) };
        let mut other = Xdp::open(other)?;
        other.replace(&rules)?;
        assert_eq!(plane.health()?, Health::Intact);
        assert!(reason(&told(&mut plane), "up0").contains("another XDP program"));
        other.clear()?;
        site.switch.ip(&["link", "del", "plain0"])?;
        assert_eq!(plane.health()?, Health::Intact);
        let interfaces = told(&mut plane);
        assert!(interfaces.contains(&("up0".into(), Attachment::Generic)), "{interfaces:?}");
        assert!(reason(&interfaces, "plain*").contains("no interface"));
        plane.clear()?;

        // What cannot be read is counted, beside the rules.
        let mut plane = Xdp::open(options(&site.switch, &["swp1"]))?;
        plane.replace(&rules)?;
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let mut short = packet::ethernet(site.attacker.mac("eth0")?, site.switch.mac("swp1")?, &udp(1, VICTIM, 9)?);
        short.truncate(14 + 19);
        socket.send(&short)?;
        lab::wait_until("the count", PATIENCE, || {
            plane.condition().statistics.contains(&("truncated", 1)).then_some(())
        })?;
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn a_changed_mode_of_attachment_takes_effect() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let rules = ruleset(&[rule(&format!("dst {VICTIM}/32 then discard"))]);
    site.switch.run(|| -> Result<()> {
        for (attach, wanted) in [
            (Attach::Generic, Attachment::Generic),
            (Attach::Native, Attachment::Native),
            (Attach::Generic, Attachment::Generic),
            // What was generic may be so for a reason: it stays, and is told.
            (Attach::Best, Attachment::Generic),
        ] {
            let mut plane = Xdp::open(Options { attach, ..options(&site.switch, &["swp1"]) })?;
            plane.replace(&rules)?;
            assert_eq!(plane.condition().interfaces[0].attachment, wanted, "{attach:?}");
            assert_eq!(plane.condition().warnings.len(), usize::from(attach == Attach::Best));
        }
        Xdp::open(options(&site.switch, &["swp1"]))?.clear()?;
        Ok(())
    })
}

#[test]
fn samples_are_read_and_those_without_room_are_counted() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let sampled = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then sample discard"));
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options(&site.switch, &["swp1"]))?;
        let mut source = plane.samples().map_err(anyhow::Error::msg)?;
        plane.replace(&ruleset(std::slice::from_ref(&sampled)))?;
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let (from, to) = (site.attacker.mac("eth0")?, site.switch.mac("swp1")?);
        let frame = packet::ethernet(from, to, &udp(53, VICTIM, 500)?);
        let began = std::time::SystemTime::now();
        socket.send(&frame)?;
        source.wait(PATIENCE);
        let mut seen = Vec::new();
        assert_eq!(source.read(10, &mut |sample| seen.push(sample)), 0);
        let [sample] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((sample.rule, sample.length as usize), (Some(sampled.id), frame.len()));
        assert_eq!(sample.octets, frame[..128]);
        assert!(sample.time.duration_since(began).is_ok_and(|age| age < PATIENCE), "{:?}", sample.time);

        // Nobody reads: the buffer holds some 1,500, the others are counted.
        const SENT: usize = 4000;
        (0..SENT).try_for_each(|_| socket.send(&frame))?;
        let counted = |plane: &mut Xdp| -> u64 { counter(plane, sampled.id).map_or(0, |counter| counter.packets) };
        lab::wait_until("all packets", PATIENCE, || (counted(&mut plane) == SENT as u64 + 1).then_some(()))?;
        seen.clear();
        let lost = source.read(usize::MAX, &mut |sample| seen.push(sample));
        assert_eq!(lost as usize + seen.len(), SENT);
        assert!(seen.len() > 1000 && lost > 0, "{lost} lost");
        let statistics = plane.condition().statistics;
        assert!(
            statistics.contains(&("samples_lost", lost)) && statistics.contains(&("samples", seen.len() as u64 + 1))
        );
        socket.send(&frame)?;
        source.wait(PATIENCE);
        assert_eq!(source.read(10, &mut |_| {}), 0, "a loss is told once");

        // The next run has a buffer of its own.
        let mut next = Xdp::open(options(&site.switch, &["swp1"]))?;
        next.replace(&ruleset(std::slice::from_ref(&sampled)))?;
        let mut source = next.samples().map_err(anyhow::Error::msg)?;
        socket.send(&frame)?;
        socket.send(&frame)?;
        let mut read = 0;
        lab::wait_until("two packets", PATIENCE, || {
            source.read(10, &mut |_| read += 1);
            (read == 2).then_some(())
        })?;
        next.clear()?;
        Ok(())
    })
}

#[test]
fn generic_mode_filters_the_same() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let options = Options { attach: Attach::Generic, ..options(&site.switch, &["swp1"]) };
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        plane.replace(&ruleset(&[rule(&format!("dst {VICTIM}/32 proto udp sport 53 then discard"))]))?;
        assert_eq!(wire.arrivals(&[udp(53, VICTIM, 9)?, udp(54, VICTIM, 9)?])?, [false, true]);
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn rules_that_do_not_fit_are_named_and_the_others_stay() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let options = Options { capacity: 1024, ..options(&site.switch, &["swp1"]) };
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        let rules: Vec<_> =
            (0..1500u32).map(|n| rule(&format!("dst {VICTIM}/32 proto udp sport {} then discard", n + 1000))).collect();
        let applied = plane.replace(&ruleset(&rules))?;
        assert_eq!(applied.failures.len(), 476);
        assert!(applied.failures.iter().all(|(_, why)| matches!(why, RuleFailure::OverCapacity(_))));
        let usage = plane.usage()?;
        assert_eq!((usage.entries, usage.capacity), (1024, Some(1024)));
        assert!(usage.memory.is_some_and(|octets| octets > 1 << 20));
        assert_eq!(wire.arrivals(&[udp(1000, VICTIM, 9)?, udp(2400, VICTIM, 9)?])?, [false, true]);
        // Room again, for one that had none.
        let plan = Plan { remove: vec![rules[0].nlri.clone()], upsert: vec![rules[1400].clone()], ..Plan::default() };
        let failures = plane.update(&plan)?.failures;
        assert!(failures.iter().all(|(nlri, _)| *nlri != rules[1400].nlri));
        assert_eq!(wire.arrivals(&[udp(1000, VICTIM, 9)?, udp(2400, VICTIM, 9)?])?, [true, false]);
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn no_packet_sees_half_of_a_change() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let options = options(&site.switch, &["swp1"]);
    // In either set the packet is dropped or marked, each time by other rules, in other places of
    // the tables.
    let sets = [
        ruleset(&[
            rule(&format!("dst {VICTIM}/32 proto udp sport 53 then discard")),
            rule("dst 192.0.2.0/24 proto udp sport 54 then mark 10 continue"),
            rule("proto udp sport 54-60 then mark 40"),
        ]),
        ruleset(&[
            rule("dst 192.0.2.0/24 proto udp sport 50-53 then discard"),
            rule(&format!("dst {VICTIM}/32 proto udp sport 54 then mark 20")),
            rule(&format!("dst {VICTIM}/32 proto udp sport 53 length >=2000 then accept")),
        ]),
    ];
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        plane.replace(&sets[0])?;
        wire.seen()?;
        let floods = [Flood::start(&site, udp(53, VICTIM, 40)?)?, Flood::start(&site, udp(54, VICTIM, 41)?)?];
        let until = Instant::now() + Duration::from_secs(4);
        let (mut switches, mut marks) = (0u32, [0usize; 2]);
        while Instant::now() < until || switches < 2000 {
            for _ in 0..50 {
                switches += 1;
                plane.replace(&sets[switches as usize % 2])?;
            }
            for ip in wire.seen()? {
                if ip[0] >> 4 != 4 || ip[9] != 17 {
                    continue;
                }
                let port = u16::from_be_bytes([ip[20], ip[21]]);
                assert_ne!(port, 53, "dropped in both sets");
                match (port, ip[1] >> 2) {
                    (54, 10) => marks[0] += 1,
                    (54, 20) => marks[1] += 1,
                    (54, dscp) => panic!("DSCP {dscp}, which neither set gives"),
                    _ => {}
                }
            }
        }
        for flood in floods {
            assert!(flood.stop()? > 1000);
        }
        println!("{switches} switches, marks {marks:?}, {:?}", plane.counters()?.first());
        assert!(marks.iter().all(|&seen| seen > 100), "both sets were seen: {marks:?} in {switches} switches");
        plane.clear()?;
        Ok(())
    })
}

#[test]
fn a_rate_is_kept_within_one_percent() -> Result<()> {
    lab::needs!(root, "ip");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let options = options(&site.switch, &["swp1"]);
    site.switch.run(|| -> Result<()> {
        let mut plane = Xdp::open(options)?;
        let limited = rule(&format!("dst {VICTIM}/32 proto udp sport 53 then rate 2000pps"));
        let bytes = rule(&format!("dst {VICTIM}/32 proto udp sport 54 then rate 1mbps"));
        // 128 octets of IP packet each: 1 Mbit/s are 976.6 packets a second.
        let floods = [Flood::start(&site, udp(53, VICTIM, 100)?)?, Flood::start(&site, udp(54, VICTIM, 100)?)?];
        plane.replace(&ruleset(&[limited.clone(), bytes.clone()]))?;
        // Read at some moment of this time: a busy machine may stop us before or behind the
        // reading.
        let passed = |plane: &mut Xdp| -> Result<(Range<Instant>, u64, u64)> {
            let passed = |counter: Counter| counter.packets - counter.dropped_packets.unwrap_or(0);
            let start = Instant::now();
            let (packets, bytes) = (passed(counter(plane, limited.id)?), passed(counter(plane, bytes.id)?));
            Ok((start..Instant::now(), packets, bytes))
        };
        // The burst at the beginning is not the rate.
        std::thread::sleep(Duration::from_millis(300));
        let (began, packets0, bytes0) = passed(&mut plane)?;
        std::thread::sleep(Duration::from_secs(4));
        let (ended, packets1, bytes1) = passed(&mut plane)?;
        let (longest, shortest) = (began.start..ended.end, began.end..ended.start);
        let counts = [("packets", packets1 - packets0, 2000.0), ("bytes", bytes1 - bytes0, 125_000.0 / 128.0)];
        for ((what, count, wanted), flood) in counts.into_iter().zip(floods) {
            let [longest, shortest] = [&longest, &shortest]
                .map(|time| (time.end - time.start).saturating_sub(flood.silence(time)).as_secs_f64());
            flood.stop()?;
            println!("{what}: {count} in {shortest:.3} to {longest:.3} s, wanted {wanted:.1}/s");
            let (least, most) = (wanted * shortest * 0.99, wanted * longest * 1.01);
            assert!((least..=most).contains(&(count as f64)), "{what}: {count}, wanted {least:.0} to {most:.0}");
        }
        wire.seen().ok();
        plane.clear()?;
        Ok(())
    })
}
