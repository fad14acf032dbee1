//! A way from outside into a namespace: TCP connections to an address here come out there.

use std::io::{self, copy};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::Netns;

/// Forwards while it lives.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// From this port of the loopback address, or any free one if another program has it, to
    /// `target` in the namespace.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(port: u16, netns: &Netns, target: SocketAddr) -> Result<Self> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = bind(port).or_else(|_| bind(0)).context("listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        // The thread is inside, so that its connections begin there; the listener stays outside.
        let accept = move || {
            for outside in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                if let (Ok(outside), Ok(inside)) = (outside, TcpStream::connect(target)) {
                    let _ = join(outside, inside);
                }
            }
        };
        let thread = Some(netns.spawn_thread("forward", accept)?);
        Ok(Forward { address, ended, thread })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Copies both ways until both have ended.
fn join(a: TcpStream, b: TcpStream) -> io::Result<()> {
    for (mut from, mut to) in [(a.try_clone()?, b.try_clone()?), (b, a)] {
        std::thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Read);
        });
    }
    Ok(())
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // It waits for a connection: this is the last.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
