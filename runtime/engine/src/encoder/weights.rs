//! An encoder's weights out of a safetensors file, each checked before it is used: that it is there, has its shape, and finite
//! numbers alone.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::{Error, Result};

/// The longest header of a file, in bytes. A large encoder has 400 tensors, which take 40 KB.
const MAX_HEADER_BYTES: u64 = 8 << 20;

/// The tensors of one file.
pub(super) struct Weights<'a> {
    file: PathBuf,
    tensors: SafeTensors<'a>,
    /// What stands before each name where the encoder was part of a larger model.
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    /// Reads the header and holds it against the file's length.
    pub(super) fn read(folder: &Path, bytes: &'a [u8]) -> Result<Self> {
        let file = folder.join("model.safetensors");
        let header = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
        if let Some(length) = header.filter(|length| *length > MAX_HEADER_BYTES) {
            let message = format!("`{}` says that its header has {length} bytes", file.display());
            return Err(Error::invalid(format!("{message}, and {MAX_HEADER_BYTES} is the most")));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            let message = format!("`{}` is cut or damaged: {error}; get it again", file.display());
            Error::corrupt(message).with_source(error)
        })?;
        let inner = tensors.names().iter().any(|name| name.starts_with("bert."));
        Ok(Self { file, tensors, prefix: if inner { "bert." } else { "" } })
    }

    /// Returns a tensor in 32-bit floats.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        let wrong = |what: String| Error::corrupt(format!("`{}`: the tensor `{name}` {what}", self.file.display()));
        let found = self.tensors.tensor(&name).map_err(|error| wrong("is missing".to_owned()).with_source(error))?;
        if found.shape() != shape {
            return Err(wrong(format!("has the shape {:?}, and `config.json` asks for {shape:?}", found.shape())));
        }
        let kind = match found.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(wrong(format!("has numbers of the type {other:?}, use F32, F16 or BF16"))),
        };
        let tensor = Tensor::from_raw_buffer(found.data(), kind, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        match tensor.flatten_all()?.to_vec1::<f32>()?.iter().all(|value| value.is_finite()) {
            true => Ok(tensor),
            false => Err(wrong("has numbers that are not finite; get the file again".to_owned())),
        }
    }
}
