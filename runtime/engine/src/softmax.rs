//! Softmax over rows on the processor, many numbers at once: the library's own takes one at a time, and would take a third of the
//! time of reading a long text.
//!
//! A row gives the same bits whatever is beside it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use multiversion::multiversion;

use crate::held::numbers;

/// Numbers that are taken at once.
const LANES: usize = 16;

/// Softmax over the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { x.contiguous()?.apply_op1_no_bwd(&Softmax) } else { candle_nn::ops::softmax_last_dim(x) }
}

/// Softmax of one row, in place.
pub(crate) fn soften(row: &mut [f32]) {
    all_rows(row, row.len());
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2", "aarch64+neon"))]
fn all_rows(numbers: &mut [f32], width: usize) {
    for row in numbers.chunks_exact_mut(width.max(1)) {
        let mut tops = [f32::NEG_INFINITY; LANES];
        for some in row.chunks(LANES) {
            for (top, x) in tops.iter_mut().zip(some) {
                *top = if *x > *top { *x } else { *top };
            }
        }
        let top = tops.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0_f32; LANES];
        for some in row.chunks_mut(LANES) {
            for (sum, x) in sums.iter_mut().zip(some) {
                *x = exp(*x - top);
                *sum += *x;
            }
        }
        let share = 1.0 / sums.iter().sum::<f32>();
        for x in row {
            *x *= share;
        }
    }
}

/// `e^x` for x of at most about 88, within two units of the last place; 0 far below. The standard one takes one number at a time.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding it leaves the whole part of a number in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let powers = (x * std::f32::consts::LOG2_E).max(-126.0);
    let shifted = powers + SHIFT;
    let part = powers - (shifted - SHIFT);
    // 2^part for a part of at most a half, by its series.
    let series = [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0];
    let value = series.into_iter().fold(0.0, |sum, term| sum * part + term);
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127) << 23;
    let value = value * f32::from_bits(exponent);
    if x > -87.0 { value } else { 0.0 }
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = numbers(storage, layout)?.to_vec();
        all_rows(&mut out, layout.dims().last().copied().unwrap_or(1));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::dice::Dice;

    #[test]
    fn rows_are_softened_as_the_library_does_it() {
        let mut dice = Dice::new(1);
        for (rows, width) in [(1, 1), (3, 7), (2, 16), (5, 33), (4, 1000)] {
            let mut numbers: Vec<f32> = (0..rows * width).map(|_| (dice.normal() * 20.0) as f32).collect();
            // What is hidden counts for nothing.
            numbers.iter_mut().skip(1).step_by(5).for_each(|x| *x = f32::NEG_INFINITY);
            numbers.iter_mut().step_by(width).for_each(|x| *x = 1.0);
            let x = Tensor::from_slice(&numbers, (rows, width), &Device::Cpu).unwrap();
            let ours = softmax(&x).unwrap();
            let theirs = candle_nn::ops::softmax_last_dim(&x).unwrap();
            let off = (&ours - theirs).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(off < 1e-6, "{rows} by {width}: {off}");
            let last = softmax(&x.narrow(0, rows - 1, 1).unwrap()).unwrap();
            let bits = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(bits(last), bits(ours.narrow(0, rows - 1, 1).unwrap()));
        }
    }
}
