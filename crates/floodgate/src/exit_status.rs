//! What the exit status says.

/// Everything asked for was done.
pub(crate) const OK: u8 = 0;
/// Some input was in error, or the answer is no. (2 is clap's: the command line was wrong.)
pub(crate) const NEGATIVE: u8 = 1;
/// The daemon does not answer.
pub(crate) const UNREACHABLE: u8 = 3;
/// What Nagios takes as critical; only `health --nagios` ends with it.
pub(crate) const CRITICAL: u8 = 2;
