//! Numbers between memory and file: in F32 in memory, in F32 or half of that on disk, summed and checked in the same pass.

use candle_core::Tensor;
use crc32fast::Hasher;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use crate::error::{Error, Result};
use crate::tensor_file::RawTensor;

/// Numbers of one go: they stay in the processor's first cache while they are summed, turned and checked.
const BLOCK: usize = 4096;

/// How exact the numbers of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they were computed: an injected segment gives the same bits as reading its text.
    F32,
    /// Half the bytes, 11 bits of each number.
    F16,
    /// Half the bytes, 8 bits of each number, any size.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Returns its name, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    pub(crate) fn of(kind: Dtype) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.kind() == kind)
    }

    pub(crate) fn kind(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// Reads numbers, and returns their checksum beside them, and whether all of them are numbers.
pub(crate) fn read(raw: RawTensor<'_>, precision: Precision) -> (Vec<f32>, Hasher, bool) {
    let mut sum = Hasher::new();
    let size = precision.kind().bitsize() / 8;
    let mut numbers = Vec::with_capacity(raw.bytes.len() / size);
    let mut halves = Vec::new();
    let mut largest = 0;
    for block in raw.bytes.chunks(BLOCK * size) {
        sum.update(block);
        let begin = numbers.len();
        match precision {
            Precision::F32 => numbers.extend(block.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))),
            Precision::F16 => {
                halves.clear();
                halves.extend(block.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)));
                numbers.resize(begin + halves.len(), 0.0);
                halves.convert_to_f32_slice(numbers.get_mut(begin..).unwrap_or_default());
            }
            // The upper half of the same number in F32.
            Precision::Bf16 => numbers.extend(
                block.as_chunks().0.iter().map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)),
            ),
        }
        let fresh = numbers.get(begin..).unwrap_or_default();
        largest = fresh.iter().fold(largest, |largest, number| largest.max(number.to_bits() & 0x7fff_ffff));
    }
    // Infinity has the lowest bits of all that is no number.
    (numbers, sum, largest < f32::INFINITY.to_bits())
}

/// Returns a tensor's numbers as they stand in a file.
pub(crate) fn written(tensor: &Tensor, precision: Precision) -> Result<Vec<u8>> {
    let numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
    let mut is_sound = true;
    let mut bytes = Vec::with_capacity(numbers.len() * precision.kind().bitsize() / 8);
    for number in numbers {
        match precision {
            Precision::F32 => {
                is_sound &= number.is_finite();
                bytes.extend(number.to_le_bytes());
            }
            Precision::F16 => {
                let half = f16::from_f32(number);
                is_sound &= half.is_finite();
                bytes.extend(half.to_le_bytes());
            }
            Precision::Bf16 => {
                let half = bf16::from_f32(number);
                is_sound &= half.is_finite();
                bytes.extend(half.to_le_bytes());
            }
        }
    }
    if is_sound {
        return Ok(bytes);
    }
    Err(Error::invalid(format!("there are numbers that {} cannot hold, write it as F32", precision.name())))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn round(numbers: &[f32], precision: Precision) -> Result<Vec<f32>> {
        let bytes = written(&Tensor::new(numbers, &Device::Cpu)?, precision)?;
        let raw = RawTensor { kind: precision.kind(), shape: &[numbers.len()], bytes: &bytes };
        let (read, _, is_sound) = read(raw, precision);
        assert!(is_sound);
        Ok(read)
    }

    #[test]
    fn numbers_come_back_as_well_as_they_can() {
        let numbers: Vec<f32> = (0..3 * BLOCK + 5).map(|i| (i as f32 - 4000.0) / 7.0).chain([0.0, -0.0]).collect();
        let check = |precision: Precision, off_max: f32| {
            let read = round(&numbers, precision).unwrap();
            assert_eq!(read.len(), numbers.len());
            for (number, read) in numbers.iter().zip(read) {
                assert!((number - read).abs() <= number.abs() * off_max, "{number} became {read}");
            }
        };
        check(Precision::F32, 0.0);
        check(Precision::F16, 1.0 / 2048.0);
        check(Precision::Bf16, 1.0 / 256.0);
    }

    #[test]
    fn what_is_no_number_is_seen_wherever_it_stands() {
        for precision in Precision::ALL {
            for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert!(round(&[1.0, number], precision).is_err());
                for place in [0, BLOCK - 1, BLOCK, BLOCK + 6] {
                    let mut bytes =
                        written(&Tensor::ones(BLOCK + 7, candle_core::DType::F32, &Device::Cpu).unwrap(), precision)
                            .unwrap();
                    let raw: Vec<u8> = match precision {
                        Precision::F32 => number.to_le_bytes().to_vec(),
                        Precision::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
                        Precision::Bf16 => bf16::from_f32(number).to_le_bytes().to_vec(),
                    };
                    bytes[place * raw.len()..(place + 1) * raw.len()].copy_from_slice(&raw);
                    let raw = RawTensor { kind: precision.kind(), shape: &[BLOCK + 7], bytes: &bytes };
                    assert!(!read(raw, precision).2, "{precision:?} {number} at {place}");
                }
            }
        }
        assert!(round(&[70_000.0], Precision::F16).unwrap_err().message().contains("write it as F32"));
        assert!(round(&[70_000.0], Precision::Bf16).is_ok());
    }
}
