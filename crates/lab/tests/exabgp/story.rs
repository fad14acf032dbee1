//! Announcement, withdrawal, session loss: the kernel drops what the controller announces.

use crate::{
    PATIENCE, Scene, configuration, controller, exabgp, versions, wait_clean, wait_installed, with_each_version,
};
use anyhow::{Result, ensure};
use api::{RuleState, SessionState};
use lab::peers::PeerDaemon as _;
use lab::scenario::{CONTROLLER_AS, NTP, check_dropped, udp};
use lab::site::{PEER, VICTIM, VICTIM6};
use lab::{Daemon, Site, needs, packet};
use std::time::Duration;

#[test]
fn the_articles_example() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&configuration(""), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        check_dropped(&mut wire, false)?;

        controller.announce_text(NTP)?;
        let rules = wait_installed(&daemon, &mut exabgp, 1)?;
        ensure!(rules[0].text == NTP && rules[0].origins[0].peer == PEER, "{rules:?}");
        check_dropped(&mut wire, true)?;
        let peer = daemon.peer(PEER)?;
        ensure!(peer.state == SessionState::Established && (peer.asn, peer.rules) == (CONTROLLER_AS, 1), "{peer:?}");

        controller.withdraw_text(NTP)?;
        wait_clean(site)?;
        check_dropped(&mut wire, false)?;

        controller.announce_text(NTP)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        // The session is lost, and with it the rule; it comes back with the session.
        let sessions = daemon.peer(PEER)?.established_count;
        controller.cut();
        daemon.wait_another_session(PEER, sessions, PATIENCE)?;
        wait_installed(&daemon, &mut exabgp, 1)?;
        check_dropped(&mut wire, true)?;
        controller.shutdown();
        wait_clean(site)?;
        check_dropped(&mut wire, false)?;

        exabgp.stop()?;
        ensure!(daemon.ruleset()?.is_empty(), "left behind: {}", daemon.ruleset()?);
        Ok(())
    })
}

/// What the old script could not: lists, ranges, negation, flags, IPv6, a changed action, several
/// rules at once, a rate.
#[test]
fn all_that_the_script_dropped_or_got_wrong() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&configuration(""), false, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        let rules = [
            "dst 192.0.2.1/32 proto tcp dport >=1024&<=2048,53 then discard",
            "dst 192.0.2.1/32 proto udp dport !=80&!=443 length >=400 then discard",
            "dst 192.0.2.1/32 proto tcp dport 80 tcp-flags syn&!ack then discard",
            "dst 2001:db8:2::1/128 proto udp sport 123 then discard",
            "dst 192.0.2.1/32 proto tcp port 8080 then discard",
        ];
        // In one call: as few messages as hold them.
        controller.announce(rules.map(|rule| rule.parse().expect(rule)));
        wait_installed(&daemon, &mut exabgp, rules.len())?;
        let tcp = |from: u16, to: u16, flags: u8| {
            let ends = (format!("198.51.100.1:{from}"), format!("{VICTIM}:{to}"));
            packet::tcp(ends.0.parse().unwrap(), ends.1.parse().unwrap(), flags, b"")
        };
        let (syn, ack) = (packet::tcp_flags::SYN, packet::tcp_flags::ACK);
        let cases = [
            (tcp(4000, 1024, ack), false),
            (tcp(4000, 2048, ack), false),
            (tcp(4000, 53, ack), false),
            (tcp(4000, 1023, ack), true),
            (tcp(4000, 2049, ack), true),
            (udp(4000, VICTIM, 79, 400), false),
            (udp(4000, VICTIM, 80, 400), true),
            (udp(4000, VICTIM, 443, 400), true),
            (udp(4000, VICTIM, 79, 371), true),
            (tcp(4000, 80, syn), false),
            (tcp(4000, 80, syn | ack), true),
            (tcp(4000, 80, ack), true),
            (udp(123, VICTIM6, 4000, 100), false),
            (udp(124, VICTIM6, 4000, 100), true),
            (tcp(8080, 4000, ack), false),
            (tcp(4000, 8080, ack), false),
        ];
        let (packets, passing): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let arrived = wire.arrivals(&packets)?;
        ensure!(arrived == passing, "arrived {arrived:?}, not {passing:?}\n{}", daemon.explain());

        // The same rule with another action, and a rate.
        controller.announce_text("dst 2001:db8:2::1/128 proto udp sport 123 then accept")?;
        daemon.wait_rules("the changed action", PATIENCE, |rules| {
            rules.iter().any(|rule| rule.text.ends_with("then accept"))
        })?;
        lab::wait_until("packets that pass", PATIENCE, || {
            wire.passes(&udp(123, VICTIM6, 4000, 100)).ok().filter(|passes| *passes)
        })?;
        controller.announce_text("dst 192.0.2.1/32 proto icmp then rate 9600")?;
        controller.announce_text("rd 100:1 dst 192.0.2.1/32 then discard")?;
        let rules = daemon.wait_rules("seven rules", PATIENCE, |rules| {
            rules.len() == 7 && rules.iter().all(|rule| rule.state != RuleState::Pending)
        })?;
        let of = |text: &str| rules.iter().find(|rule| rule.text.contains(text)).and_then(|rule| rule.state.known());
        ensure!(
            of("then rate 9600") == Some(RuleState::Installed) && of("rd 100:1") == Some(RuleState::Refused),
            "{rules:#?}"
        );
        exabgp.stop()?;
        wait_clean(site)?;
        Ok(())
    })
}

/// Floodgate's policy for a neighbour counts, and no rule cuts ExaBGP's own session, on whatever
/// port it is.
#[test]
fn the_guard_stands_before_exabgp_too() -> Result<()> {
    needs!(root, "nft");
    for version in versions() {
        let site = Site::new()?;
        let controller = controller(&site)?;
        let table = format!(
            "[[peer]]\nname = \"controller\"\naddress = \"{PEER}\"\nas = {CONTROLLER_AS}\nport = 1179\n[peer.allow]\n\
             without-destination = true\nactions = [\"discard\"]\n"
        );
        for peers in ["", table.as_str()] {
            let daemon = Daemon::prepare(&site.switch, &configuration(peers))?;
            let mut exabgp = exabgp(&site, version, &daemon, false)?;
            controller.wait_established(PATIENCE)?;
            // All that comes from the controller to the switch: its session among it.
            let deadly = "dst 203.0.113.10/32 src 203.0.113.1/32 then discard";
            controller.announce_text(deadly)?;
            controller.announce_text("src 203.0.113.7/32 then discard")?;
            controller.announce_text("dst 192.0.2.1/32 then mark 46")?;
            let rules = daemon.wait_rules("three decided rules", PATIENCE, |rules| {
                rules.len() == 3 && rules.iter().all(|rule| rule.state != RuleState::Pending)
            })?;
            let of =
                |text: &str| rules.iter().find(|rule| rule.text.contains(text)).and_then(|rule| rule.state.known());
            let configured = !peers.is_empty();
            ensure!(
                of("src 203.0.113.7/32")
                    == Some(if configured { RuleState::Installed } else { RuleState::RejectedByPolicy }),
                "{rules:#?}"
            );
            ensure!(
                of("mark 46") == Some(if configured { RuleState::RejectedByPolicy } else { RuleState::Installed }),
                "{rules:#?}"
            );
            ensure!(of(deadly) == Some(RuleState::Installed), "{rules:#?}");
            let keepalives = controller.status().keepalives;
            // A ping from there is dropped, and the session goes on.
            let ping = ["-c", "1", "-W", "1", "203.0.113.10"];
            ensure!(site.peers.exec("ping", &ping).is_err(), "the switch answered");
            controller.withdraw_text(deadly)?;
            daemon.wait_rules("the withdrawal over a session that lives", PATIENCE, |rules| rules.len() == 2)?;
            ensure!(controller.status().established && controller.status().keepalives >= keepalives);
            exabgp.stop()?;
            controller.forget();
            lab::wait_until("the end of the session", Duration::from_secs(30), || {
                (!controller.status().established).then_some(())
            })?;
        }
    }
    Ok(())
}

/// With the octets beside the words nothing is lost: offsets in version 4, and the width of a
/// number, which is part of a rule's name.
#[test]
fn octets_are_exact() -> Result<()> {
    needs!(root, "nft");
    with_each_version(&configuration(""), true, |Scene { site, mut wire, controller, daemon, mut exabgp }| {
        // Bits 96 to 127 of the attacker's address are ::1.
        let rules = [
            NTP,
            "dst 2001:db8:2::1/128 src ::1/96-128 proto udp sport 123 then discard",
            "dst 192.0.2.1/32 dport 0x0050 then discard",
        ];
        controller.announce(rules.map(|rule| rule.parse().expect(rule)));
        let found = daemon.wait_rules("three decided rules", PATIENCE, |found| {
            found.len() == 3 && found.iter().all(|rule| rule.state != RuleState::Pending)
        })?;
        for rule in rules {
            ensure!(found.iter().any(|found| found.text == rule), "{rule}: {found:#?}");
        }
        let packets = [
            udp(123, VICTIM6, 50_000, 440),
            udp(124, VICTIM6, 50_000, 440),
            udp(123, VICTIM, 1, 9),
            udp(1, VICTIM, 80, 9),
        ];
        let arrived = wire.arrivals(&packets)?;
        ensure!(arrived == [false, true, false, false], "{arrived:?}\n{}", daemon.explain());
        controller.withdraw(rules.map(|rule| rule.parse::<flowspec::Rule>().expect(rule).nlri));
        daemon.wait_rules("no rules", PATIENCE, <[_]>::is_empty)?;
        wait_clean(site)?;
        check_dropped(&mut wire, false)?;
        exabgp.stop()?;
        Ok(())
    })
}
