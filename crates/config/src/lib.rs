//! The configuration file: one TOML file. Every key has a default if there is a sensible one,
//! unknown keys are errors, and every error names file, line and column, what was expected and, if
//! it looks like a typing mistake, what was probably meant.
//!
//! `docs/manual/configuration.md` documents every key; a test keeps it complete.

#![forbid(unsafe_code)]

mod beside;
mod check;
mod check_long_lived;
mod check_policy;
mod check_token;
mod cumulus;
mod diff;
mod error;
mod explain;
mod file;
mod flower;
mod history;
pub mod limits;
mod load;
mod long_lived;
mod policy;
mod protect;
mod read;
mod redact;
mod report;
mod sections;
mod sonic;
mod syntax;
mod token;
mod values;
mod xdp;

pub use cumulus::{Cumulus, release_of_this_machine, unfit_interface};
pub use diff::differences;
pub use error::{ConfigError, Problem};
pub use file::{
    ActionCommunities, Advertise, Allow, Api, Backend, Config, DEFAULT_FILE, DEFAULT_SOCKET, Dataplane, InterfaceSets,
    Level, Log, LogFormat, Mode, Nftables, OnExcess, OnExit, Peer, Protect, Router, STATE_DIRECTORY, StaleUntil, State,
    UnknownActions, Validation,
};
pub use flower::Flower;
pub use history::History;
pub use long_lived::LongLived;
pub use policy::{
    ActionsText, AsNumber, Blackhole, Community, ComponentName, InvalidActions, InvalidCommunity, InvalidRate,
    InvalidTrigger, Lengths, Policy, RateText, Statement, ThenWord, TriggerText, UnknownComponent,
};
pub use protect::{FromSource, InvalidFromSource, InvalidProtocol, PresetName, Protocol, UnknownPreset};
pub use redact::without_secrets;
pub use sonic::{Database as SonicDatabase, Sonic};
pub use token::{InvalidTokenHash, Role, Token, TokenHash};
pub use values::{
    ActionKind, BGP_PORT, FamilyName, Hops, InvalidListen, InvalidPattern, InvalidPort, Listen, Pattern, Port,
};
pub use xdp::{Attach as XdpAttach, Fallback as XdpFallback, Xdp};

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
