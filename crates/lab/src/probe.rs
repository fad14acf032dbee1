//! A continuous attack: packets from the attacker to the victim, some hundred a second; counts
//! those that arrive.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::{PacketSocket, Site, packet, site};

/// The time between two packets.
const PAUSE: Duration = Duration::from_millis(2);
/// The payload, which no other test packet has.
const MARK: &[u8] = b"probe without a pause";

/// UDP from port 123 to the victim until it is stopped.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: Option<JoinHandle<Result<()>>>,
    receiver: PacketSocket,
    arrived: u64,
}

impl Probe {
    /// Starts.
    ///
    /// # Errors
    /// An interface is gone.
    pub fn start(site: &Site) -> Result<Self> {
        let receiver = PacketSocket::open(&site.victim, "eth0")?;
        let socket = PacketSocket::open(&site.attacker, "eth0")?;
        let (from, to) = (site.attacker.mac("eth0")?, site.switch.mac("swp1")?);
        let victim: IpAddr = site::VICTIM.parse()?;
        let datagram = packet::udp(([198, 51, 100, 7], 123).into(), (victim, 4000).into(), MARK);
        let frame = packet::ethernet(from, to, &datagram);
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                socket.send(&frame)?;
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        Ok(Probe { stop, sent, sender: Some(sender), receiver, arrived: 0 })
    }

    /// Number of packets sent and of those that have arrived.
    ///
    /// # Errors
    /// The interface is gone, or frames were lost in the observer.
    pub fn counts(&mut self) -> Result<(u64, u64)> {
        let frames = self.receiver.drain()?;
        let lost = self.receiver.lost()?;
        anyhow::ensure!(lost == 0, "the observer missed {lost} frames");
        self.arrived += frames.iter().filter(|frame| frame.ends_with(MARK)).count() as u64;
        Ok((self.sent.load(Ordering::Relaxed), self.arrived))
    }

    /// Stops; returns the total numbers of packets sent and arrived.
    ///
    /// # Errors
    /// A packet could not be sent.
    pub fn stop(mut self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        }
        // Packets still in flight.
        thread::sleep(Duration::from_millis(200));
        self.counts()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
