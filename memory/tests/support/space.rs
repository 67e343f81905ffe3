//! What the tests of spaces have in common: an embedder of sixteen numbers, a clock that is set by hand, and vaults on them.
//!
//! Each test file takes what it needs, so not all of it is used everywhere.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use memos_memory::Result;
use memos_memory::cube::{
    Activation, CubeDraft, Digest, Dtype, LayerShape, ModelFingerprint, Payload, SeededIds, SemanticType, SpaceName,
};
use memos_memory::disk::{Disk, SystemDisk};
use memos_memory::embed::{Embedder, EmbedderId};
use memos_memory::governance::{LayerPolicy, Principal};
use memos_memory::keys::{KeyRing, MasterKey, SystemEntropy};
use memos_memory::ledger::{Ledger, LedgerOptions};
use memos_memory::limits::Limits;
use memos_memory::time::{Clock, Timestamp};
use memos_memory::vault::{MasterKeySource, Space, Vault, VaultOptions};
use safetensors::tensor::TensorView;

/// Numbers in a vector of [`WordEmbedder`].
pub(crate) const DIMENSIONS: usize = 16;

/// When the clock of every test starts: 2023-11-14T22:13:20Z.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Adds up one fixed direction a word. It costs nothing, and is the same on every machine.
pub(crate) struct WordEmbedder {
    id: EmbedderId,
    seed: u64,
}

impl WordEmbedder {
    /// Makes an embedder; those of different seeds give different vectors and have different names.
    pub(crate) fn new(seed: u64) -> Self {
        Self { id: format!("words-{seed}:0").parse().unwrap(), seed }
    }
}

impl Embedder for WordEmbedder {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, text: &str) -> Result<Vec<f32>> {
        let mut sum = vec![0.0_f32; DIMENSIONS];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let start =
                word.bytes().fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            let mut random = Random::new(start);
            sum.iter_mut().for_each(|number| *number += random.below(2001) as f32 / 1000.0 - 1.0);
        }
        let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|number| *number /= length);
        }
        Ok(sum)
    }
}

/// A clock that moves when it is told to.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl Default for HandClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }
}

impl HandClock {
    /// Moves on.
    pub(crate) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Numbers that follow from a seed: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// Returns whether something that happens `times` in `of` times happens now.
    pub(crate) fn chance(&mut self, times: usize, of: usize) -> bool {
        self.below(of) < times
    }

    /// Returns one of the values.
    pub(crate) fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

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
