//! The six states of RFC 4271 §8.2.2.

use std::fmt;

/// The state of a session. With two connections to the same peer it is that of the one further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum State {
    /// Stopped, or waiting for the IdleHoldTimer. Connections are refused.
    Idle,
    /// Waiting for the connection that was asked for.
    Connect,
    /// Waiting for a connection from the peer, or for the ConnectRetryTimer.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received and accepted.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// The name used in text and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connect => "connect",
            State::Active => "active",
            State::OpenSent => "open-sent",
            State::OpenConfirm => "open-confirm",
            State::Established => "established",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
