//! The working sets of tasks: what each used and what was read ahead for it, with the texts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memos_memory::cube::{CubeId, SpaceName};
use memos_memory::governance::Principal;
use memos_memory::schedule::{Candidate, Plan};
use memos_memory::time::Timestamp;
use tokio::time::Instant;

use super::reading::{Gathered, Scored};

/// A space, and the task or session in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Setting {
    pub(super) space: SpaceName,
    /// `task:NAME`, else `session:NAME`; none for what belongs to neither.
    pub(super) name: Option<Arc<str>>,
}

impl Setting {
    /// Returns where a principal works. A name of more bytes than `most` is none.
    pub(super) fn of(space: &SpaceName, principal: &Principal, most: usize) -> Self {
        let context = &principal.context;
        let named = match (&context.task, &context.session) {
            (Some(task), _) => Some(("task", task)),
            (None, Some(session)) => Some(("session", session)),
            (None, None) => None,
        };
        let named = named.filter(|(_, name)| name.len() <= most);
        Self { space: space.clone(), name: named.map(|(sort, name)| format!("{sort}:{name}").into()) }
    }

    pub(super) fn task(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix("task:")
    }
}

/// One memory of a working set.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) version: u32,
    pub(super) tokens: usize,
    /// What it says, once it was read.
    pub(super) text: Option<Arc<str>>,
    /// The score it was last found with, or that came over the links.
    pub(super) score: f32,
    /// When it was scored.
    pub(super) scored: Timestamp,
    pub(super) since: Timestamp,
    /// When the task used it last, as a number that grows; none when it was only read ahead.
    pub(super) used: Option<u64>,
}

impl Member {
    pub(super) fn scored(&self, cube: CubeId) -> Scored {
        Scored { cube, score: self.score, at: self.scored }
    }
}

/// The working set of one task.
pub(super) struct WorkingSet {
    pub(super) members: HashMap<CubeId, Member>,
    pub(super) touched: Instant,
    /// It will be looked after, or is being.
    pub(super) is_looked_after: bool,
    /// It was used since its memories were read.
    pub(super) is_outdated: bool,
}

/// The working sets, of which there are so many and no more.
pub(super) struct WorkingSets {
    sets: HashMap<Setting, WorkingSet>,
    most: usize,
    uses: u64,
}

impl WorkingSets {
    pub(super) fn new(most: usize) -> Self {
        Self { sets: HashMap::new(), most, uses: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    pub(super) fn members(&self) -> usize {
        self.sets.values().map(|set| set.members.len()).sum()
    }

    pub(super) fn get(&self, setting: &Setting) -> Option<&WorkingSet> {
        self.sets.get(setting)
    }

    pub(super) fn get_mut(&mut self, setting: &Setting) -> Option<&mut WorkingSet> {
        self.sets.get_mut(setting)
    }

    /// Returns the set of a task, begun if there is none; another goes when there are too many. None for what belongs
    /// to no task.
    pub(super) fn touch(&mut self, setting: &Setting) -> Option<&mut WorkingSet> {
        setting.name.as_ref()?;
        if !self.sets.contains_key(setting) && self.sets.len() >= self.most {
            let oldest = self
                .sets
                .iter()
                .min_by_key(|(setting, set)| (set.touched, *setting))
                .map(|(setting, _)| setting.clone());
            oldest.and_then(|oldest| self.sets.remove(&oldest));
        }
        let begin = || WorkingSet {
            members: HashMap::new(),
            touched: Instant::now(),
            is_looked_after: false,
            is_outdated: false,
        };
        let set = self.sets.entry(setting.clone()).or_insert_with(begin);
        set.touched = Instant::now();
        Some(set)
    }

    /// Returns the number of the next use.
    pub(super) fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Lets go of what was not used for so long.
    pub(super) fn let_go(&mut self, idle: Duration) {
        self.sets.retain(|_, set| set.is_looked_after || set.touched.elapsed() < idle);
    }
}

impl WorkingSet {
    /// Notes that the task used a memory, if there is place for it until it is looked after.
    pub(super) fn used(&mut self, cube: CubeId, version: u32, score: f32, used: u64, now: Timestamp, most: usize) {
        let is_full = self.members.len() >= most;
        match self.members.get_mut(&cube) {
            Some(member) => {
                member.used = Some(used);
                (member.score, member.scored) = (score, now);
            }
            None if is_full => {}
            None => {
                let member =
                    Member { version, tokens: 0, text: None, score, scored: now, since: now, used: Some(used) };
                self.members.insert(cube, member);
            }
        }
    }

    /// Returns its memories and their scores, those that the task used last first; of these `most` that it used.
    pub(super) fn scored(&self, most: usize) -> (Vec<Scored>, Vec<Scored>) {
        let members = self.in_order();
        let scored = |(cube, member): &(CubeId, &Member)| member.scored(*cube);
        let used = members.iter().filter(|(_, member)| member.used.is_some()).take(most);
        (members.iter().map(scored).collect(), used.map(scored).collect())
    }

    /// Returns the members, those that were used last first, then those with the best scores.
    pub(super) fn in_order(&self) -> Vec<(CubeId, &Member)> {
        let mut members: Vec<(CubeId, &Member)> = self.members.iter().map(|(cube, member)| (*cube, member)).collect();
        members.sort_by(|(a_cube, a), (b_cube, b)| {
            b.used.cmp(&a.used).then(b.score.total_cmp(&a.score)).then(a_cube.cmp(b_cube))
        });
        members
    }

    /// Makes it what a plan says. What was no candidate stays.
    pub(super) fn follow(&mut self, plan: &Plan, gathered: &Gathered, now: Timestamp) {
        let candidates: HashMap<CubeId, &Candidate> =
            gathered.candidates.iter().map(|candidate| (candidate.standing.id, candidate)).collect();
        let before = self.members.clone();
        self.members.retain(|cube, _| !candidates.contains_key(cube));
        for cube in &plan.working_set {
            let Some(candidate) = candidates.get(cube) else { continue };
            let member = Member {
                version: candidate.version,
                tokens: candidate.tokens,
                text: gathered.texts.get(cube).cloned(),
                score: candidate.score,
                scored: candidate.scored,
                since: candidate.at_hand_since.unwrap_or(now),
                used: before.get(cube).and_then(|member| member.used),
            };
            self.members.insert(*cube, member);
        }
    }
}
