//! The numbers of a tensor that lies in one piece in the processor's memory.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Storage, StorageRef, Tensor};

use crate::error::{Error, Result};

/// The numbers of a tensor, for as long as they are read.
pub(crate) struct Held<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

/// Returns the numbers of an operation's argument, where they are F32 in one piece.
pub(crate) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let found = match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((from, to))) => all.get(from..to),
        _ => None,
    };
    found.ok_or_else(|| candle_core::Error::Msg("the numbers are not F32 in one piece".to_owned()))
}

impl<'a> Held<'a> {
    /// Takes hold of them.
    ///
    /// # Errors
    /// `Invalid` where they are not F32, lie elsewhere or not in one piece.
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(numbers)), Some((from, to))) if to <= numbers.len() => {
                Ok(Self { range: from..to, storage })
            }
            _ => Err(Error::invalid("the numbers are not F32 in one piece of the processor's memory")),
        }
    }
}

impl Deref for Held<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => numbers.get(self.range.clone()).unwrap_or_default(),
            _ => &[],
        }
    }
}
