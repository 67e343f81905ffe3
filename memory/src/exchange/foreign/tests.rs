use super::super::import::{ImportOptions, Known, Seen, Step, plan_import};
use super::*;
use crate::cube::Digest;
use crate::governance::Principal;

const MEM0: &str = include_str!("../../../tests/data/mem0.json");
const LETTA_AGENT: &str = include_str!("../../../tests/data/letta_agent.af");
const LETTA_ENTITIES: &str = include_str!("../../../tests/data/letta_entities.af");
const LANGGRAPH: &str = include_str!("../../../tests/data/langgraph.jsonl");
const TREE: &str = include_str!("../../../tests/data/memos_py_tree.json");
const GENERAL: &str = include_str!("../../../tests/data/memos_py_general.json");
const ALL: [(&str, System); 6] = [
    (MEM0, System::Mem0),
    (LETTA_AGENT, System::Letta),
    (LETTA_ENTITIES, System::Letta),
    (LANGGRAPH, System::Langgraph),
    (TREE, System::MemosPy),
    (GENERAL, System::MemosPy),
];

fn read(text: &str) -> Result<ForeignImport> {
    let received = "2026-01-01".parse().unwrap();
    read_foreign(text.as_bytes(), None, received, &ForeignLimits::default())
}

fn text(cube: &Incoming) -> &str {
    cube.adoption.draft.payload.as_text().unwrap()
}

fn find<'a>(import: &'a ForeignImport, part: &str) -> &'a Incoming {
    import.cubes.iter().find(|cube| text(cube).contains(part)).unwrap_or_else(|| panic!("{part}"))
}

fn left_out(import: &ForeignImport) -> Vec<&str> {
    import.left_out.iter().map(|left| left.what.as_str()).collect()
}

#[test]
fn each_system_is_told_by_its_keys() {
    for (text, expect) in ALL {
        assert_eq!(read(text).unwrap().system, expect);
    }
    assert_eq!("langgraph".parse::<System>().unwrap(), System::Langgraph);
    assert!("zep".parse::<System>().unwrap_err().to_string().contains("mem0, letta, langgraph, memos-py"));
}

#[test]
fn mem0_is_read_by_its_rules() {
    let import = read(MEM0).unwrap();
    assert_eq!(import.cubes.len(), 5);
    let runs = &find(&import, "every morning").adoption;
    assert_eq!(runs.draft.tags, ["confidence:0.9", "source_app:coach"]);
    assert_eq!((runs.author.as_str(), runs.draft.subject.as_deref()), ("user:nora", Some("nora")));
    assert_eq!(runs.draft.session.as_deref(), Some("spring-plan"));
    assert_eq!(runs.created.to_string(), "2025-03-09T15:00:00Z");
    assert_eq!(runs.draft.observed.unwrap().to_string(), "2025-03-02T15:10:11Z");
    assert_eq!(runs.source.cube.as_deref(), Some("5f0c2f0e-9a52-4a7e-8d16-0f6d2b7a1c01"));
    let trails = &find(&import, "trails").adoption.draft;
    assert_eq!((trails.semantic, trails.tags.len()), (SemanticType::Preference, 2));
    let pool = &find(&import, "pool").adoption;
    assert_eq!((pool.state, pool.author.as_str()), (State::Expired, "agent:coach"));
    assert_eq!(pool.draft.lifespan, crate::cube::Lifespan::TimeToLiveMillis(31 * 86_400_000));
    assert_eq!(find(&import, "ines lives in porto").adoption.draft.tags, ["entity:ines", "entity:porto"]);
    assert_eq!(left_out(&import), ["1 empty memories", "2 hashes", "1 nested values of metadata", "1 scores"]);
}

#[test]
fn letta_is_read_by_its_rules() {
    let import = read(LETTA_AGENT).unwrap();
    let texts: Vec<&str> = import.cubes.iter().map(text).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert_eq!(find(&import, "roof garden").adoption.draft.semantic, SemanticType::Instruction);
    let (asked, said) = (find(&import, "The basil looks pale."), find(&import, "Move it to the south wall."));
    assert_eq!(said.adoption.draft.speaker.as_deref(), Some("gardener"));
    assert_eq!(asked.adoption.draft.speaker.as_deref(), Some("user"));
    assert_eq!(import.links, [Link { from: said.id, kind: LinkKind::Follows, to: asked.id }]);
    assert!(!format!("{import:?}").contains("not to be read"), "secrets stay where they are");
    let left = left_out(&import).join("; ");
    for expect in ["1 calls of tools", "1 empty memories", "1 environment variables", "1 events", "1 results of tools"]
    {
        assert!(left.contains(expect), "{expect}: {left}");
    }

    let import = read(LETTA_ENTITIES).unwrap();
    assert_eq!(import.cubes.len(), 6);
    assert_eq!(find(&import, "Customer since").adoption.draft.path, ["support"]);
    assert!(find(&import, "Refunds").adoption.draft.path.is_empty());
    assert_eq!(find(&import, "noon").adoption.draft.semantic, SemanticType::Document);
    assert_eq!(import.links.len(), 1);
    assert!(!format!("{import:?}").contains("not to be read"));
}

#[test]
fn langgraph_is_read_by_its_rules() {
    let import = read(LANGGRAPH).unwrap();
    assert_eq!(import.cubes.len(), 3);
    let learning = &find(&import, "learning").adoption;
    assert_eq!(
        (text(find(&import, "learning")), &learning.draft.path[..]),
        ("Nora is learning Portuguese", &["memories".to_owned(), "nora".to_owned()][..])
    );
    assert_eq!(learning.draft.reference.as_deref(), Some("m1"));
    let meetings = &find(&import, "meetings").adoption.draft;
    assert_eq!(
        (meetings.semantic, meetings.tags.join(" ")),
        (SemanticType::Preference, "type:preference weight:3".into())
    );
    assert_eq!(text(find(&import, "pizza")), "age: 41\nfood preference: pizza\nlanguages: [\"en\",\"pt\"]");
    let array = format!("[{}]", LANGGRAPH.trim().replace('\n', ","));
    let items = format!("{{\"items\": {array}}}");
    for other in [array, items] {
        let other = read(&other).unwrap();
        assert!(other.cubes.iter().zip(&import.cubes).all(|(a, b)| a.id == b.id && a.content == b.content));
    }
}

#[test]
fn memos_in_python_is_read_by_its_rules() {
    let import = read(TREE).unwrap();
    assert_eq!(import.cubes.len(), 3);
    let (tram, trip, town) = (find(&import, "every ten"), find(&import, "went"), find(&import, "about in town"));
    assert_eq!(tram.earlier, [Digest::of(b"The tram to the beach runs every quarter of an hour")]);
    assert_eq!((tram.adoption.draft.layer.to_string(), tram.adoption.draft.title.as_str()), ("global".into(), "Tram"));
    assert_eq!((trip.adoption.state, trip.adoption.draft.semantic), (State::Archived, SemanticType::Event));
    let mut expect = [
        Link { from: town.id, kind: LinkKind::Summarises, to: tram.id },
        Link { from: trip.id, kind: LinkKind::CausedBy, to: tram.id },
    ];
    expect.sort();
    assert_eq!(import.links, expect);
    let left = left_out(&import).join("; ");
    for expect in ["1 deleted memories", "1 edges of other types", "1 vectors", "1 confidences", "1 quotes of sources"]
    {
        assert!(left.contains(expect), "{expect}: {left}");
    }
    let import = read(GENERAL).unwrap();
    assert_eq!(find(&import, "tray").adoption.draft.semantic, SemanticType::Skill);
}

#[test]
fn a_second_import_changes_nothing() {
    for (text, system) in ALL {
        let importer = Principal::new("user:bo".parse().unwrap());
        let mut here = std::collections::HashMap::new();
        let (first, again) = (read(text).unwrap(), read(text).unwrap());
        let plan = plan_import(&importer, first.cubes, &first.links, |_| Ok(None), ImportOptions::default()).unwrap();
        for step in plan.steps {
            if let Step::Adopt(id, adoption) = step {
                assert_eq!(id.to_string().as_bytes()[14], b'8', "an id from outside is not ours");
                let contents = vec![Digest::of(adoption.draft.payload.body())];
                let (digest, state, system) = (contents[0], adoption.state, Some(system.to_string()));
                here.insert(
                    id,
                    Known::Seen(Seen { digest, contents, state, system, may_write: true, may_share: true }),
                );
            }
        }
        let look = |id: &CubeId| Ok(here.get(id).cloned());
        let plan = plan_import(&importer, again.cubes, &again.links, look, ImportOptions::default()).unwrap();
        assert!(plan.steps.iter().all(|step| matches!(step, Step::Link(_))));
        assert_eq!(plan.report.unchanged, here.len() as u64);
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (text, expect) in [
        ("", "not valid JSON"),
        ("{\"results\": [", "line 1, column 13"),
        ("[]", "an empty array, which is no export"),
        ("{\"colour\": 1}", "`colour`"),
        ("[{\"id\": \"1\", \"memory\": 5}]", "memories, item 1: `memory` is a number"),
        ("[{\"id\": \"1\", \"memory\": \"x\"}, 7]", "item 2: found a number"),
        ("[{\"id\": 1, \"memory\": \"x\"}]", "`id` is a number"),
        ("[{\"id\": \"1\", \"memory\": \"x\", \"created_at\": \"soon\"}]", "`created_at` is `soon`"),
        ("{\"results\": [], \"relations\": [{\"source\": \"a\"}]}", "no export that is known"),
        ("[{\"namespace\": 5, \"key\": \"k\", \"value\": {}}]", "`namespace` is a number"),
        ("[{\"namespace\": [], \"key\": \"k\", \"value\": 1}]", "`value` is missing"),
        ("{\"nodes\": [{\"memory\": \"x\"}]}", "nodes, item 1: `id` is missing"),
        ("{\"nodes\": [], \"edges\": [{\"source\": \"x\"}]}", "edges, item 1"),
        ("{\"agents\": [4], \"blocks\": []}", "agents, item 1"),
        ("{\"a\": 1}\n{\"b\": ", "line 2, column"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
    assert!(read(&"[".repeat(200_000)).is_err());
    let received = Timestamp::from_millis(0);
    let limits = ForeignLimits::default();
    for (limits, expect) in [
        (ForeignLimits { bytes: 10, ..limits.clone() }, "bytes"),
        (ForeignLimits { values: 10, ..limits.clone() }, "JSON values"),
        (ForeignLimits { memories: 2, ..limits.clone() }, "at most 2"),
    ] {
        assert!(read_foreign(MEM0.as_bytes(), None, received, &limits).unwrap_err().to_string().contains(expect));
    }
    let small = ForeignLimits { space: Limits { text_bytes: 25, ..Limits::default() }, ..limits };
    let import = read_foreign(MEM0.as_bytes(), None, received, &small).unwrap();
    assert!(import.left_out[0].why.contains("25"), "{:?}", import.left_out);
    assert!(read_foreign(MEM0.as_bytes(), Some(System::Letta), received, &ForeignLimits::default()).is_err());
}

#[test]
fn every_cut_is_refused_or_read_and_never_panics() {
    for (text, system) in ALL {
        for length in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let _ =
                read_foreign(&text.as_bytes()[..length], Some(system), Timestamp::default(), &ForeignLimits::default());
        }
    }
}
