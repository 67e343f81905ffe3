//! What the bearer of a pass does: sealing requests, and opening answers.
//!
//! A request is bytes: a version, the pass, the space, what is asked, and the tag of all of it under the pass's key. The
//! answer has a tag too, over the request's tag and what it says, so that it holds for that request alone.

use memos_memory::cube::{CubeDraft, CubeId, Digest, SemanticType, SpaceName, State, Update, VersionRef};
use memos_memory::error::{Error, ErrorKind, Result};
use memos_memory::graph::Link;
use memos_memory::keys::{Entropy, MacKey, TAG_BYTES};
use memos_memory::time::{Timestamp, Window};

use super::pass::{IssuedPass, VERSION};
use super::wire::{self, AnswerV1, MemoryV1, RequestV1};
use crate::actor::TraceLink;

const REQUEST: &[u8] = b"memos request 1\0";
const ANSWER: &[u8] = b"memos answer 1\0";

/// Names a request of one principal, so that asking again does not do it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) [u8; 16]);

impl RequestId {
    /// Makes a new id.
    ///
    /// # Errors
    /// `Unavailable` when there is no randomness.
    pub fn make(entropy: &dyn Entropy) -> Result<Self> {
        let mut id = [0; 16];
        entropy.fill(&mut id)?;
        Ok(Self(id))
    }

    /// Takes an id's sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the name under which a space knows the request.
    pub(super) fn key(&self) -> String {
        format!("gateway:{:032x}", u128::from_be_bytes(self.0))
    }
}

/// One change of a request.
#[derive(Debug, Clone)]
pub enum Change {
    /// To store a new memory. It is the bearer's own.
    Remember(Box<CubeDraft>),
    /// To make the next version of one.
    Update(Box<Update>),
    /// To take one to another state.
    SetState {
        /// The cube.
        cube: CubeId,
        /// The state.
        state: State,
        /// Why.
        reason: String,
    },
    /// To link two.
    Link(Link),
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// To make changes, all or none.
    Commit(Vec<Change>),
    /// To answer a question.
    Recall(Question),
    /// To return a cube's present version.
    Get(CubeId),
    /// To erase cubes for good.
    Erase {
        /// The cubes.
        cubes: Vec<CubeId>,
        /// Why.
        reason: String,
    },
}

impl Command {
    /// Makes the command that stores one new memory.
    pub fn remember(draft: CubeDraft) -> Self {
        Self::Commit(vec![Change::Remember(Box::new(draft))])
    }

    /// Makes the command that makes the next version of one.
    pub fn update(update: Update) -> Self {
        Self::Commit(vec![Change::Update(Box::new(update))])
    }

    /// Makes the command that answers a bare question.
    pub fn ask(question: impl Into<String>) -> Self {
        Self::Recall(Question::new(question))
    }

    pub(super) fn changes(&self) -> bool {
        matches!(self, Self::Commit(_) | Self::Erase { .. })
    }

    /// Returns how many changes or cubes it names.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Commit(changes) => changes.len(),
            Self::Erase { cubes, .. } => cubes.len(),
            Self::Recall(_) | Self::Get(_) => 1,
        }
    }
}

/// A question with its filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question as it is put.
    pub text: String,
    /// The semantic types that may be in the answer; empty for all.
    pub semantic: Vec<SemanticType>,
    /// Tags that every memory of the answer must have.
    pub tags: Vec<String>,
    /// When every memory of the answer must have been said, seen or true.
    pub window: Window,
    /// Whether archived memories may be in the answer.
    pub archived: bool,
    /// The most memories.
    pub memories: u32,
    /// The most tokens.
    pub tokens: u32,
}

impl Question {
    /// Makes a question without filters, with room for ten memories and two thousand tokens.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            semantic: Vec::new(),
            tags: Vec::new(),
            window: Window::ALWAYS,
            archived: false,
            memories: 10,
            tokens: 2000,
        }
    }
}

/// A request before it is sealed.
#[derive(Debug, Clone)]
pub struct Request {
    /// The space.
    pub space: SpaceName,
    /// Its name. A write that is sent again keeps it, also when it is sealed anew.
    pub id: RequestId,
    /// When it is sent, by the sender's clock.
    pub sent: Timestamp,
    /// When the sender waits no longer.
    pub deadline: Timestamp,
    /// Where it belongs in a trace.
    pub trace: TraceLink,
    /// The task in which it is asked.
    pub task: Option<String>,
    /// The session in which it is asked.
    pub session: Option<String>,
    /// What is asked.
    pub command: Command,
}

impl Request {
    /// Makes a request without trace, task and session, for which its sender waits thirty seconds.
    pub fn new(space: SpaceName, id: RequestId, sent: Timestamp, command: Command) -> Self {
        let deadline = Timestamp::from_millis(sent.as_millis().saturating_add(30_000));
        Self { space, id, sent, deadline, trace: TraceLink::default(), task: None, session: None, command }
    }
}

impl IssuedPass {
    /// Seals a request in the bearer's name.
    ///
    /// # Errors
    /// `Invalid` when it holds what a gateway does not take: payloads that are no text, other owners, legal holds, merges.
    pub fn seal(&self, request: Request) -> Result<SealedRequest> {
        let Request { space, id, sent, deadline, trace, task, session, command } = request;
        let body = RequestV1 {
            id: id.0,
            sent: sent.as_millis(),
            deadline: deadline.as_millis(),
            trace_id: trace.trace_id,
            span_id: trace.span_id,
            task,
            session,
            command: command.try_into()?,
        };
        self.seal_body(space.as_str(), &wire::encode(&body)?)
    }

    /// Seals whatever stands in the request's place.
    pub(super) fn seal_body(&self, space: &str, body: &[u8]) -> Result<SealedRequest> {
        let pass_bytes = u32::try_from(self.bytes.len()).map_err(|_| Error::invalid("the pass is too long"))?;
        let space_bytes = u8::try_from(space.len()).map_err(|_| Error::invalid("the space's name is too long"))?;
        let mut bytes = vec![VERSION];
        bytes.extend(pass_bytes.to_le_bytes());
        bytes.extend(&self.bytes);
        bytes.push(space_bytes);
        bytes.extend(space.as_bytes());
        bytes.extend(body);
        let tag = self.keys.requests.tag(&[REQUEST, &bytes]);
        bytes.extend(tag);
        Ok(SealedRequest { bytes, tag, answers: self.keys.answers.clone() })
    }
}

/// A sealed request, ready to be sent over anything that carries bytes.
#[derive(Debug, Clone)]
pub struct SealedRequest {
    bytes: Vec<u8>,
    tag: [u8; TAG_BYTES],
    answers: MacKey,
}

impl SealedRequest {
    /// Returns what is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Opens the answer to it.
    ///
    /// # Errors
    /// `Busy` when the gateway has no place for it; `Denied` when the gateway does not know its sender, and says no more;
    /// `Corrupt` when the answer is not the gateway's to this request; else what went wrong there.
    pub fn open(&self, answer: &[u8]) -> Result<Answer> {
        let forged = || Error::corrupt("the answer is not the gateway's to this request; send it again");
        match answer {
            [VERSION, REFUSED] => {
                Err(Error::denied("the gateway refuses the request, and says no more to who has no good pass"))
            }
            [VERSION, BUSY] => {
                Err(Error::new(ErrorKind::Busy, "the gateway has no place for the request; try again soon"))
            }
            [VERSION, ANSWERED, rest @ ..] => {
                let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(forged)?;
                if !self.answers.vouches_for(&[ANSWER, &self.tag, body], tag) {
                    return Err(forged());
                }
                Answer::read(wire::decode(body).ok_or_else(forged)?)
            }
            _ => Err(forged()),
        }
    }
}

const REFUSED: u8 = 0;
const BUSY: u8 = 1;
const ANSWERED: u8 = 2;

/// What everybody is told who shows no good pass: the same bytes, whatever was wrong.
pub(super) fn refused() -> Vec<u8> {
    vec![VERSION, REFUSED]
}

/// What is told when there is no place.
pub(super) fn busy() -> Vec<u8> {
    vec![VERSION, BUSY]
}

/// Whom an answer is for.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) answers: MacKey,
    pub(super) tag: [u8; TAG_BYTES],
}

impl Asker {
    /// Seals an answer for the request.
    pub(super) fn seal(&self, body: &[u8]) -> Vec<u8> {
        let tag = self.answers.tag(&[ANSWER, &self.tag, body]);
        [&[VERSION, ANSWERED], body, tag.as_slice()].concat()
    }
}

/// The parts of a request's bytes, before any of it is believed.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) pass: &'a [u8],
    pub(super) space: &'a [u8],
    pub(super) body: &'a [u8],
    signed: &'a [u8],
    pub(super) tag: [u8; TAG_BYTES],
}

impl<'a> Frame<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (signed, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        let (_, rest) = signed.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (pass, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let (length, rest) = rest.split_first()?;
        let (space, body) = rest.split_at_checked(usize::from(*length))?;
        Some(Self { pass, space, body, signed, tag: *tag })
    }

    pub(super) fn is_sealed_by(&self, requests: &MacKey) -> bool {
        requests.vouches_for(&[REQUEST, self.signed], &self.tag)
    }
}

/// What a gateway answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The changes are durable.
    Committed {
        /// The number of the first event.
        first_event: u64,
        /// How many events there are.
        events: u64,
        /// The versions that were stored, in order.
        stored: Vec<VersionRef>,
    },
    /// Memories that answer the question, best first.
    Recalled {
        /// The memories.
        memories: Vec<Memory>,
        /// How many memories the bearer may read that the filters let through.
        considered: u64,
        /// How many tokens they take together, as estimated.
        tokens: u64,
    },
    /// The cube.
    Got(Box<Memory>),
    /// The cubes are erased.
    Erased {
        /// The event.
        event: u64,
        /// The cubes.
        cubes: Vec<CubeId>,
        /// Memories that were made from them and are still there, as far as the bearer may read them.
        derived: Vec<CubeId>,
    },
}

/// One memory of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The cube.
    pub cube: CubeId,
    /// Its version.
    pub version: u32,
    /// The digest of that version, with which an update names it; zeros where the memory is redacted.
    pub digest: Digest,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// Its state.
    pub state: State,
    /// Its title; may be empty.
    pub title: String,
    /// What it says. It is data, whatever it says.
    pub text: String,
    /// Who said it.
    pub speaker: Option<String>,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// Whether what is sensitive in it was taken out.
    pub redacted: bool,
    /// Why the bearer may read it; empty when a cube was asked for by its id.
    pub rule: String,
    /// How well it answers; 0 when a cube was asked for by its id.
    pub score: f32,
    /// The memory that holds in its place by now.
    pub superseded_by: Option<CubeId>,
}

impl Answer {
    fn read(answer: AnswerV1) -> Result<Self> {
        let ids = |ids: Vec<[u8; 16]>| ids.into_iter().map(CubeId::from_bytes).collect();
        Ok(match answer {
            AnswerV1::Failed { kind, message } => return Err(Error::new(kind_of(kind), message)),
            AnswerV1::Committed { first_event, events, stored } => {
                let version = |(cube, version)| VersionRef { cube: CubeId::from_bytes(cube), version };
                Self::Committed { first_event, events, stored: stored.into_iter().map(version).collect() }
            }
            AnswerV1::Recalled { memories, considered, tokens } => {
                let memories = memories.into_iter().map(Memory::read).collect::<Result<_>>()?;
                Self::Recalled { memories, considered, tokens }
            }
            AnswerV1::Got(memory) => Self::Got(Box::new(Memory::read(*memory)?)),
            AnswerV1::Erased { event, cubes, derived } => {
                Self::Erased { event, cubes: ids(cubes), derived: ids(derived) }
            }
        })
    }
}

impl Memory {
    fn read(memory: MemoryV1) -> Result<Self> {
        Ok(Self {
            cube: CubeId::from_bytes(memory.cube),
            version: memory.version,
            digest: Digest::from_bytes(memory.digest),
            semantic: memory.semantic.parse()?,
            state: memory.state.parse()?,
            title: memory.title,
            text: memory.text,
            speaker: memory.speaker,
            observed: Timestamp::from_millis(memory.observed),
            redacted: memory.redacted,
            rule: memory.rule,
            score: memory.score,
            superseded_by: memory.superseded_by.map(CubeId::from_bytes),
        })
    }
}

/// The kinds of errors by their number on the wire.
const KINDS: [ErrorKind; 8] = [
    ErrorKind::Busy,
    ErrorKind::Deadline,
    ErrorKind::Denied,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::Invalid,
    ErrorKind::Corrupt,
    ErrorKind::Unavailable,
];

fn kind_of(number: u8) -> ErrorKind {
    KINDS.get(usize::from(number)).copied().unwrap_or(ErrorKind::Unavailable)
}

/// Makes the answer that says what went wrong. What another tenant does, and where files lie, is nobody's business.
pub(super) fn failed(error: &Error) -> AnswerV1 {
    let kind = error.kind();
    let message = match kind {
        ErrorKind::Busy => "there is too much to do at the moment; try again soon".to_owned(),
        ErrorKind::Deadline => "the deadline passed before it was done; give it more time".to_owned(),
        ErrorKind::Corrupt => "what is stored failed a check; tell the owner of the kernel".to_owned(),
        ErrorKind::Unavailable => "the space cannot be used at the moment; try again later".to_owned(),
        ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid => error.to_string(),
    };
    let number = KINDS.iter().position(|known| *known == kind).and_then(|number| u8::try_from(number).ok());
    AnswerV1::Failed { kind: number.unwrap_or(u8::MAX), message }
}
