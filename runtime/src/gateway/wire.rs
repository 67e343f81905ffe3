//! The bytes of passes, requests and answers. They are apart from what programs work with, so that either can change
//! without the other; a change here is a new struct and a new version.
//!
//! Enums are written by their place, so their order is part of the format, and new variants stand last.

use memos_memory::cube::{
    CubeDraft, CubeId, Digest, GovernanceChange, Grant, Grantee, Lifespan, PrincipalId, Rights, SpaceName, Update,
    UpdateMode, VersionRef,
};
use memos_memory::error::{Error, Result};
use memos_memory::graph::Link;
use memos_memory::time::{Timestamp, Window};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pass::{Pass, PassId, PassTerms};
use super::request::{Change, Command, Question, RequestId};

/// Writes a struct as bytes.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|e| Error::invalid(format!("it cannot be written: {e}")).with_source(e))
}

/// Reads a struct from bytes of which none may be left over.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PassV1 {
    id: [u8; 16],
    principal: String,
    spaces: Vec<String>,
    purpose: Option<String>,
    model: Option<String>,
    issued: i64,
    expires: i64,
}

impl From<&Pass> for PassV1 {
    fn from(pass: &Pass) -> Self {
        let Pass { id, issued, terms: PassTerms { principal, spaces, purpose, model, expires } } = pass;
        Self {
            id: id.0,
            principal: principal.to_string(),
            spaces: spaces.iter().map(SpaceName::to_string).collect(),
            purpose: purpose.clone(),
            model: model.clone(),
            issued: issued.as_millis(),
            expires: expires.as_millis(),
        }
    }
}

impl TryFrom<PassV1> for Pass {
    type Error = Error;

    fn try_from(pass: PassV1) -> Result<Self> {
        let terms = PassTerms {
            principal: pass.principal.parse()?,
            spaces: pass.spaces.iter().map(|name| name.parse()).collect::<Result<_>>()?,
            purpose: pass.purpose,
            model: pass.model,
            expires: Timestamp::from_millis(pass.expires),
        };
        Ok(Self { id: PassId(pass.id), issued: Timestamp::from_millis(pass.issued), terms })
    }
}

/// What stands in a request behind the pass and the space.
#[derive(Serialize, Deserialize)]
pub(super) struct RequestV1 {
    pub(super) id: [u8; 16],
    pub(super) sent: i64,
    pub(super) deadline: i64,
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) task: Option<String>,
    pub(super) session: Option<String>,
    pub(super) command: CommandV1,
}

impl RequestV1 {
    pub(super) fn id(&self) -> RequestId {
        RequestId(self.id)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum CommandV1 {
    Commit(Vec<ChangeV1>),
    Recall(QuestionV1),
    Get([u8; 16]),
    Erase { cubes: Vec<[u8; 16]>, reason: String },
}

#[derive(Serialize, Deserialize)]
pub(super) enum ChangeV1 {
    Remember(Box<DraftV1>),
    Update(UpdateV1),
    SetState { cube: [u8; 16], state: String, reason: String },
    Link { from: [u8; 16], kind: String, to: [u8; 16] },
}

#[derive(Serialize, Deserialize)]
pub(super) struct QuestionV1 {
    text: String,
    semantic: Vec<String>,
    tags: Vec<String>,
    window: WindowV1,
    archived: bool,
    memories: u32,
    tokens: u32,
}

#[derive(Serialize, Deserialize)]
struct WindowV1 {
    from: Option<i64>,
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DraftV1 {
    text: String,
    semantic: String,
    title: String,
    tags: Vec<String>,
    path: Vec<String>,
    origin: String,
    task: Option<String>,
    session: Option<String>,
    model: Option<String>,
    speaker: Option<String>,
    reference: Option<String>,
    subject: Option<String>,
    observed: Option<i64>,
    valid: WindowV1,
    layer: String,
    grants: Vec<GrantV1>,
    lifespan: LifespanV1,
    priority: String,
    sensitivity: Vec<String>,
    derived_from: Vec<([u8; 16], u32)>,
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

#[derive(Serialize, Deserialize)]
pub(super) struct UpdateV1 {
    cube: [u8; 16],
    parent: [u8; 32],
    mode: ModeV1,
}

#[derive(Serialize, Deserialize)]
enum ModeV1 {
    Append(String),
    Overwrite(String),
    Revalidate(WindowV1),
    Describe { title: Option<String>, tags: Option<Vec<String>> },
    Share { layer: Option<String>, grants: Option<Vec<GrantV1>> },
}

/// What a gateway answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum AnswerV1 {
    Failed { kind: u8, message: String },
    Committed { first_event: u64, events: u64, stored: Vec<([u8; 16], u32)> },
    Recalled { memories: Vec<MemoryV1>, considered: u64, tokens: u64 },
    Got(Box<MemoryV1>),
    Erased { event: u64, cubes: Vec<[u8; 16]>, derived: Vec<[u8; 16]> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MemoryV1 {
    pub(super) cube: [u8; 16],
    pub(super) version: u32,
    pub(super) digest: [u8; 32],
    pub(super) semantic: String,
    pub(super) state: String,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) speaker: Option<String>,
    pub(super) observed: i64,
    pub(super) redacted: bool,
    pub(super) rule: String,
    pub(super) score: f32,
    pub(super) superseded_by: Option<[u8; 16]>,
}

impl From<Window> for WindowV1 {
    fn from(window: Window) -> Self {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        Self { from: millis(window.from), until: millis(window.until) }
    }
}

impl From<WindowV1> for Window {
    fn from(window: WindowV1) -> Self {
        let at = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        Self { from: at(window.from), until: at(window.until) }
    }
}

impl From<Grant> for GrantV1 {
    fn from(grant: Grant) -> Self {
        let Rights { read, write, share } = grant.rights;
        let (group, to) = match grant.to {
            Grantee::Principal(id) => (false, id.to_string()),
            Grantee::Group(name) => (true, name.to_string()),
        };
        Self { group, to, read, write, share }
    }
}

impl TryFrom<GrantV1> for Grant {
    type Error = Error;

    fn try_from(grant: GrantV1) -> Result<Self> {
        let GrantV1 { group, to, read, write, share } = grant;
        let to = if group { Grantee::Group(to.parse()?) } else { Grantee::Principal(to.parse::<PrincipalId>()?) };
        Ok(Self { to, rights: Rights { read, write, share } })
    }
}

fn all<T, U: TryFrom<T, Error = Error>>(values: Vec<T>) -> Result<Vec<U>> {
    values.into_iter().map(U::try_from).collect()
}

fn not_sent(what: &str) -> Error {
    Error::invalid(format!("{what} cannot be asked of a gateway; do it where the kernel runs"))
}

fn text_of(payload: &memos_memory::cube::Payload) -> Result<String> {
    payload.as_text().map(str::to_owned).ok_or_else(|| not_sent("a payload that is no text"))
}

impl TryFrom<CubeDraft> for DraftV1 {
    type Error = Error;

    fn try_from(draft: CubeDraft) -> Result<Self> {
        // Named one by one, so that whatever a draft comes to have is thought of here.
        let CubeDraft {
            payload,
            semantic,
            title,
            tags,
            path,
            origin,
            task,
            session,
            model,
            speaker,
            reference,
            subject,
            observed,
            valid,
            owner,
            layer,
            grants,
            lifespan,
            legal_hold,
            priority,
            sensitivity,
            derived_from,
        } = draft;
        if owner.is_some() {
            return Err(not_sent("a memory of another owner"));
        }
        if legal_hold {
            return Err(not_sent("a legal hold"));
        }
        Ok(Self {
            text: text_of(&payload)?,
            semantic: semantic.to_string(),
            title,
            tags,
            path,
            origin: origin.to_string(),
            task,
            session,
            model,
            speaker,
            reference,
            subject,
            observed: observed.map(Timestamp::as_millis),
            valid: valid.into(),
            layer: layer.to_string(),
            grants: grants.into_iter().map(GrantV1::from).collect(),
            lifespan: match lifespan {
                Lifespan::Forever => LifespanV1::Forever,
                Lifespan::TimeToLiveMillis(millis) => LifespanV1::TimeToLiveMillis(millis),
                Lifespan::HalfLifeMillis(millis) => LifespanV1::HalfLifeMillis(millis),
            },
            priority: priority.to_string(),
            sensitivity: sensitivity.iter().map(|kind| kind.to_string()).collect(),
            derived_from: derived_from.iter().map(|version| (*version.cube.as_bytes(), version.version)).collect(),
        })
    }
}

impl TryFrom<DraftV1> for CubeDraft {
    type Error = Error;

    fn try_from(draft: DraftV1) -> Result<Self> {
        Ok(Self {
            title: draft.title,
            tags: draft.tags,
            path: draft.path,
            origin: draft.origin.parse()?,
            task: draft.task,
            session: draft.session,
            model: draft.model,
            speaker: draft.speaker,
            reference: draft.reference,
            subject: draft.subject,
            observed: draft.observed.map(Timestamp::from_millis),
            valid: draft.valid.into(),
            layer: draft.layer.parse()?,
            grants: all(draft.grants)?,
            lifespan: match draft.lifespan {
                LifespanV1::Forever => Lifespan::Forever,
                LifespanV1::TimeToLiveMillis(millis) => Lifespan::TimeToLiveMillis(millis),
                LifespanV1::HalfLifeMillis(millis) => Lifespan::HalfLifeMillis(millis),
            },
            priority: draft.priority.parse()?,
            sensitivity: draft.sensitivity.iter().map(|kind| kind.parse()).collect::<Result<_>>()?,
            derived_from: draft
                .derived_from
                .into_iter()
                .map(|(cube, version)| VersionRef { cube: CubeId::from_bytes(cube), version })
                .collect(),
            ..Self::text(draft.semantic.parse()?, draft.text)
        })
    }
}

impl TryFrom<Update> for UpdateV1 {
    type Error = Error;

    fn try_from(update: Update) -> Result<Self> {
        let mode = match update.mode {
            UpdateMode::Append(text) => ModeV1::Append(text),
            UpdateMode::Overwrite(payload) => ModeV1::Overwrite(text_of(&payload)?),
            UpdateMode::Revalidate(window) => ModeV1::Revalidate(window.into()),
            UpdateMode::Describe { title, tags } => ModeV1::Describe { title, tags },
            UpdateMode::Govern(change) => {
                let GovernanceChange { layer, grants, lifespan, legal_hold, priority } = *change;
                if lifespan.is_some() || legal_hold.is_some() || priority.is_some() {
                    return Err(not_sent("a change of lifespan, legal hold or priority"));
                }
                let grants = grants.map(|grants| grants.into_iter().map(GrantV1::from).collect());
                ModeV1::Share { layer: layer.map(|layer| layer.to_string()), grants }
            }
            UpdateMode::Merge { .. } | UpdateMode::Restore(_) | UpdateMode::Revise(_) => {
                return Err(not_sent("merging, restoring or revising a memory"));
            }
        };
        Ok(Self { cube: *update.cube.as_bytes(), parent: *update.parent.as_bytes(), mode })
    }
}

impl TryFrom<UpdateV1> for Update {
    type Error = Error;

    fn try_from(update: UpdateV1) -> Result<Self> {
        let mode = match update.mode {
            ModeV1::Append(text) => UpdateMode::Append(text),
            ModeV1::Overwrite(text) => UpdateMode::Overwrite(memos_memory::cube::Payload::text(text)),
            ModeV1::Revalidate(window) => UpdateMode::Revalidate(window.into()),
            ModeV1::Describe { title, tags } => UpdateMode::Describe { title, tags },
            ModeV1::Share { layer, grants } => UpdateMode::Govern(Box::new(GovernanceChange {
                layer: layer.map(|layer| layer.parse()).transpose()?,
                grants: grants.map(all).transpose()?,
                ..GovernanceChange::default()
            })),
        };
        Ok(Self { cube: CubeId::from_bytes(update.cube), parent: Digest::from_bytes(update.parent), mode })
    }
}

impl TryFrom<Change> for ChangeV1 {
    type Error = Error;

    fn try_from(change: Change) -> Result<Self> {
        Ok(match change {
            Change::Remember(draft) => Self::Remember(Box::new((*draft).try_into()?)),
            Change::Update(update) => Self::Update((*update).try_into()?),
            Change::SetState { cube, state, reason } => {
                Self::SetState { cube: *cube.as_bytes(), state: state.to_string(), reason }
            }
            Change::Link(Link { from, kind, to }) => {
                Self::Link { from: *from.as_bytes(), kind: kind.to_string(), to: *to.as_bytes() }
            }
        })
    }
}

impl TryFrom<ChangeV1> for Change {
    type Error = Error;

    fn try_from(change: ChangeV1) -> Result<Self> {
        Ok(match change {
            ChangeV1::Remember(draft) => Self::Remember(Box::new((*draft).try_into()?)),
            ChangeV1::Update(update) => Self::Update(Box::new(update.try_into()?)),
            ChangeV1::SetState { cube, state, reason } => {
                Self::SetState { cube: CubeId::from_bytes(cube), state: state.parse()?, reason }
            }
            ChangeV1::Link { from, kind, to } => {
                let (from, to) = (CubeId::from_bytes(from), CubeId::from_bytes(to));
                Self::Link(Link { from, kind: kind.parse()?, to })
            }
        })
    }
}

impl TryFrom<Command> for CommandV1 {
    type Error = Error;

    fn try_from(command: Command) -> Result<Self> {
        Ok(match command {
            Command::Commit(changes) => Self::Commit(all(changes)?),
            Command::Recall(question) => {
                let Question { text, semantic, tags, window, archived, memories, tokens } = question;
                Self::Recall(QuestionV1 {
                    text,
                    semantic: semantic.iter().map(|kind| kind.to_string()).collect(),
                    tags,
                    window: window.into(),
                    archived,
                    memories,
                    tokens,
                })
            }
            Command::Get(cube) => Self::Get(*cube.as_bytes()),
            Command::Erase { cubes, reason } => {
                Self::Erase { cubes: cubes.iter().map(|cube| *cube.as_bytes()).collect(), reason }
            }
        })
    }
}

impl TryFrom<CommandV1> for Command {
    type Error = Error;

    fn try_from(command: CommandV1) -> Result<Self> {
        Ok(match command {
            CommandV1::Commit(changes) => Self::Commit(all(changes)?),
            CommandV1::Recall(question) => Self::Recall(Question {
                text: question.text,
                semantic: question.semantic.iter().map(|kind| kind.parse()).collect::<Result<_>>()?,
                tags: question.tags,
                window: question.window.into(),
                archived: question.archived,
                memories: question.memories,
                tokens: question.tokens,
            }),
            CommandV1::Get(cube) => Self::Get(CubeId::from_bytes(cube)),
            CommandV1::Erase { cubes, reason } => {
                Self::Erase { cubes: cubes.into_iter().map(CubeId::from_bytes).collect(), reason }
            }
        })
    }
}
