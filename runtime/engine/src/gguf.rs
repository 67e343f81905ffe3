//! GGUF: a whole model in one file, its shape and vocabulary beside its tensors, often quantized.
//!
//! The tensor library has a reader too; it divides by an alignment of zero, multiplies sizes without a look at overflow, and takes
//! as much memory as a file asks for. So the file is read here, by the format's specification (ggml, docs/gguf.md), every
//! length against a limit and against what is left. It never knows what the names mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::mapped::Mapped;
use crate::weights::Weight;

/// The most entries, and the most tensors, of a file.
pub const MAX_GGUF_ENTRIES: u64 = 1 << 16;
/// The most values of a list; the largest is a vocabulary or its merges.
pub const MAX_GGUF_LIST: u64 = 1 << 22;
/// The most bytes of a text; the largest is a chat template.
pub const MAX_GGUF_TEXT_BYTES: u64 = 1 << 22;

/// A value that a file keeps under a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(i128),
    /// A number.
    Real(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list of values of one kind.
    List(Vec<Value>),
}

/// A GGUF file.
#[derive(Debug)]
pub struct Gguf {
    file: Mapped,
    entries: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: GgmlDType,
    /// As everywhere else: rows first.
    shape: Vec<usize>,
    bytes: (usize, usize),
}

impl Gguf {
    /// Opens a file of at most so many bytes and checks its header.
    ///
    /// # Errors
    /// As [`Mapped::open`]; `Corrupt` where it is cut or not sound; `Invalid` where its tensors are of a kind not read here.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self> {
        let file = Mapped::open(path, bytes_max)?;
        let mut reader = Reader { rest: &file, read: 0 };
        let (entries, tensors) = reader
            .header()
            .map_err(|why| Error::corrupt(format!("`{}` is no sound GGUF file: {why}", path.display())))?;
        Ok(Self { file, entries, tensors })
    }

    /// Returns a value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.entries.get(name)
    }

    /// Returns all values by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the names of all tensors and their shapes, rows first.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// Returns the bytes of all tensors.
    pub fn bytes_of_tensors(&self) -> u64 {
        self.tensors.values().map(|Entry { bytes: (from, to), .. }| (to - from) as u64).sum()
    }

    /// Returns a tensor, its rows put into another order where one is given: row `i` is the file's row `order(i)`.
    ///
    /// # Errors
    /// `Corrupt` where there is none of that name.
    pub fn weight(&self, name: &str, order: Option<&dyn Fn(usize) -> usize>) -> Result<Weight> {
        let entry = self.tensors.get(name);
        let entry = entry
            .ok_or_else(|| Error::corrupt(format!("`{}` lacks the tensor `{name}`", self.file.path().display())))?;
        let (from, to) = entry.bytes;
        // The header's check has seen that it lies inside.
        let bytes = self.file.get(from..to).unwrap_or_default();
        let bytes = match order {
            Some(order) => Cow::Owned(reordered(bytes, entry.shape.first().copied().unwrap_or(1), order)),
            None => Cow::Borrowed(bytes),
        };
        let plain = match entry.kind {
            GgmlDType::F32 => Some(DType::F32),
            GgmlDType::F16 => Some(DType::F16),
            GgmlDType::BF16 => Some(DType::BF16),
            _ => None,
        };
        if let Some(kind) = plain {
            return Ok(Weight::Plain(Tensor::from_raw_buffer(&bytes, kind, &entry.shape, &Device::Cpu)?));
        }
        // The tensor library reads blocks where they lie, and stops the program where that is no place for one.
        if !bytes.as_ptr().addr().is_multiple_of(BLOCK_ALIGNMENT) {
            return Err(Error::unavailable(format!("the tensor `{name}` lies where it cannot be read, try again")));
        }
        let storage = QStorage::from_data(bytes, &Device::Cpu, entry.kind)?;
        Ok(Weight::Quantized(QTensor::new(storage, entry.shape.as_slice())?.into()))
    }
}

/// The least alignment that all kinds of blocks can be read at.
const BLOCK_ALIGNMENT: usize = 4;

fn reordered(bytes: &[u8], rows: usize, order: &dyn Fn(usize) -> usize) -> Vec<u8> {
    let row = bytes.len().checked_div(rows).unwrap_or(0);
    let mut out = Vec::with_capacity(bytes.len());
    for number in 0..rows {
        let from = order(number) * row;
        out.extend_from_slice(bytes.get(from..from + row).unwrap_or_default());
    }
    out
}

/// Kinds of numbers by the format's own count.
fn kind(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

type Header = (BTreeMap<String, Value>, BTreeMap<String, Entry>);
type Read<T> = std::result::Result<T, String>;

struct Reader<'a> {
    rest: &'a [u8],
    read: usize,
}

impl Reader<'_> {
    fn header(&mut self) -> Read<Header> {
        if self.number::<4>()? != *b"GGUF" {
            return Err("it does not begin with `GGUF`".to_owned());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("its version is {version}, 2 and 3 are read"));
        }
        let (tensors, entries) = (self.u64()?, self.u64()?);
        if tensors > MAX_GGUF_ENTRIES || entries > MAX_GGUF_ENTRIES {
            return Err(format!(
                "it says it has {tensors} tensors and {entries} entries, at most {MAX_GGUF_ENTRIES} are read"
            ));
        }
        let mut all = BTreeMap::new();
        for _ in 0..entries {
            let name = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, true)?;
            if all.insert(name.clone(), value).is_some() {
                return Err(format!("`{name}` stands there twice"));
            }
        }
        let mut said = Vec::new();
        for _ in 0..tensors {
            said.push(self.tensor()?);
        }
        let alignment = match all.get("general.alignment") {
            None => 32,
            Some(Value::Whole(size)) => usize::try_from(*size).unwrap_or(0),
            Some(_) => 0,
        };
        if !alignment.is_multiple_of(8) || !(8..=1 << 16).contains(&alignment) {
            return Err("its alignment is not a multiple of 8 from 8 to 65536".to_owned());
        }
        let begin = self.read.next_multiple_of(alignment);
        let end = self.read + self.rest.len();
        let (mut tensors, mut spans) = (BTreeMap::new(), Vec::new());
        for (name, mut entry, offset) in said {
            let from = usize::try_from(offset).ok().and_then(|offset| begin.checked_add(offset));
            let span = from.and_then(|from| Some((from, from.checked_add(entry.bytes.1)?)));
            let Some((from, to)) = span.filter(|(_, to)| *to <= end) else {
                return Err(format!("the tensor `{name}` ends behind the file"));
            };
            if !offset.is_multiple_of(alignment as u64) {
                return Err(format!("the tensor `{name}` begins at {offset}, which is no multiple of {alignment}"));
            }
            entry.bytes = (from, to);
            spans.push((from, to, name.clone()));
            if tensors.insert(name.clone(), entry).is_some() {
                return Err(format!("the tensor `{name}` stands there twice"));
            }
        }
        spans.sort_unstable();
        let overlaps = spans.iter().zip(spans.iter().skip(1)).find(|((_, end, _), (begin, ..))| end > begin);
        if let Some(((.., one), (.., other))) = overlaps {
            return Err(format!("the tensors `{one}` and `{other}` share bytes"));
        }
        Ok((all, tensors))
    }

    /// Reads what is said of a tensor: its name, it with its length in bytes, and where it begins.
    fn tensor(&mut self) -> Read<(String, Entry, u64)> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(format!("the tensor `{name}` has {dimensions} dimensions, 1 to 4 are read"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(usize::try_from(self.u64()?).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let number = self.u32()?;
        let kind = kind(number).ok_or_else(|| {
            format!("the tensor `{name}` is of kind {number}; use F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K")
        })?;
        let row = shape.last().copied().unwrap_or(0);
        let numbers = shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).unwrap_or(0);
        let bytes = (numbers / kind.block_size()).checked_mul(kind.type_size());
        let Some(bytes) = bytes.filter(|_| numbers > 0 && row.is_multiple_of(kind.block_size())) else {
            return Err(format!("the tensor `{name}` cannot have shape {shape:?}"));
        };
        let offset = self.u64()?;
        Ok((name, Entry { kind, shape, bytes: (0, bytes) }, offset))
    }

    fn value(&mut self, kind: u32, may_be_list: bool) -> Read<Value> {
        Ok(match kind {
            0 => Value::Whole(u8::from_le_bytes(self.number()?).into()),
            1 => Value::Whole(i8::from_le_bytes(self.number()?).into()),
            2 => Value::Whole(u16::from_le_bytes(self.number()?).into()),
            3 => Value::Whole(i16::from_le_bytes(self.number()?).into()),
            4 => Value::Whole(self.u32()?.into()),
            5 => Value::Whole(i32::from_le_bytes(self.number()?).into()),
            6 => Value::Real(f32::from_le_bytes(self.number()?).into()),
            7 => Value::Bool(self.number::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            9 if may_be_list => {
                let (kind, count) = (self.u32()?, self.u64()?);
                // Each value takes at least a byte, so what is not there is not made room for.
                if count > MAX_GGUF_LIST || count > self.rest.len() as u64 {
                    return Err(format!("a list says it has {count} values, at most {MAX_GGUF_LIST} are read"));
                }
                Value::List((0..count).map(|_| self.value(kind, false)).collect::<Read<_>>()?)
            }
            10 => Value::Whole(self.u64()?.into()),
            11 => Value::Whole(i64::from_le_bytes(self.number()?).into()),
            12 => Value::Real(f64::from_le_bytes(self.number()?)),
            other => return Err(format!("a value is of kind {other}, which is not read here")),
        })
    }

    fn text(&mut self) -> Read<String> {
        let length = self.u64()?;
        if length > MAX_GGUF_TEXT_BYTES {
            return Err(format!("a text says it has {length} bytes, at most {MAX_GGUF_TEXT_BYTES} are read"));
        }
        let bytes = self.take(length as usize)?;
        // Some vocabularies hold tokens that are a part of a character.
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.number()?))
    }

    fn number<const SIZE: usize>(&mut self) -> Read<[u8; SIZE]> {
        let bytes = self.take(SIZE)?;
        bytes.try_into().map_err(|_| "it is cut off in the middle of a number".to_owned())
    }

    fn take(&mut self, count: usize) -> Read<&[u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| "it is cut off before the end of its header".to_owned())?;
        (self.rest, self.read) = (rest, self.read + count);
        Ok(taken)
    }
}
