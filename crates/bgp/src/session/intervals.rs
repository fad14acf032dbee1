//! How long timers run. Those of a negotiated hold time are used only if it is not 0.

use crate::session::negotiated::Negotiated;
use std::time::Duration;

/// HoldTimer until the peer's OPEN is there (RFC 4271 §8.2.2: "a large value").
pub(crate) const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);

/// KEEPALIVEs must not be sent more often than this (RFC 4271 §4.4), so at a hold time of 3 s there
/// is no jitter.
pub(crate) const LEAST_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Least SendHoldTime that RFC 9687 §4 recommends.
const LEAST_SEND_HOLD_TIME: Duration = Duration::from_secs(8 * 60);

/// HoldTimer from the peer's OPEN on.
pub(crate) fn hold_time(negotiated: &Negotiated) -> Duration {
    Duration::from_secs(negotiated.hold_time.into())
}

/// KeepaliveTimer, without jitter (RFC 4271 §10: a third of the hold time).
pub(crate) fn keepalive_time(negotiated: &Negotiated) -> Duration {
    hold_time(negotiated) / 3
}

/// SendHoldTimer, if the configuration does not say otherwise.
pub(crate) fn send_hold_time(negotiated: &Negotiated) -> Duration {
    LEAST_SEND_HOLD_TIME.max(hold_time(negotiated) * 2)
}
