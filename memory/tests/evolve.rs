//! Jobs over spaces of several principals: what they find, that they find it once, and that nobody reads more for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/seeded.rs"]
mod seeded;
#[path = "support/space.rs"]
mod space;

use std::collections::BTreeSet;
use std::sync::Arc;

use memos_memory::cube::{
    CubeDraft, CubeId, GovernanceChange, GroupName, Layer, SemanticType, State, Update, UpdateMode, UseSignal,
};
use memos_memory::disk::MemoryDisk;
use memos_memory::evolve::{Budget, EvolveRules, Job, Place, Report, carry_out, find, place_of, run};
use memos_memory::governance::{CUSTODIAN, KEEPER, Principal, SENSITIVE_READER};
use memos_memory::graph::{Link, LinkKind};
use memos_memory::vault::{Batch, Erasure, Space, Vault, VaultOptions};
use space::{HandClock, Random, fact, options, principal, space_name};

const MINUTE: i64 = 60_000;

struct House {
    clock: HandClock,
    options: VaultOptions,
    space: Option<Space>,
    keeper: Principal,
    rules: EvolveRules,
}

impl House {
    fn new() -> Self {
        let clock = HandClock::default();
        let options = VaultOptions {
            clock: Arc::new(clock.clone()),
            disk: Arc::new(MemoryDisk::default()),
            ..options(memos_memory::limits::Limits::default())
        };
        let keeper = Principal::keeper().unwrap();
        let mut house = Self { clock, options, space: None, keeper, rules: EvolveRules::default() };
        house.reopen();
        house
    }

    /// Opens the space anew, as after the end of a program.
    fn reopen(&mut self) {
        self.space = None;
        self.space = Some(Vault::open("house", self.options.clone()).unwrap().space(&space_name()).unwrap());
    }

    fn space(&self) -> &Space {
        self.space.as_ref().unwrap()
    }

    fn run(&self, job: Job) -> Report {
        run(self.space(), &self.keeper, job, &self.rules, Budget::default()).unwrap()
    }

    /// Runs all jobs until none finds anything.
    fn settle(&self) {
        for _ in 0..20 {
            if Job::ALL.iter().map(|job| self.run(*job).total()).sum::<usize>() == 0 {
                return;
            }
        }
        panic!("the jobs find something every time");
    }

    fn store(&self, who: &str, draft: CubeDraft) -> CubeId {
        self.space().remember(&principal(who), draft).unwrap()
    }

    fn state(&self, cube: &CubeId) -> State {
        self.space().get(&self.keeper, cube).unwrap().1.state
    }

    fn text(&self, cube: &CubeId) -> String {
        self.space().get(&self.keeper, cube).unwrap().0.payload.as_text().unwrap().to_owned()
    }

    fn links(&self, cube: &CubeId) -> Vec<Link> {
        self.space().neighbourhood(&self.keeper, cube, 1, 100).unwrap().links
    }

    fn is_linked(&self, from: &CubeId, kind: LinkKind, to: &CubeId) -> bool {
        self.links(from).contains(&Link { from: *from, kind, to: *to })
    }

    fn all(&self) -> Vec<CubeId> {
        self.space().find_ids(&self.keeper, "", usize::MAX)
    }

    fn of_type(&self, semantic: SemanticType) -> Vec<CubeId> {
        let is_one = |cube: &CubeId| {
            self.space().get(&self.keeper, cube).is_ok_and(|(cube, _)| cube.header.semantic == semantic)
        };
        self.all().into_iter().filter(is_one).collect()
    }
}

fn global(text: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Global, ..fact(text) }
}

const RECEIPTS: &str = "Please send your receipts for the boat paint to the harbour office";

#[test]
fn what_says_the_same_is_merged_within_one_class() {
    let again = "please send the receipts for your boat paint to the harbour office";
    let in_task = |text: &str, task: &str| CubeDraft { task: Some(task.into()), ..fact(text) };
    for (name, second, by, expect) in [
        ("across tasks", in_task(again, "b"), "user:ada", State::Merged),
        ("of another owner", in_task(again, "b"), "user:bo", State::Generated),
        ("in another layer", global(again), "user:ada", State::Generated),
        ("of another type", CubeDraft { semantic: SemanticType::Event, ..fact(again) }, "user:ada", State::Generated),
        ("of another speaker", CubeDraft { speaker: Some("Bo".into()), ..fact(again) }, "user:ada", State::Generated),
        (
            "with a number",
            fact("Please send your 3 receipts for the boat paint to the harbour office"),
            "user:ada",
            State::Generated,
        ),
        (
            "denied",
            fact("Please do not send your receipts for the boat paint to the harbour office"),
            "user:ada",
            State::Generated,
        ),
        ("under legal hold", CubeDraft { legal_hold: true, ..fact(again) }, "user:ada", State::Generated),
    ] {
        let house = House::new();
        let first = house.store("user:ada", in_task(RECEIPTS, "a"));
        let second = house.store(by, second);
        let report = house.run(Job::Merge);
        assert_eq!(house.state(&second), expect, "{name}");
        let is_held = name == "under legal hold";
        let merged = expect == State::Merged || is_held;
        assert_eq!(report.total(), usize::from(merged), "{name}: {report:?}");
        // What may not go is what the other becomes part of.
        assert_eq!(house.state(&first) == State::Merged, is_held, "{name}");
        if expect == State::Merged {
            assert!(house.is_linked(&second, LinkKind::MergedInto, &first), "{name}");
        }
        assert_eq!(house.run(Job::Merge).total(), 0, "{name}");
    }
}

#[test]
fn what_is_used_more_stays_and_what_is_frozen_is_left() {
    let house = House::new();
    let (first, second) = (house.store("user:ada", fact(RECEIPTS)), house.store("user:ada", fact(RECEIPTS)));
    let mut batch = Batch::default();
    batch.record_use(vec![(second, UseSignal::Read)]);
    house.space().commit(&principal("user:ada"), batch).unwrap();
    house.run(Job::Merge);
    assert_eq!((house.state(&first), house.state(&second)), (State::Merged, State::Activated));

    let house = House::new();
    let pair = [house.store("user:ada", fact(RECEIPTS)), house.store("user:ada", fact(RECEIPTS))];
    let mut batch = Batch::default();
    pair.iter().for_each(|cube| {
        batch.set_state(*cube, State::Frozen, "as it is");
    });
    house.space().commit(&principal("user:ada"), batch).unwrap();
    assert_eq!(house.run(Job::Merge).total(), 0);
}

#[test]
fn a_merge_of_what_has_changed_meanwhile_is_refused() {
    let house = House::new();
    let ada = principal("user:ada");
    let (first, _) = (house.store("user:ada", fact(RECEIPTS)), house.store("user:ada", fact(RECEIPTS)));
    let mut found =
        find(house.space(), &house.keeper, Job::Merge, Place::default(), &house.rules, Budget::default()).unwrap();
    let parent = house.space().get(&ada, &first).unwrap().1.digest;
    house.space().update(&ada, Update { cube: first, parent, mode: UpdateMode::Append("or not".into()) }).unwrap();
    let refused = carry_out(house.space(), &house.keeper, &mut found).unwrap_err();
    assert_eq!(refused.kind(), memos_memory::ErrorKind::Conflict);
    assert_eq!(house.run(Job::Merge).total(), 0);
}

#[test]
fn the_place_moves_with_the_work_and_not_without() {
    let mut house = House::new();
    house.store("user:ada", fact(RECEIPTS));
    house.run(Job::Merge);
    assert!(
        house.space().register("lifecycle/merge").is_none(),
        "what costs more to note than to look at is not noted"
    );
    house.store("user:ada", fact(RECEIPTS));
    let from = place_of(house.space(), Job::Merge).unwrap();
    let mut found = find(house.space(), &house.keeper, Job::Merge, from, &house.rules, Budget::default()).unwrap();
    assert_eq!((found.report.total(), place_of(house.space(), Job::Merge).unwrap()), (1, from));
    carry_out(house.space(), &house.keeper, &mut found).unwrap();
    house.reopen();
    assert_eq!(place_of(house.space(), Job::Merge).unwrap(), found.reached);
    let head = house.space().ledger_head();
    assert_eq!((house.run(Job::Merge).total(), house.space().ledger_head()), (0, head));
    // Far enough it is noted though there was nothing to do.
    (0..260).for_each(|number| {
        house.store("user:ada", fact(format!("note {number}")));
    });
    house.run(Job::Merge);
    assert!(place_of(house.space(), Job::Merge).unwrap().at > found.reached.at + 256);
}

#[test]
fn a_charter_says_when_cubes_are_let_go() {
    let house = House::new();
    (0..10).for_each(|number| {
        house.store("user:ada", fact(format!("note {number}")));
    });
    assert_eq!(house.run(Job::Sweep).total(), 0);
    house.space().set_charter(&house.keeper, Some("[retention]\nmost_recalled = 4\n")).unwrap();
    assert_eq!(house.run(Job::Sweep).counts["archived"], 6);
}

#[test]
fn only_the_space_itself_evolves() {
    let house = House::new();
    let custodian = principal("user:ada").with_role(CUSTODIAN);
    for job in Job::ALL {
        let refused =
            find(house.space(), &custodian, job, Place::default(), &house.rules, Budget::default()).unwrap_err();
        assert_eq!(refused.kind(), memos_memory::ErrorKind::Denied);
    }
}

#[test]
fn the_later_of_two_facts_holds() {
    let (lisbon, porto) = ("Ada lives in Lisbon", "Ada lives in Porto");
    // Who stored the second, what is found, and whether the first is said to have ended.
    for (name, first, second, by, supersedes, ends) in [
        ("own", fact(lisbon), fact(porto), "user:ada", true, true),
        ("of another agent", global(lisbon), global(porto), "agent:bo", true, false),
        ("private to another", fact(lisbon), fact(porto), "agent:bo", false, false),
        ("private to the same", global(lisbon), fact(porto), "user:ada", false, false),
        ("the same again", global(lisbon), global(lisbon), "agent:bo", false, false),
        (
            "of which many hold",
            fact("Ada is allergic to nuts"),
            fact("Ada is allergic to milk"),
            "user:ada",
            false,
            false,
        ),
        ("about somebody else", fact(lisbon), fact("Bo lives in Porto"), "user:ada", false, false),
    ] {
        let house = House::new();
        let first = house.store("user:ada", first);
        house.clock.advance(MINUTE);
        let second = house.store(by, second);
        let report = house.run(Job::Contradictions);
        assert_eq!(report.total(), usize::from(supersedes), "{name}: {report:?}");
        for kind in [LinkKind::Supersedes, LinkKind::Contradicts] {
            assert_eq!(house.is_linked(&second, kind, &first), supersedes, "{name}");
        }
        let (cube, head) = house.space().get(&house.keeper, &first).unwrap();
        assert_eq!(cube.header.times.valid.until.is_some(), ends, "{name}");
        assert_eq!((head.version, head.state), (1 + u32::from(ends), State::Generated), "{name}");
        assert_eq!(house.run(Job::Contradictions).total(), 0, "{name}");
    }
}

#[test]
fn a_sweep_goes_part_by_part() {
    let house = House::new();
    let short =
        |text: String| CubeDraft { lifespan: memos_memory::cube::Lifespan::TimeToLiveMillis(1000), ..fact(text) };
    let mut cubes: Vec<CubeId> =
        (0..10).map(|number| house.store("user:ada", short(format!("note {number}")))).collect();
    let held = house.store("user:ada", CubeDraft { legal_hold: true, ..short("held".into()) });
    house.clock.advance(MINUTE);
    let budget = Budget { events: 3, cubes: 3, changes: 2 };
    let (mut from, mut steps) = (place_of(house.space(), Job::Sweep).unwrap(), 0);
    loop {
        let mut found = find(house.space(), &house.keeper, Job::Sweep, from, &house.rules, budget).unwrap();
        assert!(found.report.total() <= 2);
        carry_out(house.space(), &house.keeper, &mut found).unwrap();
        (from, steps) = (found.reached, steps + 1);
        if found.ended {
            break;
        }
    }
    assert!(steps >= 6, "{steps}");
    assert!(cubes.iter().all(|cube| house.state(cube) == State::Expired));
    assert_eq!(house.state(&held), State::Archived);
    house.clock.advance(31 * 24 * 60 * MINUTE);
    assert_eq!(house.run(Job::Sweep).counts["erased"], 10);
    assert!(cubes.drain(..).all(|cube| house.space().get(&house.keeper, &cube).is_err()));
    assert_eq!(house.state(&held), State::Archived);
    assert_eq!(house.run(Job::Sweep).total(), 0);
}

#[test]
fn what_is_too_much_is_archived() {
    let mut house = House::new();
    house.rules.most_recalled = Some(4);
    for number in 0..10 {
        house.store("user:ada", fact(format!("note {number}")));
    }
    assert_eq!(house.run(Job::Sweep).counts["archived"], 6);
    assert_eq!(house.run(Job::Sweep).total(), 0);
}

fn turn(speaker: &str, text: &str) -> CubeDraft {
    CubeDraft {
        session: Some("talk".into()),
        speaker: Some(speaker.into()),
        ..CubeDraft::text(SemanticType::Message, text)
    }
}

const TALK: [(&str, &str); 5] = [
    ("Ada", "The boats need paint before the boats go out on the water."),
    ("Bo", "I bought paint for two of the boats at the harbour yesterday."),
    ("Ada", "Lovely weather today, is it not?"),
    ("Bo", "The paint for the boats is in the shed behind the office."),
    ("Ada", "Then we paint the boats together on the next dry morning."),
];

#[test]
fn an_ended_session_is_summarised_once_and_again_when_it_grew() {
    let house = House::new();
    let turns: Vec<CubeId> = TALK.iter().map(|(who, text)| house.store("user:ada", turn(who, text))).collect();
    let early = find(house.space(), &house.keeper, Job::Summarise, Place::default(), &house.rules, Budget::default());
    let early = early.unwrap();
    assert_eq!((early.report.total(), early.reached.held.is_some()), (0, true));
    assert_eq!(early.again_at.unwrap().as_millis() - house.space().now().as_millis(), 30 * MINUTE);
    assert_eq!(early.reached.next_round().at, early.reached.held.unwrap());
    house.clock.advance(31 * MINUTE);
    house.run(Job::Summarise);
    let [summary] = house.of_type(SemanticType::Summary)[..] else { panic!("there is one summary") };
    let text = house.text(&summary);
    assert!(text.contains("Bo: The paint for the boats is in the shed behind the office."), "{text}");
    assert!(turns.iter().all(|turn| house.is_linked(&summary, LinkKind::Summarises, turn)));
    let (cube, _) = house.space().get(&principal("user:ada"), &summary).unwrap();
    assert_eq!((cube.header.governance.owner.as_str(), cube.header.origin.principal.as_str()), ("user:ada", KEEPER));
    assert_eq!(house.run(Job::Summarise).total(), 0);

    house.store("user:ada", turn("Bo", "The boats are painted now, and the paint on both boats is dry."));
    assert_eq!(house.run(Job::Summarise).total(), 0, "it is not over yet");
    house.clock.advance(31 * MINUTE);
    house.run(Job::Summarise);
    assert_eq!(house.of_type(SemanticType::Summary), [summary]);
    assert_eq!(house.space().get(&house.keeper, &summary).unwrap().1.version, 2);
    assert_eq!(house.run(Job::Summarise).total(), 0);
}

#[test]
fn a_session_of_two_classes_has_two_summaries_and_none_mixes_them() {
    let house = House::new();
    for (who, text) in TALK {
        house.store("user:ada", turn(who, text));
        house.store("user:ada", CubeDraft { layer: Layer::Global, ..turn(who, &text.replace("boats", "bicycles")) });
    }
    house.clock.advance(31 * MINUTE);
    house.run(Job::Summarise);
    let summaries = house.of_type(SemanticType::Summary);
    assert_eq!(summaries.len(), 2);
    let bo = principal("user:bo");
    for summary in summaries {
        let is_shown = house.space().get(&bo, &summary).is_ok();
        let text = house.text(&summary);
        assert_eq!((text.contains("bicycles"), text.contains("boats")), (is_shown, !is_shown), "{text}");
    }
}

#[test]
fn what_leaves_a_class_leaves_what_was_derived_from_it() {
    let house = House::new();
    let ada = principal("user:ada");
    let turns: Vec<CubeId> = TALK
        .iter()
        .map(|(who, text)| house.store("user:ada", CubeDraft { layer: Layer::Global, ..turn(who, text) }))
        .collect();
    house.clock.advance(31 * MINUTE);
    house.run(Job::Summarise);
    let [summary] = house.of_type(SemanticType::Summary)[..] else { panic!("there is one summary") };
    let hide = |cube: &CubeId| {
        let parent = house.space().get(&ada, cube).unwrap().1.digest;
        let change = GovernanceChange { layer: Some(Layer::Private), ..GovernanceChange::default() };
        house.space().update(&ada, Update { cube: *cube, parent, mode: UpdateMode::Govern(Box::new(change)) }).unwrap();
    };
    hide(&turns[3]);
    house.run(Job::Summarise);
    assert!(!house.text(&summary).contains("shed"), "{}", house.text(&summary));
    assert!(!house.is_linked(&summary, LinkKind::Summarises, &turns[3]));
    turns[..3].iter().for_each(hide);
    house.run(Job::Summarise);
    assert_eq!(house.state(&summary), State::Expired);
    house.settle();
}

fn about(name: &str, text: &str) -> CubeDraft {
    CubeDraft { tags: vec![format!("entity:{name}")], ..fact(text) }
}

#[test]
fn what_recurs_is_brought_together_once() {
    let house = House::new();
    let first = house.store("user:ada", about("Mira", "Mira owns a red kayak"));
    house.store("user:ada", about("Mira", "Mira teaches sailing at the harbour"));
    house.store("agent:cook", about("Mira", "Mira is allergic to peanuts"));
    assert_eq!(house.run(Job::Reflect).total(), 0, "two of one class do not recur");
    house.store("user:ada", CubeDraft { task: Some("other".into()), ..about("Mira", "Mira speaks Portuguese") });
    house.run(Job::Reflect);
    let [reflection] = house.of_type(SemanticType::Reflection)[..] else { panic!("there is one reflection") };
    let text = "Mira owns a red kayak\nMira teaches sailing at the harbour\nMira speaks Portuguese";
    assert_eq!(house.text(&reflection), text);
    assert!(house.is_linked(&reflection, LinkKind::DerivedFrom, &first));
    house.store("user:ada", about("Mira", "Mira paints boats in winter"));
    house.run(Job::Reflect);
    assert_eq!(house.text(&reflection), format!("{text}\nMira paints boats in winter"));
    assert_eq!(house.of_type(SemanticType::Reflection).len(), 1);
    assert_eq!(house.run(Job::Reflect).total(), 0);
    assert!(house.space().get(&principal("agent:cook"), &reflection).is_err());
}

#[test]
fn what_is_erased_is_derived_from_no_more() {
    let house = House::new();
    let ada = principal("user:ada");
    let secret = house.store("user:ada", about("Mira", "Mira hides her savings in the old kayak"));
    for text in ["Mira teaches sailing at the harbour", "Mira speaks Portuguese", "Mira paints boats in winter"] {
        house.store("user:ada", about("Mira", text));
    }
    house.run(Job::Reflect);
    let erased = house.space().erase(&ada, Erasure::Cubes(vec![secret]), "asked for").unwrap();
    assert_eq!(erased.derived, house.of_type(SemanticType::Reflection), "what says the same is named");
    house.space().erase(&ada, Erasure::Cubes(erased.derived), "it says the same").unwrap();
    house.store("user:ada", about("Mira", "Mira sold the red bicycle"));
    house.settle();
    let [reflection] = house.of_type(SemanticType::Reflection)[..] else { panic!("there is one reflection") };
    assert!(!house.text(&reflection).contains("savings"));
}

#[test]
fn what_is_connected_is_linked_where_nobody_learns_of_what_is_hidden() {
    let outing = |text: &str, session: &str| CubeDraft {
        session: Some(session.into()),
        layer: Layer::Global,
        ..CubeDraft::text(SemanticType::Message, text)
    };
    for (name, by, layer, expect) in [
        ("shared by all", "agent:bo", Layer::Global, true),
        ("private to another", "agent:bo", Layer::Private, false),
        ("private to the same", "user:ada", Layer::Private, false),
        ("shared with a group", "agent:bo", Layer::Shared("crew".parse().unwrap()), false),
    ] {
        let house = House::new();
        let storm = house.store("user:ada", outing("The storm broke the mast of the old boat", "monday"));
        let cause = outing("We stay ashore because the storm broke the mast of the boat", "friday");
        let later = house.store(by, CubeDraft { layer, ..cause });
        house.run(Job::Link);
        assert_eq!(house.is_linked(&later, LinkKind::CausedBy, &storm), expect, "{name}: {:?}", house.links(&later));
        assert_eq!(house.links(&storm).is_empty(), !expect, "{name}");
        assert_eq!(house.run(Job::Link).total(), 0, "{name}");
    }
}

#[test]
fn a_cube_gets_few_links() {
    let house = House::new();
    for number in 0..40 {
        let session = Some(format!("session {number}"));
        let text = format!("The boat with the blue mast leaves the harbour at dawn, said the man of pier {number}");
        house.store("user:ada", CubeDraft { session, ..CubeDraft::text(SemanticType::Message, text) });
    }
    house.run(Job::Link);
    for cube in house.all() {
        let links = house.links(&cube);
        let of = |kind: LinkKind| links.iter().filter(|link| link.kind == kind && link.from == cube).count();
        assert!(of(LinkKind::Similar) <= 3 && of(LinkKind::Mentions) <= 3, "{links:?}");
    }
    assert_eq!(house.run(Job::Link).total(), 0);
}

/// Returns the lines that a principal may read, of all cubes.
fn lines_for(house: &House, who: &Principal, derived: bool) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for id in house.all() {
        let Ok((cube, _)) = house.space().get(who, &id) else { continue };
        if (cube.header.origin.principal.as_str() == KEEPER) == derived {
            let text = cube.payload.as_text().unwrap_or_default();
            let text = text.split_once(". ").filter(|_| text.starts_with("About ")).map_or(text, |(_, said)| said);
            let parts = text.split(['\n']).flat_map(|line| line.split(" / "));
            lines.extend(parts.map(|part| part.split_once(": ").map_or(part, |(_, said)| said).to_owned()));
        }
    }
    lines
}

/// A space in which several write at random, and who may read it.
fn crowd(seed: u64) -> (House, Vec<Principal>) {
    let crew: GroupName = "crew".parse().unwrap();
    let house = House::new();
    let readers = vec![
        principal("user:ada").in_group(crew.clone()),
        principal("agent:bo").in_group(crew.clone()),
        principal("agent:cook"),
        principal("user:eve").with_role(SENSITIVE_READER),
        principal("user:nobody"),
    ];
    let mut random = Random::new(seed);
    let things = ["boats", "paint", "harbour", "kayak", "Mira", "storm", "sails", "mail to ada@example.org", "Oslo"];
    let layers = [Layer::Private, Layer::Shared(crew), Layer::Global];
    let types = [SemanticType::Fact, SemanticType::Message, SemanticType::Message, SemanticType::Preference];
    for _ in 0..60 {
        let who = random.pick(&["user:ada", "agent:bo", "agent:cook"]).to_owned();
        let words: Vec<&str> = (0..4).map(|_| *random.pick(&things)).collect();
        let text = match random.below(4) {
            0 => format!("Mira lives in {}", random.pick(&["Lisbon", "Porto", "Oslo"])),
            1 => format!("Because of the {} we took the {} and the {} to the shed", words[0], words[1], words[2]),
            _ => format!("The {} and the {} belong to the {} of our {}", words[0], words[1], words[2], words[3]),
        };
        let tags = if text.contains("Mira") { vec!["entity:Mira".to_owned()] } else { Vec::new() };
        let draft = CubeDraft {
            layer: random.pick(&layers).clone(),
            session: random.chance(2, 3).then(|| format!("session {}", random.below(3))),
            task: random.chance(1, 2).then(|| format!("task {}", random.below(2))),
            tags,
            legal_hold: random.chance(1, 12),
            ..CubeDraft::text(*random.pick(&types), text)
        };
        house.store(who, draft);
        house.clock.advance(MINUTE);
    }
    house.clock.advance(60 * MINUTE);
    (house, readers)
}

#[test]
fn at_the_end_nothing_is_left_to_do_and_nobody_reads_more() {
    let mut derived = 0;
    for seed in 0..5 {
        let (house, readers) = crowd(seed);
        let before: Vec<BTreeSet<String>> = readers.iter().map(|who| lines_for(&house, who, false)).collect();
        house.settle();
        let head = house.space().ledger_head();
        for job in Job::ALL {
            // From the beginning too, whatever was noted on the way.
            let from = Place::default();
            let found = find(house.space(), &house.keeper, job, from, &house.rules, Budget::ALL).unwrap();
            assert_eq!(found.report.total(), 0, "seed {seed}: {job} finds {:?}", found.report);
            assert_eq!(house.run(job).total(), 0, "seed {seed}");
        }
        assert!(house.space().ledger_head().events <= head.events + Job::ALL.len() as u64, "seed {seed}");
        for (who, before) in readers.iter().zip(&before) {
            for line in lines_for(&house, who, true) {
                derived += 1;
                let is_known = before.iter().any(|known| known.contains(&line));
                assert!(is_known, "seed {seed}: `{}` reads `{line}`", who.id);
            }
        }
    }
    assert!(derived > 0, "nothing was derived");
}

#[test]
fn what_is_cut_off_between_two_steps_is_neither_repeated_nor_skipped() {
    for seed in [3] {
        let (whole, _) = crowd(seed);
        whole.settle();
        let (mut house, _) = crowd(seed);
        let budget = Budget { events: 7, cubes: 2, changes: 2 };
        for _ in 0..20 {
            let mut done = 0;
            for job in Job::ALL {
                // Every step is made by a program that ends after it.
                loop {
                    let from = place_of(house.space(), job).unwrap();
                    let mut place = from;
                    let ended = loop {
                        let mut found = find(house.space(), &house.keeper, job, place, &house.rules, budget).unwrap();
                        carry_out(house.space(), &house.keeper, &mut found).unwrap();
                        done += found.report.total();
                        place = found.reached;
                        if found.ended || found.report.total() > 0 {
                            break found.ended;
                        }
                    };
                    house.reopen();
                    if ended {
                        break;
                    }
                }
            }
            if done == 0 {
                break;
            }
        }
        let says = |house: &House| -> BTreeSet<(String, State)> {
            house.all().iter().map(|cube| (house.text(cube), house.state(cube))).collect()
        };
        assert_eq!(says(&house), says(&whole), "seed {seed}");
    }
}
