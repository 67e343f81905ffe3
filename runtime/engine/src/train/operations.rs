//! Operations with gradients, each in one pass over its numbers: softmax under a mask, the root-mean-square norm, and the turning
//! of heads by their positions.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Softmax over the last dimension of scores (batch, heads, rows, places), after scaling, where a mask (batch, 1, rows, places)
/// of 0 and minus infinity is added.
pub(super) fn masked_softmax(scores: &Tensor, mask: &Tensor, scale: f32) -> Result<Tensor> {
    scores.apply_op2(mask, MaskedSoftmax { scale })
}

/// `x` over its root mean square, times a weight; over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    // The weight stays outside: its product has a gradient of its own.
    x.apply_op1(RmsNorm { epsilon })?.broadcast_mul(weight)
}

/// Turns heads (batch, places, heads, size) by cosines and sines (batch, places, size / 2).
pub(super) fn turn(x: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    x.apply_op3(cosines, sines, Turn)
}

fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(all) = storage else { bail!("training is in F32") };
    let Some((from, to)) = layout.contiguous_offsets() else { bail!("training needs tensors that are contiguous") };
    all.get(from..to).ok_or_else(|| candle_core::Error::Msg("a tensor's layout is outside of its storage".to_owned()))
}

struct MaskedSoftmax {
    scale: f32,
}

impl CustomOp2 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, heads, rows, places) = l1.shape().dims4()?;
        if l2.dims() != [batch, 1, rows, places] {
            bail!("a mask of {:?} does not fit scores of {:?}", l2.dims(), l1.dims());
        }
        let (scores, mask) = (numbers(s1, l1)?, numbers(s2, l2)?);
        let mut out = Vec::with_capacity(scores.len());
        let per_head = rows * places;
        for (number, head) in scores.chunks_exact(per_head).enumerate() {
            let from = number / heads * per_head;
            let mask = mask.get(from..from + per_head).unwrap_or_default();
            for (row, mask) in head.chunks_exact(places).zip(mask.chunks_exact(places)) {
                let seen = row.iter().zip(mask).filter(|(_, mask)| **mask == 0.0);
                let top = seen.map(|(score, _)| *score).fold(f32::NEG_INFINITY, f32::max);
                let begin = out.len();
                // Two plain passes: each becomes a few instructions for many numbers at once.
                out.extend(row.iter().zip(mask).map(|(score, mask)| exp((score - top) * self.scale + mask)));
                let sum: f32 = out.iter().skip(begin).sum();
                let share = 1.0 / sum;
                out.iter_mut().skip(begin).for_each(|weight| *weight *= share);
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let back = result.apply_op2_no_bwd(&gradient.contiguous()?, &SoftmaxBack { scale: self.scale })?;
        Ok((Some(back), None))
    }
}

/// `e^x` for x of at most about 88, within two units of the last place; 0 far below. The library's own takes one number at a time.
fn exp(x: f32) -> f32 {
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

struct SoftmaxBack {
    scale: f32,
}

impl CustomOp2 for SoftmaxBack {
    fn name(&self) -> &'static str {
        "softmax-back"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (weights, gradients) = (numbers(s1, l1)?, numbers(s2, l2)?);
        let places = l1.dims().last().copied().unwrap_or(1);
        let mut out = Vec::with_capacity(weights.len());
        for (weights, gradients) in weights.chunks_exact(places).zip(gradients.chunks_exact(places)) {
            let mean: f32 = weights.iter().zip(gradients).map(|(weight, gradient)| weight * gradient).sum();
            out.extend(weights.iter().zip(gradients).map(|(weight, gradient)| weight * (gradient - mean) * self.scale));
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }
}

struct RmsNorm {
    epsilon: f32,
}

fn scale_of(row: &[f32], epsilon: f32) -> f32 {
    let square: f32 = row.iter().map(|x| x * x).sum();
    1.0 / (square / row.len() as f32 + epsilon).sqrt()
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.dims().last().copied().unwrap_or(1);
        let all = numbers(storage, layout)?;
        let mut out = Vec::with_capacity(all.len());
        for row in all.chunks_exact(width) {
            let scale = scale_of(row, self.epsilon);
            out.extend(row.iter().map(|x| x * scale));
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(&gradient.contiguous()?, &NormBack { epsilon: self.epsilon })?))
    }
}

struct NormBack {
    epsilon: f32,
}

impl CustomOp2 for NormBack {
    fn name(&self) -> &'static str {
        "rms-norm-back"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (all, gradients) = (numbers(s1, l1)?, numbers(s2, l2)?);
        let width = l1.dims().last().copied().unwrap_or(1);
        let mut out = Vec::with_capacity(all.len());
        for (row, gradients) in all.chunks_exact(width).zip(gradients.chunks_exact(width)) {
            let scale = scale_of(row, self.epsilon);
            let along: f32 = row.iter().zip(gradients).map(|(x, gradient)| x * gradient).sum();
            let pull = along * scale * scale / width as f32;
            out.extend(row.iter().zip(gradients).map(|(x, gradient)| scale * (gradient - x * pull)));
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }
}

struct Turn;

impl CustomOp3 for Turn {
    fn name(&self) -> &'static str {
        "turn"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, _, heads, size) = l1.shape().dims4()?;
        let half = size / 2;
        let (all, cosines, sines) = (numbers(s1, l1)?, numbers(s2, l2)?, numbers(s3, l3)?);
        if all.len() != cosines.len() * heads * 2 || cosines.len() != sines.len() {
            bail!("positions of {:?} do not fit heads of {:?}", l2.dims(), l1.dims());
        }
        let mut out = Vec::with_capacity(all.len());
        for ((place, cosines), sines) in
            all.chunks_exact(heads * size).zip(cosines.chunks_exact(half)).zip(sines.chunks_exact(half))
        {
            for head in place.chunks_exact(size) {
                let (low, high) = head.split_at(half);
                let turned = || low.iter().zip(high).zip(cosines.iter().zip(sines));
                out.extend(turned().map(|((low, high), (cosine, sine))| low * cosine - high * sine));
                out.extend(turned().map(|((low, high), (cosine, sine))| low * sine + high * cosine));
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        cosines: &Tensor,
        sines: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // Turning back is turning by the opposite angle.
        let back = gradient.contiguous()?.apply_op3_no_bwd(cosines, &sines.neg()?, &Turn)?;
        Ok((Some(back), None, None))
    }
}
