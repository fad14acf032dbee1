//! A BGP peer that announces rules: the crate `bgp` over a blocking socket, in a thread.

use super::wait;
use bgp::{
    AfiSafi, ConnId, Destination, Direction, Event, Output, PathAttributes, PeerAs, PeerConfig, RefreshKind, RouteKey,
    Session, Update,
};
use daemon::net::Endpoint;
use flowspec::{Family, Rule};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) struct Controller {
    orders: Sender<Order>,
    seen: Arc<Mutex<Vec<Seen>>>,
    heard: Arc<Mutex<Heard>>,
    thread: Option<JoinHandle<()>>,
}

/// What the controller's session went through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Up,
    Down(String),
}

/// What the daemon advertised in the latest session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Match part, and the rule as text.
    rules: BTreeMap<String, String>,
    /// The families whose End-of-RIB came, with the number of rules at that time.
    pub(crate) ends: Vec<(AfiSafi, usize)>,
    /// UPDATEs with routes.
    pub(crate) updates: usize,
    /// Begins and ends of a route refresh.
    pub(crate) refreshes: Vec<RefreshKind>,
    /// The AS_PATHs and LOCAL_PREFs.
    pub(crate) attributes: Vec<(Vec<u32>, Option<u32>)>,
}

impl Heard {
    fn update(&mut self, update: &Update) {
        assert_eq!(update.errors, []);
        self.updates += 1;
        for RouteKey { destination, .. } in &update.withdrawn {
            if let Destination::Flow(nlri) = destination {
                self.rules.remove(&nlri.to_string());
            }
        }
        for group in &update.announced {
            self.attributes.push((group.attributes.as_path.numbers().collect(), group.attributes.local_pref));
            for RouteKey { destination, .. } in &group.routes {
                let Destination::Flow(nlri) = destination else { panic!("{destination:?}") };
                let actions = group.attributes.actions().unwrap();
                let rule = Rule { nlri: nlri.clone(), actions, next_hop: group.next_hop };
                self.rules.insert(nlri.to_string(), rule.to_string());
            }
        }
    }
}

enum Order {
    Refresh,
    Announce(Vec<Rule>),
    Withdraw(Vec<Rule>),
    EndOfRib,
    /// Closes the socket without a word, and does not come back.
    Vanish,
}

pub(crate) fn config() -> PeerConfig {
    let mut config = PeerConfig::new(65070, "192.0.2.1".parse().unwrap(), PeerAs::Exactly(65140));
    config.idle_hold = Duration::from_millis(50);
    config.connect_retry = Duration::from_millis(200);
    config
}

impl Controller {
    /// Connects from `source` to the daemon's port.
    pub(crate) fn start(source: &str, port: u16, config: PeerConfig, md5: Option<&str>) -> Self {
        let endpoint = Endpoint {
            remote: SocketAddr::new("127.0.0.1".parse().unwrap(), port),
            source: Some(source.parse().unwrap()),
            md5: md5.map(str::to_owned),
            hops: None,
            interface: None,
        };
        let (orders, inbox) = mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let witness = Arc::clone(&seen);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ears = Arc::clone(&heard);
        let thread = std::thread::spawn(move || Driver::new(config, endpoint, witness, ears).run(&inbox));
        Controller { orders, seen, heard, thread: Some(thread) }
    }

    /// The same, and waits until the session is up.
    pub(crate) fn connected(source: &str, port: u16) -> Self {
        let controller = Controller::start(source, port, config(), None);
        controller.wait_up();
        controller
    }

    pub(crate) fn wait_up(&self) {
        wait("the session", || self.seen().last().is_some_and(|last| *last == Seen::Up).then_some(()));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What the daemon advertised in the latest session.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until it has exactly these rules of the daemon, in any order.
    pub(crate) fn wait_heard(&self, rules: &[&str]) {
        let mut wanted: Vec<String> = parse(rules).iter().map(ToString::to_string).collect();
        wanted.sort();
        wait(&format!("the advertisement of {rules:?}"), || {
            let mut heard: Vec<String> = self.heard().rules.into_values().collect();
            heard.sort();
            (heard == wanted).then_some(())
        });
    }

    /// Asks for the routes of IPv4 rules (RFC 2918).
    pub(crate) fn ask_for_refresh(&self) {
        self.order(Order::Refresh);
    }

    pub(crate) fn announce(&self, rules: &[&str]) {
        self.order(Order::Announce(parse(rules)));
    }

    pub(crate) fn announce_rules(&self, rules: Vec<Rule>) {
        self.order(Order::Announce(rules));
    }

    pub(crate) fn withdraw(&self, rules: &[&str]) {
        self.order(Order::Withdraw(parse(rules)));
    }

    pub(crate) fn end_of_rib(&self) {
        self.order(Order::EndOfRib);
    }

    /// Loses the connection, and ends.
    pub(crate) fn vanish(mut self) {
        self.order(Order::Vanish);
        self.thread.take().unwrap().join().unwrap();
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }
}

fn parse(rules: &[&str]) -> Vec<Rule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

struct Driver {
    session: Session,
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<Seen>>>,
    heard: Arc<Mutex<Heard>>,
    conn: Option<(ConnId, TcpStream)>,
    next: u64,
}

impl Driver {
    fn new(config: PeerConfig, endpoint: Endpoint, seen: Arc<Mutex<Vec<Seen>>>, heard: Arc<Mutex<Heard>>) -> Self {
        Driver { session: Session::new(config), endpoint, seen, heard, conn: None, next: 0 }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        self.session.handle(Event::ManualStart, Instant::now());
        loop {
            self.session.handle_timeout(Instant::now());
            self.settle();
            self.read();
            self.settle();
            match inbox.try_recv() {
                Ok(Order::Announce(rules)) => {
                    for rule in rules {
                        let attributes = Arc::new(PathAttributes::originate(&rule.actions));
                        self.session.announce(RouteKey::from(rule.nlri), rule.next_hop, attributes).unwrap();
                    }
                }
                Ok(Order::Withdraw(rules)) => {
                    for rule in rules {
                        self.session.withdraw(RouteKey::from(rule.nlri)).unwrap();
                    }
                }
                Ok(Order::EndOfRib) => {
                    self.session.end_of_rib(AfiSafi::Flow(Family::Ipv4)).unwrap();
                    self.session.end_of_rib(AfiSafi::Flow(Family::Ipv6)).unwrap();
                }
                Ok(Order::Refresh) => {
                    self.session.route_refresh(AfiSafi::Flow(Family::Ipv4), RefreshKind::Request).unwrap();
                }
                Ok(Order::Vanish) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
        }
    }

    fn settle(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.act(output);
            }
            let Some(transmit) = self.session.poll_transmit(Instant::now()) else { return };
            if let Some((id, stream)) = &mut self.conn
                && *id == transmit.conn
                && stream.write_all(&transmit.octets).is_err()
            {
                self.lost();
            }
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Connect => {
                let event = match self.connect() {
                    Some(stream) => {
                        self.next += 1;
                        self.conn = Some((ConnId(self.next), stream));
                        Event::Connected(ConnId(self.next), Direction::Outgoing)
                    }
                    None => Event::ConnectFailed,
                };
                self.session.handle(event, Instant::now());
            }
            Output::Close { conn, final_octets } => {
                if let Some((_, mut stream)) = self.conn.take_if(|(id, _)| *id == conn) {
                    let _ = stream.write_all(&final_octets);
                }
            }
            Output::Established(_) => {
                *self.heard.lock().unwrap() = Heard::default();
                self.seen.lock().unwrap().push(Seen::Up);
            }
            Output::Update(update) => self.heard.lock().unwrap().update(&update),
            Output::EndOfRib(family) => {
                let mut heard = self.heard.lock().unwrap();
                let count = heard.rules.len();
                heard.ends.push((family, count));
            }
            Output::RouteRefresh { kind, .. } => self.heard.lock().unwrap().refreshes.push(kind),
            Output::Down(down) => self.seen.lock().unwrap().push(Seen::Down(down.reason.to_string())),
            _ => {}
        }
    }

    fn connect(&self) -> Option<TcpStream> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connect = async {
            let attempt = tokio::time::timeout(Duration::from_millis(500), self.endpoint.connect());
            attempt.await.ok()?.ok()?.into_std().ok()
        };
        let stream = runtime.block_on(connect)?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        Some(stream)
    }

    fn read(&mut self) {
        let Some((id, stream)) = &mut self.conn else {
            std::thread::sleep(Duration::from_millis(2));
            return;
        };
        let mut octets = [0; 4096];
        match stream.read(&mut octets) {
            Ok(0) => self.lost(),
            Ok(count) => self.session.handle(Event::Received(*id, &octets[..count]), Instant::now()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.lost(),
        }
    }

    fn lost(&mut self) {
        if let Some((id, _)) = self.conn.take() {
            self.session.handle(Event::Closed(id), Instant::now());
        }
    }
}
