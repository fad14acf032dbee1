//! What values of the configuration may be at most.

use std::time::Duration;

/// Most rules of a peer, if its `max-rules` does not say otherwise.
pub const DEFAULT_MAX_RULES: u32 = 100_000;

/// A longer wait is most likely a wrong unit.
pub const LONGEST_DEBOUNCE: Duration = Duration::from_secs(60);

/// Longer than any useful damping.
pub const LONGEST_IDLE_HOLD: Duration = Duration::from_secs(3600);

/// A higher number is not useful.
pub const MAX_OWN_AS: u8 = 10;

/// The longest name of an interface, in octets.
pub const LONGEST_INTERFACE_NAME: usize = 15;

/// Most octets of a TCP-MD5 secret (the kernel's limit).
pub const MD5_OCTETS: usize = 80;

/// Minimum length of a token in octets.
pub const TOKEN_OCTETS: usize = 16;

/// With fewer megabytes there is hardly room for the tables.
pub const LEAST_HISTORY: u64 = 10;

/// Most rules of a token, if its `max-rules` does not say otherwise.
pub const DEFAULT_TOKEN_RULES: u32 = 1000;
