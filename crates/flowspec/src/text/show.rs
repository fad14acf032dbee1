//! Canonical text. It parses to the same rule, octet for octet.

use super::{rate, words};
use crate::action::{Action, Rate};
use crate::component::{Component, ComponentType};
use crate::effect::{Effect, Policing, Redirect};
use crate::family::IpVersion;
use crate::hex::Hex;
use crate::names;
use crate::nlri::Nlri;
use crate::op::{BitmaskOp, Comparison, NumericOp, Width};
use crate::rule::Rule;
use std::fmt::{self, Formatter};
use std::net::IpAddr;

/// `dst 192.0.2.1/32 proto udp then discard`. A next hop that no action uses is not shown.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} then {}", self.nlri, Actions { actions: &self.actions, next_hop: self.next_hop })
    }
}

/// A rule as octets, a line that [`parse_line`](super::parse_line) reads: `wire ipv4 060120c0000201
/// 8006000000000000`. A next hop that an action uses is part of the rule and of the line, though it
/// is not a community: `wire ipv4 060120c0000201 0800000000000000 next-hop 192.0.2.254`.
#[derive(Clone, Copy, Debug)]
pub struct WireLine<'a>(pub &'a Rule);

impl fmt::Display for WireLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Rule { nlri, actions, .. } = self.0;
        let mut octets = Vec::with_capacity(nlri.wire_len());
        nlri.encode_to(&mut octets);
        write!(f, "wire {} {}", nlri.family(), Hex(&octets))?;
        for action in actions {
            write!(f, " {}", Hex(action.encode().as_bytes()))?;
        }
        match self.0.used_next_hop() {
            Some(address) => write!(f, " next-hop {address}"),
            None => Ok(()),
        }
    }
}

/// The match part: `rd 65000:1 dst 192.0.2.1/32 proto udp`. `ipv6` precedes it only if nothing else
/// implies it.
impl fmt::Display for Nlri {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tells = |component: Component<'_>| {
            matches!(component, Component::Prefix(..) | Component::Numeric(ComponentType::FlowLabel, _))
        };
        if self.family().version() == IpVersion::V6 && !self.components().any(tells) {
            f.write_str("ipv6 ")?;
        }
        if let Some(rd) = self.route_distinguisher() {
            write!(f, "rd {rd} ")?;
        }
        for (index, component) in self.components().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{} {component}", component.component_type())?;
        }
        Ok(())
    }
}

/// The value alone, without the component's name: `192.0.2.1/32`, `80,443,8000-8080`, `syn&!ack`.
impl fmt::Display for Component<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Component::Prefix(_, prefix) => prefix.fmt(f),
            Component::Numeric(kind, ops) => show_numeric(f, *kind, *ops),
            Component::Bitmask(kind, ops) => {
                for (index, op) in ops.enumerate() {
                    f.write_str(joint(index, op.and))?;
                    show_bitmask(f, *kind, op)?;
                }
                Ok(())
            }
        }
    }
}

const fn joint(index: usize, and: bool) -> &'static str {
    match (index, and) {
        (0, _) => "",
        (_, true) => "&",
        (_, false) => ",",
    }
}

fn show_numeric(f: &mut Formatter<'_>, kind: ComponentType, ops: impl Iterator<Item = NumericOp>) -> fmt::Result {
    let mut ops = ops.peekable();
    let mut index = 0;
    while let Some(op) = ops.next() {
        f.write_str(joint(index, op.and))?;
        index += 1;
        let ends_range = |next: &NumericOp| {
            op.comparison == Comparison::GreaterOrEqual
                && next.and
                && next.comparison == Comparison::LessOrEqual
                && op.value <= next.value
        };
        if let Some(last) = ops.next_if(ends_range) {
            show_number(f, kind, op, false)?;
            f.write_str("-")?;
            show_number(f, kind, last, false)?;
            continue;
        }
        let (operator, named) = match op.comparison {
            Comparison::Equal => ("", true),
            Comparison::NotEqual => ("!=", true),
            Comparison::Less => ("<", false),
            Comparison::LessOrEqual => ("<=", false),
            Comparison::Greater => (">", false),
            Comparison::GreaterOrEqual => (">=", false),
            Comparison::True | Comparison::False => {
                f.write_str(if op.comparison == Comparison::True { "true" } else { "false" })?;
                // The value of such an operator has no meaning, but is part of the rule's key.
                if op.value == 0 && op.width == kind.width_for(0) {
                    continue;
                }
                (":", false)
            }
        };
        f.write_str(operator)?;
        show_number(f, kind, op, named)?;
    }
    Ok(())
}

/// Decimal, or a name, for a value in the width in which we send it; otherwise hex, whose number of
/// digits gives the width.
fn show_number(f: &mut Formatter<'_>, kind: ComponentType, op: NumericOp, named: bool) -> fmt::Result {
    if op.width != kind.width_for(op.value) || op.value > words::field_max(kind) {
        return show_hex(f, op.value, op.width);
    }
    match u8::try_from(op.value)
        .ok()
        .and_then(names::protocol_name)
        .filter(|_| named && kind == ComponentType::Protocol)
    {
        Some(name) => f.write_str(name),
        None => write!(f, "{}", op.value),
    }
}

fn show_hex(f: &mut Formatter<'_>, value: u64, width: Width) -> fmt::Result {
    write!(f, "0x{value:0digits$x}", digits = 2 * width.octets())
}

/// `syn+ack` requires all bits (m = 1), `any(syn+ack)` one of them (m = 0).
fn show_bitmask(f: &mut Formatter<'_>, kind: ComponentType, op: BitmaskOp) -> fmt::Result {
    f.write_str(if op.not { "!" } else { "" })?;
    f.write_str(if op.all { "" } else { "any(" })?;
    let mut named = 0;
    for (_, bit) in words::bits(kind) {
        named |= u64::from(*bit);
    }
    if op.width != Width::for_value(op.value) || op.value == 0 || op.value & !named != 0 {
        show_hex(f, op.value, op.width)?;
    } else {
        let mut rest = op.value;
        for (name, bit) in words::bits(kind) {
            let bit = u64::from(*bit);
            if rest & bit != 0 {
                f.write_str(if rest == op.value { "" } else { "+" })?;
                f.write_str(name)?;
                rest &= !bit;
            }
        }
    }
    f.write_str(if op.all { "" } else { ")" })
}

/// A rule's actions as text: `discard`, `rate 1mbps mark 46`, and `accept` for none.
#[derive(Clone, Copy, Debug)]
pub struct Actions<'a> {
    /// The actions.
    pub actions: &'a [Action],
    /// The next hop of the announcement, shown with `redirect next-hop`.
    pub next_hop: Option<IpAddr>,
}

impl fmt::Display for Actions<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return f.write_str("accept");
        }
        let mut traffic = false;
        for (index, action) in self.actions.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " " })?;
            match (action, self.next_hop) {
                // The words of a second one would be parsed as more bits of the first.
                (Action::TrafficAction { .. }, _) if std::mem::replace(&mut traffic, true) => show_raw(f, *action)?,
                (Action::RedirectNextHop { copy }, Some(address)) => {
                    write!(f, "redirect next-hop {address}{}", copy_suffix(*copy))?;
                }
                _ => action.fmt(f)?,
            }
        }
        Ok(())
    }
}

/// `discard`, `rate 1mbps`, `mark 46`, `redirect 65000:100`; `discard(-100)` and `unlimited(inf)`
/// for rates with that effect; `community HEX` for what has no other exact form.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Action::RateBytes { asn: 0, rate } if rate.as_f32().to_bits() == 0 => f.write_str("discard"),
            Action::RateBytes { asn, rate } => show_rate(f, asn, rate, rate::Unit::Bytes),
            Action::RatePackets { asn, rate } => show_rate(f, asn, rate, rate::Unit::Packets),
            Action::TrafficAction { sample: true, continues: false } => f.write_str("sample"),
            Action::TrafficAction { sample: false, continues: true } => f.write_str("continue"),
            Action::TrafficAction { sample: true, continues: true } => f.write_str("sample continue"),
            Action::Mark(dscp) => write!(f, "mark {}", dscp & 0x3f),
            Action::RedirectAs2 { asn, local } => write!(f, "redirect {asn}:{local}"),
            Action::RedirectIpv4 { address, local } => write!(f, "redirect {address}:{local}"),
            Action::RedirectAs4 { asn, local } => {
                let suffix = if asn <= u32::from(u16::MAX) { "L" } else { "" };
                write!(f, "redirect {asn}{suffix}:{local}")
            }
            Action::RedirectIpv6 { address, local } => write!(f, "redirect [{address}]:{local}"),
            Action::RedirectNextHop { copy } => write!(f, "redirect next-hop{}", copy_suffix(copy)),
            Action::RedirectIp { address, copy } => write!(f, "redirect {address}{}", copy_suffix(copy)),
            Action::InterfaceSet { transitive, asn, outbound, inbound, group } if inbound || outbound => {
                let transitive = if transitive { "" } else { "non-transitive " };
                let direction = match (inbound, outbound) {
                    (true, true) => "in+out",
                    (true, false) => "in",
                    (false, _) => "out",
                };
                write!(f, "interface-set {transitive}{direction} {asn}:{}", group & 0x3fff)
            }
            Action::TrafficAction { sample: false, continues: false }
            | Action::InterfaceSet { .. }
            | Action::Other(_) => show_raw(f, *self),
        }
    }
}

/// A rate below zero discards and an infinite one does not limit: such a rate is shown as its
/// effect.
fn show_rate(f: &mut Formatter<'_>, asn: u16, rate: Rate, unit: rate::Unit) -> fmt::Result {
    let rate = rate.as_f32();
    if rate.is_finite() && rate.is_sign_positive() {
        f.write_str("rate ")?;
        rate::show(f, rate, unit)?;
    } else {
        rate::show_extreme(f, rate, unit)?;
    }
    if asn == 0 { Ok(()) } else { write!(f, " as {asn}") }
}

const fn copy_suffix(copy: bool) -> &'static str {
    if copy { " copy" } else { "" }
}

fn show_raw(f: &mut Formatter<'_>, action: Action) -> fmt::Result {
    write!(f, "community {}", Hex(action.encode().as_bytes()))
}

/// All actions in short form: `discard`, `rate 1mbps mark 46`, `accept`.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut space = "";
        let mut word = |f: &mut Formatter<'_>| f.write_str(std::mem::replace(&mut space, " "));
        match self.policing {
            Policing::None => {}
            Policing::Discard => {
                word(f)?;
                f.write_str("discard")?;
            }
            Policing::Limit { bytes, packets } => {
                for (limit, unit) in [(bytes, rate::Unit::Bytes), (packets, rate::Unit::Packets)] {
                    if let Some(limit) = limit {
                        word(f)?;
                        f.write_str("rate ")?;
                        rate::show(f, limit, unit)?;
                    }
                }
            }
        }
        if let Some(dscp) = self.mark {
            word(f)?;
            Action::Mark(dscp).fmt(f)?;
        }
        if let Some(redirect) = self.redirect {
            word(f)?;
            match redirect {
                Redirect::Vrf(community) => match Action::decode(community) {
                    Ok(action) => action.fmt(f)?,
                    Err(_) => show_raw(f, Action::Other(community))?,
                },
                Redirect::Address { address, copy } => Action::RedirectIp { address, copy }.fmt(f)?,
                Redirect::UnknownNextHop { copy } => Action::RedirectNextHop { copy }.fmt(f)?,
            }
        }
        if self.sample {
            word(f)?;
            f.write_str("sample")?;
        }
        if self.continues {
            word(f)?;
            f.write_str("continue")?;
        }
        if *self == Effect::ACCEPT { f.write_str("accept") } else { Ok(()) }
    }
}
