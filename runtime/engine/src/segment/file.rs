//! A segment as a file: what it says of itself, and its keys and values, checked as they are read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use safetensors::Dtype;

use super::{
    Context, Differing, Expected, MAX_SEGMENT_BYTES, Precision, Segment, SegmentAbout, check_names, check_tokens,
};
use crate::cache::KeysValues;
use crate::error::{Error, Result};
use crate::fingerprint::{each_of, of_tokens, rope_in_words};
use crate::numbers;
use crate::tensor_file::{self, RawTensor, TensorFile};

/// What a file's first entry says; a later format has another number.
const FORMAT: &str = "memos segment 1";
const INDEPENDENT: &str = "independent";

/// A segment's file, of which only what it says has been read.
#[derive(Debug)]
pub struct SegmentFile {
    file: TensorFile,
    about: SegmentAbout,
    tokens: Vec<u32>,
    precision: Precision,
    /// Blocks, heads and the size of one.
    layout: [usize; 3],
    rope: String,
    position: usize,
}

impl Segment {
    /// Writes it to a file, whole or not at all, only for its owner to read. Returns the file's bytes.
    ///
    /// # Errors
    /// `Invalid` where a number is too large for the precision, `Unavailable` where the disk does not do its part.
    pub fn write(&self, path: &Path, precision: Precision) -> Result<u64> {
        self.lay_out(precision, |metadata, tensors| tensor_file::write(path, metadata, tensors))
    }

    /// Returns what [`Segment::write`] would put into a file.
    ///
    /// # Errors
    /// `Invalid` where a number is too large for the precision.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>> {
        self.lay_out(precision, |metadata, tensors| Ok(tensor_file::written(metadata, tensors)))
    }

    fn lay_out<T>(
        &self,
        precision: Precision,
        put: impl FnOnce(BTreeMap<String, String>, &BTreeMap<String, RawTensor<'_>>) -> Result<T>,
    ) -> Result<T> {
        let KeysValues { keys, values, position, .. } = &*self.keys_values;
        let (_, heads, size) = match keys.first() {
            Some(keys) => keys.dims3()?,
            None => return Err(Error::invalid("a segment without blocks cannot be written")),
        };
        let context = match &self.about.context {
            Context::Independent => INDEPENDENT.to_owned(),
            Context::Behind(tokens) => format!("behind {tokens}"),
        };
        let about = &self.about;
        let mut metadata = BTreeMap::from(
            [
                ("format", FORMAT.to_owned()),
                ("model", about.model.clone()),
                ("tokenizer", about.tokenizer.clone()),
                ("tokens", of_tokens(&self.tokens)),
                ("precision", precision.name().to_owned()),
                ("layout", format!("{} {heads} {size}", keys.len())),
                ("rope", self.rope.to_string()),
                ("position", position.to_string()),
                ("context", context),
                ("cubes", serde_json::json!(about.cubes).to_string()),
                ("created_ms", about.created_ms.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Some(adapter) = &about.adapter {
            metadata.insert("adapter".to_owned(), adapter.clone());
        }
        let count = self.tokens.len();
        let numbers = each_of(keys.len() * 2, |number| {
            let tensors = if number % 2 == 0 { keys } else { values };
            let tensor =
                tensors.get(number / 2).ok_or_else(|| Error::invalid("a segment lacks the values of a block"))?;
            numbers::written(tensor, precision)
        })?;
        let tokens: Vec<u8> = self.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let (shape, tokens_shape) = ([count, heads, size], [count]);
        let mut tensors: BTreeMap<String, RawTensor<'_>> = numbers
            .iter()
            .enumerate()
            .map(|(number, bytes)| (name(number), RawTensor { kind: precision.kind(), shape: &shape, bytes }))
            .collect();
        tensors.insert("tokens".to_owned(), RawTensor { kind: Dtype::U32, shape: &tokens_shape, bytes: &tokens });
        put(metadata, &tensors)
    }
}

/// The name of keys and values, by turns, of each block.
fn name(number: usize) -> String {
    format!("l{:03}.{}", number / 2, if number.is_multiple_of(2) { "k" } else { "v" })
}

impl SegmentFile {
    /// Opens a segment's file and reads what it says of itself and its tokens, but not yet keys and values.
    ///
    /// # Errors
    /// `Corrupt` where it is no segment, `NotFound` and `Unavailable` as the disk has it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(TensorFile::open(path, MAX_SEGMENT_BYTES)?)
    }

    /// Reads what a segment's file would hold, under the name by which errors are to call it.
    ///
    /// # Errors
    /// `Corrupt` where it is no segment.
    pub fn held(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::of(TensorFile::held(name, bytes)?)
    }

    fn of(file: TensorFile) -> Result<Self> {
        let shown = file.path().display().to_string();
        let bad = |what: &str| Error::corrupt(format!("`{shown}` is no sound segment: {what}"));
        let format = file.says("format").map_err(|_| bad("it lacks the entry `format`"))?;
        if format != FORMAT {
            return Err(bad(&format!("its format is `{format}`, this program reads `{FORMAT}`")));
        }
        let number = |name: &str| -> Result<u64> {
            let said = file.says(name)?;
            said.parse().map_err(|_| bad(&format!("its {name} is `{said}`, which is no number")))
        };
        let layout = file.says("layout")?;
        let numbers: Option<Vec<usize>> = layout.split(' ').map(|number| number.parse().ok()).collect();
        let layout: [usize; 3] = numbers
            .and_then(|numbers| numbers.try_into().ok())
            .ok_or_else(|| bad(&format!("its layout is `{layout}`, which is not three numbers")))?;
        let precision = file.says("precision")?;
        let precision = Precision::ALL
            .into_iter()
            .find(|known| known.name() == precision)
            .ok_or_else(|| bad(&format!("its precision is `{precision}`")))?;
        let context = match file.says("context")? {
            INDEPENDENT => Context::Independent,
            other => match other.strip_prefix("behind ") {
                Some(tokens) => Context::Behind(tokens.to_owned()),
                None => return Err(bad(&format!("its context is `{other}`"))),
            },
        };
        let about = SegmentAbout {
            model: file.says("model")?.to_owned(),
            tokenizer: file.says("tokenizer")?.to_owned(),
            context,
            adapter: file.metadata().get("adapter").cloned(),
            cubes: serde_json::from_str(file.says("cubes")?).map_err(|_| bad("its cubes are no list of names"))?,
            created_ms: number("created_ms")?,
        };
        check_names(&about).map_err(|what| bad(&what))?;
        let raw = file.tensor("tokens")?;
        if raw.kind != Dtype::U32 || raw.shape.len() != 1 {
            return Err(bad("its tokens are no list of tokens"));
        }
        let tokens: Vec<u32> = raw.bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if of_tokens(&tokens) != file.says("tokens")? {
            return Err(bad("its tokens are not those that it says"));
        }
        let rope = file.says("rope")?.to_owned();
        let position = usize::try_from(number("position")?).map_err(|_| bad("its position is too large"))?;
        Ok(Self { about, tokens, precision, layout, rope, position, file })
    }

    /// Returns where it comes from.
    pub fn about(&self) -> &SegmentAbout {
        &self.about
    }

    /// Returns the tokens of its text, from which it can be made again.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns how exact its numbers are.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns where its first token stands.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the file's bytes.
    pub fn bytes(&self) -> usize {
        self.file.bytes()
    }

    /// Returns the bytes that it takes in memory once loaded.
    pub fn loaded_bytes(&self) -> usize {
        let [layers, heads, size] = self.layout;
        let of_token = [layers, heads, size, 8].into_iter().fold(1usize, usize::saturating_mul);
        of_token.saturating_add(size_of::<u32>()).saturating_mul(self.tokens.len())
    }

    /// Loads keys and values, each number read once.
    ///
    /// # Errors
    /// As [`Segment::open`].
    pub fn load(&self, expected: &Expected<'_>) -> Result<Segment> {
        if let Err(differs) = self.check(expected) {
            // A flipped bit in a fingerprint is no foreign model: the checksum knows.
            self.file.verify()?;
            return Err(differs);
        }
        let bad =
            |what: String| Error::corrupt(format!("`{}` is no sound segment: {what}", self.file.path().display()));
        let [layers, heads, size] = self.layout;
        let shape = [self.tokens.len(), heads, size];
        if self.tokens.is_empty() || self.file.tensors().count() != layers * 2 + 1 {
            return Err(bad(format!("it does not have the tensors of {layers} blocks")));
        }
        check_tokens(expected.config, &self.tokens, self.tokens.len()).map_err(bad)?;
        let tensors: Vec<RawTensor<'_>> =
            (0..layers * 2).map(|number| self.file.tensor(&name(number))).collect::<Result<_>>()?;
        let other =
            tensors.iter().position(|raw| raw.shape != shape || Precision::of(raw.kind) != Some(self.precision));
        if let Some(number) = other {
            return Err(bad(format!("`{}` is not {} of shape {shape:?}", name(number), self.precision.name())));
        }
        let read = each_of(tensors.len(), |number| {
            let Some(raw) = tensors.get(number) else { return Err(bad("a tensor is gone".to_owned())) };
            let (numbers, sum, is_sound) = numbers::read(*raw, self.precision);
            if !is_sound {
                return Err(bad(format!("`{}` holds what is no number", name(number))));
            }
            Ok((Tensor::from_vec(numbers, &shape, expected.device)?, sum))
        })?;
        let (mut keys, mut values) = (Vec::with_capacity(layers), Vec::with_capacity(layers));
        let mut sums = BTreeMap::new();
        for (number, (tensor, sum)) in read.into_iter().enumerate() {
            sums.insert(name(number), sum);
            if number % 2 == 0 { keys.push(tensor) } else { values.push(tensor) }
        }
        sums.insert("tokens".to_owned(), tensor_file::sum(self.file.tensor("tokens")?.bytes));
        self.file.verify_with(sums.into_values())?;
        let keys_values = KeysValues { keys, values, tokens: self.tokens.len(), position: self.position };
        keys_values.check(expected.config)?;
        Ok(Segment {
            keys_values: Arc::new(keys_values),
            tokens: self.tokens.as_slice().into(),
            about: Arc::new(self.about.clone()),
            rope: self.rope.as_str().into(),
            precision: self.precision,
        })
    }

    fn check(&self, expected: &Expected<'_>) -> Result<()> {
        let config = expected.config;
        let [layers, heads, size] = self.layout;
        let layout = format!("{layers} blocks of {heads} heads of {size}");
        let own_layout = format!("{} blocks of {} heads of {}", config.layers, config.kv_heads, config.head_size);
        let own_rope = rope_in_words(&config.rope);
        let pairs = [
            (Differing::Model, self.about.model.as_str(), expected.model),
            (Differing::Tokenizer, &self.about.tokenizer, expected.tokenizer),
            (Differing::Layout, &layout, &own_layout),
            (Differing::Rope, &self.rope, &own_rope),
        ];
        match pairs.into_iter().find(|(_, made, expected)| made != expected) {
            Some((differing, made, expected)) => Err(differing.error(self.file.path(), made, expected)),
            None => Ok(()),
        }
    }
}
