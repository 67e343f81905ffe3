//! A space against a plain reference: random operations of several principals, among them refused batches, stale parents,
//! circles of lineage and reopenings, must give the same outcome, and every principal must then see the same.
//!
//! The cases follow from a fixed seed; a failing case is made smaller and printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;
#[path = "support/steps.rs"]
mod steps;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use memos_memory::ErrorKind;
use memos_memory::cube::{
    Adoption, Cube, CubeDraft, CubeId, Digest, GovernanceChange, Grant, Grantee, Layer, Payload, PrincipalId, Rights,
    SeededIds, SemanticType, Source, SpaceName, State, Update, UpdateMode, UseSignal, VersionRef,
};
use memos_memory::governance::sensitivity::SensitivityKind;
use memos_memory::governance::{CUSTODIAN, Operation, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, recall};
use memos_memory::time::{Clock, Timestamp, Window};
use memos_memory::vault::{Batch, Erasure, OnConflict, Point, Space, Vault, VaultOptions};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestError, TestRunner};

use reference::{Change, Outcome, Reference};
use space::{HandClock, START, fact, options, principal, quick_folder, segment, space_name};
use steps::{Among, Draw, Ending, Pick, Step, WORDS, beginning, ending, step};

const CASES: u32 = 90;
const SEED: u64 = 20_240_507;

/// Small enough that every limit is met now and then.
fn limits() -> Limits {
    Limits {
        text_bytes: 120,
        name_bytes: 24,
        inline_body_bytes: 24,
        tags: 2,
        grants: 2,
        derived_from: 3,
        batch_changes: 5,
        links_per_cube: 3,
        cubes: 14,

        ..Limits::default()
    }
}

fn text_of(words: &[u8]) -> String {
    words.iter().map(|&word| WORDS[usize::from(word)]).collect::<Vec<_>>().join(" ")
}

fn people() -> Vec<Principal> {
    let kitchen = || "kitchen".parse().unwrap();
    vec![
        principal("ada"),
        principal("bo").in_group(kitchen()),
        principal("agent:cook").in_group(kitchen()).with_role(SENSITIVE_READER),
        principal("dee").with_role(CUSTODIAN),
    ]
}

/// The vault of a case.
struct House {
    vault: Vault,
    _folder: tempfile::TempDir,
}

/// A space and its reference, side by side.
struct Pair {
    house: Rc<House>,
    name: SpaceName,
    clock: HandClock,
    people: Vec<Principal>,
    space: Option<Space>,
    reference: Reference,
    /// What the space was after each change.
    history: Vec<(Timestamp, Reference)>,
    /// Every id that was ever handed out, also those whose cube was refused.
    ids: Vec<CubeId>,
    met: BTreeMap<String, usize>,
}

impl Pair {
    fn new() -> Self {
        let clock = HandClock::default();
        let options =
            VaultOptions { clock: Arc::new(clock.clone()), ids: Arc::new(SeededIds::new(3)), ..options(limits()) };
        let folder = quick_folder();
        let vault = Vault::open(folder.path(), options).unwrap();
        let (name, reference) = (space_name(), Reference::new(limits()));
        let space = Some(vault.space(&name).unwrap());
        let (house, history) = (Rc::new(House { vault, _folder: folder }), vec![(clock.now(), reference.clone())]);
        let (ids, met) = (Vec::new(), BTreeMap::new());
        Self { house, name, clock, people: people(), space, reference, history, ids, met }
    }

    /// Forks the space as it is, or as it was; as it is where the past is not to be had.
    fn fork(&mut self, past: Option<u8>) -> Self {
        let name: SpaceName = "acme/fork".parse().unwrap();
        let last = self.history.len() - 1;
        let past = past.map(|past| usize::from(past) % self.history.len()).filter(|past| {
            let erased =
                |reference: &Reference| reference.cubes.values().filter(|cube| cube.state == State::Erased).count();
            erased(&self.history[*past].1) == erased(&self.reference)
        });
        let fork = |point| self.house.vault.fork(&self.people[0], &self.name, point, &name);
        let then = past.unwrap_or(last);
        let then_fork = past.map(|past| fork(Some(Point::Events(self.history[past].1.events))));
        let (then, space) = match then_fork {
            Some(Ok(space)) => (then, space),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
                (last, fork(None).unwrap())
            }
            None => (last, fork(None).unwrap()),
        };
        *self.met.entry(if then == last { "forked" } else { "forked from the past" }.to_owned()).or_default() += 1;
        let mut history = self.history[..=then].to_vec();
        let mut reference = self.history[then].1.clone();
        reference.events += 1;
        history.push((self.clock_now(), reference.clone()));
        let (house, clock, ids) = (self.house.clone(), self.clock.clone(), self.ids.clone());
        Self { house, name, clock, people: people(), space: Some(space), reference, history, ids, met: BTreeMap::new() }
    }

    /// Forks the space, goes on in both, and merges the fork back or restores the space.
    fn end(&mut self, ending: &Ending) -> Result<(), TestCaseError> {
        let mut fork = self.fork(ending.past);
        let base = fork.reference.clone();
        fork.compare()?;
        ending.in_fork.iter().try_for_each(|step| fork.run(step))?;
        ending.in_origin.iter().try_for_each(|step| self.run(step))?;
        self.compare()?;
        fork.compare()?;
        if ending.snapshot {
            fork.space().save_snapshot().unwrap();
        }
        (self.space, fork.space) = (None, None);
        self.reopen();
        fork.reopen();
        self.compare()?;
        fork.compare()?;
        fork.compare_recall(&fork.people[0], true)?;
        let told = match ending.merge {
            Some((who, rule)) => self.merge(&fork, &base, who, rule)?,
            None => self.restore(ending.restore)?,
        };
        *self.met.entry(told).or_default() += 1;
        Ok(())
    }

    /// Merges a fork back: nothing is changed, or each cube says what the rule wants.
    fn merge(&self, fork: &Self, base: &Reference, who: usize, rule: u8) -> Result<String, TestCaseError> {
        let rule = [OnConflict::Refuse, OnConflict::KeepOrigin, OnConflict::TakeFork][usize::from(rule)];
        let who = &self.people[who];
        let merge = || self.house.vault.merge_back(who, &fork.name, rule);
        let merged = match merge() {
            Ok(merged) => merged,
            Err(error) => {
                let kinds = [ErrorKind::Conflict, ErrorKind::Denied, ErrorKind::Invalid];
                prop_assert!(kinds.contains(&error.kind()), "{}", error);
                self.compare()?;
                return Ok(format!("merge {:?}", error.kind()));
            }
        };
        let said = |cube: &reference::Cube| {
            let (version, draft) = (cube.present(), cube.draft());
            (version.payload.clone(), version.valid, draft.title.clone(), draft.tags.clone(), draft.path.clone())
        };
        for (id, theirs) in fork.reference.readable(who) {
            let ours = self.reference.cubes.get(&id);
            if theirs.state == State::Erased || ours.is_some_and(|cube| !self.reference.may(who, Operation::Read, cube))
            {
                continue;
            }
            let shared = base.cubes.get(&id).map_or(0, reference::Cube::version);
            let differ = ours.is_none_or(|ours| said(ours) != said(theirs));
            let expect = match ours {
                Some(ours) if theirs.version() == shared || !differ => ours,
                Some(ours) if ours.version() > shared && rule != OnConflict::TakeFork => ours,
                _ => theirs,
            };
            let Cube { header, payload } = self.space().get(who, &id).unwrap().0;
            let found = (payload, header.times.valid, header.title, header.tags, header.path);
            prop_assert_eq!(found, said(expect), "{} under {:?}", id, rule);
            let conflict = differ && theirs.version() > shared && ours.is_some_and(|ours| ours.version() > shared);
            prop_assert_eq!(merged.conflicts.contains(&id), conflict, "{} under {:?}", id, rule);
        }
        let again = merge().unwrap();
        prop_assert!(
            again.added.is_empty() && again.updated.is_empty() && again.moved.is_empty() && again.links == 0,
            "{:?} after {:?}",
            again,
            merged
        );
        Ok("merged".to_owned())
    }

    /// Restores the space to a point: nothing is changed, or each cube says what it said then.
    fn restore(&self, point: u8) -> Result<String, TestCaseError> {
        // The nearer past is the likelier one to come back.
        let then = &self.history[self.history.len() - 1 - usize::from(point) % self.history.len().min(6)].1;
        let who = &self.people[0];
        let point = Point::Events(then.events);
        if let Err(error) = self.space().restore_space(who, point, "back") {
            prop_assert!([ErrorKind::Denied, ErrorKind::Invalid].contains(&error.kind()), "{}", error);
            self.compare()?;
            return Ok(format!("restore {:?}", error.kind()));
        }
        for (id, now) in self.reference.cubes.iter().filter(|(_, cube)| cube.state != State::Erased) {
            let owner = Principal::new(now.owner.clone());
            let (Cube { header, payload }, head) = self.space().get(&owner, id).unwrap();
            prop_assert_eq!(
                (&header.governance.layer, &header.governance.grants),
                (&now.draft().layer, &now.draft().grants)
            );
            let Some(was) = then.cubes.get(id) else {
                prop_assert_eq!(head.state, State::Archived);
                continue;
            };
            prop_assert_eq!((&payload, header.times.valid), (&was.present().payload, was.present().valid));
            prop_assert_eq!(
                (&header.title, &header.tags, &header.path),
                (&was.draft().title, &was.draft().tags, &was.draft().path)
            );
            let expect = match (was.state, now.state) {
                (State::Generated, State::Generated) => [State::Generated, State::Generated],
                // What was merged or frozen is taken into use before it says something else.
                (State::Generated, _) => [State::Activated, State::Activated],
                (was, _) => [was, was],
            };
            prop_assert!(expect.contains(&head.state), "{}: {:?} instead of {:?}", id, head.state, expect);
        }
        for who in &self.people {
            let difference = self.space().at(point).unwrap().compare(who, self.space()).unwrap();
            prop_assert_eq!((difference.linked, difference.unlinked), (vec![], vec![]), "{}", who.id);
        }
        Ok("restored".to_owned())
    }

    fn space(&self) -> &Space {
        self.space.as_ref().unwrap()
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Commit { who, wait, changes } => {
                self.clock.advance(*wait);
                let who = self.people[*who].clone();
                let mut batch = Vec::new();
                for draw in changes {
                    let change = self.change(&who, draw);
                    batch.push(change);
                }
                self.commit(&who, &batch)
            }
            Step::Reopen { snapshot } => {
                if *snapshot {
                    self.space().save_snapshot().unwrap();
                }
                self.reopen();
                self.compare()?;
                // One after the other with and without what is archived: asking takes its time.
                let archived =
                    (0..self.people.len()).map(|number| (number as u64 + self.reference.events).is_multiple_of(2));
                self.people.iter().zip(archived).try_for_each(|(who, archived)| self.compare_recall(who, archived))
            }
            Step::Compare => self.compare(),
            Step::Erase { who, cubes, subject } => {
                let who = self.people[*who].clone();
                self.erase(&who, cubes, *subject)
            }
            Step::Past { point, by_time } => self.compare_past(usize::from(*point), *by_time),
        }
    }

    fn reopen(&mut self) {
        self.space = None;
        self.space = Some(self.house.vault.space(&self.name).unwrap());
    }

    fn erase(&mut self, who: &Principal, cubes: &[Pick], subject: Option<u8>) -> Result<(), TestCaseError> {
        let (expect, what) = match subject {
            Some(number) => {
                let name = if number < 3 { format!("Subject {number}") } else { who.id.to_string() };
                (self.reference.erase_subject(who, &name), Erasure::Subject(name))
            }
            None => {
                let cubes: Vec<CubeId> = cubes.iter().map(|pick| self.cube(who, *pick)).collect();
                (self.reference.erase(who, &cubes), Erasure::Cubes(cubes))
            }
        };
        let found = self.space().erase(who, what.clone(), "asked for").map(|erased| erased.cubes);
        let told = found.as_ref().err().map(ToString::to_string);
        *self.met.entry(format!("erase {:?}", expect.as_ref().err())).or_default() += 1;
        prop_assert_eq!(found.map_err(|e| e.kind()), expect, "{} erases {:?}; {:?}", who.id, what, told);
        self.history.push((self.clock_now(), self.reference.clone()));
        Ok(())
    }

    /// Compares the space as it was with the reference as it was, and with what a single cube's past says.
    fn compare_past(&self, point: usize, by_time: bool) -> Result<(), TestCaseError> {
        let (at, then) = &self.history[point % self.history.len()];
        let same_time = || self.history.iter().rev().find(|(then, _)| then <= at).unwrap();
        let (point, then) = match by_time {
            true => (Point::Time(*at), &same_time().1),
            false => (Point::Events(then.events), then),
        };
        let past = self.space().at(point).unwrap();
        let expect = then.seen_from(&self.reference);
        Seen { space: &past, reference: &expect, people: &self.people, ids: &self.ids, now: self.clock_now() }
            .compare()?;
        for who in &self.people {
            Seen { space: &past, reference: &expect, people: &self.people, ids: &self.ids, now: self.clock_now() }
                .compare_recall(who, true)?;
            for id in &self.ids {
                let (then, alone) = (past.get(who, id).map(|(cube, _)| cube), self.space().get_at(who, id, point));
                prop_assert_eq!(alone.map_err(|e| e.kind()), then.map_err(|e| e.kind()), "{} at {}", id, point);
            }
        }
        Ok(())
    }

    /// Makes a batch on both sides, and compares what they say.
    fn commit(&mut self, who: &Principal, changes: &[Change]) -> Result<(), TestCaseError> {
        let mut batch = Batch::default();
        for change in changes.iter().cloned() {
            match change {
                Change::Store(id, draft) => batch.store(id, *draft),
                Change::Adopt(id, adoption) => batch.adopt(id, *adoption),
                Change::Unfreeze(cube, reason) => batch.unfreeze(cube, reason),
                Change::Update(update) => batch.update(update),
                Change::Link(link) => batch.link(link),
                Change::Unlink(link) => batch.unlink(link),
                Change::SetState(cube, state, reason) => batch.set_state(cube, state, reason),
                Change::Use(uses) => batch.record_use(uses),
            };
        }
        let before = self.reference.events;
        let expect = self.reference.commit(who, self.clock_now(), changes);
        let found = self.space().commit(who, batch);
        let name = match &expect {
            Ok(_) => "accepted".to_owned(),
            Err(kind) => format!("{kind:?}"),
        };
        *self.met.entry(name).or_default() += 1;
        let told = found.as_ref().err().map(ToString::to_string);
        let found = found
            .map(|committed| Outcome {
                first_event: committed.first_event,
                events: committed.events,
                stored: committed.stored,
            })
            .map_err(|error| error.kind());
        prop_assert_eq!(&found, &expect, "{} does {:?}; the space says {:?}", who.id, changes, told);
        if let Ok(outcome) = expect {
            prop_assert_eq!(outcome.first_event, before);
            for version in outcome.stored {
                let digest = self.digest(version.cube);
                self.reference.digests.insert(version, digest);
            }
            self.history.push((self.clock_now(), self.reference.clone()));
        }
        Ok(())
    }

    fn clock_now(&self) -> Timestamp {
        self.space().now()
    }

    fn digest(&self, cube: CubeId) -> Digest {
        let owner = Principal::new(self.reference.cubes[&cube].owner.clone());
        self.space().get(&owner, &cube).unwrap().1.digest
    }

    fn cube(&self, who: &Principal, pick: Pick) -> CubeId {
        let readable = self.reference.readable(who);
        let own = readable.iter().filter(|(_, cube)| cube.owner == who.id);
        let among: Vec<CubeId> = match pick.among {
            Among::Own => own.map(|(id, _)| *id).collect(),
            Among::Readable => readable.keys().copied().collect(),
            Among::All => self.ids.clone(),
        };
        let among = if among.is_empty() { &self.ids } else { &among };
        match among.len() {
            0 => CubeId::from_bytes([7; 16]),
            count => among[usize::from(pick.number) % count],
        }
    }

    fn sources(&self, who: &Principal, sources: &[(Pick, u32)]) -> Vec<VersionRef> {
        sources.iter().map(|(pick, version)| VersionRef { cube: self.cube(who, *pick), version: *version }).collect()
    }

    fn change(&mut self, who: &Principal, draw: &Draw) -> Change {
        match draw {
            Draw::Store { text, layer, grants, odd, sources, tags, session } => {
                let id = match (odd, self.ids.first()) {
                    (0, Some(id)) => *id,
                    _ => self.space().new_id(),
                };
                self.ids.push(id);
                let kinds =
                    [SemanticType::Fact, SemanticType::Preference, SemanticType::Document, SemanticType::Message];
                let day = |days: i64| Some(Timestamp::from_millis(START + days * 86_400_000));
                let draft = CubeDraft {
                    semantic: kinds[text.len() % kinds.len()],
                    title: if *odd == 1 { "long title ".repeat(3) } else { format!("note {odd}") },
                    tags: (0..if *odd == 12 { 3 } else { *tags / 3 }).map(|tag| format!("topic:{tag}")).collect(),
                    path: (0..*tags % 3).map(|part| format!("part {part}")).collect(),
                    session: session.map(|number| format!("session {number}")),
                    speaker: session.map(|number| format!("Speaker {number}")),
                    owner: match odd {
                        2..=4 => Some(self.people[usize::from(*layer) % 4].id.clone()),
                        _ => None,
                    },
                    layer: match layer {
                        0 | 1 => Layer::Private,
                        2 | 3 => Layer::Shared("kitchen".parse().unwrap()),
                        _ => Layer::Global,
                    },
                    grants: grants.iter().map(|(to, rights)| grant(&self.people, *to, *rights)).collect(),
                    sensitivity: if odd % 8 == 5 {
                        SensitivityKind::ALL.first().copied().into_iter().collect()
                    } else {
                        BTreeSet::new()
                    },
                    valid: match odd {
                        6 => Window { from: day(2), until: day(1) },
                        7..=10 => Window { from: day(1), until: day(9) },
                        _ => Window::ALWAYS,
                    },
                    subject: (*odd % 5 == 1).then(|| format!("Subject {}", tags % 3)),
                    legal_hold: odd % 17 == 3,
                    derived_from: self.sources(who, sources),
                    ..fact(text_of(text))
                };
                let draft = if *odd == 11 { CubeDraft { payload: segment(2), ..draft } } else { draft };
                if !(13..19).contains(odd) {
                    return Change::Store(id, Box::new(draft));
                }
                let source = Source {
                    system: "notes".into(),
                    space: None,
                    cube: Some(format!("note {odd}")),
                    version: Some(2),
                    signer: None,
                };
                let state = State::ALL[usize::from(*tags) % State::ALL.len()];
                let created = Timestamp::from_millis(START - i64::from(*odd));
                let author = "eve".parse().unwrap();
                Change::Adopt(id, Box::new(Adoption { draft, author, created, state, source }))
            }
            Draw::Update { cube, version, mode, text, sources } => {
                let cube = self.cube(who, *cube);
                let head = self.reference.cubes.get(&cube).map_or(0, |cube| cube.version());
                let seen = VersionRef { cube, version: head.saturating_sub(u32::from(*version)) };
                let parent = self.reference.digests.get(&seen).copied().unwrap_or(Digest::of(b"nothing"));
                let day = |days: i64| Some(Timestamp::from_millis(START + days * 86_400_000));
                let mode = match mode {
                    0..=2 => UpdateMode::Append(text_of(text)),
                    3 | 4 => {
                        UpdateMode::Merge { payload: Payload::text(text_of(text)), sources: self.sources(who, sources) }
                    }
                    5 | 6 => UpdateMode::Overwrite(Payload::text(text_of(text))),
                    7 => UpdateMode::Overwrite(segment(1 + text.len())),
                    10 | 11 => UpdateMode::Describe {
                        title: (!text.is_empty()).then(|| text_of(&text[..1])),
                        tags: text.first().map(|word| (0..word % 4).map(|tag| format!("topic:{tag}")).collect()),
                    },
                    12..=14 => UpdateMode::Govern(Box::new(GovernanceChange {
                        layer: [
                            None,
                            Some(Layer::Private),
                            Some(Layer::Shared("kitchen".parse().unwrap())),
                            Some(Layer::Global),
                        ][text.len() % 4]
                            .clone(),
                        grants: text.get(1).map(|word| {
                            (0..word % 4).map(|number| grant(&self.people, (word + number) % 6, text[0] % 8)).collect()
                        }),
                        legal_hold: text.first().filter(|word| **word < 4).map(|word| *word == 0),
                        ..GovernanceChange::default()
                    })),
                    15 => {
                        let versions = self.space().versions(who, &cube).unwrap_or_default();
                        match versions.len() {
                            0 => UpdateMode::Append("restored".into()),
                            count => UpdateMode::Restore(Box::new(versions[text.len() % count].clone())),
                        }
                    }
                    _ => UpdateMode::Revalidate(Window { from: day(3), until: day(text.len() as i64 + 1) }),
                };
                Change::Update(Update { cube, parent, mode })
            }
            Draw::Link { from, kind, to } => {
                let kind = LinkKind::ALL[usize::from(*kind) % LinkKind::ALL.len()];
                let (from, mut end) = (self.cube(who, *from), *to);
                // Seldom from a cube to itself, although the two are drawn from a few.
                if to.number % 8 > 0 && self.cube(who, end) == from {
                    end.number = end.number.wrapping_add(1);
                }
                Change::Link(Link { from, kind, to: self.cube(who, end) })
            }
            Draw::Unlink { link, from, to } => {
                let links: Vec<&Link> = self.reference.links.iter().collect();
                match link {
                    Some(number) if !links.is_empty() => Change::Unlink(*links[usize::from(*number) % links.len()]),
                    _ => Change::Unlink(Link {
                        from: self.cube(who, *from),
                        kind: LinkKind::About,
                        to: self.cube(who, *to),
                    }),
                }
            }
            Draw::SetState { cube, state, reason } => {
                // Archiving and coming back are more usual than what cannot be undone.
                let state = match state {
                    0..=6 => State::ALL[usize::from(*state)],
                    7..=12 => State::Archived,
                    _ => State::Activated,
                };
                let reason = if *reason == 0 { "because ".repeat(4) } else { format!("reason {reason}") };
                Change::SetState(self.cube(who, *cube), state, reason)
            }
            Draw::Unfreeze { cube } => Change::Unfreeze(self.cube(who, *cube), "thaw".into()),
            Draw::Use { uses } => Change::Use(
                uses.iter()
                    .map(|(pick, signal)| (self.cube(who, *pick), UseSignal::ALL[usize::from(*signal)]))
                    .collect(),
            ),
        }
    }

    fn seen(&self) -> Seen<'_> {
        let Self { reference, people, ids, .. } = self;
        Seen { space: self.space(), reference, people, ids, now: self.clock_now() }
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        self.seen().compare()
    }

    fn compare_recall(&self, who: &Principal, archived: bool) -> Result<(), TestCaseError> {
        self.seen().compare_recall(who, archived)
    }

    /// Takes every link away that its owner may take away: each must be there.
    fn take_links_away(&mut self) -> Result<(), TestCaseError> {
        for link in self.reference.links.clone() {
            let owner: PrincipalId = self.reference.cubes[&link.from].owner.clone();
            let owner = self.people.iter().find(|who| who.id == owner).unwrap().clone();
            self.commit(&owner, &[Change::Unlink(link)])?;
        }
        self.compare()
    }
}

/// What is compared: a space, or a view of its past, with the reference at that point.
struct Seen<'a> {
    space: &'a Space,
    reference: &'a Reference,
    people: &'a [Principal],
    ids: &'a [CubeId],
    now: Timestamp,
}

/// Compares what every principal sees, and the record itself.
impl Seen<'_> {
    fn compare(&self) -> Result<(), TestCaseError> {
        for who in self.people {
            let readable = self.reference.readable(who);
            for id in self.ids {
                match readable.get(id) {
                    Some(expect) if expect.state == State::Erased => self.compare_tombstone(who, id)?,
                    Some(expect) => self.compare_cube(who, id, expect)?,
                    None => {
                        let refused = |kind: Option<ErrorKind>| kind == Some(ErrorKind::NotFound);
                        prop_assert!(
                            refused(self.space.get(who, id).err().map(|e| e.kind())),
                            "{} gets {}",
                            who.id,
                            id
                        );
                        prop_assert!(refused(self.space.versions(who, id).err().map(|e| e.kind())));
                        prop_assert!(refused(self.space.usage(who, id).err().map(|e| e.kind())));
                    }
                }
            }
            let found: BTreeSet<CubeId> = self.space.find_ids(who, "", 1000).into_iter().collect();
            prop_assert_eq!(found, readable.keys().copied().collect::<BTreeSet<_>>());
            self.compare_stats(who)?;
        }
        Ok(())
    }

    fn compare_tombstone(&self, who: &Principal, id: &CubeId) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.space.get(who, id).err().map(|e| e.kind()), Some(ErrorKind::NotFound));
        prop_assert!(self.space.versions(who, id).unwrap().is_empty(), "{} was erased", id);
        let around = self.space.neighbourhood(who, id, 2, 10).unwrap();
        prop_assert_eq!((around.cubes.len(), around.links.len()), (1, 0));
        let cube = &around.cubes[0];
        prop_assert_eq!((cube.title.as_str(), cube.text.as_str(), &cube.speaker), ("", "", &None), "{} was erased", id);
        Ok(())
    }

    fn compare_cube(&self, who: &Principal, id: &CubeId, expect: &reference::Cube) -> Result<(), TestCaseError> {
        let (cube, head) = self.space.get(who, id).unwrap();
        let (header, present) = (&cube.header, expect.present());
        prop_assert_eq!(&cube.payload, &present.payload);
        prop_assert_eq!((header.id, header.version, head.version), (*id, expect.version(), expect.version()));
        prop_assert_eq!(
            (&header.title, &header.tags, &header.path),
            (&expect.draft().title, &expect.draft().tags, &expect.draft().path)
        );
        prop_assert_eq!(
            (header.semantic, head.semantic, head.kind),
            (expect.draft().semantic, expect.draft().semantic, header.kind())
        );
        prop_assert_eq!((header.times.created, header.times.observed), (present.at, expect.observed));
        prop_assert_eq!(header.times.valid, present.valid);
        prop_assert_eq!((&header.governance.owner, &header.governance.layer), (&expect.owner, &expect.draft().layer));
        prop_assert_eq!(&header.governance.grants, &expect.draft().grants);
        // No text here shows anything sensitive, so what its writer says of it is concealed.
        let mut sensitivity = expect.draft().sensitivity.clone();
        sensitivity.extend((!sensitivity.is_empty()).then_some(SensitivityKind::Concealed));
        prop_assert_eq!(&header.governance.sensitivity, &sensitivity);
        prop_assert_eq!(
            (&header.origin.principal, &header.origin.session),
            (&expect.versions[0].writer, &expect.draft().session)
        );
        prop_assert_eq!(&header.chain.derived_from, &present.sources);
        prop_assert_eq!((header.lifecycle.state, head.state), (expect.state, expect.state));
        prop_assert_eq!((header.lifecycle.since, &header.lifecycle.reason), (expect.since, &expect.reason));
        prop_assert_eq!(head.digest, self.reference.digests[&VersionRef { cube: *id, version: expect.version() }]);

        let usage = self.space.usage(who, id).unwrap();
        let (at, heat) = (self.now, expect.heat(self.now));
        prop_assert_eq!(
            (usage.reads, usage.helpful, usage.unhelpful),
            (expect.reads.len() as u32, expect.helpful, expect.unhelpful)
        );
        prop_assert_eq!(usage.last_read, expect.reads.last().copied());
        prop_assert!(
            (f64::from(usage.heat(at)) - heat).abs() < 1e-3 * (1.0 + heat),
            "{} is not {}",
            usage.heat(at),
            heat
        );

        let versions = self.space.versions(who, id).unwrap();
        let readable =
            |version: &reference::Version| reference::allows(who, Operation::Read, &expect.owner, &version.draft);
        let expected: Vec<_> = (1..).zip(&expect.versions).filter(|(_, version)| readable(version)).collect();
        prop_assert_eq!(versions.len(), expected.len());
        for (version, (number, expect)) in versions.iter().zip(expected) {
            let parent = self.reference.digests.get(&VersionRef { cube: *id, version: number - 1 }).copied();
            prop_assert_eq!((version.header.version, version.header.chain.parent), (number, parent));
            prop_assert_eq!((version.header.times.created, &version.payload), (expect.at, &expect.payload));
        }
        Ok(())
    }

    /// Asks for everything: just what the caller may recall is considered, and each memory is one of it in its present
    /// version.
    fn compare_recall(&self, who: &Principal, archived: bool) -> Result<(), TestCaseError> {
        let call = MemoryCall { memories: 100, archived, ..MemoryCall::new(who.clone(), WORDS.join(" "), self.now) };
        let answer = recall(&[self.space], &call).unwrap();
        let expect = self.reference.recalled(who, archived);
        let found = answer.receipts.iter().flat_map(|receipt| receipt.stands_for.iter().chain([&receipt.cube]));
        let found: BTreeSet<CubeId> = found.copied().collect();
        prop_assert!(found.is_subset(&expect), "{} recalls {:?} of {:?}, archived {}", who.id, found, expect, archived);
        prop_assert_eq!(answer.considered, expect.len(), "{} may recall {:?}, archived {}", who.id, expect, archived);
        for receipt in &answer.receipts {
            let cube = &self.reference.cubes[&receipt.cube];
            prop_assert_eq!(
                (receipt.version, Some(receipt.text.as_str())),
                (cube.version(), cube.present().payload.as_text())
            );
            prop_assert!(receipt.decision.allowed());
            let seen = self.reference.readable(who);
            prop_assert!(receipt.path.iter().all(|step| seen.contains_key(&step.from)));
            prop_assert!(receipt.superseded_by.is_none_or(|by| seen.contains_key(&by)));
        }
        Ok(())
    }

    fn compare_stats(&self, who: &Principal) -> Result<(), TestCaseError> {
        let (stats, readable) = (self.space.stats(who), self.reference.readable(who));
        let seen = |link: &&Link| readable.contains_key(&link.from) && readable.contains_key(&link.to);
        prop_assert_eq!(stats.cubes, readable.len());
        prop_assert_eq!(stats.links, self.reference.links.iter().filter(seen).count());
        prop_assert_eq!(stats.ledger.events, self.reference.events);
        let states = reference::counted(readable.values().map(|cube| cube.state.as_str()));
        prop_assert_eq!(stats.states.into_iter().collect::<BTreeMap<_, _>>(), states);
        let types = reference::counted(readable.values().map(|cube| cube.draft().semantic.as_str()));
        prop_assert_eq!(stats.types.into_iter().collect::<BTreeMap<_, _>>(), types);
        let alive = || readable.values().filter(|cube| cube.state != State::Erased);
        let sessions: BTreeSet<&String> = alive().filter_map(|cube| cube.draft().session.as_ref()).collect();
        prop_assert_eq!(stats.sessions, sessions.len());
        Ok(())
    }
}

fn grant(people: &[Principal], to: u8, rights: u8) -> Grant {
    let to = match people.get(usize::from(to)) {
        Some(who) => Grantee::Principal(who.id.clone()),
        None => Grantee::Group("kitchen".parse().unwrap()),
    };
    Grant { to, rights: Rights { read: rights & 1 > 0, write: rights & 2 > 0, share: rights & 4 > 0 } }
}

#[test]
fn a_space_is_what_the_reference_is() {
    let config = ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let met: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let outcome = TestRunner::new(config).run(
        &(beginning(), prop::collection::vec(step(), 10..40), ending()),
        |(first, then, ending)| {
            let mut pair = Pair::new();
            let ran = first.iter().chain(&then).try_for_each(|step| pair.run(step));
            let ended = ran
                .and_then(|()| pair.run(&Step::Reopen { snapshot: then.len().is_multiple_of(2) }))
                .and_then(|()| if then.len().is_multiple_of(4) { pair.take_links_away() } else { pair.end(&ending) });
            pair.met.iter().for_each(|(name, count)| *met.borrow_mut().entry(name.clone()).or_default() += count);
            ended
        },
    );
    match outcome {
        Err(TestError::Fail(reason, steps)) => panic!("seed {SEED}: {reason}\nsteps: {steps:?}"),
        Err(TestError::Abort(reason)) => panic!("seed {SEED}: {reason}"),
        Ok(()) => {}
    }
    // A test that never meets a refusal would prove nothing.
    for name in ["accepted", "NotFound", "Denied", "Conflict", "Invalid"] {
        assert!(met.borrow().get(name).is_some_and(|count| *count >= 50), "{name}: {:?}", met.borrow());
    }
    for name in ["erase None", "forked", "forked from the past", "merged", "restored"] {
        assert!(met.borrow().get(name).is_some_and(|count| *count >= 5), "{name}: {:?}", met.borrow());
    }
    println!("{:?}", met.borrow());
}
