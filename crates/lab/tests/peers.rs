//! Each launcher starts its program, whose OPEN arrives where it was told to connect, and whose rules follow once the
//! session stands.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::peers::{Bird, Exabgp, Family, Frr, Gobgp, Session, Version};
use lab::{End, Netns, needs, veth, wait_until};

const PEER: &str = "192.0.2.2";
const OURS: &str = "192.0.2.1";
const PATIENCE: Duration = Duration::from_secs(20);
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;
/// AFI 1, SAFI 133.
const IPV4_FLOW: [u8; 3] = [0, 1, 133];

/// The program under test, as far as these tests need one: it answers an OPEN with the same capabilities.
struct Speaker {
    listener: TcpListener,
}

impl Speaker {
    fn new(netns: &Netns, port: u16) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind((OURS, port)))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Accepts the next connection and brings the session up.
    fn establish(&self, own_as: u16) -> Result<TcpStream> {
        let (stream, from) = wait_until("the peer's connection", PATIENCE, || self.listener.accept().ok())?;
        assert_eq!(from.ip(), PEER.parse::<IpAddr>()?);
        stream.set_nonblocking(false)?;
        handshake(stream, own_as)
    }
}

/// Reads the peer's OPEN, answers with the same but our AS number and identifier, and waits for the KEEPALIVE.
fn handshake(mut stream: TcpStream, own_as: u16) -> Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (kind, mut open) = message(&mut stream)?;
    assert_eq!((kind, open[0]), (OPEN, 4), "BGP version 4");
    open[1..3].copy_from_slice(&own_as.to_be_bytes());
    open[5..9].copy_from_slice(&[10, 9, 9, 9]);
    replace_as4(&mut open, own_as);
    send(&mut stream, OPEN, &open)?;
    send(&mut stream, KEEPALIVE, &[])?;
    match message(&mut stream)? {
        (KEEPALIVE, _) => Ok(stream),
        (kind, body) => bail!("expected a KEEPALIVE, got type {kind}: {body:02x?}"),
    }
}

/// The AS number once more, in the capability for four octets (code 65).
fn replace_as4(open: &mut [u8], own_as: u16) {
    if let Some(at) = open.windows(2).position(|pair| pair == [65, 4]) {
        open[at + 2..at + 6].copy_from_slice(&u32::from(own_as).to_be_bytes());
    }
}

fn message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).context("read a BGP header")?;
    assert_eq!(header[..16], [0xff; 16], "the marker");
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length - 19];
    stream.read_exact(&mut body)?;
    Ok((header[18], body))
}

fn send(stream: &mut TcpStream, kind: u8, body: &[u8]) -> Result<()> {
    let length = u16::try_from(19 + body.len())?;
    Ok(stream.write_all(&[&[0xff; 16], &length.to_be_bytes()[..], &[kind], body].concat())?)
}

/// Waits for an UPDATE that announces the rule for 198.51.100.LAST.
fn announced(stream: &mut TcpStream, last: u8) -> Result<()> {
    update_with(stream, MP_REACH, last)
}

/// Waits for an UPDATE that withdraws it.
fn withdrawn(stream: &mut TcpStream, last: u8) -> Result<()> {
    update_with(stream, MP_UNREACH, last)
}

fn update_with(stream: &mut TcpStream, attribute: u8, last: u8) -> Result<()> {
    // Type 1, prefix 198.51.100.LAST/32, type 3, UDP: how the NLRI of the rules in these tests begins.
    let nlri = [1, 32, 198, 51, 100, last, 3, 0x81, 17];
    let mut seen = Vec::new();
    loop {
        match message(stream).with_context(|| format!("no UPDATE with {nlri:02x?}; there were {seen:02x?}"))? {
            (UPDATE, body) if has_flow_attribute(&body, attribute) && contains(&body, &nlri) => return Ok(()),
            (KEEPALIVE, _) => send(stream, KEEPALIVE, &[])?,
            other => seen.push(other),
        }
    }
}

/// Whether the attribute of this type, with one or two octets of length, is there for IPv4 FlowSpec.
fn has_flow_attribute(body: &[u8], kind: u8) -> bool {
    let short = |at: &[u8]| at[0] == 0x80 && at[1] == kind && at[3..6] == IPV4_FLOW;
    let long = |at: &[u8]| at[0] == 0x90 && at[1] == kind && at[4..7] == IPV4_FLOW;
    body.windows(7).any(|at| short(at) || long(at))
}

fn contains(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

fn network() -> Result<(Netns, Netns)> {
    let (ours, peers) = (Netns::new("ours")?, Netns::new("peer")?);
    veth(End::new(&ours, "eth0", &["192.0.2.1/24"]), End::new(&peers, "eth0", &["192.0.2.2/24"]))?;
    Ok((ours, peers))
}

fn session(local_as: u32) -> Session {
    Session::new(PEER.parse().unwrap(), local_as, OURS.parse().unwrap(), 65000).port(1790)
}

#[test]
fn bird() -> Result<()> {
    needs!(root, "bird", "birdc");
    let (ours, peers) = network()?;
    let speaker = Speaker::new(&ours, 1790)?;
    let rule = |last| {
        format!(
            "flow4 {{ dst 198.51.100.{last}/32; proto = 17; }} {{ bgp_ext_community.add((generic, 0x80060000, 0x0)); }}"
        )
    };
    let mut bird = Bird::start(&peers, session(65001), &[&rule(1)])?;
    let mut stream = speaker.establish(65000)?;
    bird.wait_established(PATIENCE)?;
    announced(&mut stream, 1)?;
    bird.announce(&rule(2))?;
    announced(&mut stream, 2)?;
    bird.withdraw(&rule(1))?;
    withdrawn(&mut stream, 1)?;
    bird.restart()?;
    let mut stream = speaker.establish(65000)?;
    announced(&mut stream, 2)?;
    bird.stop()
}

#[test]
fn gobgp() -> Result<()> {
    needs!(root, "gobgpd", "gobgp");
    let (ours, peers) = network()?;
    let speaker = Speaker::new(&ours, 1790)?;
    let mut gobgp = Gobgp::start(&peers, session(65002))?;
    let mut stream = speaker.establish(65000)?;
    gobgp.wait_established(PATIENCE)?;
    let rule = |last| format!("match destination 198.51.100.{last}/32 protocol udp then discard");
    gobgp.announce(Family::Ipv4Flow, &rule(1))?;
    announced(&mut stream, 1)?;
    gobgp.announce(Family::Ipv4Flow, &rule(2))?;
    announced(&mut stream, 2)?;
    gobgp.withdraw(Family::Ipv4Flow, &rule(1))?;
    withdrawn(&mut stream, 1)?;
    gobgp.restart()?;
    let mut stream = speaker.establish(65000)?;
    announced(&mut stream, 2)?;
    assert!(gobgp.announce(Family::Ipv4Flow, "match nonsense then discard").is_err());
    gobgp.stop()
}

fn exabgp(version: Version) -> Result<()> {
    needs!(root);
    if !version.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    let speaker = Speaker::new(&ours, 1790)?;
    let configured = "    route a { match { destination 198.51.100.1/32; protocol udp; } then { discard; } }";
    let session = session(65003);
    let mut exabgp = Exabgp::start(&peers, version, &session, configured)?;
    let mut stream = speaker.establish(65000)?;
    exabgp.wait_established(PATIENCE)?;
    announced(&mut stream, 1)?;
    let rule = |last| format!("match {{ destination 198.51.100.{last}/32; protocol udp; }} then {{ discard; }}");
    exabgp.announce(&rule(2))?;
    announced(&mut stream, 2)?;
    exabgp.announce(&rule(3))?;
    announced(&mut stream, 3)?;
    exabgp.withdraw(&rule(2))?;
    withdrawn(&mut stream, 2)?;
    exabgp.restart(&session)?;
    let mut stream = speaker.establish(65000)?;
    announced(&mut stream, 3)?;
    exabgp.stop()
}

#[test]
fn exabgp4() -> Result<()> {
    exabgp(Version::V4)
}

#[test]
fn exabgp5() -> Result<()> {
    exabgp(Version::V5)
}

#[test]
fn frr_passes_on_what_exabgp_sends_it() -> Result<()> {
    needs!(root, Frr::PROGRAM, "vtysh");
    if !Version::V4.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    peers.ip(&["address", "add", "127.0.0.2/8", "dev", "lo"])?;
    let speaker = Speaker::new(&ours, 1790)?;
    let (frr_side, source_side): (IpAddr, IpAddr) = ("127.0.0.1".parse()?, "127.0.0.2".parse()?);
    let from_source = Session::new(frr_side, 65004, source_side, 65003).passive();
    let mut frr = Frr::start(&peers, &[session(65004), from_source])?;
    let mut stream = speaker.establish(65000)?;
    frr.wait_established(OURS.parse()?, PATIENCE)?;
    let source = Session::new(source_side, 65003, frr_side, 65004);
    let mut exabgp = Exabgp::start(&peers, Version::V4, &source, "")?;
    exabgp.wait_established(PATIENCE)?;
    exabgp.announce("match { destination 198.51.100.1/32; protocol udp; } then { discard; }")?;
    announced(&mut stream, 1).with_context(|| frr.control("show bgp ipv4 flowspec").unwrap_or_default())?;
    exabgp.stop()?;
    withdrawn(&mut stream, 1)?;
    frr.stop()
}

#[test]
fn peers_may_wait_to_be_connected_to() -> Result<()> {
    needs!(root, "bird", "gobgpd", Frr::PROGRAM);
    if !Version::V4.required() || !Version::V5.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    let connect = |port: u16| -> Result<()> {
        let from = ours.run(|| wait_until("a listener", PATIENCE, || TcpStream::connect((PEER, port)).ok()))?;
        handshake(from, 65000).map(drop)
    };
    let passive = |port: u16| session(65001).port(port).passive();
    let _bird = Bird::start(&peers, passive(1801), &[])?;
    connect(1801)?;
    let _gobgp = Gobgp::start(&peers, passive(1802))?;
    connect(1802)?;
    let _exabgp4 = Exabgp::start(&peers, Version::V4, &passive(1803), "")?;
    connect(1803)?;
    let _exabgp5 = Exabgp::start(&peers, Version::V5, &passive(1804), "")?;
    connect(1804)?;
    let _frr = Frr::start(&peers, &[passive(179)])?;
    connect(179)
}
