//! Iterates over the NLRI field of an MP_REACH_NLRI or MP_UNREACH_NLRI (RFC 8955 §4.1, RFC 7911
//! §3).

use crate::error::{NlriError, NlriErrorKind};
use crate::family::Family;
use crate::nlri::{NlriRef, TWO_OCTET_LENGTH};

/// RFC 7911 path identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

/// One NLRI of a field, with its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct NlriEntry<'a> {
    /// Path identifier, if add-path was requested.
    pub path_id: Option<PathId>,
    /// The octets of this entry as received: path identifier, length and value.
    pub raw: &'a [u8],
    /// The rule, or why it is malformed. Offsets count from the start of the field.
    pub nlri: Result<NlriRef<'a>, NlriError>,
}

/// Iterates over the NLRIs of an MP_REACH_NLRI or MP_UNREACH_NLRI. A malformed NLRI does not end
/// the iteration; lost framing does, and is the last item.
#[derive(Clone, Debug)]
#[must_use = "iterators are lazy"]
pub struct NlriIter<'a> {
    family: Family,
    add_path: bool,
    field: &'a [u8],
    at: usize,
}

impl<'a> NlriIter<'a> {
    /// Iterates over `field`; `add_path` says whether a path identifier precedes each length (RFC
    /// 7911 §3).
    pub const fn new(family: Family, add_path: bool, field: &'a [u8]) -> Self {
        NlriIter { family, add_path, field, at: 0 }
    }

    /// Reads path identifier and length: where the value starts and ends.
    fn frame(&self) -> Result<(Option<PathId>, usize, usize), NlriError> {
        let mut at = self.at;
        let mut path_id = None;
        if self.add_path {
            let Some(octets) = self.field[at..].first_chunk() else {
                return Err(NlriError { kind: NlriErrorKind::TruncatedPathId, offset: at });
            };
            path_id = Some(PathId(u32::from_be_bytes(*octets)));
            at += 4;
        }
        let truncated = |needed| NlriError { kind: NlriErrorKind::Truncated { needed }, offset: self.field.len() };
        let &first = self.field.get(at).ok_or(truncated(1))?;
        let (len, start) = if usize::from(first) < TWO_OCTET_LENGTH {
            (usize::from(first), at + 1)
        } else {
            let &second = self.field.get(at + 1).ok_or(truncated(1))?;
            (usize::from(u16::from_be_bytes([first, second]) & 0x0fff), at + 2)
        };
        let end = start + len;
        if end > self.field.len() { Err(truncated(end - self.field.len())) } else { Ok((path_id, start, end)) }
    }
}

impl<'a> Iterator for NlriIter<'a> {
    type Item = NlriEntry<'a>;

    fn next(&mut self) -> Option<NlriEntry<'a>> {
        if self.at >= self.field.len() {
            return None;
        }
        let begin = self.at;
        let (path_id, start, end) = match self.frame() {
            Ok(frame) => frame,
            Err(error) => {
                self.at = self.field.len();
                return Some(NlriEntry { path_id: None, raw: &self.field[begin..], nlri: Err(error) });
            }
        };
        self.at = end;
        let nlri = NlriRef::from_value(self.family, &self.field[start..end])
            .map_err(|error| NlriError { offset: error.offset + start, ..error });
        Some(NlriEntry { path_id, raw: &self.field[begin..end], nlri })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Component, ComponentType};
    use crate::op::{Comparison, NumericOp};

    #[test]
    fn decodes_rfc_8955_example_2() {
        let field = [
            0x12, 0x01, 0x18, 0xc0, 0x00, 0x02, 0x02, 0x18, 0xcb, 0x00, 0x71, 0x04, 0x03, 0x89, 0x45, 0x8b, 0x91, 0x1f,
            0x90,
        ];
        let mut walk = NlriIter::new(Family::Ipv4, false, &field);
        let nlri = walk.next().unwrap().nlri.unwrap();
        assert!(walk.next().is_none());
        let components: Vec<_> = nlri.components().collect();
        assert!(
            matches!(components[0], Component::Prefix(ComponentType::Destination, p) if p.to_string() == "192.0.2.0/24")
        );
        let Component::Numeric(ComponentType::Port, ops) = components[2] else { panic!("{components:?}") };
        let ops: Vec<_> = ops.collect();
        assert_eq!(ops[0], NumericOp::new(Comparison::GreaterOrEqual, 137));
        assert_eq!(ops[1], NumericOp::new(Comparison::LessOrEqual, 139).and());
        assert_eq!(ops[2], NumericOp::new(Comparison::Equal, 8080));
    }

    #[test]
    fn a_malformed_nlri_does_not_hide_the_next() {
        let field = [0x03, 0x0e, 0x81, 0x01, 0x03, 0x05, 0x81, 0x50, 0x09, 0x01];
        let found: Vec<_> = NlriIter::new(Family::Ipv4, false, &field).map(|entry| entry.nlri.map(|_| ())).collect();
        assert_eq!(
            found,
            [
                Err(NlriError { kind: NlriErrorKind::UnknownComponent(14), offset: 1 }),
                Ok(()),
                Err(NlriError { kind: NlriErrorKind::Truncated { needed: 8 }, offset: 10 }),
            ]
        );
    }
}
