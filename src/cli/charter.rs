//! `memos charter`: the rules of a space, shown, checked, set and taken away.
//!
//! With `--json`: `{"space": "home/main", "charter": "…", "event": 12}`; `charter` is null where there is none, and `event` is
//! there when it was set.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use memos::Result;
use memos::cube::SpaceName;
use memos::governance::{CHARTER_BYTES, Charter};
use serde::Serialize;

use super::files::read_text;
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, paint};

#[derive(Args)]
pub(super) struct CharterArguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the rules; also without a word
    Show,
    /// Checks a file, and changes nothing
    Check {
        /// The file, in TOML
        file: PathBuf,
    },
    /// Makes the rules of a file those of the space
    Set {
        /// The file, in TOML
        file: PathBuf,
    },
    /// Takes the charter away; the three layers alone decide then
    Clear,
}

#[derive(Serialize)]
struct Shown<'a> {
    space: &'a SpaceName,
    charter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
}

pub(super) fn run(arguments: &CharterArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    match arguments.action.as_ref().unwrap_or(&Action::Show) {
        Action::Show => show(scope, screen),
        Action::Check { file } => {
            let text = read_text(file, CHARTER_BYTES)?;
            Charter::parse(&text).and_then(Charter::rules).map_err(|e| e.at(format!("`{}`", file.display())))?;
            screen.line("the charter can be used");
            if screen.json {
                screen.object(&serde_json::json!({ "valid": true }))?;
            }
            Ok(())
        }
        Action::Set { file } => {
            let text = read_text(file, CHARTER_BYTES)?;
            set(Some(&text), scope, screen)
        }
        Action::Clear => set(None, scope, screen),
    }
}

fn show(scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let charter = space.charter().map(|rules| rules.charter().text().to_owned());
    if screen.json {
        return screen.object(&Shown { space: space.name(), charter, event: None });
    }
    match charter {
        Some(charter) => screen.result(charter.trim_end()),
        None => screen.line("there is no charter; owners, groups and grants decide"),
    }
    Ok(())
}

fn set(charter: Option<&str>, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let event = space.set_charter(&scope.caller, charter)?.first_event;
    if screen.json {
        return screen.object(&Shown { space: space.name(), charter: charter.map(str::to_owned), event: Some(event) });
    }
    let done = if charter.is_some() { "has these rules now" } else { "has no charter any more" };
    screen.line(format!("{} {done}", paint(NAME, space.name())));
    screen.line(paint(DIM, format!("event {event} says so")));
    Ok(())
}
