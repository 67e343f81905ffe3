//! A BERT sentence encoder, run plainly: enough to see what it says about word pieces, in the form they are distilled.
//!
//! A batch holds token sequences of one length, so nothing is padded or masked and nearly all work is matrix products.
//! After Devlin et al. 2019 (arXiv 1810.04805); the known values of all-MiniLM-L6-v2 are held by a test.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nalgebra::{DMatrix, DVector};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const NORM_EPSILON: f32 = 1e-12;
const BEGIN: &str = "[CLS]";
const END: &str = "[SEP]";

/// The encoder and its vocabulary. Activations are matrices with one column for each token.
pub(crate) struct Encoder {
    vocabulary: Vec<String>,
    begin: u32,
    end: u32,
    heads: usize,
    words: DMatrix<f32>,
    positions: DMatrix<f32>,
    segments: DMatrix<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    attended: Dense,
    attended_norm: Norm,
    widen: Dense,
    narrow: Dense,
    narrow_norm: Norm,
}

impl Encoder {
    /// Reads an encoder from its directory.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let config = read_json(&directory.join("config.json"))?;
        let number = |name: &str| -> Result<usize> {
            let number = config.get(name).and_then(Value::as_u64);
            Ok(usize::try_from(number.with_context(|| format!("config.json has no number `{name}`"))?)?)
        };
        let activation = config.get("hidden_act").and_then(Value::as_str);
        ensure!(activation == Some("gelu"), "the encoder uses the activation {activation:?}, only gelu is known here");
        let vocabulary = read_vocabulary(&directory.join("tokenizer.json"))?;
        let special = |name: &str| -> Result<u32> {
            let position = vocabulary.iter().position(|piece| piece == name);
            Ok(u32::try_from(position.with_context(|| format!("the vocabulary has no piece `{name}`"))?)?)
        };
        let (begin, end) = (special(BEGIN)?, special(END)?);

        let path = directory.join("model.safetensors");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let tensors = Tensors(SafeTensors::deserialize(&bytes).with_context(|| path.display().to_string())?);
        let layers = (0..number("num_hidden_layers")?).map(|layer| Layer::load(&tensors, layer));
        let encoder = Self {
            begin,
            end,
            heads: number("num_attention_heads")?,
            words: tensors.matrix("embeddings.word_embeddings.weight")?.transpose(),
            positions: tensors.matrix("embeddings.position_embeddings.weight")?.transpose(),
            segments: tensors.matrix("embeddings.token_type_embeddings.weight")?.transpose(),
            norm: tensors.norm("embeddings.LayerNorm")?,
            layers: layers.collect::<Result<_>>()?,
            vocabulary,
        };
        ensure!(encoder.words.ncols() == encoder.vocabulary.len(), "the vocabulary and the model do not fit together");
        ensure!(encoder.width().is_multiple_of(encoder.heads), "the width is not a multiple of the number of heads");
        Ok(encoder)
    }

    /// Returns the pieces in the order of their ids.
    pub(crate) fn vocabulary(&self) -> Vec<&str> {
        self.vocabulary.iter().map(String::as_str).collect()
    }

    /// Returns the length of the encoder's vectors.
    pub(crate) fn width(&self) -> usize {
        self.words.nrows()
    }

    /// Returns one column for each sequence: the mean over its tokens, `[CLS]` and `[SEP]` among them.
    pub(crate) fn mean_pooled(&self, sequences: &[&[u32]]) -> Result<DMatrix<f32>> {
        let length = sequences.first().map_or(0, |sequence| sequence.len()) + 2;
        ensure!(sequences.iter().all(|sequence| sequence.len() + 2 == length), "the sequences differ in length");
        ensure!(length <= self.positions.ncols(), "{length} tokens are more than the encoder takes");
        let mut tokens = Vec::with_capacity(sequences.len() * length);
        for sequence in sequences {
            tokens.extend([self.begin].into_iter().chain(sequence.iter().copied()).chain([self.end]));
        }
        let states = self.forward(&tokens, length)?;
        let mean = |sequence: usize| states.columns(sequence * length, length).column_mean();
        Ok(DMatrix::from_columns(&(0..sequences.len()).map(mean).collect::<Vec<_>>()))
    }

    fn forward(&self, tokens: &[u32], length: usize) -> Result<DMatrix<f32>> {
        let mut states = DMatrix::zeros(self.width(), tokens.len());
        for (index, (mut state, &token)) in states.column_iter_mut().zip(tokens).enumerate() {
            ensure!((token as usize) < self.words.ncols(), "there is no piece {token}");
            state += self.words.column(token as usize);
            state += self.positions.column(index % length);
            state += self.segments.column(0);
        }
        self.norm.apply(&mut states);
        for layer in &self.layers {
            let mixed = attention(layer, &states, self.heads, length);
            states += layer.attended.apply(&mixed);
            layer.attended_norm.apply(&mut states);
            let mut wide = layer.widen.apply(&states);
            wide.apply(|number| *number = gelu(*number));
            states += layer.narrow.apply(&wide);
            layer.narrow_norm.apply(&mut states);
        }
        Ok(states)
    }
}

/// Mixes the tokens of each sequence, head by head.
fn attention(layer: &Layer, states: &DMatrix<f32>, heads: usize, length: usize) -> DMatrix<f32> {
    let (query, key, value) = (layer.query.apply(states), layer.key.apply(states), layer.value.apply(states));
    let head_width = states.nrows() / heads;
    let scale = 1.0 / (head_width as f32).sqrt();
    let mut mixed = DMatrix::zeros(states.nrows(), states.ncols());
    for start in (0..states.ncols()).step_by(length) {
        for row in (0..states.nrows()).step_by(head_width) {
            let (corner, shape) = ((row, start), (head_width, length));
            // One column for each asking token, one row for each token it looks at.
            let mut weights = key.view(corner, shape).tr_mul(&query.view(corner, shape)) * scale;
            for mut column in weights.column_iter_mut() {
                let largest = column.max();
                column.apply(|weight| *weight = (*weight - largest).exp());
                let sum = column.sum();
                column /= sum;
            }
            mixed.view_mut(corner, shape).gemm(1.0, &value.view(corner, shape), &weights, 0.0);
        }
    }
    mixed
}

fn gelu(number: f32) -> f32 {
    0.5 * number * (1.0 + libm::erff(number * std::f32::consts::FRAC_1_SQRT_2))
}

struct Dense {
    weight: DMatrix<f32>,
    bias: DVector<f32>,
}

impl Dense {
    fn apply(&self, states: &DMatrix<f32>) -> DMatrix<f32> {
        let mut result = &self.weight * states;
        result.column_iter_mut().for_each(|mut column| column += &self.bias);
        result
    }
}

struct Norm {
    weight: DVector<f32>,
    bias: DVector<f32>,
}

impl Norm {
    fn apply(&self, states: &mut DMatrix<f32>) {
        for mut column in states.column_iter_mut() {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
            let deviation = (column.norm_squared() / column.nrows() as f32 + NORM_EPSILON).sqrt();
            column /= deviation;
            column.component_mul_assign(&self.weight);
            column += &self.bias;
        }
    }
}

impl Layer {
    fn load(tensors: &Tensors<'_>, layer: usize) -> Result<Self> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        Ok(Self {
            query: tensors.dense(&name("attention.self.query"))?,
            key: tensors.dense(&name("attention.self.key"))?,
            value: tensors.dense(&name("attention.self.value"))?,
            attended: tensors.dense(&name("attention.output.dense"))?,
            attended_norm: tensors.norm(&name("attention.output.LayerNorm"))?,
            widen: tensors.dense(&name("intermediate.dense"))?,
            narrow: tensors.dense(&name("output.dense"))?,
            narrow_norm: tensors.norm(&name("output.LayerNorm"))?,
        })
    }
}

struct Tensors<'a>(SafeTensors<'a>);

impl Tensors<'_> {
    fn numbers(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let tensor = self.0.tensor(name).with_context(|| format!("tensor `{name}`"))?;
        ensure!(tensor.dtype() == Dtype::F32, "tensor `{name}` has the type {:?}, it must be F32", tensor.dtype());
        let (numbers, _) = tensor.data().as_chunks::<4>();
        Ok((tensor.shape().to_vec(), numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    fn matrix(&self, name: &str) -> Result<DMatrix<f32>> {
        let (shape, numbers) = self.numbers(name)?;
        let [rows, columns] = shape.as_slice() else { bail!("tensor `{name}` is not a matrix") };
        Ok(DMatrix::from_row_slice(*rows, *columns, &numbers))
    }

    fn vector(&self, name: &str) -> Result<DVector<f32>> {
        Ok(DVector::from_vec(self.numbers(name)?.1))
    }

    fn dense(&self, name: &str) -> Result<Dense> {
        Ok(Dense { weight: self.matrix(&format!("{name}.weight"))?, bias: self.vector(&format!("{name}.bias"))? })
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        Ok(Norm { weight: self.vector(&format!("{name}.weight"))?, bias: self.vector(&format!("{name}.bias"))? })
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Returns the pieces of a `tokenizer.json` in the order of their ids.
fn read_vocabulary(path: &Path) -> Result<Vec<String>> {
    let tokenizer = read_json(path)?;
    let Some(vocabulary) = tokenizer.pointer("/model/vocab").and_then(Value::as_object) else {
        bail!("{} has no vocabulary", path.display());
    };
    let mut pieces: Vec<(u64, &String)> =
        vocabulary.iter().filter_map(|(piece, id)| Some((id.as_u64()?, piece))).collect();
    pieces.sort_unstable();
    let gapless = pieces.iter().zip(0..).all(|((id, _), expected)| *id == expected);
    ensure!(gapless && pieces.len() == vocabulary.len(), "{}: the ids are not 0, 1, 2 and so on", path.display());
    Ok(pieces.into_iter().map(|(_, piece)| piece.clone()).collect())
}

#[cfg(test)]
mod tests {
    use memos_memory::embed::WordPiece;

    use crate::distill::tests::encoder_for_tests;

    #[test]
    fn the_known_vectors_of_all_minilm_l6_v2_come_out() {
        let Some(encoder) = encoder_for_tests() else { return };
        let word_piece = WordPiece::new(encoder.vocabulary()).unwrap();
        let encode = |text| encoder.mean_pooled(&[&word_piece.split(text)]).unwrap().column(0).normalize();
        let example = encode("This is an example sentence");
        let each = encode("Each sentence is converted");
        for (found, expected) in example.iter().zip([0.067657, 0.063496, 0.048713]) {
            assert!((found - expected).abs() < 2e-6, "{found} should be {expected}");
        }
        let cosine = example.dot(&each);
        assert!((cosine - 0.404559).abs() < 2e-6, "{cosine}");
    }
}
