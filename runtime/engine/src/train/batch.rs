//! Rows of a lesson, laid side by side as tensors.

use std::ops::Range;

use candle_core::{D, Device, Tensor};

use crate::error::{Error, Result};
use crate::lesson::{AnswerTargets, Row};
use crate::rope::Rope;
use crate::softmax::soften;

/// Rows of one lesson: what they tell, and what they ask, each padded to one length.
pub struct Batch {
    pub(super) told: Part,
    pub(super) asked: Part,
    /// Which flat places of what is asked have a target.
    pub(super) places: Tensor,
    targets: Tensor,
    target_list: Vec<u32>,
    answers: Vec<AnswerTargets>,
    pub(super) rows: usize,
}

/// One of the two parts of all rows.
pub(super) struct Part {
    /// (rows * length)
    pub(super) tokens: Tensor,
    /// What each place sees, of what is told and then of its own part: (rows, 1, length, places), 0 or minus infinity.
    pub(super) mask: Tensor,
    /// (rows, length, half a head)
    pub(super) cosines: Tensor,
    pub(super) sines: Tensor,
    pub(super) length: usize,
}

impl Batch {
    /// Lays rows side by side.
    ///
    /// # Errors
    /// `Invalid` where no row asks for anything, or where one asks before it has told all.
    pub fn new(rows: &[Row], rope: &Rope, padding: u32) -> Result<Self> {
        let told: Vec<usize> = rows.iter().map(|row| row.groups.iter().filter(|group| **group >= 0).count()).collect();
        let told_length = told.iter().copied().max().unwrap_or(0);
        let asked_length = rows.iter().zip(&told).map(|(row, told)| row.tokens.len() - told).max().unwrap_or(0);
        let (mut places, mut targets, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (row, told)) in rows.iter().zip(&told).enumerate() {
            for (place, target) in &row.targets {
                let place = place.checked_sub(*told);
                let place = place.ok_or_else(|| Error::invalid("a lesson asks before it has told all"))?;
                places.push(u32::try_from(number * asked_length + place).unwrap_or(u32::MAX));
                targets.push(*target);
            }
            answers.extend(&row.answers);
        }
        if targets.is_empty() {
            return Err(Error::invalid("a lesson asks for nothing, give its rows answers"));
        }
        let first: Vec<Range<usize>> = told.iter().map(|told| 0..*told).collect();
        let then: Vec<Range<usize>> = rows.iter().zip(&told).map(|(row, told)| *told..row.tokens.len()).collect();
        Ok(Self {
            told: Part::new(rows, &first, told_length, None, rope, padding)?,
            asked: Part::new(rows, &then, asked_length, Some((&first, told_length)), rope, padding)?,
            places: Tensor::new(places, &Device::Cpu)?,
            targets: Tensor::new(targets.as_slice(), &Device::Cpu)?,
            target_list: targets,
            answers,
            rows: rows.len(),
        })
    }

    /// Returns how many tokens are read, padding too.
    pub fn tokens(&self) -> usize {
        self.rows * (self.told.length + self.asked.length)
    }

    /// Returns the mean surprise at the answers.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(candle_nn::loss::cross_entropy(logits, &self.targets)?)
    }

    /// Returns how likely each token should be at each place (places, tokens): the answer's alone where it is to be learnt, and as
    /// likely as for the base where it is kept.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn expected_beside(&self, base: &Tensor) -> Result<Tensor> {
        let tokens = base.dim(1)?;
        let mut expected: Vec<f32> = base.flatten_all()?.to_vec1()?;
        let kept = self.answers.iter().flat_map(|answer| std::iter::repeat_n(answer.is_kept, answer.count));
        for ((row, target), is_kept) in expected.chunks_exact_mut(tokens).zip(&self.target_list).zip(kept) {
            if is_kept {
                soften(row);
            } else {
                row.fill(0.0);
                row.get_mut(*target as usize).into_iter().for_each(|share| *share = 1.0);
            }
        }
        Ok(Tensor::from_vec(expected, base.shape().clone(), &Device::Cpu)?)
    }

    /// Returns for each answer whether all of it would have been said.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn right(&self, logits: &Tensor) -> Result<Vec<bool>> {
        let said: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        Ok(self.compare(&said, &self.target_list).into_iter().map(|(_, is_same)| is_same).collect())
    }

    /// Returns for each answer whether it is one that is kept, and whether all of it is as it should be.
    ///
    /// # Errors
    /// `Unavailable` when memory runs out.
    pub fn right_beside(&self, logits: &Tensor, base: &Tensor) -> Result<Vec<(bool, bool)>> {
        let said: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
        let before: Vec<u32> = base.argmax(D::Minus1)?.to_vec1()?;
        let as_before = self.compare(&said, &before);
        let pairs = self.compare(&said, &self.target_list).into_iter().zip(as_before);
        Ok(pairs.map(|(learnt, kept)| if learnt.0 { kept } else { learnt }).collect())
    }

    fn compare(&self, said: &[u32], expected: &[u32]) -> Vec<(bool, bool)> {
        let mut pairs = said.iter().zip(expected);
        let answers = self.answers.iter();
        answers
            .map(|answer| (answer.is_kept, pairs.by_ref().take(answer.count).filter(|(a, b)| a != b).count() == 0))
            .collect()
    }
}

impl Part {
    fn new(
        rows: &[Row],
        ranges: &[Range<usize>],
        length: usize,
        before: Option<(&[Range<usize>], usize)>,
        rope: &Rope,
        padding: u32,
    ) -> Result<Self> {
        let device = Device::Cpu;
        let (mut tokens, mut positions, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        let (before, before_length) = before.unwrap_or((&[], 0));
        for (number, (row, range)) in rows.iter().zip(ranges).enumerate() {
            let own = |list: &[u32]| list.get(range.clone()).unwrap_or_default().to_vec();
            let missing = length - range.len();
            tokens.extend(own(&row.tokens).into_iter().chain(std::iter::repeat_n(padding, missing)));
            let own = own(&row.positions);
            positions.extend(own.into_iter().map(i64::from).chain(std::iter::repeat_n(0, missing)));
            // Where each place of the row stands that may be seen; nothing for padding.
            let laid = |range: Range<usize>, length: usize| {
                let missing = length - range.len();
                range.map(Some).chain(std::iter::repeat_n(None, missing))
            };
            let told = before.get(number).cloned().unwrap_or(0..0);
            let seen: Vec<Option<usize>> = laid(told, before_length).chain(laid(range.clone(), length)).collect();
            for (number, place) in laid(range.clone(), length).enumerate() {
                mask.extend(seen.iter().enumerate().map(|(column, other)| {
                    let sees = match (place, other) {
                        (Some(place), Some(other)) => row.sees(place, *other),
                        // Padding sees itself, so that it sees something.
                        _ => place.is_none() && column == before_length + number,
                    };
                    if sees { 0.0 } else { f32::NEG_INFINITY }
                }));
            }
        }
        let (cosines, sines) = rope.rows(positions.into_iter(), &device)?;
        let half = cosines.dim(1)?;
        Ok(Self {
            tokens: Tensor::from_vec(tokens, rows.len() * length, &device)?,
            mask: Tensor::from_vec(mask, (rows.len(), 1, length, before_length + length), &device)?,
            cosines: cosines.reshape((rows.len(), length, half))?,
            sines: sines.reshape((rows.len(), length, half))?,
            length,
        })
    }
}
