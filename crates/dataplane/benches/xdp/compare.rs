//! The same rules and packets with other implementations, in the same run: our nftables back end,
//! and rules as generated code.
//!
//! *The whole way*: a generator in the kernel sends frames through a veth pair; the receiving end
//! filters in native XDP or in nftables' prerouting, and what passes goes on to the routing
//! decision, which has no route and drops it. Everything happens on one processor, so the time of
//! the generator's loop is that of the whole way. The floor is the same way without any filter.
//!
//! *The filter alone*: the kernel's test run, as in the rest of this bench.

use crate::measure::{FRAMES, record};
use crate::mix::{Line, Mix, TRAFFIC, Traffic, frames, rules, ruleset};
use anyhow::{Context, Result, ensure};
use dataplane::Dataplane;
use dataplane::nftables::{self, Nftables};
use dataplane::xdp::testing::{Harness, as_code};
use dataplane::xdp::{Attach, Options, Xdp};
use engine::plan::Ruleset;
use lab::{End, Netns, veth};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const CODE_SIZES: [usize; 5] = [10, 100, 1_000, 3_000, 10_000];
/// Packets of one measurement on the whole way.
const PACKETS: u32 = 300_000;
const ROUNDS: usize = 5;
/// Runs until so many were without loss.
const TRIES: usize = 25;
/// Room for the longest packet of the mix.
const OCTETS: usize = 112;
/// Longest that one measurement of generated code may take.
const PATIENCE: Duration = Duration::from_millis(300);
/// Longest that clang may take.
const COMPILER_SECONDS: &str = "60";

type Times = Vec<(Traffic, Duration)>;

/// Both parts, or one: `way` or `code`.
pub(crate) fn run(part: &str, json: bool) -> Result<()> {
    if part != "code" {
        whole_way(json)?;
    }
    if part != "way" {
        generated(json)?;
    }
    Ok(())
}

/// Cables and the generator.
struct Way {
    from: Netns,
    to: Netns,
    interface: u32,
    generator: Harness,
}

impl Way {
    fn new() -> Result<Self> {
        let (from, to) = (Netns::new("bench-from")?, Netns::new("bench-to")?);
        veth(End::new(&from, "out0", &[]), End::new(&to, "in0", &[]))?;
        to.ip(&["link", "set", "in0", "address", "02:00:00:00:00:02"])?;
        // What receives offloaded frames can be sent XDP frames.
        to.run(|| generic_receive_offload("in0"))?;
        let interface = from.run(|| index("out0"))?;
        Ok(Way { from, to, interface, generator: Harness::new(1024, FRAMES)? })
    }

    /// The best time of each traffic.
    fn measure(&mut self, traffic: &[(Traffic, Vec<Vec<u8>>)]) -> Result<Times> {
        let Way { from, interface, generator, .. } = self;
        let mut times = Vec::new();
        for (kind, frames) in traffic {
            let (mut best, mut good) = (Duration::MAX, 0);
            for _ in 0..TRIES {
                let (generator, interface) = (&mut *generator, *interface);
                let (time, lost) = from.run(move || -> Result<_> {
                    stay_on_one_processor()?;
                    let before = dropped_on_the_way("out0")?;
                    let time = generator.generate(frames, OCTETS, PACKETS, interface)?;
                    Ok((time, dropped_on_the_way("out0")? - before))
                })?;
                // Where the receiving end was kept from running, packets found the cable full: that
                // time is not the way's.
                if lost * 1000 <= u64::from(PACKETS) {
                    best = best.min(time);
                    good += 1;
                }
                if good == ROUNDS {
                    break;
                }
            }
            ensure!(good > 0, "in each of {TRIES} runs packets did not reach the filter: the machine is too busy");
            times.push((*kind, best));
        }
        Ok(times)
    }
}

fn whole_way(json: bool) -> Result<()> {
    if !json {
        println!("\nThe whole way over a veth pair, IPv4, nanoseconds a packet (times the floor: no filter)");
        head();
    }
    let mut way = Way::new()?;
    for size in SIZES {
        let lines = rules(Mix::V4, size);
        let traffic = traffic(&lines);
        let set = ruleset(&lines);
        let floor = way.measure(&traffic)?;
        show("whole way", "no filter", size, &floor, &floor, json);
        let times = {
            // Lists that the default would refuse are what is compared.
            let options = nftables::Options {
                interfaces: vec!["in0".to_owned()],
                max_chain_rules: usize::MAX,
                ..nftables::Options::default()
            };
            let mut plane = way.to.run(|| Nftables::open(options))?;
            filtered(&mut way, &mut plane, &set, &traffic)?
        };
        show("whole way", "nftables", size, &times, &floor, json);
        let options = Options {
            interfaces: vec!["in0".to_owned()],
            attach: Attach::Native,
            capacity: size as u32 + size as u32 / 4,
            directory: way.to.bpf_directory().join("floodgate"),
        };
        let mut plane = way.to.run(|| Xdp::open(options))?;
        let times = filtered(&mut way, &mut plane, &set, &traffic)?;
        show("whole way", "XDP", size, &times, &floor, json);
    }
    Ok(())
}

/// With these rules in force; each is checked to see the packets that it should.
fn filtered(
    way: &mut Way,
    plane: &mut impl Dataplane,
    set: &Ruleset,
    traffic: &[(Traffic, Vec<Vec<u8>>)],
) -> Result<Times> {
    let applied = way.to.run(|| plane.replace(set))?;
    ensure!(applied.failures.is_empty(), "{:?}", applied.failures.first());
    let mut times = Vec::new();
    for one in traffic {
        let before = counted(plane)?;
        times.extend(way.measure(std::slice::from_ref(one))?);
        let seen = counted(plane)? - before;
        let is_hit = matches!(one.0, Traffic::Hot | Traffic::Match);
        ensure!(if is_hit { seen >= u64::from(PACKETS) } else { seen == 0 }, "{:?}: {seen} packets matched", one.0);
    }
    way.to.run(|| plane.clear())?;
    Ok(times)
}

fn counted(plane: &mut impl Dataplane) -> Result<u64> {
    Ok(plane.counters()?.iter().map(|(_, counter)| counter.packets).sum())
}

fn generated(json: bool) -> Result<()> {
    if !json {
        println!(
            "\nRules as generated code against this program, IPv4, nanoseconds a packet in the kernel's test run (times the floor)"
        );
        head();
    }
    let directory = tempfile::tempdir()?;
    for size in CODE_SIZES {
        let lines = rules(Mix::V4, size);
        let traffic = traffic(&lines);
        let set = ruleset(&lines);
        let mut ours = Harness::new(size as u32 + size as u32 / 4, FRAMES)?;
        let floor = best_of(&mut ours, &traffic)?;
        ours.replace(&set)?;
        let times = best_of(&mut ours, &traffic)?;
        show("test run", "XDP", size, &times, &floor, json);

        let began = Instant::now();
        let refusal = match compile(&set, directory.path()) {
            Ok(object) => {
                let compiled = began.elapsed();
                match Harness::of_object(&object, &["generated"], "generated", size as u32 * 2, FRAMES) {
                    Ok(mut code) => {
                        let loaded = began.elapsed() - compiled;
                        same_verdicts(&mut ours, &mut code, &traffic)?;
                        let times = best_of(&mut code, &traffic)?;
                        show("test run", "code", size, &times, &floor, json);
                        if !json {
                            println!("  {size} rules: compiled in {compiled:.1?}, verified and loaded in {loaded:.1?}");
                        }
                        continue;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        let words = refusal.lines().find(|line| line.contains("too large")).unwrap_or(&refusal);
        let object = format!("{{\"bench\":\"test run\",\"filter\":\"code\",\"rules\":{size},\"refused\":{words:?}}}");
        if !record(&object, json) {
            println!("  {size} rules as code are refused after {:.1?}: {words}", began.elapsed());
        }
        break;
    }
    Ok(())
}

/// Clang, at the settings of the build.
fn compile(set: &Ruleset, directory: &Path) -> Result<Vec<u8>> {
    let source = directory.join("generated.c");
    std::fs::write(&source, as_code(set)?)?;
    let clang = ["clang-14", "clang"].into_iter().find(|clang| Command::new(clang).arg("--version").output().is_ok());
    let object = source.with_extension("o");
    let output = Command::new("timeout")
        .args([COMPILER_SECONDS, clang.context("no clang")?])
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bpf"))
        .args(["-c", "-o"])
        .args([&object, &source])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() != Some(124), "clang needs more than {COMPILER_SECONDS} s");
    ensure!(output.status.success(), "clang: {}", said.lines().find(|line| line.contains("error")).unwrap_or("failed"));
    std::fs::read(&object).context("the object")
}

/// Both programs drop as many packets of each traffic.
fn same_verdicts(ours: &mut Harness, code: &mut Harness, traffic: &[(Traffic, Vec<Vec<u8>>)]) -> Result<()> {
    for (kind, frames) in traffic {
        let before = (ours.dropped(), code.dropped());
        let packets = 4096;
        ours.measure(frames, packets)?;
        code.measure(frames, packets)?;
        let (ours, code) = (ours.dropped() - before.0, code.dropped() - before.1);
        ensure!(ours == code, "{kind:?}: {ours} and {code} packets are dropped");
    }
    Ok(())
}

fn best_of(harness: &mut Harness, traffic: &[(Traffic, Vec<Vec<u8>>)]) -> Result<Times> {
    let one = |(kind, frames): &(Traffic, Vec<Vec<u8>>)| -> Result<(Traffic, Duration)> {
        let first = harness.measure(frames, 2000)?.max(Duration::from_nanos(1));
        let repeat = (PATIENCE.as_nanos() / first.as_nanos()).clamp(2000, 400_000) as u32;
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            best = best.min(harness.measure(frames, repeat)?);
        }
        Ok((*kind, best))
    };
    traffic.iter().map(one).collect()
}

fn traffic(lines: &[Line]) -> Vec<(Traffic, Vec<Vec<u8>>)> {
    let frames = |kind| frames(Mix::V4, kind, lines, FRAMES as usize).into_iter().map(with_checksum).collect();
    TRAFFIC.iter().map(|&(kind, _)| (kind, frames(kind))).collect()
}

/// The kernel's stack takes no header without.
fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let words = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    frame
}

fn head() {
    print!("{:<10} {:>7}", "", "rules");
    TRAFFIC.iter().for_each(|(_, name)| print!(" {name:>18}"));
    println!();
}

fn show(way: &str, filter: &str, size: usize, times: &Times, floor: &Times, json: bool) {
    let nanos: Vec<String> =
        times.iter().map(|(kind, time)| format!("\"{}\":{}", crate::plot::name(*kind), time.as_nanos())).collect();
    let object = format!("{{\"bench\":\"{way}\",\"filter\":\"{filter}\",\"rules\":{size},{}}}", nanos.join(","));
    if record(&object, json) {
        return;
    }
    print!("{filter:<10} {size:>7}");
    for ((_, time), (_, floor)) in times.iter().zip(floor) {
        print!(" {:>8} ({:>6.2} x)", time.as_nanos(), time.as_secs_f64() / floor.as_secs_f64());
    }
    println!();
}

/// Frames that the interface could not hand over.
fn dropped_on_the_way(interface: &str) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    // receive: bytes packets errs drop fifo frame compressed multicast; transmit: bytes packets
    // errs drop
    let dropped = line.and_then(|line| line.split_whitespace().nth(11)?.parse().ok());
    dropped.context("no such interface")
}

/// The receiving end runs where the generator does.
fn stay_on_one_processor() -> Result<()> {
    // SAFETY: zeros are a value of this set of bits; it is large enough for the processor that we
    // run on.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    ensure!(result == 0, "stay on a processor: {}", std::io::Error::last_os_error());
    Ok(())
}

fn index(interface: &str) -> Result<u32> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a C string that lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no interface {interface}");
    Ok(index)
}

fn generic_receive_offload(interface: &str) -> Result<()> {
    const ETHTOOL_SGRO: u32 = 0x2c;
    let mut value = [ETHTOOL_SGRO, 1u32];
    // SAFETY: zeros are a value of this struct of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: request and value live until the call returns.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCETHTOOL, &raw mut request) };
    ensure!(result == 0, "generic receive offload of {interface}: {}", std::io::Error::last_os_error());
    Ok(())
}
