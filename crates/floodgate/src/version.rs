//! The version: number, commit, date and compiled-in back ends.

use api::{Backend, Named};
use std::sync::LazyLock;

/// The commit that this program was built from.
pub(crate) const COMMIT: &str = env!("FLOODGATE_COMMIT");

/// Such as `0.1.0 (1a2b3c4d5e6f, 2026-11-26; nftables, xdp, cumulus, sonic, flower)`, for
/// `--version`; `-V`
/// prints the number alone.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| {
    let name = |backend: &Backend| match backend {
        Backend::None => None,
        Backend::Xdp if !dataplane::xdp::COMPILED_IN => Some("no xdp"),
        backend => Some(backend.name()),
    };
    let backends: Vec<&str> = Backend::ALL.iter().filter_map(name).collect();
    let date = env!("FLOODGATE_DATE");
    format!("{} ({COMMIT}, {date}; {})", env!("CARGO_PKG_VERSION"), backends.join(", "))
});
