//! Amounts of bytes.

pub const MIB: usize = 1 << 20;

/// Bytes of which no two stretches are equal, so that a lost, repeated or swapped byte shows.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(37)) as u8).collect()
}
