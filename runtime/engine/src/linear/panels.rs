//! Rows times a linear layer, where most of a model's time goes.
//!
//! The weight lies in panels of 64 outputs, in the order in which it is read, so that one row is as fast as memory gives the
//! weight, and many rows are as fast as the processor multiplies.
//!
//! Each output is one sum in the order of the inputs, whatever is multiplied beside it: a row gives the same bits alone, among
//! others, and on any number of threads. Answers that are given together are those that are given alone for that reason.

mod eights;
mod plain;

use std::borrow::Cow;

use crate::threads::{share_out, threads};

use eights::Eights;
use plain::Plain;

/// Outputs of a panel, in groups that a register holds.
const GROUPS: usize = 4;
const GROUP: usize = 16;
const PANEL: usize = GROUPS * GROUP;
/// Rows that have a register for each group of their outputs.
const AT_A_TIME: usize = 6;
/// With fewer products than these, waking another thread takes longer than they do.
const LEAST_SHARED: usize = 1 << 18;
/// From so many rows on, threads share the rows; below, the panels.
const MANY_ROWS: usize = 128;

type Group = [f32; GROUP];
/// The outputs of a panel for one row, or its weights for one input.
type Wide = [Group; GROUPS];

/// A linear layer's weight, in the order in which it is multiplied.
#[derive(Debug)]
pub(super) struct Panels {
    numbers: Numbers,
    out: usize,
    width: usize,
}

#[derive(Debug)]
enum Numbers {
    Plain(Plain),
    Eights(Eights),
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
        Self { numbers: Numbers::Plain(Plain::new(weight, (out, width))), out, width }
    }

    /// Lays out the blocks of a weight (out, in) in Q8_0, or nothing where they are not whole.
    pub(super) fn q8_0(bytes: &[u8], (out, width): (usize, usize)) -> Option<Self> {
        Some(Self { numbers: Numbers::Eights(Eights::new(bytes, (out, width))?), out, width })
    }

    /// Multiplies rows (rows, in) and returns (rows, out).
    pub(super) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let shape = (x.len() / self.width.max(1), self.width, self.out);
        match &self.numbers {
            Numbers::Plain(numbers) => {
                in_panels(x, shape, |x| Cow::Borrowed(x), |panel, x, sums| numbers.multiply(panel, x, sums))
            }
            Numbers::Eights(numbers) => {
                in_panels(x, shape, |x| eights::blocks(x).into(), |panel, x, sums| numbers.multiply(panel, x, sums))
            }
        }
    }
}

/// Goes through the panels of a weight for (rows, in, out), on as many threads as are worth it. `ready` makes of rows what
/// `multiply` takes, which adds the products of some of them with a panel to sums that are 0.
fn in_panels<T: Clone + Sync>(
    x: &[f32],
    (rows, width, out): (usize, usize, usize),
    ready: impl Fn(&[f32]) -> Cow<'_, [T]> + Sync,
    multiply: impl Fn(usize, &[T], &mut [Wide]) + Sync,
) -> Vec<f32> {
    let panels = out.div_ceil(PANEL);
    let threads = if rows * out * width < LEAST_SHARED { 1 } else { threads() };
    let mut y = vec![0.0; rows * out];
    if rows == 0 {
        return y;
    }
    if threads > 1 && rows < MANY_ROWS {
        let x = ready(x);
        let mut sums = vec![[[0.0; GROUP]; GROUPS]; panels * rows];
        share_out(sums.chunks_mut(rows).collect(), true, |panel, sums| multiply(panel, &x, sums));
        for (panel, sums) in sums.chunks(rows).enumerate() {
            put(&mut y, out, panel, sums);
        }
        return y;
    }
    let of_share = rows.div_ceil(threads).next_multiple_of(AT_A_TIME);
    let shares = y.chunks_mut(of_share * out).zip(x.chunks(of_share * width)).collect();
    share_out(shares, threads > 1, |_, (y, x)| {
        let x = ready(x);
        let mut sums = vec![[[0.0; GROUP]; GROUPS]; y.len() / out];
        for panel in 0..panels {
            sums.fill([[0.0; GROUP]; GROUPS]);
            multiply(panel, &x, &mut sums);
            put(y, out, panel, &sums);
        }
    });
    y
}

/// Parts rows into as many at a time as have registers. Each part has a share of what is to be called for meanwhile, but for the
/// first of many, which waits for its own weights.
fn parted<'a, T, L>(
    mut x: &'a [T],
    mut ahead: &'a [L],
    mut sums: &'a mut [Wide],
) -> impl Iterator<Item = (&'a [T], &'a [L], &'a mut [Wide])> {
    let width = x.len() / sums.len().max(1);
    let parts = sums.len().div_ceil(AT_A_TIME).saturating_sub(1);
    let each = ahead.len().div_ceil(parts.max(1));
    let mut share = if parts == 0 { each } else { 0 };
    std::iter::from_fn(move || {
        let taken = match sums.len() {
            0 => return None,
            // Twice four, not six and two.
            4 | 5 | 8 => 4,
            left => left.min(AT_A_TIME),
        };
        let now =
            (x.split_off(..taken * width)?, ahead.split_off(..share.min(ahead.len()))?, sums.split_off_mut(..taken)?);
        share = each;
        Some(now)
    })
}

/// Has the memory bring a line into the second cache, and does not wait for it.
#[inline(always)]
fn call_for<T>(line: &T) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "it reads nothing and changes nothing, whatever the address")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Puts a panel's sums where they belong: the last panel may have fewer outputs.
fn put(y: &mut [f32], out: usize, panel: usize, sums: &[Wide]) {
    for (y, sums) in y.chunks_exact_mut(out).zip(sums) {
        let places = y.iter_mut().skip(panel * PANEL);
        places.zip(sums.as_flattened()).for_each(|(place, sum)| *place = *sum);
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

    /// Checks the products of chance rows against candle's, up to a share of the longest of them, and each row alone.
    fn check(panels: &Panels, weight: &Tensor, rows: usize, most: f32) {
        let (out, width) = weight.dims2().unwrap();
        let x = random(2, rows * width);
        let y = panels.multiply(&x);
        let expected =
            Tensor::from_slice(&x, (rows, width), &Device::Cpu).unwrap().matmul(&weight.t().unwrap()).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(y.len(), expected.len());
        let most = most * (width as f32).sqrt();
        for (y, expected) in y.iter().zip(expected) {
            assert!((y - expected).abs() < most, "{y}, not {expected}: {out} by {width}, {rows} rows");
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
                check(&Panels::plain(&numbers, (out, width)), &weight, rows, 1e-4);
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
                // A row's own rounding: half of a 127th of its longest number, by chance up or down.
                check(&panels, &weight, rows, 0.05);
            }
        }
    }

    #[test]
    fn blocks_that_are_not_whole_are_not_taken() {
        assert!(Panels::q8_0(&[0; 34], (1, 32)).is_some());
        assert!(Panels::q8_0(&[0; 33], (1, 32)).is_none());
        assert!(Panels::q8_0(&[0; 34], (1, 31)).is_none());
    }

    #[test]
    fn nothing_times_a_layer_is_nothing() {
        assert!(Panels::plain(&[1.0; 64], (2, 32)).multiply(&[]).is_empty());
        assert!(Panels::q8_0(&[0; 34], (1, 32)).unwrap().multiply(&[]).is_empty());
    }
}
