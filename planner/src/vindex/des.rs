//! One block of DES (FIPS 46-3) under a key of zeros, which is what the `hash` vindex is. With that
//! key every round key is zero, so that a round is eight look-ups. It hides nothing and is not
//! meant to: the rows' places must be Vitess's.

/// The S-boxes of the standard, four rows of sixteen each.
const BOXES: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12,
        11, 9, 5, 3, 8, 4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9,
        1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1,
        10, 6, 9, 11, 5, 0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15,
        4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5,
        14, 12, 11, 15, 1, 13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6,
        9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2,
        12, 1, 10, 14, 9, 10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1,
        13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15,
        10, 3, 9, 8, 6, 4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14,
        2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13,
        14, 0, 11, 3, 8, 9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5,
        15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5,
        12, 2, 15, 8, 6, 1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4,
        10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6,
        11, 0, 14, 9, 2, 7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10,
        8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

/// The permutation P: bit n of the result (from the left) is this bit of the boxes' output, counted
/// from 1.
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19,
    13, 30, 6, 22, 11, 4, 25,
];

/// What each box gives for six bits, permuted already: 2 KiB.
static TABLES: [[u32; 64]; 8] = tables();

#[allow(clippy::indexing_slicing)] // Evaluated by the compiler.
const fn tables() -> [[u32; 64]; 8] {
    let mut out = [[0; 64]; 8];
    let mut nth = 0;
    while nth < 8 {
        let mut six = 0;
        while six < 64 {
            // The outer two bits choose the row, the inner four the column.
            let row = (six >> 4 & 2) | (six & 1);
            let column = six >> 1 & 15;
            let given = (BOXES[nth][row * 16 + column] as u32) << (28 - 4 * nth);
            let mut bit = 0;
            while bit < 32 {
                out[nth][six] |= (given >> (32 - P[bit]) & 1) << (31 - bit);
                bit += 1;
            }
            six += 1;
        }
        nth += 1;
    }
    out
}

/// A round's function: the expansion takes six bits around each group of four.
#[inline]
fn round(half: u32) -> u32 {
    let [s1, s2, s3, s4, s5, s6, s7, s8] = &TABLES;
    let at = |table: &[u32; 64], bits: u32| table[(bits & 63) as usize];
    let x = half.rotate_right(1);
    at(s1, x >> 26)
        ^ at(s2, x >> 22)
        ^ at(s3, x >> 18)
        ^ at(s4, x >> 14)
        ^ at(s5, x >> 10)
        ^ at(s6, x >> 6)
        ^ at(s7, x >> 2)
        ^ at(s8, half.rotate_left(1))
}

/// Exchanges the bits of `b` under the mask with those of `a` that stand `n` to the left.
#[inline]
fn swap(a: &mut u32, b: &mut u32, n: u32, mask: u32) {
    let differ = (*a >> n ^ *b) & mask;
    *b ^= differ;
    *a ^= differ << n;
}

/// The halves of a block after the initial permutation.
#[inline]
fn begin(block: u64) -> (u32, u32) {
    let (mut left, mut right) = ((block >> 32) as u32, block as u32);
    swap(&mut left, &mut right, 4, 0x0f0f_0f0f);
    swap(&mut left, &mut right, 16, 0x0000_ffff);
    swap(&mut right, &mut left, 2, 0x3333_3333);
    swap(&mut right, &mut left, 8, 0x00ff_00ff);
    swap(&mut left, &mut right, 1, 0x5555_5555);
    (left, right)
}

/// The halves change places, and the permutation is undone.
#[inline]
fn end((right, left): (u32, u32)) -> u64 {
    let (mut left, mut right) = (left, right);
    swap(&mut left, &mut right, 1, 0x5555_5555);
    swap(&mut right, &mut left, 8, 0x00ff_00ff);
    swap(&mut right, &mut left, 2, 0x3333_3333);
    swap(&mut left, &mut right, 16, 0x0000_ffff);
    swap(&mut left, &mut right, 4, 0x0f0f_0f0f);
    u64::from(left) << 32 | u64::from(right)
}

/// The block that a number, as 8 bytes with the highest first, becomes.
pub(super) fn encrypt(block: u64) -> u64 {
    let [block] = encrypt_each([block]);
    block
}

/// Several blocks side by side: each round waits for the one before, but not for those of other
/// blocks.
#[inline]
pub(super) fn encrypt_each<const N: usize>(blocks: [u64; N]) -> [u64; N] {
    let mut halves = blocks.map(begin);
    for _ in 0..8 {
        for (left, right) in &mut halves {
            *left ^= round(*right);
        }
        for (left, right) in &mut halves {
            *right ^= round(*left);
        }
    }
    halves.map(end)
}

#[cfg(test)]
mod tests {
    use super::{encrypt, encrypt_each};
    use des::Des;
    use des::cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    fn oracle(n: u64) -> u64 {
        let mut block = n.to_be_bytes().into();
        Des::new(&[0u8; 8].into()).encrypt_block(&mut block);
        u64::from_be_bytes(block.into())
    }

    #[test]
    fn every_bit_and_every_small_number() {
        for n in (0..20_000)
            .chain((0..64).map(|bit| 1 << bit))
            .chain((0..20_000).map(|n| u64::MAX - n))
        {
            assert_eq!(encrypt(n), oracle(n), "{n}");
        }
    }

    proptest! {
        #[test]
        fn is_des(n: [u64; 4]) {
            prop_assert_eq!(encrypt(n[0]), oracle(n[0]));
            prop_assert_eq!(encrypt_each(n), n.map(oracle));
        }
    }
}
