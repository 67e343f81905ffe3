//! `memos pipeline` as a shell sees it, with the pipeline of the examples.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pipelines/weekly_review.toml");

const TALK: &str = "\
# Session 1 - 2 March 2024, 10:15
Ada: The garden needs new roses before the summer comes.
Bo: I ordered twelve roses for the garden from the nursery.
Ada: Then the garden wall must be mended before the roses come.
Bo: My brother mends the garden wall on Sunday.
";

fn memos(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memos"));
    command.args(arguments).env("MEMOS_DATA", folder.join("data")).env("USER", "ada").current_dir(folder);
    command.env_remove("MEMOS_ENCODER");
    command.output().unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = memos(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_example_reviews_a_week() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("talk.txt"), TALK).unwrap();
    json(folder, &["ingest", "talk.txt"]);
    let review = ["pipeline", EXAMPLE, "--set", "topic=roses and the wall of the garden"];
    let before = json(folder, &["stats"])["spaces"][0]["ledger"].clone();

    let dry = json(folder, &[&review[..], &["--dry-run"]].concat());
    assert_eq!(json(folder, &["stats"])["spaces"][0]["ledger"], before);
    assert_eq!((dry["dry_run"].as_bool(), dry["stored"]["first_event"].as_u64()), (Some(true), None));

    let real = json(folder, &review);
    assert_eq!(real["stored"]["events"], dry["stored"]["events"]);
    let text = real["steps"][4]["text"].as_str().unwrap();
    assert!(
        text.starts_with("roses and the wall of the garden, in short: ") && text.contains("twelve roses"),
        "{text}"
    );
    let note = real["steps"][4]["memories"][0].as_str().unwrap();
    let shown = json(folder, &["show", note]);
    let links = shown["links"].as_array().unwrap().iter().filter(|link| link["kind"] == "summarises");
    assert_eq!(links.count(), real["steps"][1]["memories"].as_array().unwrap().len());

    // What was reviewed is put away, so there is too little for another review.
    let again = memos(folder, &review);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("step `enough`: `old` has"), "{again:?}");
}

#[test]
fn people_read_what_was_done_and_what_was_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(
        folder.join("note.toml"),
        "name = \"note\"\n[parameters.what]\n[[steps]]\nname = \"a\"\nstore = { text = \"on ${what}\" }\n",
    )
    .unwrap();
    memos(folder, &["remember", "a beginning"]);
    for (arguments, code, part) in [
        (&["pipeline", "note.toml"][..], 2, "parameter `what` has no default"),
        (&["pipeline", "note.toml", "--set", "who=x"], 2, "`who` is no parameter"),
        (&["pipeline", "note.toml", "--set", "what"], 2, "write `--set NAME=VALUE`"),
        (&["pipeline", "none.toml"], 2, "`none.toml` cannot be read"),
        (&["pipeline", "note.toml", "--set", "what=tea", "--dry-run"], 0, "would write 1 event; nothing was written"),
        (&["pipeline", "note.toml", "--set", "what=tea"], 0, "wrote 1 event"),
    ] {
        let output = memos(folder, arguments);
        let said = String::from_utf8_lossy(if code == 0 { &output.stdout } else { &output.stderr });
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
