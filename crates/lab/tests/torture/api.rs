//! Nearly valid requests: each gets an answer, and a peer's rule stays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flowspec::testing::Seed;
use lab::scenario::NTP;
use lab::{Daemon, Site, needs, wait_until};

use crate::place::{SECOND, attack, configuration, speaker};
use crate::{PATIENCE, amount, position, resident, seed, socket};

const BODIES: [(&str, &str); 4] = [
    ("/v1/announce", r#"{"rule":"dst 10.9.9.9/32 proto udp sport 123,53 length 100-200 then rate 1mbps","for":"10m"}"#),
    ("/v1/announce", r#"{"rule":"ipv6 dst 2001:db8:9::/64 proto tcp tcp-flags syn&!ack then mark 46 sample"}"#),
    ("/v1/withdraw", r#"{"rule":"dst 10.9.9.9/32 proto udp sport 123,53 length 100-200"}"#),
    (
        "/v1/explain",
        r#"{"packet":"4500002800000000400600000a0909090a09090a04d200160000000000000000500200000000 0000"}"#,
    ),
];

fn mutated(seed: &mut Seed, text: &str) -> Vec<u8> {
    let mut octets = text.as_bytes().to_vec();
    for _ in 0..seed.below(4) {
        let at = position(seed, octets.len());
        match seed.below(4) {
            0 => octets[at] = seed.next_u64() as u8,
            1 => drop(octets.remove(at)),
            2 => octets.insert(at, b"0123456789{}[]\",:/-=!&|<> "[position(seed, 26)]),
            _ => {
                let end = (at + position(seed, 40)).min(octets.len());
                let again = octets[at..end].repeat(1 + position(seed, 50));
                octets.splice(at..at, again);
            }
        }
    }
    octets
}

#[test]
fn torture_bodies_of_the_api() -> Result<()> {
    needs!(root, "nft");
    let count = amount(3_000, 400_000);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("nftables"))?;
    let one = speaker(&site, SECOND)?;
    daemon.wait_established("one", PATIENCE)?;
    one.announce_text(NTP)?;
    wait_until("the rule", PATIENCE, || wire.passes(&attack()).ok().filter(|passes| !passes))?;
    let pid = daemon.process()?.pid();
    let before = resident(pid)?;
    let mut seed = seed("bodies of the API")?;
    let began = Instant::now();
    let (mut right, mut wrong) = (0_u32, 0_u32);
    for sent in 0..count {
        let (path, body) = BODIES[position(&mut seed, BODIES.len())];
        let body = mutated(&mut seed, body);
        // Seldom the length is another than that of the body.
        let length = body.len() + if seed.below(200) == 0 { 1 } else { 0 };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = UnixStream::connect(socket(&daemon))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        if length > body.len() {
            stream.shutdown(std::net::Shutdown::Write)?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        match answer.get(9..12) {
            Some("200") => right += 1,
            Some(status) if status.starts_with('4') => wrong += 1,
            // Half a body is nothing to answer.
            None if length > body.len() => {}
            _ => anyhow::bail!("{path} {:?}: {answer}", String::from_utf8_lossy(&body)),
        }
        if sent % 1_000 == 0 {
            ensure!(!wire.passes(&attack())?, "an attack passed after {sent} requests");
        }
    }
    ensure!(!wire.passes(&attack())?, "an attack passed at the end");
    daemon.process()?.check_running().context("the daemon")?;
    let grown = resident(pid)?.saturating_sub(before) >> 20;
    println!(
        "{count} bodies of requests in {:.0?}: {right} taken, {wrong} refused, 0 without an answer, {grown} MiB more resident",
        began.elapsed()
    );
    ensure!(right > count / 20 && wrong > count / 20, "{right} right, {wrong} wrong");
    ensure!(grown < 100, "the daemon grew by {grown} MiB");
    Ok(())
}
