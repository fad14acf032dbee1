//! `floodgate run` on loopback with real sessions and the back end `none`: operators' actions, and
//! failures around them.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod history;
mod reload;
mod rules;
mod sessions;
mod tokens;

use common::controller::{Controller, config};
use common::{Daemon, free_port, peer, wait};
use lab::raw::{message, receive};
use lab::speaker::SessionChange;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const NTP: &str = "dst 192.0.2.1/32 proto udp sport 123 then discard";
const DNS: &str = "dst 192.0.2.2/32 proto udp sport 53 then rate 1mbps";
const IPV6: &str = "ipv6 dst 2001:db8::1/128 proto tcp dport 80 then discard";
const PEER: &str = "127.0.0.2";

/// As the program shows a rule.
fn shown(rule: &str) -> String {
    rule.parse::<flowspec::Rule>().unwrap().to_string()
}

/// Connects from [`PEER`] with graceful restart and enhanced route refresh offered; what the daemon
/// sends from then on is read from it.
fn by_hand(daemon: &Daemon) -> TcpStream {
    let mut stream = common::raw::connect(PEER, daemon.port);
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let capabilities = [1, 4, 0, 1, 0, 133, 70, 0, 2, 0, 64, 6, 0x80, 30, 0, 1, 133, 0];
    let mut open = vec![4, 0xfe, 0x2e, 0, 90, 192, 0, 2, 1, capabilities.len() as u8 + 2, 2, capabilities.len() as u8];
    open.extend(capabilities);
    stream.write_all(&message(1, &open)).unwrap();
    stream.write_all(&message(4, &[])).unwrap();
    assert_eq!(receive(&mut stream).unwrap().0, 1);
    stream
}

/// The next message that is no KEEPALIVE.
fn receive_other(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    loop {
        let (kind, body) = receive(stream).unwrap();
        if kind != 4 {
            return (kind, body);
        }
    }
}
