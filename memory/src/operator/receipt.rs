//! Answers: which memories were chosen, in which version, by which scores, over which links, and by whose leave.

use std::fmt;

use serde::Serialize;

use super::features::Feature;
use crate::cube::{CubeId, Digest, SemanticType, SpaceName, State};
use crate::governance::Decision;
use crate::graph::{Direction, LinkKind};
use crate::time::{Timestamp, Window};

/// A step over a link by which a memory gained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PathStep {
    /// The cube at the other end.
    pub from: CubeId,
    /// The link.
    pub link: LinkKind,
    /// The way of the link, seen from the memory that gained.
    pub direction: Direction,
    /// How much was gained.
    pub gain: f32,
}

/// One memory of an answer, and why it is there.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// The space it is from.
    pub space: SpaceName,
    /// The cube.
    pub cube: CubeId,
    /// Its version.
    pub version: u32,
    /// The digest of that version; zeros where the memory is redacted.
    pub digest: Digest,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// Its state.
    pub state: State,
    /// Its title; may be empty.
    pub title: String,
    /// What it says.
    pub text: String,
    /// Who said it.
    pub speaker: Option<String>,
    /// The session it was said in.
    pub session: Option<String>,
    /// Its place in the source.
    pub reference: Option<String>,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// When it is true.
    pub valid: Window,
    /// The memory that holds in its place by now.
    pub superseded_by: Option<CubeId>,
    /// The form in which it was loaded.
    pub form: &'static str,
    /// How many tokens it takes, as estimated.
    pub tokens: usize,
    /// The sum of what the features contributed.
    pub score: f32,
    /// What each feature contributed, the largest first.
    pub features: Vec<(Feature, f32)>,
    /// The links by which it gained.
    pub path: Vec<PathStep>,
    /// Why the caller may read it, and how far.
    pub decision: Decision,
    /// Memories that say nearly the same and were left out for it.
    pub stands_for: Vec<CubeId>,
}

impl fmt::Display for Receipt {
    /// Writes one line: the memory, its version, its strongest reasons, and by whose leave.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<String> =
            self.features.iter().take(3).map(|(feature, part)| format!("{feature} {part:+.2}")).collect();
        write!(
            f,
            "{}@{} {:.2} ({}; {}): {}",
            self.cube,
            self.version,
            self.score,
            reasons.join(", "),
            self.decision.rule,
            self.text
        )
    }
}

/// How long the parts of a recall took, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RecallTimes {
    /// Reading the question and embedding it.
    pub embed: u64,
    /// Finding candidates.
    pub find: u64,
    /// Spreading and ranking.
    pub rank: u64,
    /// Reading, checking and packing.
    pub pack: u64,
}

impl RecallTimes {
    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.embed + self.find + self.rank + self.pack
    }
}

/// What memory has to say.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The memories, best first.
    pub receipts: Vec<Receipt>,
    /// How many tokens they take together, as estimated.
    pub tokens: usize,
    /// How many memories the caller may read that the filters let through.
    pub considered: usize,
    /// How long it took.
    pub times: RecallTimes,
}
