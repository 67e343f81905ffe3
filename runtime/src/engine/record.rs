//! What stands in a space about its forms: one small register for each, which moves in the same batch as the form's cube. It
//! holds ids, names, states and scores, never what a memory says.

use memos_engine::train::CurvePoint;
use memos_memory::cube::{CubeId, Digest, Kind, ModelFingerprint, VersionRef};
use memos_memory::error::{Error, Result};
use memos_memory::time::Timestamp;
use memos_memory::vault::{Batch, Space};
use serde::{Deserialize, Serialize};

/// What the names of the registers begin with.
pub(super) const PREFIX: &str = "engine/form/";

/// How a form stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormState {
    /// It is asked for, and is made or will be.
    Asked,
    /// It has passed its gate and is used.
    Adopted,
    /// It has not passed its gate, and is kept out.
    Refused,
    /// Its source rests (archived, expired); it comes back with it.
    Resting,
    /// It is gone: its source says something else, was erased, or nobody wanted it any more.
    Withdrawn,
}

/// What a form scored at its gate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct GateScores {
    /// Questions that were made of its text.
    pub probes: usize,
    /// Of them, answered rightly with the text in context; of a segment, not looked at.
    pub text_right: usize,
    /// Of them, answered rightly by an adapter; of a segment, answered with the same tokens as behind its text.
    pub form_right: usize,
    /// Questions about other things.
    pub unrelated: usize,
    /// Of them, those whose answer changed.
    pub changed: usize,
    /// The largest difference of a logit behind a segment from that behind its text.
    pub logits_off: f32,
}

/// What is known of one form of some versions of memories for one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormRecord {
    /// Names it within its space; follows from sources, form and model.
    pub key: String,
    /// Which form: `activation` or `parametric`.
    #[serde(with = "kind_name")]
    pub form: Kind,
    /// The versions that it is made from.
    pub sources: Vec<VersionRef>,
    /// The model that can use it.
    pub model: ModelFingerprint,
    /// How it stands.
    pub state: FormState,
    /// Why, in words.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
    /// The cube that holds it, once there was one.
    pub cube: Option<CubeId>,
    /// What it scored.
    pub scores: Option<GateScores>,
    /// Bytes of its body.
    pub bytes: u64,
    /// Tokens of its sources' text.
    pub tokens: usize,
    /// How long it took to make, in milliseconds.
    pub build_millis: u64,
    /// How often it was begun.
    pub tries: u32,
    /// Of an adapter, how its teaching went: a few points of the course.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
}

impl FormRecord {
    /// Begins the record of a form that is asked for. The order of its sources counts.
    pub(super) fn asked(form: Kind, sources: Vec<VersionRef>, model: ModelFingerprint, at: Timestamp) -> Self {
        let mut parts: Vec<String> = sources.iter().map(ToString::to_string).collect();
        parts.push(form.as_str().to_owned());
        parts.push(format!("{} {}", model.model, model.tokenizer));
        let key: String = Digest::of(parts.join("\n").as_bytes()).to_string().chars().take(32).collect();
        let (state, why) = (FormState::Asked, "it is asked for".to_owned());
        Self {
            key,
            form,
            sources,
            model,
            state,
            why,
            at,
            cube: None,
            scores: None,
            bytes: 0,
            tokens: 0,
            build_millis: 0,
            tries: 0,
            curve: Vec::new(),
        }
    }

    pub(super) fn register(&self) -> String {
        format!("{PREFIX}{}", self.key)
    }

    /// Goes over to another state.
    pub(super) fn turned(self, state: FormState, why: impl Into<String>, at: Timestamp) -> Self {
        Self { state, why: why.into(), at, ..self }
    }

    /// Puts the record into its register with a batch.
    pub(super) fn keep(&self, batch: &mut Batch) -> Result<()> {
        let written = serde_json::to_vec(&Kept::First(self));
        let written = written.map_err(|e| Error::invalid(format!("a form's record cannot be written: {e}")))?;
        batch.set_register(self.register(), Some(written));
        Ok(())
    }
}

/// A value with the number of its format.
#[derive(Serialize, Deserialize)]
#[serde(tag = "format", content = "value")]
enum Kept<T> {
    #[serde(rename = "1")]
    First(T),
}

/// Reads the record of a form.
pub(super) fn of(space: &Space, key: &str) -> Result<Option<FormRecord>> {
    let name = format!("{PREFIX}{key}");
    space.register(&name).map(|value| read(&name, &value)).transpose()
}

/// Reads the records of all forms of a space for a model.
pub(super) fn all(space: &Space, model: &ModelFingerprint) -> Result<Vec<FormRecord>> {
    let mut records: Vec<FormRecord> =
        space.registers(PREFIX).iter().map(|(name, value)| read(name, value)).collect::<Result<_>>()?;
    records.retain(|record| record.model == *model);
    Ok(records)
}

fn read(name: &str, value: &[u8]) -> Result<FormRecord> {
    let read = serde_json::from_slice(value);
    let Kept::First(record) = read.map_err(|e| Error::corrupt(format!("register `{name}` cannot be read: {e}")))?;
    Ok(record)
}

mod kind_name {
    use memos_memory::cube::Kind;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
