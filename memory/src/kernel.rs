//! The two inner loops of comparing vectors, compiled for several instruction sets; the best one is chosen at run time.
//!
//! A signed number of a vector is held as the byte that it is on disk.

use multiversion::multiversion;

/// Multiplies one vector with the rows of `matrix` whose numbers are in `rows`, and writes one product each.
///
/// A row that lies outside the matrix gives 0.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(crate) fn dot_rows(matrix: &[u8], query: &[u8], rows: &[u32], out: &mut Vec<i32>) {
    out.clear();
    let width = query.len();
    // Plain loops: a closure that is passed on is compiled for the least of all processors.
    for &row in rows {
        let start = row as usize * width;
        let row = matrix.get(start..start + width).unwrap_or(&[]);
        let mut product = 0_i32;
        for (a, b) in row.iter().zip(query) {
            product += i32::from(a.cast_signed()) * i32::from(b.cast_signed());
        }
        out.push(product);
    }
}

/// Counts for each of the given rows how many bits of its sketch differ from the query's.
///
/// A row that lies outside gives the most there can be.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512vpopcntdq", "x86_64+avx2+popcnt", "aarch64+neon"))]
pub(crate) fn differing_bits(sketches: &[u64], query: &[u64], rows: &[u32], out: &mut Vec<u16>) {
    out.clear();
    let width = query.len();
    for &row in rows {
        let start = row as usize * width;
        let Some(sketch) = sketches.get(start..start + width) else {
            out.push(u16::MAX);
            continue;
        };
        let mut differing = 0_u32;
        for (a, b) in sketch.iter().zip(query) {
            differing += (a ^ b).count_ones();
        }
        out.push(differing as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_agree_with_the_plain_sum() {
        let matrix: Vec<u8> = (0..1000).map(|i| (i * 37 % 255) as u8).collect();
        let query: Vec<u8> = (0..100).map(|i| (i * 91 % 255) as u8).collect();
        let mut out = Vec::new();
        dot_rows(&matrix, &query, &[3, 9, 10], &mut out);
        let number = |byte: u8| i32::from(byte as i8);
        let plain = |row: usize| -> i32 { (0..100).map(|i| number(matrix[row * 100 + i]) * number(query[i])).sum() };
        assert_eq!(out, [plain(3), plain(9), 0]);

        let mut bits = Vec::new();
        differing_bits(&[0, u64::MAX, 5, 0], &[0, 0], &[0, 1, 2], &mut bits);
        assert_eq!(bits, [64, 2, u16::MAX]);
    }
}
