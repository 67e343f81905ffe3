//! A space against a plain reference: random operations of several principals, among them refused batches, stale parents,
//! circles of lineage and reopenings, must give the same outcome, and every principal must then see the same.
//!
//! The cases follow from a fixed seed; a failing case is made smaller and printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/space.rs"]
mod space;
#[path = "support/steps.rs"]
mod steps;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use memos_memory::ErrorKind;
use memos_memory::cube::{
    CubeDraft, CubeId, Digest, Grant, Grantee, Layer, Payload, PrincipalId, Rights, SeededIds, SemanticType, State,
    Update, UpdateMode, UseSignal, VersionRef,
};
use memos_memory::governance::sensitivity::SensitivityKind;
use memos_memory::governance::{Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::limits::Limits;
use memos_memory::operator::{MemoryCall, recall};
use memos_memory::time::{Timestamp, Window};
use memos_memory::vault::{Batch, Space, VaultOptions};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestError, TestRunner};

use reference::{Change, Outcome, Reference};
use space::{HandClock, START, fact, open, options, principal, quick_folder, segment};
use steps::{Among, Draw, Pick, Step, WORDS, beginning, step};

const CASES: u32 = 160;
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
        principal("dee"),
    ]
}

/// A space and its reference, side by side.
struct Pair {
    folder: tempfile::TempDir,
    options: VaultOptions,
    clock: HandClock,
    people: Vec<Principal>,
    space: Option<Space>,
    reference: Reference,
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
        let space = Some(open(folder.path(), &options).unwrap());
        let reference = Reference::new(limits());
        Self { folder, options, clock, people: people(), space, reference, ids: Vec::new(), met: BTreeMap::new() }
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
                self.space = None;
                self.space = Some(open(self.folder.path(), &self.options).unwrap());
                self.compare()?;
                // One after the other with and without what is archived: asking takes its time.
                let archived =
                    (0..self.people.len()).map(|number| (number as u64 + self.reference.events).is_multiple_of(2));
                self.people.iter().zip(archived).try_for_each(|(who, archived)| self.compare_recall(who, archived))
            }
            Step::Compare => self.compare(),
        }
    }

    /// Makes a batch on both sides, and compares what they say.
    fn commit(&mut self, who: &Principal, changes: &[Change]) -> Result<(), TestCaseError> {
        let mut batch = Batch::default();
        for change in changes.iter().cloned() {
            match change {
                Change::Store(id, draft) => batch.store(id, *draft),
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
                    derived_from: self.sources(who, sources),
                    ..fact(text_of(text))
                };
                let draft = if *odd == 11 { CubeDraft { payload: segment(2), ..draft } } else { draft };
                Change::Store(id, Box::new(draft))
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
            Draw::Use { uses } => Change::Use(
                uses.iter()
                    .map(|(pick, signal)| (self.cube(who, *pick), UseSignal::ALL[usize::from(*signal)]))
                    .collect(),
            ),
        }
    }

    /// Compares what every principal sees, and the record itself.
    fn compare(&self) -> Result<(), TestCaseError> {
        for who in &self.people {
            let readable = self.reference.readable(who);
            for id in &self.ids {
                match readable.get(id) {
                    Some(expect) => self.compare_cube(who, id, expect)?,
                    None => {
                        let refused = |kind: Option<ErrorKind>| kind == Some(ErrorKind::NotFound);
                        prop_assert!(
                            refused(self.space().get(who, id).err().map(|e| e.kind())),
                            "{} gets {}",
                            who.id,
                            id
                        );
                        prop_assert!(refused(self.space().versions(who, id).err().map(|e| e.kind())));
                        prop_assert!(refused(self.space().usage(who, id).err().map(|e| e.kind())));
                    }
                }
            }
            let found: BTreeSet<CubeId> = self.space().find_ids(who, "", 1000).into_iter().collect();
            prop_assert_eq!(found, readable.keys().copied().collect::<BTreeSet<_>>());
            self.compare_stats(who)?;
        }
        Ok(())
    }

    fn compare_cube(&self, who: &Principal, id: &CubeId, expect: &reference::Cube) -> Result<(), TestCaseError> {
        let (cube, head) = self.space().get(who, id).unwrap();
        let (header, present) = (&cube.header, expect.present());
        prop_assert_eq!(&cube.payload, &present.payload);
        prop_assert_eq!((header.id, header.version, head.version), (*id, expect.version(), expect.version()));
        prop_assert_eq!(
            (&header.title, &header.tags, &header.path),
            (&expect.draft.title, &expect.draft.tags, &expect.draft.path)
        );
        prop_assert_eq!(
            (header.semantic, head.semantic, head.kind),
            (expect.draft.semantic, expect.draft.semantic, header.kind())
        );
        prop_assert_eq!((header.times.created, header.times.observed), (present.at, expect.versions[0].at));
        prop_assert_eq!(header.times.valid, present.valid);
        prop_assert_eq!((&header.governance.owner, &header.governance.layer), (&expect.owner, &expect.draft.layer));
        prop_assert_eq!(&header.governance.grants, &expect.draft.grants);
        // No text of this test shows anything, so what is named by hand is concealed.
        let mut sensitivity = expect.draft.sensitivity.clone();
        if !sensitivity.is_empty() {
            sensitivity.insert(SensitivityKind::Concealed);
        }
        prop_assert_eq!(&header.governance.sensitivity, &sensitivity);
        prop_assert_eq!(
            (&header.origin.principal, &header.origin.session),
            (&expect.versions[0].writer, &expect.draft.session)
        );
        prop_assert_eq!(&header.chain.derived_from, &present.sources);
        prop_assert_eq!((header.lifecycle.state, head.state), (expect.state, expect.state));
        prop_assert_eq!((header.lifecycle.since, &header.lifecycle.reason), (expect.since, &expect.reason));
        prop_assert_eq!(head.digest, self.reference.digests[&VersionRef { cube: *id, version: expect.version() }]);

        let usage = self.space().usage(who, id).unwrap();
        let (at, heat) = (self.clock_now(), expect.heat(self.clock_now()));
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

        let versions = self.space().versions(who, id).unwrap();
        prop_assert_eq!(versions.len(), expect.versions.len());
        for (number, (version, expect)) in (1..).zip(versions.iter().zip(&expect.versions)) {
            let parent = self.reference.digests.get(&VersionRef { cube: *id, version: number - 1 }).copied();
            prop_assert_eq!((version.header.version, version.header.chain.parent), (number, parent));
            prop_assert_eq!((version.header.times.created, &version.payload), (expect.at, &expect.payload));
        }
        Ok(())
    }

    /// Asks for everything: just what the caller may recall is considered, and each memory is one of it in its present version.
    fn compare_recall(&self, who: &Principal, archived: bool) -> Result<(), TestCaseError> {
        let call =
            MemoryCall { memories: 100, archived, ..MemoryCall::new(who.clone(), WORDS.join(" "), self.clock_now()) };
        let answer = recall(&[self.space()], &call).unwrap();
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
        let (stats, readable) = (self.space().stats(who), self.reference.readable(who));
        let seen = |link: &&Link| readable.contains_key(&link.from) && readable.contains_key(&link.to);
        prop_assert_eq!(stats.cubes, readable.len());
        prop_assert_eq!(stats.links, self.reference.links.iter().filter(seen).count());
        prop_assert_eq!(stats.ledger.events, self.reference.events);
        let states = reference::counted(readable.values().map(|cube| cube.state.as_str()));
        prop_assert_eq!(stats.states.into_iter().collect::<BTreeMap<_, _>>(), states);
        let types = reference::counted(readable.values().map(|cube| cube.draft.semantic.as_str()));
        prop_assert_eq!(stats.types.into_iter().collect::<BTreeMap<_, _>>(), types);
        let sessions: BTreeSet<&String> = readable.values().filter_map(|cube| cube.draft.session.as_ref()).collect();
        prop_assert_eq!(stats.sessions, sessions.len());
        Ok(())
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
        ..ProptestConfig::default()
    };
    let met: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let outcome =
        TestRunner::new(config).run(&(beginning(), prop::collection::vec(step(), 10..40)), |(first, then)| {
            let mut pair = Pair::new();
            let ran = first.iter().chain(&then).try_for_each(|step| pair.run(step));
            let ended = ran
                .and_then(|()| pair.run(&Step::Reopen { snapshot: then.len().is_multiple_of(2) }))
                .and_then(|()| pair.take_links_away());
            pair.met.iter().for_each(|(name, count)| *met.borrow_mut().entry(name.clone()).or_default() += count);
            ended
        });
    match outcome {
        Err(TestError::Fail(reason, steps)) => panic!("seed {SEED}: {reason}\nsteps: {steps:?}"),
        Err(TestError::Abort(reason)) => panic!("seed {SEED}: {reason}"),
        Ok(()) => {}
    }
    // A test that never meets a refusal would prove nothing.
    for name in ["accepted", "NotFound", "Denied", "Conflict", "Invalid"] {
        assert!(met.borrow().get(name).is_some_and(|count| *count >= 50), "{name}: {:?}", met.borrow());
    }
    println!("{:?}", met.borrow());
}
