//! Settings of the back end.

/// Used as an interface name if no interface is filtered, since an empty list would mean all. No
/// interface has this name.
pub const NO_INTERFACE: &str = "floodgate-none";

/// Settings of this back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the interfaces whose received packets are filtered; empty for all except loopback
    /// and VRF devices, whose packets were filtered at ingress.
    pub interfaces: Vec<String>,
    /// Patterns of the configuration that match no interface now, for display.
    pub unmatched: Vec<String>,
    /// The nflog group for sampled packets.
    pub sample_group: u16,
    /// Octets of a sampled packet that are logged, from the IP header on.
    pub sample_octets: u32,
    /// Most rules that a packet is compared with one after the other, in one chain.
    pub max_chain_rules: usize,
}

/// The default of [`Options::max_chain_rules`].
pub const MAX_CHAIN_RULES: usize = 500;

impl Default for Options {
    fn default() -> Self {
        Options {
            interfaces: Vec::new(),
            unmatched: Vec::new(),
            sample_group: 3970,
            sample_octets: 128,
            max_chain_rules: MAX_CHAIN_RULES,
        }
    }
}
