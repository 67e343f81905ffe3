//! How cubes begin and how their next version is made: drafts and version-aware updates.
//!
//! An update names the version it was made from. When that is no longer the head, it is refused as a `Conflict`, so that
//! two writers never overwrite each other unseen.

use std::collections::BTreeSet;

use super::header::{
    Chain, Fingerprint, Governance, Grant, Header, Layer, Lifecycle, Lifespan, Origin, OriginKind, Priority, Seal,
    SemanticType, Source, State, Times, VersionRef,
};
use super::{Cube, CubeId, Digest, Payload, PrincipalId};
use crate::embed::EmbedderId;
use crate::error::{Error, Result};
use crate::governance::sensitivity::{SensitivityKind, find_sensitive};
use crate::limits::Limits;
use crate::time::{Timestamp, Window};

/// Speakers that are called by their role where the source names nobody.
const ROLES: &[&str] = &["user", "assistant", "system", "tool", "narrator"];

/// Returns whether a speaker is called by a role, because the source names nobody.
pub(crate) fn is_role(speaker: &str) -> bool {
    ROLES.contains(&speaker)
}

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
    /// Whose data it is: a person's or a principal's name. The speaker's when not given; the owner's where nobody is named.
    pub subject: Option<String>,
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
            subject: None,
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

    /// Makes a draft that says and allows what a cube does.
    pub fn of(header: Header, payload: Payload) -> Self {
        let governance = header.governance;
        Self {
            title: header.title,
            tags: header.tags,
            path: header.path,
            origin: header.origin.kind,
            task: header.origin.task,
            session: header.origin.session,
            model: header.origin.model,
            speaker: header.origin.speaker,
            reference: header.origin.reference,
            subject: Some(header.subject),
            observed: Some(header.times.observed),
            valid: header.times.valid,
            owner: Some(governance.owner),
            layer: governance.layer,
            grants: governance.grants,
            lifespan: governance.lifespan,
            legal_hold: governance.legal_hold,
            priority: governance.priority,
            sensitivity: governance.sensitivity,
            derived_from: header.chain.derived_from,
            ..Self::new(header.semantic, payload)
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
        let named = [&self.task, &self.session, &self.model, &self.speaker, &self.reference, &self.subject];
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
        let owner = self.owner.unwrap_or_else(|| writer.clone());
        let named = self.speaker.clone().filter(|speaker| !is_role(speaker));
        let subject = self.subject.or(named).unwrap_or_else(|| owner.to_string());
        let mut sensitivity = BTreeSet::new();
        add_sensitivity(&mut sensitivity, self.sensitivity, &self.payload);
        let header = Header {
            id,
            version: 1,
            semantic: self.semantic,
            title: self.title,
            tags: self.tags,
            path: self.path,
            subject,
            origin: Origin {
                principal: writer.clone(),
                kind: self.origin,
                task: self.task,
                session: self.session,
                model: self.model,
                speaker: self.speaker,
                reference: self.reference,
                source: None,
            },
            times: Times { created: at, observed: self.observed.unwrap_or(at), valid: self.valid },
            fingerprint,
            form: self.payload.form().clone(),
            governance: Governance {
                layer: self.layer,
                owner,
                grants: self.grants,
                lifespan: self.lifespan,
                legal_hold: self.legal_hold,
                priority: self.priority,
                sensitivity,
                watermark: None,
            },
            lifecycle: Lifecycle { state: State::Generated, since: at, reason: String::new() },
            chain: Chain { parent: None, derived_from: self.derived_from },
            seal: Seal::default(),
        };
        (header, self.payload)
    }
}

/// A cube from elsewhere on its way in: a draft with what a draft cannot say of the past.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// The memory.
    pub draft: CubeDraft,
    /// Who wrote it there, as its source says.
    pub author: PrincipalId,
    /// When it was written there.
    pub created: Timestamp,
    /// Where it stood in its life there.
    pub state: State,
    /// Where it comes from.
    pub source: Source,
}

impl Adoption {
    /// Refuses what a draft refuses, and states and sources that cannot be taken over.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        self.draft.check(limits)?;
        let Source { system, space, cube, version: _, signer } = &self.source;
        for name in [Some(system), space.as_ref(), cube.as_ref(), signer.as_ref()].into_iter().flatten() {
            Limits::check("a name of the source", name.len(), limits.name_bytes, "bytes")?;
        }
        match self.state {
            State::Erased => Err(Error::invalid("a tombstone cannot be taken over")),
            _ => Ok(()),
        }
    }

    /// Makes the header of the first version here.
    pub(crate) fn into_first(
        self,
        id: CubeId,
        writer: &PrincipalId,
        at: Timestamp,
        embedder: &EmbedderId,
    ) -> (Header, Payload) {
        let Self { draft, author, created, state, source } = self;
        let is_dated = draft.observed.is_some();
        let (mut header, payload) = draft.into_first(id, writer, at, embedder);
        header.origin.principal = author;
        header.origin.source = Some(source);
        header.times.created = created;
        if !is_dated {
            header.times.observed = created;
        }
        header.lifecycle.state = state;
        (header, payload)
    }
}

/// What may change of whose a memory is and who may use it. What is not given stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GovernanceChange {
    /// Who may read it by default.
    pub layer: Option<Layer>,
    /// Rights beyond those of the layer, in place of those there are.
    pub grants: Option<Vec<Grant>>,
    /// How long it is kept.
    pub lifespan: Option<Lifespan>,
    /// Whether it must not be erased.
    pub legal_hold: Option<bool>,
    /// How much it matters.
    pub priority: Option<Priority>,
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
    /// The payload stays; it is described anew. What is not given stays.
    Describe {
        /// The short name.
        title: Option<String>,
        /// The labels, in place of those there are.
        tags: Option<Vec<String>>,
    },
    /// The payload stays; others may use it, or it is kept otherwise.
    Govern(Box<GovernanceChange>),
    /// It says again what an earlier version said, of itself or in another space. Who may use it stays as it is now.
    Restore(Box<Cube>),
    /// Several things change in one version.
    Revise(Box<Revision>),
}

/// What changes in a version in which several things change; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Revision {
    /// What it says now.
    pub payload: Option<Payload>,
    /// Labels that it has from now on, beside those it had.
    pub tags: Vec<String>,
    /// When it is true.
    pub valid: Option<Window>,
    /// Kinds of sensitive content that its writer knows of; what the text shows is added.
    pub sensitivity: BTreeSet<SensitivityKind>,
    /// The versions of other cubes that were taken in.
    pub sources: Vec<VersionRef>,
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
            UpdateMode::Describe { title, tags } => {
                let tags = tags.as_deref().unwrap_or_default();
                Limits::check("the cube", tags.len(), limits.tags, "tags")?;
                tags.iter()
                    .chain(title)
                    .try_for_each(|name| Limits::check("a name of the cube", name.len(), limits.name_bytes, "bytes"))
            }
            UpdateMode::Govern(change) => {
                Limits::check("the cube", change.grants.as_ref().map_or(0, Vec::len), limits.grants, "grants")
            }
            UpdateMode::Revise(revision) => {
                Limits::check("the update", revision.sources.len(), limits.derived_from, "sources")?;
                Limits::check("the update", revision.tags.len(), limits.tags, "tags")?;
                let mut tags = revision.tags.iter();
                tags.try_for_each(|tag| Limits::check("a tag", tag.len(), limits.name_bytes, "bytes"))?;
                check_stretch(revision.valid.unwrap_or(Window::ALWAYS))
            }
            UpdateMode::Append(_) | UpdateMode::Overwrite(_) | UpdateMode::Restore(_) => Ok(()),
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
        // A version that was made here is of here.
        next.seal = Seal::default();
        let mut by_hand = BTreeSet::new();
        let payload = match self.mode {
            UpdateMode::Append(text) => {
                let before = body.as_text().ok_or_else(|| Error::invalid("text can be appended to plaintext alone"))?;
                Payload::text(format!("{before}\n{text}"))
            }
            UpdateMode::Merge { payload, sources } => {
                take_in(&mut next, sources);
                payload
            }
            UpdateMode::Overwrite(payload) => payload,
            UpdateMode::Revalidate(window) => {
                next.times.valid = window;
                body.clone()
            }
            UpdateMode::Describe { title, tags } => {
                next.title = title.unwrap_or(next.title);
                next.tags = tags.unwrap_or(next.tags);
                body.clone()
            }
            UpdateMode::Govern(change) => {
                let GovernanceChange { layer, grants, lifespan, legal_hold, priority } = *change;
                let governance = &mut next.governance;
                governance.layer = layer.unwrap_or_else(|| governance.layer.clone());
                governance.grants = grants.unwrap_or_else(|| governance.grants.clone());
                governance.lifespan = lifespan.unwrap_or(governance.lifespan);
                governance.legal_hold = legal_hold.unwrap_or(governance.legal_hold);
                governance.priority = priority.unwrap_or(governance.priority);
                body.clone()
            }
            UpdateMode::Restore(cube) => {
                let Cube { header: then, payload } = *cube;
                next.semantic = then.semantic;
                next.title = then.title;
                next.tags = then.tags;
                next.path = then.path;
                next.times.observed = then.times.observed;
                next.times.valid = then.times.valid;
                next.chain.derived_from = then.chain.derived_from;
                let principal = next.origin.principal;
                next.origin = Origin { principal, ..then.origin };
                payload
            }
            UpdateMode::Revise(revision) => {
                let Revision { payload, tags, valid, sensitivity, sources } = *revision;
                next.times.valid = valid.unwrap_or(next.times.valid);
                for tag in tags {
                    if !next.tags.contains(&tag) {
                        next.tags.push(tag);
                    }
                }
                by_hand = sensitivity;
                take_in(&mut next, sources);
                payload.unwrap_or_else(|| body.clone())
            }
        };
        next.form = payload.form().clone();
        next.fingerprint = fingerprint(&payload, embedder);
        add_sensitivity(&mut next.governance.sensitivity, by_hand, &payload);
        Ok((next, payload))
    }
}

fn take_in(next: &mut Header, sources: Vec<VersionRef>) {
    next.chain.derived_from.extend(sources);
    next.chain.derived_from.sort();
    next.chain.derived_from.dedup();
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

/// Adds the kinds that the text shows and those that its writer names; what is named and not shown is concealed.
fn add_sensitivity(to: &mut BTreeSet<SensitivityKind>, by_hand: BTreeSet<SensitivityKind>, payload: &Payload) {
    let spans = payload.as_text().map(find_sensitive).unwrap_or_default();
    let shown: BTreeSet<SensitivityKind> = spans.into_iter().map(|span| span.kind).collect();
    if !by_hand.is_subset(&shown) {
        to.insert(SensitivityKind::Concealed);
    }
    to.extend(by_hand);
    to.extend(shown);
}
