//! Joining segments that were made apart into one memory: each is moved behind the one before it, and mended.
//!
//! Turning its keys moves a segment exactly. But its first tokens were read as the beginning of a text, and a beginning draws
//! attention that it no longer should: so the first few tokens of each segment after the first are read again, behind what now
//! stands before them (Hu et al., EPIC, 2024, found this to be enough, and by how much is put on record). Only they are new: the
//! rest keeps its values without a copy, and its keys too where it need not be moved. Segments made as one are joined as they
//! are, bit for bit.

use std::sync::Arc;

use candle_core::Tensor;

use crate::adapter::AdapterMix;
use crate::cache::{Cache, KeysValues};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::fingerprint::of_tokens;
use crate::segment::{Context, Segment};

/// The most segments of one memory.
pub const MAX_JOINED: usize = 1024;

/// How many first tokens of a segment made apart are read again, where nobody asks for more.
pub const MENDED_TOKENS: usize = 2;

/// Several segments as one memory that begins at position 0.
#[derive(Debug)]
pub struct Joined {
    /// In the order of their positions.
    pub parts: Vec<Arc<KeysValues>>,
    /// What it took.
    pub report: JoinReport,
}

/// What joining took, and by how much reading again changed what was there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JoinReport {
    /// All tokens.
    pub tokens: usize,
    /// Tokens of segments that were moved.
    pub moved: usize,
    /// Tokens that were read again.
    pub mended: usize,
    /// The bytes that are new; all others are the segments' own.
    pub copied_bytes: usize,
    /// How far the keys and values of the mended tokens are from those that were moved: the length of the difference over theirs.
    pub change: f64,
}

impl Joined {
    /// Puts the memory at the beginning of a cache.
    ///
    /// # Errors
    /// `Mismatch` where something stands there.
    pub fn inject_into(&self, cache: &mut Cache) -> Result<()> {
        self.parts.iter().try_for_each(|part| cache.inject(part.clone()))
    }
}

impl Decoder {
    /// Joins segments in their order; of each that was made apart the first `mend` tokens are read again behind those before it.
    ///
    /// # Errors
    /// `Invalid` where there is none, too many, or the model has too few positions; `Mismatch` where one was made behind a text
    /// that does not stand before it here.
    pub fn joined(&self, segments: &[Segment], mend: usize) -> Result<Joined> {
        if segments.is_empty() || segments.len() > MAX_JOINED {
            return Err(Error::invalid(format!(
                "{} segments cannot be joined, give 1 to {MAX_JOINED}",
                segments.len()
            )));
        }
        let mut join = Join::default();
        for (number, segment) in segments.iter().enumerate() {
            self.join(&mut join, number, segment, mend)?;
        }
        join.report.tokens = join.tokens.len();
        join.report.change = if join.was > 0.0 { (join.off / join.was).sqrt() } else { 0.0 };
        Ok(Joined { parts: join.parts, report: join.report })
    }

    /// Reads a memory's tokens behind others, and returns their keys and values alone.
    ///
    /// # Errors
    /// As [`Decoder::step`]; `Mismatch` where the others do not begin at position 0 and follow each other.
    pub fn memorise_behind(&self, before: &[Arc<KeysValues>], tokens: &[u32]) -> Result<KeysValues> {
        let mut cache = self.cache();
        before.iter().try_for_each(|part| cache.inject(part.clone()))?;
        self.prefill(tokens, &mut cache, &AdapterMix::default())?;
        cache.export()?.ok_or_else(|| Error::invalid("a memory without tokens has no keys and values, give it text"))
    }

    fn join(&self, join: &mut Join, number: usize, segment: &Segment, mend: usize) -> Result<()> {
        let (made, position) = (segment.keys_values(), join.tokens.len());
        made.check(self.config())?;
        let is_as_made = match &segment.about().context {
            Context::Independent => position == 0 && made.position == 0,
            Context::Behind(before) if made.position == position && *before == of_tokens(&join.tokens) => true,
            Context::Behind(_) => {
                return Err(Error::mismatch(format!(
                    "segment {number} was made behind a text that does not stand before it here; join it behind that, or make \
                     it again by itself"
                )));
            }
        };
        // Also sees to it that the model has so many positions.
        let moved = self.moved(made, position)?;
        if is_as_made {
            join.parts.push(made.clone());
        } else {
            let is_moved = made.position != position;
            if is_moved {
                join.report.moved += made.tokens;
            }
            let mended = if position == 0 { 0 } else { mend.min(made.tokens) };
            if mended > 0 {
                let first = segment.tokens().get(..mended).unwrap_or_default();
                let read = self.memorise_behind(&join.parts, first)?;
                join.measure(&moved.part(0, mended)?, &read)?;
                join.report.mended += mended;
                join.report.copied_bytes += read.bytes();
                join.parts.push(Arc::new(read));
            }
            if mended < made.tokens {
                let rest = moved.part(mended, made.tokens - mended)?;
                join.report.copied_bytes += if is_moved { moved.bytes() / 2 } else { 0 };
                join.parts.push(Arc::new(rest));
            }
        }
        join.tokens.extend_from_slice(segment.tokens());
        Ok(())
    }
}

/// A memory that is being joined.
#[derive(Default)]
struct Join {
    parts: Vec<Arc<KeysValues>>,
    tokens: Vec<u32>,
    report: JoinReport,
    /// Sums of squares: of what mending changed, and of what was there.
    off: f64,
    was: f64,
}

impl Join {
    fn measure(&mut self, moved: &KeysValues, read: &KeysValues) -> Result<()> {
        let square = |tensor: &Tensor| -> Result<f64> { Ok(f64::from(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?)) };
        let pairs = moved.keys.iter().zip(&read.keys).chain(moved.values.iter().zip(&read.values));
        for (moved, read) in pairs {
            self.off += square(&(moved - read)?)?;
            self.was += square(moved)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
