//! Weights in Q8_0: blocks of 32 numbers of eight bits, each with a scale.
//!
//! Rows are rounded to blocks of the same kind, as everybody does who is quick with such weights: the products of a block are then
//! summed without any loss, in whole numbers, and four at a time where the processor can. What is lost is the rounding of
//! the rows, to a 254th of the longest number of a block, and the answer is the same whichever way it is summed.

use multiversion::multiversion;

use super::{AT_A_TIME, GROUP, GROUPS, PANEL, Wide, parted};

/// Numbers of a block, and its bytes in a file: a scale in F16, then the numbers.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 2 + BLOCK;
/// Numbers that are multiplied and added at once.
const STEP: usize = 4;
const STEPS: usize = BLOCK / STEP;
/// What is added to a weight so that it is not negative, as processors multiply: one side with a sign, one without.
const LIFT: u8 = 128;

/// A step's weights for one output, the first lowest.
type Word = u32;
/// A step's weights for the outputs of a group: a line of memory.
type Line = [Word; GROUP];
/// The weights of a block, step by step.
type Block = [[Line; GROUPS]; STEPS];
/// Rounds what is added to it, up to 2^22.
const WHOLE: f32 = 12_582_912.0;
/// How many blocks before their use the weights of few rows are called for.
const AHEAD: usize = 2;

/// The blocks of all panels, and the scales of each.
#[derive(Debug)]
pub(super) struct Eights {
    blocks: Vec<Block>,
    scales: Vec<Wide>,
    /// Blocks of a row.
    width: usize,
}

/// A block of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowBlock {
    numbers: [[i8; STEP]; STEPS],
    scale: f32,
    /// What takes away the lift of the weights.
    settled: i32,
}

impl Eights {
    pub(super) fn new(bytes: &[u8], (out, width): (usize, usize)) -> Option<Self> {
        if !width.is_multiple_of(BLOCK) || bytes.len() != out * width / BLOCK * BLOCK_BYTES {
            return None;
        }
        let width = width / BLOCK;
        let all = out.div_ceil(PANEL) * width;
        let mut blocks = vec![[[[0; GROUP]; GROUPS]; STEPS]; all];
        let mut scales = vec![[[0.0; GROUP]; GROUPS]; all];
        for (row, bytes) in bytes.chunks_exact((width * BLOCK_BYTES).max(1)).enumerate() {
            let (from, place) = (row / PANEL * width, row % PANEL);
            let (group, lane) = (place / GROUP, place % GROUP);
            let mine = blocks.get_mut(from..)?.iter_mut().zip(scales.get_mut(from..)?);
            for (bytes, (block, scales)) in bytes.chunks_exact(BLOCK_BYTES).zip(mine) {
                let (scale, numbers) = bytes.split_first_chunk::<2>()?;
                *scales.get_mut(group)?.get_mut(lane)? = half::f16::from_le_bytes(*scale).to_f32();
                for (numbers, step) in numbers.chunks_exact(STEP).zip(block) {
                    let word = numbers.first_chunk::<STEP>()?.map(|number| number ^ LIFT);
                    *step.get_mut(group)?.get_mut(lane)? = Word::from_le_bytes(word);
                }
            }
        }
        Some(Self { blocks, scales, width })
    }

    /// Adds the products of all rows of `x` with a panel to their sums. Weights are called for before they are used, as plain ones
    /// are.
    pub(super) fn multiply(&self, panel: usize, x: &[RowBlock], sums: &mut [Wide]) {
        let from = panel * self.width;
        let blocks = self.blocks.get(from..from + self.width).unwrap_or_default();
        let scales = self.scales.get(from..from + self.width).unwrap_or_default();
        let ahead = if sums.len() > AT_A_TIME { self.width } else { AHEAD };
        let ahead = self.blocks.get(from + ahead..).unwrap_or_default();
        let ahead = ahead.get(..self.width).unwrap_or(ahead).as_flattened().as_flattened();
        for (x, ahead, sums) in parted(x, ahead, sums) {
            match sums.len() {
                6 => some::<6>(x, (blocks, scales), ahead, sums),
                4 => some::<4>(x, (blocks, scales), ahead, sums),
                3 => some::<3>(x, (blocks, scales), ahead, sums),
                2 => some::<2>(x, (blocks, scales), ahead, sums),
                _ => some::<1>(x, (blocks, scales), ahead, sums),
            }
        }
    }
}

/// Rounds rows, whose width is one of blocks, to blocks.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn blocks(x: &[f32]) -> Vec<RowBlock> {
    let (x, _) = x.as_chunks::<BLOCK>();
    let mut blocks = vec![RowBlock::default(); x.len()];
    for (x, block) in x.iter().zip(&mut blocks) {
        // Lengths are ordered as their bits are, with what is infinite or no number last.
        let mut longest = 0;
        for number in x {
            longest = number.abs().to_bits().max(longest);
        }
        block.scale = f32::from_bits(longest) / 127.0;
        let by = if block.scale.is_normal() { 1.0 / block.scale } else { 0.0 };
        let mut sum = 0_i32;
        for (place, number) in block.numbers.as_flattened_mut().iter_mut().zip(x) {
            // Beside so great a number there is no place for fractions, and the lowest bits hold what is whole.
            let rounded = (number * by + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()).cast_signed();
            *place = rounded as i8;
            sum = sum.wrapping_add(rounded);
        }
        block.settled = sum.wrapping_mul(-i32::from(LIFT));
    }
    blocks
}

/// Multiplies so many rows with a panel, and calls for other lines meanwhile.
fn some<const ROWS: usize>(x: &[RowBlock], panel: (&[Block], &[Wide]), ahead: &[Line], sums: &mut [Wide]) {
    let width = panel.0.len();
    let mut rows: [&[RowBlock]; ROWS] = [&[]; ROWS];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(width.max(1))) {
        *row = x;
    }
    if rows.iter().any(|row| row.len() != width) || sums.len() != ROWS {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if vnni::is_there() {
        let ahead = ahead.chunks(ahead.len().div_ceil(width.max(1)).max(1));
        #[expect(unsafe_code, reason = "what it needs of the processor was just seen to be there")]
        return unsafe { vnni::all(rows, panel, ahead, sums) };
    }
    all(rows, panel, sums);
}

/// Multiplies with each group of a panel. Whole numbers are summed in F32, which loses none of those under 2^24.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma", "x86_64+avx2+fma", "aarch64+neon"))]
#[allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "all bounds are known: constants, and rows as long as the blocks"
)]
fn all<const ROWS: usize>(rows: [&[RowBlock]; ROWS], (blocks, scales): (&[Block], &[Wide]), sums: &mut [Wide]) {
    for group in 0..GROUPS {
        let mut held = [[0.0_f32; GROUP]; ROWS];
        for (place, (block, scales)) in blocks.iter().zip(scales).enumerate() {
            let mut x = [[[0.0_f32; STEP]; STEPS]; ROWS];
            let mut whole = [[0.0_f32; GROUP]; ROWS];
            for row in 0..ROWS {
                x[row] = rows[row][place].numbers.map(|numbers| numbers.map(f32::from));
                whole[row] = [rows[row][place].settled as f32; GROUP];
            }
            for step in 0..STEPS {
                let words = block[step][group];
                for part in 0..STEP {
                    let mut weights = [0.0_f32; GROUP];
                    for lane in 0..GROUP {
                        weights[lane] = (words[lane] >> (8 * part) & 255) as f32;
                    }
                    for row in 0..ROWS {
                        for lane in 0..GROUP {
                            whole[row][lane] = x[row][step][part].mul_add(weights[lane], whole[row][lane]);
                        }
                    }
                }
            }
            for row in 0..ROWS {
                for lane in 0..GROUP {
                    held[row][lane] =
                        (whole[row][lane] * scales[group][lane]).mul_add(rows[row][place].scale, held[row][lane]);
                }
            }
        }
        for row in 0..ROWS {
            sums[row][group] = held[row];
        }
    }
}

/// The same with what multiplies and adds four numbers for each of 16 sums in one instruction.
#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::{
        _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_setzero_si512,
    };
    use std::slice::Chunks;

    use super::super::call_for;
    use super::{Block, GROUPS, Line, RowBlock, STEPS, Wide};

    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    #[allow(
        clippy::indexing_slicing,
        clippy::needless_range_loop,
        reason = "all bounds are known: constants, and rows as long as the blocks"
    )]
    pub(super) fn all<const ROWS: usize>(
        rows: [&[RowBlock]; ROWS],
        (blocks, scales): (&[Block], &[Wide]),
        mut ahead: Chunks<'_, Line>,
        sums: &mut [Wide],
    ) {
        let mut held = [[_mm512_setzero_ps(); GROUPS]; ROWS];
        for (place, (block, scales)) in blocks.iter().zip(scales).enumerate() {
            for line in ahead.next().unwrap_or_default() {
                call_for(line);
            }
            // Closures would not be compiled for this processor.
            let mut now = [&rows[0][place]; ROWS];
            let mut whole = [[_mm512_setzero_si512(); GROUPS]; ROWS];
            for row in 0..ROWS {
                now[row] = &rows[row][place];
                whole[row] = [_mm512_set1_epi32(now[row].settled); GROUPS];
            }
            for step in 0..STEPS {
                for row in 0..ROWS {
                    let x = _mm512_set1_epi32(pulp::cast(now[row].numbers[step]));
                    for group in 0..GROUPS {
                        let weights = pulp::cast(block[step][group]);
                        whole[row][group] = _mm512_dpbusd_epi32(whole[row][group], weights, x);
                    }
                }
            }
            for row in 0..ROWS {
                let scale = _mm512_set1_ps(now[row].scale);
                for group in 0..GROUPS {
                    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(whole[row][group]), pulp::cast(scales[group]));
                    held[row][group] = _mm512_fmadd_ps(scaled, scale, held[row][group]);
                }
            }
        }
        for row in 0..ROWS {
            for group in 0..GROUPS {
                sums[row][group] = pulp::cast(held[row][group]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn sums_are_those_of_whole_numbers_on_every_processor() {
        let mut dice = Dice::new(7);
        for (out, width) in [(1, 1), (64, 3), (70, 2), (130, 5)] {
            let mut bytes = Vec::new();
            for _ in 0..out * width {
                bytes.extend(half::f16::from_f32(dice.normal() as f32).to_le_bytes());
                bytes.extend((0..BLOCK).map(|_| (dice.below(255) as i32 - 127) as i8 as u8));
            }
            let weight = Eights::new(&bytes, (out, width * BLOCK)).unwrap();
            for rows in 1..=9 {
                let x: Vec<f32> = (0..rows * width * BLOCK).map(|_| dice.normal() as f32).collect();
                let x = blocks(&x);
                for panel in 0..out.div_ceil(PANEL) {
                    let mut sums = vec![[[0.0; GROUP]; GROUPS]; rows];
                    weight.multiply(panel, &x, &mut sums);
                    // On a processor that multiplies four at a time, the other way is tried too.
                    let mine = panel * width..(panel + 1) * width;
                    let mut others = sums.clone();
                    for (x, sums) in x.chunks(width).zip(&mut others) {
                        let panel = (&weight.blocks[mine.clone()], &weight.scales[mine.clone()]);
                        all([x], panel, std::slice::from_mut(sums));
                    }
                    assert_eq!(sums, others);
                    for (sums, x) in sums.iter().zip(x.chunks(width)) {
                        let outputs = bytes.chunks(width * BLOCK_BYTES).skip(panel * PANEL);
                        for (sum, bytes) in sums.as_flattened().iter().zip(outputs) {
                            assert_eq!(*sum, one_by_one(bytes, x));
                        }
                    }
                }
            }
        }
    }

    fn one_by_one(bytes: &[u8], x: &[RowBlock]) -> f32 {
        let mut sum = 0.0_f32;
        for (bytes, x) in bytes.chunks(BLOCK_BYTES).zip(x) {
            let scale = half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            let numbers = x.numbers.as_flattened().iter();
            let whole: i32 =
                bytes[2..].iter().zip(numbers).map(|(w, x)| i32::from(w.cast_signed()) * i32::from(*x)).sum();
            sum = (whole as f32 * scale).mul_add(x.scale, sum);
        }
        sum
    }

    #[test]
    fn rows_are_rounded_to_a_share_of_their_longest_number() {
        let mut dice = Dice::new(3);
        let mut x: Vec<f32> = (0..4 * BLOCK).map(|_| dice.normal() as f32 * 10.0).collect();
        x[BLOCK..2 * BLOCK].fill(0.0);
        x[2 * BLOCK] = -1e30;
        for (x, block) in x.chunks(BLOCK).zip(blocks(&x)) {
            let longest = x.iter().fold(0.0_f32, |longest, x| longest.max(x.abs()));
            for (x, number) in x.iter().zip(block.numbers.as_flattened()) {
                let rounded = f32::from(*number) * block.scale;
                assert!((x - rounded).abs() <= longest / 253.0, "{x} became {rounded}");
            }
        }
    }

    #[test]
    fn what_is_no_number_does_not_become_one() {
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[5] = strange;
            assert!(!blocks(&x)[0].scale.is_finite());
            let weight = Eights::new(&[1; BLOCK_BYTES], (1, BLOCK)).unwrap();
            let mut sums = [[[0.0; GROUP]; GROUPS]];
            weight.multiply(0, &blocks(&x), &mut sums);
            assert!(!sums[0][0][0].is_finite());
        }
    }

    #[test]
    fn numbers_too_small_for_a_scale_are_nothing() {
        for number in [0.0, 1e-45, f32::MIN_POSITIVE] {
            assert_eq!(blocks(&[number; BLOCK])[0].numbers, [[0; STEP]; STEPS]);
        }
    }
}
