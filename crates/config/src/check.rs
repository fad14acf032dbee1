//! Checks that the types cannot express: values that do not fit together.

use crate::error::Problem;
use crate::file::{Backend, Config, Peer, Protect, Validation};
use crate::limits::{LEAST_HISTORY, LONGEST_DEBOUNCE, LONGEST_IDLE_HOLD, MAX_OWN_AS, MD5_OCTETS, TOKEN_OCTETS};

/// Longest name of an interface, in octets (IFNAMSIZ without its end).
const LONGEST_INTERFACE: usize = 15;
use crate::report::Step::{Index, Key};
use crate::report::{Report, Step};
use crate::sonic::Database as SonicDatabase;
use crate::values::is_loopback;
use crate::values::{FamilyName, Pattern};
use crate::{check_long_lived, check_policy, check_token, cumulus, protect};
use dataplane::BackendSettings;
use dataplane::xdp::CAPACITIES;
use ipnet::IpNet;
use std::net::IpAddr;
use toml::de::DeTable;

/// All errors, with their places. `complete`: all values could be parsed, so that a missing one is
/// missing in the text.
pub(crate) fn problems<'a>(config: &Config, text: &'a str, document: DeTable<'a>, complete: bool) -> Vec<Problem> {
    let mut report = Report::of(text, document);
    router(config, &mut report);
    for (index, peer) in config.peers.iter().enumerate() {
        names(config, index, &mut report);
        session(peer, index, &mut report);
        guard(peer, index, &mut report);
        check_policy::blackhole(peer, index, complete, &mut report);
        check_long_lived::problems(peer, index, &mut report);
    }
    check_policy::policies(config, complete, &mut report);
    for (key, nets) in [("prefixes", &config.protect.prefixes), ("sources", &config.protect.sources)] {
        for (index, net) in nets.iter().enumerate() {
            prefix(net, &[Key("protect"), Key(key), Index(index)], &mut report);
            if net.prefix_len() == 0 {
                let message = format!("{net} is all there is: nothing would be filtered");
                report.at(&[Key("protect"), Key(key), Index(index)], message);
            }
        }
    }
    for (index, preset) in config.protect.presets.iter().enumerate() {
        if let Some(message) = protect::without_packets(preset) {
            report.at(&[Key("protect"), Key("presets"), Index(index)], message);
        }
    }
    api(config, &mut report);
    check_token::problems(config, &mut report);
    state(config, &mut report);
    history(config, &mut report);
    if config.dataplane.debounce.is_some_and(|time| time.0 > LONGEST_DEBOUNCE) {
        let message = "no rule would be enforced for so long; expected at most 1m".into();
        report.at(&[Key("dataplane"), Key("debounce")], message);
    }
    if config.dataplane.nftables.max_chain_rules == 0 {
        let message = "no rule would have a place; expected at least 1".into();
        report.at(&[Key("dataplane"), Key("nftables"), Key("max-chain-rules")], message);
    }
    if config.dataplane.backend == Backend::Cumulus {
        switch(config, &mut report);
    } else {
        interfaces(&config.dataplane.interfaces, &mut report);
    }
    match config.dataplane.backend {
        Backend::Xdp => xdp(config, &mut report),
        Backend::Flower => flower(config, &mut report),
        Backend::Sonic => sonic(config, &mut report),
        Backend::Nftables | Backend::Cumulus | Backend::None => {}
    }
    report.into_problems()
}

/// Advice: what is allowed but probably not intended.
pub(crate) fn advice(config: &Config) -> Vec<String> {
    let mut advice = Vec::new();
    if config.peers.is_empty() {
        advice.push("no [[peer]]: only rules announced on this machine will be enforced".to_owned());
    }
    let checked = |peer: &Peer| peer.allow.validation == Validation::Rfc9117 && !is_validated_by_itself(config, peer);
    let free = |peer: &&Peer| peer.allow.destinations.is_empty() && !checked(peer);
    let free: Vec<&str> = config.peers.iter().filter(free).map(|peer| peer.name.as_str()).collect();
    if !free.is_empty() {
        let peers = if free.len() == 1 { "peer" } else { "peers" };
        advice.push(format!(
            "{peers} {} may filter any destination: name yours in allow.destinations, or ask for validation = \"rfc9117\"",
            free.join(", ")
        ));
    }
    advice.extend(check_token::advice(config));
    for peer in config.peers.iter().filter(|peer| is_validated_by_itself(config, peer)) {
        advice.push(format!(
            "validation = \"rfc9117\" of peer {} checks little: it is an iBGP peer, and all unicast routes come by it, too, so that each rule for a destination that it has a route to passes; \
             validate on that router, or name your networks in allow.destinations",
            peer.name
        ));
    }
    if config.protect == Protect::default() && matches!(config.dataplane.backend, Backend::Cumulus | Backend::Sonic) {
        advice.push(
            "no [protect]: a rule may cut this switch off from SSH and from sessions of FRR and clagd; expected those that it speaks of \
             [protect] with presets = [\"ssh\", \"bgp\", \"bfd\", \"ospf\", \"mlag\", \"vxlan\", \"dhcp\"]"
                .to_owned(),
        );
    } else if config.protect == Protect::default() {
        advice.push(
            "no [protect]: a rule may cut this machine off from SSH, from its monitoring and from sessions of other daemons; expected at least \
             [protect] with presets = [\"ssh\"], and \"bgp\", \"bfd\", \"ospf\" or \"vrrp\" where other daemons speak them"
                .to_owned(),
        );
    }
    let switch = &config.dataplane.cumulus;
    if config.dataplane.backend == Backend::Cumulus
        && switch.release.or_else(cumulus::release_of_this_machine).is_none()
    {
        advice.push(
            "this machine runs no Cumulus Linux, and release is not set in [dataplane.cumulus]: floodgate run will not start here".to_owned(),
        );
    }
    if config.dataplane.backend == Backend::Cumulus && switch.non_atomic {
        let settings = switch.settings(&[], cumulus::release_of_this_machine());
        let when = if settings.stops_traffic_always() {
            "for each change"
        } else {
            "where old and new ones do not fit side by side"
        };
        advice.push(format!(
            "non-atomic is set in [dataplane.cumulus]: the switch may stop all traffic while it changes rules ({when}), so changes are gathered for {:?} unless debounce says otherwise",
            settings.usual_debounce()
        ));
    }
    if config.dataplane.backend == Backend::Sonic && config.dataplane.sonic.database == SonicDatabase::Config {
        advice.push(
            "database = \"config\" in [dataplane.sonic]: IPv6 is not filtered, `config save` saves the rules, and acl-loader deletes them"
                .to_owned(),
        );
    }
    if config.dataplane.backend == Backend::Cumulus && switch.asic.is_none() {
        let (v4, v6) = switch.settings(&[], None).budget();
        advice.push(format!(
            "asic is not set in [dataplane.cumulus]: the smallest table is assumed, with room for {v4} IPv4 and {v6} IPv6 entries"
        ));
    }
    advice
}

/// Whether the rules of an iBGP peer are validated only against its own routes: rule and route then
/// have the same originator.
fn is_validated_by_itself(config: &Config, peer: &Peer) -> bool {
    let internal = peer.asn == peer.local_as.unwrap_or(config.router.asn);
    let unicast = |other: &Peer| {
        other.families.iter().any(|family| matches!(family, FamilyName::Ipv4Unicast | FamilyName::Ipv6Unicast))
    };
    let others = config.peers.iter().any(|other| other.address != peer.address && unicast(other));
    peer.allow.validation == Validation::Rfc9117 && internal && !others
}

fn router(config: &Config, report: &mut Report<'_>) {
    if config.router.id.is_unspecified() {
        report
            .at(&[Key("router"), Key("id")], "a router id is not 0.0.0.0; expected an address of this machine".into());
    }
    if config.router.asn == 0 {
        report.at(&[Key("router"), Key("as")], "0 is not an AS number (RFC 7607); expected 1 to 4294967295".into());
    }
}

fn names(config: &Config, index: usize, report: &mut Report<'_>) {
    let peer = &config.peers[index];
    let earlier = &config.peers[..index];
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '"';
    if peer.name.is_empty() || peer.name == "local" || peer.name.contains(unfit) {
        let message = format!("`{}` cannot be the name of a peer; expected a word other than `local`", peer.name);
        report.at(&[Key("peer"), Index(index), Key("name")], message);
    }
    if earlier.iter().any(|other| other.name == peer.name) {
        report
            .at(&[Key("peer"), Index(index), Key("name")], format!("a second peer `{}`; names are unique", peer.name));
    }
    if let Some(other) = earlier.iter().find(|other| other.address == peer.address) {
        let message =
            format!("{} is also the address of `{}`; a peer is identified by its address", peer.address, other.name);
        report.at(&[Key("peer"), Index(index), Key("address")], message);
    }
}

fn session(peer: &Peer, index: usize, report: &mut Report<'_>) {
    let mut wrong = |key: &'static str, message: String| report.at(&[Key("peer"), Index(index), Key(key)], message);
    if peer.asn == 0 {
        wrong("as", "0 is not an AS number (RFC 7607); expected 1 to 4294967295".into());
    }
    if peer.local_as == Some(0) {
        wrong("local-as", "0 is not an AS number (RFC 7607); expected 1 to 4294967295".into());
    }
    if peer.address.is_unspecified() || peer.address.is_multicast() {
        wrong("address", format!("{} is not the address of one peer", peer.address));
    }
    if let IpAddr::V6(address) = peer.address
        && address.is_unicast_link_local()
        && peer.bind_interface.is_none()
    {
        wrong(
            "address",
            format!("{address} is valid on one link only; expected `bind-interface` with the link's name, too"),
        );
    }
    if let Some(name) = &peer.bind_interface
        && (name.is_empty() || name.len() > LONGEST_INTERFACE || name.contains(|c: char| c == '/' || c.is_whitespace()))
    {
        wrong("bind-interface", format!("`{name}` cannot be the name of an interface; expected at most 15 octets"));
    }
    if let IpAddr::V6(address) = peer.address
        && let Some(v4) = address.to_ipv4_mapped()
    {
        wrong("address", format!("{address} is an IPv4 address in the form of another; did you mean `{v4}`?"));
    }
    if peer.port == 0 {
        wrong("port", "0 is not a port; expected 1 to 65535".into());
    }
    if peer.max_rules == 0 {
        wrong("max-rules", "with 0 no rule of the peer is ever installed; expected at least 1".into());
    }
    if let Some(source) = peer.source
        && source.is_ipv4() != peer.address.is_ipv4()
    {
        wrong("source", format!("{source} cannot connect to {}; expected the same IP version", peer.address));
    }
    if let Some(restart) = peer.restart_time
        && (restart.0.subsec_nanos() != 0 || restart.0.as_secs() > 4095)
    {
        wrong("restart-time", "a restart time is whole seconds, at most 4095 (RFC 4724 §3)".into());
    }
    if peer.allow_own_as > MAX_OWN_AS {
        let times = peer.allow_own_as;
        wrong("allow-own-as", format!("a path with our own AS {times} times is a loop; expected at most {MAX_OWN_AS}"));
    }
    if !peer.advertise.is_empty() && peer.families.iter().all(|family| family.is_unicast()) {
        wrong("advertise", "this peer has no family of rules; expected \"ipv4\" or \"ipv6\" in families".into());
    }
    if peer.idle_hold_max.0 > LONGEST_IDLE_HOLD {
        wrong("idle-hold-max", "no rule of this peer would come for so long; expected at most 1h".into());
    }
    let hold = peer.hold_time.0;
    if hold.subsec_nanos() != 0 || matches!(hold.as_secs(), 1 | 2) || hold.as_secs() > u64::from(u16::MAX) {
        wrong("hold-time", "a hold time is 0 or at least 3 seconds, whole, at most 65535 (RFC 4271 §4.2)".into());
    }
    if peer.families.is_empty() {
        wrong("families", "no families; expected at least one, such as \"ipv4\"".into());
    }
    if peer.md5.is_some() && peer.md5_file.is_some() {
        wrong("md5-file", "both md5 and md5-file; expected one of them".into());
    }
    if peer.md5.as_ref().is_some_and(|secret| secret.is_empty() || secret.len() > MD5_OCTETS) {
        wrong("md5", "a TCP-MD5 secret has 1 to 80 octets".into());
    }
}

/// Host bits are a typing mistake, or the prefix covers more than intended.
fn prefix(net: &IpNet, place: &[Step], report: &mut Report<'_>) {
    if *net != net.trunc() {
        report.at(place, format!("{net} has host bits set; did you mean `{}`?", net.trunc()));
    }
}

fn guard(peer: &Peer, index: usize, report: &mut Report<'_>) {
    let allow = &peer.allow;
    for (number, net) in allow.destinations.iter().enumerate() {
        let place = [Key("peer"), Index(index), Key("allow"), Key("destinations"), Index(number)];
        prefix(net, &place, report);
    }
    for (number, net) in allow.redirect_to.iter().enumerate() {
        prefix(net, &[Key("peer"), Index(index), Key("allow"), Key("redirect-to"), Index(number)], report);
    }
    let mut wrong =
        |key: &'static str, message: String| report.at(&[Key("peer"), Index(index), Key("allow"), Key(key)], message);
    if allow.shortest_prefix_v4 > 32 {
        wrong("shortest-prefix-v4", "an IPv4 prefix has at most 32 bits".into());
    }
    if allow.shortest_prefix_v6 > 128 {
        wrong("shortest-prefix-v6", "an IPv6 prefix has at most 128 bits".into());
    }
    if allow.max_lifetime.is_some_and(|age| age.0.is_zero()) {
        wrong(
            "max-lifetime",
            "rules with a lifetime of 0 s are never enforced; expected a longer time, or no such key".into(),
        );
    }
    let unicast = |family| matches!(family, &FamilyName::Ipv4Unicast | &FamilyName::Ipv6Unicast);
    if allow.validation == Validation::Rfc9117 && !peer.families.iter().any(unicast) {
        wrong(
            "validation",
            "validation needs unicast routes; add \"ipv4-unicast\" or \"ipv6-unicast\" to this peer's families".into(),
        );
    }
}

fn api(config: &Config, report: &mut Report<'_>) {
    let api = &config.api;
    let has_token = api.token.is_some() || api.token_file.is_some() || !config.tokens.is_empty();
    for (index, listen) in api.listen.iter().enumerate() {
        let place = [Key("api"), Key("listen"), Index(index)];
        if listen.port.is_none() {
            report.at(&place, format!("{listen} has no port; expected a form such as 127.0.0.1:8179"));
        } else if !is_loopback(listen.address) && !has_token {
            report.at(
                &place,
                format!("{listen} is reachable from outside, and no token is set; add [[token]] or token-file"),
            );
        }
    }
    if api.token.is_some() && api.token_file.is_some() {
        report.at(&[Key("api"), Key("token-file")], "both token and token-file; expected one of them".into());
    }
    if api.token.as_ref().is_some_and(|token| token.len() < TOKEN_OCTETS) {
        report.at(&[Key("api"), Key("token")], "a token has at least 16 characters".into());
    }
    let addresses = config.protect.addresses.iter().flatten().enumerate();
    for (index, address) in addresses.filter(|(_, address): &(usize, &IpAddr)| address.is_unspecified()) {
        let message = format!("{address} is not an address; leave the key out to mean all of this machine");
        report.at(&[Key("protect"), Key("addresses"), Index(index)], message);
    }
}

fn history(config: &Config, report: &mut Report<'_>) {
    if config.history.megabytes < LEAST_HISTORY {
        let message =
            format!("nothing would be remembered; expected at least {LEAST_HISTORY}, or file = \"\" for no history");
        report.at(&[Key("history"), Key("megabytes")], message);
    }
}

fn interfaces(patterns: &[Pattern], report: &mut Report<'_>) {
    for (index, pattern) in patterns.iter().enumerate() {
        if let Some(message) = pattern.unfit() {
            report.at(&[Key("dataplane"), Key("interfaces"), Index(index)], message);
        }
        let excludes_it = |other: &&Pattern| other.as_str().strip_prefix('!') == Some(pattern.as_str());
        if let Some(other) = patterns.iter().find(excludes_it) {
            let message = format!("`{}` takes out all that `{}` matches", other.as_str(), pattern.as_str());
            report.at(&[Key("dataplane"), Key("interfaces"), Index(index)], message);
        }
    }
}

/// No directory is created where none exists: a typing mistake would create a directory owned by
/// root.
fn state(config: &Config, report: &mut Report<'_>) {
    let file = &config.state.file;
    let Some(directory) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return };
    let place = [Key("state"), Key("file")];
    if file.is_dir() {
        report.at(&place, format!("{} is a directory; expected a file in it", file.display()));
    } else if directory != std::path::Path::new(crate::file::STATE_DIRECTORY) && !directory.is_dir() {
        let directory = directory.display();
        report.at(&place, format!("there is no directory {directory}; make it, or name another"));
    }
}

fn switch(config: &Config, report: &mut Report<'_>) {
    for (index, pattern) in config.dataplane.interfaces.iter().enumerate() {
        if let Some(message) = cumulus::unfit_interface(pattern) {
            report.at(&[Key("dataplane"), Key("interfaces"), Index(index)], message);
        }
        let all = &config.dataplane.interfaces;
        if all[..index].contains(pattern) || cumulus::is_covered_by(pattern, all) {
            let message = format!("`{}` is in the list already, and would take its entries twice", pattern.as_str());
            report.at(&[Key("dataplane"), Key("interfaces"), Index(index)], message);
        }
    }
    let cumulus = &config.dataplane.cumulus;
    let mut wrong =
        |key: &'static str, message: &str| report.at(&[Key("dataplane"), Key("cumulus"), Key(key)], message.to_owned());
    if cumulus.timeout.0.is_zero() {
        wrong("timeout", "a timeout of zero ends every run; expected a time such as 60s");
    }
    if cumulus.max_entries_per_rule == 0 {
        wrong("max-entries-per-rule", "a rule takes at least one entry");
    }
    if !cumulus.policy_directory.is_absolute() {
        wrong("policy-directory", "expected an absolute path, such as /etc/cumulus/acl/policy.d");
    }
    let settings = cumulus.settings(&[], None);
    if settings.budget().0 == 0 {
        wrong("reserve", "nothing is left of the table for IPv4 rules");
    }
}

fn xdp(config: &Config, report: &mut Report<'_>) {
    if config.dataplane.interfaces.is_empty() {
        let message = "XDP needs a list of interfaces, such as [\"eth*\"]";
        report.at(&[Key("dataplane"), Key("interfaces")], message.into());
    }
    let xdp = &config.dataplane.xdp;
    let mut wrong =
        |key: &'static str, message: &str| report.at(&[Key("dataplane"), Key("xdp"), Key(key)], message.to_owned());
    if !CAPACITIES.contains(&xdp.capacity) {
        wrong("capacity", &format!("expected {} to {} rules", CAPACITIES.start(), CAPACITIES.end()));
    }
    if !xdp.directory.is_absolute() {
        wrong("directory", "expected an absolute path in a BPF file system, such as /sys/fs/bpf/floodgate");
    }
}

fn sonic(config: &Config, report: &mut Report<'_>) {
    let sonic = &config.dataplane.sonic;
    let mut wrong =
        |key: &'static str, message: &str| report.at(&[Key("dataplane"), Key("sonic"), Key(key)], message.to_owned());
    if sonic.timeout.0.is_zero() {
        wrong("timeout", "no rule would ever be seen to be active; expected a time such as 10s");
    }
    if sonic.max_entries_per_rule == 0 {
        wrong("max-entries-per-rule", "a rule takes at least one entry");
    }
    if sonic.max_entries == Some(0) {
        wrong("max-entries", "nothing is left for rules");
    }
    if sonic.reserve >= 100 {
        wrong("reserve", "nothing is left for rules; expected a part of 100 such as 5");
    }
    let settings = sonic.settings(&config.dataplane.interfaces);
    if let Some(message) = dataplane::sonic::unfit(&settings) {
        wrong(if sonic.ranges { "ranges" } else { "release" }, &message);
    }
}

fn flower(config: &Config, report: &mut Report<'_>) {
    if config.dataplane.interfaces.is_empty() {
        let message = "tc needs a list of interfaces, such as [\"swp*\"]";
        report.at(&[Key("dataplane"), Key("interfaces")], message.into());
    }
    let flower = &config.dataplane.flower;
    let mut wrong =
        |key: &'static str, message: &str| report.at(&[Key("dataplane"), Key("flower"), Key(key)], message.to_owned());
    match flower.driver {
        None => {
            wrong("driver", "it is not said who filters; expected driver = \"software\", \"mlxsw\" or \"prestera\"")
        }
        Some(driver) => {
            if let Some(why) = driver.unfit() {
                wrong("driver", why);
            }
        }
    }
    if flower.block == 0 {
        wrong("block", "0 is not a block; expected a number that no other program uses");
    }
    if flower.max_entries_per_rule == 0 {
        wrong("max-entries-per-rule", "a rule takes at least one filter");
    }
}
