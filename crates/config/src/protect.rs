//! The values of `[protect]`.

use crate::error::nearest;
use crate::values::TextVisitor;
use engine::protection::{PRESETS, Preset, Protection};
use flowspec::protocol::{TCP, UDP};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What is protected, and, after the word `from`, the only source that it is protected for: `tcp/22
/// from 192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FromSource<T> {
    /// What is protected.
    pub what: T,
    /// The only source; `None` for all.
    pub from: Option<IpNet>,
}

/// Text that is not a valid protection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFromSource<E> {
    /// What is protected has another format.
    #[error("{0}")]
    What(E),
    /// The source is not a prefix.
    #[error("`{0}` after `from` is not an address or prefix; expected a form such as 192.0.2.0/24 or 2001:db8::1")]
    Source(String),
    /// The source has host bits.
    #[error("{0} has host bits set; did you mean `{1}`?")]
    HostBits(IpNet, IpNet),
}

impl<T: FromStr> FromStr for FromSource<T> {
    type Err = InvalidFromSource<T::Err>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (what, from) = match text.split_once(" from ") {
            Some((what, from)) => (what, Some(source(from.trim())?)),
            None => (text, None),
        };
        Ok(FromSource { what: what.trim().parse().map_err(InvalidFromSource::What)?, from })
    }
}

fn source<E>(text: &str) -> Result<IpNet, InvalidFromSource<E>> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| InvalidFromSource::Source(text.to_owned()))?;
    match net.trunc() {
        trunc if trunc == net => Ok(net),
        trunc => Err(InvalidFromSource::HostBits(net, trunc)),
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for FromSource<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(std::marker::PhantomData))
    }
}

/// An IP protocol: a number, or one of a few names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub u8);

/// The named protocols that can be protected as a whole: all that somebody protects, other than TCP
/// and UDP, which need ports.
const PROTOCOLS: [&str; 11] = ["igmp", "ipip", "rsvp", "gre", "esp", "ah", "eigrp", "ospf", "pim", "vrrp", "sctp"];

/// Text that is not a protocol that can be protected as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProtocol {
    /// TCP or UDP.
    #[error("all of `{0}` would switch filtering off; name ports, such as ports = [\"tcp/22\"]")]
    Everything(String),
    /// Neither a number nor a known name.
    #[error("`{0}` is not a supported IP protocol; expected a number up to 255, in quotes, or one of {names}", names = PROTOCOLS.join(", "))]
    Unknown(String),
}

impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        let named = PROTOCOLS.contains(&text).then(|| flowspec::names::protocol(text)).flatten();
        match named.or_else(|| text.parse().ok()) {
            Some(TCP | UDP) => Err(InvalidProtocol::Everything(text.to_owned())),
            Some(number) => Ok(Protocol(number)),
            None => Err(InvalidProtocol::Unknown(text.to_owned())),
        }
    }
}

/// The name of a preset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PresetName(pub &'static Preset);

/// Text that is not the name of a preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownPreset(String);

impl Display for UnknownPreset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        match nearest(&self.0, &names) {
            Some(name) => write!(f, "`{}` is not a preset; did you mean `{name}`? Expected", self.0)?,
            None => write!(f, "`{}` is not a preset; expected", self.0)?,
        }
        write!(f, " one of {}", names.join(", "))
    }
}

impl FromStr for PresetName {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        Preset::named(text).map(PresetName).ok_or_else(|| UnknownPreset(text.to_owned()))
    }
}

/// Why this preset would protect no packet, if so: it has none of the IP version of its source.
pub(crate) fn without_packets(preset: &FromSource<PresetName>) -> Option<String> {
    let from = preset.from?;
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into();
    let mut protection = Protection::default();
    protection.preset(preset.what.0, &own, Some(from));
    let name = preset.what.0.name;
    protection
        .items()
        .is_empty()
        .then(|| format!("{name} is not spoken over the IP version of {from}: nothing would be protected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Port;

    #[test]
    fn what_is_protected_may_name_its_source() {
        let port: FromSource<Port> = "tcp/22 from 192.0.2.0/24".parse().unwrap();
        assert_eq!((port.what.protocol, port.what.port, port.from), (6, 22, Some("192.0.2.0/24".parse().unwrap())));
        let port: FromSource<Port> = "udp/161".parse().unwrap();
        assert_eq!((port.what.port, port.from), (161, None));
        let preset: FromSource<PresetName> = "bgp from 2001:db8::1".parse().unwrap();
        assert_eq!((preset.what.0.name, preset.from), ("bgp", Some("2001:db8::1/128".parse().unwrap())));
        assert_eq!("ospf".parse::<FromSource<Protocol>>().unwrap().what, Protocol(89));
        assert_eq!("47".parse::<FromSource<Protocol>>().unwrap().what, Protocol(47));
    }

    #[test]
    fn a_preset_from_a_source_of_the_other_version_is_reported() {
        let told = |text: &str| without_packets(&text.parse().unwrap());
        assert!(told("mld from 192.0.2.1").is_some() && told("igmp from 2001:db8::1").is_some());
        for text in
            ["mld", "mld from fe80::/10", "bgp from 192.0.2.1", "ospf from 2001:db8::/32", "path-mtu from 192.0.2.1"]
        {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn likely_mistakes_are_reported() {
        for (text, told) in [
            ("bgpp", "did you mean `bgp`?"),
            ("bgp from here", "`here` after `from`"),
            ("bgp from 192.0.2.1/24", "did you mean `192.0.2.0/24`?"),
        ] {
            let error = text.parse::<FromSource<PresetName>>().unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        for (text, told) in [
            ("6", "switch filtering off"),
            ("tcp", "is not a supported IP protocol"),
            ("256", "is not a supported IP protocol"),
        ] {
            let error = text.parse::<FromSource<Protocol>>().unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        assert!("tcp22".parse::<FromSource<Port>>().unwrap_err().to_string().contains("is not a port"));
    }
}
