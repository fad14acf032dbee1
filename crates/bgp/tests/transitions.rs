//! Every state and every event that can happen in it, held against the table of `bgp::transitions`,
//! which says what RFC 4271 §8.2.2 asks for. What the table says is what happens: it is made here
//! and compared with the documentation.

use bgp::*;
use flowspec::Family;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const CONN: ConnId = ConnId(1);
const TIMERS: [(Timer, &str); 6] = [
    (Timer::ConnectRetry, "ConnectRetryTimer"),
    (Timer::Hold, "HoldTimer"),
    (Timer::Keepalive, "KeepaliveTimer"),
    (Timer::IdleHold, "IdleHoldTimer"),
    (Timer::SendHold, "SendHoldTimer"),
    (Timer::Restart, "RestartTimer"),
];

fn config(asn: u32, id: u8) -> PeerConfig {
    PeerConfig {
        families: [AfiSafi::Flow(Family::Ipv4)].into_iter().collect(),
        send_hold: Some(Duration::from_secs(20)),
        ..PeerConfig::new(asn, Ipv4Addr::new(192, 0, 2, id), PeerAs::Any)
    }
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut octets = Vec::new();
    message.encode_to(&mut octets);
    octets
}

fn open() -> Vec<u8> {
    let now = Instant::now();
    let mut peer = Session::new(config(65002, 2));
    peer.handle(Event::ManualStart, now);
    peer.handle(Event::Connected(CONN, Direction::Outgoing), now);
    peer.poll_transmit(now).unwrap().octets
}

/// A session in a state, with nothing left to do.
struct Fixture {
    session: Session,
    now: Instant,
}

impl Fixture {
    /// By the steps that lead there; each is the one before and one more.
    fn new(state: &str) -> Self {
        let mut fixture = Fixture { session: Session::new(config(65001, 1)), now: Instant::now() };
        let steps: &[Event<'_>] = &[
            Event::ManualStart,
            Event::Connected(CONN, Direction::Outgoing),
            Event::Received(CONN, &open()),
            Event::Received(CONN, &encoded(Message::Keepalive)),
        ];
        let (steps, last) = match state {
            "Idle" => (&steps[..0], None),
            "Idle, waiting" => (&steps[..1], Some(Event::Reset(cease()))),
            "Connect" => (&steps[..1], None),
            "Active" => (&steps[..1], Some(Event::ConnectFailed)),
            "OpenSent" => (&steps[..2], None),
            "OpenConfirm" => (&steps[..3], None),
            "Established" => (steps, None),
            other => panic!("{other}"),
        };
        for event in steps.iter().cloned().chain(last) {
            fixture.session.handle(event, fixture.now);
            fixture.actions();
        }
        assert!(state.starts_with(&format!("{:?}", fixture.session.state())), "{state}");
        fixture
    }

    /// What the session does and sends, taken out.
    fn actions(&mut self) -> Vec<String> {
        let mut actions = Vec::new();
        while let Some(transmit) = self.session.poll_transmit(self.now) {
            actions.extend(messages(&transmit.octets).into_iter().map(|message| format!("send {message}")));
        }
        while let Some(output) = self.session.poll() {
            match output {
                Output::Connect => actions.push("connect".to_owned()),
                Output::AbortConnect => actions.push("abort connect".to_owned()),
                Output::Close { final_octets, .. } => {
                    let sent = messages(&final_octets).into_iter().map(|message| format!("send {message}"));
                    actions.extend(sent.chain(["close".to_owned()]));
                }
                Output::Established(_) => actions.push("report Established".to_owned()),
                Output::Down(_) => actions.push("report Down".to_owned()),
                Output::Failed(_) => actions.push("report Failed".to_owned()),
                Output::Damped { .. } => actions.push("report Damped".to_owned()),
                Output::Update(_) => actions.push("report routes".to_owned()),
                Output::RouteRefresh { .. } => actions.push("report ROUTE-REFRESH".to_owned()),
                Output::State(_) | Output::NextTry(_) => {}
                other => panic!("{other:?}"),
            }
        }
        actions
    }

    /// Has a timer expire; false if it does not run.
    fn expire(&mut self, timer: Timer) -> bool {
        if timer == Timer::SendHold && self.session.state() == State::Established {
            // It runs while the peer does not take what there is to send.
            self.now = self.session.timer(Timer::Keepalive).unwrap();
            self.session.handle_timeout(self.now);
        }
        let Some(deadline) = self.session.timer(timer) else { return false };
        self.now = deadline;
        self.session.handle_timeout(deadline);
        true
    }

    fn receive(&mut self, octets: &[u8]) -> bool {
        let connected = self.session.state() >= State::OpenSent;
        self.session.handle(Event::Received(CONN, octets), self.now);
        connected
    }

    /// Whether the event can happen in this state; then it has.
    fn apply(&mut self, event: &str) -> bool {
        let now = self.now;
        match event {
            "1 ManualStart" => self.session.handle(Event::ManualStart, now),
            "2 ManualStop" => self.session.handle(Event::ManualStop(cease()), now),
            "8 AutomaticStop" => self.session.handle(Event::Reset(cease()), now),
            "9 ConnectRetryTimer_Expires" => return self.expire(Timer::ConnectRetry),
            "10 HoldTimer_Expires" => return self.expire(Timer::Hold),
            "11 KeepaliveTimer_Expires" => return self.expire(Timer::Keepalive),
            "13 IdleHoldTimer_Expires" => return self.expire(Timer::IdleHold),
            "16 Tcp_CR_Acked" => self.session.handle(Event::Connected(ConnId(2), Direction::Outgoing), now),
            "17 TcpConnectionConfirmed" => self.session.handle(Event::Connected(ConnId(2), Direction::Incoming), now),
            "18 TcpConnectionFails" if self.session.state() == State::Connect => {
                self.session.handle(Event::ConnectFailed, now);
            }
            "18 TcpConnectionFails" => {
                let connected = self.session.state() >= State::OpenSent;
                self.session.handle(Event::Closed(CONN), now);
                return connected;
            }
            "19 BGPOpen" => return self.receive(&open()),
            "21 BGPHeaderErr" => return self.receive(&[0; 19]),
            "22 BGPOpenMsgErr" => {
                let mut version = open();
                version[19] = 3;
                return self.receive(&version);
            }
            "25 NotifMsg" => {
                let notification = Notification::new(CeaseSubcode::AdministrativeReset);
                return self.receive(&encoded(Message::Notification(notification)));
            }
            "26 KeepAliveMsg" => return self.receive(&encoded(Message::Keepalive)),
            "27 UpdateMsg" => return self.receive(&encoded(Message::Update(RULE))),
            "28 UpdateMsgErr" => return self.receive(&encoded(Message::Update(&[0, 9, 0, 0]))),
            "29 SendHoldTimer_Expires" => return self.expire(Timer::SendHold),
            "ROUTE-REFRESH" => {
                let family = AfiSafi::Flow(Family::Ipv4).into();
                let refresh = RouteRefresh { family, kind: RefreshKind::Request };
                return self.receive(&encoded(Message::RouteRefresh(refresh)));
            }
            other => panic!("{other}"),
        }
        true
    }
}

/// `dst 10.0.0.0/8` without actions.
const RULE: &[u8] =
    &[0, 0, 0, 25, 0x80, 14, 9, 0, 1, 133, 0, 0, 3, 1, 8, 10, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];

fn cease() -> Cease {
    Cease { subcode: CeaseSubcode::AdministrativeReset, communication: String::new() }
}

/// The names of the messages in a stream, of a NOTIFICATION with its code and subcode.
fn messages(octets: &[u8]) -> Vec<String> {
    let mut framer = Framer::new();
    framer.set_max(MAX_EXTENDED_MESSAGE);
    framer.push(octets);
    let mut names = Vec::new();
    while let Some(frame) = framer.next_frame().unwrap() {
        names.push(match Message::decode(frame).unwrap() {
            Message::Notification(notification) => {
                let (code, subcode) = notification.code.numbers();
                format!("NOTIFICATION {code}/{subcode}")
            }
            message => message.message_type().to_string(),
        });
    }
    assert_eq!(framer.pending(), 0);
    names
}

const STATES: [&str; 7] = ["Idle", "Idle, waiting", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];
const EVENTS: [&str; 19] = [
    "1 ManualStart",
    "2 ManualStop",
    "8 AutomaticStop",
    "9 ConnectRetryTimer_Expires",
    "10 HoldTimer_Expires",
    "11 KeepaliveTimer_Expires",
    "13 IdleHoldTimer_Expires",
    "16 Tcp_CR_Acked",
    "17 TcpConnectionConfirmed",
    "18 TcpConnectionFails",
    "19 BGPOpen",
    "21 BGPHeaderErr",
    "22 BGPOpenMsgErr",
    "25 NotifMsg",
    "26 KeepAliveMsg",
    "27 UpdateMsg",
    "28 UpdateMsgErr",
    "29 SendHoldTimer_Expires",
    "ROUTE-REFRESH",
];

/// What happens: state, event, next state, actions, timers that run afterwards.
fn happens() -> Vec<String> {
    let mut rows = Vec::new();
    for state in STATES {
        for event in EVENTS {
            let mut fixture = Fixture::new(state);
            if !fixture.apply(event) {
                continue;
            }
            let actions = fixture.actions().join(", ");
            let running = TIMERS.iter().filter(|(timer, _)| fixture.session.timer(*timer).is_some());
            let timers = running.map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
            rows.push(format!("| {state} | {event} | {:?} | {actions} | {timers} |", fixture.session.state()));
        }
    }
    rows
}

#[test]
fn the_documented_transitions_are_those_that_happen() {
    let documented = include_str!("../src/session/transitions.md")
        .lines()
        .filter(|line| STATES.iter().any(|state| line.starts_with(&format!("| {state} |"))));
    // The last column is what RFC 4271 asks for.
    let documented: Vec<&str> = documented.map(|row| &row[..=row.trim_end_matches(" |").rfind('|').unwrap()]).collect();
    let happens = happens();
    for (row, expected) in happens.iter().zip(&documented) {
        assert_eq!(row, expected);
    }
    assert_eq!(happens.len(), documented.len(), "{}", happens.join("\n"));
}

#[test]
fn the_third_session_in_a_row_that_is_lost_soon_is_damped() {
    let mut fixture = Fixture::new("Established");
    for _ in 0..2 {
        fixture.session.handle(Event::Closed(CONN), fixture.now);
        assert_eq!(fixture.actions(), ["report Down"]);
        assert!(fixture.expire(Timer::ConnectRetry));
        fixture.session.handle(Event::Connected(CONN, Direction::Outgoing), fixture.now);
        assert!(fixture.receive(&open()) && fixture.receive(&encoded(Message::Keepalive)));
        assert_eq!(fixture.session.state(), State::Established);
        fixture.actions();
    }
    fixture.session.handle(Event::Closed(CONN), fixture.now);
    assert_eq!(fixture.session.state(), State::Idle);
    // It costs the least IdleHoldTime.
    let idle_hold = fixture.session.timer(Timer::IdleHold).unwrap() - fixture.now;
    assert!(idle_hold <= config(65001, 1).idle_hold, "{idle_hold:?}");
    assert!(fixture.expire(Timer::IdleHold));
    assert_eq!(fixture.actions(), ["report Down", "report Damped", "connect"]);
}
