//! How cubes begin and how their next version is made: drafts and version-aware updates.
//!
//! An update names the version it was made from. When that is no longer the head, it is refused as a `Conflict`, so that
//! two writers never overwrite each other unseen.

use std::collections::BTreeSet;

use super::header::{
    Chain, Fingerprint, Governance, Grant, Header, Layer, Lifecycle, Lifespan, Origin, OriginKind, Priority,
    SemanticType, State, Times, VersionRef,
};
use super::{CubeId, Digest, Payload, PrincipalId};
use crate::embed::EmbedderId;
use crate::error::{Error, Result};
use crate::governance::sensitivity::{SensitivityKind, find_sensitive};
use crate::limits::Limits;
use crate::time::{Timestamp, Window};

/// A memory on its way in: all that its writer knows. The rest of the header is filled in when it is stored.
#[derive(Debug, Clone)]
pub struct CubeDraft {
    /// What it says.
    pub payload: Payload,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// A short name for people; may be empty.
    pub title: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The way from the general to this memory.
    pub path: Vec<String>,
    /// How it came to be.
    pub origin: OriginKind,
    /// The task it belongs to.
    pub task: Option<String>,
    /// The session it was said in.
    pub session: Option<String>,
    /// The model that concluded it.
    pub model: Option<String>,
    /// Who said it.
    pub speaker: Option<String>,
    /// Its place in the source.
    pub reference: Option<String>,
    /// When it was said or seen; the time of storing when not given.
    pub observed: Option<Timestamp>,
    /// When it is true.
    pub valid: Window,
    /// Whose it is; the writer's when not given.
    pub owner: Option<PrincipalId>,
    /// Who may read it by default.
    pub layer: Layer,
    /// Rights beyond those of the layer.
    pub grants: Vec<Grant>,
    /// How long it is kept.
    pub lifespan: Lifespan,
    /// Whether it must not be erased.
    pub legal_hold: bool,
    /// How much it matters.
    pub priority: Priority,
    /// Kinds of sensitive content that its writer knows of; what the text shows is added.
    pub sensitivity: BTreeSet<SensitivityKind>,
    /// The versions of other cubes it was made from.
    pub derived_from: Vec<VersionRef>,
}

impl CubeDraft {
    /// Begins a draft of a text, private to its writer.
    pub fn text(semantic: SemanticType, text: impl Into<String>) -> Self {
        Self::new(semantic, Payload::text(text))
    }

    /// Begins a draft of a payload, private to its writer.
    pub fn new(semantic: SemanticType, payload: Payload) -> Self {
        Self {
            payload,
            semantic,
            title: String::new(),
            tags: Vec::new(),
            path: Vec::new(),
            origin: OriginKind::UserInput,
            task: None,
            session: None,
            model: None,
            speaker: None,
            reference: None,
            observed: None,
            valid: Window::ALWAYS,
            owner: None,
            layer: Layer::Private,
            grants: Vec::new(),
            lifespan: Lifespan::Forever,
            legal_hold: false,
            priority: Priority::Normal,
            sensitivity: BTreeSet::new(),
            derived_from: Vec::new(),
        }
    }

    /// Refuses a draft above the limits.
    ///
    /// # Errors
    /// `Invalid`, naming what is too large or empty.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        self.payload.check_limits(limits)?;
        Limits::check("the cube", self.tags.len(), limits.tags, "tags")?;
        Limits::check("the cube's path", self.path.len(), limits.tags, "steps")?;
        Limits::check("the cube", self.grants.len(), limits.grants, "grants")?;
        Limits::check("the cube", self.derived_from.len(), limits.derived_from, "sources")?;
        let named = [&self.task, &self.session, &self.model, &self.speaker, &self.reference];
        let names = named.into_iter().flatten().chain([&self.title]).chain(&self.tags).chain(&self.path);
        for name in names {
            Limits::check("a name of the cube", name.len(), limits.name_bytes, "bytes")?;
        }
        check_stretch(self.valid)
    }

    /// Makes the header of the first version.
    pub(crate) fn into_first(
        self,
        id: CubeId,
        writer: &PrincipalId,
        at: Timestamp,
        embedder: &EmbedderId,
    ) -> (Header, Payload) {
        let fingerprint = fingerprint(&self.payload, embedder);
        let mut sensitivity = self.sensitivity;
        sensitivity.extend(sensitive_kinds(&self.payload));
        let header = Header {
            id,
            version: 1,
            semantic: self.semantic,
            title: self.title,
            tags: self.tags,
            path: self.path,
            origin: Origin {
                principal: writer.clone(),
                kind: self.origin,
                task: self.task,
                session: self.session,
                model: self.model,
                speaker: self.speaker,
                reference: self.reference,
            },
            times: Times { created: at, observed: self.observed.unwrap_or(at), valid: self.valid },
            fingerprint,
            form: self.payload.form().clone(),
            governance: Governance {
                layer: self.layer,
                owner: self.owner.unwrap_or_else(|| writer.clone()),
                grants: self.grants,
                lifespan: self.lifespan,
                legal_hold: self.legal_hold,
                priority: self.priority,
                sensitivity,
                watermark: None,
            },
            lifecycle: Lifecycle { state: State::Generated, since: at, reason: String::new() },
            chain: Chain { parent: None, derived_from: self.derived_from },
        };
        (header, self.payload)
    }
}

/// How the next version relates to the one before.
#[derive(Debug, Clone)]
pub enum UpdateMode {
    /// The text is added below the text there is.
    Append(String),
    /// The payload takes in what other cubes say; they become its sources.
    Merge {
        /// What it says now.
        payload: Payload,
        /// What was taken in.
        sources: Vec<VersionRef>,
    },
    /// The payload is replaced.
    Overwrite(Payload),
    /// The payload stays; the cube holds in another stretch of time.
    Revalidate(Window),
}

/// A change to a cube, made from a version that its writer has seen.
#[derive(Debug, Clone)]
pub struct Update {
    /// The cube.
    pub cube: CubeId,
    /// The digest of the version that the writer has seen.
    pub parent: Digest,
    /// What changes.
    pub mode: UpdateMode,
}

impl Update {
    /// Refuses an update above the limits; the text that it leads to is checked when it is known.
    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        match &self.mode {
            UpdateMode::Revalidate(window) => check_stretch(*window),
            UpdateMode::Merge { sources, .. } => {
                Limits::check("the update", sources.len(), limits.derived_from, "sources")
            }
            UpdateMode::Append(_) | UpdateMode::Overwrite(_) => Ok(()),
        }
    }

    /// Makes the next version's header and payload from the head's.
    ///
    /// # Errors
    /// `Conflict` when `head_digest` is not the update's parent; `Invalid` when text is appended to what is not text.
    pub(crate) fn apply(
        self,
        head: &Header,
        head_digest: Digest,
        body: &Payload,
        at: Timestamp,
        embedder: &EmbedderId,
    ) -> Result<(Header, Payload)> {
        if self.parent != head_digest {
            return Err(Error::conflict(format!(
                "cube `{}` is at version {} by now; read it again and repeat the change on that",
                head.id, head.version
            )));
        }
        let mut next = head.clone();
        next.version = head.version.checked_add(1).ok_or_else(|| Error::invalid("the cube has no version left"))?;
        next.chain = Chain { parent: Some(head_digest), derived_from: head.chain.derived_from.clone() };
        next.times.created = at;
        let payload = match self.mode {
            UpdateMode::Append(text) => {
                let before = body.as_text().ok_or_else(|| Error::invalid("text can be appended to plaintext alone"))?;
                Payload::text(format!("{before}\n{text}"))
            }
            UpdateMode::Merge { payload, sources } => {
                next.chain.derived_from.extend(sources);
                next.chain.derived_from.sort();
                next.chain.derived_from.dedup();
                payload
            }
            UpdateMode::Overwrite(payload) => payload,
            UpdateMode::Revalidate(window) => {
                next.times.valid = window;
                body.clone()
            }
        };
        next.form = payload.form().clone();
        next.fingerprint = fingerprint(&payload, embedder);
        next.governance.sensitivity.extend(sensitive_kinds(&payload));
        Ok((next, payload))
    }
}

fn check_stretch(valid: Window) -> Result<()> {
    match valid {
        Window { from: Some(from), until: Some(until) } if from >= until => {
            Err(Error::invalid(format!("valid from {from} until {until} is no stretch of time")))
        }
        _ => Ok(()),
    }
}

fn fingerprint(payload: &Payload, embedder: &EmbedderId) -> Fingerprint {
    Fingerprint {
        content: Digest::of(payload.body()),
        bytes: payload.body().len() as u64,
        embedding: payload.as_text().map(|_| embedder.clone()),
    }
}

fn sensitive_kinds(payload: &Payload) -> impl Iterator<Item = SensitivityKind> {
    payload.as_text().map(find_sensitive).unwrap_or_default().into_iter().map(|span| span.kind)
}
