//! `memos verify`: everything that a space keeps, held against everything else.
//!
//! With `--json`:
//!
//! ```json
//! {"spaces": [{"name": "home/main", "verified": {"events": 42, "digest": "…", "root": "…", "records": 20, "bytes": 900, "erased": 0,
//!   "cubes": 18, "links": 31}, "error": null, "seconds": 0.02}]}
//! ```
//!
//! with the fields of [`memos::vault::Verified`]. When one space fails, its `verified` is null, `error` names the first
//! thing that is wrong, the others are verified all the same, and the exit code is 1.

use std::time::Instant;

use clap::Args;
use memos::cube::SpaceName;
use memos::vault::{Vault, Verified};
use memos::{Error, Result};
use serde::Serialize;

use super::places::size;
use super::scope::Scope;
use super::screen::{FAILURE, NAME, Screen, paint};
use super::table::Table;

#[derive(Args)]
pub(super) struct VerifyArguments {
    /// Verify all spaces, and not only those of `--space`
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Report {
    spaces: Vec<VerifiedSpace>,
}

#[derive(Serialize)]
struct VerifiedSpace {
    name: SpaceName,
    verified: Option<Verified>,
    error: Option<String>,
    seconds: f64,
}

pub(super) fn run(arguments: &VerifyArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let vault = scope.vault()?;
    let names = if arguments.all { vault.spaces()? } else { scope.space_names().to_vec() };
    let (mut spaces, mut first_error) = (Vec::with_capacity(names.len()), None);
    for name in names {
        let begun = Instant::now();
        let (verified, error) = match verify(&vault, &name, screen) {
            Ok(verified) => (Some(verified), None),
            Err(error) if names_nothing(&error) => return Err(error),
            Err(error) => {
                let text = error.to_string();
                first_error.get_or_insert(error);
                (None, Some(text))
            }
        };
        spaces.push(VerifiedSpace { name, verified, error, seconds: begun.elapsed().as_secs_f64() });
    }
    match (screen.json, first_error.is_some() && spaces.len() == 1) {
        // The one error says it all.
        (_, true) => {}
        (true, _) => screen.object(&Report { spaces })?,
        (false, _) => print(&spaces, screen),
    }
    first_error.map_or(Ok(()), Err)
}

/// A space that is not there is not one that fails.
fn names_nothing(error: &Error) -> bool {
    error.kind() == memos::ErrorKind::NotFound
}

fn verify(vault: &Vault, name: &SpaceName, screen: &Screen) -> Result<Verified> {
    let bar = screen.progress(name.as_str());
    let space = vault.existing_space(name)?;
    let verified = space.verify(|done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    verified.map_err(|e| e.at(format!("space `{name}`")))
}

fn print(spaces: &[VerifiedSpace], screen: &mut Screen) {
    for space in spaces {
        let Some(verified) = &space.verified else {
            screen.result(format!("{} {}", paint(NAME, &space.name), paint(FAILURE, "fails")));
            let what = space.error.clone().unwrap_or_default();
            screen.paragraph(2, anstyle::Style::new(), &what);
            continue;
        };
        let Verified { events, root, records, bytes, erased, cubes, links, .. } = verified;
        screen.result(format!("{} is whole", paint(NAME, &space.name)));
        let mut table = Table::new(2).words("", super::screen::DIM).text("");
        let speed = *events as f64 / space.seconds.max(1e-6);
        let gone = if *erased > 0 { format!(", {erased} erased") } else { String::new() };
        table.row(["events".into(), format!("{events}, each the one that its successor names")]);
        table.row(["records".into(), format!("{records} with {}{gone}", size(*bytes))]);
        table.row(["memories".into(), format!("{cubes}, with {links} links")]);
        table.row(["root".into(), root.to_string()]);
        table.row(["took".into(), format!("{:.2} s, {speed:.0} events/s", space.seconds)]);
        table.lines(screen.columns).into_iter().for_each(|line| screen.line(line));
    }
}
