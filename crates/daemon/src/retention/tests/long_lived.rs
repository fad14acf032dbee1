//! Scenarios of long-lived graceful restart (RFC 9494).

use super::steps::Offer;
use super::steps::Step::{self, *};

pub(super) fn scenarios() -> Vec<(&'static str, Offer, &'static str, Vec<Step>)> {
    const ON: &str = "[peer.long-lived]";
    let full = || vec![Feed(0..200), EndOfRib, Dropped(200, 0)];
    let then = |steps: &[Step]| [full(), steps.to_vec()].concat();
    let offer = |restart_time, stale_time| Offer::LongLived { restart_time, stale_time };
    let asked = offer(10, 300);
    vec![
        (
            "the restart time, then the long-lived stale time",
            asked,
            ON,
            then(&[Cut, Wait(200), Dropped(200, 200), Wait(95), Dropped(200, 200), Wait(20), Dropped(0, 0)]),
        ),
        (
            "without restart time",
            offer(0, 300),
            ON,
            then(&[Cut, Wait(290), Dropped(200, 200), Wait(15), Dropped(0, 0)]),
        ),
        ("not configured", asked, "", then(&[Cut, Wait(5), Dropped(200, 200), Wait(10), Dropped(0, 0)])),
        (
            "not configured for this family",
            asked,
            "[peer.long-lived]\nfamilies = [\"ipv6\"]",
            then(&[Cut, Wait(5), Dropped(200, 200), Wait(10), Dropped(0, 0)]),
        ),
        (
            "no longer than we want",
            asked,
            "[peer.long-lived]\nmax-stale-time = \"60s\"",
            then(&[Cut, Wait(60), Dropped(200, 200), Wait(15), Dropped(0, 0)]),
        ),
        ("a time of zero is none", offer(10, 0), ON, then(&[Cut, Wait(15), Dropped(0, 0)])),
        (
            "no shorter than we want",
            offer(10, 0),
            "[peer.long-lived]\nmin-stale-time = \"60s\"",
            then(&[Cut, Wait(60), Dropped(200, 200), Wait(15), Dropped(0, 0)]),
        ),
        (
            "back long after the restart time, with the F bit clear",
            asked,
            ON,
            then(&[Cut, Wait(150), Back, Dropped(200, 200), Feed(0..50), Dropped(200, 150), EndOfRib, Dropped(50, 0)]),
        ),
        (
            "the same by the letter",
            asked,
            "stale-until = \"f-bit\"\n[peer.long-lived]",
            then(&[Cut, Wait(150), Dropped(200, 200), Back, Dropped(0, 0)]),
        ),
        (
            "lost again before End-of-RIB: the old deadline stays",
            asked,
            ON,
            // The first loss keeps until 310 s, the second, some 110 s later, until 420 s.
            then(&[
                Cut,
                Wait(100),
                Back,
                Feed(0..50),
                Cut,
                Wait(150),
                Dropped(200, 200),
                Wait(70),
                Dropped(50, 50),
                Wait(110),
                Dropped(0, 0),
            ]),
        ),
        (
            "the session does not stop the clock: what is not refreshed goes",
            offer(10, 150),
            ON,
            then(&[Cut, Wait(130), Back, Feed(0..50), Dropped(200, 150), Wait(40), Dropped(50, 0)]),
        ),
        (
            "End-of-RIB that never comes: the deferral timer ends it",
            offer(10, 5000),
            ON,
            then(&[Cut, Wait(130), Back, Feed(0..50), Wait(150), Dropped(200, 150), Wait(40), Dropped(50, 0)]),
        ),
        (
            "a refresh that begins before End-of-RIB is ignored",
            asked,
            ON,
            then(&[Cut, Wait(100), Back, Begin, Feed(0..5), End, Dropped(200, 195), EndOfRib, Dropped(5, 0)]),
        ),
        (
            "hold-on-loss comes first",
            asked,
            "hold-on-loss = \"10m\"\n[peer.long-lived]",
            then(&[Cut, Wait(850), Dropped(200, 200), Wait(60), Dropped(0, 0)]),
        ),
        (
            "another peer's fresh route decides, once the restart time is over",
            asked,
            ON,
            then(&[
                Other(0..40),
                Dropped(200, 0),
                OtherDecides(0),
                Cut,
                Wait(5),
                OtherDecides(0),
                Wait(10),
                OtherDecides(40),
                Back,
                OtherDecides(40),
                Feed(0..200),
                OtherDecides(0),
                EndOfRib,
                Dropped(200, 0),
            ]),
        ),
    ]
}
