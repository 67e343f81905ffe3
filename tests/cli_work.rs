//! Tests of the real program: memory that evolves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use program::House;
use serde_json::Value;

fn deeds(work: &Value, job: &str) -> Vec<Value> {
    let jobs = work["jobs"].as_array().unwrap();
    let done = jobs.iter().find(|done| done["job"] == job).unwrap();
    done["deeds"].as_array().unwrap().clone()
}

#[test]
fn work_is_proposed_then_done_and_then_there_is_none() {
    let house = House::new();
    let said = "Please send your receipts for the boat paint to the harbour office";
    let first = house.remember(said, &["--tag", "paint"]);
    let second = house.remember("please send the receipts for your boat paint to the harbour office", &[]);
    let lisbon = house.remember("Ada lives in Lisbon", &["--layer", "global"]);
    let porto = house.remember("Ada lives in Porto", &["--layer", "global", "--as", "user:bo"]);
    let hidden = house.remember(said, &["--as", "user:bo"]);
    house.remember(said, &["--as", "user:bo"]);

    let events = || house.json(&["stats"])["spaces"][0]["ledger"]["events"].as_u64().unwrap();
    let before = events();
    let proposed = house.json(&["work", "--dry-run"]);
    assert_eq!(events(), before, "a proposal changes nothing");
    let done = house.json(&["work"]);
    for work in [&proposed, &done] {
        let merged = deeds(work, "merge");
        assert_eq!(merged.len(), 1, "{merged:?}");
        assert_eq!((&merged[0]["cube"], &merged[0]["with"]), (&second.clone().into(), &first.clone().into()));
        assert_eq!(work["jobs"][0]["counts"]["merged"], 2, "what is hidden is counted");
        assert!(!work.to_string().contains(&hidden));
        let superseded = deeds(work, "contradictions");
        assert_eq!((&superseded[0]["cube"], &superseded[0]["with"]), (&lisbon.clone().into(), &porto.clone().into()));
    }
    assert_eq!(house.json(&["show", &second])["header"]["lifecycle"]["state"], "merged");
    assert_eq!(house.done(&["work", "--quiet"]), "nothing to do\n");
    assert!(house.done(&["work", "merge", "sweep", "--dry-run"]).contains("nothing to do"));
    assert!(house.fails(&["work", "dance"], 2).contains("contradictions"));
    house.fails(&["work", "--space", "home/elsewhere"], 3);
}
