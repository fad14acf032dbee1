//! A line of ExaBGP's JSON: whatever it is, it is read or refused, and what is read are rules that
//! can be sent and shown.
#![no_main]

use bgp::Destination;
use exabgp::{Message, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| match read(line) {
    Ok(Message::Update(_, update, misread)) => {
        let announced = update.announced.iter().flat_map(|group| &group.routes);
        for route in announced.chain(&update.withdrawn) {
            if let Destination::Flow(nlri) = &route.destination {
                let text = nlri.to_string();
                assert_eq!(text.parse().as_ref(), Ok(nlri), "{text}");
            }
        }
        for group in &update.announced {
            assert!(group.attributes.actions().is_ok());
            assert!(group.routes.iter().all(|route| route.family() == group.family));
        }
        misread.iter().for_each(|misread| assert!(!misread.to_string().is_empty()));
    }
    Ok(_) => {}
    Err(misread) => assert!(!misread.to_string().is_empty()),
});
