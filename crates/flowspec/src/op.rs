//! Operators of component values: numeric (RFC 8955 §4.2.1.1) and bitmask (RFC 8955 §4.2.1.2).

/// Bit of the operator octet that ends the list.
pub(crate) const END_OF_LIST: u8 = 0x80;
/// Bit of the operator octet that joins it to the one before with AND.
pub(crate) const AND: u8 = 0x40;
const WIDTH_SHIFT: u8 = 4;
const NOT: u8 = 0x02;
const MATCH: u8 = 0x01;

/// Number of octets of an operator's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 1 octet.
    One,
    /// 2 octets.
    Two,
    /// 4 octets.
    Four,
    /// 8 octets.
    Eight,
}

impl Width {
    /// Octets on the wire.
    #[must_use]
    pub const fn octets(self) -> usize {
        1 << (self as usize)
    }

    /// The width in an operator octet's two length bits.
    #[must_use]
    pub const fn from_operator(octet: u8) -> Self {
        match (octet >> WIDTH_SHIFT) & 3 {
            0 => Width::One,
            1 => Width::Two,
            2 => Width::Four,
            _ => Width::Eight,
        }
    }

    /// The smallest width that holds `value`.
    #[must_use]
    pub const fn for_value(value: u64) -> Self {
        match value {
            0..=0xff => Width::One,
            0x100..=0xffff => Width::Two,
            0x1_0000..=0xffff_ffff => Width::Four,
            _ => Width::Eight,
        }
    }

    const fn bits(self) -> u8 {
        (self as u8) << WIDTH_SHIFT
    }
}

/// How a numeric operator compares the packet's value with its own: the bits lt, gt, eq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// 000: never.
    False,
    /// 001: equal.
    Equal,
    /// 010: greater.
    Greater,
    /// 011: greater or equal.
    GreaterOrEqual,
    /// 100: less.
    Less,
    /// 101: less or equal.
    LessOrEqual,
    /// 110: not equal.
    NotEqual,
    /// 111: always.
    True,
}

impl Comparison {
    /// The comparison in an operator octet's three low bits.
    #[must_use]
    pub const fn from_operator(octet: u8) -> Self {
        match octet & 7 {
            0 => Comparison::False,
            1 => Comparison::Equal,
            2 => Comparison::Greater,
            3 => Comparison::GreaterOrEqual,
            4 => Comparison::Less,
            5 => Comparison::LessOrEqual,
            6 => Comparison::NotEqual,
            _ => Comparison::True,
        }
    }

    /// Whether the comparison of `data` with `value` holds.
    #[must_use]
    pub const fn holds(self, data: u64, value: u64) -> bool {
        match self {
            Comparison::False => false,
            Comparison::Equal => data == value,
            Comparison::Greater => data > value,
            Comparison::GreaterOrEqual => data >= value,
            Comparison::Less => data < value,
            Comparison::LessOrEqual => data <= value,
            Comparison::NotEqual => data != value,
            Comparison::True => true,
        }
    }
}

/// One {operator, value} pair of a numeric component. The end-of-list bit is not kept: it follows
/// from the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumericOp {
    /// Joined with AND to the pair before it; otherwise OR. False in a first pair.
    pub and: bool,
    /// How the packet's value is compared.
    pub comparison: Comparison,
    /// The value compared with.
    pub value: u64,
    /// Octets that `value` has on the wire.
    pub width: Width,
}

impl NumericOp {
    /// A pair joined with OR, in the smallest width that holds `value`. (A flow label is sent
    /// wider: [`ComponentType::width_for`](crate::ComponentType::width_for).)
    #[must_use]
    pub const fn new(comparison: Comparison, value: u64) -> Self {
        NumericOp { and: false, comparison, value, width: Width::for_value(value) }
    }

    /// The same pair, joined with AND to the one before.
    #[must_use]
    pub const fn and(self) -> Self {
        NumericOp { and: true, ..self }
    }

    pub(crate) const fn from_wire(operator: u8, value: u64) -> Self {
        NumericOp {
            and: operator & AND != 0,
            comparison: Comparison::from_operator(operator),
            value,
            width: Width::from_operator(operator),
        }
    }

    pub(crate) const fn operator_octet(self) -> u8 {
        (if self.and { AND } else { 0 }) | self.width.bits() | self.comparison as u8
    }
}

/// One {operator, value} pair of a bitmask component. The end-of-list bit is not kept: it follows
/// from the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitmaskOp {
    /// Joined with AND to the pair before it; otherwise OR. False in a first pair.
    pub and: bool,
    /// Negates the result.
    pub not: bool,
    /// The m bit: true asks for `(data & value) == value`, false for `(data & value) != 0`.
    pub all: bool,
    /// The bits asked about.
    pub value: u64,
    /// Octets that `value` has on the wire.
    pub width: Width,
}

impl BitmaskOp {
    /// A pair joined with OR, in the smallest width that holds `value`; `all` is the m bit.
    #[must_use]
    pub const fn new(all: bool, value: u64) -> Self {
        BitmaskOp { and: false, not: false, all, value, width: Width::for_value(value) }
    }

    /// The same pair, joined with AND to the one before.
    #[must_use]
    pub const fn and(self) -> Self {
        BitmaskOp { and: true, ..self }
    }

    /// The same pair, negated.
    #[must_use]
    pub const fn negated(self) -> Self {
        BitmaskOp { not: !self.not, ..self }
    }

    /// Whether `data` satisfies this pair.
    #[must_use]
    pub const fn holds(self, data: u64) -> bool {
        let hit = if self.all { data & self.value == self.value } else { data & self.value != 0 };
        hit != self.not
    }

    pub(crate) const fn from_wire(operator: u8, value: u64) -> Self {
        BitmaskOp {
            and: operator & AND != 0,
            not: operator & NOT != 0,
            all: operator & MATCH != 0,
            value,
            width: Width::from_operator(operator),
        }
    }

    pub(crate) const fn operator_octet(self) -> u8 {
        (if self.and { AND } else { 0 })
            | self.width.bits()
            | (if self.not { NOT } else { 0 })
            | (if self.all { MATCH } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmask_truth_table_of_rfc_8955_4_2_1_2() {
        assert!(!BitmaskOp::new(false, 0).holds(0xff), "any of nothing is never true");
        assert!(BitmaskOp::new(true, 0).holds(0), "all of nothing is always true");
        assert!(BitmaskOp::new(true, 0x12).holds(0x13));
        assert!(!BitmaskOp::new(true, 0x12).holds(0x02));
        assert!(BitmaskOp::new(false, 0x12).negated().holds(0x01));
    }

    #[test]
    fn operator_octets_are_reversible() {
        for octet in 0..=0xffu8 {
            let numeric = octet & !END_OF_LIST & !0x08;
            assert_eq!(NumericOp::from_wire(octet, 0).operator_octet(), numeric);
            let bitmask = octet & !END_OF_LIST & !0x0c;
            assert_eq!(BitmaskOp::from_wire(octet, 0).operator_octet(), bitmask);
        }
    }
}
