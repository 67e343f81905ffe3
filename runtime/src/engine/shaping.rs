//! Texts to forms and back, on the model's thread: a segment is read, an adapter taught, and each held against its text.

use std::sync::Arc;
use std::time::Instant;

use memos_engine::adapter::Adapter;
use memos_engine::adapter_body::AdapterBody;
use memos_engine::lesson::Teaching;
use memos_engine::model::Model;
use memos_engine::numbers::Precision;
use memos_engine::segment::{Segment, SegmentFile};
use memos_engine::train::{CurvePoint, Pupil, adapt, thinned};
use memos_memory::cube::{
    Activation, Digest, Dtype, Kind, LayerShape, ModelFingerprint, Parametric, Payload, TargetShape,
};
use memos_memory::error::{Error, Result};

use super::gates::{examine_adapter, examine_segment, facts_of};
use super::host::Progress;
use super::memory_error;
use super::options::EngineOptions;
use super::record::GateScores;

/// The most points of a course that are kept on record.
const CURVE_POINTS: usize = 64;

/// A form in memory, ready to be used.
#[derive(Clone)]
pub(super) enum Ready {
    Segment(Segment),
    Adapter(Arc<Adapter>),
}

impl Ready {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.bytes() as u64,
            Self::Adapter(adapter) => adapter.bytes() as u64,
        }
    }
}

/// A form that was made, and what it scored.
pub(super) struct Shaped {
    pub(super) payload: Payload,
    pub(super) ready: Ready,
    pub(super) scores: GateScores,
    pub(super) tokens: usize,
    pub(super) build_millis: f64,
    /// Of an adapter, how its teaching went.
    pub(super) curve: Vec<CurvePoint>,
}

/// Returns how memory names a model.
pub(super) fn fingerprint(model: &Model) -> Result<ModelFingerprint> {
    let digest = |text: &str| {
        text.parse::<Digest>().map_err(|e| Error::invalid(format!("the model has no fingerprint: {e}")).with_source(e))
    };
    Ok(ModelFingerprint { model: digest(model.fingerprint())?, tokenizer: digest(model.tokenizer().fingerprint())? })
}

/// Makes a form of texts and examines it.
pub(super) fn shape(
    model: &Model,
    form: Kind,
    texts: &[String],
    options: &EngineOptions,
    progress: &Progress<'_>,
) -> Result<Shaped> {
    let (begun, text) = (Instant::now(), texts.join("\n"));
    let tokens = model.memory_tokens(&text).map_err(memory_error)?.len();
    let named = fingerprint(model)?;
    progress.tell(0, 1)?;
    let mut curve = Vec::new();
    let (payload, build_millis, ready, scores) = match form {
        Kind::Plaintext => return Err(Error::invalid("a text is what forms are made of; ask for another form")),
        Kind::Activation => {
            // Where it comes from stands in the cube's header; its time would make equal segments differ.
            let segment = model.memorise(&text, Vec::new(), 0).map_err(memory_error)?;
            let body = segment.to_bytes(options.precision).map_err(memory_error)?;
            let build_millis = millis(begun);
            let payload = Payload::activation(activation(model, &segment, options.precision, named), body)?;
            let (ready, scores) = examine(model, &payload, texts, options)?;
            (payload, build_millis, ready, scores)
        }
        Kind::Parametric => {
            let body = taught(model, texts, options, &mut curve, progress)?;
            let bytes = body.to_bytes().map_err(memory_error)?;
            let build_millis = millis(begun);
            let payload = Payload::parametric(parametric(&body, named), bytes)?;
            let (ready, scores) = examine(model, &payload, texts, options)?;
            (payload, build_millis, ready, scores)
        }
    };
    Ok(Shaped { payload, ready, scores, tokens, build_millis, curve: thinned(&curve, CURVE_POINTS) })
}

/// Loads a form from its payload and holds it against its texts.
pub(super) fn examine(
    model: &Model,
    payload: &Payload,
    texts: &[String],
    options: &EngineOptions,
) -> Result<(Ready, GateScores)> {
    let ready = load(model, payload)?;
    let scores = match &ready {
        Ready::Segment(segment) => examine_segment(model, &texts.join("\n"), segment, &options.gates)?,
        Ready::Adapter(adapter) => {
            let facts: Vec<_> = texts.iter().flat_map(|text| facts_of(text)).collect();
            examine_adapter(model, &facts, adapter.clone(), &options.gates, options.teaching.seed)?
        }
    };
    Ok((ready, scores))
}

/// Makes a form ready for use.
pub(super) fn load(model: &Model, payload: &Payload) -> Result<Ready> {
    let expected = model.expected();
    match payload.form().kind() {
        Kind::Plaintext => Err(Error::invalid("a text is read, not loaded")),
        Kind::Activation => {
            let file = SegmentFile::held("segment", payload.body().to_vec()).map_err(memory_error)?;
            Ok(Ready::Segment(file.load(&expected).map_err(memory_error)?))
        }
        Kind::Parametric => {
            let body = AdapterBody::from_bytes("adapter", payload.body().to_vec(), &expected).map_err(memory_error)?;
            let adapter = Adapter::new(expected.config, body.scale, &body.changes).map_err(memory_error)?;
            Ok(Ready::Adapter(Arc::new(adapter)))
        }
    }
}

fn taught(
    model: &Model,
    texts: &[String],
    options: &EngineOptions,
    curve: &mut Vec<CurvePoint>,
    progress: &Progress<'_>,
) -> Result<AdapterBody> {
    let mut facts = Vec::new();
    for fact in texts.iter().flat_map(|text| facts_of(text)) {
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }
    if facts.is_empty() {
        return Err(Error::invalid(
            "the text says nothing that can be asked for by rule, so no adapter can be taught; use a segment",
        ));
    }
    let rows = model.rows();
    let teaching = Teaching::new(&rows, facts).map_err(memory_error)?;
    let config = model.decoder().config().clone();
    let pupil = Pupil::with_adapter(config, model.weights(), &options.adapter).map_err(memory_error)?;
    let mut given_up = None;
    adapt(
        &pupil,
        &options.teaching,
        |dice| teaching.row(dice),
        |_, report| {
            curve.push(CurvePoint { step: report.step, loss: short(report.loss), right: short(report.right) });
            given_up = progress.tell(report.step, report.last).err();
            Ok(given_up.is_none())
        },
    )
    .map_err(memory_error)?;
    if let Some(error) = given_up {
        return Err(error);
    }
    Ok(AdapterBody {
        model: model.fingerprint().to_owned(),
        tokenizer: model.tokenizer().fingerprint().to_owned(),
        scale: options.adapter.scale(),
        changes: pupil.changes().map_err(memory_error)?,
    })
}

fn activation(model: &Model, segment: &Segment, precision: Precision, named: ModelFingerprint) -> Activation {
    let config = model.decoder().config();
    let ids: Vec<u8> = segment.tokens().iter().flat_map(|token| token.to_le_bytes()).collect();
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::Bf16 => Dtype::Bf16,
    };
    let shape = LayerShape {
        layers: small(config.layers),
        tokens: small(segment.tokens().len()),
        heads: small(config.kv_heads),
        head_size: small(config.head_size),
    };
    Activation { model: named, tokens: Digest::of(&ids), position: 0, dtype, shape }
}

fn parametric(body: &AdapterBody, named: ModelFingerprint) -> Parametric {
    let target = |(name, inputs, outputs)| TargetShape { name, inputs: small(inputs), outputs: small(outputs) };
    let targets = body.targets().into_iter().map(target).collect();
    Parametric { base: named, rank: small(body.rank()), dtype: Dtype::F32, targets }
}

/// Leaves out what a curve does not show.
fn short(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
