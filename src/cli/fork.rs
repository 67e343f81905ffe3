//! `memos fork` and `memos merge`: a space that goes its own way for a what-if, and the way back.
//!
//! With `--json`, `fork` gives `{"space": "home/try", "origin": "home/main", "at": {"events": 12}}`, where `at` is null
//! for a fork of the present; `merge` gives
//!
//! ```json
//! {"fork": "home/try", "added": ["…"], "updated": ["…"], "moved": ["…"], "links": 2, "conflicts": ["…"]}
//! ```
//!
//! with the fields of [`memos::vault::Merged`].

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use memos::cube::{CubeId, SpaceName};
use memos::vault::{Merged, OnConflict, Point};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{short, text_of};
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, one_line, paint};
use super::table::Table;

#[derive(Args)]
pub(super) struct ForkArguments {
    /// The name of the new space, which starts from the one of `--space`
    #[arg(value_name = "ORG/NAME")]
    new: SpaceName,
    /// Start from a point of the past: a time, or `#1200` for after 1200 events [default: now]
    #[arg(long, value_name = "POINT")]
    at: Option<Point>,
}

#[derive(Args)]
pub(super) struct MergeArguments {
    /// The fork; what it changed is written into the space that it was forked from
    #[arg(value_name = "ORG/NAME")]
    fork: SpaceName,
    /// Which side holds when a memory was changed on both
    #[arg(long, value_name = "RULE", default_value = "refuse", value_parser = rules())]
    on_conflict: OnConflict,
}

fn rules() -> impl TypedValueParser<Value = OnConflict> {
    PossibleValuesParser::new(["refuse", "keep-origin", "take-fork"]).map(|name| match name.as_str() {
        "keep-origin" => OnConflict::KeepOrigin,
        "take-fork" => OnConflict::TakeFork,
        _ => OnConflict::Refuse,
    })
}

#[derive(Serialize)]
struct Forked<'a> {
    space: &'a SpaceName,
    origin: &'a SpaceName,
    at: Option<Point>,
}

pub(super) fn fork(arguments: &ForkArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let origin = scope.space_name()?;
    let vault = scope.vault()?;
    let space = vault.fork(&scope.caller, origin, arguments.at, &arguments.new)?;
    if screen.json {
        return screen.object(&Forked { space: space.name(), origin, at: arguments.at });
    }
    if screen.quiet {
        screen.result(space.name());
        return Ok(());
    }
    let from = arguments.at.map(|point| format!(" as it was at {point}")).unwrap_or_default();
    let cubes = space.stats(&scope.caller).cubes;
    screen.line(format!("{} starts from {origin}{from}, with {cubes} memories", paint(NAME, space.name())));
    screen.line(paint(
        DIM,
        format!("work on it with `--space {0}`; `memos merge {0}` writes what it changed into {origin}", space.name()),
    ));
    Ok(())
}

#[derive(Serialize)]
struct MergedBack<'a> {
    fork: &'a SpaceName,
    #[serde(flatten)]
    merged: &'a Merged,
}

pub(super) fn merge(arguments: &MergeArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let vault = scope.vault()?;
    let merged =
        vault.merge_back(&scope.caller, &arguments.fork, arguments.on_conflict).map_err(|error| {
            match error.kind() {
                memos::ErrorKind::Conflict if arguments.on_conflict == OnConflict::Refuse => {
                    Error::conflict(format!("{error}: `--on-conflict keep-origin` or `--on-conflict take-fork`"))
                }
                _ => error,
            }
        })?;
    if screen.json {
        return screen.object(&MergedBack { fork: &arguments.fork, merged: &merged });
    }
    let fork = vault.existing_space(&arguments.fork)?;
    let room = screen.columns.saturating_sub(28);
    let mut table = Table::new(2).words("", DIM).words("", NAME).text("");
    let mut rows = |what: &str, cubes: &[CubeId]| {
        for cube in cubes {
            table.row([what.to_owned(), short(cube), one_line(&text_of(&fork, &scope.caller, cube), room)]);
        }
    };
    rows("added", &merged.added);
    rows("updated", &merged.updated);
    rows("moved", &merged.moved);
    rows(if arguments.on_conflict == OnConflict::TakeFork { "fork won" } else { "origin won" }, &merged.conflicts);
    table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    let Merged { added, updated, moved, links, .. } = &merged;
    screen.result(match added.len() + updated.len() + moved.len() + links {
        0 => "nothing to merge".to_owned(),
        _ => format!(
            "merged {}: {} added, {} updated, {} moved, {links} links",
            arguments.fork,
            added.len(),
            updated.len(),
            moved.len()
        ),
    });
    Ok(())
}
