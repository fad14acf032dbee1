//! Settings of the back end.

/// In the place of an interface's name: none at all is filtered, where an empty list would mean all. It is a name that nobody gives.
pub const NO_INTERFACE: &str = "floodgate-none";

/// Settings of this back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the interfaces whose incoming packets are filtered; empty for all but loopback and VRF devices, whose packets were filtered
    /// where they came in.
    pub interfaces: Vec<String>,
    /// Patterns of the configuration that mean no interface now, to be shown.
    pub unmatched: Vec<String>,
    /// The group of the kernel's packet log (nflog) that sampled packets go to.
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
