//! Rows of a lesson, laid side by side as tensors.

use candle_core::{D, Device, Tensor};

use crate::error::{Error, Result};
use crate::lesson::Row;
use crate::rope::Rope;

/// Rows of one lesson, padded to one length.
pub struct Batch {
    pub(super) tokens: Tensor,
    pub(super) mask: Tensor,
    pub(super) cosines: Tensor,
    pub(super) sines: Tensor,
    /// 1 where a question or its answer stands, 0 elsewhere: (tokens, 1).
    pub(super) asked: Tensor,
    /// Which flat places are asked for.
    pub(super) places: Tensor,
    /// What is to follow there.
    targets: Tensor,
    target_list: Vec<u32>,
    answers: Vec<usize>,
    pub(super) rows: usize,
    pub(super) length: usize,
}

impl Batch {
    /// Lays rows side by side.
    ///
    /// # Errors
    /// `Invalid` where a row asks for nothing.
    pub fn new(rows: &[Row], rope: &Rope, padding: u32) -> Result<Self> {
        let device = Device::Cpu;
        let length = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
        let (mut tokens, mut mask, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut places, mut targets, mut answers, mut asked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let missing = length - row.tokens.len();
            tokens.extend(row.tokens.iter().copied().chain(std::iter::repeat_n(padding, missing)));
            positions.extend(row.positions.iter().map(|p| i64::from(*p)).chain(std::iter::repeat_n(0, missing)));
            asked.extend(row.groups.iter().map(|group| if *group < 0 { 1.0_f32 } else { 0.0 }));
            asked.extend(std::iter::repeat_n(0.0, missing));
            for place in 0..length {
                mask.extend((0..length).map(|other| if row.sees(place, other) { 0.0 } else { f32::NEG_INFINITY }));
            }
            for (place, target) in &row.targets {
                places.push(u32::try_from(number * length + place).unwrap_or(u32::MAX));
                targets.push(*target);
            }
            answers.extend(&row.answers);
        }
        if targets.is_empty() {
            return Err(Error::invalid("a lesson asks for nothing, give its rows answers"));
        }
        let (cosines, sines) = rope.rows(positions.into_iter(), &device)?;
        let half = cosines.dim(1)?;
        Ok(Self {
            tokens: Tensor::from_vec(tokens, rows.len() * length, &device)?,
            mask: Tensor::from_vec(mask, (rows.len(), 1, length, length), &device)?,
            cosines: cosines.reshape((rows.len(), length, half))?,
            sines: sines.reshape((rows.len(), length, half))?,
            asked: Tensor::from_vec(asked, (rows.len() * length, 1), &device)?,
            places: Tensor::new(places, &device)?,
            targets: Tensor::new(targets.as_slice(), &device)?,
            target_list: targets,
            answers,
            rows: rows.len(),
            length,
        })
    }

    /// Returns how many tokens are read, padding too.
    pub fn tokens(&self) -> usize {
        self.rows * self.length
    }

    /// Returns the mean surprise at the answers.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(candle_nn::loss::cross_entropy(logits, &self.targets)?)
    }

    /// Returns for each answer whether all of it would have been said.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn right(&self, logits: &Tensor) -> Result<Vec<bool>> {
        let said: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        let mut pairs = said.iter().zip(&self.target_list);
        Ok(self
            .answers
            .iter()
            .map(|length| pairs.by_ref().take(*length).filter(|(a, b)| a != b).count() == 0)
            .collect())
    }
}
