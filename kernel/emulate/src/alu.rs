//! Integer arithmetic with flags, on operands of 1, 2, 4 or 8 bytes.
//!
//! AMD APM vol. 1, 3.1.4 "Flags Register", and the instructions' pages in
//! vol. 3. Flags that the manual leaves undefined become 0.

use crate::simple::mask;

pub(crate) const CARRY: u64 = 1 << 0;
pub(crate) const PARITY: u64 = 1 << 2;
pub(crate) const AUXILIARY: u64 = 1 << 4;
pub(crate) const ZERO: u64 = 1 << 6;
pub(crate) const SIGN: u64 = 1 << 7;
pub(crate) const DIRECTION: u64 = 1 << 10;
pub(crate) const OVERFLOW: u64 = 1 << 11;

/// The flags that arithmetic changes.
pub(crate) const STATUS: u64 = CARRY | PARITY | AUXILIARY | ZERO | SIGN | OVERFLOW;

/// A result and the status flags that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) value: u64,
    pub(crate) flags: u64,
}

fn sign_bit(value: u64, size: u8) -> bool {
    value >> (u32::from(size) * 8 - 1) & 1 != 0
}

fn flag(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

fn result_flags(value: u64, size: u8) -> u64 {
    flag(value == 0, ZERO)
        | flag(sign_bit(value, size), SIGN)
        | flag((value as u8).count_ones().is_multiple_of(2), PARITY)
}

/// AND, OR, XOR, TEST: carry and overflow are cleared.
pub(crate) fn logic(value: u64, size: u8) -> Outcome {
    let value = mask(value, size);
    Outcome {
        value,
        flags: result_flags(value, size),
    }
}

/// `a + b + carry`.
pub(crate) fn add(a: u64, b: u64, carry: bool, size: u8) -> Outcome {
    let value = mask(a.wrapping_add(b).wrapping_add(carry.into()), size);
    // The carry out of every bit position.
    let carries = a & b | (a | b) & !value;
    Outcome {
        value,
        flags: result_flags(value, size)
            | flag(sign_bit(carries, size), CARRY)
            | flag(carries & 8 != 0, AUXILIARY)
            | flag(sign_bit((a ^ value) & (b ^ value), size), OVERFLOW),
    }
}

/// `a - b - borrow`.
pub(crate) fn subtract(a: u64, b: u64, borrow: bool, size: u8) -> Outcome {
    let value = mask(a.wrapping_sub(b).wrapping_sub(borrow.into()), size);
    let borrows = !a & b | (!a | b) & value;
    Outcome {
        value,
        flags: result_flags(value, size)
            | flag(sign_bit(borrows, size), CARRY)
            | flag(borrows & 8 != 0, AUXILIARY)
            | flag(sign_bit((a ^ b) & (a ^ value), size), OVERFLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_sets_carry_and_overflow_apart() {
        let sum = add(0xff, 1, false, 1);
        assert_eq!(
            (sum.value, sum.flags),
            (0, CARRY | ZERO | AUXILIARY | PARITY)
        );
        let sum = add(0x7f, 0, true, 1);
        assert_eq!((sum.value, sum.flags), (0x80, OVERFLOW | SIGN | AUXILIARY));
        let sum = add(u64::MAX, u64::MAX, true, 8);
        assert_eq!(sum.value, u64::MAX);
        assert_eq!(sum.flags, CARRY | SIGN | AUXILIARY | PARITY);
    }

    #[test]
    fn subtraction_sets_carry_and_overflow_apart() {
        let difference = subtract(0, 1, false, 4);
        assert_eq!(difference.value, 0xffff_ffff);
        assert_eq!(difference.flags, CARRY | SIGN | AUXILIARY | PARITY);
        let difference = subtract(0x8000, 1, false, 2);
        assert_eq!(difference.value, 0x7fff);
        assert_eq!(difference.flags, OVERFLOW | AUXILIARY | PARITY);
        assert_eq!(subtract(5, 4, true, 8).flags, ZERO | PARITY);
    }

    /// Every pair of bytes, against arithmetic in a wider type.
    #[test]
    fn bytes_agree_with_wide_arithmetic() {
        for (a, b, c) in (0..=255u16).flat_map(|a| (0..512u16).map(move |x| (a, x >> 1, x & 1))) {
            let (sum, difference) = (a + b + c, i32::from(a) - i32::from(b) - i32::from(c));
            let outcome = add(a.into(), b.into(), c != 0, 1);
            let signed = i32::from(a as i8) + i32::from(b as i8) + i32::from(c);
            assert_eq!(outcome.value, u64::from(sum as u8));
            assert_eq!(outcome.flags & CARRY != 0, sum > 255);
            assert_eq!(outcome.flags & OVERFLOW != 0, i8::try_from(signed).is_err());
            assert_eq!(outcome.flags & AUXILIARY != 0, (a & 15) + (b & 15) + c > 15);
            let outcome = subtract(a.into(), b.into(), c != 0, 1);
            let signed = i32::from(a as i8) - i32::from(b as i8) - i32::from(c);
            assert_eq!(outcome.value, u64::from(difference as u8));
            assert_eq!(outcome.flags & CARRY != 0, difference < 0);
            assert_eq!(outcome.flags & OVERFLOW != 0, i8::try_from(signed).is_err());
            assert_eq!(outcome.flags & AUXILIARY != 0, (a & 15) < (b & 15) + c);
        }
    }
}
