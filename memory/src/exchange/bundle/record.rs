//! The records of a bundle as they are written: what stands in a line.
//!
//! They stand apart from the types of a running space, which change more often than a format may. A field that has
//! nothing to say is not written; a field that format 1 does not know is refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::named;
use crate::cube::{
    Activation, CubeId, Digest, Dtype, Form, Governance, Grant, Grantee, Header, Kind, Layer, LayerShape, Lifespan,
    ModelFingerprint, OriginKind, Parametric, PrincipalId, Priority, Rights, SemanticType, Source, State, TargetShape,
    VersionRef,
};
use crate::governance::sensitivity::SensitivityKind;
use crate::graph::{Link, LinkKind};
use crate::time::{Timestamp, Window};

/// A cube at its present version, as a bundle carries it. Times are milliseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleCube {
    /// Names the cube in every space.
    pub id: CubeId,
    /// Its version in the space that it was exported from.
    pub version: u32,
    /// What sort of statement it is.
    #[serde(with = "named")]
    pub semantic: SemanticType,
    /// A short name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The way from the general to this memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Whose data it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who and what made it.
    pub origin: BundleOrigin,
    /// When this version was written.
    pub created: Timestamp,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// From when on it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Until when it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Whose it is and who may use it.
    pub governance: BundleGovernance,
    /// Where it stands in its life.
    #[serde(with = "named")]
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The kind of payload with what must be known to use it.
    pub form: BundleForm,
    /// The digest of the body as it stands in this bundle.
    #[serde(with = "named")]
    pub content: Digest,
    /// Bytes of that body.
    pub bytes: u64,
    /// The digest of the body before a watermark was put into it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "named::maybe")]
    pub original: Option<Digest>,
    /// The digests of the bodies of earlier versions, oldest first, as far as the exporter might read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "named::list")]
    pub earlier: Vec<Digest>,
    /// The versions of other cubes it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived_from: Vec<BundleVersion>,
    /// The body of a plaintext cube.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether sensitive content was taken out of the text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

impl BundleCube {
    /// Describes a version. The text is left for [`BundleCube::with_text`].
    pub fn describe(header: &Header, state: State) -> Self {
        let Window { from, until } = header.times.valid;
        Self {
            id: header.id,
            version: header.version,
            semantic: header.semantic,
            title: header.title.clone(),
            tags: header.tags.clone(),
            path: header.path.clone(),
            subject: header.subject.clone(),
            origin: BundleOrigin {
                principal: header.origin.principal.clone(),
                kind: header.origin.kind,
                task: header.origin.task.clone(),
                session: header.origin.session.clone(),
                model: header.origin.model.clone(),
                speaker: header.origin.speaker.clone(),
                reference: header.origin.reference.clone(),
                source: header.origin.source.clone().map(BundleSource::from),
            },
            created: header.times.created,
            observed: header.times.observed,
            valid_from: from,
            valid_until: until,
            governance: (&header.governance).into(),
            state,
            since: header.lifecycle.since,
            reason: header.lifecycle.reason.clone(),
            form: (&header.form).into(),
            content: header.fingerprint.content,
            bytes: header.fingerprint.bytes,
            original: None,
            earlier: Vec::new(),
            derived_from: header.chain.derived_from.iter().map(|&version| version.into()).collect(),
            text: None,
            redacted: false,
        }
    }

    /// Puts the text in, whatever was done to it on the way, and with it its digest and size.
    pub fn with_text(mut self, text: String) -> Self {
        self.content = Digest::of(text.as_bytes());
        self.bytes = text.len() as u64;
        self.text = Some(text);
        self
    }

    /// Returns the window in which it is true.
    pub fn valid(&self) -> Window {
        Window { from: self.valid_from, until: self.valid_until }
    }

    /// Returns the kind of the payload.
    pub fn kind(&self) -> Kind {
        match self.form {
            BundleForm::Plaintext => Kind::Plaintext,
            BundleForm::Activation(_) => Kind::Activation,
            BundleForm::Parametric(_) => Kind::Parametric,
        }
    }
}

/// Who and what made a memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleOrigin {
    /// Who wrote it.
    pub principal: PrincipalId,
    /// How it came to be.
    #[serde(with = "named")]
    pub kind: OriginKind,
    /// The task it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The session it was said in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The model that concluded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Its place in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where the exporting space had it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BundleSource>,
}

/// Where a space had a memory from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleSource {
    /// The system.
    pub system: String,
    /// The space there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The cube there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cube: Option<String>,
    /// Its version there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The key that vouched for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

impl From<Source> for BundleSource {
    fn from(source: Source) -> Self {
        let Source { system, space, cube, version, signer } = source;
        Self { system, space, cube, version, signer }
    }
}

/// Whose a memory is and who may use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleGovernance {
    /// Who may read it by default: `private`, `shared:GROUP` or `global`.
    #[serde(with = "named")]
    pub layer: Layer,
    /// Whose it is.
    pub owner: PrincipalId,
    /// Rights beyond those of the layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<BundleGrant>,
    /// How long it is kept.
    #[serde(default, skip_serializing_if = "BundleLifespan::is_forever")]
    pub lifespan: BundleLifespan,
    /// Whether it must not be erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legal_hold: bool,
    /// How much it matters.
    #[serde(with = "named")]
    pub priority: Priority,
    /// Kinds of sensitive content in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "named::list")]
    pub sensitivity: BTreeSet<SensitivityKind>,
    /// Names the sharer in shared content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
}

impl From<&Governance> for BundleGovernance {
    fn from(governance: &Governance) -> Self {
        Self {
            layer: governance.layer.clone(),
            owner: governance.owner.clone(),
            grants: governance.grants.iter().map(BundleGrant::from).collect(),
            lifespan: governance.lifespan.into(),
            legal_hold: governance.legal_hold,
            priority: governance.priority,
            sensitivity: governance.sensitivity.clone(),
            watermark: governance.watermark.clone(),
        }
    }
}

/// Rights given to one principal or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleGrant {
    /// The principal, or `group:NAME`.
    pub to: String,
    /// To read it.
    pub read: bool,
    /// To write its next version.
    pub write: bool,
    /// To widen who may read it.
    pub share: bool,
}

impl From<&Grant> for BundleGrant {
    fn from(grant: &Grant) -> Self {
        let Rights { read, write, share } = grant.rights;
        let to = match &grant.to {
            Grantee::Principal(principal) => principal.to_string(),
            Grantee::Group(group) => format!("group:{group}"),
        };
        Self { to, read, write, share }
    }
}

/// How long a memory is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BundleLifespan {
    /// Until somebody decides otherwise.
    #[default]
    Forever,
    /// For so many milliseconds after it was created.
    TimeToLiveMillis(u64),
    /// Its weight falls to half in so many milliseconds without use.
    HalfLifeMillis(u64),
}

impl BundleLifespan {
    fn is_forever(&self) -> bool {
        *self == Self::Forever
    }
}

impl From<Lifespan> for BundleLifespan {
    fn from(lifespan: Lifespan) -> Self {
        match lifespan {
            Lifespan::Forever => Self::Forever,
            Lifespan::TimeToLiveMillis(millis) => Self::TimeToLiveMillis(millis),
            Lifespan::HalfLifeMillis(millis) => Self::HalfLifeMillis(millis),
        }
    }
}

impl From<BundleLifespan> for Lifespan {
    fn from(lifespan: BundleLifespan) -> Self {
        match lifespan {
            BundleLifespan::Forever => Self::Forever,
            BundleLifespan::TimeToLiveMillis(millis) => Self::TimeToLiveMillis(millis),
            BundleLifespan::HalfLifeMillis(millis) => Self::HalfLifeMillis(millis),
        }
    }
}

/// The kind of payload with what must be known to use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BundleForm {
    /// UTF-8 text, in the line itself.
    Plaintext,
    /// A key-value segment of one model, in a file of its own.
    Activation(BundleActivation),
    /// An adapter of one model, in a file of its own.
    Parametric(BundleParametric),
}

/// What a key-value segment is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleActivation {
    /// The digest of the model.
    #[serde(with = "named")]
    pub model: Digest,
    /// The digest of its tokenizer.
    #[serde(with = "named")]
    pub tokenizer: Digest,
    /// The digest of its token ids.
    #[serde(with = "named")]
    pub token_ids: Digest,
    /// The position of its first token.
    pub position: u32,
    /// The number type.
    #[serde(with = "named")]
    pub dtype: Dtype,
    /// Layers of the model.
    pub layers: u32,
    /// Tokens of the segment.
    pub tokens: u32,
    /// Key-value heads of a layer.
    pub heads: u32,
    /// Numbers in one head.
    pub head_size: u32,
}

/// What an adapter is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleParametric {
    /// The digest of the model that it changes.
    #[serde(with = "named")]
    pub model: Digest,
    /// The digest of that model's tokenizer.
    #[serde(with = "named")]
    pub tokenizer: Digest,
    /// The inner size of its matrices.
    pub rank: u32,
    /// The number type.
    #[serde(with = "named")]
    pub dtype: Dtype,
    /// The layers it changes.
    pub targets: Vec<BundleTarget>,
}

/// One linear layer that an adapter changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleTarget {
    /// The layer's name in the model.
    pub name: String,
    /// Its inputs.
    pub inputs: u32,
    /// Its outputs.
    pub outputs: u32,
}

impl From<&Form> for BundleForm {
    fn from(form: &Form) -> Self {
        match form {
            Form::Plaintext => Self::Plaintext,
            Form::Activation(Activation { model, tokens, position, dtype, shape }) => {
                Self::Activation(BundleActivation {
                    model: model.model,
                    tokenizer: model.tokenizer,
                    token_ids: *tokens,
                    position: *position,
                    dtype: *dtype,
                    layers: shape.layers,
                    tokens: shape.tokens,
                    heads: shape.heads,
                    head_size: shape.head_size,
                })
            }
            Form::Parametric(Parametric { base, rank, dtype, targets }) => Self::Parametric(BundleParametric {
                model: base.model,
                tokenizer: base.tokenizer,
                rank: *rank,
                dtype: *dtype,
                targets: targets
                    .iter()
                    .map(|target| BundleTarget {
                        name: target.name.clone(),
                        inputs: target.inputs,
                        outputs: target.outputs,
                    })
                    .collect(),
            }),
        }
    }
}

impl From<&BundleForm> for Form {
    fn from(form: &BundleForm) -> Self {
        match form {
            BundleForm::Plaintext => Self::Plaintext,
            BundleForm::Activation(form) => Self::Activation(Activation {
                model: ModelFingerprint { model: form.model, tokenizer: form.tokenizer },
                tokens: form.token_ids,
                position: form.position,
                dtype: form.dtype,
                shape: LayerShape {
                    layers: form.layers,
                    tokens: form.tokens,
                    heads: form.heads,
                    head_size: form.head_size,
                },
            }),
            BundleForm::Parametric(form) => Self::Parametric(Parametric {
                base: ModelFingerprint { model: form.model, tokenizer: form.tokenizer },
                rank: form.rank,
                dtype: form.dtype,
                targets: form
                    .targets
                    .iter()
                    .map(|target| TargetShape {
                        name: target.name.clone(),
                        inputs: target.inputs,
                        outputs: target.outputs,
                    })
                    .collect(),
            }),
        }
    }
}

/// Names one version of a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleVersion {
    /// The cube.
    pub cube: CubeId,
    /// Its version, counted from 1.
    pub version: u32,
}

impl From<VersionRef> for BundleVersion {
    fn from(VersionRef { cube, version }: VersionRef) -> Self {
        Self { cube, version }
    }
}

/// A link between two cubes, of which the bundle holds at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleLink {
    /// The cube that it leaves.
    pub from: CubeId,
    /// What it says.
    #[serde(with = "named")]
    pub kind: LinkKind,
    /// The cube that it enters.
    pub to: CubeId,
    /// Whether one of the two is not in the bundle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

impl BundleLink {
    /// Returns the link as a graph knows it.
    pub fn link(&self) -> Link {
        Link { from: self.from, kind: self.kind, to: self.to }
    }
}
