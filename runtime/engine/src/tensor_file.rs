//! Safetensors: tensors by name in one file, read strictly and written whole.
//!
//! The crate `safetensors` checks that tensors cover the file without gaps and have the size of their shapes. It takes a name
//! that stands twice for one, allows a header of 100 MB and adds up offsets without a look at overflow; so the header is read
//! here. A file of ours also carries a checksum over all of its entries and numbers. It is CRC-32, which a processor computes
//! faster than memory gives the bytes: it finds rot and cuts. It is no defence against a person who may write the file; neither
//! would a digest be, that lies beside what it covers.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::path::Path;

use crc32fast::Hasher;
use safetensors::Dtype;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::mapped::Mapped;

/// The most bytes that a header may have; one of 10,000 tensors takes a tenth.
pub const MAX_HEADER_BYTES: usize = 16 << 20;

/// The most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;

/// The entry that a file of ours keeps its checksum under.
const CHECKSUM: &str = "checksum";

/// The tensors of a file, by name, and what the file says about them.
#[derive(Debug)]
pub struct TensorFile {
    file: Mapped,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: Dtype,
    shape: Vec<usize>,
    /// Where its bytes begin and end in the file.
    bytes: (usize, usize),
}

/// A tensor as it lies in a file: little-endian numbers, the last dimension's next to each other.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// What numbers they are.
    pub kind: Dtype,
    /// The size of each dimension.
    pub shape: &'a [usize],
    /// The numbers.
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Opens a file of at most so many bytes and checks its header.
    ///
    /// # Errors
    /// As [`Mapped::open`]; `Corrupt` where it is cut or its header is not sound.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Self> {
        Self::of(Mapped::open(path, bytes_max)?)
    }

    /// Reads what a file would hold, under the name by which errors are to call it.
    ///
    /// # Errors
    /// `Corrupt` where it is cut or its header is not sound.
    pub fn held(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::of(Mapped::held(name, bytes))
    }

    fn of(file: Mapped) -> Result<Self> {
        let (metadata, tensors) = header(&file).map_err(|why| {
            Error::corrupt(format!("`{}` is no sound safetensors file: {why}", file.path().display()))
        })?;
        Ok(Self { file, metadata, tensors })
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns how many bytes it has.
    pub fn bytes(&self) -> usize {
        self.file.len()
    }

    /// Returns what it says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns one of the things that it must say about itself.
    ///
    /// # Errors
    /// `Corrupt` where it does not.
    pub fn says(&self, name: &str) -> Result<&str> {
        let said = self.metadata.get(name).map(String::as_str);
        said.ok_or_else(|| Error::corrupt(format!("`{}` lacks the entry `{name}`", self.path().display())))
    }

    /// Returns all tensors in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, RawTensor<'_>)> {
        self.tensors.iter().map(|(name, entry)| (name.as_str(), self.raw(entry)))
    }

    /// Returns a tensor.
    ///
    /// # Errors
    /// `Corrupt` where there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<RawTensor<'_>> {
        let entry = self.tensors.get(name);
        let entry =
            entry.ok_or_else(|| Error::corrupt(format!("`{}` lacks the tensor `{name}`", self.path().display())))?;
        Ok(self.raw(entry))
    }

    /// Checks the file against its checksum.
    ///
    /// # Errors
    /// `Corrupt` where it is another, or none.
    pub fn verify(&self) -> Result<()> {
        self.verify_with(self.tensors().map(|(_, tensor)| sum(tensor.bytes)))
    }

    /// Checks the file against its checksum, where that of each tensor is known already, in the order of names.
    ///
    /// # Errors
    /// As [`TensorFile::verify`].
    pub(crate) fn verify_with(&self, sums: impl Iterator<Item = Hasher>) -> Result<()> {
        let tensors = self.tensors().zip(sums);
        if self.says(CHECKSUM)? != checksum(&self.metadata, tensors) {
            return Err(Error::corrupt(format!(
                "`{}` has another checksum than it says, make or get it again",
                self.path().display()
            )));
        }
        Ok(())
    }

    fn raw<'a>(&'a self, entry: &'a Entry) -> RawTensor<'a> {
        let (from, to) = entry.bytes;
        // The header's check has seen that it lies inside.
        let bytes = self.file.get(from..to).unwrap_or_default();
        RawTensor { kind: entry.kind, shape: &entry.shape, bytes }
    }
}

/// Writes tensors and what there is to say about them, with a checksum. The file is there whole or not at all, and only for its
/// owner to read. Returns its bytes.
///
/// # Errors
/// `Unavailable` where it cannot be written.
pub fn write(
    path: &Path,
    metadata: BTreeMap<String, String>,
    tensors: &BTreeMap<String, RawTensor<'_>>,
) -> Result<u64> {
    let head = head(metadata, tensors);
    let numbers = || tensors.values().map(|tensor| tensor.bytes);
    replace(path, [&head[..]].into_iter().chain(numbers()))?;
    Ok((head.len() + numbers().map(<[u8]>::len).sum::<usize>()) as u64)
}

/// Returns what [`write()`] would put into a file.
pub fn written(metadata: BTreeMap<String, String>, tensors: &BTreeMap<String, RawTensor<'_>>) -> Vec<u8> {
    let mut bytes = head(metadata, tensors);
    tensors.values().for_each(|tensor| bytes.extend_from_slice(tensor.bytes));
    bytes
}

/// Makes what stands before the numbers.
fn head(mut metadata: BTreeMap<String, String>, tensors: &BTreeMap<String, RawTensor<'_>>) -> Vec<u8> {
    let sums = tensors.iter().map(|(name, tensor)| ((name.as_str(), *tensor), sum(tensor.bytes)));
    metadata.insert(CHECKSUM.to_owned(), checksum(&metadata, sums));
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    let mut end = 0;
    for (name, tensor) in tensors {
        let begin = end;
        end += tensor.bytes.len();
        let entry = serde_json::json!({
            "dtype": tensor.kind.to_string(), "shape": tensor.shape, "data_offsets": [begin, end]
        });
        entries.insert(name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    // Numbers begin at a multiple of 8 bytes, so that whoever maps the file can read them as they lie.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut head = (header.len() as u64).to_le_bytes().to_vec();
    head.append(&mut header);
    head
}

/// Puts a file in place whole: under another name first, flushed, then renamed.
///
/// # Errors
/// `Unavailable` where it cannot be written.
pub(crate) fn replace<'a>(path: &Path, parts: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // Without this the name may be gone after a power cut. Not every system opens folders.
        if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
    };
    written().map_err(|error| {
        Error::unavailable(format!("`{}` cannot be written: {error}", path.display())).with_source(error)
    })
}

pub(crate) fn sum(bytes: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(bytes);
    sum
}

/// The checksum of all entries but itself, and of all tensors, in the order of their names.
fn checksum<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = ((&'a str, RawTensor<'a>), Hasher)>,
) -> String {
    let mut all = Hasher::new();
    let text = |text: &str, all: &mut Hasher| {
        all.update(&(text.len() as u64).to_le_bytes());
        all.update(text.as_bytes());
    };
    for (name, value) in metadata.iter().filter(|(name, _)| *name != CHECKSUM) {
        text(name, &mut all);
        text(value, &mut all);
    }
    for ((name, tensor), sum) in tensors {
        text(name, &mut all);
        text(&format!("{} {:?}", tensor.kind, tensor.shape), &mut all);
        all.combine(&sum);
    }
    format!("crc32:{:08x}", all.finalize())
}

type Header = (BTreeMap<String, String>, BTreeMap<String, Entry>);

fn header(file: &[u8]) -> std::result::Result<Header, String> {
    let cut = || "it is cut off before the end of its header".to_owned();
    let (length, rest) = file.split_first_chunk::<8>().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER_BYTES {
        return Err(format!("its header says it has {length} bytes, at most {MAX_HEADER_BYTES} are read"));
    }
    let (text, numbers) = rest.split_at_checked(length).ok_or_else(cut)?;
    let HeaderText { metadata, tensors } =
        serde_json::from_slice(text).map_err(|error| format!("its header cannot be read: {error}"))?;
    let begin = 8 + length;
    let mut spans = Vec::with_capacity(tensors.len());
    let mut entries = BTreeMap::new();
    for (name, Info { dtype, shape, data_offsets: (from, to) }) in tensors {
        let bits = shape.iter().try_fold(dtype.bitsize(), |bits, size| bits.checked_mul(*size));
        if shape.len() > MAX_DIMENSIONS || bits.is_none() {
            return Err(format!("the shape of `{name}` is too large"));
        }
        if from > to || to > numbers.len() {
            return Err(format!("the bytes of `{name}` are {from} to {to}, and the file has {}", numbers.len()));
        }
        if bits != (to - from).checked_mul(8) {
            return Err(format!("`{name}` has {} bytes, which is not the size of its shape {shape:?}", to - from));
        }
        spans.push((from, to, name.clone()));
        entries.insert(name, Entry { kind: dtype, shape, bytes: (begin + from, begin + to) });
    }
    spans.sort_unstable();
    let mut end = 0;
    for (from, to, name) in spans {
        if from != end {
            return Err(format!("the bytes of `{name}` begin at {from}, those before it end at {end}"));
        }
        end = to;
    }
    if end != numbers.len() {
        return Err(format!("it has {} bytes that belong to no tensor", numbers.len() - end));
    }
    Ok((metadata, entries))
}

/// A tensor of a header, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

struct HeaderText {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Info>,
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = HeaderText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<HeaderText, A::Error> {
        let (mut metadata, mut tensors) = (None, BTreeMap::new());
        while let Some(name) = map.next_key::<String>()? {
            let twice = if name == "__metadata__" {
                metadata.replace(map.next_value::<Once<String>>()?.0).is_some()
            } else {
                let info = map.next_value()?;
                tensors.insert(name.clone(), info).is_some()
            };
            if twice {
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
        }
        Ok(HeaderText { metadata: metadata.unwrap_or_default(), tensors })
    }
}

/// A map in which no name stands twice.
pub(crate) struct Once<T>(pub(crate) BTreeMap<String, T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Once<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(OnceVisitor(PhantomData))
    }
}

struct OnceVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for OnceVisitor<T> {
    type Value = Once<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Once<T>, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if let Some(_first) = all.insert(name.clone(), value) {
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
        }
        Ok(Once(all))
    }
}

#[cfg(test)]
mod tests;
