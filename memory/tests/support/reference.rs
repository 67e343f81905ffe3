//! A space as simple as it can be told: maps and sets in memory, every change on a copy of the whole.
//!
//! The rules are written down here a second time, from what the documentation of the crate promises, and share no code with
//! the crate: who may do what, what a batch may hold, what a reader sees.

use std::collections::{BTreeMap, BTreeSet};

use memos_memory::ErrorKind;
use memos_memory::cube::{
    CubeDraft, CubeId, Digest, Grant, Grantee, Layer, Payload, PrincipalId, State, Update, UpdateMode, UseSignal,
    VersionRef,
};
use memos_memory::governance::{Operation, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::time::{Timestamp, Window};

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Store(CubeId, Box<CubeDraft>),
    Update(Update),
    Link(Link),
    Unlink(Link),
    SetState(CubeId, State, String),
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
}

/// A cube with all its versions.
#[derive(Debug, Clone)]
pub(crate) struct Cube {
    pub(crate) draft: CubeDraft,
    pub(crate) owner: PrincipalId,
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

impl Reference {
    /// Makes an empty space, which has one event: that it began.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, cubes: BTreeMap::new(), links: BTreeSet::new(), events: 1, digests: BTreeMap::new() }
    }

    /// Returns whether the principal may do that with the cube.
    pub(crate) fn may(&self, who: &Principal, operation: Operation, cube: &Cube) -> bool {
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
        let in_layer = match &cube.draft.layer {
            Layer::Private => false,
            Layer::Shared(group) => who.groups.contains(group),
            Layer::Global => true,
        };
        let sensitive = !cube.draft.sensitivity.is_empty() && !who.roles.contains(SENSITIVE_READER);
        cube.owner == who.id
            || cube.draft.grants.iter().any(of_grant)
            || (operation == Operation::Read && in_layer && !sensitive)
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
        let version =
            |payload: Payload, valid, sources| Version { at, writer: who.id.clone(), payload, valid, sources };
        match change {
            Change::Store(_, draft) => {
                self.check_payload(&draft.payload)?;
                self.check_window(draft.valid)?;
                let limits = &self.limits;
                let many = draft.tags.len() > limits.tags
                    || draft.grants.len() > limits.grants
                    || draft.derived_from.len() > limits.derived_from
                    || draft.title.len() > limits.name_bytes;
                refuse_if(many, ErrorKind::Invalid)?;
                Ok(Some(version(draft.payload.clone(), draft.valid, draft.derived_from.clone())))
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
                    UpdateMode::Append(_) | UpdateMode::Overwrite(_) => {}
                    other => panic!("the model does not know {other:?}"),
                }
                let cube = self.require(who, Operation::Read, &update.cube)?;
                let head = VersionRef { cube: update.cube, version: cube.version() };
                refuse_if(self.digests[&head] != update.parent, ErrorKind::Conflict)?;
                let present = cube.present();
                let mut sources = present.sources.clone();
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
                        let all: BTreeSet<VersionRef> = sources.iter().chain(&revision.sources).copied().collect();
                        sources = all.into_iter().collect();
                        let payload = revision.payload.as_ref().unwrap_or(&present.payload);
                        (payload.clone(), revision.valid.unwrap_or(present.valid))
                    }
                    other => panic!("the model does not know {other:?}"),
                };
                self.check_payload(&payload)?;
                refuse_if(sources.len() > self.limits.derived_from, ErrorKind::Invalid)?;
                Ok(Some(version(payload, valid, sources)))
            }
            Change::SetState(_, _, reason) => {
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
                refuse_if(self.cubes.contains_key(id), ErrorKind::Conflict)?;
                refuse_if(self.cubes.len() >= self.limits.cubes, ErrorKind::Invalid)?;
                let owner = draft.owner.clone().unwrap_or_else(|| who.id.clone());
                refuse_if(owner != who.id, ErrorKind::Denied)?;
                self.check_sources(who, &draft.derived_from)?;
                let mut cube = Cube {
                    draft: (**draft).clone(),
                    owner,
                    versions: Vec::new(),
                    state: State::Generated,
                    since: at,
                    reason: String::new(),
                    reads: Vec::new(),
                    helpful: 0,
                    unhelpful: 0,
                };
                cube.versions.extend(made);
                stored.push(VersionRef { cube: *id, version: 1 });
                self.cubes.insert(*id, cube);
            }
            Change::Update(update) => {
                let cube = self.require(who, Operation::Write, &update.cube)?;
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
                let merged = self.links.iter().any(|link| link.from == *id && link.kind == LinkKind::MergedInto);
                refuse_if(*state == State::Merged && !merged, ErrorKind::Invalid)?;
                let cube = self.cubes.get_mut(id).unwrap();
                (cube.state, cube.since, cube.reason) = (*state, at, reason.clone());
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
