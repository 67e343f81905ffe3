//! Tests of the real program: memory inside the model that ships.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use program::House;

const QUESTION: &str = "Where does Mira live?";

#[test]
fn a_segment_is_made_used_looked_at_and_retired() {
    let house = House::new();
    let mira = house.remember("Mira lives in Oslo.", &[]);
    assert!(house.fails(&["answer", QUESTION, "--form", "song"], 2).contains("song"));
    let told = house.json(&["answer", QUESTION]);
    assert_eq!(told["text"], "Mira lives in Oslo.");
    assert!(told["tokens_read"].as_u64().unwrap() > 0);

    let none = house.run(&["segment", "list", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&none.stdout).unwrap();
    assert_eq!((none.status.code(), said), (Some(3), serde_json::json!({"forms": []})));
    let made = house.json(&["segment", "make", &mira])["forms"][0].clone();
    assert_eq!((&made["state"], &made["form"]), (&"adopted".into(), &"activation".into()));
    assert_eq!(made["scores"]["form_right"], made["scores"]["probes"]);
    let key = made["key"].as_str().unwrap();
    let injected = house.json(&["answer", QUESTION, "--form", "activation"]);
    assert_eq!((&injected["text"], &injected["tokens_read"]), (&told["text"], &0.into()));
    assert_eq!(injected["receipts"][0]["key"], key);

    assert_eq!(house.json(&["segment", "list"])["forms"].as_array().unwrap().len(), 1);
    assert_eq!(house.json(&["segment", "show", &key[..6]])["forms"][0], made);
    assert!(house.fails(&["segment", "show", key, "--curve", "curve.svg"], 2).contains("not taught"));
    assert!(house.fails(&["adapter", "show", key], 3).contains("no parametric form"));
    // A memory that rests takes its form with it, and brings it back.
    for (state, form) in [("archived", "resting"), ("activated", "adopted")] {
        house.done(&["state", &mira, state, "--reason", "a test"]);
        assert_eq!(house.json(&["segment", "show", key])["forms"][0]["state"], form);
    }
    assert_eq!(house.json(&["segment", "retire", key])["forms"][0]["state"], "withdrawn");
    assert_eq!(house.json(&["answer", QUESTION])["receipts"][0]["form"], "plaintext");
    let again = house.json(&["segment", "make", &mira])["forms"][0].clone();
    house.done(&["erase", &mira, "--reason", "a test", "--yes"]);
    assert!(house.fails(&["segment", "show", again["key"].as_str().unwrap()], 3).contains("no activation form"));
}

#[test]
fn an_adapter_that_has_not_learnt_is_kept_out_with_its_scores_and_its_curve() {
    let house = House::new();
    let mira = house.remember("Mira lives in Oslo.", &[]);
    let curve = house.path("curve.svg");
    let made = house.json(&["adapter", "make", &mira, "--steps", "2", "--curve", &curve])["forms"][0].clone();
    assert_eq!(made["state"], "refused");
    assert!(made["why"].as_str().unwrap().contains("questions rightly"), "{made}");
    assert_eq!(made["curve"].as_array().unwrap().len(), 2);
    assert!(std::fs::read_to_string(curve).unwrap().starts_with("<svg"));
    assert_eq!(house.json(&["answer", QUESTION])["receipts"][0]["form"], "plaintext");
    // What was refused stays refused until somebody asks for it again.
    assert_eq!(house.json(&["adapter", "make", &mira])["forms"][0]["at"], made["at"]);
}

#[test]
fn what_is_no_model_is_refused_by_name() {
    let house = House::new();
    house.remember("Mira lives in Oslo.", &[]);
    assert!(house.done(&["model"]).starts_with("memos-small\n"));
    assert_eq!(house.json(&["model"])["layers"], 4);
    let file = house.path("cut.gguf");
    std::fs::write(&file, b"GGUF").unwrap();
    for arguments in [&["model", "--model", &file][..], &["answer", QUESTION, "--model", &file]] {
        assert!(house.fails(arguments, 2).contains("cut.gguf"));
    }
    assert!(house.fails(&["model", "--model", "nowhere"], 3).contains("nowhere"));
}
