//! ROUTE-REFRESH (RFC 2918), with the demarcation of RFC 7313.

use crate::message::capability::FamilyNumbers;

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: FamilyNumbers,
    /// Request, begin or end.
    pub kind: RefreshKind,
}

/// The message subtype (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshKind {
    /// 0: send your routes again.
    Request,
    /// 1: the routes follow (BoRR). What is not among them until the end is gone.
    Begin,
    /// 2: that was all (EoRR).
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
    /// Reads the four octets behind the header; `None` if there are more or fewer. Of a subtype that is not assigned nobody knows how
    /// long it is: there may be more (RFC 7313 §5 ignores it).
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
