//! The command line of the daemon and of the commands that send requests to it.

use super::rule_sort::RuleSort;
use api::HumanDuration;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The daemon and the commands that send requests to it.
#[derive(Debug, Subcommand)]
pub(crate) enum LiveCommand {
    /// Run the daemon
    #[command(after_help = "Examples:
  floodgate run
  floodgate run -c floodgate.toml")]
    Run(ConfigArgs),
    /// Check a configuration file without running anything
    Check(CheckArgs),
    /// Show the state of the running daemon
    #[command(after_help = "Exit status 1 while nothing is filtered: the data plane failed, filtering is paused, or no
interface has a configured name.

Examples:
  floodgate status
  floodgate status --json | jq .rules")]
    Status(LiveArgs),
    /// Print in one line whether filtering works; for health checks
    Health(HealthArgs),
    /// Write an archive for a problem report, without secrets
    Support(SupportArgs),
    /// Show the BGP peers
    #[command(after_help = "Examples:
  floodgate peers
  floodgate peers --json | jq 'select(.state != \"established\") | .name'")]
    Peers(LiveArgs),
    /// Show the rules, in enforcement order
    Rules(RulesArgs),
    /// Show the busiest rules, refreshed every second
    Top(TopArgs),
    /// Show events as they happen
    #[command(after_help = "Examples:
  floodgate watch
  floodgate watch --json | jq 'select(.event == \"not-enforced\")'")]
    Watch(LiveArgs),
    /// Show packets that rules sampled, as they arrive
    Samples(SamplesArgs),
    /// Show the latest events, or rules of the past
    History(HistoryArgs),
    /// Print all that is remembered of a rule, for somebody else
    Report(ReportArgs),
    /// Announce a rule on this machine
    Announce(AnnounceArgs),
    /// Withdraw a rule that was announced on this machine
    Withdraw(WithdrawArgs),
    /// Stop all filtering, until `resume` or for a time
    Pause(PauseArgs),
    /// Resume filtering
    #[command(after_help = "Examples:
  floodgate resume")]
    Resume(LiveArgs),
    /// Withdraw all rules that were announced on this machine
    #[command(after_help = "Rules of peers stay.

Examples:
  floodgate clear")]
    Clear(LiveArgs),
    /// Apply a changed configuration file
    #[command(after_help = "The answer names each key that changed. A file with a mistake changes nothing.

Examples:
  floodgate check && floodgate reload")]
    Reload(LiveArgs),
}

/// The configuration.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config: PathBuf,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Every mistake is reported with its line and column. Exit status: 0 the file is valid, 1 it is not.

Examples:
  floodgate check
  floodgate check -c floodgate.toml
  floodgate check -c floodgate.toml --json | jq -r '\"\\(.line): \\(.message)\"'"
)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print one JSON object for each mistake
    #[arg(long)]
    pub json: bool,
}

/// How to reach the daemon and how to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct LiveArgs {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "FLOODGATE_SOCKET", default_value = config::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `health`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit status: 0 healthy; 1 not, with the reason: the data plane failed, nothing is filtered,
filtering is paused, or changes are not saved; 3 the daemon does not answer. With --nagios
0 or 2.

Examples:
  floodgate health
  floodgate health --nagios --timeout 5s
  floodgate health --json | jq -r .message")]
pub(crate) struct HealthArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Timeout for the daemon's answer
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub timeout: HumanDuration,
    /// Print a line and exit with a status for Nagios and Icinga: 0 OK, 2 CRITICAL
    #[arg(long, conflicts_with = "json")]
    pub nagios: bool,
}

/// Arguments of `support`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "The archive (tar, gzip) contains the configuration without its secrets, the daemon's status,
peers, rules, history and metrics, the filters in the kernel, and facts about the machine.
It contains addresses of peers and rules: check it before you publish it. The daemon need
not run; what could not be read is listed in errors.txt.

Examples:
  floodgate support
  floodgate support -o report.tar.gz
  floodgate support -o - | ssh desk 'cat > report.tar.gz'")]
pub(crate) struct SupportArgs {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "FLOODGATE_SOCKET", default_value = config::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config: PathBuf,
    /// The archive; `-` for standard output [default: floodgate-support-TIME.tar.gz here]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `rules`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A rule is shown if it matches all FILTER words: a state (installed, refused, guarded..), a family, a peer or `local`,
an address or prefix (rules whose destination overlaps), the beginning of an id, or part of the text.

Examples:
  floodgate rules
  floodgate rules 192.0.2.1
  floodgate rules guarded controller
  floodgate rules --rates 203.0.113.0/24
  floodgate rules --sort bits
  floodgate rules --json | jq .text"
)]
pub(crate) struct RulesArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Show how busy rules are: rates between the last two readings of the counters, peak, last hit
    #[arg(long)]
    pub rates: bool,
    /// Show them in this order, most first, with rates
    #[arg(long, value_name = "KEY")]
    pub sort: Option<RuleSort>,
    /// Show only the rules that match
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Keys: p, b, d sort by packets, bits or dropped packets a second, k by the peak, l by the last
hit, t by packets in total; / filters, with the words of `floodgate rules`; space pauses; q quits. Without a terminal it
measures for a second and ends.

Examples:
  floodgate top
  floodgate top 203.0.113.0/24
  floodgate top --json | head -5 | jq '{text, packets_per_second}'")]
pub(crate) struct TopArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Show only the rules that match, as in `rules`
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `history`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without --incidents or a filter: the latest events, which are in memory. With one: incidents, from
the history on disk. An incident is a rule from its announcement to its end; the latest come first.
TIME is in UTC, such as 2026-11-21T04:12:09Z or 2026-11-21, or how long ago, such as 2h.

Examples:
  floodgate history
  floodgate history -n 1000 --json | jq 'select(.peer == \"controller\")'
  floodgate history --since 1d --rule 192.0.2.7
  floodgate history --since 2026-11-01 --until 2026-12-01 -n 100000 --csv > november.csv
  floodgate history --state failed"
)]
pub(crate) struct HistoryArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Number of events, or of incidents
    #[arg(short = 'n', long, default_value_t = 100)]
    pub count: usize,
    /// Show incidents
    #[arg(long)]
    pub incidents: bool,
    /// Show incidents that had not ended before
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show incidents that began before
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show incidents of rules with this id or its beginning, whose text contains this, or, with an
    /// address or prefix, whose destination overlaps
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,
    /// Show incidents of rules of this peer, or of `local` ones
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
    /// Show incidents of rules that had this state at some time: installed, refused, failed..
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Print incidents as CSV, with a line of names first
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

impl HistoryArgs {
    /// Whether incidents are meant, and not events.
    pub(super) const fn means_incidents(&self) -> bool {
        self.incidents
            || self.csv
            || self.since.is_some()
            || self.until.is_some()
            || self.rule.is_some()
            || self.peer.is_some()
            || self.state.is_some()
    }
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "It has who announced the rule, its states with their reasons, what it matched and dropped, and the
curve of its rates: for a customer, or for whoever looks after abuse. It contains names of peers
and users: check it before you send it.

Examples:
  floodgate report 17
  floodgate report 037af410fd40 --markdown > incident.md
  floodgate report 17 --json | jq .states"
)]
pub(crate) struct ReportArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// The number of the incident, or the id of a rule: its latest incident
    #[arg(value_name = "NUMBER-OR-ID")]
    pub incident: String,
}

/// Arguments of `samples`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Rules with the action `sample` provide the first 128 octets of each packet. Losses are reported on standard error.

Examples:
  floodgate samples --count 10
  floodgate samples --for 1m -w attack.pcap
  floodgate samples -w - | tcpdump -nr -"
)]
pub(crate) struct SamplesArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Stop after this many packets
    #[arg(short = 'n', long)]
    pub count: Option<u64>,
    /// Stop after this time, such as 10m
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<HumanDuration>,
    /// Write a capture file (pcap) instead; `-` for standard output
    #[arg(short = 'w', long = "pcap", value_name = "FILE", conflicts_with = "json")]
    pub pcap: Option<PathBuf>,
}

/// Arguments of `announce`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "On a terminal, it asks before a rule that matches all packets, the SSH session in which it is
typed, or what is sent to this machine. In a script the first two need --yes.

Examples:
  floodgate announce 'dst 192.0.2.1/32 proto udp sport 123 then discard' --for 10m
  floodgate announce dst 192.0.2.1/32 proto udp then rate 1mbps")]
pub(crate) struct AnnounceArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Lifetime of the rule, such as 10m; without it, the rule stays until it is withdrawn
    #[arg(long = "for", value_name = "TIME", value_parser = HumanDuration::lifetime)]
    pub lifetime: Option<HumanDuration>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
    /// The rule, quoted or as bare words
    #[arg(required = true, value_name = "RULE")]
    pub rule: Vec<String>,
}

/// Arguments of `pause`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "A pause survives restarts of the daemon.

Examples:
  floodgate pause --for 30m
  floodgate pause")]
pub(crate) struct PauseArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// Duration, such as 30m; without it, until `resume`
    #[arg(long = "for", value_name = "TIME", value_parser = HumanDuration::lifetime)]
    pub lifetime: Option<HumanDuration>,
}

/// Arguments of `withdraw`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "What a peer announces, only that peer can withdraw; a local rule with the same match part
takes precedence over it.

Examples:
  floodgate withdraw 037af410fd40
  floodgate withdraw 'dst 192.0.2.1/32 proto udp sport 123'")]
pub(crate) struct WithdrawArgs {
    /// How to reach the daemon and how to print
    #[command(flatten)]
    pub live: LiveArgs,
    /// The rule (its actions are ignored), or its id
    #[arg(required = true, value_name = "RULE-OR-ID")]
    pub rule: Vec<String>,
}
