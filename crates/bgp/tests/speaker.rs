//! The example runs: a rule goes over a TCP connection from one session to another.

#[allow(dead_code, reason = "its main function is not for here")]
#[path = "../examples/speaker.rs"]
mod speaker;

use flowspec::Rule;
use std::net::TcpListener;
use std::thread;

#[test]
fn a_rule_goes_over_tcp() {
    let rule: Rule = "dst 192.0.2.7/32 proto udp sport 123 then discard".parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let announced = rule.clone();
    let announcer = thread::spawn(move || speaker::announce(&address, announced).map_err(|error| error.to_string()));
    let mut received = Vec::new();
    speaker::receive(&listener, |rule| {
        received.push(rule.clone());
        false
    })
    .unwrap();
    assert_eq!(received, [rule]);
    // The receiver closes the connection, and the announcer comes to its end.
    assert_eq!(announcer.join().unwrap(), Ok(()));
}
