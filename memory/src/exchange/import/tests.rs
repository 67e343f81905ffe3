use std::cell::RefCell;

use super::*;
use crate::cube::{CubeDraft, GroupName, SemanticType, Source};
use crate::time::Timestamp;

fn importer() -> Principal {
    Principal::new("user:bo".parse().unwrap()).in_group("kitchen".parse::<GroupName>().unwrap())
}

fn id(name: &str) -> CubeId {
    stable_id("test", &[name.as_bytes()])
}

fn incoming(name: &str, versions: &[&str], system: &str) -> Incoming {
    let (head, before) = versions.split_last().unwrap();
    let adoption = Adoption {
        draft: CubeDraft { layer: "shared:kitchen".parse().unwrap(), ..CubeDraft::text(SemanticType::Fact, *head) },
        author: "user:ada".parse().unwrap(),
        created: Timestamp::from_millis(1),
        state: State::Archived,
        source: Source { system: system.into(), space: None, cube: Some(name.into()), version: None, signer: None },
    };
    let earlier = before.iter().map(|text| Digest::of(text.as_bytes())).collect();
    Incoming { earlier, ..Incoming::new(id(name), adoption) }
}

fn seen(versions: &[&str]) -> Seen {
    Seen {
        digest: Digest::of(b"head"),
        contents: versions.iter().map(|text| Digest::of(text.as_bytes())).collect(),
        state: State::Activated,
        system: None,
        may_write: true,
        may_share: true,
    }
}

/// What a space would hold after a plan was carried out.
#[derive(Default)]
struct Model(RefCell<HashMap<CubeId, Known>>);

impl Model {
    fn of(cubes: &[(&str, Known)]) -> Self {
        Self(RefCell::new(cubes.iter().map(|(name, known)| (id(name), known.clone())).collect()))
    }

    fn import(&self, cubes: Vec<Incoming>, links: &[Link], options: ImportOptions) -> ImportPlan {
        let look = |id: &CubeId| Ok(self.0.borrow().get(id).cloned());
        let plan = plan_import(&importer(), cubes, links, look, options).unwrap();
        let mut cubes = self.0.borrow_mut();
        for step in &plan.steps {
            match step {
                Step::Adopt(id, adoption) => {
                    for source in &adoption.draft.derived_from {
                        assert!(matches!(cubes.get(&source.cube), Some(Known::Seen(_))), "sources come first");
                    }
                    let contents = vec![Digest::of(adoption.draft.payload.body())];
                    let system = Some(adoption.source.system.clone());
                    assert!(cubes.insert(*id, Known::Seen(Seen { contents, system, ..seen(&[]) })).is_none());
                }
                Step::Update(update) => {
                    let Some(Known::Seen(seen)) = cubes.get_mut(&update.cube) else { panic!() };
                    let UpdateMode::Overwrite(payload) = &update.mode else { panic!() };
                    seen.contents.push(Digest::of(payload.body()));
                }
                Step::Link(link) => assert!(cubes.contains_key(&link.from) && cubes.contains_key(&link.to)),
            }
        }
        plan
    }
}

fn changes(plan: &ImportPlan) -> usize {
    plan.steps.iter().filter(|step| !matches!(step, Step::Link(_))).count()
}

#[test]
fn the_rules_decide_and_a_second_import_changes_nothing() {
    use OnConflict::{KeepBoth, KeepOurs, TakeTheirs};
    let report = ImportReport::default;
    let conflict = |beside, resolved| vec![Conflict { cube: id("a"), beside, resolved }];
    let beside = stable_id("beside", &[id("a").as_bytes(), Digest::of(b"3").as_bytes()]);
    let here = |versions: &[&str]| Some(Known::Seen(seen(versions)));
    for (known, versions, on_conflict, expect) in [
        (None, vec!["1"], KeepOurs, ImportReport { new: 1, made_private: 1, ..report() }),
        (here(&["1"]), vec!["1"], KeepOurs, ImportReport { unchanged: 1, ..report() }),
        (here(&["0", "1"]), vec!["1"], KeepOurs, ImportReport { unchanged: 1, ..report() }),
        (here(&["1"]), vec!["1", "2", "3"], KeepOurs, ImportReport { updated: 1, ..report() }),
        (here(&["1", "2"]), vec!["1"], KeepOurs, ImportReport { newer_here: 1, ..report() }),
        (here(&["1", "2"]), vec!["1", "2", "1"], KeepOurs, ImportReport { updated: 1, ..report() }),
        (here(&["1", "2", "1"]), vec!["1", "2"], KeepOurs, ImportReport { newer_here: 1, ..report() }),
        (
            here(&["1", "2"]),
            vec!["1", "3"],
            KeepOurs,
            ImportReport { conflicts: conflict(None, "kept ours"), ..report() },
        ),
        (
            here(&["1", "2"]),
            vec!["1", "3"],
            TakeTheirs,
            ImportReport { updated: 1, conflicts: conflict(None, "took theirs"), ..report() },
        ),
        (
            here(&["1", "2"]),
            vec!["1", "3"],
            KeepBoth,
            ImportReport { new: 1, made_private: 1, conflicts: conflict(Some(beside), "kept both"), ..report() },
        ),
        (Some(Known::Hidden), vec!["1"], KeepOurs, ImportReport { new: 1, made_private: 1, ..report() }),
    ] {
        let model = Model::of(&known.map(|known| ("a", known)).into_iter().collect::<Vec<_>>());
        let options = ImportOptions { on_conflict, keep_layers: false, dry_run: false };
        let first = model.import(vec![incoming("a", &versions, "memos")], &[], options);
        assert_eq!(first.report, expect, "{versions:?}");
        let again = model.import(vec![incoming("a", &versions, "memos")], &[], options);
        assert_eq!(changes(&again), 0, "{versions:?} {:?}", again.report);
    }
}

#[test]
fn what_may_not_be_changed_is_left_out_and_said() {
    let with = |change: fn(&mut Seen)| {
        let mut seen = seen(&["1"]);
        change(&mut seen);
        Known::Seen(seen)
    };
    let redacted = Incoming { redacted: true, ..incoming("a", &["[phone number]"], "memos") };
    for (known, cube, expect) in [
        (Known::Erased, incoming("a", &["1", "2"], "memos"), "erased"),
        (with(|seen| seen.may_write = false), incoming("a", &["1", "2"], "memos"), "may not change"),
        (with(|seen| seen.state = State::Frozen), incoming("a", &["1", "2"], "memos"), "frozen"),
        (with(|_| ()), redacted, "redacted"),
    ] {
        let options = ImportOptions { on_conflict: OnConflict::TakeTheirs, keep_layers: true, dry_run: false };
        let plan = Model::of(&[("a", known)]).import(vec![cube], &[], options);
        assert!(plan.steps.is_empty());
        assert_eq!(plan.report.left_out[0].what, "cube `a`");
        assert!(plan.report.left_out[0].why.contains(expect), "{:?}", plan.report);
    }
}

#[test]
fn what_comes_belongs_to_the_importer() {
    for (layer, keep_layers, expect) in [
        ("private", true, "private"),
        ("global", false, "private"),
        ("global", true, "global"),
        ("shared:kitchen", false, "private"),
        ("shared:kitchen", true, "shared:kitchen"),
        ("shared:board", true, "private"),
    ] {
        let mut cube = incoming("a", &["1"], "memos");
        cube.adoption.draft.layer = layer.parse().unwrap();
        cube.adoption.draft.owner = Some("user:ada".parse().unwrap());
        let plan = Model::default().import(vec![cube], &[], ImportOptions { keep_layers, ..Default::default() });
        let [Step::Adopt(_, adoption)] = &plan.steps[..] else { panic!() };
        assert_eq!(adoption.draft.layer.to_string(), expect, "{layer}");
        assert_eq!((&adoption.draft.owner, adoption.author.as_str()), (&None, "user:ada"));
        assert_eq!(adoption.state, State::Archived);
    }
}

#[test]
fn watermarked_text_is_known_for_what_it_was() {
    let marked = Incoming { original: Some(Digest::of(b"1")), ..incoming("a", &["1*"], "memos") };
    let plan = Model::of(&[("a", Known::Seen(seen(&["1"])))]).import(vec![marked], &[], Default::default());
    assert_eq!((plan.steps.len(), plan.report.unchanged), (0, 1));
}

#[test]
fn other_systems_update_what_was_not_changed_here() {
    let model = Model::default();
    let import = |text: &str| model.import(vec![incoming("a", &[text], "mem0")], &[], Default::default()).report;
    assert_eq!(import("1").new, 1);
    assert_eq!(import("1").unchanged, 1);
    assert_eq!(import("2").updated, 1);
    assert_eq!(import("1").newer_here, 1);
    assert_eq!(import("3").conflicts.len(), 1);
}

#[test]
fn links_and_sources_follow_their_cubes() {
    let options = ImportOptions { on_conflict: OnConflict::KeepBoth, keep_layers: false, dry_run: false };
    let mut made = incoming("made", &["made"], "memos");
    let source = |name: &str| VersionRef { cube: id(name), version: 7 };
    made.adoption.draft.derived_from = vec![source("z"), source("a"), source("nowhere"), source("there")];
    let mut late = incoming("z", &["z"], "memos");
    late.adoption.draft.derived_from = vec![source("made")];
    let cubes = vec![made, incoming("a", &["theirs"], "memos"), late];
    let link = |from: &str, to: &str| Link { from: id(from), kind: LinkKind::About, to: id(to) };
    let links = [link("made", "a"), link("made", "nowhere"), link("there", "made"), link("fixed", "made")];
    let model = Model::of(&[
        ("a", Known::Seen(seen(&["ours"]))),
        ("there", Known::Seen(seen(&["x", "y"]))),
        ("fixed", Known::Seen(Seen { may_share: false, ..seen(&["x"]) })),
    ]);
    let plan = model.import(cubes, &links, options);
    let beside = stable_id("beside", &[id("a").as_bytes(), Digest::of(b"theirs").as_bytes()]);
    let made_link = Link { from: id("made"), kind: LinkKind::About, to: beside };
    let planned: Vec<Link> =
        plan.steps.iter().filter_map(|step| if let Step::Link(link) = step { Some(*link) } else { None }).collect();
    assert_eq!(
        planned,
        [Link { from: beside, kind: LinkKind::Contradicts, to: id("a") }, made_link, link("there", "made")]
    );
    assert_eq!((plan.report.links, plan.report.links_left_out, plan.report.sources_left_out), (2, 2, 2));
    let versions = plan.steps.iter().find_map(|step| match step {
        Step::Adopt(id_, adoption) if *id_ == id("made") => Some(adoption.draft.derived_from.clone()),
        _ => None,
    });
    let mut versions = versions.unwrap();
    versions.retain(|source| source.cube == id("there"));
    assert_eq!(versions[0].version, 2, "no version is named that is not there");
}

#[test]
fn ids_follow_from_names() {
    let text = stable_id("mem0", &[b"a", b"b"]).to_string();
    assert_eq!(text.as_bytes()[14], b'8');
    assert_ne!(stable_id("mem0", &[b"ab", b""]), stable_id("mem0", &[b"a", b"b"]));
    assert_ne!(stable_id("letta", &[b"a", b"b"]).to_string(), text);
}
