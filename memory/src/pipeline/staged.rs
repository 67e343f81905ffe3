//! What a run has read and what it is about to write: an overlay over the space.
//!
//! A memory is read once and is then the same for all steps, with what they change in it. Several changes to one memory
//! become one next version. What is changed is put into an empty space in memory, so that retrieving finds it by what it says
//! now, and is hidden in the space itself. Nothing is written before [`Staged::finish`], and what was read must still be
//! what it was then.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::report::Stored;
use crate::cube::{
    CubeDraft, CubeId, Digest, Header, Payload, PrincipalId, Revision, State, Update, UpdateMode, VersionRef,
};
use crate::error::{Error, Result};
use crate::governance::redaction::redacted_header;
use crate::governance::sensitivity::{SensitivityKind, find_sensitive};
use crate::governance::{Access, AccessClass, Operation, Principal};
use crate::graph::Link;
use crate::lifecycle::Transition;
use crate::operator::{MemoryCall, recall_without};
use crate::reader::read_question;
use crate::time::{Timestamp, Window};
use crate::vault::{Batch, Space};

/// Changes that are put beside the space at once.
const BATCH: usize = 1000;

/// What a memory was when it was read.
#[derive(Debug, Clone, Copy)]
struct Read {
    digest: Digest,
    state: State,
}

/// A memory as the steps see it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) header: Header,
    /// What it says; none for what is not text.
    pub(super) text: Option<String>,
    /// Whether the caller sees it without what is sensitive in it.
    pub(super) is_redacted: bool,
    pub(super) state: State,
    /// The states to which it goes, each with the reason.
    states: Vec<(State, String)>,
    /// How many of them come before its next version.
    states_before: usize,
    /// None for one that the run itself makes.
    read: Option<Read>,
    /// What its next version changes.
    revised: Option<Revised>,
    /// The step that read it, or was the last to change it.
    step: usize,
    /// Counts changes, so that what was made from a memory is written after it.
    order: usize,
    /// The step that made another memory from the version that this run makes.
    source_of: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Revised {
    text: bool,
    tags: Vec<String>,
    valid: Option<Window>,
    sources: Vec<VersionRef>,
    sensitivity: BTreeSet<SensitivityKind>,
}

/// What a step changes in a memory; what is not given stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Revise {
    pub(super) text: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) valid: Option<Window>,
    pub(super) sources: Vec<CubeId>,
    pub(super) sensitivity: BTreeSet<SensitivityKind>,
}

impl Memory {
    fn is_changed(&self) -> bool {
        self.revised.is_some() || self.read.is_none_or(|read| read.state != self.state)
    }

    /// Returns the version that it will have.
    fn version(&self) -> u32 {
        self.header.version + u32::from(self.revised.is_some())
    }
}

/// The space with what a run is about to write.
pub(super) struct Staged<'a> {
    pub(super) space: &'a Space,
    pub(super) caller: &'a Principal,
    pub(super) now: Timestamp,
    /// The step that is at work.
    pub(super) step: usize,
    memories: HashMap<CubeId, Memory>,
    links: Vec<(usize, Link)>,
    changes: usize,
    /// What was changed, found beside the space; none when something changed since.
    scratch: Option<Space>,
}

impl<'a> Staged<'a> {
    pub(super) fn new(space: &'a Space, caller: &'a Principal) -> Self {
        Self {
            space,
            caller,
            now: space.now(),
            step: 0,
            memories: HashMap::new(),
            links: Vec::new(),
            changes: 0,
            scratch: None,
        }
    }

    /// Returns a memory that was read.
    pub(super) fn memory(&self, id: &CubeId) -> Result<&Memory> {
        self.memories.get(id).ok_or_else(|| missing(id))
    }

    /// Returns the state in which a memory is by now, if the run has read it.
    pub(super) fn state_of(&self, id: &CubeId) -> Option<State> {
        self.memories.get(id).map(|memory| memory.state)
    }

    /// Returns the memories that the run has made.
    pub(super) fn made(&self) -> impl Iterator<Item = &Memory> {
        self.memories.values().filter(|memory| memory.read.is_none())
    }

    /// Reads a memory, if it was not read yet.
    pub(super) fn read(&mut self, id: &CubeId) -> Result<&Memory> {
        if !self.memories.contains_key(id) {
            let (head, _) = self.space.readable_head(self.caller, id)?;
            let access = self.space.access(self.caller, &head);
            let cube = self.space.cube_for(&self.space.ledger()?, &head, access)?;
            let memory = Memory {
                text: cube.payload.as_text().map(str::to_owned),
                header: cube.header,
                is_redacted: access != Access::Full,
                state: head.state,
                states: Vec::new(),
                states_before: 0,
                read: Some(Read { digest: head.digest, state: head.state }),
                revised: None,
                step: self.step,
                order: 0,
                source_of: None,
            };
            self.memories.insert(*id, memory);
        }
        self.memory(id)
    }

    /// Returns whether a memory was read already.
    pub(super) fn is_read(&self, id: &CubeId) -> bool {
        self.memories.contains_key(id)
    }

    /// Returns whether a memory that was not read has all these tags.
    pub(super) fn has_tags(&self, id: &CubeId, tags: &[String]) -> Result<bool> {
        if tags.is_empty() {
            return Ok(true);
        }
        let (head, _) = self.space.readable_head(self.caller, id)?;
        let header = self.space.ledger()?.header(head.event)?;
        let header = match self.space.access(self.caller, &head) {
            Access::Full => header,
            _ => redacted_header(header),
        };
        Ok(tags.iter().all(|tag| header.tags.contains(tag)))
    }

    /// Refuses what the policy does not let the caller do.
    fn require(&self, id: &CubeId, operation: Operation) -> Result<()> {
        let class = AccessClass::from(&self.memory(id)?.header.governance);
        let decision = self.space.ruling().decide(self.caller, operation, &class);
        if decision.allowed() || operation == Operation::Read && decision.shows() {
            return Ok(());
        }
        Err(Error::denied(format!("`{}` may not change cube `{id}`: {}", self.caller.id, decision.rule)))
    }

    /// Stores a new memory.
    pub(super) fn store(&mut self, mut draft: CubeDraft, sources: &[CubeId]) -> Result<CubeId> {
        draft.derived_from = self.take_sources(sources)?;
        draft.check(self.space.limits())?;
        let id = self.space.new_id();
        let (header, payload) = draft.into_first(id, &self.caller.id, self.now, self.space.embedder().id());
        let memory = Memory {
            text: payload.as_text().map(str::to_owned),
            header,
            is_redacted: false,
            state: State::Generated,
            states: Vec::new(),
            states_before: 0,
            read: None,
            revised: None,
            step: self.step,
            order: 0,
            source_of: None,
        };
        self.memories.insert(id, memory);
        self.touch(&id)?;
        Ok(id)
    }

    /// Makes the next version of a memory, or changes the one that is about to be made.
    pub(super) fn revise(&mut self, id: &CubeId, change: Revise) -> Result<()> {
        self.require(id, Operation::Write)?;
        let memory = self.memory(id)?;
        if matches!(memory.state, State::Frozen | State::Erased | State::Merged) {
            return Err(Error::invalid(format!("cube `{id}` is {} and takes no new version", memory.state)));
        }
        if memory.is_redacted && change.text.is_some() {
            return Err(Error::denied(format!(
                "`{}` sees cube `{id}` redacted, and would write over what they may not read",
                self.caller.id
            )));
        }
        if memory.text.is_none() && change.text.is_some() {
            return Err(Error::invalid(format!("cube `{id}` is no text, and steps write text alone")));
        }
        if memory.source_of.is_some() {
            return Err(Error::invalid(format!(
                "another memory was made from what cube `{id}` says now; change it before that"
            )));
        }
        let sources = self.take_sources(&change.sources)?;
        let limits = self.space.limits();
        if let Some(text) = &change.text {
            Payload::text(text.as_str()).check_limits(limits)?;
        }
        let memory = self.memories.get_mut(id).ok_or_else(|| missing(id))?;
        let (header, is_new) = (&mut memory.header, memory.read.is_none());
        for tag in change.tags {
            if !header.tags.contains(&tag) {
                header.tags.push(tag.clone());
                if !is_new {
                    memory.revised.get_or_insert_default().tags.push(tag);
                }
            }
        }
        header.times.valid = change.valid.unwrap_or(header.times.valid);
        header.governance.sensitivity.extend(change.sensitivity.iter().copied());
        header.chain.derived_from.extend(sources.iter().copied());
        if let Some(text) = &change.text {
            header.governance.sensitivity.extend(find_sensitive(text).into_iter().map(|span| span.kind));
        }
        if !is_new {
            let revised = memory.revised.get_or_insert_default();
            revised.text |= change.text.is_some();
            revised.valid = change.valid.or(revised.valid);
            revised.sources.extend(sources);
            revised.sensitivity.extend(change.sensitivity);
        }
        memory.text = change.text.or(memory.text.take());
        memory.states_before = if is_new { 0 } else { memory.states.len() };
        // What will be refused when it is written is refused where it is named.
        if memory.text.is_some() {
            draft(memory, true).check(limits)?;
        }
        self.touch(id)
    }

    /// Takes a memory to another state, and returns the one before.
    pub(super) fn set_state(&mut self, id: &CubeId, state: State, reason: String) -> Result<State> {
        self.require(id, Operation::Write)?;
        crate::limits::Limits::check("the reason", reason.len(), self.space.limits().name_bytes, "bytes")?;
        let memory = self.memories.get_mut(id).ok_or_else(|| missing(id))?;
        let before = memory.state;
        if before == state {
            return Ok(before);
        }
        if before == State::Frozen {
            return Err(Error::invalid(format!("cube `{id}` is frozen; unfreeze it first")));
        }
        Transition::between(before, state).map_err(|e| e.at(format!("cube `{id}`")))?;
        memory.states.push((state, reason));
        // The order is that of versions; states say nothing of it.
        (memory.state, memory.step) = (state, self.step);
        self.scratch = None;
        Ok(before)
    }

    /// Links two memories.
    pub(super) fn link(&mut self, link: Link) -> Result<()> {
        self.require(&link.from, Operation::Share)?;
        self.require(&link.to, Operation::Read)?;
        self.links.push((self.step, link));
        Ok(())
    }

    fn touch(&mut self, id: &CubeId) -> Result<()> {
        self.changes += 1;
        let (step, order) = (self.step, self.changes);
        let memory = self.memories.get_mut(id).ok_or_else(|| missing(id))?;
        (memory.step, memory.order) = (step, order);
        self.scratch = None;
        Ok(())
    }

    /// Names the versions of memories from which another is made; those that the run makes stay as they are from now on.
    fn take_sources(&mut self, sources: &[CubeId]) -> Result<Vec<VersionRef>> {
        let step = self.step;
        let name = |id: &CubeId| {
            let memory = self.memories.get_mut(id).ok_or_else(|| missing(id))?;
            if memory.revised.is_some() || memory.read.is_none() {
                memory.source_of = Some(step);
            }
            Ok(VersionRef { cube: *id, version: memory.version() })
        };
        sources.iter().map(name).collect()
    }

    /// Returns what recall finds in the space as it would be, best first.
    pub(super) fn recall(&mut self, call: MemoryCall) -> Result<Vec<CubeId>> {
        let hidden: HashSet<CubeId> =
            self.memories.iter().filter(|(_, memory)| memory.is_changed()).map(|(id, _)| *id).collect();
        if self.scratch.is_none() && !hidden.is_empty() {
            self.scratch = Some(self.beside()?);
        }
        let spaces: Vec<&Space> = [self.space].into_iter().chain(&self.scratch).collect();
        let call = read_question(&spaces, call)?;
        let answer = recall_without(&hidden, &spaces, &call)?;
        Ok(answer.receipts.into_iter().map(|receipt| receipt.cube).collect())
    }

    /// Puts what was changed into an empty space, each in the name of its owner, since the rights were seen to already.
    fn beside(&self) -> Result<Space> {
        let scratch = self.space.scratch()?;
        let mut batches: HashMap<&PrincipalId, Vec<Batch>> = HashMap::new();
        let found = |memory: &&Memory| memory.state.is_recalled() || memory.state == State::Archived;
        for memory in self.memories.values().filter(|memory| memory.is_changed()).filter(found) {
            if memory.text.is_none() {
                continue;
            }
            let batches = batches.entry(&memory.header.governance.owner).or_default();
            if batches.last().is_none_or(|batch| batch.len() >= BATCH) {
                batches.push(Batch::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.store(memory.header.id, draft(memory, false));
                if memory.state == State::Archived {
                    batch.set_state(memory.header.id, State::Archived, "");
                }
            }
        }
        for (owner, batches) in batches {
            let owner = Principal::new(owner.clone());
            batches.into_iter().try_for_each(|batch| scratch.commit(&owner, batch).map(drop))?;
        }
        Ok(scratch)
    }

    /// Writes all, or for a dry run checks that it could be written.
    pub(super) fn finish(&self, dry_run: bool) -> Result<Stored> {
        let batch = self.batch(usize::MAX);
        if batch.is_empty() {
            return Ok(Stored::default());
        }
        if dry_run {
            return Ok(Stored { first_event: None, events: self.space.check(self.caller, batch)? });
        }
        let committed = self.space.commit_whole(self.caller, batch)?;
        Ok(Stored { first_event: Some(committed.first_event), events: committed.events })
    }

    /// Returns the step because of which the whole could not be written, as far as that can be told.
    pub(super) fn blamed(&self) -> Option<usize> {
        let moved = |memory: &&Memory| {
            let now = self.space.get(self.caller, &memory.header.id).ok().map(|(_, head)| head.digest);
            memory.read.is_some_and(|read| now != Some(read.digest))
        };
        if let Some(step) = self.memories.values().filter(moved).map(|memory| memory.step).min() {
            return Some(step);
        }
        // What is left are links: one of them would close a circle, or is one too many.
        let mut steps: Vec<usize> = self.links.iter().map(|(step, _)| *step).collect();
        steps.dedup();
        steps.into_iter().find(|step| self.space.check(self.caller, self.batch(*step)).is_err())
    }

    /// Returns all changes, with the links up to those of one step.
    fn batch(&self, links_until: usize) -> Batch {
        let mut batch = Batch::default();
        let mut memories: Vec<(&CubeId, &Memory)> = self.memories.iter().collect();
        memories.sort_by_key(|(id, memory)| (memory.order, **id));
        let mut later = Vec::new();
        for (id, memory) in memories {
            if let Some(read) = memory.read {
                batch.expect(*id, read.digest);
            }
            for (number, (state, reason)) in memory.states.iter().enumerate() {
                // What is merged takes no next version before it is taken back.
                if number < memory.states_before {
                    batch.set_state(*id, *state, reason.as_str());
                } else {
                    later.push((*id, *state, reason.as_str()));
                }
            }
            match (&memory.read, &memory.revised) {
                (None, _) => {
                    batch.store(*id, draft(memory, true));
                }
                (Some(read), Some(revised)) => {
                    let mode = UpdateMode::Revise(Box::new(revision(memory, revised)));
                    batch.update(Update { cube: *id, parent: read.digest, mode });
                }
                (Some(_), None) => {}
            }
        }
        for (_, link) in self.links.iter().filter(|(step, _)| *step <= links_until) {
            batch.link(*link);
        }
        for (id, state, reason) in later {
            batch.set_state(id, state, reason);
        }
        batch
    }
}

fn revision(memory: &Memory, revised: &Revised) -> Revision {
    Revision {
        payload: memory.text.as_deref().filter(|_| revised.text).map(Payload::text),
        tags: revised.tags.clone(),
        valid: revised.valid,
        sensitivity: revised.sensitivity.clone(),
        sources: revised.sources.clone(),
    }
}

/// Returns a memory as a draft.
fn draft(memory: &Memory, with_sources: bool) -> CubeDraft {
    let payload = Payload::text(memory.text.as_deref().unwrap_or_default());
    let draft = CubeDraft::of(memory.header.clone(), payload);
    if with_sources { draft } else { CubeDraft { derived_from: Vec::new(), ..draft } }
}

fn missing(id: &CubeId) -> Error {
    Error::not_found(format!("there is no cube `{id}` that the caller may see"))
}
