//! ROUTE-REFRESH (RFC 2918), with the demarcation of RFC 7313.

use crate::message::capability::FamilyNumbers;

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: FamilyNumbers,
    /// Request, begin or end.
    pub kind: RefreshKind,
}

/// The message subtype (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum RefreshKind {
    /// 0: send your routes again.
    Request,
    /// 1: the routes follow (BoRR). Routes that are not announced again before the end are removed.
    Begin,
    /// 2: end of the routes (EoRR).
    End,
    /// Any other: ignored (RFC 7313 §5).
    Other(u8),
}

impl RefreshKind {
    const fn number(self) -> u8 {
        match self {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Other(number) => number,
        }
    }
}

impl RouteRefresh {
    /// Decodes the four octets after the header; `None` if there are more or fewer. A message of an
    /// unassigned subtype may be longer (RFC 7313 §5 ignores it).
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let &[a, b, subtype, safi, ref rest @ ..] = body else { return None };
        if subtype <= 2 && !rest.is_empty() {
            return None;
        }
        let kind = match subtype {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Other(other),
        };
        Some(RouteRefresh { family: FamilyNumbers { afi: u16::from_be_bytes([a, b]), safi }, kind })
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.extend_from_slice(&[self.kind.number(), self.family.safi]);
    }
}
