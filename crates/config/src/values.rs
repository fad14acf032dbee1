//! Values of the configuration with a text format of their own.

use crate::limits::LONGEST_INTERFACE_NAME;
use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The port of BGP.
pub const BGP_PORT: u16 = 179;

/// A value that is parsed from text.
pub(crate) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// Parses a value from its text.
macro_rules! deserialize_from_text {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(std::marker::PhantomData))
            }
        }
    )+};
}

/// Parses where the text is visited, so that an error has the place of the text and not that of the
/// list around it.
pub(crate) struct TextVisitor<T>(pub(crate) std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

deserialize_from_text!(Listen, Net, Pattern);

/// An AS number: 0 is not valid (RFC 7607).
pub(crate) fn as_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct AsVisitor;
    impl Visitor<'_> for AsVisitor {
        type Value = u32;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an AS number from 1 to 4294967295")
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<u32, E> {
            match u32::try_from(value) {
                Ok(0) => Err(E::custom("0 is not an AS number (RFC 7607); expected 1 to 4294967295")),
                Ok(number) => Ok(number),
                Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
            }
        }
    }
    deserializer.deserialize_any(AsVisitor)
}

/// The same for an optional key.
pub(crate) fn some_as_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    as_number(deserializer).map(Some)
}

/// A prefix, or an address, which is the longest prefix.
struct Net(IpNet);

/// Text that is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a prefix; expected a form such as 192.0.2.0/24, 2001:db8::/32, or an address")]
struct InvalidNet(String);

impl FromStr for Net {
    type Err = InvalidNet;

    fn from_str(text: &str) -> Result<Self, InvalidNet> {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Net).map_err(|_| InvalidNet(text.to_owned()))
    }
}

/// A list of prefixes.
pub(crate) fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Ok(Vec::<Net>::deserialize(deserializer)?.into_iter().map(|net| net.0).collect())
}

/// `true` (one hop) or a number of hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hops(pub Option<u8>);

impl<'de> Deserialize<'de> for Hops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "true, false or a number of hops from 1 to 254";
        struct HopsVisitor;
        impl Visitor<'_> for HopsVisitor {
            type Value = Hops;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Hops, E> {
                Ok(Hops(value.then_some(1)))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Hops, E> {
                match u8::try_from(value) {
                    Ok(hops @ 1..=254) => Ok(Hops(Some(hops))),
                    _ => Err(E::custom(format!("expected {EXPECTED}, found {value}"))),
                }
            }
        }
        deserializer.deserialize_any(HopsVisitor)
    }
}

/// An address to listen on; the port may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The address.
    pub address: IpAddr,
    /// `None`: the default port.
    pub port: Option<u16>,
}

impl Listen {
    /// With port 179 if none was given.
    pub fn bgp(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(BGP_PORT))
    }
}

/// Text that is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address to listen on; expected 192.0.2.1, 192.0.2.1:179, 2001:db8::1 or [2001:db8::1]:179")]
pub struct InvalidListen(String);

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Listen { address: socket.ip(), port: Some(socket.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Ok(Listen { address, port: None }),
            Err(_) => Err(InvalidListen(text.to_owned())),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// A port of this machine: `tcp/22` or `udp/161`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// IP protocol: 6 or 17.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// Text that is not a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a port; expected tcp/NUMBER or udp/NUMBER, such as tcp/22")]
pub struct InvalidPort(String);

impl FromStr for Port {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let parsed = text.split_once('/').and_then(|(protocol, port)| {
            let protocol = match protocol {
                "tcp" => 6,
                "udp" => 17,
                _ => return None,
            };
            Some(Port { protocol, port: port.parse().ok()? })
        });
        parsed.ok_or_else(|| InvalidPort(text.to_owned()))
    }
}

/// A name with `*` (any characters) and `?` (one character), or with `!` in front the exclusion of
/// what it matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Text that cannot be the name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be an interface; expected a name such as eth0, or a pattern such as swp*")]
pub struct InvalidPattern(String);

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let unfit = |c: char| c == '/' || c == '"' || c.is_whitespace() || c.is_control();
        let body = text.strip_prefix('!').unwrap_or(text);
        // A star may match nothing; more than a few of them are not useful.
        let least = body.bytes().filter(|octet| *octet != b'*').count();
        if body.is_empty()
            || least > LONGEST_INTERFACE_NAME
            || body.len() > 2 * LONGEST_INTERFACE_NAME
            || text.contains(unfit)
        {
            return Err(InvalidPattern(text.to_owned()));
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl Pattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the `!` of an exclusion.
    fn body(&self) -> &str {
        self.0.strip_prefix('!').unwrap_or(&self.0)
    }

    /// Whether it excludes what it matches.
    pub fn is_exclusion(&self) -> bool {
        self.0.starts_with('!')
    }

    /// Whether it is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether it matches `name`, or, for an exclusion, excludes it. A pattern never matches
    /// loopback.
    pub fn matches(&self, name: &str) -> bool {
        dataplane::glob(self.body(), name) && (name != "lo" || !self.is_wildcard())
    }

    /// Whether one of the exclusions among `patterns` excludes `name`.
    pub fn any_excludes(patterns: &[Pattern], name: &str) -> bool {
        patterns.iter().any(|pattern| pattern.is_exclusion() && pattern.matches(name))
    }

    /// Whether `patterns` together match `name`: one of them matches, or there are only exclusions,
    /// and none excludes it.
    pub fn any_matches(patterns: &[Pattern], name: &str) -> bool {
        dataplane::patterns_match(patterns.iter().map(Pattern::as_str), name)
    }

    /// Why no interface can have such a name, or not the intended one, if so.
    pub fn unfit(&self) -> Option<String> {
        let text = self.as_str();
        let instead = match self.body().chars().find(|c| "[]{}()!,;|^$\\#%:@+<>&=~`'".contains(*c))? {
            '[' | ']' | '{' | '}' | '(' | ')' | '|' | '^' | '$' | '\\' => {
                "there are only `*` (any characters), `?` (one character) and `!` in front (not filtered)".to_owned()
            }
            '+' => format!("did you mean `{}`?", text.replace('+', "*")),
            ',' | ';' => "name each in quotes of its own".to_owned(),
            '@' => format!("the name ends before the `@`: `{}`", text.split('@').next().unwrap_or_default()),
            '!' => "`!` comes before a name or pattern that is not to be filtered".to_owned(),
            _ => "expected a name such as eth0, or a pattern such as swp*".to_owned(),
        };
        Some(format!("`{text}` matches no interface; {instead}"))
    }
}

/// Families in the file: those of FlowSpec, and the unicast ones that validation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyName {
    /// AFI 1, SAFI 133.
    Ipv4,
    /// AFI 2, SAFI 133.
    Ipv6,
    /// AFI 1, SAFI 134.
    Vpnv4,
    /// AFI 2, SAFI 134.
    Vpnv6,
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl FamilyName {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            FamilyName::Ipv4 => "ipv4",
            FamilyName::Ipv6 => "ipv6",
            FamilyName::Vpnv4 => "vpnv4",
            FamilyName::Vpnv6 => "vpnv6",
            FamilyName::Ipv4Unicast => "ipv4-unicast",
            FamilyName::Ipv6Unicast => "ipv6-unicast",
        }
    }

    /// Whether it is a family of unicast routes.
    pub const fn is_unicast(self) -> bool {
        self.flowspec().is_none()
    }

    /// The FlowSpec family, unless it is a unicast one.
    pub const fn flowspec(self) -> Option<flowspec::Family> {
        match self {
            FamilyName::Ipv4 => Some(flowspec::Family::Ipv4),
            FamilyName::Ipv6 => Some(flowspec::Family::Ipv6),
            FamilyName::Vpnv4 => Some(flowspec::Family::Vpnv4),
            FamilyName::Vpnv6 => Some(flowspec::Family::Vpnv6),
            FamilyName::Ipv4Unicast | FamilyName::Ipv6Unicast => None,
        }
    }
}

/// Kinds of actions, for `allow.actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// Accept the packet and end the evaluation: a rule without action.
    Accept,
    /// Drop.
    Discard,
    /// Limit the rate, in bytes or packets.
    Rate,
    /// Set the DSCP.
    Mark,
    /// Redirect or copy, to a VRF or an address.
    Redirect,
    /// Sample.
    Sample,
    /// Continue with the next rule.
    Continue,
}

/// Whether only this machine can reach it.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4: Ipv4Addr| v4.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let matches = |pattern: &str, name: &str| pattern.parse::<Pattern>().unwrap().matches(name);
        assert!(matches("swp*", "swp1") && matches("swp*", "swp") && matches("swp*", "swp1s0"));
        assert!(!matches("swp*", "eth0") && !matches("swp?", "swp10") && matches("swp?", "swp1"));
        assert!(
            matches("*", "lo0")
                && !matches("*", "lo")
                && matches("lo", "lo")
                && matches("e*0", "eth0")
                && !matches("e*0", "eth01")
        );
        assert!(
            "a b".parse::<Pattern>().is_err()
                && "!".parse::<Pattern>().is_err()
                && "".parse::<Pattern>().is_err()
                && "a/b".parse::<Pattern>().is_err()
        );
    }

    #[test]
    fn patterns_that_match_nothing_are_reported() {
        let unfit = |text: &str| text.parse::<Pattern>().unwrap().unfit();
        for text in
            ["eth0", "swp*", "!p0", "eth0.100", "br-lan", "wg_1", "????????????????*".get(..15).unwrap_or_default()]
        {
            assert_eq!(unfit(text), None, "{text}");
        }
        for (text, told) in [
            ("vlan[0-9]*", "`?` (one character)"),
            ("eth+", "did you mean `eth*`?"),
            ("eth0,eth1", "in quotes of its own"),
            ("eth0.10@eth0", "`eth0.10`"),
            ("!!p0", "comes before"),
            ("eth0:1", "expected a name"),
        ] {
            assert!(unfit(text).is_some_and(|message| message.contains(told)), "{text}: {:?}", unfit(text));
        }
        assert!("a-name-of-16-oct".parse::<Pattern>().is_err() && "*a-name-of-15-oct".len() == 17);
    }

    #[test]
    fn listen_addresses_have_an_optional_port() {
        for (text, socket) in [
            ("192.0.2.1", "192.0.2.1:179"),
            ("192.0.2.1:1179", "192.0.2.1:1179"),
            ("::", "[::]:179"),
            ("[::1]", "[::1]:179"),
            ("[::1]:1179", "[::1]:1179"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().bgp(), socket.parse().unwrap(), "{text}");
        }
        assert!("localhost".parse::<Listen>().is_err());
    }
}
