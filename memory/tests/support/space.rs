//! What the tests of spaces have in common: vaults on an embedder of sixteen numbers and a clock that is set by hand.
//!
//! Each test file takes what it needs, so not all of it is used everywhere.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use memos_memory::Result;
use memos_memory::cube::{
    Activation, CubeDraft, Digest, Dtype, LayerShape, ModelFingerprint, Payload, SeededIds, SemanticType, SpaceName,
};
use memos_memory::disk::{Disk, SystemDisk};
use memos_memory::governance::{LayerPolicy, Principal};
use memos_memory::keys::{KeyRing, MasterKey, SystemEntropy};
use memos_memory::ledger::{Ledger, LedgerOptions};
use memos_memory::limits::Limits;
use memos_memory::vault::{MasterKeySource, Space, Vault, VaultOptions};
use safetensors::tensor::TensorView;

#[allow(unused_imports)]
pub(crate) use crate::seeded::{DIMENSIONS, HandClock, Random, START, WordEmbedder};

/// Returns options with the test embedder and these limits.
pub(crate) fn options(limits: Limits) -> VaultOptions {
    VaultOptions {
        embedder: Arc::new(WordEmbedder::new(1)),
        policy: Arc::new(LayerPolicy),
        clock: Arc::new(HandClock::default()),
        ids: Arc::new(SeededIds::new(1)),
        disk: Arc::new(SystemDisk),
        master_key: MasterKeySource::Folder,
        entropy: Arc::new(SystemEntropy),
        limits,
    }
}

/// The machine's disk.
pub(crate) fn system_disk() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

/// The space that the tests use.
pub(crate) fn space_name() -> SpaceName {
    "acme/test".parse().unwrap()
}

/// Opens the test space below a folder.
pub(crate) fn open(folder: &Path, options: &VaultOptions) -> Result<Space> {
    Vault::open(folder, options.clone())?.space(&space_name())
}

/// Opens the ledger of the test space below a folder, without the space.
pub(crate) fn open_ledger(root: &Path, limits: Limits) -> Ledger {
    let (disk, folder) = (system_disk(), root.join(space_name().as_str()));
    let options = LedgerOptions { disk: disk.clone(), sealed: true, limits };
    let ring = |_| {
        let master = MasterKey::read(&*disk, &root.join("master.key"))?;
        let file = folder.join("keys.ring");
        KeyRing::open(disk.clone(), &file, &master, space_name().as_str(), Arc::new(SystemEntropy)).map(Arc::new)
    };
    Ledger::open(&folder, options, ring, |origin| panic!("it is no fork of {origin}")).unwrap()
}

/// Returns a principal without groups and roles.
pub(crate) fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

/// Returns a draft of a fact.
pub(crate) fn fact(text: impl Into<String>) -> CubeDraft {
    CubeDraft::text(SemanticType::Fact, text)
}

/// Makes a folder that is removed with the value, in memory where the machine has such a place: for tests that open many
/// spaces and are not about the disk.
pub(crate) fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes the smallest payload that is not text: keys and values of one layer over so many tokens.
pub(crate) fn segment(tokens: usize) -> Payload {
    let ids: Vec<u8> = (0..tokens as u32).flat_map(u32::to_le_bytes).collect();
    let part = vec![0; tokens * 2];
    let view = |dtype, shape: Vec<usize>, data| TensorView::new(dtype, shape, data).unwrap();
    let body = safetensors::serialize(
        [
            ("l000.k", view(safetensors::Dtype::F16, vec![tokens, 1, 1], &part)),
            ("l000.v", view(safetensors::Dtype::F16, vec![tokens, 1, 1], &part)),
            ("tokens", view(safetensors::Dtype::U32, vec![tokens], &ids)),
        ],
        None,
    );
    let form = Activation {
        model: ModelFingerprint { model: Digest::of(b"model"), tokenizer: Digest::of(b"tokenizer") },
        tokens: Digest::of(&ids),
        position: 0,
        dtype: Dtype::F16,
        shape: LayerShape { layers: 1, tokens: tokens as u32, heads: 1, head_size: 1 },
    };
    Payload::activation(form, body.unwrap()).unwrap()
}
