//! Recall as a caller sees it: filters, budgets, several spaces, rights, and what a second extractor adds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memos_memory::cube::{CubeDraft, CubeId, Layer, SemanticType, State};
use memos_memory::governance::{Access, AccessClass, Decision, LayerPolicy, Operation, Policy, Principal};
use memos_memory::graph::LinkKind;
use memos_memory::operator::{Answer, MemoryCall, recall};
use memos_memory::reader::source::{Format, SourceLimits, read_source};
use memos_memory::reader::{Assertion, FactExtractor, IngestOptions, Said, extract_facts, ingest, read_question};
use memos_memory::time::{Timestamp, Window};
use memos_memory::vault::{Batch, Space, Vault, VaultOptions};
use memos_memory::{ErrorKind, Result};

struct Home {
    _folder: tempfile::TempDir,
    vault: Vault,
}

impl Home {
    fn new(policy: Arc<dyn Policy>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = VaultOptions { policy, ..VaultOptions::builtin().unwrap() };
        Self { vault: Vault::open(folder.path(), options).unwrap(), _folder: folder }
    }

    fn space(&self, name: &str) -> Space {
        self.vault.space(&name.parse().unwrap()).unwrap()
    }
}

fn home() -> Home {
    Home::new(Arc::new(LayerPolicy))
}

fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn store(space: &Space, caller: &Principal, draft: CubeDraft) -> CubeId {
    space.remember(caller, draft).unwrap()
}

fn fact(text: &str) -> CubeDraft {
    CubeDraft { layer: Layer::Global, ..CubeDraft::text(SemanticType::Fact, text) }
}

fn call(caller: &Principal, question: &str) -> MemoryCall {
    MemoryCall::new(caller.clone(), question, at("2024-10-01"))
}

fn ask(spaces: &[&Space], call: MemoryCall) -> Answer {
    recall(spaces, &read_question(spaces, call).unwrap()).unwrap()
}

fn texts(answer: &Answer) -> Vec<&str> {
    answer.receipts.iter().map(|receipt| receipt.text.as_str()).collect()
}

#[test]
fn filters_narrow_by_type_tag_time_and_state() {
    let (home, ada) = (home(), principal("ada"));
    let space = home.space("acme/one");
    let tagged = |text: &str, tag: &str, observed: &str| CubeDraft {
        tags: vec![tag.to_owned()],
        observed: Some(at(observed)),
        ..fact(text)
    };
    let old = store(&space, &ada, tagged("the red boat is in the harbour", "topic:boats", "2024-01-05"));
    store(&space, &ada, tagged("the blue boat is in the shed", "topic:sheds", "2024-06-05"));
    let event = CubeDraft { semantic: SemanticType::Event, ..fact("a boat race was held in the harbour") };
    store(&space, &ada, CubeDraft { observed: Some(at("2024-06-20")), ..event });
    let count = |change: &dyn Fn(&mut MemoryCall)| {
        let mut call = call(&ada, "Where is the boat?");
        change(&mut call);
        ask(&[&space], call).receipts.len()
    };
    assert_eq!(count(&|_| {}), 3);
    assert_eq!(count(&|call| call.semantic = vec![SemanticType::Event]), 1);
    assert_eq!(count(&|call| call.tags = vec!["topic:boats".into()]), 1);
    assert_eq!(count(&|call| call.tags = vec!["topic:boats".into(), "topic:sheds".into()]), 0);
    assert_eq!(count(&|call| call.window = Window { from: Some(at("2024-06-01")), until: None }), 2);
    let mut batch = Batch::default();
    batch.set_state(old, State::Archived, "the season is over");
    space.commit(&ada, batch).unwrap();
    assert_eq!(count(&|_| {}), 2);
    assert_eq!(count(&|call| call.archived = true), 3);
}

#[test]
fn budgets_hold_and_nothing_is_said_twice() {
    let (home, ada) = (home(), principal("ada"));
    let space = home.space("acme/one");
    for number in 0..20 {
        store(&space, &ada, fact(&format!("shelf {number} holds {} jars of plum jam from the orchard", number * 3)));
    }
    let twin = "the cellar key hangs behind the kitchen door on a nail";
    let first = store(&space, &ada, fact(twin));
    let second = store(&space, &ada, fact(&format!("{twin}.")));
    let answer = ask(&[&space], MemoryCall { memories: 5, ..call(&ada, "How many jars of plum jam are there?") });
    assert_eq!(answer.receipts.len(), 5);
    let answer = ask(&[&space], MemoryCall { tokens: 30, ..call(&ada, "How many jars of plum jam are there?") });
    assert!(answer.tokens <= 30 && !answer.receipts.is_empty());
    let answer = ask(&[&space], call(&ada, "Where is the cellar key?"));
    assert_eq!(texts(&answer).iter().filter(|text| text.contains("cellar key")).count(), 1);
    let kept = &answer.receipts[0];
    assert_eq!((kept.cube, kept.stands_for.as_slice()), (first, &[second][..]));
}

#[test]
fn several_spaces_share_one_ranking() {
    let (home, ada) = (home(), principal("ada"));
    let (tea, tools) = (home.space("acme/tea"), home.space("acme/tools"));
    store(&tea, &ada, fact("green tea is brewed at eighty degrees"));
    store(&tools, &ada, fact("the drill is charged in two hours"));
    store(&tools, &ada, fact("green paint is on the top shelf"));
    let answer = ask(&[&tools, &tea], call(&ada, "At how many degrees is green tea brewed?"));
    assert_eq!(answer.receipts[0].space.as_str(), "acme/tea");
    assert!(answer.receipts.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(answer.considered, 3);
    assert_eq!(recall(&[], &call(&ada, "x")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(read_question(&[&tea], call(&ada, "  ")).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn receipts_say_why() {
    let (home, ada, bo) = (home(), principal("ada"), principal("bo"));
    let space = home.space("acme/one");
    let transcript = "# Session 1 - 7 May 2024, 10:00\nMira: Where did you leave the ladder?\nBo: Behind the greenhouse, as always.\n";
    let source =
        read_source("talk.txt", transcript.as_bytes(), Some(Format::Transcript), &SourceLimits::default()).unwrap();
    let options = IngestOptions { layer: Layer::Global, ..IngestOptions::default() };
    ingest(&space, &ada, &source, &options, &mut |_, _| {}).unwrap();
    let answer = ask(&[&space], call(&bo, "Where did Bo leave the ladder?"));
    let receipt = answer.receipts.iter().find(|receipt| receipt.text.contains("greenhouse")).unwrap();
    // The answer itself names no ladder; it was found over its link to the question before it.
    assert!(receipt.path.iter().any(|step| step.link == LinkKind::Follows && step.gain > 0.0), "{receipt:?}");
    assert_eq!(receipt.decision.rule, "it is global");
    assert_eq!(
        (receipt.speaker.as_deref(), receipt.reference.as_deref(), receipt.version),
        (Some("Bo"), Some("S1:2"), 1)
    );
    let sum: f32 = receipt.features.iter().map(|(_, part)| part).sum();
    assert!((sum - receipt.score).abs() < 1e-4);
    assert!(receipt.to_string().contains("greenhouse"));
}

/// Allows a guest the first thing that is decided, and nothing after it.
#[derive(Default)]
struct SecondThoughts(AtomicBool);

impl Policy for SecondThoughts {
    fn decide(&self, principal: &Principal, operation: Operation, class: &AccessClass, at: Timestamp) -> Decision {
        if principal.id.as_str() == "user:guest" && self.0.swap(true, Ordering::Relaxed) {
            return Decision { access: Access::Denied, rule: "on second thoughts".into() };
        }
        LayerPolicy.decide(principal, operation, class, at)
    }
}

#[test]
fn each_result_is_decided_on_again() {
    let home = Home::new(Arc::new(SecondThoughts::default()));
    let space = home.space("acme/one");
    store(&space, &principal("ada"), fact("the gate code is on the board"));
    // The whole class is let through first, so there is a candidate; as a result it is decided on again.
    let answer = recall(&[&space], &call(&principal("guest"), "Where is the gate code?")).unwrap();
    assert_eq!((answer.considered, answer.receipts.len()), (1, 0));
}

/// A model that concludes one thing from everything.
struct Scripted;

impl FactExtractor for Scripted {
    fn model(&self) -> Option<&str> {
        Some("scripted-1")
    }

    fn extract(&self, said: Said<'_>) -> Result<Vec<Assertion>> {
        let value = said.text.split_whitespace().last().unwrap_or_default().trim_end_matches('.').to_owned();
        Ok(vec![Assertion {
            subject: said.speaker.to_owned(),
            attribute: "mood".into(),
            statement: format!("{} feels {value}", said.speaker),
            value,
            semantic: SemanticType::Reflection,
            valid: Window::ALWAYS,
            replaces: true,
        }])
    }
}

#[test]
fn a_second_extractor_adds_what_it_finds() {
    let (home, ada) = (home(), principal("ada"));
    let space = home.space("acme/one");
    let said = |text: &str, observed: &str| CubeDraft {
        speaker: Some("Mira".into()),
        observed: Some(at(observed)),
        ..CubeDraft::text(SemanticType::Message, text)
    };
    let (first, second) = (
        store(&space, &ada, said("Everything today is tiresome.", "2024-05-01")),
        store(&space, &ada, said("Now the day is splendid.", "2024-05-02")),
    );
    let report = extract_facts(&space, &ada, &Scripted, &[first, second], &IngestOptions::default()).unwrap();
    assert_eq!((report.facts, report.superseded), (2, 1));
    let answer =
        ask(&[&space], MemoryCall { semantic: vec![SemanticType::Reflection], ..call(&ada, "How does Mira feel?") });
    assert_eq!(texts(&answer), ["Mira feels splendid", "Mira feels tiresome"]);
    let (cube, _) = space.get(&ada, &answer.receipts[0].cube).unwrap();
    assert_eq!(cube.header.origin.model.as_deref(), Some("scripted-1"));
    assert_eq!(cube.header.chain.derived_from[0].cube, second);
}
