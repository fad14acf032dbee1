//! BIRD announces 100,000 rules as fast as it can, repeatedly, with a hold time of three seconds:
//! measures whether they are installed, and whether our keepalives stay on time.

use api::SessionState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lab::peers::{Bird, Family, PeerDaemon as _, Session};
use lab::scenario::{CONTROLLER_AS, SWITCH_AS};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, Netns, PacketSocket, Site};

use crate::kernel::Tables;
use crate::report::{Figure, Group};
use crate::wire::{configuration, enforced};

const COUNT: u32 = 100_000;
const PORT: u16 = 1180;
/// Seconds.
const HOLD_TIME: u16 = 3;
const WAVES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Waves of announcements and withdrawals.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut group = Group::new(
        "bird",
        format!(
            "BIRD announces {COUNT} rules at full speed and withdraws them, {WAVES} times, hold time {HOLD_TIME} s: from the first octet \
             of BIRD's UPDATEs on the cable until the kernel has the last rule; and our KEEPALIVEs meanwhile, seen on the cable."
        ),
    );
    let site = Site::new()?;
    let session = Session::new(PEER.parse()?, CONTROLLER_AS, SWITCH.parse()?, SWITCH_AS)
        .families(&[Family::Ipv4Flow])
        .port(PORT)
        .passive()
        .hold_time(HOLD_TIME);
    let mut bird = Bird::start(&site.peers, session, &[])?;
    let mut daemon = Daemon::start(&site.switch, &configuration(PORT, 90))?;
    bird.wait_established(PATIENCE)?;
    daemon.wait_established("controller", PATIENCE)?;
    ensure!(daemon.peer("controller")?.hold_time == Some(HOLD_TIME), "the hold time is not {HOLD_TIME} s");

    let theirs = Watch::start(&site.switch, "swp3", PEER.parse()?)?;
    let ours = Watch::start(&site.peers, "eth0", SWITCH.parse()?)?;
    let mut tables = Tables::open(&site.switch)?;
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..WAVES {
        let before = tables.generation()?;
        starts.push(Instant::now());
        bird.announce_all((0..COUNT).map(route))?;
        ends.push(enforced(&mut tables, &daemon, before, COUNT as usize)?);
        let before = tables.generation()?;
        bird.withdraw_all()?;
        enforced(&mut tables, &daemon, before, 0)?;
    }
    let (theirs, ours) = (theirs.stop()?, ours.stop()?);
    let mut seconds = Vec::new();
    for (start, end) in starts.iter().zip(&ends) {
        let first = theirs.iter().find(|seen| seen.at >= *start && seen.update);
        let first = first.ok_or_else(|| anyhow!("no UPDATE was seen on the cable"))?;
        seconds.push((*end - first.at).as_secs_f64());
    }
    let keepalives: Vec<Instant> = ours.iter().filter(|seen| seen.keepalive).map(|seen| seen.at).collect();
    let gaps: Vec<f64> = keepalives.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let lived = daemon.peer("controller")?;
    ensure!(
        lived.established_count == 1 && lived.state == SessionState::Established,
        "the session was lost: {lived:?}"
    );
    ensure!(bird.control("show protocols fg")?.contains("Established"), "BIRD lost the session");
    ensure!(gaps.len() > WAVES, "only {} keepalives were seen", keepalives.len());
    group.add(Figure::median("100,000 rules, first octet to kernel", "s", None, &seconds));
    group.add(Figure::median("between two of our KEEPALIVEs, median", "s", None, &gaps));
    // RFC 4271 suggests a third of the hold time; at the hold time the peer would close the
    // session.
    let aim = f64::from(HOLD_TIME) / 2.0;
    group.add(Figure::quantile("between two of our KEEPALIVEs, longest", "s", Some(aim), &gaps, 1.0));
    group.add(Figure::median("sessions lost", "", Some(0.0), &[0.0]));
    bird.stop()?;
    daemon.stop()?;
    Ok(vec![group])
}

fn route(number: u32) -> String {
    let [a, b, c, d] = (0x0a00_0000 + number * 3).to_be_bytes();
    let port = [123, 53, 389, 1900, 11211][number as usize % 5];
    format!(
        "flow4 {{ dst {a}.{b}.{c}.{d}/32; proto = 17; sport = {port}; }} {{ bgp_ext_community.add((generic, 0x80060000, 0x0)); }}"
    )
}

/// A TCP segment with BGP messages.
struct Seen {
    at: Instant,
    keepalive: bool,
    update: bool,
}

/// Captures at the end of a cable.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Seen>>>,
}

impl Watch {
    /// Captures what this sender sends to port `PORT`.
    fn start(netns: &Netns, interface: &str, sender: IpAddr) -> Result<Self> {
        let mut socket = PacketSocket::open(netns, interface)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let IpAddr::V4(sender) = sender else { return Err(anyhow!("{sender} is not IPv4")) };
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let Some(frame) = socket.receive(Duration::from_millis(100))? else { continue };
                let at = Instant::now();
                if let Some(payload) = payload(&frame, sender.octets()) {
                    let (keepalive, update) = (starts_message(payload, 4), starts_message(payload, 2));
                    seen.push(Seen { at, keepalive, update });
                }
            }
            ensure!(socket.lost()? == 0, "the watch lost frames");
            Ok(seen)
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

/// The octets of a TCP segment of the session from this sender.
fn payload(frame: &[u8], sender: [u8; 4]) -> Option<&[u8]> {
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    if ip[0] >> 4 != 4 || *ip.get(9)? != 6 || ip.get(12..16)? != sender {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let tcp = ip.get(header..length.max(header))?;
    let ports = [u16::from_be_bytes([*tcp.first()?, *tcp.get(1)?]), u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?])];
    let at = usize::from(*tcp.get(12)? >> 4) * 4;
    tcp.get(at..).filter(|payload| ports.contains(&PORT) && !payload.is_empty())
}

/// Whether a BGP message of this kind begins in these octets.
fn starts_message(payload: &[u8], kind: u8) -> bool {
    payload.windows(19).any(|window| window[..16] == [0xff; 16] && window[18] == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_messages_in_frames() {
        let mut keepalive = vec![0xff; 16];
        keepalive.extend([0, 19, 4]);
        let packet = lab::packet::tcp(
            "192.0.2.1:1180".parse().unwrap(),
            "192.0.2.2:9".parse().unwrap(),
            lab::packet::tcp_flags::ACK,
            &keepalive,
        );
        let frame = lab::packet::ethernet([0; 6], [1; 6], &packet);
        let payload = payload(&frame, [192, 0, 2, 1]).unwrap();
        assert!(starts_message(payload, 4) && !starts_message(payload, 2));
        assert!(super::payload(&frame, [192, 0, 2, 2]).is_none());
    }
}
