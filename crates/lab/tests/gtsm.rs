//! TTL security (RFC 5082) from the first packet on: a connection from too far away gets nothing
//! through between the handshake and the check of the connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::raw::{kind, message, open};
use lab::site::{PEER, SWITCH};
use lab::{Daemon, PATIENCE, Site, needs};
use socket2::{Domain, Socket, Type};

/// A SYN that is not answered fails sooner by far on the way that there is.
const HANDSHAKE: Duration = Duration::from_millis(400);

/// OPEN of AS 65070, KEEPALIVE, and `dst 10.99.99.0/24 then discard`, all at once.
fn everything() -> Vec<u8> {
    let attributes = [
        &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x2e, 0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0][..],
        &[0x80, 14, 11, 0, 1, 133, 0, 0, 5, 1, 24, 10, 99, 99],
    ]
    .concat();
    let update = [&[0, 0, 0, u8::try_from(attributes.len()).expect("short")][..], &attributes].concat();
    [open(65070, 90), message(kind::KEEPALIVE, &[]), message(kind::UPDATE, &update)].concat()
}

/// Connects with this TTL and sends everything with the last packet of the handshake, as far as a
/// socket can; the connection, if there is one.
fn attempt(site: &Site, ttl: u32) -> Option<TcpStream> {
    site.peers.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        socket.set_ttl_v4(ttl).ok()?;
        socket.set_tcp_nodelay(true).ok()?;
        socket.bind(&SocketAddr::new(PEER.parse().ok()?, 0).into()).ok()?;
        socket.connect_timeout(&SocketAddr::new(SWITCH.parse().ok()?, 179).into(), HANDSHAKE).ok()?;
        let mut stream: TcpStream = socket.into();
        stream.write_all(&everything()).ok()?;
        Some(stream)
    })
}

fn configuration(other: &str) -> String {
    format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\n[[peer]]\nname = \"near\"\naddress = \"{PEER}\"\nas = 65070\npassive = true\n\
         ttl-security = true\n[[peer]]\nname = \"other\"\naddress = \"203.0.113.2\"\nas = 65071\npassive = true\n{other}\n\
         [dataplane]\nbackend = \"none\"\n"
    )
}

#[test]
fn what_comes_from_too_many_hops_is_not_read() -> Result<()> {
    needs!(root);
    let site = Site::new()?;
    // Where the peers of the listener agree, the kernel answers no SYN from afar; where they do
    // not, the SYN is looked at.
    for other in ["ttl-security = true", "ttl-security = false"] {
        let mut daemon = Daemon::start(&site.switch, &configuration(other))?;
        for ttl in 5..=19 {
            if let Some(mut stream) = attempt(&site, ttl) {
                ensure!(other.ends_with("false"), "TTL {ttl}: the handshake was answered");
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut heard = Vec::new();
                // Closed, whether in order or by a reset, and without a word of BGP.
                let _ = stream.read_to_end(&mut heard);
                ensure!(heard.is_empty(), "TTL {ttl}: {heard:02x?}");
            }
        }
        let peer = daemon.peer("near")?;
        ensure!(peer.established_count == 0 && peer.updates == 0, "{peer:?}");
        ensure!(daemon.rules()?.is_empty());
        // The same from near is a session and a rule.
        let stream = attempt(&site, 255);
        ensure!(stream.is_some(), "no connection from near");
        daemon.wait_established("near", PATIENCE)?;
        daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1)?;
        drop(stream);
        daemon.stop()?;
    }
    Ok(())
}
