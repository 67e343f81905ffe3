//! Tests of the real program: what was known when, how it changed, and the ways back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use serde_json::Value;

use program::House;

/// A house with a memory of three versions: private, then global, then granted to Bo.
fn with_versions() -> (House, String) {
    let house = House::new();
    let soup = house.remember("The soup needs salt", &["--tag", "kitchen"]);
    house.done(&["share", &soup, "--layer", "global"]);
    house.done(&["share", &soup, "--grant", "user:bo:rw"]);
    (house, soup)
}

fn events(house: &House) -> u64 {
    house.json(&["stats"])["spaces"][0]["ledger"]["events"].as_u64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn a_question_is_answered_with_what_was_known_then() {
    let house = House::with_talk();
    let ask = |arguments: &[&str]| {
        let all = [&["recall", "Where does Ada live?", "--as", "user:ada", "--type", "fact"], arguments].concat();
        let receipts = list(&house.json(&all)["receipts"]).to_vec();
        receipts.iter().map(|receipt| receipt["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = events(&house);
    let point = format!("#{before}");
    house.done(&["remember", "Ada lives in a lighthouse", "--as", "user:ada", "--speaker", "Ada"]);
    assert!(ask(&[]).iter().any(|text| text.contains("lighthouse")));
    assert!(ask(&["--as-of", &point]).iter().all(|text| !text.contains("lighthouse")));
    assert!(ask(&["--as-of", "2100-01-01"]).iter().any(|text| text.contains("lighthouse")));
    assert!(ask(&["--true-at", "2024-03-10"]).iter().all(|text| !text.contains("Porto")));

    let now = events(&house);
    ask(&["--as-of", &point]);
    assert_eq!(events(&house), now, "who looks back leaves no trace");
    for point in ["#0", "#999", "1999-01-01"] {
        house.fails(&["recall", "q", "--as", "user:ada", "--as-of", point], 3);
    }
    assert!(house.fails(&["recall", "q", "--as-of", "#x"], 2).contains("#1200"));
}

#[test]
fn a_memory_is_shown_as_it_was() {
    let (house, soup) = with_versions();
    let history = house.json(&["history", &soup]);
    let versions = list(&history["versions"]);
    assert_eq!(versions.len(), 3);
    let layers: Vec<&str> = versions
        .iter()
        .map(|version| {
            let point = format!("#{}", version["event"].as_u64().unwrap() + 1);
            let shown = house.json(&["show", &soup, "--as-of", &point]);
            assert_eq!(shown["header"]["version"], version["header"]["version"]);
            assert_eq!(shown["header"]["governance"], version["header"]["governance"]);
            if shown["header"]["governance"]["layer"] == "global" { "global" } else { "private" }
        })
        .collect();
    assert_eq!(layers, ["private", "global", "global"]);
    assert!(house.fails(&["show", &soup, "--as-of", "#1"], 3).contains("no cube"));
    assert!(house.fails(&["show", &soup, "--as-of", "#77"], 3).contains("no point"));
}

#[test]
fn versions_are_compared_word_by_word_and_field_by_field() {
    let (house, soup) = with_versions();
    let diff = house.json(&["diff", &soup]);
    assert_eq!((&diff["from"], &diff["to"]), (&2.into(), &3.into()));
    assert_eq!(diff["text"], serde_json::json!([{"change": "same", "text": "The soup needs salt"}]));
    assert_eq!(diff["fields"], serde_json::json!([{"field": "grants", "before": "", "after": "user:bo:rw"}]));
    let diff = house.json(&["diff", &soup, "--from", "3", "--to", "1"]);
    let fields: Vec<&str> = list(&diff["fields"]).iter().map(|field| field["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["layer", "grants"]);
    assert!(house.done(&["diff", &soup, "--from", "1"]).contains("global"));
    assert!(house.fails(&["diff", &soup, "--to", "7"], 3).contains("1, 2, 3"));
    assert!(house.fails(&["diff", &soup, "--to", "1"], 2).contains("none before"));
}

#[test]
fn what_changed_between_two_points_is_listed() {
    let (house, soup) = with_versions();
    let before = format!("#{}", events(&house));
    let salt = house.remember("Salt is in the left cupboard", &[]);
    house.done(&["link", &soup, "about", &salt]);
    house.done(&["state", &soup, "archived", "--reason", "winter"]);
    let compared = house.json(&["compare", "--as-of", &before]);
    assert_eq!(compared["added"], serde_json::json!([{"cube": salt, "text": "Salt is in the left cupboard"}]));
    assert_eq!(
        (&compared["moved"][0]["cube"], &compared["moved"][0]["after"]),
        (&soup.as_str().into(), &"archived".into())
    );
    assert_eq!(compared["linked"], serde_json::json!([{"from": soup, "kind": "about", "to": salt}]));
    assert_eq!((list(&compared["changed"]).len(), list(&compared["removed"]).len()), (0, 0));
    let text = house.done(&["compare", "--as-of", &before]);
    assert!(text.contains("generated → archived") && text.contains("1 added, 1 moved, 1 linked"), "{text}");

    let same = house.json(&["compare", "--as-of", &before, "--to", &before]);
    assert!(list(&same["added"]).is_empty() && list(&same["moved"]).is_empty());
    assert!(house.done(&["compare", "--as-of", &before, "--to", &before]).contains("no difference"));
    assert!(house.fails(&["compare"], 2).contains("--as-of"));
    house.fails(&["compare", "--with", "home/nowhere"], 3);
    let nothing = house.json(&["compare", "--as-of", &before, "--as", "user:eve"]);
    assert!(list(&nothing["added"]).is_empty(), "what may not be read is in no list");
}

#[test]
fn a_memory_and_a_space_are_brought_back() {
    let (house, soup) = with_versions();
    let before = format!("#{}", events(&house));
    let salt = house.remember("Salt is in the left cupboard", &[]);
    house.done(&["state", &soup, "archived", "--reason", "winter"]);
    let restored = house.json(&["restore", "--all", "--to", &before, "--reason", "a mistake"]);
    assert!(restored["events"].as_u64().unwrap() >= 2, "{restored}");
    assert_eq!(house.json(&["show", &soup])["header"]["lifecycle"]["state"], "activated");
    assert_eq!(house.json(&["show", &salt])["header"]["lifecycle"]["state"], "archived");
    assert!(house.done(&["history", &soup]).contains("a mistake"));
    assert_eq!(house.json(&["restore", "--all", "--to", &before, "--reason", "again"])["events"], 0);

    let restored = house.json(&["restore", &soup, "--version", "1"]);
    assert_eq!((&restored["restored"], &restored["version"]), (&1.into(), &4.into()));
    assert_eq!(house.json(&["show", &soup])["header"]["governance"]["layer"], "global", "rights stay as they are");
    assert!(house.fails(&["restore", &soup, "--version", "9"], 3).contains("no version 9"));
    house.fails(&["restore", "--all", "--to", "#999", "--reason", "x"], 3);
    house.fails(&["restore", &soup, "--version", "2", "--as", "user:eve"], 1);
}

#[test]
fn a_fork_goes_its_own_way_and_comes_back() {
    let (house, soup) = with_versions();
    let forked = house.json(&["fork", "home/try"]);
    assert_eq!(
        (&forked["space"], &forked["origin"], &forked["at"]),
        (&"home/try".into(), &"home/main".into(), &Value::Null)
    );
    let idea = house.remember("Try coriander", &["--space", "home/try"]);
    house.done(&["state", &soup, "archived", "--reason", "what if", "--space", "home/try"]);
    house.fails(&["show", &idea], 3);
    let compared = house.json(&["compare", "--with", "home/try"]);
    assert_eq!((list(&compared["added"]).len(), list(&compared["moved"]).len()), (1, 1));

    let merged = house.json(&["merge", "home/try"]);
    assert_eq!((&merged["added"], &merged["moved"]), (&serde_json::json!([idea]), &serde_json::json!([soup])));
    assert_eq!(house.json(&["show", &idea])["header"]["origin"]["source"]["space"], "home/try");
    assert!(house.done(&["merge", "home/try"]).contains("nothing to merge"));

    assert!(house.fails(&["fork", "home/try"], 1).contains("already"));
    assert!(house.fails(&["merge", "home/main"], 2).contains("not forked"));
    house.fails(&["merge", "home/nowhere"], 3);
    house.fails(&["fork", "home/old", "--at", "#999"], 3);
    let old = house.json(&["fork", "home/old", "--at", "#1"]);
    assert_eq!(old["at"], serde_json::json!({"events": 1}));
    assert_eq!(house.json(&["stats", "--space", "home/old"])["spaces"][0]["cubes"], 0);
}

#[test]
fn a_memory_goes_through_its_life() {
    let (house, soup) = with_versions();
    let moved = house.json(&["state", &soup, "frozen", "--reason", "evidence"]);
    assert_eq!((&moved["before"], &moved["state"]), (&"generated".into(), &"frozen".into()));
    assert!(house.fails(&["state", &soup, "activated", "--reason", "x"], 2).contains("unfreeze"));
    house.fails(&["share", &soup, "--layer", "private"], 2);
    assert_eq!(house.json(&["unfreeze", &soup, "--reason", "closed"])["state"], "activated");
    assert!(house.fails(&["unfreeze", &soup, "--reason", "x"], 2).contains("nothing to unfreeze"));
    house.fails(&["state", &soup, "merged", "--reason", "x"], 2);
    house.fails(&["state", &soup, "archived", "--reason", "x", "--as", "user:eve"], 1);
    let states: Vec<Value> =
        list(&house.json(&["history", &soup])["states"]).iter().map(|state| state["reason"].clone()).collect();
    assert_eq!(states, ["", "evidence", "closed"]);
}

#[test]
fn a_hold_keeps_and_a_sweep_takes_what_is_due() {
    let house = House::new();
    let note = house.remember("The plumber comes on Tuesday", &[]);
    let kept = house.remember("The plumber was paid", &[]);
    for id in [&note, &kept] {
        assert_eq!(house.json(&["keep", id, "--for", "0m"])["changed"], true);
    }
    assert_eq!(house.json(&["keep", &note, "--for", "0m"])["changed"], false);
    assert_eq!(house.json(&["hold", &kept])["governance"]["legal_hold"], true);
    let before = events(&house);
    let dry = house.json(&["sweep", "--dry-run"]);
    let of = |report: &Value| -> Vec<(String, String)> {
        let mut due: Vec<_> = list(&report["due"])
            .iter()
            .map(|due| (due["text"].as_str().unwrap().to_owned(), due["transition"].as_str().unwrap().to_owned()))
            .collect();
        due.sort();
        due
    };
    let expect = [("The plumber comes on Tuesday", "expire"), ("The plumber was paid", "archive")];
    assert_eq!(of(&dry), expect.map(|(text, what)| (text.to_owned(), what.to_owned())));
    assert_eq!(events(&house), before, "a dry run writes nothing");
    assert_eq!(of(&house.json(&["sweep"])), of(&dry));
    assert!(house.done(&["sweep"]).contains("nothing is due"));
    let gone = house.json(&["sweep", "--erase-expired", "--erase-after", "0m"]);
    assert_eq!(gone["due"][0]["transition"], "erase");
    assert!(house.files_with("plumber comes").is_empty());
    house.fails(&["sweep", "--archive-below", "7"], 2);

    assert!(house.fails(&["erase", &kept, "--reason", "x", "--yes"], 1).contains("hold"));
    assert!(house.fails(&["hold", &kept, "--release"], 1).contains("custodian"));
    house.done(&["hold", &kept, "--release", "--role", "custodian"]);
    house.done(&["erase", &kept, "--reason", "x", "--yes"]);
}

#[test]
fn rights_are_given_and_taken_away() {
    let house = House::new();
    let note = house.remember("The cellar key is under the pot", &[]);
    let seen_by = |who: &str| house.run(&["show", &note, "--as", who]).status.success();
    assert!(!seen_by("user:bo"));
    house.done(&["share", &note, "--grant", "user:bo:r", "--grant", "group:cellar:rw"]);
    assert!(seen_by("user:bo") && !seen_by("user:eve"));
    assert!(house.run(&["show", &note, "--as", "user:eve", "--group", "cellar"]).status.success());
    let shared = house.json(&["share", &note, "--no-grants"]);
    assert_eq!(shared["governance"]["grants"], Value::Array(Vec::new()));
    assert!(!seen_by("user:bo"));
    house.done(&["share", &note, "--layer", "global"]);
    assert!(seen_by("user:eve"));
    house.fails(&["share", &note, "--layer", "private", "--as", "user:eve"], 1);
}
