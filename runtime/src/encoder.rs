//! A sentence encoder of the engine as an embedder of memory.
//!
//! It reads whole sentences, and so finds a memory that says the same in other words; the built-in table is a thousand times
//! faster. A space keeps to the embedder that its vectors were made with.

use std::path::Path;

use memos_engine::encoder::SentenceEncoder as Encoder;
use memos_memory::embed::{Embedder, EmbedderId};
use memos_memory::error::{Error, Result};

use crate::engine::memory_error;

/// A BERT-type sentence encoder, such as all-MiniLM-L6-v2.
pub struct SentenceEncoder {
    id: EmbedderId,
    encoder: Encoder,
}

impl SentenceEncoder {
    /// Loads an encoder from a folder as it is published: `config.json`, `tokenizer.json`, `model.safetensors` and what stands
    /// beside them. Its name is the folder's, with a digest of all that makes its vectors.
    ///
    /// # Errors
    /// `NotFound` when a file is missing, `Invalid` when it is not an encoder of BERT's type or over a limit, `Corrupt` when a
    /// file is cut or damaged.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let encoder = Encoder::load(folder).map_err(memory_error)?;
        Ok(Self { id: encoder.id().parse()?, encoder })
    }
}

impl Embedder for SentenceEncoder {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.encoder.dimensions()
    }

    fn embed(&self, text: &str) -> Result<Vec<f32>> {
        let vector = self.embed_batch(&[text])?.pop();
        vector.ok_or_else(|| Error::unavailable("the encoder gave no vector"))
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.encoder.encode(texts).map_err(memory_error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use memos_memory::cube::{CubeDraft, SemanticType, SpaceName};
    use memos_memory::disk::MemoryDisk;
    use memos_memory::error::ErrorKind;
    use memos_memory::governance::Principal;
    use memos_memory::operator::{MemoryCall, recall};
    use memos_memory::reader::read_question;
    use memos_memory::vault::{Space, Vault, VaultOptions};

    use super::*;

    fn first(space: &Space, question: &str) -> Option<String> {
        let ada = Principal::new("user:ada".parse().unwrap());
        let call = MemoryCall::new(ada, question, space.now());
        let answer = recall(&[space], &read_question(&[space], call).unwrap()).unwrap();
        answer.receipts.first().map(|receipt| receipt.cube.to_string())
    }

    #[test]
    fn a_space_goes_over_to_an_encoder_and_finds_what_is_said_in_other_words() {
        let Some(folder) = std::env::var_os("MEMOS_ENCODER") else {
            eprintln!("skipped: name the folder of all-MiniLM-L6-v2 in MEMOS_ENCODER");
            return;
        };
        let (name, disk): (SpaceName, _) = ("home/main".parse().unwrap(), Arc::new(MemoryDisk::default()));
        let options = || VaultOptions { disk: disk.clone(), ..VaultOptions::builtin().unwrap() };
        let space = Vault::open("nowhere", options()).unwrap().space(&name).unwrap();
        let ada = Principal::new("user:ada".parse().unwrap());
        let mut ids = Vec::new();
        for text in ["The physician prescribed rest", "The train was late again", "Bo bakes bread on Sundays"] {
            ids.push(space.remember(&ada, CubeDraft::text(SemanticType::Fact, text)).unwrap().to_string());
        }
        drop(space);
        let encoder = Arc::new(SentenceEncoder::load(&folder).unwrap());
        assert!(encoder.id().as_str().contains(':'));
        let vault = Vault::open("nowhere", VaultOptions { embedder: encoder, ..options() }).unwrap();
        let refused = vault.existing_space(&name).err().unwrap();
        assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("memos reembed"), "{refused}");
        assert_eq!(vault.reembed(&name, |_, _| {}).unwrap(), 3);
        let space = vault.existing_space(&name).unwrap();
        assert_eq!(first(&space, "What did my doctor tell me to do?").as_ref(), ids.first());
    }

    #[test]
    fn a_folder_without_an_encoder_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = SentenceEncoder::load(folder.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("no `config.json`"), "{error}");
    }
}
