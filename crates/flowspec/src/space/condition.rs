//! Conditions on the packets of a space.

use super::bits::{DscpSet, FragmentSet, ProtocolSet};
use super::interval::IntervalSet;
use super::tcp_flags::TcpFlagSet;
use crate::component::ComponentType;

/// One more condition on the packets of a space. A condition on an upper-layer field implies that
/// the packet has its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The protocol is one of these.
    Protocol(ProtocolSet),
    /// The destination port is one of these.
    DestinationPort(IntervalSet),
    /// The source port is one of these.
    SourcePort(IntervalSet),
    /// The ICMP type is one of these.
    IcmpType(IntervalSet),
    /// The ICMP code is one of these.
    IcmpCode(IntervalSet),
    /// The TCP flags are one of these combinations.
    TcpFlags(TcpFlagSet),
    /// The length is one of these.
    Length(IntervalSet),
    /// The DSCP is one of these.
    Dscp(DscpSet),
    /// The packet is of one of these kinds.
    Fragment(FragmentSet),
    /// The flow label is one of these.
    Label(IntervalSet),
}

impl Condition {
    /// The field that it constrains.
    #[must_use]
    pub const fn field(&self) -> ComponentType {
        match self {
            Condition::Protocol(_) => ComponentType::Protocol,
            Condition::DestinationPort(_) => ComponentType::DestinationPort,
            Condition::SourcePort(_) => ComponentType::SourcePort,
            Condition::IcmpType(_) => ComponentType::IcmpType,
            Condition::IcmpCode(_) => ComponentType::IcmpCode,
            Condition::TcpFlags(_) => ComponentType::TcpFlags,
            Condition::Length(_) => ComponentType::PacketLength,
            Condition::Dscp(_) => ComponentType::Dscp,
            Condition::Fragment(_) => ComponentType::Fragment,
            Condition::Label(_) => ComponentType::FlowLabel,
        }
    }
}
