//! The cost of a packet that no rule matches, forwarded from cable to cable, generator included.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::site::VICTIM;
use lab::{Site, packet};

use crate::baseline::{iptables_rules, nft_rules};
use crate::kernel::Tables;
use crate::report::{Figure, Group};
use crate::wire::{controller, daemon, enforced};
use crate::workload;

/// How often each arrangement is measured; they take turns, so that other load affects all alike.
const ROUNDS: usize = 45;
/// Approximate duration of a round of one arrangement.
const ROUND: Duration = Duration::from_millis(40);
/// Frames handed to the kernel in one call.
const BURST: usize = 64;
/// How often a round with lost packets is repeated.
const LOSSES: usize = 5;
/// Number of different packets.
const FLOWS: u32 = 1024;

/// A forwarding machine with its filter.
struct Arrangement {
    name: &'static str,
    site: Site,
}

/// Nanoseconds for each packet, round by round.
type Times = Vec<f64>;

/// Index of the arrangement with 10,000 rules.
const TEN_THOUSAND: usize = 3;
/// Arrangements that it is compared with besides no rules: the hook alone, and the daemon without
/// rules.
const WITHOUT_RULES: [usize; 2] = [1, 2];
/// A base chain without a rule, at Floodgate's hook.
const EMPTY_CHAIN: &str =
    "table ip empty { chain prerouting { type filter hook prerouting priority -450; policy accept; }; }";

/// Forwarding without rules, with ours, and with linear ones.
pub(crate) fn measure() -> Result<Vec<Group>> {
    let mut all = vec![
        arrangement("no rules")?,
        arrangement("nft, one empty base chain")?,
        arrangement("floodgate, zero rules")?,
        arrangement("floodgate, 10,000 rules")?,
        arrangement("floodgate, 100,000 rules")?,
    ];
    all[1].site.switch.exec("nft", &[EMPTY_CHAIN])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("rules");
    let path = file.to_str().context("a path in words")?;
    for (name, program, text) in [
        ("baseline: nft, 1,000 linear rules", "nft", nft_rules(1_000)),
        ("baseline: nft, 10,000 linear rules", "nft", nft_rules(10_000)),
        ("baseline: iptables-legacy, 1,000 rules", "iptables-legacy-restore", iptables_rules(1_000)),
        ("baseline: iptables-legacy, 10,000 rules", "iptables-legacy-restore", iptables_rules(10_000)),
    ] {
        let arrangement = arrangement(name)?;
        fs::write(&file, text)?;
        let arguments: &[&str] = if program == "nft" { &["-f", path] } else { &[path] };
        arrangement.site.switch.exec(program, arguments)?;
        all.push(arrangement);
    }
    let mut daemons = Vec::new();
    for (site, count) in [(&all[2].site, 0), (&all[TEN_THOUSAND].site, 10_000), (&all[4].site, 100_000)] {
        let controller = controller(site)?;
        let daemon = daemon(site, &controller)?;
        if count == 0 {
            ensure!(daemon.ruleset()?.contains("hook prerouting"), "nothing is in force:\n{}", daemon.ruleset()?);
            daemons.push((controller, daemon));
            continue;
        }
        let mut tables = Tables::open(&site.switch)?;
        let before = tables.generation()?;
        controller.send_raw(workload::announcement(&workload::rules(count)?));
        enforced(&mut tables, &daemon, before, count as usize)?;
        daemons.push((controller, daemon));
    }

    let mut group = Group::new(
        "packets",
        format!(
            "A packet that no rule matches: UDP, 60 octets, {FLOWS} flows, sent by AF_PACKET, forwarded between two veth pairs, dropped \
             on arrival; the whole way, medians of {ROUNDS} alternating rounds."
        ),
    );
    for (kind, words) in [(Kind::Clean, "to addresses without rules"), (Kind::Bystander, "to hosts that have rules")] {
        let times = rounds(&all, kind)?;
        add_figures(&mut group, &all, &times, kind, words);
    }
    for (_, daemon) in &mut daemons {
        daemon.stop()?;
    }
    Ok(vec![group])
}

/// Measures all arrangements in turns.
fn rounds(all: &[Arrangement], kind: Kind) -> Result<Vec<Times>> {
    let mut senders = Vec::new();
    for arrangement in all {
        let mut sender = Sender::new(&arrangement.site, kind)?;
        // Warm-up, and how many packets make a round.
        let one = sender.send(256)?.max(100.0);
        senders.push((sender, (ROUND.as_nanos() as f64 / one) as u32));
    }
    let mut times = vec![Times::new(); all.len()];
    for _ in 0..ROUNDS {
        for ((sender, count), times) in senders.iter_mut().zip(&mut times) {
            times.push(sender.send(*count)?);
        }
    }
    Ok(times)
}

fn add_figures(group: &mut Group, all: &[Arrangement], times: &[Times], kind: Kind, words: &str) {
    let Some(plain) = times.first() else { return };
    for (at, (arrangement, times)) in all.iter().zip(times).enumerate() {
        group.add(Figure::median(format!("{words}: {}", arrangement.name), "ns", None, times));
        if at > 0 {
            let aim = (at == TEN_THOUSAND && kind == Kind::Clean).then_some(1.15);
            group.add(ratio(format!("  times that of no rules ({})", arrangement.name), aim, times, plain));
        }
    }
    let Some(ours) = times.get(TEN_THOUSAND) else { return };
    for without in WITHOUT_RULES {
        let name = format!("{words}: {}, times that of {}", all[TEN_THOUSAND].name, all[without].name);
        group.add(ratio(name, None, ours, &times[without]));
    }
}

/// The ratio; least and greatest are of adjacent rounds, the value is that of the two medians.
fn ratio(name: String, aim: Option<f64>, with: &Times, without: &Times) -> Figure {
    let median = |times: &Times| Figure::median("", "ns", None, times).value;
    let ratios: Vec<f64> = with.iter().zip(without).map(|(with, without)| with / without).collect();
    let mut figure = Figure::median(name, "x", aim, &ratios);
    figure.value = median(with) / median(without);
    figure
}

fn arrangement(name: &'static str) -> Result<Arrangement> {
    let site = Site::new()?;
    site.switch.default_route(VICTIM.parse()?)?;
    let sink = "table netdev sink { chain in { type filter hook ingress device eth0 priority 0; policy drop; }; }";
    site.victim.exec("nft", &[sink])?;
    Ok(Arrangement { name, site })
}

/// The destinations of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Addresses without rules.
    Clean,
    /// Hosts with rules that do not match.
    Bystander,
}

/// Sends from the attacker's side of a site and counts arrivals.
struct Sender {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    next: usize,
    /// The counters of the interfaces where packets arrive.
    counters: File,
}

impl Sender {
    fn new(site: &Site, kind: Kind) -> Result<Self> {
        let (from, to) = (site.attacker.mac("eth0")?, site.switch.mac("swp1")?);
        let frame = |number: u32| -> Result<Vec<u8>> {
            let spread = number.wrapping_mul(0x9e37_79b1);
            let host = match kind {
                Kind::Clean => Ipv4Addr::from(0x0c00_0000 | spread >> 8),
                // The workload has two rules for every third address from 10.0.0.0 on; none of them
                // is for this port, but of every ten hosts the fifth has one for our network.
                Kind::Bystander => {
                    let host = spread % 4_000;
                    Ipv4Addr::from(0x0a00_0000 + (host + u32::from(host % 10 == 4)) * 3)
                }
            };
            let source: IpAddr = "198.51.100.1".parse()?;
            let packet = packet::udp((source, 40_000).into(), (IpAddr::V4(host), 40_000).into(), &[0; 18]);
            Ok(packet::ethernet(from, to, &packet))
        };
        let frames = (0..FLOWS).map(frame).collect::<Result<_>>()?;
        let socket = site.attacker.run(|| packet_socket(c"eth0")).context("packet socket")?;
        let counters = site.victim.run(|| File::open("/proc/thread-self/net/dev"))?;
        Ok(Self { socket, frames, next: 0, counters })
    }

    /// Sends this many packets, all of which must arrive; nanoseconds for each, until the last has
    /// arrived.
    fn send(&mut self, count: u32) -> Result<f64> {
        for _ in 0..LOSSES {
            let before = self.arrived()?;
            let start = Instant::now();
            let mut left = count as usize;
            while left > 0 {
                left -= self.burst(left.min(BURST))?;
            }
            let mut time = start.elapsed();
            loop {
                let arrived = self.arrived()? - before;
                if arrived >= u64::from(count) {
                    return Ok(time.as_nanos() as f64 / f64::from(count));
                }
                time = start.elapsed();
                if time > Duration::from_secs(2) {
                    // A queue overflowed because the kernel had postponed the work: that says
                    // nothing about its cost.
                    break;
                }
            }
        }
        bail!("of {count} packets some are lost, again and again")
    }

    /// Sends some frames in one call; returns how many were accepted.
    fn burst(&mut self, count: usize) -> Result<usize> {
        let mut vectors = [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; BURST];
        for vector in &mut vectors[..count] {
            let frame = &self.frames[self.next];
            self.next = (self.next + 1) % self.frames.len();
            *vector = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        }
        // SAFETY: a header of zeros has no pointers.
        let mut messages: [libc::mmsghdr; BURST] = unsafe { std::mem::zeroed() };
        for (message, vector) in messages.iter_mut().zip(&mut vectors) {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: `count` headers, each with a vector that points into a frame; all live through
        // the call, which only reads the frames.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error()).context("sending")
    }

    /// Packets that have arrived at the victim so far.
    fn arrived(&self) -> Result<u64> {
        let mut buffer = [0; 4096];
        let length = self.counters.read_at(&mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..length])?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("no eth0")?;
        Ok(line.split_whitespace().nth(1).context("no packets")?.parse()?)
    }
}

/// A socket that only sends.
fn packet_socket(interface: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers and a C string; the descriptor is ours when it is one; the address is
    // of the length given.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(interface.as_ptr()) as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        if libc::bind(fd, std::ptr::from_ref(&address).cast(), length) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }
}
