//! What an engine works with, and its bounds.

use std::time::Duration;

use memos_engine::numbers::Precision;
use memos_engine::train::{AdapterPlan, AdapterShape};

/// What an engine works with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Its bounds.
    pub limits: EngineLimits,
    /// What a form must pass before it is used.
    pub gates: GateBounds,
    /// How exact a segment's numbers are kept. F16: half the bytes, and logits that differ by a thousandth.
    pub precision: Precision,
    /// The shape of an adapter that is taught.
    pub adapter: AdapterShape,
    /// How an adapter is taught.
    pub teaching: AdapterPlan,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            limits: EngineLimits::default(),
            gates: GateBounds::default(),
            precision: Precision::F16,
            adapter: AdapterShape::default(),
            teaching: AdapterPlan::default(),
        }
    }
}

/// The bounds within which an engine works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Questions that wait for the model. Beyond it the answer is `Busy`. 64.
    pub questions: usize,
    /// Questions that are answered together. 16.
    pub batch: usize,
    /// Jobs (reading a segment, teaching an adapter) that wait for their thread. Beyond it the answer is `Busy`. 16.
    pub jobs: usize,
    /// The most tokens of one answer. 4096.
    pub answer_tokens: usize,
    /// The most memories that one form is made of. 256.
    pub sources: usize,
    /// Bytes of segments in memory. One gigabyte.
    pub segment_bytes: u64,
    /// Bytes of adapters in memory. 256 megabytes.
    pub adapter_bytes: u64,
    /// The most adapters that one answer uses; each was examined alone. 1.
    pub adapters_at_once: usize,
    /// Forms that a space keeps on record. Beyond it those that were refused or withdrawn longest ago are forgotten. 1024.
    pub records: usize,
    /// How often a form is begun again that crashes kept from being made. 3.
    pub tries: u32,
    /// How long an answer or a job may take when its caller names no deadline. 10 minutes.
    pub patience: Duration,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            questions: 64,
            batch: 16,
            jobs: 16,
            answer_tokens: 4096,
            sources: 256,
            segment_bytes: 1 << 30,
            adapter_bytes: 256 << 20,
            adapters_at_once: 1,
            records: 1024,
            tries: 3,
            patience: Duration::from_secs(600),
        }
    }
}

/// What a form must pass before it is used, and how thoroughly it is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct GateBounds {
    /// The most questions that are made of its text. 32.
    pub probes: usize,
    /// The most tokens of an answer to one. 32.
    pub probe_tokens: usize,
    /// By how much the logits behind a segment may differ from those behind its text, at any token. 0.1.
    pub logits: f32,
    /// Questions about other things that an adapter is asked. 64.
    pub unrelated: usize,
    /// The share of their answers that an adapter may change, from 0 to 1. 0.02.
    pub changed: f64,
}

impl Default for GateBounds {
    fn default() -> Self {
        Self { probes: 32, probe_tokens: 32, logits: 0.1, unrelated: 64, changed: 0.02 }
    }
}
