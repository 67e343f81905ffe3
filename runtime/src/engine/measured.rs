//! What an engine has measured of itself, and what its forms therefore cost: so break-even is computed, not guessed.

use std::sync::Arc;
use std::time::Instant;

use memos_engine::model::Model;
use memos_engine::segment::SegmentFile;
use memos_memory::cube::Kind;
use memos_memory::error::Result;
use memos_memory::schedule::FormCost;
use parking_lot::Mutex;
use serde::Serialize;

use super::memory_error;
use super::options::EngineOptions;
use super::shaping::{Shaped, millis};

/// What the newest measurement counts for.
const NEWEST: f64 = 0.25;
/// Tokens of a lesson's row, about.
const ROW_TOKENS: f64 = 160.0;
/// What a step of teaching costs for each token, in readings of it: once forward, twice back, and once without the adapter.
const READINGS: f64 = 4.0;

/// What an engine has measured of itself, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EngineMeasures {
    /// To read a token.
    pub read_token: f64,
    /// To load a megabyte of a form.
    pub load_megabyte: f64,
    /// To teach an adapter; 0 when none was taught yet.
    pub teach: f64,
}

/// Measures that all parts of an engine share.
#[derive(Clone, Default)]
pub(super) struct Measured(Arc<Mutex<EngineMeasures>>);

impl Measured {
    pub(super) fn read(&self) -> EngineMeasures {
        *self.0.lock()
    }

    /// Reads and loads something, to know how fast this model is on this machine.
    pub(super) fn calibrate(&self, model: &Model, options: &EngineOptions) -> Result<()> {
        let text = "Mira lives in Oslo. Ada owns a kayak. ".repeat(4);
        // The first time warms up what is read for the first time.
        model.memorise(&text, Vec::new(), 0).map_err(memory_error)?;
        let begun = Instant::now();
        let segment = model.memorise(&text, Vec::new(), 0).map_err(memory_error)?;
        let per_token = millis(begun) / segment.tokens().len().max(1) as f64;
        let bytes = segment.to_bytes(options.precision).map_err(memory_error)?;
        let (size, begun) = (bytes.len(), Instant::now());
        SegmentFile::held("segment", bytes).and_then(|file| file.load(&model.expected())).map_err(memory_error)?;
        *self.0.lock() = EngineMeasures { read_token: per_token, load_megabyte: per_megabyte(size, begun), teach: 0.0 };
        Ok(())
    }

    pub(super) fn built(&self, form: Kind, shaped: &Shaped) {
        let mut measures = self.0.lock();
        match form {
            Kind::Parametric => blend(&mut measures.teach, shaped.build_millis),
            _ => blend(&mut measures.read_token, shaped.build_millis / shaped.tokens.max(1) as f64),
        }
    }

    pub(super) fn loaded(&self, bytes: usize, begun: Instant) {
        blend(&mut self.0.lock().load_megabyte, per_megabyte(bytes, begun));
    }

    /// Says what the forms of a memory with so many tokens cost, and what each use saves.
    pub(super) fn costs(&self, model: &Model, options: &EngineOptions, tokens: usize) -> Vec<(Kind, FormCost)> {
        let EngineMeasures { read_token, load_megabyte, teach } = self.read();
        let config = model.decoder().config();
        let reading = tokens as f64 * read_token;
        let load = |bytes: u64| load_megabyte * bytes as f64 / 1e6;
        let bytes = (tokens * (config.kv_bytes_per_token() + size_of::<u32>())) as u64;
        // A segment that does not come first has its first tokens read again.
        let mend = memos_engine::joining::MENDED_TOKENS.min(tokens) as f64 * read_token;
        let segment = cost(reading + load(bytes), reading - mend, bytes);
        let widths = options.adapter.targets.iter().map(|target| target.shape(config));
        let numbers: usize = widths.map(|(out, width)| (out + width) * options.adapter.rank).sum();
        let bytes = (numbers * config.layers * size_of::<f32>()) as u64;
        let steps = (options.teaching.steps * options.teaching.rows) as f64;
        let teach = if teach > 0.0 { teach } else { steps * ROW_TOKENS * READINGS * read_token };
        let adapter = cost(teach + load(bytes), reading, bytes);
        vec![(Kind::Activation, segment), (Kind::Parametric, adapter)]
    }
}

fn cost(build_millis: f64, saved_millis: f64, bytes: u64) -> FormCost {
    let saved_millis_per_use = saved_millis.max(0.0) as f32;
    FormCost { build_millis: build_millis as f32, saved_millis_per_use, bytes }
}

fn blend(value: &mut f64, newest: f64) {
    *value = if *value > 0.0 { *value + (newest - *value) * NEWEST } else { newest };
}

fn per_megabyte(bytes: usize, begun: Instant) -> f64 {
    millis(begun) * 1e6 / bytes.max(1) as f64
}
