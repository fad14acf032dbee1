//! IPv6 neighbour discovery passes whatever the rules are (docs/decisions/0032): through real
//! stacks with empty neighbour caches, and packet by packet with the hop limits that distinguish
//! the real messages from forged ones.

use anyhow::{Context, Result};
use dataplane::Dataplane;
use dataplane::nftables::{Nftables, Options};
use engine::plan::{CompiledRule, Ruleset};
use flowspec::space::Space;
use flowspec::testing::{Draft, Extension};
use flowspec::{Action, Packet, Rate, Rule};
use lab::{End, Netns, PATIENCE, PacketSocket, needs, packet, veth};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ATTACKER: &str = "2001:db8::1";
const ROUTER: &str = "2001:db8::2";

struct Pair {
    attacker: Netns,
    router: Netns,
}

impl Pair {
    fn new() -> Result<Self> {
        let (attacker, router) = (Netns::new("nd-a")?, Netns::new("nd-r")?);
        for netns in [&attacker, &router] {
            // Addresses are used at once, and nothing but what is sent here is counted.
            for interface in ["default", "all"] {
                netns.sysctl(&format!("net/ipv6/conf/{interface}/accept_dad"), "0")?;
                netns.sysctl(&format!("net/ipv6/conf/{interface}/router_solicitations"), "0")?;
            }
        }
        let (a, r) = (format!("{ATTACKER}/64"), format!("{ROUTER}/64"));
        veth(End::new(&attacker, "a0", &[&a]), End::new(&router, "r0", &[&r]))?;
        Ok(Pair { attacker, router })
    }

    /// Whether a datagram and its answer go through with cold neighbour caches on both sides.
    fn speaks(&self) -> Result<bool> {
        self.attacker.ip(&["-6", "neigh", "flush", "dev", "a0"])?;
        self.router.ip(&["-6", "neigh", "flush", "dev", "r0"])?;
        let server = self.router.run(|| UdpSocket::bind((ROUTER, 7)))?;
        let client = self.attacker.run(|| UdpSocket::bind((ATTACKER, 0)))?;
        server.set_read_timeout(Some(PATIENCE))?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.connect((ROUTER, 7))?;
        client.send(b"hello")?;
        let Ok((_, from)) = server.recv_from(&mut [0; 16]) else { return Ok(false) };
        server.send_to(b"hello", from)?;
        Ok(client.recv(&mut [0; 16]).is_ok())
    }
}

fn compiled(text: &str) -> Result<Arc<CompiledRule>> {
    let rule: Rule = text.parse()?;
    let entries = vec![Space::of(&rule.nlri)];
    Ok(Arc::new(CompiledRule { id: rule.nlri.id(), effect: rule.effect(), entries, nlri: Arc::new(rule.nlri) }))
}

fn ruleset(rules: &[Arc<CompiledRule>]) -> Ruleset {
    let mut rules = rules.to_vec();
    rules.sort_by(|a, b| a.nlri.cmp(&b.nlri));
    Ruleset { protected: Arc::default(), rules }
}

/// A neighbour solicitation as the attacker would send it.
fn solicitation() -> Draft {
    let mut draft = Draft::new(58, ATTACKER.parse().expect("an address"), "ff02::1:ff00:2".parse().expect("one"));
    (draft.icmp_type, draft.hop_limit, draft.length) = (135, 255, 72);
    draft
}

/// Packets, and whether the rules may touch them.
fn messages() -> Vec<(String, Draft, bool)> {
    let of = |what: &str, change: &dyn Fn(&mut Draft), filtered| {
        let mut draft = solicitation();
        change(&mut draft);
        (what.to_owned(), draft, filtered)
    };
    let mut messages: Vec<_> = (133..=137)
        .flat_map(|kind| {
            [255, 254, 64].map(|hops| {
                let change = move |d: &mut Draft| (d.icmp_type, d.hop_limit) = (kind, hops);
                of(&format!("type {kind} with hop limit {hops}"), &change, hops != 255)
            })
        })
        .collect();
    messages.push(of("code 1", &|d| d.icmp_code = 1, true));
    messages.push(of("an echo request", &|d| d.icmp_type = 128, true));
    messages.push(of("a listener report", &|d| d.icmp_type = 143, true));
    messages.push(of("UDP that looks alike", &|d| (d.protocol, d.source_port) = (17, 135 << 8), true));
    messages.push(of("a fragment", &|d| d.more_fragments = true, true));
    messages.push(of("an atomic fragment", &|d| d.atomic = true, true));
    let options = Extension { header: 60, units: 1 };
    messages.push(of("destination options", &|d| d.extensions = vec![options], true));
    messages
}

/// How many packets are counted where one that is filtered for certain follows another.
fn expected(filtered: bool) -> u64 {
    1 + u64::from(filtered)
}

fn discovery_passes(pair: &Pair, plane: &mut dyn Dataplane) -> Result<()> {
    // What a peer may send by default (/16), the router's own address, and, from a peer that may,
    // everything.
    let rules = [
        "ipv6 dst ff02::/16 then discard".to_owned(),
        format!("ipv6 dst {ROUTER}/128 proto 58 then discard"),
        "ipv6 dst fe80::/16 proto 58 then discard".to_owned(),
        "ipv6 proto 58 then discard".to_owned(),
    ];
    let rules = rules.iter().map(|text| compiled(text)).collect::<Result<Vec<_>>>()?;
    assert_eq!(plane.replace(&ruleset(&rules))?.failures, []);
    assert!(pair.speaks()?, "neighbour discovery was filtered");

    let sender = PacketSocket::open(&pair.attacker, "a0")?;
    let (from, to) = (pair.attacker.mac("a0")?, pair.router.mac("r0")?);
    for (what, draft, filtered) in messages() {
        let octets = draft.to_ip();
        assert_eq!(Packet::from_ip(&octets)?.is_neighbor_discovery(), !filtered, "{what}: the oracle");
        let counted = |plane: &mut dyn Dataplane| -> Result<u64> {
            Ok(plane.counters()?.iter().map(|(_, counter)| counter.dropped_packets.unwrap_or(0)).sum())
        };
        // The kernels send messages of their own, such as listener reports, which are filtered and
        // counted, too: then it is tried again. A message that is filtered and must not be counts
        // one too many each time.
        let exact = (0..5).try_fold(Vec::new(), |mut tries: Vec<u64>, _| -> Result<Vec<u64>> {
            if tries.last() == Some(&expected(filtered)) {
                return Ok(tries);
            }
            let before = counted(plane)?;
            sender.send(&packet::ethernet(from, to, &octets))?;
            // A packet that is filtered for certain, behind it: when it is counted, the one before
            // was decided.
            let mut last = solicitation();
            last.hop_limit = 1;
            sender.send(&packet::ethernet(from, to, &last.to_ip()))?;
            let until = Instant::now() + Duration::from_secs(60);
            let mut more = counted(plane)? - before;
            while more < expected(filtered) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
                more = counted(plane)? - before;
            }
            tries.push(more);
            Ok(tries)
        })?;
        assert_eq!(exact.last(), Some(&expected(filtered)), "{what}: counted {exact:?}");
    }
    Ok(())
}

#[test]
fn nftables_never_filters_neighbour_discovery() -> Result<()> {
    needs!(root, "ip", "nft");
    let pair = Pair::new()?;
    let mut plane = pair.router.run(|| Nftables::open(Options::default()))?;
    discovery_passes(&pair, &mut plane)?;
    let listing = pair.router.exec("nft", &["list", "table", "ip6", "floodgate"])?;
    assert!(listing.contains("ip6 hoplimit 255"), "{listing}");
    Ok(())
}

#[cfg(xdp_program)]
#[test]
fn xdp_never_filters_neighbour_discovery() -> Result<()> {
    use dataplane::xdp::{Attach, Options, Xdp};
    needs!(root, "ip");
    let pair = Pair::new()?;
    for attach in [Attach::Native, Attach::Generic] {
        let options = Options {
            attach,
            interfaces: vec!["r0".to_owned()],
            capacity: 1024,
            directory: pair.router.bpf_directory().join("floodgate"),
        };
        pair.router.run(|| -> Result<()> {
            let mut plane = Xdp::open(options)?;
            discovery_passes(&pair, &mut plane)?;
            plane.clear().context("clear")
        })?;
    }
    Ok(())
}

/// What the random rules of the differential tests do is only worth something if the oracle knows
/// the exemption.
#[test]
fn the_oracle_knows_the_exemption() -> Result<()> {
    let rule = Rule {
        actions: vec![Action::RateBytes { asn: 0, rate: Rate::new(0.0).context("a rate")? }],
        ..("ipv6 proto 58").parse()?
    };
    for (what, draft, filtered) in messages() {
        let packet = Packet::from_ip(&draft.to_ip())?;
        let decision = flowspec::decide([&rule], &packet, flowspec::Scope::Global);
        assert_eq!(
            (decision.exempt.is_some(), decision.rule().is_none()),
            (!filtered, !filtered || packet.protocol() != Some(58)),
            "{what}"
        );
    }
    Ok(())
}
