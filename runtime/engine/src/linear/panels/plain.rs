//! Weights in F32.

use pulp::{Arch, Simd, WithSimd};

use super::{AT_A_TIME, GROUP, GROUPS, Group, PANEL, Wide, call_for, parted};

/// Inputs whose weights stay in the first cache while many rows are multiplied with them.
const SLAB: usize = 96;
/// How many inputs before their use the weights of few rows are called for.
const AHEAD: usize = 16;

/// The numbers of all panels, input by input.
#[derive(Debug)]
pub(super) struct Plain {
    numbers: Vec<Wide>,
    width: usize,
}

impl Plain {
    pub(super) fn new(weight: &[f32], (out, width): (usize, usize)) -> Self {
        let mut numbers = vec![[[0.0; GROUP]; GROUPS]; out.div_ceil(PANEL) * width];
        for (row, weights) in weight.chunks_exact(width).enumerate() {
            let panel = numbers.iter_mut().skip(row / PANEL * width);
            for (wide, number) in panel.zip(weights) {
                if let Some(place) = wide.as_flattened_mut().get_mut(row % PANEL) {
                    *place = *number;
                }
            }
        }
        Self { numbers, width }
    }

    /// Adds the products of all rows of `x` with a panel to their sums.
    ///
    /// Weights are called for before they are used. Few rows are as fast as memory gives them, and the next slab comes while many rows
    /// are multiplied with this one.
    pub(super) fn multiply(&self, panel: usize, x: &[f32], sums: &mut [Wide]) {
        let (width, end) = (self.width, (panel + 1) * self.width);
        let (slab, ahead) = match sums.len() {
            // The processor sees by itself what one row reads.
            1 => (width, usize::MAX),
            ..=AT_A_TIME => (width, AHEAD),
            _ => (SLAB, SLAB),
        };
        let mut from = 0;
        while from < width {
            let start = panel * width + from;
            let numbers = self.numbers.get(start..end.min(start + slab)).unwrap_or_default();
            let ahead = self.numbers.get(start.saturating_add(ahead)..).unwrap_or_default();
            let ahead = ahead.get(..numbers.len()).unwrap_or(ahead).as_flattened();
            for (x, ahead, sums) in parted(x, ahead, sums) {
                Arch::new().dispatch(Rows { x, from, numbers, ahead, sums });
            }
            from += numbers.len().max(1);
        }
    }
}

/// Some rows that are multiplied with some of a panel's weights and added to their sums.
struct Rows<'a> {
    x: &'a [f32],
    /// Which input the weights begin with.
    from: usize,
    numbers: &'a [Wide],
    /// What is called for meanwhile.
    ahead: &'a [Group],
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
    #[inline(always)]
    fn all<S: Simd, const AT_ONCE: usize>(self, simd: S) {
        match self.sums.len() {
            6 => self.some::<S, 6, AT_ONCE>(simd),
            4 => self.some::<S, 4, AT_ONCE>(simd),
            3 => self.some::<S, 3, AT_ONCE>(simd),
            2 => self.some::<S, 2, AT_ONCE>(simd),
            _ => self.some::<S, 1, AT_ONCE>(simd),
        }
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "all bounds are known: constants, and rows as long as the numbers")]
    fn some<S: Simd, const ROWS: usize, const AT_ONCE: usize>(self, simd: S) {
        let Self { x, from, numbers, ahead, sums } = self;
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (row, x) in rows.iter_mut().zip(x.chunks_exact((x.len() / ROWS).max(1))) {
            *row = x.get(from..from + numbers.len()).unwrap_or_default();
        }
        if rows.iter().any(|row| row.len() != numbers.len()) {
            return;
        }
        let (weights, _) = S::as_simd_f32s(numbers.as_flattened().as_flattened());
        let per_panel = PANEL / S::F32_LANES;
        let mut ahead = ahead.chunks(ahead.len().div_ceil(numbers.len().max(1)).max(1));
        for group in (0..per_panel).step_by(AT_ONCE) {
            let mut held = [[simd.splat_f32s(0.0); AT_ONCE]; ROWS];
            for (held, sums) in held.iter_mut().zip(&*sums) {
                let (sums, _) = S::as_simd_f32s(sums.as_flattened());
                held.copy_from_slice(&sums[group..group + AT_ONCE]);
            }
            for (place, weights) in weights.chunks_exact(per_panel).enumerate() {
                for line in ahead.next().unwrap_or_default() {
                    call_for(line);
                }
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
