//! What the tests of the program have in common: a conversation, and a data folder in which the program is run.
//!
//! Each test file takes what it needs, so not all of it is used everywhere.
#![allow(dead_code)]

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TALK: &str = "\
# Session 1 - 2 March 2024, 10:15
Ada: I live in Lisbon and I work at the harbour office.
Bo: I am allergic to peanuts, so no satay for me.
Ada: My key hangs behind the blue door.

# Session 2 - 5 May 2024, 18:00
Ada: I moved to Porto last week. I live in Porto now.
Bo: The sailing course starts on 3 June.
";

/// A data folder of its own.
pub(crate) struct House {
    folder: TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A house in which `TALK` was read by `user:ada`.
    pub(crate) fn with_talk() -> Self {
        let house = Self::new();
        fs::write(house.path("talk.txt"), TALK).unwrap();
        house.done(&["ingest", &house.path("talk.txt"), "--as", "user:ada"]);
        house
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn data(&self) -> String {
        self.path("data")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memos"));
        command.args(arguments).env("MEMOS_DATA", self.data()).env("USER", "tester").current_dir(self.folder.path());
        command.env_remove("MEMOS_KEY").env_remove("MEMOS_KEY_FILE").env_remove("MEMOS_ENCODER");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs what must succeed and returns its output.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs what must fail with this code and returns what it said on standard error.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
        said
    }

    /// Asks as `user:ada` and returns the receipts.
    pub(crate) fn recall(&self, question: &str) -> Vec<Value> {
        self.json(&["recall", question, "--as", "user:ada"])["receipts"].as_array().unwrap().clone()
    }

    /// Stores a memory as `user:tester` and returns its id.
    pub(crate) fn remember(&self, text: &str, more: &[&str]) -> String {
        self.json(&[&["remember", text], more].concat())["cube"].as_str().unwrap().to_owned()
    }

    /// Returns the files of the data folder that hold a text.
    pub(crate) fn files_with(&self, text: &str) -> Vec<String> {
        let mut open = vec![std::path::PathBuf::from(self.data())];
        let mut found = Vec::new();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
        found
    }
}
