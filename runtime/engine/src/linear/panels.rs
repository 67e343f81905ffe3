//! Rows times a linear layer, where most of a model's time goes.
//!
//! The weight lies in panels of 64 outputs, in the order in which it is read, so that one row is as fast as memory gives the
//! weight, and many rows are as fast as the processor multiplies. Quantized weights are multiplied in F32: `q * d` has at most 19
//! bits, so nothing is lost. For a few rows they are unpacked on the way, for many a slab at a time, into the first cache.
//!
//! Each output is one sum in the order of the inputs, whatever is multiplied beside it: a row gives the same bits alone, among
//! others, and on any number of threads. Answers that are given together are those that are given alone for that reason.

use std::sync::{Mutex, PoisonError};

use candle_core::utils::{barrier_pool, get_num_threads};
use multiversion::multiversion;
use pulp::{Arch, Simd, WithSimd};

/// Outputs of a panel, in groups that a register holds.
const GROUPS: usize = 4;
const GROUP: usize = 16;
const PANEL: usize = GROUPS * GROUP;
/// Inputs that are unpacked at once: whole blocks of quantized numbers.
const SLAB: usize = 96;
/// Rows that have a register for each group of their outputs.
const AT_A_TIME: usize = 6;
/// Rows for which packed weights are unpacked on the way.
const FEW: usize = 4;
/// Numbers of a block of Q8_0, and its bytes: a scale in F16, then the numbers.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 2 + BLOCK;
/// With fewer products than these, waking another thread takes longer than they do.
const LEAST_SHARED: usize = 1 << 18;
/// From so many rows on, threads share the rows; below, the panels.
const MANY_ROWS: usize = 128;

type Group = [f32; GROUP];
/// The outputs of a panel for one row, or its weights for one input.
type Wide = [Group; GROUPS];
type Packed = [i8; PANEL];

/// A linear layer's weight, in the order in which it is multiplied.
#[derive(Debug)]
pub(super) struct Panels {
    numbers: Numbers,
    out: usize,
    width: usize,
}

#[derive(Debug)]
enum Numbers {
    Plain(Vec<Wide>),
    /// Numbers by input, and the scale of each block of inputs.
    Packed(Vec<Packed>, Vec<Wide>),
}

/// Returns whether this processor has what the panels are quick with.
pub(super) fn is_quick() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

impl Panels {
    /// Lays out a weight (out, in).
    pub(super) fn plain(weight: &[f32], (out, width): (usize, usize)) -> Self {
        let mut numbers = vec![[[0.0; GROUP]; GROUPS]; out.div_ceil(PANEL) * width];
        for (row, weights) in weight.chunks_exact(width).enumerate() {
            let panel = numbers.iter_mut().skip(row / PANEL * width);
            for (wide, number) in panel.zip(weights) {
                if let Some(place) = wide.as_flattened_mut().get_mut(row % PANEL) {
                    *place = *number;
                }
            }
        }
        Self { numbers: Numbers::Plain(numbers), out, width }
    }

    /// Lays out the blocks of a weight (out, in) in Q8_0, or nothing where they are not whole.
    pub(super) fn q8_0(bytes: &[u8], (out, width): (usize, usize)) -> Option<Self> {
        if !width.is_multiple_of(BLOCK) || bytes.len() != out * width / BLOCK * BLOCK_BYTES {
            return None;
        }
        let panels = out.div_ceil(PANEL);
        let mut numbers = vec![[0; PANEL]; panels * width];
        let mut scales = vec![[[0.0; GROUP]; GROUPS]; panels * width / BLOCK];
        for (row, blocks) in bytes.chunks_exact(width / BLOCK * BLOCK_BYTES).enumerate() {
            let (panel, column) = (row / PANEL, row % PANEL);
            let scales = scales.iter_mut().skip(panel * width / BLOCK);
            let numbers = numbers.get_mut(panel * width..)?.chunks_mut(BLOCK);
            for ((block, scale), numbers) in blocks.chunks_exact(BLOCK_BYTES).zip(scales).zip(numbers) {
                let (first, rest) = block.split_first_chunk::<2>()?;
                *scale.as_flattened_mut().get_mut(column)? = half::f16::from_le_bytes(*first).to_f32();
                for (byte, wide) in rest.iter().zip(numbers) {
                    *wide.get_mut(column)? = byte.cast_signed();
                }
            }
        }
        Some(Self { numbers: Numbers::Packed(numbers, scales), out, width })
    }

    /// Multiplies rows (rows, in) and returns (rows, out).
    pub(super) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.width.max(1);
        let panels = self.out.div_ceil(PANEL);
        let threads = if rows * self.out * self.width < LEAST_SHARED { 1 } else { get_num_threads() };
        let mut y = vec![0.0; rows * self.out];
        if threads > 1 && rows < MANY_ROWS {
            let mut sums = vec![[[0.0; GROUP]; GROUPS]; panels * rows];
            let shares: Vec<_> = sums.chunks_mut(rows.max(1)).map(Mutex::new).collect();
            barrier_pool().execute_chunked(panels, |mine| {
                for (panel, share) in shares.iter().enumerate().skip(mine.start).take(mine.len()) {
                    self.panel(panel, x, &mut share.lock().unwrap_or_else(PoisonError::into_inner));
                }
            });
            for (panel, sums) in sums.chunks(rows.max(1)).enumerate() {
                put(&mut y, self.out, panel, sums);
            }
            return y;
        }
        let of_share = rows.div_ceil(threads).next_multiple_of(AT_A_TIME);
        let shares: Vec<_> = y.chunks_mut(of_share * self.out).zip(x.chunks(of_share * self.width)).collect();
        let shares: Vec<_> = shares.into_iter().map(Mutex::new).collect();
        let work = |share: &Mutex<(&mut [f32], &[f32])>| {
            let (y, x) = &mut *share.lock().unwrap_or_else(PoisonError::into_inner);
            let mut sums = vec![[[0.0; GROUP]; GROUPS]; x.len() / self.width];
            for panel in 0..panels {
                sums.fill([[0.0; GROUP]; GROUPS]);
                self.panel(panel, x, &mut sums);
                put(y, self.out, panel, &sums);
            }
        };
        if shares.len() < 2 {
            shares.iter().for_each(work);
        } else {
            barrier_pool().execute_chunked(shares.len(), |mine| {
                shares.iter().skip(mine.start).take(mine.len()).for_each(work);
            });
        }
        y
    }

    /// Adds the products of all rows with a panel to sums that are 0.
    fn panel(&self, panel: usize, x: &[f32], sums: &mut [Wide]) {
        let (width, from) = (self.width, panel * self.width);
        match &self.numbers {
            Numbers::Plain(numbers) => {
                let numbers = numbers.get(from..from + width).unwrap_or_default();
                plain(x, width, numbers, sums);
            }
            Numbers::Packed(numbers, scales) => {
                let numbers = numbers.get(from..from + width).unwrap_or_default();
                let scales = scales.get(from / BLOCK..(from + width) / BLOCK).unwrap_or_default();
                packed(x, width, numbers, scales, sums);
            }
        }
    }
}

/// Puts a panel's sums where they belong: the last panel may have fewer outputs.
fn put(y: &mut [f32], out: usize, panel: usize, sums: &[Wide]) {
    for (y, sums) in y.chunks_exact_mut(out).zip(sums) {
        let places = y.iter_mut().skip(panel * PANEL);
        places.zip(sums.as_flattened()).for_each(|(place, sum)| *place = *sum);
    }
}

/// Multiplies rows with weights a slab at a time, so that they stay in the first cache for all rows.
fn plain(x: &[f32], width: usize, numbers: &[Wide], sums: &mut [Wide]) {
    // What few rows read once need not stay there.
    let slab = if sums.len() > AT_A_TIME { SLAB } else { width };
    let mut from = 0;
    for numbers in numbers.chunks(slab.max(1)) {
        Arch::new().dispatch(Rows { x, width, from, numbers, sums });
        from += numbers.len();
    }
}

fn packed(x: &[f32], width: usize, numbers: &[Packed], scales: &[Wide], sums: &mut [Wide]) {
    if sums.len() <= FEW {
        return match sums.len() {
            1 => few::<1>(x, width, numbers, scales, sums),
            2 => few::<2>(x, width, numbers, scales, sums),
            3 => few::<3>(x, width, numbers, scales, sums),
            _ => few::<4>(x, width, numbers, scales, sums),
        };
    }
    let mut slab = [[[0.0; GROUP]; GROUPS]; SLAB];
    let mut from = 0;
    for (numbers, scales) in numbers.chunks(SLAB).zip(scales.chunks(SLAB / BLOCK)) {
        unpack(numbers, scales, &mut slab);
        let numbers = slab.get(..numbers.len()).unwrap_or_default();
        Arch::new().dispatch(Rows { x, width, from, numbers, sums });
        from += numbers.len();
    }
}

// Plain loops: a closure that is passed on is compiled for the least of all processors.

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma", "x86_64+avx2+fma", "aarch64+neon"))]
fn unpack(numbers: &[Packed], scales: &[Wide], slab: &mut [Wide]) {
    for ((numbers, scale), slab) in numbers.chunks(BLOCK).zip(scales).zip(slab.chunks_mut(BLOCK)) {
        for (packed, wide) in numbers.iter().zip(slab) {
            let (packed, wide, scale) = (packed.as_slice(), wide.as_flattened_mut(), scale.as_flattened());
            for ((number, place), scale) in packed.iter().zip(wide).zip(scale) {
                *place = f32::from(*number) * scale;
            }
        }
    }
}

/// Multiplies a few rows with packed weights, which are unpacked on the way.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma", "x86_64+avx2+fma", "aarch64+neon"))]
#[allow(clippy::indexing_slicing, reason = "all bounds are known: constants, and rows as long as the numbers")]
fn few<const ROWS: usize>(x: &[f32], width: usize, numbers: &[Packed], scales: &[Wide], sums: &mut [Wide]) {
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for (row, x) in rows.iter_mut().zip(x.chunks_exact(width)) {
        *row = x;
    }
    if rows.iter().any(|row| row.len() != numbers.len()) {
        return;
    }
    let mut held = [[0.0_f32; PANEL]; ROWS];
    for (block, (numbers, scale)) in numbers.chunks(BLOCK).zip(scales).enumerate() {
        let scale = scale.as_flattened();
        for (place, packed) in numbers.iter().enumerate() {
            let mut weights = [0.0_f32; PANEL];
            for lane in 0..PANEL {
                weights[lane] = f32::from(packed[lane]) * scale[lane];
            }
            for row in 0..ROWS {
                let x = rows[row][block * BLOCK + place];
                for lane in 0..PANEL {
                    held[row][lane] = x.mul_add(weights[lane], held[row][lane]);
                }
            }
        }
    }
    for (sums, held) in sums.iter_mut().zip(&held) {
        sums.as_flattened_mut().copy_from_slice(held);
    }
}

/// Rows that are multiplied with some of a panel's weights and added to their sums.
struct Rows<'a> {
    x: &'a [f32],
    width: usize,
    /// Which input the weights begin with.
    from: usize,
    numbers: &'a [Wide],
    sums: &'a mut [Wide],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums of six rows, their weights and one input fill the registers: there are 32, or 16 of eight numbers.
        if S::F32_LANES == 8 { self.all::<S, 2>(simd) } else { self.all::<S, 4>(simd) }
    }
}

impl Rows<'_> {
    /// Goes through the rows, as many at a time as there are registers for.
    #[inline(always)]
    fn all<S: Simd, const AT_ONCE: usize>(self, simd: S) {
        let Self { mut x, width, from, numbers, mut sums } = self;
        loop {
            let taken = match sums.len() {
                0 => return,
                // Twice four, not six and two.
                8 => 4,
                AT_A_TIME.. => AT_A_TIME,
                4 | 5 => 4,
                left => left,
            };
            let (Some((now, later)), Some((mine, rest))) =
                (x.split_at_checked(taken * width), sums.split_at_mut_checked(taken))
            else {
                return;
            };
            let now = Rows { x: now, width, from, numbers, sums: mine };
            match taken {
                6 => now.some::<S, 6, AT_ONCE>(simd),
                4 => now.some::<S, 4, AT_ONCE>(simd),
                3 => now.some::<S, 3, AT_ONCE>(simd),
                2 => now.some::<S, 2, AT_ONCE>(simd),
                _ => now.some::<S, 1, AT_ONCE>(simd),
            }
            (x, sums) = (later, rest);
        }
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "all bounds are known: constants, and rows as long as the numbers")]
    fn some<S: Simd, const ROWS: usize, const AT_ONCE: usize>(self, simd: S) {
        let Self { x, width, from, numbers, sums } = self;
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (row, x) in rows.iter_mut().zip(x.chunks_exact(width)) {
            *row = x.get(from..from + numbers.len()).unwrap_or_default();
        }
        if rows.iter().any(|row| row.len() != numbers.len()) {
            return;
        }
        let (weights, _) = S::as_simd_f32s(numbers.as_flattened().as_flattened());
        let per_panel = PANEL / S::F32_LANES;
        for group in (0..per_panel).step_by(AT_ONCE) {
            let mut held = [[simd.splat_f32s(0.0); AT_ONCE]; ROWS];
            for (held, sums) in held.iter_mut().zip(&*sums) {
                let (sums, _) = S::as_simd_f32s(sums.as_flattened());
                held.copy_from_slice(&sums[group..group + AT_ONCE]);
            }
            for (place, weights) in weights.chunks_exact(per_panel).enumerate() {
                let mut some = [simd.splat_f32s(0.0); AT_ONCE];
                some.copy_from_slice(&weights[group..group + AT_ONCE]);
                for row in 0..ROWS {
                    let x = simd.splat_f32s(rows[row][place]);
                    for at in 0..AT_ONCE {
                        held[row][at] = simd.mul_add_f32s(x, some[at], held[row][at]);
                    }
                }
            }
            for (held, sums) in held.iter().zip(sums.iter_mut()) {
                let (sums, _) = S::as_mut_simd_f32s(sums.as_flattened_mut());
                sums[group..group + AT_ONCE].copy_from_slice(held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::dice::Dice;

    fn random(seed: u64, count: usize) -> Vec<f32> {
        let mut dice = Dice::new(seed);
        (0..count).map(|_| dice.normal() as f32).collect()
    }

    fn check(panels: &Panels, weight: &Tensor, rows: usize) {
        let (out, width) = weight.dims2().unwrap();
        let x = random(2, rows * width);
        let y = panels.multiply(&x);
        let expected =
            Tensor::from_slice(&x, (rows, width), &Device::Cpu).unwrap().matmul(&weight.t().unwrap()).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(y.len(), expected.len());
        for (y, expected) in y.iter().zip(expected) {
            assert!((y - expected).abs() < 1e-3, "{y}, not {expected}: {out} by {width}, {rows} rows");
        }
        for (row, x) in x.chunks(width).enumerate() {
            assert_eq!(panels.multiply(x), y[row * out..(row + 1) * out], "row {row} of {rows} alone");
        }
    }

    #[test]
    fn rows_are_multiplied_and_give_the_same_bits_alone_and_among_others() {
        for (out, width) in [(1, 1), (64, 96), (65, 100), (200, 32), (192, 576), (640, 640)] {
            let numbers = random(1, out * width);
            let weight = Tensor::from_slice(&numbers, (out, width), &Device::Cpu).unwrap();
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 61, MANY_ROWS - 1, MANY_ROWS + 3] {
                check(&Panels::plain(&numbers, (out, width)), &weight, rows);
            }
        }
    }

    #[test]
    fn quantized_rows_are_those_of_the_numbers_that_the_blocks_say() {
        for (out, width) in [(1, 32), (64, 96), (65, 128), (192, 576), (640, 640)] {
            let weight = Tensor::from_vec(random(1, out * width), (out, width), &Device::Cpu).unwrap();
            let quantized = QTensor::quantize(&weight, GgmlDType::Q8_0).unwrap();
            let panels = Panels::q8_0(&quantized.data().unwrap(), (out, width)).unwrap();
            let weight = quantized.dequantize(&Device::Cpu).unwrap();
            for rows in [1, 2, 3, 4, 5, 8, 33, MANY_ROWS + 3] {
                check(&panels, &weight, rows);
            }
        }
    }

    #[test]
    fn blocks_that_are_not_whole_are_not_taken() {
        assert!(Panels::q8_0(&[0; 34], (1, 32)).is_some());
        assert!(Panels::q8_0(&[0; 33], (1, 32)).is_none());
        assert!(Panels::q8_0(&[0; 34], (1, 31)).is_none());
    }
}
