//! AS_PATH: segments of AS numbers, in 2 or 4 octets (RFC 4271 §4.3, RFC 5065, RFC 6793).

use std::fmt;

/// AS 23456: stands for an AS number that does not fit in two octets (RFC 6793).
pub const AS_TRANS: u32 = 23456;

/// The segments of an AS_PATH, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AsPath {
    /// The segments; none is empty.
    pub segments: Vec<Segment>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Segment {
    /// What its numbers mean.
    pub kind: SegmentKind,
    /// AS numbers, nearest first.
    pub numbers: Vec<u32>,
}

/// What a segment's numbers mean; the discriminant is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub enum SegmentKind {
    /// AS_SET.
    Set = 1,
    /// AS_SEQUENCE.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence = 3,
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet = 4,
}

impl SegmentKind {
    /// The kind of a number on the wire.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(SegmentKind::Set),
            2 => Some(SegmentKind::Sequence),
            3 => Some(SegmentKind::ConfedSequence),
            4 => Some(SegmentKind::ConfedSet),
            _ => None,
        }
    }

    /// Whether it is one inside a confederation.
    #[must_use]
    pub const fn is_confed(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }
}

/// Why an AS_PATH cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AsPathError {
    /// A segment type that is not assigned.
    #[error("unknown AS_PATH segment type {0}")]
    SegmentKind(u8),
    /// A segment without AS numbers (RFC 7606 §7.2).
    #[error("an empty AS_PATH segment")]
    EmptySegment,
    /// A segment longer than the rest of the attribute.
    #[error("an AS_PATH segment is cut off")]
    Truncated,
    /// AS number 0 (RFC 7607).
    #[error("AS number 0 in the AS_PATH")]
    ZeroAs,
    /// A confederation segment from outside the confederation (RFC 5065 §5).
    #[error("a confederation segment from a peer outside the confederation")]
    UnexpectedConfed,
}

impl AsPath {
    /// A path of one sequence.
    #[must_use]
    pub fn sequence(numbers: impl Into<Vec<u32>>) -> Self {
        let numbers = numbers.into();
        if numbers.is_empty() {
            return AsPath::default();
        }
        AsPath { segments: vec![Segment { kind: SegmentKind::Sequence, numbers }] }
    }

    /// Its AS numbers, nearest first: those of sets among them, those inside a confederation not.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments
            .iter()
            .filter(|segment| !segment.kind.is_confed())
            .flat_map(|segment| segment.numbers.iter().copied())
    }

    /// The AS that announced the route first: the last number, where that is one of a sequence.
    #[must_use]
    pub fn origin(&self) -> Option<u32> {
        let last = self.segments.iter().rfind(|segment| !segment.kind.is_confed())?;
        last.numbers.last().copied().filter(|_| last.kind == SegmentKind::Sequence)
    }

    /// Reads the attribute's value; AS numbers have four octets if `four_octet`, else two.
    ///
    /// # Errors
    /// See [`AsPathError`]; each makes the attribute malformed.
    pub fn decode(mut value: &[u8], four_octet: bool) -> Result<Self, AsPathError> {
        let width = if four_octet { 4 } else { 2 };
        let mut segments = Vec::new();
        while let Some((&kind, rest)) = value.split_first() {
            let kind = SegmentKind::from_number(kind).ok_or(AsPathError::SegmentKind(kind))?;
            let (&count, rest) = rest.split_first().ok_or(AsPathError::Truncated)?;
            if count == 0 {
                return Err(AsPathError::EmptySegment);
            }
            let (octets, rest) = rest.split_at_checked(usize::from(count) * width).ok_or(AsPathError::Truncated)?;
            let read = |octets: &[u8]| octets.iter().fold(0u32, |number, octet| number << 8 | u32::from(*octet));
            let numbers: Vec<u32> = octets.chunks_exact(width).map(read).collect();
            if numbers.contains(&0) {
                return Err(AsPathError::ZeroAs);
            }
            segments.push(Segment { kind, numbers });
            value = rest;
        }
        Ok(AsPath { segments })
    }

    /// Appends the attribute's value. With two octets, larger numbers become AS_TRANS. A segment of
    /// more than 255 numbers is split.
    pub fn encode_to(&self, four_octet: bool, out: &mut Vec<u8>) {
        for segment in &self.segments {
            for numbers in segment.numbers.chunks(255) {
                out.extend_from_slice(&[segment.kind as u8, numbers.len() as u8]);
                for &number in numbers {
                    if four_octet {
                        out.extend_from_slice(&number.to_be_bytes());
                    } else {
                        let number = u16::try_from(number).unwrap_or(AS_TRANS as u16);
                        out.extend_from_slice(&number.to_be_bytes());
                    }
                }
            }
        }
    }

    /// The path merged with the AS4_PATH of the same UPDATE (RFC 6793 §4.2.3): the leading part by
    /// which this one is longer, then `as4`. An `as4` longer than this path is ignored.
    #[must_use]
    pub fn merge(self, as4: AsPath) -> AsPath {
        let Some(mut keep) = self.length().checked_sub(as4.length()) else { return self };
        let mut segments = Vec::new();
        for mut segment in self.segments {
            // Confederation segments count as zero and are kept if they are in the leading part.
            if segment.kind.is_confed() {
                if keep > 0 || segments.iter().all(|s: &Segment| s.kind.is_confed()) {
                    segments.push(segment);
                }
                continue;
            }
            if keep == 0 {
                break;
            }
            if segment.kind == SegmentKind::Sequence {
                segment.numbers.truncate(keep);
                keep -= segment.numbers.len();
            } else {
                keep -= 1;
            }
            segments.push(segment);
        }
        for segment in as4.segments.into_iter().filter(|segment| !segment.kind.is_confed()) {
            match segments.last_mut() {
                Some(last) if last.kind == SegmentKind::Sequence && segment.kind == SegmentKind::Sequence => {
                    last.numbers.extend(segment.numbers);
                }
                _ => segments.push(segment),
            }
        }
        AsPath { segments }
    }

    /// Puts an AS number in front (RFC 4271 §5.1.2 b).
    pub fn prepend(&mut self, number: u32) {
        match self.segments.first_mut() {
            Some(first) if first.kind == SegmentKind::Sequence && first.numbers.len() < 255 => {
                first.numbers.insert(0, number);
            }
            _ => self.segments.insert(0, Segment { kind: SegmentKind::Sequence, numbers: vec![number] }),
        }
    }

    /// The length that route selection compares: a set counts as one, confederation segments as
    /// zero (RFC 4271 §9.1.2.2 a, RFC 5065).
    #[must_use]
    pub fn length(&self) -> usize {
        let count = |segment: &Segment| match segment.kind {
            SegmentKind::Sequence => segment.numbers.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        };
        self.segments.iter().map(count).sum()
    }

    /// Whether it has no AS outside the confederation: the route starts inside (RFC 9117 §4.1 b.2).
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.segments.iter().all(|segment| segment.kind.is_confed())
    }

    /// The left-most AS: the first number of the first sequence outside the confederation segments.
    /// `None` if the path is local or begins with a set.
    #[must_use]
    pub fn leftmost(&self) -> Option<u32> {
        let first = self.segments.iter().find(|segment| !segment.kind.is_confed())?;
        if first.kind == SegmentKind::Sequence { first.numbers.first().copied() } else { None }
    }

    /// The AS that the route starts in: the last number of a path that ends in a sequence.
    #[must_use]
    pub fn origin_as(&self) -> Option<u32> {
        let last = self.segments.last()?;
        if last.kind == SegmentKind::Sequence { last.numbers.last().copied() } else { None }
    }

    /// Number of occurrences of an AS number.
    #[must_use]
    pub fn occurrences(&self, number: u32) -> usize {
        self.segments.iter().flat_map(|segment| &segment.numbers).filter(|n| **n == number).count()
    }

    /// Whether it has a confederation segment.
    #[must_use]
    pub fn has_confed(&self) -> bool {
        self.segments.iter().any(|segment| segment.kind.is_confed())
    }
}

/// `65001 65002 {65003,65004} (65100) [65101,65102]`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            f.write_str(open)?;
            for (index, number) in segment.numbers.iter().enumerate() {
                let separator = if index > 0 { separator } else { "" };
                write!(f, "{separator}{number}")?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_both_widths() {
        let two = [2, 2, 0xfd, 0xe9, 0x5b, 0xa0, 1, 1, 0, 7];
        let path = AsPath::decode(&two, false).unwrap();
        assert_eq!(path.to_string(), "65001 23456 {7}");
        assert_eq!((path.length(), path.leftmost(), path.origin_as()), (3, Some(65001), None));
        let mut out = Vec::new();
        path.encode_to(false, &mut out);
        assert_eq!(out, two);
        out.clear();
        AsPath::sequence([4_200_000_000]).encode_to(true, &mut out);
        assert_eq!(out, [2, 1, 0xfa, 0x56, 0xea, 0]);
        assert_eq!(AsPath::decode(&out, true).unwrap().leftmost(), Some(4_200_000_000));
    }

    #[test]
    fn malformed_paths_are_told_apart() {
        let table: [(&[u8], AsPathError); 5] = [
            (&[9, 1, 0, 1], AsPathError::SegmentKind(9)),
            (&[2, 0], AsPathError::EmptySegment),
            (&[2, 2, 0, 1], AsPathError::Truncated),
            (&[2], AsPathError::Truncated),
            (&[2, 1, 0, 0], AsPathError::ZeroAs),
        ];
        for (octets, error) in table {
            assert_eq!(AsPath::decode(octets, false), Err(error));
        }
    }

    #[test]
    fn as4_path_fills_in_what_two_octets_could_not_say() {
        let path = AsPath::sequence([65001, AS_TRANS, AS_TRANS]);
        let merged = path.clone().merge(AsPath::sequence([4_200_000_001, 4_200_000_002]));
        assert_eq!(merged.to_string(), "65001 4200000001 4200000002");
        // An AS4_PATH longer than the AS_PATH is ignored.
        assert_eq!(path.clone().merge(AsPath::sequence([1, 2, 3, 4])), path);
    }

    #[test]
    fn confederation_segments_are_local() {
        let path = AsPath::decode(&[3, 1, 0xfd, 0xe9], false).unwrap();
        assert!(path.is_local() && path.has_confed() && AsPath::default().is_local());
        assert_eq!((path.length(), path.leftmost()), (0, None));
        let path = AsPath::decode(&[3, 1, 0xfd, 0xe9, 2, 1, 0, 5], false).unwrap();
        assert_eq!((path.length(), path.leftmost(), path.is_local()), (1, Some(5), false));
    }

    #[test]
    fn prepending_opens_a_sequence_where_there_is_none() {
        let mut path = AsPath::decode(&[1, 1, 0, 7], false).unwrap();
        path.prepend(5);
        path.prepend(4);
        assert_eq!(path.to_string(), "4 5 {7}");
    }
}
