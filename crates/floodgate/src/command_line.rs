//! The command line (the stable face of docs/ARCHITECTURE.md).

use crate::live::args::{LiveArgs, LiveCommand};
use clap::{Args, Parser, Subcommand, ValueEnum};
use config::Pattern;
use dataplane::cumulus::Asic;
use dataplane::flower::Driver;
use std::path::PathBuf;

/// BGP FlowSpec enforcement for Linux: takes traffic filters from BGP peers and keeps the data
/// plane dropping exactly that traffic.
#[derive(Debug, Parser)]
#[command(name = "floodgate", version, long_version = crate::version::LONG.as_str(), max_term_width = 100, propagate_version = true)]
#[command(after_help = "Examples:
  floodgate decode 0b0118c00002038106048119
  floodgate encode 'dst 192.0.2.1/32 proto udp sport 123 then discard'
  floodgate explain --rules filters.txt udp 198.51.100.7:123 192.0.2.1:4000

Exit status: 0 success; 1 an input has errors or the answer is no (`status`: nothing is
filtered); 2 wrong usage; 3 the daemon does not answer.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Decode FlowSpec octets: wire to rule
    #[command(visible_alias = "dec")]
    Decode(DecodeArgs),
    /// Encode rules as FlowSpec octets: rule text to wire
    Encode(EncodeArgs),
    /// Show which rule decides about a packet, and why the earlier ones do not
    Explain(ExplainArgs),
    /// Show what a data plane would install: result and entries per rule; offline, without root
    Compile(CompileArgs),
    /// Test what a switch supports and print a report; takes minutes, leaves nothing installed
    Selftest(SelfTestArgs),
    /// Run as a process of ExaBGP: its JSON on standard input instead of BGP sessions
    Exabgp(ExabgpArgs),
    /// Make a token for the API over TCP: prints it, and its section of the configuration
    Token(TokenArgs),
    /// Print shell completions
    #[command(after_help = "Examples:
  floodgate completions bash > /etc/bash_completion.d/floodgate
  floodgate completions zsh > /usr/share/zsh/vendor-completions/_floodgate
  floodgate completions fish > /usr/share/fish/vendor_completions.d/floodgate.fish")]
    Completions(CompletionsArgs),
    /// Write the man pages: floodgate(1), one for each command, and floodgate.toml(5)
    #[command(after_help = "Examples:
  floodgate man /usr/local/share/man")]
    Man(ManArgs),
    /// The daemon and the commands that send requests to it.
    #[command(flatten)]
    Live(LiveCommand),
}

/// Arguments of `token`.
#[derive(Debug, Args)]
#[command(after_help = "The token is on standard error, and nowhere else: whoever gets it sends it as `Authorization:
Bearer TOKEN`. The section has its hash alone, and bounds to fill in.

Examples:
  floodgate token desk >> /etc/floodgate/floodgate.toml && floodgate reload
  floodgate token grafana --role read
  floodgate token desk --hash < old-token.txt")]
pub(crate) struct TokenArgs {
    /// What it is for
    #[arg(long, value_enum, default_value = "announce")]
    pub role: RoleArg,
    /// Take the token from standard input, instead of making one
    #[arg(long)]
    pub hash: bool,
    /// Its name: letters, digits, `-`, `_` and `.`
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Roles on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Look at everything
    Read,
    /// Announce rules within bounds, and withdraw its own
    Announce,
    /// Everything
    Admin,
}

/// Arguments of `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory in which to create `man1` and `man5`
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
}

/// FlowSpec families on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FamilyArg {
    /// AFI 1, SAFI 133
    Ipv4,
    /// AFI 2, SAFI 133
    Ipv6,
    /// AFI 1, SAFI 134
    Vpnv4,
    /// AFI 2, SAFI 134
    Vpnv6,
}

impl From<FamilyArg> for flowspec::Family {
    fn from(family: FamilyArg) -> Self {
        match family {
            FamilyArg::Ipv4 => flowspec::Family::Ipv4,
            FamilyArg::Ipv6 => flowspec::Family::Ipv6,
            FamilyArg::Vpnv4 => flowspec::Family::Vpnv4,
            FamilyArg::Vpnv6 => flowspec::Family::Vpnv6,
        }
    }
}

/// Arguments of `decode`.
#[derive(Debug, Args)]
#[command(after_help = "HEX may contain blanks and colons, and begin with 0x. Octets of an NLRI include its length.
Whole BGP messages are recognised, also in packets, and in what tcpdump -x, -X and
-XX, Wireshark, xxd and hexdump -C print: quote it as one argument, or pipe it.
Rules are recognised as BIRD, Junos, IOS XR, FRR, GoBGP, ExaBGP and FastNetMon print them.

Examples:
  floodgate decode 0b0118c00002038106048119
  floodgate decode --family ipv6 0f01200020010db80268412468acf134
  floodgate decode --community 8006000000000000 800900000000002e
  floodgate decode --update ffffffffffffffffffffffffffffffff003d02...
  tcpdump -nr session.pcap -X | floodgate decode -
  birdc show route all table flowtab4 | floodgate decode -
  floodgate decode --pcap session.pcap
  floodgate decode --json - < nlris.txt")]
pub(crate) struct DecodeArgs {
    /// Family of the NLRIs
    #[arg(long, value_enum, default_value = "ipv4")]
    pub family: FamilyArg,
    /// Each input is one or more BGP messages, or a packet that contains some
    #[arg(long, conflicts_with_all = ["community", "family"])]
    pub update: bool,
    /// Each input is an extended community of 8 octets, or of 20 octets (attribute 25)
    #[arg(long, conflicts_with = "family")]
    pub community: bool,
    /// The NLRIs have path identifiers (RFC 7911)
    #[arg(long, conflicts_with = "community")]
    pub add_path: bool,
    /// A capture file (pcap or pcapng), `-` for standard input: the BGP messages of all TCP
    /// connections in it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["community", "family", "input"])]
    pub pcap: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Octets in hex; `-` reads one input a line, or dumps, from standard input
    #[arg(required_unless_present = "pcap", value_name = "HEX")]
    pub input: Vec<String>,
}

/// Arguments of `encode`.
#[derive(Debug, Args)]
#[command(after_help = "Rule: [ipv4|ipv6] [rd RD] COMPONENT.. [then ACTION..]
  dst PREFIX, src PREFIX           192.0.2.0/24, 2001:db8::/32; with an offset ::1234:0:0/64-104
  proto, port, dport, sport, icmp-type, icmp-code, length, dscp, label
                                   80,443,8000-8080  !=53  >=512&<=1500; a comma is OR, & is AND and binds tighter
  tcp-flags, fragment              syn&!ack  any(fin+rst)  is-fragment  !is-fragment
  actions                          discard, rate 1mbps, rate 1000pps, mark 46, redirect 65000:100,
                                   redirect 192.0.2.9 [copy], sample, continue, accept
The words of ExaBGP and GoBGP are understood, too. A line may also be: wire FAMILY NLRI-HEX [COMMUNITY-HEX..]

Examples:
  floodgate encode 'dst 192.0.2.1/32 proto udp sport 123 then discard'
  floodgate encode --json - < filters.txt")]
pub(crate) struct EncodeArgs {
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// A rule, quoted as one argument or as bare words; `-` reads one rule a line from standard
    /// input
    #[arg(required = true, value_name = "RULE", allow_hyphen_values = true)]
    pub rule: Vec<String>,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Words: PROTOCOL SOURCE[:PORT] DESTINATION[:PORT] [FLAGS..]; IPv6 with a port in brackets:
[2001:db8::1]:53. Flags: syn ack fin rst psh urg ece cwr (tcp), type=N code=N (icmp), length=N,
dscp=N, label=N, hop-limit=N, df, first, middle, last (fragment).

Examples:
  floodgate explain --rules filters.txt udp 198.51.100.7:123 192.0.2.1:4000
  floodgate explain --rules filters.txt tcp 198.51.100.7:4000 192.0.2.1:80 syn length=60
  floodgate explain --rules filters.txt --pcap attack.pcap
  floodgate explain udp 198.51.100.7:123 192.0.2.1:4000
  floodgate explain --packet 4500001c00010000401166cdc6336407c0000201007b0fa000080000
  floodgate explain --at 2026-11-21T04:12:09Z udp 198.51.100.7:123 192.0.2.1:4000

Without --rules, the rules in force in the running daemon decide; with --at, those that were in force
then, as the history on disk has them. What [protect] exempts now is not part of that answer.")]
pub(crate) struct ExplainArgs {
    /// Rules file: one rule a line, `#` comments, `wire FAMILY NLRI-HEX [COMMUNITY-HEX..]` lines;
    /// `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// The running daemon's socket
    #[arg(long, value_name = "PATH", env = "FLOODGATE_SOCKET", default_value = config::DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Use the rules that were in force at this time: one in UTC, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", conflicts_with_all = ["rules", "policy"])]
    pub at: Option<String>,
    /// Instead of a packet: what the import policy does with this rule or unicast prefix when
    /// --peer announces it
    #[arg(long, value_name = "RULE", requires = "peer", conflicts_with_all = ["rules", "packet", "pcap", "words"])]
    pub policy: Option<String>,
    /// The peer that announces it
    #[arg(long, value_name = "NAME", requires = "policy")]
    pub peer: Option<String>,
    /// Use the policy of a configuration file instead of that of the running daemon
    #[arg(short, long, value_name = "FILE", requires = "policy")]
    pub config: Option<PathBuf>,
    /// A community of the route: 65535:666, 65070:666:0, target:65070:666; may be given several
    /// times
    #[arg(long, value_name = "COMMUNITY", requires = "policy")]
    pub community: Vec<String>,
    /// AS numbers of the route's AS_PATH, nearest first, with commas between them
    #[arg(long, value_name = "AS,..", requires = "policy", value_delimiter = ',')]
    pub as_path: Vec<u32>,
    /// Next hop of the route
    #[arg(long, value_name = "ADDRESS", requires = "policy")]
    pub next_hop: Option<std::net::IpAddr>,
    /// A packet in hex: an Ethernet frame, or a bare IP packet
    #[arg(long, value_name = "HEX", conflicts_with_all = ["pcap", "words"])]
    pub packet: Option<String>,
    /// A capture file (pcap or pcapng), `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    pub pcap: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Description of the packet
    #[arg(value_name = "WORD", required_unless_present_any = ["packet", "pcap", "policy"])]
    pub words: Vec<String>,
}

impl ExplainArgs {
    /// How to reach the daemon and how to print.
    pub(crate) fn live(&self) -> LiveArgs {
        LiveArgs { socket: self.socket.clone(), json: self.json }
    }
}

/// Arguments of `compile`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  floodgate compile --target none --rules filters.txt
  floodgate compile --target nftables --rules filters.txt --json
  floodgate compile --target cumulus --asic trident3 --release 4.4 --rules filters.txt
  floodgate compile --target cumulus --config /etc/floodgate/floodgate.toml --rules filters.txt
  floodgate compile --target sonic --release 202505 --rules filters.txt
  floodgate compile --target flower --driver mlxsw --rules filters.txt")]
pub(crate) struct CompileArgs {
    /// The data plane to compile for
    #[arg(long, value_enum)]
    pub target: Target,
    /// Rules file; standard input without it
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The switch.
    #[command(flatten)]
    pub switch: SwitchArgs,
    /// The filters of tc.
    #[command(flatten)]
    pub(crate) flower: FlowerArgs,
}

/// Arguments of `compile --target flower`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "For --target flower")]
pub(crate) struct FlowerArgs {
    /// Who filters: software, mlxsw, prestera or ocelot [default: that of the configuration,
    /// otherwise software]
    #[arg(long, value_name = "NAME")]
    pub(crate) driver: Option<Driver>,
    /// Refuse rules that would miss some of their packets
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Arguments of `compile --target cumulus` and `compile --target sonic`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "For --target cumulus and sonic")]
pub(crate) struct SwitchArgs {
    /// Use [dataplane] of this configuration
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Release of the switch's system [default: for cumulus that of this machine, otherwise 5.0;
    /// for sonic 202305]
    #[arg(long, value_name = "NUMBER")]
    pub release: Option<String>,
    /// The ASIC and TCAM profile of a switch with Cumulus Linux, which gives the size of its table
    /// [default: spectrum1, the smallest]
    #[arg(long, value_name = "NAME")]
    pub asic: Option<Asic>,
    /// Ingress ports and bonds [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub interfaces: Vec<Pattern>,
    /// Tables of Cumulus Linux are updated in place (acl.non_atomic_update_mode), which leaves room
    /// for more rules
    #[arg(long)]
    pub non_atomic: bool,
}

/// Arguments of `selftest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run it as root on a switch that is out of service, for ten minutes at most. Its rules are for documentation addresses
(192.0.2.0/24, 2001:db8::/32), and are removed at the end, also after Ctrl-C.

cumulus: runs cl-acltool some thirty times with 61floodgate-selftest.rules in the policy directory. The daemon may run.

sonic, flower: installs a rule for each row of the tables in the manual, then up to 1,000 rules, and says what the switch
took, and how quickly. The daemon must not run. With a cable from one port to a filtered one (--send-on, --arrive-on) it
also sends packets, and says which of them the rules matched.

Examples:
  floodgate selftest cumulus > report.txt
  floodgate selftest sonic --release 202505 > report.txt
  floodgate selftest flower --driver mlxsw --interfaces swp2 --send-on swp1 --arrive-on swp2 --json > report.json
  floodgate selftest cumulus --config /etc/floodgate/floodgate.toml --interfaces swp1,swp2 > report.txt"
)]
pub(crate) struct SelfTestArgs {
    /// The back end to test
    #[arg(value_enum, value_name = "BACKEND")]
    pub backend: SelfTestTarget,
    /// Use [dataplane] of this configuration
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ingress ports and bonds [default: swp*]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub interfaces: Vec<Pattern>,
    /// flower: who filters [default: that of the configuration, otherwise software]
    #[arg(long, value_name = "NAME")]
    pub driver: Option<Driver>,
    /// sonic: the release of SONiC [default: that of the configuration, otherwise 202305]
    #[arg(long, value_name = "NAME")]
    pub release: Option<String>,
    /// sonic, flower: send packets out of this port ...
    #[arg(long, value_name = "PORT", requires = "arrive_on")]
    pub send_on: Option<String>,
    /// ... which has a cable to this one, where they are filtered
    #[arg(long, value_name = "PORT", requires = "send_on")]
    pub arrive_on: Option<String>,
    /// sonic, flower: print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Back ends that `selftest` can test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelfTestTarget {
    /// Hardware ACLs of a switch with Cumulus Linux
    Cumulus,
    /// ACL tables of a switch with SONiC
    Sonic,
    /// Filters of tc, in a switch or in the kernel
    Flower,
}

/// Arguments of `exabgp`.
#[derive(Debug, Args)]
#[command(after_help = "Started by ExaBGP 4 or 5, whose neighbours are the peers. In exabgp.conf:

  process floodgate { run /usr/local/bin/floodgate exabgp; encoder json; }
  neighbor 192.0.2.1 {
      ...
      family { ipv4 flow; ipv6 flow; }
      api { processes [ floodgate ]; neighbor-changes; receive { parsed; update; } }
  }

The log goes to standard error. `floodgate status`, `rules` and the other commands work as with `floodgate run`.
It ends when ExaBGP ends.")]
pub(crate) struct ExabgpArgs {
    /// The configuration file; its `peer` tables give neighbours a policy other than the default
    /// [default: /etc/floodgate/floodgate.toml if it exists, otherwise built-in defaults]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Targets of `compile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A data plane that can do everything
    None,
    /// Linux nftables
    Nftables,
    /// Hardware ACLs of a switch with Cumulus Linux
    Cumulus,
    /// ACL tables of a switch with SONiC
    Sonic,
    /// Linux XDP
    Xdp,
    /// Linux tc flower, also in a switch
    Flower,
}
