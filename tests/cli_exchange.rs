//! Tests of the real program: memory that moves as a file, and texts that say who exported them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::fs;

use serde_json::{Value, json};

use program::House;

const CARD: &str = "The card for the house is 4111 1111 1111 1111, and it is kept in the drawer of the kitchen table.";

/// What Mem0 gives for `get_all`.
const MEM0: &str = r#"{"results": [{"id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e", "memory": "Bo sails on Sundays",
  "hash": "x", "created_at": "2024-05-07T10:00:00-07:00", "user_id": "bo"}]}"#;

#[test]
fn a_bundle_is_taken_in_once() {
    let house = House::with_talk();
    let exported = house.json(&["export", "ada.mip", "--as", "user:ada"]);
    assert!(exported["cubes"].as_u64().unwrap() >= 5, "{exported}");
    let key = house.json(&["head"])["key"].clone();
    assert_eq!(exported["signer"], key, "the key of a space's heads is that of its bundles");

    let into = ["--space", "home/copy", "--as", "user:bo"];
    let import = |more: &[&str]| house.json(&[&["import", "ada.mip"], &into[..], more].concat());
    let first = import(&["--signed-by", key.as_str().unwrap()]);
    assert_eq!(
        (&first["new"], &first["from"], &first["signer_known"]),
        (&exported["cubes"], &json!("mip"), &json!(true))
    );
    assert_eq!(first["origin"]["exported_by"], "user:ada");
    let stats = || house.json(&["stats", "--space", "home/copy", "--as", "user:bo"])["spaces"][0].clone();
    let before = stats();
    assert_eq!(before["cubes"], exported["cubes"]);
    let again = import(&[]);
    assert_eq!((&again["new"], &again["unchanged"]), (&json!(0), &exported["cubes"]));
    assert_eq!(import(&["--dry-run"])["dry_run"], true);
    assert_eq!(stats()["ledger"], before["ledger"], "nothing was written twice");
    let found = house.json(&["recall", "What is Bo allergic to?", "--space", "home/copy", "--as", "user:bo"]);
    assert!(found["receipts"][0]["text"].as_str().unwrap().contains("peanuts"));
    assert!(house.done(&[&["import", "ada.mip"], &into[..]].concat()).contains("the same here"));
}

#[test]
fn a_dry_run_says_what_would_come() {
    let house = House::with_talk();
    let exported = house.json(&["export", "ada.mip", "--as", "user:ada"]);
    house.remember("Something else", &["--space", "home/copy"]);
    let stats = || house.json(&["stats", "--space", "home/copy"])["spaces"][0]["ledger"].clone();
    let before = stats();
    let dry = house.json(&["import", "ada.mip", "--space", "home/copy", "--dry-run"]);
    assert_eq!((&dry["new"], &dry["dry_run"]), (&exported["cubes"], &json!(true)));
    assert_eq!(stats(), before);
}

#[test]
fn a_part_is_exported_and_what_is_sensitive_is_not_given_away() {
    let house = House::new();
    let card = house.remember(CARD, &["--layer", "global", "--tag", "money"]);
    house.remember("The cellar is dry", &["--tag", "house"]);
    let cubes = |arguments: &[&str]| house.json(&[&["export", "part.mip"], arguments].concat())["cubes"].clone();
    assert_eq!(cubes(&["--tag", "money"]), 1);
    assert_eq!(cubes(&["--tag", "money", "--tag", "house"]), 2);
    assert_eq!(cubes(&["--type", "event"]), 0);
    assert_eq!(cubes(&["--id", &card[24..]]), 1);
    let text = |file: &str| String::from_utf8_lossy(&fs::read(house.path(file)).unwrap()).into_owned();
    assert!(text("part.mip").contains("4111"));
    let redacted = house.json(&["export", "bo.mip", "--as", "user:bo"]);
    assert_eq!((&redacted["cubes"], &redacted["redacted"]), (&json!(1), &json!(1)));
    assert!(!text("bo.mip").contains("4111") && text("bo.mip").contains("[card number]"));
    let without = house.json(&["export", "bo.mip", "--as", "user:bo", "--leave-out-sensitive"]);
    assert_eq!((&without["cubes"], &without["left_out"]), (&json!(0), &json!({"it is sensitive": 1})));
    house.fails(&["export", "x.mip", "--id", "ffffffff"], 3);
    house.fails(&["export", "nowhere/x.mip"], 1);
    assert!(!fs::exists(house.path("x.mip")).unwrap());
}

#[test]
fn who_leaked_a_text_is_found() {
    let house = House::new();
    house.remember(CARD, &["--layer", "global"]);
    for (who, file) in [("user:tester", "own.mip"), ("user:bo", "bo.mip")] {
        let exported = house.json(&["export", file, "--watermark", "--as", who]);
        assert_eq!(exported["watermark"], who);
    }
    let bundle = String::from_utf8_lossy(&fs::read(house.path("bo.mip")).unwrap()).into_owned();
    let excerpt: String = bundle.lines().find(|line| line.contains("[card number]")).unwrap().to_owned();
    fs::write(house.path("leak.txt"), excerpt).unwrap();
    let marks = |more: &[&str]| house.json(&[&["watermark", "leak.txt"], more].concat())["marks"].clone();
    assert_eq!(marks(&[])[0]["sharer"], Value::Null, "of those who were asked for, nobody did");
    assert_eq!(marks(&["--who", "user:bo"])[0]["sharer"], "user:bo");
    assert!(house.done(&["watermark", "leak.txt", "--as", "user:bo"]).contains("user:bo exported it"));
    fs::write(house.path("plain.txt"), CARD).unwrap();
    assert_eq!(house.run(&["watermark", "plain.txt"]).status.code(), Some(3));
    house.fails(&["watermark", "missing.txt"], 2);
}

#[test]
fn what_other_systems_export_is_read() {
    let house = House::new();
    fs::write(house.path("mem0.json"), MEM0).unwrap();
    for more in [&[][..], &["--from", "mem0"]] {
        let imported = house.json(&[&["import", "mem0.json"], more].concat());
        assert_eq!((&imported["from"], &imported["signer"]), (&json!("mem0"), &Value::Null));
        assert_eq!(imported["new"], u64::from(more.is_empty()));
    }
    assert!(house.done(&["recall", "When does Bo sail?"]).contains("Sundays"));
}

#[test]
fn what_is_no_bundle_is_refused_and_makes_nothing() {
    let house = House::new();
    let source = House::with_talk();
    source.done(&["export", "ada.mip", "--as", "user:ada"]);
    let bundle = fs::read(source.path("ada.mip")).unwrap();
    fs::write(house.path("whole.mip"), &bundle).unwrap();
    fs::write(house.path("short.mip"), &bundle[..bundle.len() / 2]).unwrap();
    fs::write(house.path("tiny.mip"), &bundle[..100]).unwrap();
    let peanuts = bundle.windows(7).position(|bytes| bytes == b"peanuts").unwrap();
    let mut changed = bundle.clone();
    changed[peanuts] = b'P';
    fs::write(house.path("changed.mip"), changed).unwrap();
    fs::write(house.path("list.json"), "[1, 2]").unwrap();
    let nobody = "0".repeat(64);
    for arguments in [
        &["import", "missing.mip"][..],
        &["import", "short.mip"],
        &["import", "tiny.mip"],
        &["import", "changed.mip"],
        &["import", "list.json"],
        &["import", "whole.mip", "--from", "mem0"],
        &["import", "list.json", "--from", "mip"],
        &["import", "whole.mip", "--from", "chroma"],
        &["import", "whole.mip", "--on-conflict", "fight"],
        &["import", "whole.mip", "--signed-by", &nobody],
        &["import", "whole.mip", "--signed-by", "x"],
        &["import", "list.json", "--signed-by", &nobody],
    ] {
        let said = house.fails(arguments, 2);
        assert!(said.contains("error: "), "{arguments:?}: {said}");
        assert!(!fs::exists(house.data()).unwrap(), "{arguments:?} made a data folder");
    }
    house.fails(&["import", "whole.mip", "--dry-run"], 3);
    house.fails(&["export", "x.mip"], 3);
}

/// A house with what Mem0 said, and the memory that it became.
fn with_sailing() -> (House, String) {
    let house = House::new();
    says(&house, "Bo sails on Sundays", "home/main");
    let found = house.json(&["recall", "When does Bo sail?"]);
    let id = found["receipts"][0]["cube"].as_str().unwrap().to_owned();
    (house, id)
}

/// Takes in that Mem0 says something else by now.
fn says(house: &House, text: &str, space: &str) -> Value {
    fs::write(house.path("mem0.json"), MEM0.replace("Bo sails on Sundays", text)).unwrap();
    house.json(&["import", "mem0.json", "--space", space])
}

#[test]
fn a_memory_that_says_something_else_is_compared_and_brought_back() {
    let (house, id) = with_sailing();
    let before = format!("#{}", house.json(&["stats"])["spaces"][0]["ledger"]["events"]);
    let imported = says(&house, "Bo sails on Mondays", "home/main");
    assert_eq!((&imported["new"], &imported["updated"]), (&json!(0), &json!(1)), "{imported}");
    let diff = house.json(&["diff", &id]);
    let part = |change: &str, text: &str| json!({"change": change, "text": text});
    let parts = [part("same", "Bo sails on "), part("removed", "Sundays"), part("added", "Mondays")];
    assert_eq!(diff["text"], Value::Array(parts.to_vec()));
    assert!(house.done(&["diff", &id]).contains("Bo sails on [-Sundays-]{+Mondays+}"));
    assert_eq!(house.json(&["show", &id, "--as-of", &before])["text"], "Bo sails on Sundays");
    let changed = house.json(&["compare", "--as-of", &before])["changed"][0].clone();
    assert_eq!(
        (&changed["text_before"], &changed["text_after"]),
        (&json!("Bo sails on Sundays"), &json!("Bo sails on Mondays"))
    );
    assert_eq!(house.json(&["restore", &id, "--version", "1"])["version"], 3);
    assert_eq!(house.json(&["show", &id])["text"], "Bo sails on Sundays");
}

#[test]
fn what_a_fork_and_its_origin_both_changed_needs_a_rule() {
    for (rule, expect) in [("keep-origin", "Bo sails on Mondays"), ("take-fork", "Bo sails on Fridays")] {
        let (house, id) = with_sailing();
        house.done(&["fork", "home/try"]);
        says(&house, "Bo sails on Mondays", "home/main");
        says(&house, "Bo sails on Fridays", "home/try");
        let refused = house.fails(&["merge", "home/try"], 1);
        assert!(refused.contains("--on-conflict take-fork") && refused.contains(&id), "{refused}");
        assert_eq!(house.json(&["show", &id])["text"], "Bo sails on Mondays");
        let merged = house.json(&["merge", "home/try", "--on-conflict", rule]);
        assert_eq!(merged["conflicts"], json!([id]));
        assert_eq!(house.json(&["show", &id])["text"], expect);
    }
}
