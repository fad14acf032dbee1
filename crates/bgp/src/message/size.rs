//! How long messages may be (RFC 4271 §4.1, RFC 8654, RFC 9003).

/// Octets of a header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// Most octets of a message without the extended message capability.
pub const MAX_MESSAGE: usize = 4096;
/// Most octets of a message with it (RFC 8654).
pub const MAX_EXTENDED_MESSAGE: usize = 65535;
/// Most octets of a shutdown communication (RFC 9003 §2).
pub const MAX_COMMUNICATION: usize = 255;
