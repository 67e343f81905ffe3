//! The bundled conversation as a person would use it: its questions find their evidence, updates win over what they
//! replaced, and what is sensitive stays with its owner.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use memos::prelude::*;
use serde::Deserialize;

const FILES: &[&str] =
    &["harbour_house.txt", "guesthouse_handbook.md", "renovation_plan.md", "neighbour_notes.txt", "support_chat.jsonl"];

#[derive(Deserialize)]
struct Question {
    question: String,
    evidence: Vec<String>,
    kind: String,
    answer: String,
}

struct House {
    _folder: tempfile::TempDir,
    space: Space,
    ronja: Principal,
}

impl House {
    fn ask(&self, caller: &Principal, question: &str, memories: usize) -> Answer {
        let mut call = MemoryCall::new(caller.clone(), question, "2024-10-01".parse().unwrap());
        call.memories = memories;
        recall(&[&self.space], &read_question(&[&self.space], call).unwrap()).unwrap()
    }
}

fn data(file: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(file)).unwrap()
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(folder.path(), VaultOptions::builtin().unwrap()).unwrap();
    let space = vault.space(&"harbour/house".parse().unwrap()).unwrap();
    let ronja = Principal::new("user:ronja".parse().unwrap());
    let options = IngestOptions { layer: Layer::Global, ..IngestOptions::default() };
    for file in FILES {
        let source = read_source(file, &data(file), None, &SourceLimits::default()).unwrap();
        let report = ingest(&space, &ronja, &source, &options, &mut |_, _| {}).unwrap();
        assert!(report.cubes > 0, "{file}");
        let again = ingest(&space, &ronja, &source, &options, &mut |_, _| {}).unwrap();
        assert_eq!((again.cubes, again.links), (0, 0), "{file} was read twice");
    }
    House { _folder: folder, space, ronja }
}

/// Returns whether a memory is the one that `evidence` names: `S3:12`, or `FILE#PLACE`.
fn is_evidence(receipt: &Receipt, evidence: &str) -> bool {
    let Some(reference) = receipt.reference.as_deref() else { return false };
    match evidence.split_once('#') {
        None => {
            reference == evidence
                && receipt.session.as_deref().is_some_and(|session| session.starts_with("harbour_house/"))
        }
        Some((file, place)) => {
            let name = file.split('.').next().unwrap();
            let in_chat = receipt.session.as_deref().is_some_and(|session| session.starts_with(name));
            reference == format!("{name}#{place}") || in_chat && reference == format!("S1:{place}")
        }
    }
}

#[test]
fn questions_find_their_evidence() {
    let house = house();
    let questions: Vec<Question> = serde_json::from_slice(&data("questions.json")).unwrap();
    let mut shares: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for question in questions.iter().filter(|question| !question.evidence.is_empty()) {
        let answer = house.ask(&house.ronja, &question.question, 10);
        let found = question
            .evidence
            .iter()
            .filter(|evidence| answer.receipts.iter().any(|receipt| is_evidence(receipt, evidence)));
        let share = found.count() as f64 / question.evidence.len() as f64;
        if share < 1.0 {
            println!("{share:.2} {} ({}; {:?})", question.question, question.answer, question.evidence);
        }
        shares.entry(&question.kind).or_default().push(share);
    }
    let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
    let all: Vec<f64> = shares.values().flatten().copied().collect();
    for (kind, shares) in &shares {
        println!("{kind}: {:.2} of {}", mean(shares), shares.len());
    }
    assert!(all.len() >= 40);
    assert!(mean(&all) >= 0.8, "only {:.2} of the evidence was among ten memories", mean(&all));
}

#[test]
fn what_holds_now_stands_before_what_it_replaced() {
    let house = house();
    for (question, now, before) in [
        ("Where does Halima live now?", "Norrhamn", "I live in Helsinki"),
        ("When is the opening?", "21 September", "on 1 September"),
        ("What is Wendell's phone number?", "900187", "900142"),
        ("What is the kitchen budget?", "9,500", "kitchen budget is 8,000"),
        ("Where does Mateus work?", "Fyren", "Lanterna"),
    ] {
        let answer = house.ask(&house.ronja, question, 10);
        // A summary goes on saying what was said in its session.
        let says =
            |receipt: &Receipt, text: &str| receipt.semantic != SemanticType::Summary && receipt.text.contains(text);
        let place = |text: &str| answer.receipts.iter().position(|receipt| says(receipt, text));
        let (now_at, before_at) = (place(now), place(before));
        assert!(now_at.is_some_and(|at| at < 3), "{question}: {now_at:?}");
        if let Some(before_at) = before_at {
            assert!(now_at < Some(before_at), "{question}: what was replaced stands first");
            assert!(
                answer.receipts[before_at].superseded_by.is_some(),
                "{question}: nothing says that it was replaced"
            );
        }
    }
}

#[test]
fn sensitive_memories_stay_with_their_owner() {
    let house = house();
    let guest = Principal::new("user:guest".parse().unwrap());
    for (question, secret) in
        [("What is the number of the house card?", "4111"), ("What is the Wi-Fi password?", "saltherring")]
    {
        let holds = |caller: &Principal| {
            house.ask(caller, question, 50).receipts.iter().any(|receipt| receipt.text.contains(secret))
        };
        assert!(holds(&house.ronja), "{question}");
        assert!(!holds(&guest), "{question}");
    }
}
