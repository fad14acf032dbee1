//! Announces a FlowSpec rule to a BGP speaker, or receives some, over TCP and with nothing but the
//! standard library around the session.
//!
//! ```text
//! speaker receive 127.0.0.1:1790
//! speaker announce 127.0.0.1:1790 'dst 192.0.2.7/32 proto udp sport 123 then discard'
//! ```

use bgp::{
    Cease, CeaseSubcode, ConnId, Destination, Direction, Event, Output, PathAttributes, PeerAs, PeerConfig, Session,
};
use flowspec::Rule;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// There is one connection.
const CONN: ConnId = ConnId(1);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["receive", address] => {
            let listener = TcpListener::bind(address)?;
            receive(&listener, |rule| {
                println!("{rule}");
                true
            })
        }
        ["announce", address, rule] => announce(address, rule.parse()?),
        _ => Err("usage: speaker receive ADDRESS:PORT | speaker announce ADDRESS:PORT RULE".into()),
    }
}

/// Accepts one connection and calls `on_rule` with each rule, until that says false or the peer
/// closes.
pub(crate) fn receive(listener: &TcpListener, mut on_rule: impl FnMut(&Rule) -> bool) -> Result<(), Box<dyn Error>> {
    let (stream, _) = listener.accept()?;
    let config = PeerConfig { passive: true, ..PeerConfig::new(65001, Ipv4Addr::new(192, 0, 2, 1), PeerAs::Any) };
    drive(config, stream, Direction::Incoming, |session, output| {
        let Output::Update(update) = output else { return Ok(()) };
        for group in &update.announced {
            let actions = group.attributes.actions()?;
            for route in &group.routes {
                let Destination::Flow(nlri) = &route.destination else { continue };
                if !on_rule(&Rule { nlri: nlri.clone(), actions: actions.clone(), next_hop: group.next_hop }) {
                    let subcode = CeaseSubcode::AdministrativeShutdown;
                    let cease = Cease { subcode, communication: "that is all".to_owned() };
                    session.handle(Event::ManualStop(cease), Instant::now());
                }
            }
        }
        Ok(())
    })
}

/// Connects, announces one rule and keeps the session until the peer closes it.
pub(crate) fn announce(address: &str, rule: Rule) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(address)?;
    let config = PeerConfig::new(65002, Ipv4Addr::new(192, 0, 2, 2), PeerAs::Any);
    drive(config, stream, Direction::Outgoing, |session, output| {
        match output {
            Output::Established(negotiated) => {
                let attributes = Arc::new(PathAttributes::originate(&rule.actions));
                session.announce(rule.nlri.clone().into(), rule.next_hop, attributes)?;
                for family in negotiated.families.iter() {
                    session.end_of_rib(family)?;
                }
            }
            Output::Down(down) => eprintln!("{}", down.reason),
            Output::Failed(reason) => eprintln!("{reason}"),
            _ => {}
        }
        Ok(())
    })
}

/// Carries octets and time between a socket and a session until the connection is closed. Each
/// output goes to `on_output`, too.
fn drive(
    config: PeerConfig,
    mut stream: TcpStream,
    direction: Direction,
    mut on_output: impl FnMut(&mut Session, &Output) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut session = Session::new(config);
    session.handle(Event::ManualStart, Instant::now());
    session.handle(Event::Connected(CONN, direction), Instant::now());
    let mut buffer = [0; 4096];
    let mut open = true;
    while open {
        // What the session wants done, and then what it has to write, until there is neither.
        loop {
            while let Some(output) = session.poll() {
                if let Output::Close { final_octets, .. } = &output {
                    stream.write_all(final_octets)?;
                    open = false;
                }
                on_output(&mut session, &output)?;
            }
            match session.poll_transmit(Instant::now()) {
                Some(transmit) => stream.write_all(&transmit.octets)?,
                None => break,
            }
        }
        if !open {
            break;
        }
        let wait = session.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer) {
            Ok(0) => {
                session.handle(Event::Closed(CONN), Instant::now());
                open = false;
            }
            Ok(count) => session.handle(Event::Received(CONN, &buffer[..count]), Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                session.handle(Event::Closed(CONN), Instant::now());
                open = false;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                session.handle_timeout(Instant::now());
            }
            Err(error) => return Err(error.into()),
        }
    }
    // What the end of the connection means.
    while let Some(output) = session.poll() {
        on_output(&mut session, &output)?;
    }
    Ok(())
}
