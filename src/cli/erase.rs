//! `memos erase`: memories that are forgotten for good, with every copy and key of them.
//!
//! It asks at a terminal, and without one wants `--yes`. With `--json`:
//!
//! ```json
//! {"space": "home/main", "erased": ["…"], "events": [42], "derived": ["…"], "space_erased": false}
//! ```
//!
//! `derived` are memories that were made from what was erased and are still there. When all of a space is erased,
//! `erased` and `events` are empty, because nothing of it is left.

use std::io::{IsTerminal, Write};

use clap::Args;
use memos::cube::{CubeId, SpaceName};
use memos::governance::Principal;
use memos::vault::{Erasure, Space};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{find, short, text_of};
use super::scope::Scope;
use super::screen::{DIM, NAME, NOTICE, Screen, one_line, paint};
use super::table::Table;

/// Memories that are shown before they go, and that are named of those that stay.
const MOST_ROWS: usize = 20;

#[derive(Args)]
pub(super) struct EraseArguments {
    /// The ids of the memories, or beginnings or ends of them
    #[arg(required_unless_present_any = ["subject", "all_of_space"], conflicts_with_all = ["subject", "all_of_space"])]
    ids: Vec<String>,
    /// Erase all memories of a person or principal, and the name
    #[arg(long, value_name = "NAME", conflicts_with = "all_of_space")]
    subject: Option<String>,
    /// Erase the space with all that is in it
    #[arg(long, conflicts_with = "derived")]
    all_of_space: bool,
    /// Why, for those who look later; it stays readable, so it should not say what was erased
    #[arg(long, value_name = "TEXT", required_unless_present = "all_of_space")]
    reason: Option<String>,
    /// Erase the memories too that were made from them
    #[arg(long)]
    derived: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct ErasedMemories<'a> {
    space: &'a SpaceName,
    erased: Vec<CubeId>,
    events: Vec<u64>,
    derived: Vec<CubeId>,
    space_erased: bool,
}

pub(super) fn run(arguments: &EraseArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    if arguments.all_of_space {
        return all_of_space(arguments, scope, screen);
    }
    let space = scope.space()?;
    let mut cubes = Vec::with_capacity(arguments.ids.len());
    for id in &arguments.ids {
        cubes.push(find(&space, &scope.caller, id)?);
    }
    let (what, erasure) = match &arguments.subject {
        Some(subject) => (format!("all memories of `{subject}`"), Erasure::Subject(subject.clone())),
        None => (counted(cubes.len() as u64), Erasure::Cubes(cubes.clone())),
    };
    let said = rows(&space, &scope.caller, &cubes, screen.columns);
    confirm(&format!("{what} in {}", space.name()), &said, arguments.yes)?;
    let reason = arguments.reason.as_deref().unwrap_or_default();
    let erased = space.erase(&scope.caller, erasure, reason)?;
    let mut done = ErasedMemories {
        space: space.name(),
        erased: erased.cubes,
        events: vec![erased.event],
        derived: erased.derived,
        space_erased: false,
    };
    if arguments.derived && !done.derived.is_empty() {
        let taken = std::mem::take(&mut done.derived);
        let erased = space
            .erase(&scope.caller, Erasure::Cubes(taken), reason)
            .map_err(|e| e.at(format!("{what} in {} are erased, but not what was made from them", space.name())))?;
        done.erased.extend(erased.cubes);
        done.events.push(erased.event);
        done.derived = erased.derived;
    }
    if screen.json {
        return screen.object(&done);
    }
    screen.line(format!("erased {} of {} for good", counted(done.erased.len() as u64), paint(NAME, space.name())));
    if !done.derived.is_empty() {
        let still = format!(
            "{} made from it still there, and may say the same; `memos erase ID…` or `--derived` erases those too",
            if done.derived.len() == 1 {
                "1 memory is".to_owned()
            } else {
                format!("{} memories are", done.derived.len())
            }
        );
        screen.paragraph(0, NOTICE, &still);
        rows(&space, &scope.caller, &done.derived, screen.columns).into_iter().for_each(|row| screen.line(row));
    }
    Ok(())
}

fn all_of_space(arguments: &EraseArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let name = scope.space_name()?;
    let vault = scope.vault()?;
    // What is not there must be said before anything is asked.
    let memories = vault.existing_space(name)?.stats(&scope.caller).cubes;
    confirm(&format!("the space {name} with {} and all keys", counted(memories as u64)), &[], arguments.yes)?;
    let cubes = vault.erase_space(&scope.caller, name)?;
    if screen.json {
        let (erased, events, derived) = (Vec::new(), Vec::new(), Vec::new());
        return screen.object(&ErasedMemories { space: name, erased, events, derived, space_erased: true });
    }
    screen.line(format!("erased {} with {} for good", paint(NAME, name), counted(cubes)));
    Ok(())
}

/// Returns how many memories, in words.
pub(super) fn counted(memories: u64) -> String {
    if memories == 1 { "1 memory".to_owned() } else { format!("{memories} memories") }
}

/// Returns lines that say what some memories say.
fn rows(space: &Space, caller: &Principal, cubes: &[CubeId], columns: usize) -> Vec<String> {
    let mut table = Table::new(2).words("", NAME).text("");
    for cube in cubes.iter().take(MOST_ROWS) {
        let text = text_of(space, caller, cube);
        table.row([short(cube), one_line(&text, columns.saturating_sub(16))]);
    }
    let mut lines = table.lines(columns);
    if cubes.len() > MOST_ROWS {
        lines.push(paint(DIM, format!("  and {} more", cubes.len() - MOST_ROWS)));
    }
    lines
}

/// Asks at a terminal whether it is meant.
fn confirm(what: &str, said: &[String], yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::invalid(format!(
            "this would erase {what}, which cannot be undone; repeat it with `--yes` if that is meant"
        )));
    }
    let mut stderr = anstream::stderr().lock();
    let mut ask = || {
        said.iter().try_for_each(|line| writeln!(stderr, "{line}"))?;
        write!(stderr, "This erases {what}, and cannot be undone. Type `yes` to go on: ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().eq_ignore_ascii_case("yes"))
    };
    match ask().map_err(|e: std::io::Error| Error::unavailable(format!("the terminal does not answer: {e}")))? {
        true => Ok(()),
        false => Err(Error::invalid("nothing was erased")),
    }
}
