//! What this program is: version, commit, date and what was compiled in.

use std::sync::LazyLock;

/// Such as `0.1.0 (1a2b3c4d5e6f, 2026-11-26; nftables, xdp, cumulus)`, for `--version`; `-V` prints the number alone.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| {
    let xdp = if dataplane::xdp::COMPILED_IN { "xdp" } else { "no xdp" };
    let (commit, date) = (env!("FLOODGATE_COMMIT"), env!("FLOODGATE_DATE"));
    format!("{} ({commit}, {date}; nftables, {xdp}, cumulus)", env!("CARGO_PKG_VERSION"))
});
