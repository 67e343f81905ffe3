//! The header of a cube: descriptive identifiers, governance attributes, lifecycle and version chain (MemOS paper,
//! section 3.2). Usage indicators stand beside it, in [`super::Usage`].

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::payload::Form;
use super::{CubeId, Digest, GroupName, Kind, PrincipalId};
use crate::embed::EmbedderId;
use crate::error::{Error, Result};
use crate::governance::sensitivity::SensitivityKind;
use crate::time::{Timestamp, Window};

/// What is known about one version of a memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Header {
    /// Names the cube through all its versions.
    pub id: CubeId,
    /// Counts versions from 1.
    pub version: u32,
    /// What sort of statement the memory is.
    pub semantic: SemanticType,
    /// A short name for people; may be empty.
    pub title: String,
    /// Labels, such as topics and `entity:NAME`.
    pub tags: Vec<String>,
    /// The way from the general to this memory: task, concept, fact; or a document's headings.
    pub path: Vec<String>,
    /// Whose data it is: a person's or a principal's name. All memories of one subject are kept under one tree of keys, so
    /// that they can be forgotten together.
    pub subject: String,
    /// Who and what made it.
    pub origin: Origin,
    /// When it was made, seen and true.
    pub times: Times,
    /// The contextual fingerprint.
    pub fingerprint: Fingerprint,
    /// The kind of payload with what must be known to use it.
    pub form: Form,
    /// Whose it is and who may use it.
    pub governance: Governance,
    /// Where it stands in its life.
    pub lifecycle: Lifecycle,
    /// What it came from.
    pub chain: Chain,
    /// Under which key the rest of it is kept.
    pub seal: Seal,
}

impl Header {
    /// Returns the kind of the payload.
    pub fn kind(&self) -> Kind {
        self.form.kind()
    }

    /// Returns the cube and version that this header is of.
    pub fn version_ref(&self) -> VersionRef {
        VersionRef { cube: self.id, version: self.version }
    }
}

/// Declares an enum whose values have a stable name for people and a stable code on disk.
macro_rules! coded_enum {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All values, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns the name that people read and write.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Returns the code that stands on disk. Codes are never given to another value.
            pub(crate) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Returns the value of a code.
            pub(crate) fn from_code(code: u8) -> $crate::error::Result<Self> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err($crate::error::Error::corrupt(format!("code {code} is no {}", $what))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> $crate::error::Result<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::error::Error::invalid(format!("`{text}` is no {}; use one of {}", $what, known.join(", ")))
                })
            }
        }
    };
}
pub(crate) use coded_enum;

coded_enum! {
    /// What sort of statement a memory is.
    SemanticType, "semantic type" {
        /// Something that holds of the world.
        Fact = 0 "fact",
        /// What somebody likes or wants.
        Preference = 1 "preference",
        /// Something that happened or will happen.
        Event = 2 "event",
        /// How somebody wants things done.
        Instruction = 3 "instruction",
        /// How something is done.
        Skill = 4 "skill",
        /// Several memories in short.
        Summary = 5 "summary",
        /// A passage of a document.
        Document = 6 "document",
        /// A conclusion drawn from other memories.
        Reflection = 7 "reflection",
        /// What was said in a conversation, as it was said.
        Message = 8 "message",
    }
}

coded_enum! {
    /// How a memory came to be.
    OriginKind, "origin" {
        /// Somebody said or wrote it.
        UserInput = 0 "user-input",
        /// A rule or a model concluded it from other memories.
        Inference = 1 "inference",
        /// It was found in an outside source.
        Retrieval = 2 "retrieval",
        /// Training made it.
        FineTuning = 3 "fine-tuning",
        /// It came in a file or a bundle.
        Import = 4 "import",
    }
}

coded_enum! {
    /// Where a cube stands in its life. The rules of transition belong to the lifecycle.
    State, "state" {
        /// New, not used yet.
        Generated = 0 "generated",
        /// In use.
        Activated = 1 "activated",
        /// Part of another cube now, to which a `merged-into` link leads.
        Merged = 2 "merged",
        /// Out of the hot index, recalled on request.
        Archived = 3 "archived",
        /// Past its lifespan; can be restored until it is erased.
        Expired = 4 "expired",
        /// Not to be changed.
        Frozen = 5 "frozen",
        /// A tombstone: the body is gone.
        Erased = 6 "erased",
    }
}

impl State {
    /// Returns whether recall finds cubes of this state without being asked for them.
    pub fn is_recalled(self) -> bool {
        matches!(self, Self::Generated | Self::Activated | Self::Frozen)
    }
}

coded_enum! {
    /// How much a memory matters to its owner.
    Priority, "priority" {
        /// First to be archived.
        Low = 0 "low",
        /// Nothing special.
        Normal = 1 "normal",
        /// Kept at hand.
        High = 2 "high",
    }
}

/// Who and what made a memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// Who wrote it into the space.
    pub principal: PrincipalId,
    /// How it came to be.
    pub kind: OriginKind,
    /// The task it belongs to.
    pub task: Option<String>,
    /// The session it was said in.
    pub session: Option<String>,
    /// The model that concluded it.
    pub model: Option<String>,
    /// Who said it, as the source names them.
    pub speaker: Option<String>,
    /// Its place in the source, such as a message's id or `FILE#HEADING`.
    pub reference: Option<String>,
    /// The system or space that it was imported from.
    pub source: Option<Source>,
}

/// Where an imported memory comes from, as far as its bundle or file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The system: `memos`, `mem0`, `letta`, and so on.
    pub system: String,
    /// The space, user or agent there.
    pub space: Option<String>,
    /// Its id there.
    pub cube: Option<String>,
    /// Its version there.
    pub version: Option<u32>,
    /// The key that signed the bundle, in hexadecimal digits.
    pub signer: Option<String>,
}

/// When a memory was made, seen and true.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// When this version was written.
    pub created: Timestamp,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// When it is true, apart from when it was learned.
    pub valid: Window,
}

/// The contextual fingerprint: what the payload is and how it was embedded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fingerprint {
    /// The digest of the body.
    pub content: Digest,
    /// Bytes of the body.
    pub bytes: u64,
    /// The embedder whose vector the index holds; none for payloads that are not text.
    pub embedding: Option<EmbedderId>,
}

/// Whose a memory is and who may use it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Governance {
    /// Who may read it by default.
    pub layer: Layer,
    /// Whose it is.
    pub owner: PrincipalId,
    /// Rights beyond those of the layer.
    pub grants: Vec<Grant>,
    /// How long it is kept.
    pub lifespan: Lifespan,
    /// Whether it must not be erased.
    pub legal_hold: bool,
    /// How much it matters.
    pub priority: Priority,
    /// Kinds of sensitive content found in it or set by hand.
    pub sensitivity: BTreeSet<SensitivityKind>,
    /// Names the sharer in shared content.
    pub watermark: Option<String>,
}

/// Who may read a cube by default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Its owner alone.
    Private,
    /// The members of a group.
    Shared(GroupName),
    /// Everyone in the space.
    Global,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Shared(group) => write!(f, "shared:{group}"),
            Self::Global => f.write_str("global"),
        }
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "private" => Ok(Self::Private),
            None if text == "global" => Ok(Self::Global),
            Some(("shared", group)) => group.parse().map(Self::Shared),
            _ => Err(Error::invalid(format!("`{text}` is no layer; use `private`, `shared:GROUP` or `global`"))),
        }
    }
}

/// Rights given to one principal or group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Who has the rights.
    pub to: Grantee,
    /// What they may do.
    pub rights: Rights,
}

/// Who has a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// One principal.
    Principal(PrincipalId),
    /// All members of a group.
    Group(GroupName),
}

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Rights {
    /// To read it and to have it in answers.
    pub read: bool,
    /// To write its next version.
    pub write: bool,
    /// To grant rights to others and to link to it from elsewhere.
    pub share: bool,
}

/// How long a memory is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifespan {
    /// Until somebody decides otherwise.
    Forever,
    /// For so many milliseconds after it was created.
    TimeToLiveMillis(u64),
    /// Its weight falls to half in so many milliseconds without use.
    HalfLifeMillis(u64),
}

/// Where a cube stands in its life.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lifecycle {
    /// The present state.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why; empty for a new cube.
    pub reason: String,
}

/// What a version came from.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Chain {
    /// The digest of the version before this one; none for the first.
    pub parent: Option<Digest>,
    /// The versions of other cubes it was made from.
    pub derived_from: Vec<VersionRef>,
}

/// Under which key a version's description and body are kept, and what names the sealed bytes.
///
/// The description (title, tags, path, subject, content digest, and the texts of its origin) stands with the body, not in the
/// ledger's event, so that both are gone when their key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Seal {
    /// The number of the key tree in the space's ring; 0 in a space that encrypts nothing.
    pub ring: u32,
    /// The place of the key in that tree.
    pub slot: u64,
    /// The digest of the sealed record.
    pub digest: Digest,
}

/// Names one version of a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub struct VersionRef {
    /// The cube.
    pub cube: CubeId,
    /// Its version, counted from 1.
    pub version: u32,
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.cube, self.version)
    }
}
