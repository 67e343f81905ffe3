//! Events as bytes: a version byte, then the fields in postcard's encoding.
//!
//! A cube's header stands in two places. What the chain must keep for ever (ids, times, owner, rights, lineage) is in
//! the event; what describes the memory (title, tags, speaker, the digest of its body, ...) is in the record beside it,
//! so that it can be sealed, and erased with the body.
//!
//! These structs are the format. They are never changed once released; a new version gets structs and a version byte of
//! its own, and this room goes on reading the old ones.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Change, Event};
use crate::cube::{
    Activation, Chain, CubeId, Digest, Dtype, Fingerprint, Form, Governance, Grant, Grantee, Header, Layer, LayerShape,
    Lifecycle, Lifespan, ModelFingerprint, Origin, OriginKind, Parametric, Priority, Rights, Seal, SemanticType,
    Source, State, TargetShape, Times, UseSignal, VersionRef,
};
use crate::error::{Error, Result};
use crate::governance::sensitivity::SensitivityKind;
use crate::governance::{AuditKind, AuditRecord, CallingContext, Outcome};
use crate::graph::{Link, LinkKind};
use crate::time::{Timestamp, Window};

/// The first byte of an event's bytes.
const EVENT_VERSION: u8 = 1;

/// Domain of the digest of a cube's version, so that it can never be taken for the digest of something else.
const HEADER_DOMAIN: &[u8] = b"memos cube version 1\0";

/// RFC 6962 puts this byte before a leaf, so an event's digest is its leaf in a Merkle tree over the ledger.
const LEAF_PREFIX: &[u8] = &[0];

/// Returns the digest of an event's bytes.
pub(super) fn event_digest(bytes: &[u8]) -> Digest {
    Digest::of_parts(&[LEAF_PREFIX, bytes])
}

/// Returns the digest that names one version of a cube. It covers the description and the body through the digest of the
/// sealed record, and tells nothing of them.
pub(crate) fn header_digest(header: &Header) -> Result<Digest> {
    let bytes = postcard::to_stdvec(&HeaderV1::from(header)).map_err(not_encoded)?;
    Ok(Digest::of_parts(&[HEADER_DOMAIN, &bytes]))
}

/// Checks that `header` is the version that `digest` names.
pub(crate) fn check_header(header: &Header, digest: &Digest) -> Result<()> {
    if header_digest(header)? != *digest {
        return Err(Error::corrupt(format!("the stored header of cube `{}` is not the one it was", header.id)));
    }
    Ok(())
}

/// Writes an event.
pub(super) fn encode_event(event: &Event) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(EVENT_VERSION);
    postcard::to_extend(&EventV1::from(event), bytes).map_err(not_encoded)
}

/// Reads an event.
pub(crate) fn decode_event(bytes: &[u8]) -> Result<Event> {
    let unreadable = || Error::corrupt("an event of the ledger cannot be read");
    match bytes.split_first() {
        Some((&EVENT_VERSION, rest)) => {
            let (event, rest) = postcard::take_from_bytes::<EventV1>(rest).map_err(|e| unreadable().with_source(e))?;
            if !rest.is_empty() {
                return Err(unreadable());
            }
            // A name that breaks the rules was not written so.
            Event::try_from(event)
                .map_err(|e| Error::corrupt(format!("an event of the ledger cannot be read: {e}")).with_source(e))
        }
        Some((version, _)) => {
            Err(Error::invalid(format!("an event has format {version}, which is newer than this program")))
        }
        None => Err(unreadable()),
    }
}

/// See `doors`.
#[cfg(fuzzing)]
pub(crate) fn fuzz_event(bytes: &[u8]) {
    if let Ok(event) = decode_event(bytes) {
        let again = encode_event(&event).and_then(|bytes| decode_event(&bytes));
        assert!(again.is_ok_and(|again| again == event), "an event that can be read cannot be written");
    }
}

fn not_encoded(error: postcard::Error) -> Error {
    Error::invalid(format!("the change cannot be written: {error}"))
}

#[derive(Serialize, Deserialize)]
struct EventV1<'a> {
    sequence: u64,
    at: Timestamp,
    #[serde(borrow)]
    principal: Cow<'a, str>,
    previous: Digest,
    change: ChangeV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum ChangeV1<'a> {
    SpaceCreated {
        name: String,
        embedder: String,
    },
    #[serde(borrow)]
    CubeStored(Box<HeaderV1<'a>>),
    Linked(LinkV1),
    Unlinked(LinkV1),
    StateChanged {
        cube: CubeId,
        state: u8,
        reason: String,
    },
    EmbedderChanged {
        embedder: String,
    },
    CubesUsed(Vec<(CubeId, u8)>),
    SpaceForked {
        name: String,
        origin: String,
    },
    Unfrozen {
        cube: CubeId,
        reason: String,
    },
    Erased {
        cubes: Vec<CubeId>,
        subject: Option<u32>,
        reason: String,
    },
    RegisterSet {
        name: String,
        value: Option<Vec<u8>>,
    },
    Recorded(Vec<AuditRecordV1>),
    Requested {
        key: Digest,
        events: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct AuditRecordV1 {
    at: Timestamp,
    principal: String,
    context: [Option<String>; 4],
    kind: u8,
    operation: String,
    outcome: u8,
    reason: String,
    cubes: Vec<CubeId>,
    trace: Option<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
struct LinkV1 {
    from: CubeId,
    kind: u8,
    to: CubeId,
}

#[derive(Serialize, Deserialize)]
struct HeaderV1<'a> {
    id: CubeId,
    version: u32,
    semantic: u8,
    #[serde(borrow)]
    origin: (Cow<'a, str>, u8),
    times: (Timestamp, Timestamp, Window),
    bytes: u64,
    form: FormV1<'a>,
    #[serde(borrow)]
    governance: GovernanceV1<'a>,
    lifecycle: (u8, Timestamp, Cow<'a, str>),
    parent: Option<Digest>,
    derived_from: Cow<'a, [VersionRef]>,
    seal: (u32, u64, Digest),
}

/// What stands in a record and not in an event.
#[derive(Serialize, Deserialize)]
struct DescriptionV1<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    tags: Cow<'a, [String]>,
    path: Cow<'a, [String]>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    task: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    speaker: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
    source: Option<Cow<'a, Source>>,
    content: Digest,
    #[serde(borrow)]
    embedding: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
enum FormV1<'a> {
    Plaintext,
    Activation { model: ModelFingerprint, tokens: Digest, position: u32, dtype: u8, shape: LayerShape },
    Parametric { base: ModelFingerprint, rank: u32, dtype: u8, targets: Cow<'a, [TargetShape]> },
}

#[derive(Serialize, Deserialize)]
struct GovernanceV1<'a> {
    layer: LayerV1,
    #[serde(borrow)]
    owner: Cow<'a, str>,
    grants: Vec<GrantV1>,
    lifespan: LifespanV1,
    legal_hold: bool,
    priority: u8,
    sensitivity: Vec<u8>,
    #[serde(borrow)]
    watermark: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
enum LayerV1 {
    Private,
    Shared(String),
    Global,
}

#[derive(Serialize, Deserialize)]
struct GrantV1 {
    group: bool,
    to: String,
    read: bool,
    write: bool,
    share: bool,
}

#[derive(Serialize, Deserialize)]
enum LifespanV1 {
    Forever,
    TimeToLiveMillis(u64),
    HalfLifeMillis(u64),
}

impl<'a> From<&'a Event> for EventV1<'a> {
    fn from(event: &'a Event) -> Self {
        let change = match &event.change {
            Change::SpaceCreated { name, embedder } => {
                ChangeV1::SpaceCreated { name: name.to_string(), embedder: embedder.to_string() }
            }
            Change::CubeStored(header) => ChangeV1::CubeStored(Box::new((&**header).into())),
            Change::Linked(link) => ChangeV1::Linked(link.into()),
            Change::Unlinked(link) => ChangeV1::Unlinked(link.into()),
            Change::StateChanged { cube, state, reason } => {
                ChangeV1::StateChanged { cube: *cube, state: state.code(), reason: reason.clone() }
            }
            Change::EmbedderChanged { embedder } => ChangeV1::EmbedderChanged { embedder: embedder.to_string() },
            Change::CubesUsed(uses) => {
                ChangeV1::CubesUsed(uses.iter().map(|(cube, signal)| (*cube, signal.code())).collect())
            }
            Change::SpaceForked { name, origin } => {
                ChangeV1::SpaceForked { name: name.to_string(), origin: origin.to_string() }
            }
            Change::Unfrozen { cube, reason } => ChangeV1::Unfrozen { cube: *cube, reason: reason.clone() },
            Change::Erased { cubes, subject, reason } => {
                ChangeV1::Erased { cubes: cubes.clone(), subject: *subject, reason: reason.clone() }
            }
            Change::RegisterSet { name, value } => ChangeV1::RegisterSet { name: name.clone(), value: value.clone() },
            Change::Recorded(records) => ChangeV1::Recorded(records.iter().map(AuditRecordV1::from).collect()),
            Change::Requested { key, events } => ChangeV1::Requested { key: *key, events: *events },
        };
        Self {
            sequence: event.sequence,
            at: event.at,
            principal: event.principal.as_str().into(),
            previous: event.previous,
            change,
        }
    }
}

impl TryFrom<EventV1<'_>> for Event {
    type Error = Error;

    fn try_from(event: EventV1<'_>) -> Result<Self> {
        let change = match event.change {
            ChangeV1::SpaceCreated { name, embedder } => {
                Change::SpaceCreated { name: name.parse()?, embedder: embedder.parse()? }
            }
            ChangeV1::CubeStored(header) => Change::CubeStored(Box::new((*header).try_into()?)),
            ChangeV1::Linked(link) => Change::Linked(link.try_into()?),
            ChangeV1::Unlinked(link) => Change::Unlinked(link.try_into()?),
            ChangeV1::StateChanged { cube, state, reason } => {
                Change::StateChanged { cube, state: State::from_code(state)?, reason }
            }
            ChangeV1::EmbedderChanged { embedder } => Change::EmbedderChanged { embedder: embedder.parse()? },
            ChangeV1::CubesUsed(uses) => Change::CubesUsed(
                uses.into_iter().map(|(cube, code)| Ok((cube, UseSignal::from_code(code)?))).collect::<Result<_>>()?,
            ),
            ChangeV1::SpaceForked { name, origin } => {
                Change::SpaceForked { name: name.parse()?, origin: origin.parse()? }
            }
            ChangeV1::Unfrozen { cube, reason } => Change::Unfrozen { cube, reason },
            ChangeV1::Erased { cubes, subject, reason } => Change::Erased { cubes, subject, reason },
            ChangeV1::RegisterSet { name, value } => Change::RegisterSet { name, value },
            ChangeV1::Recorded(records) => {
                Change::Recorded(records.into_iter().map(AuditRecord::try_from).collect::<Result<_>>()?)
            }
            ChangeV1::Requested { key, events } => Change::Requested { key, events },
        };
        let principal = event.principal.parse()?;
        Ok(Self { sequence: event.sequence, at: event.at, principal, previous: event.previous, change })
    }
}

impl From<&AuditRecord> for AuditRecordV1 {
    fn from(record: &AuditRecord) -> Self {
        let CallingContext { purpose, task, session, model } = record.context.clone();
        Self {
            at: record.at,
            principal: record.principal.to_string(),
            context: [purpose, task, session, model],
            kind: record.kind.code(),
            operation: record.operation.clone(),
            outcome: record.outcome.code(),
            reason: record.reason.clone(),
            cubes: record.cubes.clone(),
            trace: record.trace.map(u128::to_be_bytes),
        }
    }
}

impl TryFrom<AuditRecordV1> for AuditRecord {
    type Error = Error;

    fn try_from(record: AuditRecordV1) -> Result<Self> {
        let [purpose, task, session, model] = record.context;
        Ok(Self {
            at: record.at,
            principal: record.principal.parse()?,
            context: CallingContext { purpose, task, session, model },
            kind: AuditKind::from_code(record.kind)?,
            operation: record.operation,
            outcome: Outcome::from_code(record.outcome)?,
            reason: record.reason,
            cubes: record.cubes,
            trace: record.trace.map(u128::from_be_bytes),
        })
    }
}

impl From<&Link> for LinkV1 {
    fn from(link: &Link) -> Self {
        Self { from: link.from, kind: link.kind.code(), to: link.to }
    }
}

impl TryFrom<LinkV1> for Link {
    type Error = Error;

    fn try_from(link: LinkV1) -> Result<Self> {
        Ok(Self { from: link.from, kind: LinkKind::from_code(link.kind)?, to: link.to })
    }
}

impl<'a> From<&'a Header> for HeaderV1<'a> {
    fn from(header: &'a Header) -> Self {
        let Lifecycle { state, since, reason } = &header.lifecycle;
        Self {
            id: header.id,
            version: header.version,
            semantic: header.semantic.code(),
            origin: (header.origin.principal.as_str().into(), header.origin.kind.code()),
            times: (header.times.created, header.times.observed, header.times.valid),
            bytes: header.fingerprint.bytes,
            form: (&header.form).into(),
            governance: (&header.governance).into(),
            lifecycle: (state.code(), *since, reason.as_str().into()),
            parent: header.chain.parent,
            derived_from: header.chain.derived_from.as_slice().into(),
            seal: (header.seal.ring, header.seal.slot, header.seal.digest),
        }
    }
}

impl TryFrom<HeaderV1<'_>> for Header {
    type Error = Error;

    /// Makes a header whose description is empty.
    fn try_from(header: HeaderV1<'_>) -> Result<Self> {
        let (created, observed, valid) = header.times;
        let (state, since, reason) = header.lifecycle;
        let (principal, kind) = header.origin;
        let (ring, slot, digest) = header.seal;
        Ok(Self {
            id: header.id,
            version: header.version,
            semantic: SemanticType::from_code(header.semantic)?,
            title: String::new(),
            tags: Vec::new(),
            path: Vec::new(),
            subject: String::new(),
            origin: Origin {
                principal: principal.parse()?,
                kind: OriginKind::from_code(kind)?,
                task: None,
                session: None,
                model: None,
                speaker: None,
                reference: None,
                source: None,
            },
            times: Times { created, observed, valid },
            fingerprint: Fingerprint { content: Digest::default(), bytes: header.bytes, embedding: None },
            form: header.form.try_into()?,
            governance: header.governance.try_into()?,
            lifecycle: Lifecycle { state: State::from_code(state)?, since, reason: reason.into_owned() },
            chain: Chain { parent: header.parent, derived_from: header.derived_from.into_owned() },
            seal: Seal { ring, slot, digest },
        })
    }
}

/// Writes a header's description behind what is in `bytes`.
pub(super) fn encode_description(header: &Header, bytes: Vec<u8>) -> Result<Vec<u8>> {
    postcard::to_extend(&DescriptionV1::from(header), bytes).map_err(not_encoded)
}

/// Reads a description into the header that it belongs to.
pub(super) fn decode_description(bytes: &[u8], header: &mut Header) -> Result<()> {
    let unreadable = || Error::corrupt(format!("the description of cube `{}` cannot be read", header.id));
    let (description, rest) =
        postcard::take_from_bytes::<DescriptionV1<'_>>(bytes).map_err(|e| unreadable().with_source(e))?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let embedding = description.embedding.map(|id| id.parse()).transpose();
    header.fingerprint.embedding = embedding.map_err(|e| unreadable().with_source(e))?;
    header.fingerprint.content = description.content;
    header.title = description.title.into_owned();
    header.tags = description.tags.into_owned();
    header.path = description.path.into_owned();
    header.subject = description.subject.into_owned();
    header.origin.task = description.task.map(Cow::into_owned);
    header.origin.session = description.session.map(Cow::into_owned);
    header.origin.model = description.model.map(Cow::into_owned);
    header.origin.speaker = description.speaker.map(Cow::into_owned);
    header.origin.reference = description.reference.map(Cow::into_owned);
    header.origin.source = description.source.map(Cow::into_owned);
    Ok(())
}

impl<'a> From<&'a Header> for DescriptionV1<'a> {
    fn from(header: &'a Header) -> Self {
        let borrowed = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        let origin = &header.origin;
        Self {
            title: header.title.as_str().into(),
            tags: header.tags.as_slice().into(),
            path: header.path.as_slice().into(),
            subject: header.subject.as_str().into(),
            task: borrowed(&origin.task),
            session: borrowed(&origin.session),
            model: borrowed(&origin.model),
            speaker: borrowed(&origin.speaker),
            reference: borrowed(&origin.reference),
            source: origin.source.as_ref().map(Cow::Borrowed),
            content: header.fingerprint.content,
            embedding: header.fingerprint.embedding.as_ref().map(|id| id.as_str().into()),
        }
    }
}

impl<'a> From<&'a Form> for FormV1<'a> {
    fn from(form: &'a Form) -> Self {
        match form {
            Form::Plaintext => Self::Plaintext,
            Form::Activation(a) => Self::Activation {
                model: a.model.clone(),
                tokens: a.tokens,
                position: a.position,
                dtype: a.dtype.code(),
                shape: a.shape,
            },
            Form::Parametric(p) => Self::Parametric {
                base: p.base.clone(),
                rank: p.rank,
                dtype: p.dtype.code(),
                targets: p.targets.as_slice().into(),
            },
        }
    }
}

impl TryFrom<FormV1<'_>> for Form {
    type Error = Error;

    fn try_from(form: FormV1<'_>) -> Result<Self> {
        Ok(match form {
            FormV1::Plaintext => Self::Plaintext,
            FormV1::Activation { model, tokens, position, dtype, shape } => {
                Self::Activation(Activation { model, tokens, position, dtype: Dtype::from_code(dtype)?, shape })
            }
            FormV1::Parametric { base, rank, dtype, targets } => Self::Parametric(Parametric {
                base,
                rank,
                dtype: Dtype::from_code(dtype)?,
                targets: targets.into_owned(),
            }),
        })
    }
}

impl<'a> From<&'a Governance> for GovernanceV1<'a> {
    fn from(governance: &'a Governance) -> Self {
        Self {
            layer: match &governance.layer {
                Layer::Private => LayerV1::Private,
                Layer::Shared(group) => LayerV1::Shared(group.to_string()),
                Layer::Global => LayerV1::Global,
            },
            owner: governance.owner.as_str().into(),
            grants: governance.grants.iter().map(GrantV1::from).collect(),
            lifespan: match governance.lifespan {
                Lifespan::Forever => LifespanV1::Forever,
                Lifespan::TimeToLiveMillis(millis) => LifespanV1::TimeToLiveMillis(millis),
                Lifespan::HalfLifeMillis(millis) => LifespanV1::HalfLifeMillis(millis),
            },
            legal_hold: governance.legal_hold,
            priority: governance.priority.code(),
            sensitivity: governance.sensitivity.iter().map(|kind| kind.code()).collect(),
            watermark: governance.watermark.as_deref().map(Cow::Borrowed),
        }
    }
}

impl TryFrom<GovernanceV1<'_>> for Governance {
    type Error = Error;

    fn try_from(governance: GovernanceV1<'_>) -> Result<Self> {
        Ok(Self {
            layer: match governance.layer {
                LayerV1::Private => Layer::Private,
                LayerV1::Shared(group) => Layer::Shared(group.parse()?),
                LayerV1::Global => Layer::Global,
            },
            owner: governance.owner.parse()?,
            grants: governance.grants.into_iter().map(Grant::try_from).collect::<Result<_>>()?,
            lifespan: match governance.lifespan {
                LifespanV1::Forever => Lifespan::Forever,
                LifespanV1::TimeToLiveMillis(millis) => Lifespan::TimeToLiveMillis(millis),
                LifespanV1::HalfLifeMillis(millis) => Lifespan::HalfLifeMillis(millis),
            },
            legal_hold: governance.legal_hold,
            priority: Priority::from_code(governance.priority)?,
            sensitivity: governance.sensitivity.into_iter().map(SensitivityKind::from_code).collect::<Result<_>>()?,
            watermark: governance.watermark.map(Cow::into_owned),
        })
    }
}

impl From<&Grant> for GrantV1 {
    fn from(grant: &Grant) -> Self {
        let (group, to) = match &grant.to {
            Grantee::Principal(principal) => (false, principal.to_string()),
            Grantee::Group(group) => (true, group.to_string()),
        };
        let Rights { read, write, share } = grant.rights;
        Self { group, to, read, write, share }
    }
}

impl TryFrom<GrantV1> for Grant {
    type Error = Error;

    fn try_from(grant: GrantV1) -> Result<Self> {
        let GrantV1 { group, to, read, write, share } = grant;
        let to = if group { Grantee::Group(to.parse()?) } else { Grantee::Principal(to.parse()?) };
        Ok(Self { to, rights: Rights { read, write, share } })
    }
}
