//! The names used in the objects of the API.

use crate::or_unknown::Named;
use flowspec::Family;
use std::fmt;

/// Declares an enum with the name of each variant.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Named for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
named! {
    /// The state of a rule, in the order in which states are shown.
    RuleState {
        /// It is enforced.
        Installed = "installed",
        /// It is enforced although its session is lost.
        Stale = "stale",
        /// It is not enforced yet.
        Pending = "pending",
        /// An earlier rule matches all its packets, so that it is not installed.
        Shadowed = "shadowed",
        /// The data plane cannot enforce it exactly.
        Refused = "refused",
        /// Import policy or protection rejects it.
        RejectedByPolicy = "guarded",
        /// Validation failed (RFC 8955 §6, RFC 9117).
        Infeasible = "infeasible",
        /// The data plane has no room for it.
        OverCapacity = "over-capacity",
        /// The data plane failed to install it.
        Failed = "failed",
    }
}

impl RuleState {
    /// Whether it is announced, and not enforced until somebody changes something.
    pub const fn is_unenforced(self) -> bool {
        match self {
            RuleState::Refused
            | RuleState::RejectedByPolicy
            | RuleState::Infeasible
            | RuleState::OverCapacity
            | RuleState::Failed => true,
            RuleState::Installed | RuleState::Stale | RuleState::Pending | RuleState::Shadowed => false,
        }
    }

    /// Whether it is in the data plane.
    pub const fn is_in_force(self) -> bool {
        matches!(self, RuleState::Installed | RuleState::Stale)
    }
}

named! {
    /// A back end.
    Backend {
        /// The kernel's nftables.
        Nftables = "nftables",
        /// A program in the network driver.
        Xdp = "xdp",
        /// Hardware ACLs of a switch with Cumulus Linux.
        Cumulus = "cumulus",
        /// ACL tables of a switch with SONiC.
        Sonic = "sonic",
        /// Filters of tc, in the kernel or in a switch.
        Flower = "flower",
        /// Decides and shows everything, installs nothing.
        None = "none",
    }
}

named! {
    /// Whether rules act on packets.
    Mode {
        /// They act.
        Enforce = "enforce",
        /// They only count.
        Monitor = "monitor",
    }
}

named! {
    /// Whether the desired state is in force.
    DataplaneState {
        /// It is in force.
        Applied = "applied",
        /// A change is in progress.
        Applying = "applying",
        /// The data plane did not apply the latest change.
        Failed = "failed",
    }
}

named! {
    /// How the packets of an interface reach the rules.
    AttachmentMode {
        /// Native XDP, in the driver.
        Native = "native",
        /// Generic XDP, in the kernel's stack.
        Generic = "generic",
        /// nftables, at the hook prerouting.
        Prerouting = "prerouting",
        /// They do not reach them.
        None = "none",
    }
}

named! {
    /// The state of a session (RFC 4271 §8.2.2).
    SessionState {
        /// Stopped, or waiting for the IdleHoldTimer.
        Idle = "idle",
        /// Waiting for the TCP connection.
        Connect = "connect",
        /// Waiting for a connection from the peer, or for the ConnectRetryTimer.
        Active = "active",
        /// OPEN sent.
        OpenSent = "open-sent",
        /// OPEN received and accepted.
        OpenConfirm = "open-confirm",
        /// Routes are exchanged.
        Established = "established",
    }
}

named! {
    /// A pair of AFI and SAFI of a session.
    AddressFamily {
        /// AFI 1, SAFI 1.
        Ipv4Unicast = "ipv4-unicast",
        /// AFI 2, SAFI 1.
        Ipv6Unicast = "ipv6-unicast",
        /// AFI 1, SAFI 133.
        Ipv4Flow = "ipv4-flow",
        /// AFI 2, SAFI 133.
        Ipv6Flow = "ipv6-flow",
        /// AFI 1, SAFI 134.
        Vpnv4Flow = "vpnv4-flow",
        /// AFI 2, SAFI 134.
        Vpnv6Flow = "vpnv6-flow",
    }
}

named! {
    /// The verdict on a packet.
    Verdict {
        /// It passes.
        Accept = "accept",
        /// It is dropped.
        Discard = "discard",
        /// It is dropped if it is over a rate.
        Rate = "rate",
        /// It is redirected.
        Redirect = "redirect",
    }
}

impl Named for Family {
    const ALL: &'static [Self] = &Family::ALL;

    fn name(self) -> &'static str {
        Family::name(self)
    }
}
