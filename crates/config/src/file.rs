//! The keys of the file, each with its default.

use crate::cumulus::Cumulus;
use crate::flower::Flower;
use crate::history::History;
use crate::limits;
use crate::long_lived::LongLived;
use crate::policy::{Blackhole, Policy};
use crate::protect::{FromSource, PresetName, Protocol};
use crate::sonic::Sonic;
use crate::token::Token;
use crate::values::{self, ActionKind, BGP_PORT, FamilyName, Hops, Listen, Pattern, Port};
use crate::xdp::Xdp;
use api::HumanDuration;
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// This BGP speaker.
    pub router: Router,
    /// The BGP peers.
    #[serde(default, rename = "peer")]
    pub peers: Vec<Peer>,
    /// The import policies, in order.
    #[serde(default, rename = "policy")]
    pub policies: Vec<Policy>,
    /// Traffic that stays reachable whatever the rules are.
    #[serde(default)]
    pub protect: Protect,
    /// Where rules are enforced.
    #[serde(default)]
    pub dataplane: Dataplane,
    /// The HTTP interface.
    #[serde(default)]
    pub api: Api,
    /// Who may do what over TCP.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Token>,
    /// What is saved over a restart.
    #[serde(default)]
    pub state: State,
    /// The history on disk.
    #[serde(default)]
    pub history: History,
    /// The log.
    #[serde(default)]
    pub log: Log,
}

/// `[router]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Router {
    /// Our AS number.
    #[serde(rename = "as", deserialize_with = "values::as_number")]
    pub asn: u32,
    /// Our BGP identifier (RFC 6286: any non-zero number, written as an IPv4 address).
    pub id: Ipv4Addr,
    /// The listen addresses. `None`: port 179 if a passive peer needs it and no other program uses
    /// it.
    pub listen: Option<Vec<Listen>>,
}

/// `[[peer]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Peer {
    /// A name for people; unique.
    pub name: String,
    /// Its address; unique.
    pub address: IpAddr,
    /// Its TCP port, when we connect.
    #[serde(default = "bgp_port")]
    pub port: u16,
    /// Its AS number.
    #[serde(rename = "as", deserialize_with = "values::as_number")]
    pub asn: u32,
    /// Our AS number towards it, if it is not that of `[router]`.
    #[serde(default, deserialize_with = "values::some_as_number")]
    pub local_as: Option<u32>,
    /// Our address towards it.
    pub source: Option<IpAddr>,
    /// The interface or VRF that the session is bound to; a link-local address needs one.
    pub bind_interface: Option<String>,
    /// TCP-MD5 secret (RFC 2385), at most 80 octets.
    pub md5: Option<String>,
    /// A file whose first line is the secret.
    pub md5_file: Option<PathBuf>,
    /// Why that file has no secret, if the daemon has to start all the same
    /// ([`Config::load_to_start`]). There must be no session with this peer then.
    #[serde(skip)]
    pub md5_error: Option<String>,
    /// Generalized TTL security (RFC 5082): packets from further away than this many hops are
    /// dropped.
    #[serde(default)]
    pub ttl_security: Hops,
    /// Wait for the peer to connect.
    #[serde(default)]
    pub passive: bool,
    /// Proposed hold time, whole seconds: 0 or at least 3.
    #[serde(default = "hold_time")]
    pub hold_time: HumanDuration,
    /// Families to negotiate.
    #[serde(default = "families")]
    pub families: Vec<FamilyName>,
    /// Accept several paths of one rule (RFC 7911).
    #[serde(default)]
    pub add_path: bool,
    /// Offer graceful restart (RFC 4724): both sides keep the rules while one of them restarts.
    #[serde(default = "default_true")]
    pub graceful_restart: bool,
    /// Our restart time: how long the peer keeps our routes while we restart (RFC 4724 §3), at most
    /// 4095 s. `None`: the hold time, at most 120 s.
    pub restart_time: Option<HumanDuration>,
    /// Longest time that connections are refused after short sessions; 0: never.
    #[serde(default = "idle_hold_max")]
    pub idle_hold_max: HumanDuration,
    /// How long rules are kept after a session loss that graceful restart does not cover.
    #[serde(default)]
    pub hold_on_loss: HumanDuration,
    /// What ends the stale state of rules once the session is established again.
    #[serde(default)]
    pub stale_until: StaleUntil,
    /// A route server, which does not put its own AS number into the AS_PATH (RFC 7947).
    #[serde(default)]
    pub route_server: bool,
    /// How often our own AS number may occur in the AS_PATH of its routes.
    #[serde(default)]
    pub allow_own_as: u8,
    /// Most rules accepted from this peer.
    #[serde(default = "max_rules")]
    pub max_rules: u32,
    /// What happens beyond that.
    #[serde(default)]
    pub on_excess: OnExcess,
    /// What this peer may ask for.
    #[serde(default)]
    pub allow: Allow,
    /// Which of its unicast routes are blackholes; `None` for none.
    pub blackhole: Option<Blackhole>,
    /// Long-lived graceful restart (RFC 9494); `None`: not offered.
    pub long_lived: Option<LongLived>,
    /// Which rules are advertised to this peer (RFC 8212: none, unless it says so).
    #[serde(default)]
    pub advertise: Vec<Advertise>,
}

impl Peer {
    /// Whether locally originated rules are advertised to it.
    pub fn advertises_local(&self) -> bool {
        self.advertise.contains(&Advertise::Local)
    }

    /// The families of its rules: flow specifications, and with blackholes unicast routes, too.
    pub fn rule_families(&self) -> impl Iterator<Item = FamilyName> {
        let blackholes = self.blackhole.is_some();
        self.families.iter().copied().filter(move |family| blackholes || !family.is_unicast())
    }

    /// The families whose routes outlive a session: those of its rules, and unicast routes where
    /// rules are validated against them.
    pub fn retained_families(&self) -> impl Iterator<Item = FamilyName> {
        let all = self.blackhole.is_some() || self.allow.validation == Validation::Rfc9117;
        self.families.iter().copied().filter(move |family| all || !family.is_unicast())
    }

    /// The families for which long-lived graceful restart is offered.
    pub fn long_lived_families(&self) -> Vec<FamilyName> {
        match &self.long_lived {
            Some(LongLived { families: Some(families), .. }) => families.clone(),
            Some(LongLived { families: None, .. }) => self.retained_families().collect(),
            None => Vec::new(),
        }
    }
}

/// Rules that are advertised to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advertise {
    /// Those that were announced on this machine.
    Local,
}

/// What ends the stale state of rules once the session is established again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StaleUntil {
    /// The peer's End-of-RIB, or `[state] stale-time`.
    #[default]
    EndOfRib,
    /// The same, and at once if the peer's OPEN has no F bit for the family (RFC 4724 §4.2).
    FBit,
}

/// What happens when a peer sends more than `max-rules`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExcess {
    /// Accept them and log it.
    Warn,
    /// Show the excess, install none of it.
    #[default]
    Ignore,
    /// Close the session (CEASE, maximum number of prefixes reached).
    Close,
}

/// `[peer.allow]`: the import policy of one peer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Allow {
    /// Destinations that it may filter; empty = any.
    #[serde(deserialize_with = "values::prefixes")]
    pub destinations: Vec<IpNet>,
    /// Shortest IPv4 destination prefix.
    pub shortest_prefix_v4: u8,
    /// Shortest IPv6 destination prefix.
    pub shortest_prefix_v6: u8,
    /// Whether a rule may have no destination.
    pub without_destination: bool,
    /// Actions it may ask for; empty = all.
    pub actions: Vec<ActionKind>,
    /// How to handle actions that the operator defines by communities.
    pub action_communities: ActionCommunities,
    /// How to handle a rule with an unknown action.
    pub unknown_actions: UnknownActions,
    /// How to handle a rule that is limited to a set of interfaces.
    pub interface_sets: InterfaceSets,
    /// Addresses that it may redirect or copy to; empty = any for an iBGP peer, none for an eBGP
    /// peer.
    pub redirect_to: Vec<IpNet>,
    /// Longest lifetime of a rule after its announcement; `None` = no limit.
    pub max_lifetime: Option<HumanDuration>,
    /// Validation against unicast routes.
    pub validation: Validation,
}

/// How to handle actions that the operator defines by communities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionCommunities {
    /// They are executed, as far as they are allowed.
    #[default]
    Take,
    /// They are ignored: only a policy statement gives a rule an action.
    Ignore,
    /// A rule with such an action is rejected.
    Refuse,
}

/// How to handle a rule with an unknown action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownActions {
    /// The action is ignored (RFC 8955): with no other, the rule accepts its packets.
    #[default]
    Accept,
    /// The import policy rejects the rule.
    Refuse,
}

/// How to handle a rule that is limited to a set of interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceSets {
    /// It is refused: interface sets are not supported.
    #[default]
    Refuse,
    /// The set is ignored: the rule is enforced on every filtered interface.
    Ignore,
}

/// Validation of rules against unicast routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Validation {
    /// No validation; only `[peer.allow]` decides.
    #[default]
    #[serde(rename = "none")]
    None,
    /// RFC 8955 §6 as changed by RFC 9117.
    #[serde(rename = "rfc9117")]
    Rfc9117,
}

/// `[protect]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Protect {
    /// Packets to these are never filtered.
    #[serde(deserialize_with = "values::prefixes")]
    pub prefixes: Vec<IpNet>,
    /// Packets from these are never filtered.
    #[serde(deserialize_with = "values::prefixes")]
    pub sources: Vec<IpNet>,
    /// Packets to these ports of this machine are never filtered.
    pub ports: Vec<FromSource<Port>>,
    /// Packets to this machine with one of these ports on either side are never filtered.
    pub sessions: Vec<FromSource<Port>>,
    /// Packets of these IP protocols to this machine, and to link-local multicast groups, are never
    /// filtered.
    pub protocols: Vec<FromSource<Protocol>>,
    /// Named sets of packets that are never filtered.
    pub presets: Vec<FromSource<PresetName>>,
    /// Addresses of this machine, for all of these; `None` = those of its interfaces.
    pub addresses: Option<Vec<IpAddr>>,
}

/// `[dataplane]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dataplane {
    /// The back end.
    pub backend: Backend,
    /// Ingress interfaces; patterns with `*` and `?`. Empty: every interface.
    pub interfaces: Vec<Pattern>,
    /// Drop, or only count.
    pub mode: Mode,
    /// Whether filters are kept or removed when the daemon is stopped.
    pub on_exit: OnExit,
    /// How long changes are gathered before they are applied. `None`: the default of the back end.
    pub debounce: Option<HumanDuration>,
    /// Settings of the nftables back end.
    pub nftables: Nftables,
    /// Settings of the Cumulus Linux back end.
    pub cumulus: Cumulus,
    /// Settings of the SONiC back end.
    pub sonic: Sonic,
    /// Settings of the XDP back end.
    pub xdp: Xdp,
    /// Settings of the back end tc flower.
    pub flower: Flower,
}

/// The back ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The kernel's nftables.
    #[default]
    Nftables,
    /// Hardware ACLs of a switch with Cumulus Linux.
    Cumulus,
    /// ACL tables of a switch with SONiC.
    Sonic,
    /// A program in the network driver.
    Xdp,
    /// Filters of tc, in the kernel or in a switch.
    Flower,
    /// Decides and shows everything, installs nothing.
    None,
}

impl Backend {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Nftables => "nftables",
            Backend::Cumulus => "cumulus",
            Backend::Sonic => "sonic",
            Backend::Xdp => "xdp",
            Backend::Flower => "flower",
            Backend::None => "none",
        }
    }
}

/// Whether rules act on packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They act.
    #[default]
    Enforce,
    /// They are installed as counters; nothing is dropped.
    Monitor,
}

/// Whether filters are kept or removed when the daemon is stopped. (After a kill they are always
/// kept.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExit {
    /// They are kept.
    Keep,
    /// They are removed.
    #[default]
    Remove,
}

/// `[dataplane.nftables]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Nftables {
    /// The nflog group for sampled packets.
    pub sample_group: u16,
    /// Octets of a sampled packet that are logged, from the IP header on.
    pub sample_octets: u32,
    /// Most rules that a packet is compared with one after the other.
    pub max_chain_rules: u32,
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Api {
    /// The Unix socket.
    pub socket: PathBuf,
    /// The group that may use it. `None`: `floodgate` if that group exists, otherwise root alone.
    pub group: Option<String>,
    /// TCP addresses of additional listeners.
    pub listen: Vec<Listen>,
    /// The token that a client over TCP needs for changes.
    pub token: Option<String>,
    /// A file whose first line is the token.
    pub token_file: Option<PathBuf>,
    /// Whether everybody who reaches a TCP listener may look at everything without a token.
    pub anonymous_read: bool,
    /// Names of this machine in addresses of the page and of the API, beside its addresses.
    pub hosts: Vec<String>,
    /// Number of events in the history.
    pub history: usize,
    /// How many rules at most have metrics of their own; 0 = none.
    pub rule_metrics: usize,
    /// Whether the page is served at `/`.
    pub page: bool,
}

/// `[state]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct State {
    /// The state file; empty = none.
    pub file: PathBuf,
    /// How long saved rules are enforced until their peer has confirmed them.
    pub stale_time: HumanDuration,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Log {
    /// Least severe level that is logged.
    pub level: Level,
    /// The format of a line.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Sessions, applied changes, commands.
    #[default]
    Info,
    /// Every rule.
    Debug,
    /// Every message.
    Trace,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Allow {
    fn default() -> Self {
        Allow {
            destinations: Vec::new(),
            shortest_prefix_v4: 8,
            shortest_prefix_v6: 16,
            without_destination: false,
            actions: Vec::new(),
            action_communities: ActionCommunities::Take,
            unknown_actions: UnknownActions::Accept,
            interface_sets: InterfaceSets::Refuse,
            redirect_to: Vec::new(),
            max_lifetime: None,
            validation: Validation::None,
        }
    }
}

impl Default for Nftables {
    fn default() -> Self {
        let max_chain_rules = dataplane::nftables::MAX_CHAIN_RULES as u32; // some thousands
        Nftables { sample_group: 3970, sample_octets: 128, max_chain_rules }
    }
}

impl Default for Api {
    fn default() -> Self {
        Api {
            socket: PathBuf::from(DEFAULT_SOCKET),
            group: None,
            listen: Vec::new(),
            token: None,
            token_file: None,
            anonymous_read: true,
            hosts: Vec::new(),
            history: 10_000,
            rule_metrics: 0,
            page: true,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        State { file: Path::new(STATE_DIRECTORY).join("state"), stale_time: HumanDuration::seconds(180) }
    }
}

/// The default path of the state file. The daemon creates this directory, and no other.
pub const STATE_DIRECTORY: &str = "/var/lib/floodgate";

/// The default path of the configuration.
pub const DEFAULT_FILE: &str = "/etc/floodgate/floodgate.toml";

/// The default path of the API socket.
pub const DEFAULT_SOCKET: &str = "/run/floodgate/api.sock";

const fn bgp_port() -> u16 {
    BGP_PORT
}

const fn hold_time() -> HumanDuration {
    HumanDuration::seconds(90)
}

const fn idle_hold_max() -> HumanDuration {
    HumanDuration::seconds(60)
}

fn families() -> Vec<FamilyName> {
    vec![FamilyName::Ipv4, FamilyName::Ipv6]
}

const fn default_true() -> bool {
    true
}

const fn max_rules() -> u32 {
    limits::DEFAULT_MAX_RULES
}
