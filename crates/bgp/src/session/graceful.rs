//! Which routes outlive a session (RFC 4724 §4.2, RFC 8538, RFC 9494).

use crate::afi_safi::AfiSafi;
use crate::message::{CeaseSubcode, FamilyNumbers, NotificationCode};
use crate::session::config::PeerConfig;
use crate::session::negotiated::Negotiated;
use crate::session::output::{DownReason, StaleFamily};

/// The families whose routes are to be kept after an end for `reason`.
pub(super) fn families(config: &PeerConfig, negotiated: &Negotiated, reason: &DownReason) -> Vec<StaleFamily> {
    let Some((ours, theirs)) = config.graceful_restart.as_ref().zip(negotiated.graceful_restart()) else {
        return Vec::new();
    };
    if !keeps(reason, ours.notification && theirs.notification) {
        return Vec::new();
    }
    let stale = |family: AfiSafi| {
        let numbers = FamilyNumbers::from(family);
        let short = theirs.families.iter().any(|(known, _)| *known == numbers);
        let restart_time = if short { theirs.restart_time } else { 0 };
        let long_lived = negotiated.long_lived(family).map(|entry| entry.stale_time);
        (short || long_lived.is_some()).then_some(StaleFamily { family, restart_time, long_lived })
    };
    negotiated.families.iter().filter_map(stale).collect()
}

/// Whether routes are retained after a session that ended for this reason; `both`: both sides sent
/// the N bit.
///
/// RFC 4724 lets no NOTIFICATION keep routes, RFC 8538 §4 any but a Hard Reset where both sides
/// sent the N bit. This goes further: routes are also retained after a NOTIFICATION that we send
/// over an error or a changed setting, and after a HoldTimer that expired on either side. None of
/// them means that the routes are wrong, and an attacker who can inject an error or congest a link
/// must not be able to remove traffic filters.
fn keeps(reason: &DownReason, both: bool) -> bool {
    match reason {
        DownReason::ConnectionLost | DownReason::PeerRestarted => true,
        DownReason::NoConnection(_) | DownReason::SameIdentifier(_) => false,
        DownReason::Sent(notification) => notification.code != HARD_RESET && !FINAL.contains(&notification.code),
        DownReason::Received(notification) => {
            notification.code == NotificationCode::HoldTimerExpired || (both && notification.code != HARD_RESET)
        }
    }
}

const HARD_RESET: NotificationCode = NotificationCode::Cease(CeaseSubcode::HardReset);

/// Ends that are meant to last (RFC 8538 §5.1).
const FINAL: [NotificationCode; 3] = [
    NotificationCode::Cease(CeaseSubcode::MaximumPrefixes),
    NotificationCode::Cease(CeaseSubcode::AdministrativeShutdown),
    NotificationCode::Cease(CeaseSubcode::PeerDeconfigured),
];

/// Whether an end that the operator asks for has to be sent as a Hard Reset, because both sides
/// keep routes over a plain NOTIFICATION (RFC 8538 §5).
pub(super) fn needs_hard_reset(config: &PeerConfig, negotiated: &Negotiated, cease: CeaseSubcode) -> bool {
    let both = config.graceful_restart.as_ref().zip(negotiated.graceful_restart());
    let kept = both.is_some_and(|(ours, theirs)| ours.notification && theirs.notification);
    kept && FINAL.contains(&NotificationCode::Cease(cease))
}
