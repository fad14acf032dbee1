//! The legitimate traffic: three services that are used all the time, during the attack as well.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Netns;
use lab::site::{NEIGHBOUR, Site, VICTIM};

/// Without an answer in this time an exchange counts as failed. It is long, so that it is right on
/// a busy machine, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two exchanges of a service.
const PAUSE: Duration = Duration::from_millis(20);
/// The addresses of the servers on the attacker's side: a name server and a time server that are
/// not misused.
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);

/// The names of the services, as printed.
pub(crate) const NAMES: [&str; 3] = [
    "DNS answers (UDP from port 53) to 192.0.2.1",
    "TCP connections to 192.0.2.1 port 443",
    "NTP answers to its neighbour 192.0.2.2",
];

/// The results of one service.
#[derive(Debug, Default)]
struct Count {
    answered: AtomicU32,
    failed: AtomicU32,
}

/// The results of each service in a span of time: answered exchanges, and unanswered ones.
pub(crate) type Score = [(u32, u32); NAMES.len()];

/// The services, running until the value is dropped.
pub(crate) struct Services {
    counts: Arc<[Count; NAMES.len()]>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Services {
    /// Starts servers and clients.
    ///
    /// # Errors
    /// An address or a port is not available.
    pub(crate) fn start(site: &Site) -> Result<Self> {
        let mut services = Self { counts: Arc::default(), end: Arc::default(), threads: Vec::new() };
        let (victim, neighbour): (IpAddr, IpAddr) = (VICTIM.parse()?, NEIGHBOUR.parse()?);
        services.udp(0, (&site.victim, victim), (&site.attacker, (SERVER, 53).into()))?;
        services.tcp(1, &site.attacker, (&site.victim, (victim, 443).into()))?;
        services.udp(2, (&site.victim, neighbour), (&site.attacker, (SERVER, 123).into()))?;
        Ok(services)
    }

    /// The results since the start.
    pub(crate) fn score(&self) -> Score {
        self.counts
            .each_ref()
            .map(|count| (count.answered.load(Ordering::Relaxed), count.failed.load(Ordering::Relaxed)))
    }

    /// The results while `work` runs.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Score)> {
        let before = self.score();
        let done = work()?;
        let after = self.score();
        Ok((done, std::array::from_fn(|at| (after[at].0 - before[at].0, after[at].1 - before[at].1))))
    }

    /// A client that asks a server over UDP, from a new port each time, as resolvers do.
    fn udp(&mut self, index: usize, client: (&Netns, IpAddr), server: (&Netns, SocketAddr)) -> Result<()> {
        let (to, from) = (server.1, client.1);
        let socket = server.0.run(|| UdpSocket::bind(to))?;
        socket.set_read_timeout(Some(PAUSE))?;
        self.serve(server.0, move || {
            let mut question = [0; 64];
            if let Ok((length, asker)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(&question[..length], asker);
            }
        })?;
        self.ask(index, client.0, move |number| {
            let socket = UdpSocket::bind((from, 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(to)?;
            socket.send(&number.to_be_bytes())?;
            let mut answer = [0; 64];
            let length = socket.recv(&mut answer)?;
            ensure!(answer[..length] == number.to_be_bytes(), "the answer to another question");
            Ok(())
        })
    }

    /// A client that opens a TCP connection, sends something and reads the echo.
    fn tcp(&mut self, index: usize, client: &Netns, server: (&Netns, SocketAddr)) -> Result<()> {
        let to = server.1;
        let listener = server.0.run(|| TcpListener::bind(to))?;
        listener.set_nonblocking(true)?;
        self.serve(server.0, move || match listener.accept() {
            Ok((mut stream, _)) => {
                let mut said = [0; 4];
                let heard = stream
                    .set_nonblocking(false)
                    .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
                    .and_then(|()| stream.read_exact(&mut said));
                let _ = heard.and_then(|()| stream.write_all(&said));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(_) => thread::sleep(PAUSE),
        })?;
        self.ask(index, client, move |number| {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&number.to_be_bytes())?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            ensure!(answer == number.to_be_bytes(), "an answer to something else");
            Ok(())
        })
    }

    fn serve(&mut self, netns: &Netns, mut once: impl FnMut() + Send + 'static) -> Result<()> {
        let end = Arc::clone(&self.end);
        let thread = netns.spawn_thread("server", move || {
            while !end.load(Ordering::Relaxed) {
                once();
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    fn ask(
        &mut self,
        index: usize,
        netns: &Netns,
        exchange: impl Fn(u32) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (end, counts) = (Arc::clone(&self.end), Arc::clone(&self.counts));
        let thread = netns.spawn_thread("client", move || {
            for number in 1.. {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let Count { answered, failed } = &counts[index];
                let counter = if exchange(number).is_ok() { answered } else { failed };
                counter.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
