//! The payload of a cube in its three kinds: plaintext, activation, parametric.
//!
//! Activation and parametric bodies are safetensors files, so that an engine can map them into memory as they are. Here
//! they are checked: that the file is whole, and that its tensors have the names and shapes that the form promises. What
//! the numbers mean is the engine's business.

use std::borrow::Cow;

use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::Digest;
use super::header::coded_enum;
use crate::error::{Error, Result};
use crate::governance::watermark::strip;
use crate::limits::Limits;

coded_enum! {
    /// The three kinds of memory.
    Kind, "kind" {
        /// Text.
        Plaintext = 0 "plaintext",
        /// A key-value segment of one model.
        Activation = 1 "activation",
        /// An adapter of one model.
        Parametric = 2 "parametric",
    }
}

coded_enum! {
    /// The number type of tensors.
    Dtype, "number type" {
        /// 32-bit floating point.
        F32 = 0 "f32",
        /// 16-bit floating point.
        F16 = 1 "f16",
        /// 16-bit brain floating point.
        Bf16 = 2 "bf16",
    }
}

impl Dtype {
    fn in_file(self) -> safetensors::Dtype {
        match self {
            Self::F32 => safetensors::Dtype::F32,
            Self::F16 => safetensors::Dtype::F16,
            Self::Bf16 => safetensors::Dtype::BF16,
        }
    }
}

/// Names a model by what it is made of, so that a payload made with one is never used with another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelFingerprint {
    /// The digest of the model's weights and configuration.
    pub model: Digest,
    /// The digest of its tokenizer.
    pub tokenizer: Digest,
}

/// The form of a payload: its kind with what must be known to use it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// UTF-8 text.
    Plaintext,
    /// A key-value segment.
    Activation(Activation),
    /// A low-rank adapter.
    Parametric(Parametric),
}

impl Form {
    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Plaintext => Kind::Plaintext,
            Self::Activation(_) => Kind::Activation,
            Self::Parametric(_) => Kind::Parametric,
        }
    }
}

/// What a key-value segment is of. Its body holds `l000.k`, `l000.v`, `l001.k`, …, each of shape
/// (tokens, heads, head size), and `tokens`, the token ids as U32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activation {
    /// The model that made it.
    pub model: ModelFingerprint,
    /// The digest of its token ids, each as four little-endian bytes.
    pub tokens: Digest,
    /// The position of its first token.
    pub position: u32,
    /// The number type of keys and values.
    pub dtype: Dtype,
    /// The layout of keys and values.
    pub shape: LayerShape,
}

/// The layout of a key-value segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerShape {
    /// Layers of the model.
    pub layers: u32,
    /// Tokens of the segment.
    pub tokens: u32,
    /// Key-value heads of a layer.
    pub heads: u32,
    /// Numbers in one head.
    pub head_size: u32,
}

/// What an adapter is of. Its body holds `T.lora_A.weight` of shape (rank, inputs) and `T.lora_B.weight` of shape
/// (outputs, rank) for each target `T`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parametric {
    /// The model it changes.
    pub base: ModelFingerprint,
    /// The inner size of its matrices.
    pub rank: u32,
    /// The number type of its matrices.
    pub dtype: Dtype,
    /// The layers it changes.
    pub targets: Vec<TargetShape>,
}

/// One linear layer that an adapter changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetShape {
    /// The layer's name in the model.
    pub name: String,
    /// Its inputs.
    pub inputs: u32,
    /// Its outputs.
    pub outputs: u32,
}

/// What a memory says.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    form: Form,
    body: Vec<u8>,
}

impl Payload {
    /// Makes a plaintext payload. Watermarks are left out, so that they do not pile up and equal texts stay equal.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        let stripped = match strip(&text) {
            Cow::Owned(stripped) => Some(stripped),
            Cow::Borrowed(_) => None,
        };
        Self { form: Form::Plaintext, body: stripped.unwrap_or(text).into_bytes() }
    }

    /// Makes an activation payload from a safetensors file.
    ///
    /// # Errors
    /// `Invalid` when the file is not whole or its tensors are not the ones that `form` promises.
    pub fn activation(form: Activation, body: Vec<u8>) -> Result<Self> {
        Self::checked(Form::Activation(form), body)
    }

    /// Makes a parametric payload from a safetensors file.
    ///
    /// # Errors
    /// `Invalid` when the file is not whole or its tensors are not the ones that `form` promises.
    pub fn parametric(form: Parametric, body: Vec<u8>) -> Result<Self> {
        Self::checked(Form::Parametric(form), body)
    }

    /// Puts a stored body and its form together again.
    pub(crate) fn checked(form: Form, body: Vec<u8>) -> Result<Self> {
        match &form {
            Form::Plaintext => {
                std::str::from_utf8(&body).map_err(|e| Error::invalid(format!("the text is not UTF-8: {e}")))?;
            }
            Form::Activation(activation) => check_activation(activation, &body)?,
            Form::Parametric(parametric) => check_parametric(parametric, &body)?,
        }
        Ok(Self { form, body })
    }

    /// Returns the form.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Returns the body's bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the body's bytes for good.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Returns the text of a plaintext payload.
    pub fn as_text(&self) -> Option<&str> {
        match self.form {
            // The bytes were checked when the payload was made.
            Form::Plaintext => std::str::from_utf8(&self.body).ok(),
            _ => None,
        }
    }

    /// Refuses a payload above the limits, or an empty text.
    pub(crate) fn check_limits(&self, limits: &Limits) -> Result<()> {
        match self.form {
            Form::Plaintext if self.body.iter().all(u8::is_ascii_whitespace) => {
                Err(Error::invalid("the text is empty; a memory says something"))
            }
            Form::Plaintext => Limits::check("the text", self.body.len(), limits.text_bytes, "bytes"),
            _ => Limits::check("the payload", self.body.len(), limits.body_bytes, "bytes"),
        }
    }
}

fn open(body: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(body)
        .map_err(|e| Error::invalid(format!("the payload is not a whole safetensors file: {e}")).with_source(e))
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str, dtype: safetensors::Dtype, shape: &[u32]) -> Result<TensorView<'a>> {
    let view = file.tensor(name).map_err(|_| Error::invalid(format!("the payload has no tensor `{name}`")))?;
    let expect: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    if view.shape() != expect || view.dtype() != dtype {
        return Err(Error::invalid(format!(
            "tensor `{name}` is {:?} {:?}, and the form promises {dtype:?} {expect:?}",
            view.dtype(),
            view.shape(),
        )));
    }
    Ok(view)
}

fn check_activation(form: &Activation, body: &[u8]) -> Result<()> {
    let file = open(body)?;
    let LayerShape { layers, tokens, heads, head_size } = form.shape;
    if file.len() as u64 != 2 * u64::from(layers) + 1 {
        return Err(Error::invalid(format!(
            "the segment has {} tensors, and {layers} layers need two each and `tokens`",
            file.len()
        )));
    }
    for layer in 0..layers {
        for part in ["k", "v"] {
            tensor(&file, &format!("l{layer:03}.{part}"), form.dtype.in_file(), &[tokens, heads, head_size])?;
        }
    }
    let ids = tensor(&file, "tokens", safetensors::Dtype::U32, &[tokens])?;
    if Digest::of(ids.data()) != form.tokens {
        return Err(Error::invalid("the segment's token ids are not those of its fingerprint"));
    }
    Ok(())
}

fn check_parametric(form: &Parametric, body: &[u8]) -> Result<()> {
    let file = open(body)?;
    if form.targets.is_empty() || form.rank == 0 {
        return Err(Error::invalid("an adapter needs at least one target and a rank above 0"));
    }
    if file.len() != 2 * form.targets.len() {
        return Err(Error::invalid(format!(
            "the adapter has {} tensors for {} targets",
            file.len(),
            form.targets.len()
        )));
    }
    for target in &form.targets {
        let dtype = form.dtype.in_file();
        tensor(&file, &format!("{}.lora_A.weight", target.name), dtype, &[form.rank, target.inputs])?;
        tensor(&file, &format!("{}.lora_B.weight", target.name), dtype, &[target.outputs, form.rank])?;
    }
    Ok(())
}

/// Returns the body of a segment of one layer, one token, two heads of four numbers each.
#[cfg(test)]
pub(crate) fn small_segment(token: [u8; 4]) -> Vec<u8> {
    let part = [0; 2 * 4 * 2];
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let half = safetensors::Dtype::F16;
    let tensors = [
        ("l000.k", view(half, &[1, 2, 4], part.as_slice())),
        ("l000.v", view(half, &[1, 2, 4], part.as_slice())),
        ("tokens", view(safetensors::Dtype::U32, &[1], token.as_slice())),
    ];
    safetensors::serialize(tensors, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> ModelFingerprint {
        ModelFingerprint { model: Digest::of(b"model"), tokenizer: Digest::of(b"tokenizer") }
    }

    fn file(tensors: &[(&str, safetensors::Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn segment(tokens: usize) -> (Activation, Vec<u8>) {
        let ids: Vec<u8> = (0..tokens as u32).flat_map(u32::to_le_bytes).collect();
        let part = vec![0; tokens * 2 * 4 * 2];
        let shape: &[usize] = &[tokens, 2, 4];
        let body = file(&[
            ("l000.k", safetensors::Dtype::F16, shape, part.clone()),
            ("l000.v", safetensors::Dtype::F16, shape, part),
            ("tokens", safetensors::Dtype::U32, &[tokens], ids.clone()),
        ]);
        let shape = LayerShape { layers: 1, tokens: tokens as u32, heads: 2, head_size: 4 };
        (Activation { model: fingerprint(), tokens: Digest::of(&ids), position: 0, dtype: Dtype::F16, shape }, body)
    }

    #[test]
    fn a_segment_is_what_its_form_promises() {
        let (form, body) = segment(3);
        assert!(Payload::activation(form.clone(), body.clone()).is_ok());
        let refused = |change: fn(&mut Activation)| {
            let mut form = form.clone();
            change(&mut form);
            Payload::activation(form, body.clone()).unwrap_err().to_string()
        };
        assert!(refused(|form| form.shape.layers = 2).contains("2 layers"));
        assert!(refused(|form| form.shape.tokens = 4).contains("`l000.k`"));
        assert!(refused(|form| form.dtype = Dtype::F32).contains("F32"));
        assert!(refused(|form| form.tokens = Digest::of(b"")).contains("token ids"));
        assert!(Payload::activation(form.clone(), body[..body.len() - 1].to_vec()).is_err());
    }

    #[test]
    fn an_adapter_is_what_its_form_promises() {
        let targets = vec![TargetShape { name: "q".into(), inputs: 4, outputs: 6 }];
        let form = Parametric { base: fingerprint(), rank: 2, dtype: Dtype::F32, targets };
        let body = file(&[
            ("q.lora_A.weight", safetensors::Dtype::F32, &[2, 4], vec![0; 32]),
            ("q.lora_B.weight", safetensors::Dtype::F32, &[6, 2], vec![0; 48]),
        ]);
        assert!(Payload::parametric(form.clone(), body.clone()).is_ok());
        assert!(Payload::parametric(Parametric { rank: 3, ..form.clone() }, body.clone()).is_err());
        assert!(Payload::parametric(Parametric { targets: vec![], ..form }, body).is_err());
    }

    #[test]
    fn texts_have_limits() {
        let limits = Limits { text_bytes: 4, ..Limits::default() };
        for (text, good) in [("four", true), ("fives", false), ("  ", false), ("", false)] {
            assert_eq!(Payload::text(text).check_limits(&limits).is_ok(), good, "{text:?}");
        }
    }
}
