//! Tests of the real program, as a shell sees it: arguments in; output, errors, exit codes and files out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use program::{House, TALK};

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    let house = House::new();
    let help = house.done(&["--help"]);
    for part in [
        "demo",
        "ingest",
        "remember",
        "recall",
        "show",
        "history",
        "link",
        "graph",
        "spaces",
        "stats",
        "reembed",
        "diff",
        "compare",
        "restore",
        "fork",
        "merge",
        "state",
        "unfreeze",
        "hold",
        "share",
        "keep",
        "sweep",
        "erase",
        "verify",
        "head",
        "prove",
        "check-proof",
        "export",
        "import",
        "watermark",
        "keys",
        "MEMOS_KEY_FILE",
        "Exit codes",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(house.done(&["help", "recall"]).contains("--explain"));
    assert!(house.done(&["--version"]).starts_with("memos "));
    assert!(!Path::new(&house.data()).exists());
}

#[test]
fn wrong_usage_and_bad_input_exit_with_two_and_change_nothing() {
    let house = House::new();
    fs::write(house.path("talk.txt"), TALK).unwrap();
    fs::write(house.path("noise.txt"), [0x4d, 0x5a, 0x00, 0xff, 0xfe, 0x00, 0x00]).unwrap();
    fs::write(house.path("shape.json"), r#"{"what": "is this"}"#).unwrap();
    fs::create_dir(house.path("empty")).unwrap();
    let long = "x".repeat(5000);
    let cases: &[&[&str]] = &[
        &[],
        &["remind"],
        &["recall"],
        &["recall", "q", "--fast"],
        &["recall", "q", "--type", "rumour"],
        &["recall", "q", "--since", "next moon"],
        &["recall", "q", "--memories", "0"],
        &["recall", "q", "--since", "2024-05-02", "--until", "2024-05-01"],
        &["remember", "   "],
        &["remember", "text", "--layer", "everyone"],
        &["remember", "text", "--space", "Home"],
        &["remember", "text", "--space", "a/b", "--space", "a/c"],
        &["remember", "text", "--as", "robot:x"],
        &["remember", "text", "--title", &long],
        &["ingest"],
        &["ingest", "missing.txt"],
        &["ingest", "talk.txt", "missing.txt"],
        &["ingest", "talk.txt", "noise.txt"],
        &["ingest", "talk.txt", "shape.json"],
        &["ingest", "talk.txt", "--format", "pdf"],
        &["ingest", "talk.txt", "--task", &long],
        &["ingest", "empty"],
        &["ingest", "-"],
        &["graph", "0198", "--out", "picture.png"],
        &["graph", "0198", "--hops", "0"],
        &["link", "0198", "likes", "0199"],
        &["completions", "cmd"],
        &["recall", "q", "--as-of", "last year"],
        &["recall", "q", "--true-at", "#3"],
        &["compare"],
        &["compare", "--to", "#3"],
        &["compare", "--as-of", "#1", "--to", "#2", "--with", "a/b"],
        &["restore"],
        &["restore", "0198"],
        &["restore", "0198", "--version", "1", "--all"],
        &["restore", "--all", "--to", "#3"],
        &["fork", "Home"],
        &["merge", "home/try", "--on-conflict", "both"],
        &["state", "0198", "erased", "--reason", "x"],
        &["state", "0198", "archived"],
        &["unfreeze", "0198"],
        &["share", "0198"],
        &["share", "0198", "--grant", "bo:r"],
        &["share", "0198", "--grant", "user:bo:x"],
        &["keep", "0198"],
        &["keep", "0198", "--for", "soon"],
        &["keep", "0198", "--for", "1d", "--forever"],
        &["sweep", "--erase-after", "3d"],
        &["erase"],
        &["erase", "0198"],
        &["erase", "0198", "--subject", "Bo", "--reason", "x"],
        &["prove", "0198"],
        &["check-proof", "missing.json"],
        &["check-proof", "talk.txt"],
        &["check-proof", "talk.txt", "--key", "abc"],
        &["keys", "rotate"],
        &["keys", "rotate", "--new-key-file", "missing.key"],
        &["remember", "text", "--key-file", "missing.key"],
        &["remember", "text", "--key-file", "talk.txt"],
    ];
    for arguments in cases {
        let said = house.fails(arguments, 2);
        assert!(said.contains("error: ") || arguments.is_empty(), "{arguments:?}: {said}");
        assert!(!Path::new(&house.data()).exists(), "{arguments:?} made a data folder");
    }
    let house = House::with_talk();
    let stats = || house.json(&["stats", "--as", "user:ada"]);
    let before = stats();
    for arguments in [&["show", "zz"][..], &["show", "ab"], &["recall", " "], &["ingest", "talk.txt", "missing.txt"]] {
        house.fails(&[arguments, &["--as", "user:ada"]].concat(), 2);
    }
    assert_eq!(stats()["spaces"][0]["ledger"], before["spaces"][0]["ledger"]);
}

#[test]
fn what_is_not_there_is_not_made() {
    let house = House::new();
    for arguments in
        [&["recall", "q"][..], &["spaces"], &["stats"], &["show", "0198c0de"], &["reembed"], &["graph", "0198"]]
    {
        let said = house.fails(arguments, 3);
        assert!(said.contains("there is no memory in") && said.contains("hint: "), "{said}");
        assert!(!Path::new(&house.data()).exists(), "{arguments:?}");
    }
    let house = House::with_talk();
    for command in [&["recall", "q"][..], &["stats"], &["history", "0198c0de"], &["reembed"]] {
        let said = house.fails(&[command, &["--space", "home/attic"]].concat(), 3);
        assert!(said.contains("`home/attic`") && said.contains("`home/main`"), "{said}");
    }
    assert!(house.fails(&["show", "ffffffff", "--as", "user:ada"], 3).contains("`ffffffff`"));
    assert!(!Path::new(&house.data()).join("home/attic").exists());
}

#[test]
fn what_is_read_can_be_recalled_by_whom_the_rules_let() {
    let house = House::with_talk();
    let again = house.json(&["ingest", "talk.txt", "--as", "user:ada"]);
    assert_eq!((&again["total"]["turns"], &again["total"]["skipped"]), (&0.into(), &5.into()), "{again}");

    let receipts = house.recall("What is Bo allergic to?");
    let first = &receipts[0];
    assert!(first["text"].as_str().unwrap().contains("peanuts"), "{first}");
    assert_eq!(first["space"], "home/main");
    assert!(first["score"].as_f64().unwrap() > 0.0 && !first["features"].as_array().unwrap().is_empty());
    assert_eq!(first["decision"]["access"], "full");

    let output = house.run(&["recall", "What is Bo allergic to?", "--as", "user:eve", "--json"]);
    assert_eq!(output.status.code(), Some(3), "what is private is found by nobody else");
    let nothing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&nothing["receipts"], &nothing["considered"]), (&Value::Array(Vec::new()), &0.into()));

    let text = house.done(&["recall", "What is Bo allergic to?", "--as", "user:ada", "--explain"]);
    for part in ["peanuts", "2 Mar 2024", "lexical", "allowed", "embed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours where nobody is at a terminal");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let quiet = house.done(&["recall", "What is Bo allergic to?", "--as", "user:ada", "-q", "--memories", "1"]);
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
}

#[test]
fn filters_and_several_spaces_narrow_and_widen_an_answer() {
    let house = House::with_talk();
    house.done(&[
        "remember",
        "The spare key is with Bo",
        "--space",
        "home/keys",
        "--as",
        "user:ada",
        "--tag",
        "topic:keys",
    ]);
    let ask = |arguments: &[&str]| {
        let mut all = vec!["recall", "Where is the key?", "--as", "user:ada"];
        all.extend(arguments);
        house.json(&all)["receipts"].as_array().unwrap().clone()
    };
    let spaces = |receipts: &[Value]| {
        receipts.iter().map(|receipt| receipt["space"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let both = spaces(&ask(&["--space", "home/main", "--space", "home/keys"]));
    assert!(both.contains(&"home/main".to_owned()) && both.contains(&"home/keys".to_owned()), "{both:?}");
    assert_eq!(ask(&["--space", "home/keys", "--topic", "keys"]).len(), 1);
    assert!(
        ask(&["--type", "message", "--until", "2024-04-01"]).iter().all(|receipt| receipt["semantic"] == "message")
    );
    assert_eq!(ask(&["--memories", "2"]).len(), 2);
}

#[test]
fn standard_input_is_read_when_its_format_is_given() {
    let house = House::new();
    let mut child = house
        .command(&["ingest", "-", "--format", "transcript", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(TALK.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["total"]["turns"], &report["files"][0]["format"]), (&5.into(), &"transcript".into()));
}

#[test]
fn a_memory_is_shown_linked_drawn_and_has_a_history() {
    let house = House::new();
    let remember =
        |text: &str| house.json(&["remember", text, "--tag", "kitchen"])["cube"].as_str().unwrap().to_owned();
    let (soup, salt) = (remember("The soup needs salt"), remember("Salt is in the left cupboard"));
    let end = &soup[24..];

    let shown = house.json(&["show", end]);
    assert_eq!((&shown["text"], &shown["header"]["id"]), (&"The soup needs salt".into(), &soup.as_str().into()));
    assert_eq!(shown["header"]["tags"][0], "kitchen");
    assert_eq!(house.json(&["show", &soup])["digest"], shown["digest"]);
    assert!(house.done(&["show", end]).contains("private, owned by user:tester"));

    let linked = house.json(&["link", end, "about", &salt]);
    assert_eq!((&linked["changed"], &linked["linked"]), (&true.into(), &true.into()));
    assert_eq!(house.json(&["link", end, "about", &salt])["changed"], false);
    house.fails(&["link", end, "about", end], 2);
    let links = house.json(&["show", &salt])["links"].clone();
    assert_eq!(
        (&links[0]["kind"], &links[0]["direction"], &links[0]["cube"]),
        (&"about".into(), &"backward".into(), &soup.as_str().into())
    );

    let graph = house.json(&["graph", end, "--out", "soup.svg"]);
    assert_eq!((graph["cubes"].as_array().unwrap().len(), graph["links"].as_array().unwrap().len()), (2, 1));
    let svg = fs::read_to_string(house.path("soup.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("left cupboard"));
    house.done(&["graph", end, "--out", "soup.html"]);
    assert!(fs::read_to_string(house.path("soup.html")).unwrap().starts_with("<!doctype html>"));
    assert!(house.done(&["graph", end]).contains("→ about  Salt is in the left cupboard"));

    assert_eq!(house.json(&["link", end, "about", &salt, "--remove"])["changed"], true);
    assert_eq!(house.json(&["show", &salt])["links"], Value::Array(Vec::new()));

    house.done(&["link", &salt, "supersedes", &soup]);
    let history = house.json(&["history", end]);
    assert_eq!(history["versions"].as_array().unwrap().len(), 1);
    let places: Vec<&str> =
        history["chain"].as_array().unwrap().iter().map(|statement| statement["place"].as_str().unwrap()).collect();
    assert_eq!(places, ["this", "replaces"]);
    assert!(house.done(&["history", end]).contains("replaced"));
}

#[test]
fn several_memories_with_one_beginning_are_told_apart() {
    let house = House::with_talk();
    let ids: Vec<String> = house
        .recall("Lisbon Porto peanuts key sailing")
        .iter()
        .map(|receipt| receipt["cube"].as_str().unwrap().to_owned())
        .collect();
    // Ids that were made in the same quarter of a minute have their first digits in common.
    let said = house.fails(&["show", &ids[0][..6], "--as", "user:ada"], 2);
    assert!(said.contains("fits several memories"), "{said}");
    assert_eq!(house.json(&["show", &ids[0][28..], "--as", "user:ada"])["header"]["id"], ids[0].as_str());
}

#[test]
fn a_later_fact_replaces_an_earlier_one() {
    let house = House::with_talk();
    let receipts = house.recall("Where does Ada live?");
    let old = receipts.iter().find(|receipt| receipt["text"].as_str().unwrap().contains("Lisbon")).unwrap();
    let new = old["superseded_by"].as_str().unwrap();
    let history = house.json(&["history", new, "--as", "user:ada"]);
    let chain = history["chain"].as_array().unwrap();
    assert_eq!(chain.len(), 2, "{history}");
    assert!(chain[1]["text"].as_str().unwrap().contains("Porto"), "{history}");
}

#[test]
fn errors_are_one_object_for_programs() {
    let house = House::with_talk();
    for (arguments, code, kind) in [
        (&["recall", "q", "--space", "home/attic", "--json"][..], 3, "not_found"),
        (&["ingest", "missing.txt", "--json"], 2, "invalid"),
        (&["recall", "q", "--type", "rumour", "--json"], 2, "invalid"),
        (&["--json"], 2, "invalid"),
    ] {
        let said = house.fails(arguments, code);
        assert_eq!(said.lines().count(), 1, "{said}");
        let error = &serde_json::from_str::<Value>(&said).unwrap()["error"];
        assert_eq!((&error["kind"], &error["retryable"]), (&kind.into(), &false.into()), "{said}");
        assert!(!error["message"].as_str().unwrap().is_empty() && error.get("hint").is_some());
    }
}

#[test]
fn spaces_are_listed_counted_and_embedded_again() {
    let house = House::with_talk();
    let listed = house.json(&["spaces", "--as", "user:ada"]);
    assert_eq!(listed["spaces"][0]["name"], "home/main");
    let cubes = house.json(&["stats", "--as", "user:ada"])["spaces"][0]["cubes"].as_u64().unwrap();
    assert!(cubes >= 5);
    assert_eq!(house.json(&["stats"])["spaces"][0]["cubes"], 0, "counts hold what the caller may read");
    assert!(house.json(&["reembed"])["vectors"].as_u64().unwrap() >= cubes);
    assert!(house.recall("What is Bo allergic to?")[0]["text"].as_str().unwrap().contains("peanuts"));
}

#[test]
fn a_folder_that_is_no_encoder_is_refused_before_anything_is_written() {
    let house = House::with_talk();
    for command in [&["reembed"][..], &["remember", "a fact"], &["bench", "embed", "--texts", "1"]] {
        let said = house.fails(&[command, &["--encoder", &house.path("")]].concat(), 2);
        assert!(said.contains("`--encoder`: there is no `config.json`") && !said.contains("hint: "), "{said}");
    }
    let made = house.json(&["bench", "embed", "--texts", "10"]);
    assert!(made["embedder"].as_str().unwrap().starts_with("builtin") && made["dimensions"] == 256, "{made}");
}

#[test]
fn completions_know_the_commands() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = house.done(&["completions", shell]);
        assert!(script.contains("recall") && script.contains("ingest"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let house = House::with_talk();
    let mut child =
        house.command(&["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demonstration_tells_its_story() {
    let house = House::new();
    let story = house.done(&["demo"]);
    for part in [
        "harbour_house.txt",
        "red rucksack",
        "Halima lives in Helsinki",
        "Halima lives in Norrhamn",
        "folding chair",
        "user:guest",
        "memos-demo.html",
    ] {
        assert!(story.contains(part), "{part}");
    }
    assert!(!Path::new(&house.data()).exists(), "the demonstration leaves the data folder alone");
    let page = fs::read_to_string(house.path("memos-demo.html")).unwrap();
    assert!(page.contains("Halima lives in Norrhamn"));

    let told = house.json(&["demo", "--keep", "harbour"]);
    let chain = told["changed"]["chain"].as_array().unwrap();
    assert!(chain.len() >= 2, "{chain:?}");
    let guarded = told["guarded"].as_array().unwrap();
    let secret = |at: usize| guarded[at]["owner"]["receipts"][0]["cube"].as_str().unwrap();
    let card = &guarded[0]["guest"]["receipts"][0];
    assert_eq!((card["cube"].as_str(), card["decision"]["access"].as_str()), (Some(secret(0)), Some("redacted")));
    assert!(!card["text"].as_str().unwrap().contains("4111"), "{card}");
    assert_ne!(guarded[1]["guest"]["receipts"][0]["cube"], secret(1));
    assert!(guarded[1]["refusal"].as_str().unwrap().contains("there is no cube"));
    assert!(Path::new(&house.path("harbour/memos-demo.html")).exists());
    assert!(house.fails(&["demo", "--keep", "harbour"], 2).contains("not empty"));
    let kept = house.json(&["--data", "harbour", "stats", "--as", "user:ronja"]);
    assert_eq!(kept["spaces"][0]["cubes"], told["stats"]["cubes"]);
}
