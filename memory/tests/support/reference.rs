//! A space as simple as it can be told: maps and sets in memory, every change on a copy of the whole.
//!
//! The rules are written down here a second time, from what the documentation of the crate promises, and share no code with
//! the crate: who may do what, what a batch may hold, what a reader sees.

use std::collections::{BTreeMap, BTreeSet};

use memos_memory::ErrorKind;
use memos_memory::cube::{
    Adoption, CubeDraft, CubeId, Digest, Grant, Grantee, Layer, Payload, PrincipalId, State, Update, UpdateMode,
    UseSignal, VersionRef,
};
use memos_memory::governance::{CUSTODIAN, Operation, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::time::{Timestamp, Window};

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Store(CubeId, Box<CubeDraft>),
    Adopt(CubeId, Box<Adoption>),
    Update(Update),
    Link(Link),
    Unlink(Link),
    SetState(CubeId, State, String),
    Unfreeze(CubeId, String),
    Use(Vec<(CubeId, UseSignal)>),
}

/// One version of a cube.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) at: Timestamp,
    pub(crate) writer: PrincipalId,
    pub(crate) payload: Payload,
    pub(crate) valid: Window,
    pub(crate) sources: Vec<VersionRef>,
    /// How it is described, and who may use it.
    pub(crate) draft: CubeDraft,
}

/// A cube with all its versions.
#[derive(Debug, Clone)]
pub(crate) struct Cube {
    /// Its place among all cubes, by age.
    pub(crate) place: usize,
    /// When it was seen: when it was stored, or written where it comes from.
    pub(crate) observed: Timestamp,
    pub(crate) owner: PrincipalId,
    /// In the past: who may use it today.
    pub(crate) today: Option<CubeDraft>,
    pub(crate) versions: Vec<Version>,
    pub(crate) state: State,
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
    pub(crate) reads: Vec<Timestamp>,
    pub(crate) helpful: u32,
    pub(crate) unhelpful: u32,
}

impl Cube {
    pub(crate) fn present(&self) -> &Version {
        self.versions.last().unwrap()
    }

    /// Returns how it is described, and who may use it.
    pub(crate) fn draft(&self) -> &CubeDraft {
        &self.present().draft
    }

    /// Returns whose data it is.
    pub(crate) fn subject(&self) -> String {
        let draft = &self.versions[0].draft;
        let named = draft.subject.clone().or_else(|| draft.speaker.clone());
        named.unwrap_or_else(|| self.owner.to_string())
    }

    pub(crate) fn version(&self) -> u32 {
        self.versions.len() as u32
    }

    /// Returns the decaying count of reads: each counts half a week after a week.
    pub(crate) fn heat(&self, at: Timestamp) -> f64 {
        let age = |read: &Timestamp| (at.as_millis() - read.as_millis()) as f64 / (7.0 * 86_400_000.0);
        self.reads.iter().map(|read| 0.5_f64.powf(age(read))).sum()
    }
}

/// What a batch became.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) first_event: u64,
    pub(crate) events: u64,
    pub(crate) stored: Vec<VersionRef>,
}

/// A whole space.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) limits: Limits,
    pub(crate) cubes: BTreeMap<CubeId, Cube>,
    pub(crate) links: BTreeSet<Link>,
    pub(crate) events: u64,
    /// The digest of each version, as the space told it.
    pub(crate) digests: BTreeMap<VersionRef, Digest>,
}

type Checked<T> = Result<T, ErrorKind>;

fn refuse_if(refused: bool, kind: ErrorKind) -> Checked<()> {
    if refused { Err(kind) } else { Ok(()) }
}

/// Returns whether somebody may do that with a cube under these rights.
pub(crate) fn allows(who: &Principal, operation: Operation, owner: &PrincipalId, draft: &CubeDraft) -> bool {
    let of_grant = |grant: &Grant| {
        let named = match &grant.to {
            Grantee::Principal(id) => *id == who.id,
            Grantee::Group(group) => who.groups.contains(group),
        };
        let given = match operation {
            Operation::Read => grant.rights.read,
            Operation::Write => grant.rights.write,
            Operation::Share => grant.rights.share,
            Operation::Erase | Operation::Unfreeze | Operation::Release => false,
        };
        named && given
    };
    let in_layer = match &draft.layer {
        Layer::Private => false,
        Layer::Shared(group) => who.groups.contains(group),
        Layer::Global => true,
    };
    let sensitive = !draft.sensitivity.is_empty() && !who.roles.contains(SENSITIVE_READER);
    match operation {
        Operation::Release => who.roles.contains(CUSTODIAN),
        Operation::Erase | Operation::Unfreeze => *owner == who.id || who.roles.contains(CUSTODIAN),
        _ => {
            *owner == who.id
                || draft.grants.iter().any(of_grant)
                || (operation == Operation::Read && in_layer && !sensitive)
        }
    }
}

impl Reference {
    /// Makes an empty space, which has one event: that it began.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, cubes: BTreeMap::new(), links: BTreeSet::new(), events: 1, digests: BTreeMap::new() }
    }

    /// Returns whether the principal may do that with the cube.
    pub(crate) fn may(&self, who: &Principal, operation: Operation, cube: &Cube) -> bool {
        allows(who, operation, &cube.owner, cube.draft())
            && cube.today.as_ref().is_none_or(|today| allows(who, operation, &cube.owner, today))
    }

    /// Returns the space as it is seen today as it was then: `self` was then.
    pub(crate) fn seen_from(&self, today: &Self) -> Self {
        let mut seen = self.clone();
        let erased: Vec<CubeId> =
            today.cubes.iter().filter(|(_, cube)| cube.state == State::Erased).map(|(id, _)| *id).collect();
        seen.forget(&erased);
        for (id, cube) in &mut seen.cubes {
            cube.today = today.cubes.get(id).map(|cube| cube.draft().clone());
        }
        seen
    }

    fn forget(&mut self, erased: &[CubeId]) {
        for id in erased {
            if let Some(cube) = self.cubes.get_mut(id) {
                cube.state = State::Erased;
            }
            self.links.retain(|link| link.from != *id && link.to != *id);
        }
    }

    /// Erases cubes, or refuses it and stays as it is.
    pub(crate) fn erase(&mut self, who: &Principal, cubes: &[CubeId]) -> Checked<Vec<CubeId>> {
        refuse_if(cubes.is_empty() || cubes.iter().any(|id| !self.cubes.contains_key(id)), ErrorKind::NotFound)?;
        let mut erased: Vec<CubeId> = cubes.to_vec();
        erased.sort_by_key(|id| self.cubes[id].place);
        erased.dedup();
        for id in &erased {
            let cube = self.require(who, Operation::Erase, id)?;
            refuse_if(cube.state == State::Erased, ErrorKind::Invalid)?;
            refuse_if(cube.draft().legal_hold, ErrorKind::Denied)?;
        }
        self.forget(&erased);
        self.events += 1;
        Ok(erased)
    }

    /// Erases all of a subject.
    pub(crate) fn erase_subject(&mut self, who: &Principal, subject: &str) -> Checked<Vec<CubeId>> {
        let of_subject = |cube: &Cube| cube.state != State::Erased && cube.subject() == subject;
        let cubes: Vec<CubeId> = self.cubes.iter().filter(|(_, cube)| of_subject(cube)).map(|(id, _)| *id).collect();
        let may = |operation| cubes.iter().filter(|id| self.may(who, operation, &self.cubes[*id])).count();
        let (erasable, readable) = (may(Operation::Erase), may(Operation::Read));
        refuse_if(erasable + readable == 0, ErrorKind::NotFound)?;
        refuse_if(erasable < cubes.len(), ErrorKind::Denied)?;
        self.erase(who, &cubes)
    }

    /// Returns the cubes that the principal may read.
    pub(crate) fn readable(&self, who: &Principal) -> BTreeMap<CubeId, &Cube> {
        let all = self.cubes.iter().filter(|(_, cube)| self.may(who, Operation::Read, cube));
        all.map(|(id, cube)| (*id, cube)).collect()
    }

    /// Returns the cubes that a recall of the principal may find.
    pub(crate) fn recalled(&self, who: &Principal, archived: bool) -> BTreeSet<CubeId> {
        let recalled = |cube: &Cube| {
            let state = match cube.state {
                State::Generated | State::Activated | State::Frozen => true,
                State::Archived => archived,
                State::Merged | State::Expired | State::Erased => false,
            };
            state && cube.present().payload.as_text().is_some()
        };
        self.readable(who).into_iter().filter(|(_, cube)| recalled(cube)).map(|(id, _)| id).collect()
    }

    /// Makes a batch, or refuses it and stays as it is.
    pub(crate) fn commit(&mut self, who: &Principal, at: Timestamp, batch: &[Change]) -> Checked<Outcome> {
        refuse_if(batch.len() > self.limits.batch_changes, ErrorKind::Invalid)?;
        // An update is made from what its writer sees, so what a batch stores cannot be updated by the same batch.
        let made: Vec<Option<Version>> =
            batch.iter().map(|change| self.prepare(who, at, change)).collect::<Checked<_>>()?;
        let mut next = self.clone();
        let mut outcome = Outcome { first_event: self.events, events: 0, stored: Vec::new() };
        for (change, made) in batch.iter().zip(made) {
            if next.make(who, at, change, made, &mut outcome.stored)? {
                next.events += 1;
            }
        }
        outcome.events = next.events - self.events;
        *self = next;
        Ok(outcome)
    }

    /// Checks what can be checked by looking at the change and at what its writer sees.
    fn prepare(&self, who: &Principal, at: Timestamp, change: &Change) -> Checked<Option<Version>> {
        let version = |payload: Payload, valid, sources, draft| Version {
            at,
            writer: who.id.clone(),
            payload,
            valid,
            sources,
            draft,
        };
        match change {
            Change::Store(_, draft) => {
                self.check_draft(draft)?;
                Ok(Some(version(draft.payload.clone(), draft.valid, draft.derived_from.clone(), (**draft).clone())))
            }
            Change::Adopt(_, adoption) => {
                let Adoption { draft, author, created, state, .. } = &**adoption;
                self.check_draft(draft)?;
                refuse_if(*state == State::Erased, ErrorKind::Invalid)?;
                let made = version(draft.payload.clone(), draft.valid, draft.derived_from.clone(), draft.clone());
                Ok(Some(Version { at: *created, writer: author.clone(), ..made }))
            }
            Change::Update(update) => {
                match &update.mode {
                    UpdateMode::Revalidate(window) => self.check_window(*window)?,
                    UpdateMode::Merge { sources, .. } => {
                        refuse_if(sources.len() > self.limits.derived_from, ErrorKind::Invalid)?
                    }
                    UpdateMode::Revise(revision) => {
                        refuse_if(revision.sources.len() > self.limits.derived_from, ErrorKind::Invalid)?;
                        self.check_window(revision.valid.unwrap_or(Window::ALWAYS))?;
                    }
                    UpdateMode::Describe { title, tags } => {
                        let long = title.as_ref().is_some_and(|title| title.len() > self.limits.name_bytes);
                        let many = tags.as_ref().is_some_and(|tags| tags.len() > self.limits.tags);
                        refuse_if(long || many, ErrorKind::Invalid)?;
                    }
                    UpdateMode::Govern(change) => {
                        let many = change.grants.as_ref().is_some_and(|grants| grants.len() > self.limits.grants);
                        refuse_if(many, ErrorKind::Invalid)?;
                    }
                    UpdateMode::Append(_) | UpdateMode::Overwrite(_) | UpdateMode::Restore(_) => {}
                }
                let cube = self.require(who, Operation::Read, &update.cube)?;
                refuse_if(cube.state == State::Erased, ErrorKind::NotFound)?;
                let head = VersionRef { cube: update.cube, version: cube.version() };
                refuse_if(self.digests[&head] != update.parent, ErrorKind::Conflict)?;
                let present = cube.present();
                let (mut sources, mut draft) = (present.sources.clone(), present.draft.clone());
                let (payload, valid) = match &update.mode {
                    UpdateMode::Append(text) => {
                        let before = present.payload.as_text().ok_or(ErrorKind::Invalid)?;
                        (Payload::text(format!("{before}\n{text}")), present.valid)
                    }
                    UpdateMode::Merge { payload, sources: more } => {
                        let all: BTreeSet<VersionRef> = sources.iter().chain(more).copied().collect();
                        sources = all.into_iter().collect();
                        (payload.clone(), present.valid)
                    }
                    UpdateMode::Overwrite(payload) => (payload.clone(), present.valid),
                    UpdateMode::Revalidate(window) => (present.payload.clone(), *window),
                    UpdateMode::Revise(revision) => {
                        draft.tags.extend(
                            revision.tags.iter().filter(|tag| !draft.tags.contains(tag)).cloned().collect::<Vec<_>>(),
                        );
                        let all: BTreeSet<VersionRef> = sources.iter().chain(&revision.sources).copied().collect();
                        sources = all.into_iter().collect();
                        let payload = revision.payload.as_ref().unwrap_or(&present.payload);
                        (payload.clone(), revision.valid.unwrap_or(present.valid))
                    }
                    UpdateMode::Describe { title, tags } => {
                        draft.title = title.clone().unwrap_or(draft.title);
                        draft.tags = tags.clone().unwrap_or(draft.tags);
                        (present.payload.clone(), present.valid)
                    }
                    UpdateMode::Govern(change) => {
                        draft.layer = change.layer.clone().unwrap_or(draft.layer);
                        draft.grants = change.grants.clone().unwrap_or(draft.grants);
                        draft.legal_hold = change.legal_hold.unwrap_or(draft.legal_hold);
                        (present.payload.clone(), present.valid)
                    }
                    UpdateMode::Restore(then) => {
                        let then = &cube.versions[then.header.version as usize - 1];
                        sources.clone_from(&then.sources);
                        draft = CubeDraft {
                            layer: draft.layer,
                            grants: draft.grants,
                            legal_hold: draft.legal_hold,
                            ..then.draft.clone()
                        };
                        (then.payload.clone(), then.valid)
                    }
                };
                self.check_payload(&payload)?;
                refuse_if(sources.len() > self.limits.derived_from, ErrorKind::Invalid)?;
                Ok(Some(version(payload, valid, sources, draft)))
            }
            Change::SetState(_, _, reason) | Change::Unfreeze(_, reason) => {
                refuse_if(reason.len() > self.limits.name_bytes, ErrorKind::Invalid)?;
                Ok(None)
            }
            Change::Use(uses) => {
                refuse_if(uses.len() > self.limits.batch_changes, ErrorKind::Invalid)?;
                Ok(None)
            }
            Change::Link(_) | Change::Unlink(_) => Ok(None),
        }
    }

    fn check_draft(&self, draft: &CubeDraft) -> Checked<()> {
        self.check_payload(&draft.payload)?;
        self.check_window(draft.valid)?;
        let limits = &self.limits;
        let many = draft.tags.len() > limits.tags
            || draft.grants.len() > limits.grants
            || draft.derived_from.len() > limits.derived_from
            || draft.title.len() > limits.name_bytes;
        refuse_if(many, ErrorKind::Invalid)
    }

    fn check_payload(&self, payload: &Payload) -> Checked<()> {
        let bytes = payload.body().len();
        let bad = match payload.as_text() {
            Some(text) => text.trim().is_empty() || bytes > self.limits.text_bytes,
            None => bytes > self.limits.body_bytes,
        };
        refuse_if(bad, ErrorKind::Invalid)
    }

    fn check_window(&self, valid: Window) -> Checked<()> {
        let backwards = matches!((valid.from, valid.until), (Some(from), Some(until)) if from >= until);
        refuse_if(backwards, ErrorKind::Invalid)
    }

    /// Makes one change. Returns false when there was nothing to change.
    fn make(
        &mut self,
        who: &Principal,
        at: Timestamp,
        change: &Change,
        made: Option<Version>,
        stored: &mut Vec<VersionRef>,
    ) -> Checked<bool> {
        match change {
            Change::Store(id, draft) => {
                self.store(who, (at, at), *id, draft, State::Generated, made)?;
                stored.push(VersionRef { cube: *id, version: 1 });
            }
            Change::Adopt(id, adoption) => {
                self.store(who, (at, adoption.created), *id, &adoption.draft, adoption.state, made)?;
                stored.push(VersionRef { cube: *id, version: 1 });
            }
            Change::Update(update) => {
                let cube = self.require(who, Operation::Write, &update.cube)?;
                let next = made.as_ref().map(|made| &made.draft).unwrap();
                let sorted = |draft: &CubeDraft| BTreeSet::from_iter(draft.grants.clone());
                if (sorted(next), &next.layer) != (sorted(cube.draft()), &cube.draft().layer) {
                    self.require(who, Operation::Share, &update.cube)?;
                }
                if cube.draft().legal_hold && !next.legal_hold {
                    self.require(who, Operation::Release, &update.cube)?;
                }
                // A second update in the same batch was made from the same parent as the first.
                let stale = self.digests.get(&VersionRef { cube: update.cube, version: cube.version() })
                    != Some(&update.parent);
                refuse_if(stale, ErrorKind::Conflict)?;
                refuse_if(matches!(cube.state, State::Frozen | State::Erased | State::Merged), ErrorKind::Invalid)?;
                if let UpdateMode::Merge { sources, .. } = &update.mode {
                    self.check_sources(who, sources)?;
                }
                let cube = self.cubes.get_mut(&update.cube).unwrap();
                cube.versions.extend(made);
                stored.push(VersionRef { cube: update.cube, version: cube.version() });
            }
            Change::Link(link) => {
                self.check_ends(who, link)?;
                let erased = [link.from, link.to].iter().any(|id| self.cubes[id].state == State::Erased);
                refuse_if(erased, ErrorKind::Invalid)?;
                if self.links.contains(link) {
                    return Ok(false);
                }
                self.check_link(link)?;
                self.links.insert(*link);
            }
            Change::Unlink(link) => {
                self.check_ends(who, link)?;
                return Ok(self.links.remove(link));
            }
            Change::SetState(id, state, reason) => {
                let cube = self.require(who, Operation::Write, id)?;
                refuse_if(*state == State::Erased, ErrorKind::Invalid)?;
                if cube.state == *state {
                    return Ok(false);
                }
                refuse_if(!leads(cube.state, *state), ErrorKind::Invalid)?;
                refuse_if(*state == State::Expired && cube.draft().legal_hold, ErrorKind::Denied)?;
                let merged = self.links.iter().any(|link| link.from == *id && link.kind == LinkKind::MergedInto);
                refuse_if(*state == State::Merged && !merged, ErrorKind::Invalid)?;
                let cube = self.cubes.get_mut(id).unwrap();
                (cube.state, cube.since, cube.reason) = (*state, at, reason.clone());
            }
            Change::Unfreeze(id, reason) => {
                let cube = self.require(who, Operation::Unfreeze, id)?;
                refuse_if(cube.state != State::Frozen, ErrorKind::Invalid)?;
                let cube = self.cubes.get_mut(id).unwrap();
                (cube.state, cube.since, cube.reason) = (State::Activated, at, reason.clone());
            }
            Change::Use(uses) => {
                for (id, _) in uses {
                    self.require(who, Operation::Read, id)?;
                }
                for (id, signal) in uses {
                    let cube = self.cubes.get_mut(id).unwrap();
                    match signal {
                        UseSignal::Read => {
                            cube.reads.push(at);
                            if cube.state == State::Generated {
                                (cube.state, cube.since, cube.reason) = (State::Activated, at, "used".to_owned());
                            }
                        }
                        UseSignal::Helpful => cube.helpful += 1,
                        UseSignal::Unhelpful => cube.unhelpful += 1,
                    }
                }
                return Ok(!uses.is_empty());
            }
        }
        Ok(true)
    }

    fn store(
        &mut self,
        who: &Principal,
        (at, observed): (Timestamp, Timestamp),
        id: CubeId,
        draft: &CubeDraft,
        state: State,
        made: Option<Version>,
    ) -> Checked<()> {
        refuse_if(self.cubes.contains_key(&id), ErrorKind::Conflict)?;
        refuse_if(self.cubes.len() >= self.limits.cubes, ErrorKind::Invalid)?;
        let owner = draft.owner.clone().unwrap_or_else(|| who.id.clone());
        refuse_if(owner != who.id, ErrorKind::Denied)?;
        self.check_sources(who, &draft.derived_from)?;
        let cube = Cube {
            place: self.cubes.len(),
            observed,
            owner,
            today: None,
            versions: made.into_iter().collect(),
            state,
            since: at,
            reason: String::new(),
            reads: Vec::new(),
            helpful: 0,
            unhelpful: 0,
        };
        self.cubes.insert(id, cube);
        Ok(())
    }

    /// Whoever may not even read a cube is told that it is not there.
    fn require(&self, who: &Principal, operation: Operation, id: &CubeId) -> Checked<&Cube> {
        let cube = self.cubes.get(id).ok_or(ErrorKind::NotFound)?;
        if self.may(who, operation, cube) {
            return Ok(cube);
        }
        Err(if self.may(who, Operation::Read, cube) { ErrorKind::Denied } else { ErrorKind::NotFound })
    }

    fn check_sources(&self, who: &Principal, sources: &[VersionRef]) -> Checked<()> {
        for source in sources {
            let cube = self.require(who, Operation::Read, &source.cube)?;
            refuse_if(!(1..=cube.version()).contains(&source.version), ErrorKind::NotFound)?;
        }
        Ok(())
    }

    fn check_ends(&self, who: &Principal, link: &Link) -> Checked<()> {
        self.require(who, Operation::Share, &link.from)?;
        self.require(who, Operation::Read, &link.to)?;
        Ok(())
    }

    fn check_link(&self, link: &Link) -> Checked<()> {
        let leaving = self.links.iter().filter(|other| other.from == link.from).count();
        let entering = self.links.iter().filter(|other| other.to == link.to).count();
        let most = self.limits.links_per_cube;
        let circle = lineage(link.kind) && self.made_from(link.to, link.from);
        refuse_if(link.from == link.to || leaving >= most || entering >= most || circle, ErrorKind::Invalid)
    }

    /// Returns whether `later` was made from `earlier`, over any number of steps.
    fn made_from(&self, later: CubeId, earlier: CubeId) -> bool {
        let mut reached = BTreeSet::from([later]);
        loop {
            let steps = self.links.iter().filter(|link| lineage(link.kind) && reached.contains(&link.from));
            let next: BTreeSet<CubeId> = steps.map(|link| link.to).chain(reached.iter().copied()).collect();
            if next.len() == reached.len() {
                return reached.contains(&earlier);
            }
            reached = next;
        }
    }
}

/// Whether a change of state leads from one to the other: the table of the lifecycle, written anew.
fn leads(from: State, to: State) -> bool {
    use State::{Activated, Archived, Erased, Expired, Frozen, Generated, Merged};
    match from {
        Generated => matches!(to, Activated | Merged | Archived | Expired | Frozen),
        Activated => matches!(to, Merged | Archived | Expired | Frozen),
        Merged => matches!(to, Archived | Expired | Activated),
        Archived => matches!(to, Merged | Expired | Frozen | Activated),
        Expired => matches!(to, Archived | Activated),
        Frozen | Erased => false,
    }
}

/// The link types that may not run in a circle.
pub(crate) fn lineage(kind: LinkKind) -> bool {
    matches!(kind, LinkKind::DerivedFrom | LinkKind::Supersedes | LinkKind::MergedInto | LinkKind::Summarises)
}

/// Counts values by name.
pub(crate) fn counted<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name.to_owned()).or_default() += 1);
    counts
}
