//! Each launcher starts its program, whose OPEN arrives at the configured address, and whose rules
//! follow once the session is established.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use lab::peers::{Bird, Exabgp, Family, Frr, Gobgp, PeerDaemon as _, Receiver, Session, Version};
use lab::{End, Netns, PATIENCE, needs, veth, wait_until};

const PEER: &str = "192.0.2.2";
const OURS: &str = "192.0.2.1";
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;
/// AFI 1, SAFI 133.
const IPV4_FLOW: [u8; 3] = [0, 1, 133];

/// The program under test, as far as these tests need one: it answers an OPEN with the same
/// capabilities.
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
        handshake(stream, own_as).map(|(stream, _)| stream)
    }
}

/// Reads the peer's OPEN, answers with the same but our AS number and identifier, and waits for the
/// KEEPALIVE. Returns the OPEN.
fn handshake(mut stream: TcpStream, own_as: u16) -> Result<(TcpStream, Vec<u8>)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (kind, theirs) = message(&mut stream)?;
    let mut open = theirs.clone();
    assert_eq!((kind, open[0]), (OPEN, 4), "BGP version 4");
    open[1..3].copy_from_slice(&own_as.to_be_bytes());
    open[5..9].copy_from_slice(&[10, 9, 9, 9]);
    replace_as4(&mut open, own_as);
    send(&mut stream, OPEN, &open)?;
    send(&mut stream, KEEPALIVE, &[])?;
    match message(&mut stream)? {
        (KEEPALIVE, _) => Ok((stream, theirs)),
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
    // Type 1, prefix 198.51.100.LAST/32, type 3, UDP: how the NLRI of the rules in these tests
    // begins.
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

/// Whether the attribute of this type, with one or two octets of length, is there for IPv4
/// FlowSpec.
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
    let mut exabgp = Exabgp::start(&peers, version, session(65003), configured)?;
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
    exabgp.restart()?;
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
    let mut exabgp = Exabgp::start(&peers, Version::V4, source, "")?;
    exabgp.wait_established(PATIENCE)?;
    exabgp.announce("match { destination 198.51.100.1/32; protocol udp; } then { discard; }")?;
    announced(&mut stream, 1).with_context(|| frr.control("show bgp ipv4 flowspec").unwrap_or_default())?;
    exabgp.stop()?;
    withdrawn(&mut stream, 1)?;
    frr.stop()
}

#[test]
fn peers_may_wait_to_be_connected_to_and_offer_what_they_are_told() -> Result<()> {
    needs!(root, "bird", "gobgpd", Frr::PROGRAM);
    if !Version::V4.required() || !Version::V5.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    let connect = |port: u16, families: &[Family]| -> Result<()> {
        let stream = ours.run(|| wait_until("a listener", PATIENCE, || TcpStream::connect((PEER, port)).ok()))?;
        let (_, open) = handshake(stream, 65000)?;
        for family in families {
            // RFC 4760 section 8: capability 1, AFI, a reserved octet, SAFI.
            let capability = match family {
                Ipv4Unicast => [1, 4, 0, 1, 0, 1],
                Ipv6Unicast => [1, 4, 0, 2, 0, 1],
                Ipv4Flow => [1, 4, 0, 1, 0, 133],
                Ipv6Flow => [1, 4, 0, 2, 0, 133],
                Vpn4Flow => [1, 4, 0, 1, 0, 134],
                Vpn6Flow => [1, 4, 0, 2, 0, 134],
            };
            assert!(contains(&open, &capability), "port {port} does not offer {family:?}: {open:02x?}");
        }
        Ok(())
    };
    use Family::{Ipv4Flow, Ipv4Unicast, Ipv6Flow, Ipv6Unicast, Vpn4Flow, Vpn6Flow};
    let without_vpn = [Ipv4Unicast, Ipv6Unicast, Ipv4Flow, Ipv6Flow];
    let all = [Ipv4Unicast, Ipv6Unicast, Ipv4Flow, Ipv6Flow, Vpn4Flow, Vpn6Flow];
    let passive = |port: u16, families: &[Family]| session(65001).port(port).families(families).passive();
    let _bird = Bird::start(&peers, passive(1801, &without_vpn), &[])?;
    connect(1801, &without_vpn)?;
    let _gobgp = Gobgp::start(&peers, passive(1802, &all))?;
    connect(1802, &all)?;
    let _exabgp4 = Exabgp::start(&peers, Version::V4, passive(1803, &all), "")?;
    connect(1803, &all)?;
    let _exabgp5 = Exabgp::start(&peers, Version::V5, passive(1804, &all), "")?;
    connect(1804, &all)?;
    let _frr = Frr::start(&peers, &[passive(179, &without_vpn)])?;
    connect(179, &without_vpn)
}

#[test]
fn peers_sign_their_segments() -> Result<()> {
    needs!(root, "bird", "gobgpd", Frr::PROGRAM);
    if !Version::V4.required() || !Version::V5.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    let speaker = |port| -> Result<Speaker> {
        let speaker = Speaker::new(&ours, port)?;
        require_signature(&speaker.listener, PEER.parse()?, b"secret")?;
        Ok(speaker)
    };
    let signed = |port: u16| session(65001).port(port).password("secret");
    // The same address and AS number from several programs: to the speakers here, each on its port,
    // it is one peer.
    let speakers = (speaker(1801)?, speaker(1802)?, speaker(1803)?, speaker(1804)?, speaker(1805)?);
    let _bird = Bird::start(&peers, signed(1801), &[])?;
    let _gobgp = Gobgp::start(&peers, signed(1802))?;
    let _exabgp4 = Exabgp::start(&peers, Version::V4, signed(1803), "")?;
    let _exabgp5 = Exabgp::start(&peers, Version::V5, signed(1804), "")?;
    let _frr = Frr::start(&peers, &[signed(1805)])?;
    for speaker in [speakers.0, speakers.1, speakers.2, speakers.3, speakers.4] {
        speaker.establish(65000).with_context(|| format!("{:?}", speaker.listener))?;
    }
    Ok(())
}

/// Makes the listener ignore segments from the address that are not signed with the password (RFC
/// 2385).
fn require_signature(listener: &TcpListener, from: Ipv4Addr, password: &[u8]) -> Result<()> {
    // struct tcp_md5sig of linux/tcp.h: sockaddr_storage, flags, prefix length, key length,
    // interface, key.
    let mut signature = [0_u8; 128 + 8 + 80];
    signature[..2].copy_from_slice(&u16::try_from(libc::AF_INET)?.to_ne_bytes());
    signature[4..8].copy_from_slice(&from.octets());
    signature[130..132].copy_from_slice(&u16::try_from(password.len())?.to_ne_bytes());
    signature[136..136 + password.len()].copy_from_slice(password);
    // SAFETY: the pointer is to a structure of the size given, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            signature.as_ptr().cast(),
            u32::try_from(signature.len())?,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("the kernel does not know TCP-MD5");
    }
    Ok(())
}

fn exabgp_hands_on_json(version: Version) -> Result<()> {
    needs!(root);
    if !version.required() {
        return Ok(());
    }
    let (ours, peers) = network()?;
    let speaker = Speaker::new(&ours, 1790)?;
    let directory = tempfile::tempdir()?;
    let received = directory.path().join("received");
    let receiver = format!("/usr/bin/tee {}", received.display());
    let _exabgp = Exabgp::start_with_process(
        &peers,
        version,
        session(65003),
        "",
        Some(Receiver { command: &receiver, octets: false }),
    )?;
    let mut stream = speaker.establish(65000)?;
    // ORIGIN, an empty AS_PATH with the AS of this side, rate-limit 0, and the rule of the other
    // tests.
    let nlri = [1, 32, 198, 51, 100, 7, 3, 0x81, 17];
    let reach = [&[0x80, 14, 15], &IPV4_FLOW[..], &[0, 0, 9], &nlri].concat();
    let path = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8];
    let discard = [0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0];
    let attributes = [&[0x40, 1, 1, 0], &path[..], &discard, &reach].concat();
    let length = u16::try_from(attributes.len())?.to_be_bytes();
    send(&mut stream, UPDATE, &[&[0, 0], &length[..], &attributes].concat())?;
    let text = || std::fs::read_to_string(&received).unwrap_or_default();
    wait_until("the rule as JSON", PATIENCE, || text().contains("198.51.100.7/32").then_some(())).with_context(text)?;
    drop(stream);
    wait_until("the loss of the session", PATIENCE, || text().contains(r#""state": "down""#).then_some(()))
        .with_context(text)
}

#[test]
fn exabgp4_hands_on_json() -> Result<()> {
    exabgp_hands_on_json(Version::V4)
}

#[test]
fn exabgp5_hands_on_json() -> Result<()> {
    exabgp_hands_on_json(Version::V5)
}
