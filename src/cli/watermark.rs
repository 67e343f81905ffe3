//! `memos watermark`: whose marks are in a text that turned up somewhere.
//!
//! With `--json`: `{"space": "home/main", "marks": [{"from": 24, "until": 312, "sharer": "user:ada"}]}`, where the
//! numbers are bytes of the text, and `sharer` is null for a mark of nobody who was asked for, or of another space.
//! Without marks the exit code is 3.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use memos::Result;
use memos::cube::{PrincipalId, SpaceName};
use memos::governance::watermark::find_marks;
use serde::Serialize;

use super::Found;
use super::files;
use super::scope::Scope;
use super::screen::{DIM, NAME, Screen, paint};

/// Bytes of a text that is looked through.
const MOST_BYTES: usize = 64 << 20;

#[derive(Args)]
pub(super) struct WatermarkArguments {
    /// The text; `-` reads standard input
    file: PathBuf,
    /// Somebody who may have exported it; may be repeated. The caller is always asked for
    #[arg(long, value_name = "WHO")]
    who: Vec<PrincipalId>,
}

#[derive(Serialize)]
struct Marked<'a> {
    space: &'a SpaceName,
    marks: Vec<FoundMark>,
}

#[derive(Serialize)]
struct FoundMark {
    from: usize,
    until: usize,
    sharer: Option<PrincipalId>,
}

pub(super) fn run(arguments: WatermarkArguments, scope: &Scope, screen: &mut Screen) -> Result<Found> {
    let text = if arguments.file.as_os_str() == "-" {
        files::read_standard_input(MOST_BYTES)?
    } else {
        files::read_text(&arguments.file, MOST_BYTES)?
    };
    let mut candidates = arguments.who;
    candidates.push(scope.caller.id.clone());
    let space = scope.space()?;
    let found = find_marks(&text, &space.mark_key()?, &candidates);
    let marks: Vec<FoundMark> = found
        .into_iter()
        .map(|mark| FoundMark { from: mark.range.start, until: mark.range.end, sharer: mark.sharer })
        .collect();
    let answer = if marks.is_empty() { Found::Nothing } else { Found::Something };
    let marked = Marked { space: space.name(), marks };
    if screen.json {
        screen.object(&marked)?;
        return Ok(answer);
    }
    let mut sharers: BTreeMap<Option<&PrincipalId>, usize> = BTreeMap::new();
    marked.marks.iter().for_each(|mark| *sharers.entry(mark.sharer.as_ref()).or_default() += 1);
    for (sharer, count) in sharers {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        match sharer {
            Some(sharer) => {
                screen.result(format!("{} exported it from {}; marked {times}", paint(NAME, sharer), space.name()))
            }
            None => {
                screen.result(format!("marked {times} by somebody else, or in another space; `--who` asks for others"))
            }
        }
    }
    if answer == Found::Nothing {
        screen.line("no marks");
        screen.paragraph(
            0,
            DIM,
            "a text may have lost them: retyping, paraphrase and some programs drop what is invisible",
        );
    }
    Ok(answer)
}
